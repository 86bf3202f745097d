/*
 * Ownership in the line: cleanup attributes and their way out.
 *
 * A local declared with one of the cleanup_ attributes is released when its scope ends. To hand it to
 * somebody else, return or store steal_ptr(&x) / steal_fd(&fd): the local is emptied, so that every path
 * shows who owns what.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define UTIL_PRINTF(format_index, args_index) __attribute__((format(printf, format_index, args_index)))
#define UTIL_UNUSED __attribute__((unused))
#define UTIL_MUST_CHECK __attribute__((warn_unused_result))

/* Closes fd unless it is negative. close() is never retried: on Linux the number is free even after EINTR,
 * and a second close could hit somebody else's descriptor. Keeps errno. */
static inline void fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void) close(fd);
	errno = saved;
}

static inline void fd_closep(int *fd)
{
	fd_close(*fd);
	*fd = -1;
}

static inline void free_voidp(void *pointer)
{
	void **object = pointer;

	free(*object);
	*object = NULL;
}

#define cleanup_free __attribute__((cleanup(free_voidp)))
#define cleanup_fd __attribute__((cleanup(fd_closep)))

static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void *steal_voidp(void *pointer)
{
	void **object = pointer;
	void *taken = *object;

	*object = NULL;
	return taken;
}

/* The conditional never runs its second arm: it gives the result the type of *(pointer). */
#define steal_ptr(pointer) (0 ? *(pointer) : steal_voidp(pointer))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Writes all of it, whatever the size of the steps. Returns 0 or -errno. */
static inline int fd_write_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, data, length);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		data += count;
		length -= (size_t) count;
	}
	return 0;
}
