/*
 * The runner's side of the two pipes: lines in, bytes out.
 *
 * The descriptors are moved to high numbers and are closed on exec and in every forked child, so that
 * nothing a function starts, and no small number it writes to, reaches the proxy.
 */
#pragma once

#include "../common/err.h"
#include "../common/look.h"

#include <sys/types.h>

struct channel {
	int messages_fd, replies_fd;
	char *data; /* read and not yet consumed; the current line stands at its start */
	size_t filled, capacity;
	size_t line_length; /* of the current line, with its newline; 0 when there is none */
	bool may_look;
	struct look look;
};

/* Takes over fds 3 and 4. One channel for each process. */
int channel_open(struct channel *channel, struct err *err) UTIL_MUST_CHECK;

/* Where lines have lately come soon, looks for the next one for moments instead of sleeping. Call it without the
 * interpreter's lock. */
void channel_look(struct channel *channel);

/*
 * Reads the next line, without its newline; it stays valid, and may be changed, until the next call. Blocks; call it without the
 * interpreter's lock. Returns 1, 0 at the end of the channel (part of a line then counts for nothing), or
 * -errno: -EINTR when a signal came, to be called again, nothing is lost.
 */
int channel_read_line(struct channel *channel, char **ret_line, size_t *ret_length) UTIL_MUST_CHECK;

/* Waits at most timeout_ms for something to read. Returns 1 when there is something, or 0. */
int channel_wait(const struct channel *channel, int timeout_ms);

/* Gives back what a long line took. After the line has been used. */
void channel_trim(struct channel *channel);

/* Writes all of it. Returns 0 or -errno. */
int channel_write(const struct channel *channel, const char *data, size_t length) UTIL_MUST_CHECK;
