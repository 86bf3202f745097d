#include "logs.h"

#include "server_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum {
	STREAM_BUFFER = 65536,
	PIPE_SIZE = 1 << 20, /* lets a burst of output pass without waking us for each page */
	PAUSE_MS = 5,        /* between two looks at a pipe that is being written to: see on_source_ready() */
};

/* What a write to the target may do. */
enum blocking {
	NEVER_BLOCKS, /* a regular file */
	NON_BLOCKING, /* says EAGAIN instead */
	MAY_BLOCK,    /* must be asked first, each time */
};

/* One pipe and where it leads. */
struct stream {
	struct logs *logs;
	struct watch source; /* read end of the pipe */
	struct watch target; /* fd 1 or 2, watched only while it takes nothing */
	struct timer pause;  /* set while source is not watched, for a while */
	int write_end;
	int target_fd; /* what is written to: fd 1 or 2, or a description of our own of the same pipe */
	enum blocking blocking;
	bool line_open;   /* the last byte written was no newline */
	bool dead;        /* the target takes nothing any more, ever */
	bool lossy;       /* some was dropped, and it has been said */
	int markers_due;  /* to be written once bytes_due have passed */
	bool ending;      /* an activation's end is waiting for bytes_due and markers_due */
	size_t bytes_due; /* of the pipe, that belong to the activation that ends */
	bool kept;        /* what it moves now is kept: until its end of the activation */
	char *head;       /* goes out before anything else, NULL when there is none */
	char *note;       /* goes out before the markers, NULL when there is none */
	size_t offset, filled;
	char buffer[STREAM_BUFFER];
};

_Static_assert(LOGS_LINES_MAX + 256 < STREAM_BUFFER, "a note and the markers fit into an empty buffer");

struct logs {
	struct loop *loop;
	struct stream streams[2];
	size_t stream_count; /* 1 when stdout and stderr lead to the same file */
	void (*on_done)(void *context);
	void *context;
	char *tail; /* the last bytes logged, as a ring; NULL when they are not kept */
	size_t tail_total;
	char *closing; /* lines of ours for the very end of what is kept, when both streams are at theirs */
};

static void keep(struct logs *logs, const char *text, size_t length)
{
	if (logs->tail == NULL)
		return;
	for (size_t i = length > LOGS_TAIL_MAX ? length - LOGS_TAIL_MAX : 0; i < length; i++)
		logs->tail[(logs->tail_total + i) % LOGS_TAIL_MAX] = text[i];
	logs->tail_total += length;
}

static bool is_same_file(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
		first.st_ino == second.st_ino;
}

/* fd 1 or 2 may be shared with whoever started us, so it is never made non-blocking: that flag lives in the
 * shared description. A pipe can be opened once more through /proc, for a description of our own; where that
 * is refused, and for terminals and sockets, poll() is asked before each write. */
static void open_target(struct stream *stream, int fd)
{
	struct stat file;
	char path[32];

	stream->target_fd = fd;
	stream->blocking = MAY_BLOCK;
	if (fstat(fd, &file) < 0)
		return;
	if (S_ISREG(file.st_mode))
		stream->blocking = NEVER_BLOCKS;
	if (!S_ISFIFO(file.st_mode))
		return;
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		stream->target_fd = fd;
		stream->blocking = NON_BLOCKING;
	}
}

/* How much can be written without blocking. What polls writable takes PIPE_BUF bytes whole (pipe(7)). */
static size_t writable_now(const struct stream *stream, size_t length)
{
	struct pollfd poll_fd = { .fd = stream->target_fd, .events = POLLOUT };

	if (stream->blocking != MAY_BLOCK)
		return length;
	if (poll(&poll_fd, 1, 0) <= 0)
		return 0;
	return length < PIPE_BUF ? length : PIPE_BUF;
}

/* Said once for each stream, for what is lost may be megabytes in small pieces. */
static void note_loss(struct stream *stream, int error)
{
	if (!stream->lossy)
		server_log(EVENT_OUTPUT_LOST, LOG_NUMBER("stream", stream - stream->logs->streams + 1),
			LOG_TEXT("error", strerror(error)));
	stream->lossy = true;
}

/* Writes the buffer as far as it goes. Returns false when the target must be waited for. */
static bool write_out(struct stream *stream)
{
	while (stream->offset < stream->filled) {
		size_t length = writable_now(stream, stream->filled - stream->offset);
		ssize_t written;

		if (length == 0 && !stream->dead)
			return false;
		written = stream->dead ? -1 : write(stream->target_fd, stream->buffer + stream->offset, length);
		if (written < 0 && !stream->dead && (errno == EINTR || errno == EAGAIN))
			return errno == EINTR ? write_out(stream) : false;
		if (written < 0) { /* nobody can take it: dropped */
			note_loss(stream, errno);
			stream->dead = stream->dead || errno == EPIPE || errno == EBADF;
			written = (ssize_t) (stream->filled - stream->offset);
		}
		stream->offset += (size_t) written;
		stream->line_open = stream->buffer[stream->offset - 1] != '\n';
	}
	stream->offset = stream->filled = 0;
	return true;
}

/* Lines of ours among what is kept: the other stream may have left a line open. */
static void keep_lines(struct logs *logs, const char *text)
{
	if (logs->tail != NULL && logs->tail_total > 0 && logs->tail[(logs->tail_total - 1) % LOGS_TAIL_MAX] != '\n')
		keep(logs, "\n", 1);
	keep(logs, text, strlen(text));
}

static void buffer_add(struct stream *stream, const char *text)
{
	size_t length = strlen(text);

	memcpy(stream->buffer + stream->filled, text, length);
	stream->filled += length;
}

static void add_head(struct stream *stream)
{
	cleanup_free char *head = steal_ptr(&stream->head);

	if (stream->line_open)
		buffer_add(stream, "\n");
	buffer_add(stream, head);
	keep_lines(stream->logs, head);
}

/* Reads from the pipe into the empty buffer: all of it, or while an activation ends, what belongs to it. */
static size_t read_in(struct stream *stream)
{
	size_t length = STREAM_BUFFER;
	ssize_t count;

	if (stream->ending && stream->bytes_due < length)
		length = stream->bytes_due;
	if (length == 0)
		return 0;
	count = read(stream->source.fd, stream->buffer, length);
	if (count <= 0)
		return 0;
	stream->filled = (size_t) count;
	if (stream->kept)
		keep(stream->logs, stream->buffer, stream->filled);
	if (stream->ending)
		stream->bytes_due -= (size_t) count;
	return stream->filled;
}

/* The end of the ending activation's output, as one write. */
static void add_end(struct stream *stream)
{
	cleanup_free char *note = steal_ptr(&stream->note);
	struct logs *logs = stream->logs;

	if (stream->line_open && (note != NULL || stream->markers_due > 0)) {
		buffer_add(stream, "\n");
		if (stream->kept)
			keep(logs, "\n", 1);
	}
	if (note != NULL)
		buffer_add(stream, note);
	if (note != NULL && stream == &logs->streams[0])
		logs->closing = steal_ptr(&note);
	else if (note != NULL)
		keep_lines(logs, note);
	stream->kept = false;
	for (; stream->markers_due > 0; stream->markers_due--)
		buffer_add(stream, LOGS_MARKER "\n");
	stream->ending = false;
}

static void watch_for(struct stream *stream, bool target_full)
{
	struct err err;

	/* A regular file cannot be watched (EPERM), and is never full. Where the system has no room for a watch, it is
	 * looked at again in a while. */
	if (loop_watch(stream->logs->loop, &stream->source, target_full || stream->pause.set ? 0 : EPOLLIN, &err) < 0 ||
		loop_watch(stream->logs->loop, &stream->target, target_full ? EPOLLOUT : 0, &err) < 0)
		loop_timer_set(stream->logs->loop, &stream->pause, loop_now_ms() + PAUSE_MS);
}

static void tell_if_done(struct logs *logs)
{
	void (*on_done)(void *context) = logs->on_done;

	for (size_t i = 0; i < logs->stream_count; i++) {
		const struct stream *stream = &logs->streams[i];

		if (stream->ending || stream->offset < stream->filled)
			return;
	}
	logs->on_done = NULL;
	if (logs->closing != NULL)
		keep_lines(logs, logs->closing);
	free(logs->closing);
	logs->closing = NULL;
	if (on_done != NULL)
		on_done(logs->context);
}

/* Moves what can be moved. At most rounds times, so that a flood does not keep the loop from other work. */
static void pump(struct stream *stream, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		if (!write_out(stream)) {
			watch_for(stream, true);
			return;
		}
		if (stream->head != NULL) {
			add_head(stream);
			continue;
		}
		if (stream->ending && stream->bytes_due == 0) {
			add_end(stream);
			break; /* what comes now can wait for the loop */
		}
		if (read_in(stream) == 0) {
			if (!stream->ending)
				break;
			stream->bytes_due = 0; /* the pipe held less than it said: somebody else read it */
		}
	}
	/* Out of rounds at the very end: nothing would wake us for it, the pipe may be empty. */
	if (stream->ending && stream->bytes_due == 0 && write_out(stream))
		add_end(stream);
	watch_for(stream, !write_out(stream));
}

/* How much a pump moves: before other work has its turn, at an activation's end, at the end of all. */
enum { ROUNDS = 8, END_ROUNDS = 64, LAST_ROUNDS = 1024 };

static void on_target_ready(void *context, uint32_t events UTIL_UNUSED)
{
	struct stream *stream = context;

	pump(stream, ROUNDS);
	tell_if_done(stream->logs);
}

/* Output has come. More of it usually follows, in small pieces, and to be woken for each would cost more than
 * the output itself: the pipe holds what comes in the next moments. An activation's end does not wait. */
static void on_source_ready(void *context, uint32_t events UTIL_UNUSED)
{
	struct stream *stream = context;

	loop_timer_set(stream->logs->loop, &stream->pause, loop_now_ms() + PAUSE_MS);
	pump(stream, ROUNDS);
	tell_if_done(stream->logs);
}

/* Has more come meanwhile, then the next look is in a while again; while nobody takes it, there is none. */
static void on_pause_over(void *context)
{
	struct stream *stream = context;
	int pending = 0;

	(void) ioctl(stream->source.fd, FIONREAD, &pending);
	if (pending > 0 && stream->target.events == 0)
		loop_timer_set(stream->logs->loop, &stream->pause, loop_now_ms() + PAUSE_MS);
	pump(stream, ROUNDS);
	tell_if_done(stream->logs);
}

/* stream_close() is due also where it fails. */
static int stream_open(struct stream *stream, struct logs *logs, int target_fd, struct err *err)
{
	int fds[2] = { -1, -1 };
	int r = pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;

	stream->logs = logs;
	stream->source = (struct watch) { .fd = fds[0], .on_ready = on_source_ready, .context = stream };
	stream->pause = (struct timer) { .on_due = on_pause_over, .context = stream };
	open_target(stream, target_fd);
	stream->target = (struct watch) { .fd = stream->target_fd, .on_ready = on_target_ready, .context = stream };
	stream->write_end = fds[1];
	if (r < 0)
		return err_errno(err, r, "cannot make a pipe for the function's output");
	(void) fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE); /* may be refused: then it is 64 KB */
	/* Opened anew, as /dev/stdout, by processes of whatever user: for writing, not for reading. */
	(void) fchmod(fds[1], 0222);
	/* Only this end: the other's flags are shared with every process that writes. */
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return err_errno(err, -errno, "cannot make a pipe for the function's output");
	return loop_watch(logs->loop, &stream->source, EPOLLIN, err);
}

static void stream_close(struct stream *stream)
{
	loop_timer_clear(stream->logs->loop, &stream->pause);
	loop_unwatch(stream->logs->loop, &stream->source);
	loop_unwatch(stream->logs->loop, &stream->target);
	free(stream->head);
	free(stream->note);
	fd_close(stream->source.fd);
	fd_close(stream->write_end);
	if (stream->blocking == NON_BLOCKING)
		fd_close(stream->target_fd);
}

static void logs_freep(struct logs **logs)
{
	logs_free(*logs);
}

int logs_new(struct logs **ret_logs, struct loop *loop, struct err *err)
{
	__attribute__((cleanup(logs_freep))) struct logs *logs = calloc(1, sizeof(*logs));
	size_t wanted = is_same_file(STDOUT_FILENO, STDERR_FILENO) ? 1 : 2;

	if (logs == NULL)
		return err_errno(err, -ENOMEM, "cannot make the log relay");
	logs->loop = loop;
	while (logs->stream_count < wanted) {
		int target_fd = logs->stream_count == 0 ? STDOUT_FILENO : STDERR_FILENO;
		struct stream *stream = &logs->streams[logs->stream_count];
		int r = stream_open(stream, logs, target_fd, err);

		if (r < 0) {
			stream_close(stream);
			return r;
		}
		logs->stream_count++;
	}
	*ret_logs = steal_ptr(&logs);
	return 0;
}

void logs_free(struct logs *logs)
{
	if (logs == NULL)
		return;
	for (size_t i = 0; i < logs->stream_count; i++) {
		pump(&logs->streams[i], LAST_ROUNDS);
		stream_close(&logs->streams[i]);
	}
	free(logs->closing);
	free(logs->tail);
	free(logs);
}

int logs_stdout_fd(const struct logs *logs)
{
	return logs->streams[0].write_end;
}

static const struct stream *stderr_stream(const struct logs *logs)
{
	return &logs->streams[logs->stream_count - 1];
}

int logs_stderr_fd(const struct logs *logs)
{
	return stderr_stream(logs)->write_end;
}

/* Adds lines and an end to those that text holds, as far as there is room. */
static void append_cut(char **text, const char *lines, const char *end)
{
	size_t used = *text != NULL ? strlen(*text) : 0;
	size_t room = LOGS_LINES_MAX - used;
	size_t length = strlen(lines);
	char *grown;

	if (length + 1 > room)
		length = room > 1 ? room - 1 : 0;
	grown = room > 1 ? realloc(*text, used + length + 2) : NULL;
	if (grown == NULL)
		return;
	*text = grown;
	(void) snprintf(grown + used, length + 2, "%.*s%s", (int) length, lines, length < strlen(lines) ? "\n" : end);
}

void logs_write_stderr(struct logs *logs, const char *line)
{
	append_cut(&logs->streams[logs->stream_count - 1].note, line, "\n");
}

void logs_write_stdout(struct logs *logs, const char *lines)
{
	append_cut(&logs->streams[0].note, lines, "");
}

void logs_begin_activation(struct logs *logs, const char *lines, bool keep_tail)
{
	struct stream *stream = &logs->streams[0];

	free(logs->tail);
	logs->tail = keep_tail ? malloc(LOGS_TAIL_MAX) : NULL;
	logs->tail_total = 0;
	for (size_t i = 0; i < logs->stream_count; i++)
		logs->streams[i].kept = keep_tail;
	if (lines == NULL)
		return;
	free(stream->head);
	stream->head = NULL;
	append_cut(&stream->head, lines, "");
	pump(stream, 2);
}

char *logs_steal_tail(struct logs *logs, size_t *ret_length)
{
	cleanup_free char *ring = steal_ptr(&logs->tail);
	size_t length = logs->tail_total < LOGS_TAIL_MAX ? logs->tail_total : LOGS_TAIL_MAX;
	char *text = ring != NULL ? malloc(length + 1) : NULL;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < length; i++)
		text[i] = ring[(logs->tail_total - length + i) % LOGS_TAIL_MAX];
	text[length] = '\0';
	*ret_length = length;
	return text;
}

void logs_end_activation(struct logs *logs, bool markers, void (*on_done)(void *context), void *context)
{
	logs->on_done = on_done;
	logs->context = context;
	for (size_t i = 0; i < logs->stream_count; i++) {
		struct stream *stream = &logs->streams[i];
		int pending = 0;

		(void) ioctl(stream->source.fd, FIONREAD, &pending);
		stream->bytes_due = pending > 0 ? (size_t) pending : 0;
		stream->markers_due = markers ? 2 / (int) logs->stream_count : 0;
		stream->ending = true;
	}
	/* Stdout last: the platform's last lines are at the end of what is kept of both. */
	for (size_t i = logs->stream_count; i > 0; i--)
		pump(&logs->streams[i - 1], END_ROUNDS);
	tell_if_done(logs);
}
