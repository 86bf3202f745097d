#include "channel.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

enum {
	FIRST_CAPACITY = 16384,
	KEEP_CAPACITY = 262144, /* a larger buffer is given back after its line */
	HIGH_FD = 1000,
};

static struct channel *forked_channel;

/* A child of the function, forked without exec, must neither answer for it nor take its messages. */
static void close_in_child(void)
{
	fd_closep(&forked_channel->messages_fd);
	fd_closep(&forked_channel->replies_fd);
}

static int move_high(int fd)
{
	struct rlimit files;
	int lowest = HIGH_FD, moved;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < HIGH_FD + 8)
		lowest = (int) files.rlim_cur - 8;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
	if (moved >= 0)
		fd_close(fd);
	return moved;
}

int channel_open(struct channel *channel, struct err *err)
{
	*channel = (struct channel) { .messages_fd = move_high(3), .replies_fd = move_high(4) };
	if (channel->messages_fd < 0 || channel->replies_fd < 0)
		return err_set(err, -EBADF,
			"fds 3 and 4 must be the pipes from and to the proxy: pyaction starts this program");
	channel->may_look = look_is_possible();
	forked_channel = channel;
	if (pthread_atfork(NULL, NULL, close_in_child) != 0)
		return err_set(err, -ENOMEM, "cannot register a fork handler");
	return 0;
}

/* Room for what is in the pipe, and as much behind it: growing little by little would copy what is there each time. */
static int reserve(struct channel *channel)
{
	size_t capacity = channel->capacity == 0 ? FIRST_CAPACITY : 2 * channel->capacity;
	int pending = 0;
	char *grown;

	if (channel->filled < channel->capacity)
		return 0;
	if (channel->capacity > 0 && ioctl(channel->messages_fd, FIONREAD, &pending) == 0 && pending > 0 &&
		capacity < channel->filled + 2 * (size_t) pending)
		capacity = channel->filled + 2 * (size_t) pending;
	grown = realloc(channel->data, capacity);
	if (grown == NULL)
		return -ENOMEM;
	channel->data = grown;
	channel->capacity = capacity;
	return 0;
}

static void drop_current_line(struct channel *channel)
{
	channel->filled -= channel->line_length;
	if (channel->filled > 0)
		memmove(channel->data, channel->data + channel->line_length, channel->filled);
	channel->line_length = 0;
}

static int has_come(void *context)
{
	return poll(context, 1, 0);
}

void channel_look(struct channel *channel)
{
	struct pollfd poll_fd = { .fd = channel->messages_fd, .events = POLLIN };

	if (channel->may_look && channel->filled == channel->line_length)
		(void) look_for(&channel->look, has_come, &poll_fd);
}

int channel_wait(const struct channel *channel, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = channel->messages_fd, .events = POLLIN };

	return channel->filled > channel->line_length || poll(&poll_fd, 1, timeout_ms) != 0;
}

void channel_trim(struct channel *channel)
{
	drop_current_line(channel);
	if (channel->capacity <= KEEP_CAPACITY || channel->filled > 0)
		return;
	free(channel->data);
	channel->data = NULL;
	channel->capacity = 0;
}

int channel_read_line(struct channel *channel, char **ret_line, size_t *ret_length)
{
	size_t scanned = 0;

	drop_current_line(channel);
	for (;;) {
		char *newline = channel->filled > scanned
			? memchr(channel->data + scanned, '\n', channel->filled - scanned)
			: NULL;
		ssize_t count;

		if (newline != NULL) {
			*ret_line = channel->data;
			*ret_length = (size_t) (newline - channel->data);
			channel->line_length = *ret_length + 1;
			return 1;
		}
		scanned = channel->filled;
		if (reserve(channel) < 0)
			return -ENOMEM;
		count = read(
			channel->messages_fd, channel->data + channel->filled, channel->capacity - channel->filled);
		if (count < 0)
			return -errno;
		if (count == 0)
			return 0;
		channel->filled += (size_t) count;
	}
}

int channel_write(const struct channel *channel, const char *data, size_t length)
{
	return fd_write_all(channel->replies_fd, data, length);
}
