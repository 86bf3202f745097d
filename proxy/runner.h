/*
 * One runner: a child process that takes a line and answers with a reply. It knows lines, not their meaning.
 *
 * A runner is started idle, is given one message at a time, and ends exactly once: by itself, by a signal,
 * or because it broke the protocol, in which case it is killed. What it had answered completely before it
 * ended counts: the channel is drained before the death is believed.
 */
#pragma once

#include "loop.h"
#include "reply.h"
#include "user.h"

#include <stdbool.h>

struct runner;

/* How a process ended. */
struct runner_end {
	const char *reason; /* a phrase for people, "exit status 3" */
	int wait_status;    /* as of waitpid() */
	long peak_kb;       /* the most memory it had at a time; 0 when that is not known */
};

struct runner_callbacks {
	/* The answer to the message. status and payload belong to the runner until the call returns;
	 * reply->payload may be taken with steal_ptr(). Not called any more once on_end has been. */
	void (*on_reply)(void *context, struct reply *reply);
	/* The process has ended and is reaped, what was left of its group is killed. The runner is freed when the
	 * call returns. */
	void (*on_end)(void *context, const struct runner_end *end);
	void *context;
};

struct runner_config {
	const char *path;        /* of the executable */
	const struct user *user; /* whose it is; NULL for ourselves */
	int stdout_fd, stderr_fd;
	/* "NAME=VALUE", NULL-terminated, put over this process's own environment; NULL for none */
	const char *const *extra_environment;
};

/* Starts the process: fd 0 /dev/null, 1 and 2 as configured, 3 messages in, 4 replies out. */
int runner_start(struct runner **ret_runner, struct loop *loop, const struct runner_config *config,
	const struct runner_callbacks *callbacks, struct err *err) UTIL_MUST_CHECK;

/*
 * Sends a message and its newline. line must hold no newline, have room for one byte more than length, and
 * is taken over in every case. One at a time: not again before on_reply.
 */
void runner_send(struct runner *runner, char *line, size_t length);

/* Takes the answer at once if it comes within moments, as those of small functions do: on_reply is called, within this
 * call, without a turn of the loop. */
void runner_look(struct runner *runner);

/* True between runner_send() and its on_reply. */
bool runner_is_busy(const struct runner *runner);

/* Whether a message can be sent. False once its end has been noticed, and when it has said something that
 * nobody asked for, which must not become the answer to the next message: on_end is about to be called. */
bool runner_is_ready(struct runner *runner);

/* Passes SIGTERM on, if the function has a handler for it; without one the process would just die, in the
 * middle of an activation. Returns whether it was sent. */
bool runner_terminate(struct runner *runner);

/* In on_end: the message that the process never began to read, for giving it to another runner; NULL when
 * there is none, or when it is not certain. The caller owns it, with room for one more byte. */
char *runner_steal_unread(struct runner *runner, size_t *ret_length);

/* Memory that it has now with all that it has started, as process_tree_kb() says it. */
long runner_memory_kb(const struct runner *runner, long enough_kb);

/* Its process; 0 once that has ended. */
pid_t runner_pid(const struct runner *runner);

/* Kills it with all of its process group; no reply counts any more. on_end follows, with this reason. */
void runner_kill(struct runner *runner, const char *reason);

/* Kills it with all of its process group, and forgets it: no callback follows, it frees itself when its
 * process has ended, from the loop. */
void runner_discard(struct runner *runner);
