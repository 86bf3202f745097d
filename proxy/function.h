/*
 * The function of this container: its code, its environment, its runner, and who waits for it.
 *
 * Invocations are carried out one at a time in the order they came; /init is one of them. Each gets exactly
 * one outcome, after its output and its end-of-activation markers have been written. The runner is started
 * before there is code, and again whenever it has ended; code that has been initialised once is initialised
 * again in a fresh runner before the next run. Nothing here knows HTTP.
 */
#pragma once

#include "logs.h"
#include "loop.h"

#include <stdbool.h>

struct function;

struct function_config {
	const char *runner_path;   /* executable of the runner */
	const char *unpacker_path; /* executable that unpacks archives */
	const char *work_dir;      /* where directories for code are made */
};

enum invocation_kind {
	INVOCATION_INIT, /* body: an /init envelope */
	INVOCATION_RUN,  /* body: {"value": …, metadata}, passed on to the runner */
};

enum outcome_kind {
	OUTCOME_INITIALIZED,         /* the code is imported */
	OUTCOME_SUCCESS,             /* payload: the function's result */
	OUTCOME_APPLICATION_ERROR,   /* payload: the result, an object with a member "error" */
	OUTCOME_FUNCTION_ERROR,      /* payload: {"error": …}: it raised, or returned what cannot be passed on */
	OUTCOME_INIT_FAILED,         /* payload or text: the code could not be loaded */
	OUTCOME_INIT_EXITED,         /* text: the process ended while it loaded the code */
	OUTCOME_EXITED,              /* text: the process ended during the run */
	OUTCOME_BAD_REQUEST,         /* payload or text: not understood; nothing was run */
	OUTCOME_NO_CODE_GIVEN,       /* text: /init without code */
	OUTCOME_ALREADY_INITIALIZED, /* text */
	OUTCOME_NOT_INITIALIZED,     /* text: run before init */
	OUTCOME_QUEUE_FULL,          /* text */
	OUTCOME_STOPPING,            /* text: shutting down */
	OUTCOME_INTERNAL_ERROR,      /* text: ours or the machine's fault */
};

/* What became of an invocation. payload is JSON from malloc, which the receiver may take with steal_ptr();
 * where it is NULL, text says it. */
struct outcome {
	enum outcome_kind kind;
	char *payload;
	size_t payload_length;
	char text[ERR_TEXT_MAX + 128];
};

int function_new(struct function **ret_function, struct loop *loop, struct logs *logs,
	const struct function_config *config, struct err *err) UTIL_MUST_CHECK;

/* Kills the runner and removes the code. Nothing may be under way. */
void function_free(struct function *function);

/*
 * Queues an invocation. body is taken over in every case; it is NUL-terminated with room for one byte more.
 * on_done is called once, possibly from within this call.
 */
void function_submit(struct function *function, enum invocation_kind kind, char *body, size_t length,
	void (*on_done)(void *context, struct outcome *outcome), void *context);

/* From now on every waiting and new invocation ends with OUTCOME_STOPPING; the one under way goes on. A
 * function that handles SIGTERM gets it. */
void function_stop(struct function *function);

/* Ends the one under way, too, by killing the runner. After function_stop(). */
void function_abort(struct function *function);

/* True when no invocation is under way or waiting and, after function_stop(), the function is not busy with
 * its SIGTERM. */
bool function_is_idle(const struct function *function);
