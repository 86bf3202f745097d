/*
 * The function of this container: its code, its environment, its runner, and who waits for it.
 *
 * Invocations are carried out one at a time in the order they came; /init is one of them. Each gets exactly
 * one outcome, after its output and its end-of-activation markers have been written. The runner is started
 * before there is code, and again whenever it has ended; code that has been initialised once is initialised
 * again in a fresh runner before the next run. A runner that passes a limit is killed. Nothing here knows
 * HTTP, or a vendor.
 */
#pragma once

#include "convention.h"
#include "envelope.h"
#include "logs.h"
#include "loop.h"
#include "metrics.h"
#include "outcome.h"
#include "remover.h"
#include "user.h"

#include <limits.h>
#include <stdbool.h>

struct function;

/* In struct function_config: what the platform has. */
#define LIMITS_DEFAULT UINT_MAX

/* What an invocation may use; 0 is no limit. */
struct limits {
	unsigned timeout_ms;
	unsigned memory_mb; /* resident, of the process that runs the function */
};

struct function_config {
	const char *runner_path; /* executable of the runner */
	const char *unzip_path;  /* executables that unpack archives */
	const char *untar_path;
	const char *precompiler_path; /* executable that compiles modules beside their import */
	const struct user *user;      /* as which all of these run; NULL for ourselves */
	const char *work_dir;         /* where directories for code are made */
	struct remover *remover;      /* removes them; NULL: at once, however long it takes */
	const char *convention;       /* PYACTION_CONVENTION of the server, NULL for none */
	struct limits limits;         /* of every invocation, in place of its platform's own */
	bool tell;                    /* say on stderr which convention was chosen, and why */
};

/* What became of an invocation. payload is JSON from malloc, which the receiver may take with steal_ptr();
 * where it is NULL, text says it. */
struct outcome {
	enum outcome_kind kind;
	char *payload;
	size_t payload_length;
	char text[ERR_TEXT_MAX + 128];
	enum convention convention; /* of the function */
	int wait_status;            /* of the process, for the kinds that say that it has ended */
	struct limits limits;       /* that were in force */
	uint64_t run_us;            /* the handler's time */
	uint64_t init_us;           /* the time it took to load the code, for the first run after that; else 0 */
	long peak_kb;               /* the most memory the process had at a time; 0 when nothing was run */
	char *log;                  /* the end of what was logged, where the platform wanted it; of log_length bytes */
	size_t log_length;
};

/* How the code was loaded. */
struct cold_start {
	uint64_t init_us;
	long peak_kb; /* the most memory the process had at a time */
};

enum { PLATFORM_ID_SIZE = 64 };

/* A platform as an invocation meets it: what its front door does when the invocation's turn has come. Each call
 * gets the invocation's context. */
struct platform {
	/* Whether each activation ends with OpenWhisk's markers. */
	bool markers;
	/* Limits where function_config has none; adjust_limits, unless NULL, changes them for one invocation. */
	struct limits limits;
	void (*adjust_limits)(void *context, struct limits *limits);
	/* What the activation is called, for the server's log: copies a NUL-terminated text, cut where it is longer. Left
	 * empty where it has no name; NULL where none has. */
	void (*read_id)(void *context, char id[PLATFORM_ID_SIZE]);
	/* The message to the runner, from malloc with room for one more byte, or NULL when out of memory; limits
	 * are those in force, whose time begins now. */
	char *(*make_message)(void *context, const struct limits *limits, size_t *ret_length);
	/* Lines for the log in front of the function's and behind them, from malloc; NULL for none. cold_start is
	 * NULL but for the first run of freshly loaded code. */
	char *(*log_start)(void *context, const struct cold_start *cold_start);
	char *(*log_end)(void *context, const struct outcome *outcome);
	/* Whether outcome->log is wanted. */
	bool (*wants_log)(void *context);
};

int function_new(struct function **ret_function, struct loop *loop, struct logs *logs,
	const struct function_config *config, struct err *err) UTIL_MUST_CHECK;

/* Kills the runner and removes the code. Nothing may be under way, and nobody of the function's be left to write to the
 * directory (spawn_kill_all()). */
void function_free(struct function *function);

typedef void (*invocation_done)(void *context, struct outcome *outcome);

/*
 * These queue an invocation. on_done is called once, possibly from within the call; what outcome points to is freed
 * after that.
 *
 * function_init(): body is an /init envelope, NUL-terminated; taken over in every case.
 * function_load(): code that was there at the start; the envelope's contents are taken over in every case.
 * function_run(): platform must outlive the invocation; the message is made when its turn has come.
 */
void function_init(struct function *function, char *body, size_t length, invocation_done on_done, void *context);
void function_load(struct function *function, struct envelope *envelope, invocation_done on_done, void *context);
void function_run(struct function *function, const struct platform *platform, invocation_done on_done, void *context);

/* From now on every waiting and new invocation ends with OUTCOME_STOPPING; the one under way goes on. A
 * function that handles SIGTERM gets it. */
void function_stop(struct function *function);

/* Ends the one under way, too, by killing the runner. After function_stop(). */
void function_abort(struct function *function);

/* True when no invocation is under way or waiting and, after function_stop(), the function is not busy with
 * its SIGTERM. */
bool function_is_idle(const struct function *function);

/* --- what is told of it ------------------------------------------------------------------------------ */

enum function_state {
	FUNCTION_WAITING,   /* for code */
	FUNCTION_LOADING,   /* the code is unpacked and imported */
	FUNCTION_FAILED,    /* the last init failed; another one is welcome */
	FUNCTION_READY,     /* nothing to do */
	FUNCTION_RELOADING, /* a fresh process imports the code, for an activation that waits for it */
	FUNCTION_RUNNING,
	FUNCTION_STOPPING,
	FUNCTION_STATE_COUNT
};

/* "waiting_for_init", "ready" */
const char *function_state_name(enum function_state state);

enum { FUNCTION_EXIT_STATUSES = 256, FUNCTION_SIGNALS = 65 };

/* What has been, since the start. */
struct function_metrics {
	uint64_t runs[OUTCOME_KIND_COUNT];  /* activations that have ended, by their outcome */
	uint64_t inits[OUTCOME_KIND_COUNT]; /* likewise; code that was there at the start counts as one */
	uint64_t runner_starts;
	/* Processes of the function that ended by themselves or by a signal, that of a limit included. */
	uint64_t runner_exits[FUNCTION_EXIT_STATUSES];
	uint64_t runner_signals[FUNCTION_SIGNALS];
	struct histogram queue;   /* activations, from when they came to when their turn did */
	struct histogram run;     /* of the handler */
	struct histogram loading; /* of the import, each time */
};

/* What is now. The pointers are the function's, and valid until the loop goes on. */
struct function_status {
	enum function_state state;
	const char *convention; /* NULL as long as there is no code */
	unsigned in_flight;     /* 0 or 1 */
	size_t waiting;         /* behind it */
	pid_t runner;           /* its process; 0 when there is none */
	const struct function_metrics *metrics;
};

/* Asks neither the runner nor anybody else. */
void function_describe(const struct function *function, struct function_status *ret_status);
