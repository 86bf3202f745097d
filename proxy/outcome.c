#include "outcome.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

const char *outcome_name(enum outcome_kind kind)
{
	static const char *const names[OUTCOME_KIND_COUNT] = {
		[OUTCOME_INITIALIZED] = "initialized",
		[OUTCOME_SUCCESS] = "success",
		[OUTCOME_APPLICATION_ERROR] = "application_error",
		[OUTCOME_SUCCESS_BYTES] = "success_bytes",
		[OUTCOME_FUNCTION_ERROR] = "function_error",
		[OUTCOME_INIT_FAILED] = "init_failed",
		[OUTCOME_INIT_EXITED] = "init_exited",
		[OUTCOME_EXITED] = "exited",
		[OUTCOME_TIMED_OUT] = "timed_out",
		[OUTCOME_OUT_OF_MEMORY] = "out_of_memory",
		[OUTCOME_BAD_REQUEST] = "bad_request",
		[OUTCOME_NO_CODE_GIVEN] = "no_code_given",
		[OUTCOME_ALREADY_INITIALIZED] = "already_initialized",
		[OUTCOME_NOT_INITIALIZED] = "not_initialized",
		[OUTCOME_QUEUE_FULL] = "queue_full",
		[OUTCOME_STOPPING] = "stopping",
		[OUTCOME_INTERNAL_ERROR] = "internal_error",
	};

	return names[kind];
}

static const struct outcome_status statuses[] = {
	{ "success", OUTCOME_SUCCESS, true },
	{ "success_bytes", OUTCOME_SUCCESS_BYTES, true },
	{ "application_error", OUTCOME_APPLICATION_ERROR, true },
	{ "function_error", OUTCOME_FUNCTION_ERROR, true },
	{ "bad_request", OUTCOME_BAD_REQUEST, false },
	{ "initialized", OUTCOME_INITIALIZED, false },
	{ "init_failed", OUTCOME_INIT_FAILED, true },
};

const struct outcome_status *outcome_parse_status(const char *line, long *ret_peak_kb)
{
	size_t length = strlen(line);
	struct json_span name, peak_kb;

	/* For each run: without the tree, and its memory, that cJSON would make. */
	*ret_peak_kb = 0;
	if (!json_is_plain(line, length) || json_find_member(line, length, "status", &name) < 0)
		return NULL;
	if (json_find_member(line, length, "peak_kb", &peak_kb) == 0)
		*ret_peak_kb = strtol(peak_kb.start, NULL, 10);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (name.length == strlen(statuses[i].name) + 2 && name.start[0] == '"' &&
			memcmp(name.start + 1, statuses[i].name, name.length - 2) == 0)
			return &statuses[i];
	return NULL;
}
