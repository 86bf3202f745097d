/* cJSON, with trees that are freed at the end of their scope. */
#pragma once

#include <cjson/cJSON.h>

static inline void cjson_deletep(cJSON **item)
{
	cJSON_Delete(*item);
}

#define cleanup_cjson __attribute__((cleanup(cjson_deletep)))
