/*
 * The body of /init: {"value": {"name", "main", "code", "binary", "env"}}.
 *
 * Every key but code is optional, unknown keys are ignored, null counts as absent. Pure: text in, a struct
 * out.
 */
#pragma once

#include "../common/err.h"
#include "json.h"

#include <stdbool.h>

enum code_kind {
	CODE_SOURCE, /* Python source text */
	CODE_ZIP,    /* by its first bytes, after base64 */
	CODE_GZIP,
};

struct envelope {
	char *handler; /* "main" when the request names none */
	char *code;    /* decoded; NUL-terminated where it is text */
	size_t code_length;
	enum code_kind kind;
	char *environment;            /* the JSON object as it was sent, "{}" when absent */
	const char **start_variables; /* see below; "NAME=VALUE", NULL-terminated; array and strings are ours */
};

/*
 * Parses a request body. Variables that take effect only when a process starts (LD_*, PYTHON*, MALLOC_*,
 * the locale's, …) are also listed in start_variables, NULL when there are none.
 *
 * Returns 0, or -EINVAL (not JSON, wrong types, bad base64, an impossible variable name), -ENODATA (no code),
 * -ENOMEM; the sentence is the documented one.
 */
int envelope_parse(struct envelope *ret_envelope, const char *text, size_t length, struct err *err) UTIL_MUST_CHECK;

/* Also for a zeroed struct. */
void envelope_done(struct envelope *envelope);
