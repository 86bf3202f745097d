/*
 * How an invocation can end: the kinds, what they are called, and the runner's words for them.
 */
#pragma once

#include "../common/util.h"

#include <stdbool.h>

enum outcome_kind {
	OUTCOME_INITIALIZED,         /* the code is imported */
	OUTCOME_SUCCESS,             /* payload: the function's result */
	OUTCOME_APPLICATION_ERROR,   /* payload: the result, an object with a member "error" */
	OUTCOME_SUCCESS_BYTES,       /* payload: the function's result, no JSON, in base64 */
	OUTCOME_FUNCTION_ERROR,      /* payload: the error document of the function's convention */
	OUTCOME_INIT_FAILED,         /* payload or text: the code could not be loaded */
	OUTCOME_INIT_EXITED,         /* text: the process ended while it loaded the code */
	OUTCOME_EXITED,              /* text: the process ended during the run */
	OUTCOME_TIMED_OUT,           /* text: it was killed at its deadline */
	OUTCOME_OUT_OF_MEMORY,       /* text: it was killed for the memory it took */
	OUTCOME_BAD_REQUEST,         /* payload or text: not understood; nothing was run */
	OUTCOME_NO_CODE_GIVEN,       /* text: /init without code */
	OUTCOME_ALREADY_INITIALIZED, /* text */
	OUTCOME_NOT_INITIALIZED,     /* text: run before init */
	OUTCOME_QUEUE_FULL,          /* text */
	OUTCOME_STOPPING,            /* text: shutting down */
	OUTCOME_INTERNAL_ERROR,      /* text: ours or the machine's fault */
};

enum { OUTCOME_KIND_COUNT = OUTCOME_INTERNAL_ERROR + 1 };

/* "success", "timed_out": as in the status and in the log. */
const char *outcome_name(enum outcome_kind kind);

/* What the first line of a runner's reply can say. */
struct outcome_status {
	const char *name;
	enum outcome_kind kind;
	bool markers; /* the log has the end-of-activation markers then */
};

/* What such a line says, and the peak_kb in it, 0 where there is none; NULL when it says nothing that is known. */
const struct outcome_status *outcome_parse_status(const char *line, long *ret_peak_kb);
