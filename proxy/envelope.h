/*
 * A function to load: what /init brings, {"value": {"name", "main", "code", "binary", "env"}}, or what is there
 * when the server starts.
 *
 * Every key but code is optional, unknown keys are ignored, null counts as absent.
 */
#pragma once

#include "../common/err.h"
#include "json.h"

#include <stdbool.h>

enum code_kind {
	CODE_SOURCE, /* Python source text */
	CODE_ZIP,    /* by its first bytes, after base64 */
	CODE_GZIP,
	CODE_FOLDER, /* of the user's own; nothing is written there */
};

struct envelope {
	char *handler; /* "main" when the request names none */
	char *folder;  /* of CODE_FOLDER; NULL for the other kinds, which have code */
	char *code;    /* decoded; NUL-terminated where it is text */
	size_t code_length;
	enum code_kind kind;
	char *environment;            /* the JSON object as it was sent, "{}" when absent */
	char *convention;             /* what env has as PYACTION_CONVENTION, NULL when absent */
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

/*
 * Takes code from a path: a folder, an archive, or a Python source, whose folder it then is. handler: NULL for the
 * usual one, "main", which for a folder without __main__.py is that of the vendor whose usual file is there; for a
 * source, a name without a dot is that of a function in it. The environment is empty: the function has the server's.
 *
 * Returns 0, or -errno with a sentence that names the path and what is wrong with it.
 */
int envelope_from_path(
	struct envelope *ret_envelope, const char *path, const char *handler, struct err *err) UTIL_MUST_CHECK;

/* Also for a zeroed struct. */
void envelope_done(struct envelope *envelope);
