/*
 * The function's output: from the runner's fds 1 and 2 to ours, and the end-of-activation markers.
 *
 * The runner (and whatever it starts) writes to pipes that this module owns for the life of the proxy; it
 * copies them to fds 1 and 2 as they come. Where both lead to the same file, one pipe serves both, so that
 * the order between the two streams is kept. An activation's end is exact: what is in the pipes at that
 * moment goes out, an unterminated last line is ended (readers drop lines that hold the marker, so it must
 * stand alone), then the marker, once for each stream.
 *
 * Nothing here blocks: a reader of our stdout that stalls holds up the activation that waits for its
 * markers, and nothing else. Output that nobody can take any more (EPIPE, ENOSPC) is dropped.
 */
#pragma once

#include "loop.h"

#include <stdbool.h>

#define LOGS_MARKER "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

enum {
	LOGS_LINES_MAX = 16384, /* bytes of a platform's lines at the beginning, and at the end, of an activation */
	LOGS_TAIL_MAX = 4096,   /* X-Amz-Log-Result */
};

struct logs;

int logs_new(struct logs **ret_logs, struct loop *loop, struct err *err) UTIL_MUST_CHECK;
/* Copies what is left as far as that is possible at once, and closes the pipes. */
void logs_free(struct logs *logs);

/* What a runner gets as fds 1 and 2; they stay ours. */
int logs_stdout_fd(const struct logs *logs);
int logs_stderr_fd(const struct logs *logs);

/* A line of ours for the function's stderr, in front of the marker: the platform's documented messages
 * only. Its newline is added. */
void logs_write_stderr(struct logs *logs, const char *line);

/*
 * Begins an activation whose platform has lines of its own for the log. lines (NULL for none; each ended by a
 * newline; cut after LOGS_LINES_MAX bytes) go to stdout in front of all that the function writes from now on. With
 * keep_tail, the last LOGS_TAIL_MAX bytes of what is logged from now to the activation's end are kept.
 */
void logs_begin_activation(struct logs *logs, const char *lines, bool keep_tail);

/* Such lines for the end: they go to stdout behind all output up to now, before logs_end_activation()'s marker. */
void logs_write_stdout(struct logs *logs, const char *lines);

/* What was kept of the activation that has ended, for free(); NULL when out of memory. Keeps no more. */
char *logs_steal_tail(struct logs *logs, size_t *ret_length);

/*
 * Ends an activation: calls on_done once all output up to now, and with markers one marker on each stream,
 * has been written; from within this call when it can be done at once. One at a time.
 */
void logs_end_activation(struct logs *logs, bool markers, void (*on_done)(void *context), void *context);
