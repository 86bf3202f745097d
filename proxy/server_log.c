#include "server_log.h"

#include "../common/rfc3339.h"
#include "json.h"
#include "limits.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

static const char *const level_names[LOG_LEVEL_COUNT] = { "error", "warning", "info", "debug" };

static const struct {
	const char *name;
	enum log_level level;
	const char *text;
} events[LOG_EVENT_COUNT] = {
	[EVENT_SERVER_STARTED] = { "server_started", LOG_LEVEL_INFO, "the server starts" },
	[EVENT_LISTENING] = { "listening", LOG_LEVEL_INFO, "the server takes requests" },
	[EVENT_PORT_MISSED] = { "port_missed", LOG_LEVEL_WARNING, "the server goes on without a port" },
	[EVENT_USER_KEPT] = { "user_kept", LOG_LEVEL_WARNING, "the function runs as root" },
	[EVENT_START_FAILED] = { "start_failed", LOG_LEVEL_ERROR, "the server cannot start" },
	[EVENT_LOAD_FAILED] = { "load_failed", LOG_LEVEL_ERROR, "the function of the start cannot be loaded" },
	[EVENT_SERVER_STOPPING] = { "server_stopping", LOG_LEVEL_INFO, "the server was asked to stop" },
	[EVENT_STOP_HURRIED] = { "stop_hurried", LOG_LEVEL_INFO, "the server was asked to stop once more" },
	[EVENT_GRACE_OVER] = { "grace_over", LOG_LEVEL_WARNING, "an activation was cut short by the stop" },
	[EVENT_SERVER_STOPPED] = { "server_stopped", LOG_LEVEL_INFO, "the server has stopped" },
	[EVENT_RUNNER_STARTED] = { "runner_started", LOG_LEVEL_INFO, "a process for the function has started" },
	[EVENT_RUNNER_START_FAILED] = { "runner_start_failed", LOG_LEVEL_ERROR,
		"no process for the function can be started" },
	[EVENT_RUNNER_DISCARDED] = { "runner_discarded", LOG_LEVEL_INFO,
		"the process of the function is ended, for a fresh one or at the stop" },
	[EVENT_RUNNER_ENDED] = { "runner_ended", LOG_LEVEL_WARNING, "the process of the function has ended" },
	[EVENT_RUNNER_MISBEHAVED] = { "runner_misbehaved", LOG_LEVEL_ERROR,
		"the process of the function broke the protocol" },
	[EVENT_INIT_STARTED] = { "init_started", LOG_LEVEL_INFO, "the code is being loaded" },
	[EVENT_INIT_ENDED] = { "init_ended", LOG_LEVEL_INFO, "the loading of the code has ended" },
	[EVENT_UNPACKING_FAILED] = { "unpacking_failed", LOG_LEVEL_DEBUG, "the archive was refused" },
	[EVENT_ACTIVATION_STARTED] = { "activation_started", LOG_LEVEL_DEBUG, "an activation has begun" },
	[EVENT_ACTIVATION_ENDED] = { "activation_ended", LOG_LEVEL_INFO, "an activation has ended" },
	[EVENT_TIME_LIMIT_PASSED] = { "time_limit_passed", LOG_LEVEL_WARNING, "the time limit was passed" },
	[EVENT_MEMORY_LIMIT_PASSED] = { "memory_limit_passed", LOG_LEVEL_WARNING, "the memory limit was passed" },
	[EVENT_QUEUE_FULL] = { "queue_full", LOG_LEVEL_WARNING, "requests are refused, because too many wait" },
	[EVENT_RESULT_TOO_LARGE] = { "result_too_large", LOG_LEVEL_WARNING,
		"a result was larger than its door allows" },
	[EVENT_REQUEST_REFUSED] = { "request_refused", LOG_LEVEL_DEBUG, "a request was answered without the function" },
	[EVENT_CLIENT_GONE] = { "client_gone", LOG_LEVEL_INFO, "a client went away" },
	[EVENT_OUTPUT_LOST] = { "output_lost", LOG_LEVEL_WARNING, "output of the function is lost" },
	[EVENT_FOLDER_LEFT] = { "folder_left", LOG_LEVEL_WARNING, "a folder of the function could not be removed" },
	[EVENT_INTERNAL_ERROR] = { "internal_error", LOG_LEVEL_ERROR,
		"an activation failed for a reason of the server's" },
	[EVENT_LOG_REOPENED] = { "log_reopened", LOG_LEVEL_INFO, "this file takes the place of one that was moved" },
	[EVENT_LOG_LINES_LOST] = { "log_lines_lost", LOG_LEVEL_WARNING, "lines of this log could not be written" },
};

/* What a write to the place may do. */
enum place_type {
	PLACE_FILE,   /* a regular file: never waited for, may be moved */
	PLACE_SOCKET, /* can be told not to wait */
	PLACE_OTHER,  /* asked first: what polls writable takes PIPE_BUF bytes without waiting (pipe(7)) */
};

static struct {
	int fd;
	const char *path; /* NULL: a descriptor that was there */
	struct user user; /* who must not be able to lead us elsewhere by it */
	enum place_type type;
	enum log_format format;
	enum log_level level;
	dev_t device; /* of a regular file, as opened */
	ino_t inode;
	time_t looked; /* the second in which path was last compared with them */
	bool torn;     /* the last write ended within a line */
	uint64_t lost; /* lines that nobody has been told of */
	uint64_t lost_in_all;
} server_log = { .fd = -1 };

_Static_assert(LIMIT_LOG_LINE <= 4096, "PIPE_BUF: longer writes may block, and tear");

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level) i;
			return 0;
		}
	}
	return -EINVAL;
}

bool server_log_wants(enum log_event event)
{
	return server_log.fd >= 0 && events[event].level <= server_log.level;
}

uint64_t server_log_lost(void)
{
	return server_log.lost_in_all;
}

/* --- a line ------------------------------------------------------------------------------------------ */

/* Built in place, in a buffer that its writes cannot leave. What does not fit is cut such that the line stays whole:
 * END_ROOM bytes are kept for its end. */
struct line {
	char text[LIMIT_LOG_LINE];
	size_t used;
};

enum { END_ROOM = 4 };

static size_t room(const struct line *line)
{
	return sizeof(line->text) - END_ROOM - line->used;
}

static void put(struct line *line, const char *text, size_t length)
{
	memcpy(line->text + line->used, text, length);
	line->used += length;
}

static void put_text(struct line *line, const char *text)
{
	size_t length = strlen(text);

	put(line, text, length < room(line) ? length : room(line));
}

/* As a JSON string, which is also how text is quoted where the format is none: no byte in it can end the line, or reach
 * a terminal as a control character. Those of U+0080 to U+009F count, too. */
static void put_string(struct line *line, const char *text)
{
	enum { LONGEST = 6, QUOTE = 1 };
	size_t length = strlen(text);

	put(line, "\"", 1);
	for (size_t i = 0, count; i < length && room(line) >= LONGEST + QUOTE; i += count) {
		unsigned char byte = (unsigned char) text[i], next = (unsigned char) text[i + 1];
		char escaped[LONGEST + 1];

		count = json_utf8_sequence(text + i, length - i);
		if (byte == '"' || byte == '\\') {
			(void) snprintf(escaped, sizeof(escaped), "\\%c", byte);
			put_text(line, escaped);
		} else if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && count == 2 && next < 0xa0)) {
			(void) snprintf(escaped, sizeof(escaped), "\\u%04x", byte == 0xc2 ? next : byte);
			put_text(line, escaped);
		} else if (count == 0) {
			put_text(line, "\xef\xbf\xbd");
			count = 1;
		} else {
			put(line, text + i, count);
		}
	}
	put(line, "\"", 1);
}

static void put_value(struct line *line, const struct log_field *field)
{
	char number[48];

	if (field->type == LOG_FIELD_TEXT) {
		put_string(line, field->text);
		return;
	}
	if (field->type == LOG_FIELD_NUMBER)
		(void) snprintf(number, sizeof(number), "%llu", (unsigned long long) field->number);
	else
		(void) snprintf(number, sizeof(number), "%llu.%03u", (unsigned long long) field->number / 1000,
			(unsigned) (field->number % 1000));
	put_text(line, number);
}

static void put_field(struct line *line, const struct log_field *field)
{
	enum { PUNCTUATION = 4, SHORTEST_VALUE = 48 };
	bool json = server_log.format == LOG_FORMAT_JSON;

	if (field->name == NULL || (field->type == LOG_FIELD_TEXT && (field->text == NULL || field->text[0] == '\0')))
		return;
	if (room(line) < strlen(field->name) + PUNCTUATION + SHORTEST_VALUE)
		return;
	put_text(line, json ? ",\"" : " ");
	put_text(line, field->name);
	put_text(line, json ? "\":" : "=");
	put_value(line, field);
}

static void make_line(struct line *line, enum log_event event, const struct timespec *now,
	const struct log_field *fields, size_t count)
{
	bool json = server_log.format == LOG_FORMAT_JSON;
	char when[RFC3339_SIZE];

	line->used = 0;
	if (server_log.torn)
		put_text(line, "\n");
	put_text(line, json ? "{\"time\":\"" : "");
	rfc3339_write(when, now);
	put_text(line, when);
	put_text(line, json ? "\",\"level\":\"" : " ");
	put_text(line, level_names[events[event].level]);
	put_text(line, json ? "\",\"event\":\"" : " ");
	put_text(line, events[event].name);
	put_text(line, json ? "\",\"message\":\"" : ": ");
	put_text(line, events[event].text);
	put_text(line, json ? "\"" : "");
	for (size_t i = 0; i < count; i++)
		put_field(line, &fields[i]);
	put(line, "}\n" + (json ? 0 : 1), json ? 2 : 1);
}

/* --- the place --------------------------------------------------------------------------------------- */

static void take_type(const struct stat *file)
{
	server_log.type = PLACE_OTHER;
	if (S_ISREG(file->st_mode))
		server_log.type = PLACE_FILE;
	else if (S_ISSOCK(file->st_mode))
		server_log.type = PLACE_SOCKET;
	server_log.device = file->st_dev;
	server_log.inode = file->st_ino;
}

static int open_path(const char *path, struct err *err)
{
	enum { FLAGS = O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };
	struct stat entry;
	/* What comes up there in this moment is not followed. */
	int create = lstat(path, &entry) < 0 ? O_CREAT | O_EXCL : 0;
	int r = user_check_path(&server_log.user, path, err), fd;

	if (r < 0)
		return err_wrap(err, r, "--log-file (PYACTION_LOG_FILE)");
	fd = open(path, O_WRONLY | FLAGS | create, 0640);
	if (fd < 0 && errno == ENOENT && create == 0) /* a link to what is not there yet */
		fd = open(path, O_WRONLY | FLAGS | O_CREAT, 0640);
	/* A named pipe without a reader: being one ourselves, we need not wait for it. */
	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | FLAGS, 0640);
	return fd >= 0 ? fd : err_errno(err, -errno, "cannot open --log-file (PYACTION_LOG_FILE) '%s'", path);
}

/* A file that was moved, or removed, by who rotates logs is made anew. Looked at once a second at most. Returns whether
 * it was; where it cannot be, the old one is written to on. */
static bool follow_path(time_t second)
{
	struct stat file;
	struct err err;
	int fd;

	if (server_log.type != PLACE_FILE || server_log.path == NULL || server_log.looked == second)
		return false;
	server_log.looked = second;
	if (stat(server_log.path, &file) == 0 && file.st_dev == server_log.device && file.st_ino == server_log.inode)
		return false;
	fd = open_path(server_log.path, &err);
	if (fd < 0 || fstat(fd, &file) < 0) {
		fd_close(fd);
		return false;
	}
	fd_close(server_log.fd);
	server_log.fd = fd;
	server_log.torn = false;
	take_type(&file);
	return true;
}

/* Bytes written, or -1. Never waits. */
static ssize_t write_now(const char *text, size_t length)
{
	struct pollfd poll_fd = { .fd = server_log.fd, .events = POLLOUT };

	if (server_log.type == PLACE_SOCKET)
		return send(server_log.fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (server_log.type == PLACE_OTHER && (poll(&poll_fd, 1, 0) <= 0 || (poll_fd.revents & POLLOUT) == 0))
		return -1;
	return write(server_log.fd, text, length);
}

static bool write_event(enum log_event event, const struct timespec *now, const struct log_field *fields, size_t count)
{
	struct line line;
	ssize_t written;

	make_line(&line, event, now, fields, count);
	written = write_now(line.text, line.used);
	if (written > 0)
		server_log.torn = line.text[written - 1] != '\n';
	return written == (ssize_t) line.used;
}

void server_log_write(enum log_event event, const struct log_field *fields, size_t count)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	if (follow_path(now.tv_sec) && server_log_wants(EVENT_LOG_REOPENED))
		(void) write_event(EVENT_LOG_REOPENED, &now, NULL, 0);
	if (server_log.lost > 0 && write_event(EVENT_LOG_LINES_LOST, &now, &LOG_NUMBER("lines", server_log.lost), 1))
		server_log.lost = 0;
	if (server_log.lost == 0 && write_event(event, &now, fields, count))
		return;
	server_log.lost++;
	server_log.lost_in_all++;
}

/* "fd:N": N, -1 for another text. */
static int parse_descriptor(const char *place)
{
	char *rest;
	long fd;

	if (strncmp(place, "fd:", 3) != 0 || place[3] < '0' || place[3] > '9')
		return -1;
	fd = strtol(place + 3, &rest, 10);
	return *rest == '\0' && fd <= INT32_MAX ? (int) fd : -1;
}

static int check_descriptor(int fd, const char *place, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_errno(err, -errno, "cannot write to --log-file (PYACTION_LOG_FILE) '%s'", place);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(err, -EBADF, "--log-file (PYACTION_LOG_FILE) '%s' is open for reading only", place);
	/* Of the descriptor alone. The flags of its description, which it shares with others, are left as they are. */
	if (fd > STDERR_FILENO)
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

int server_log_open(
	const char *place, enum log_format format, enum log_level level, const struct user *user, struct err *err)
{
	int given = parse_descriptor(place), r;
	cleanup_fd int fd = -1;
	struct stat file;

	server_log.user = user != NULL ? *user : (struct user) { 0 };
	if (given >= 0) {
		r = check_descriptor(given, place, err);
		if (r < 0)
			return r;
	} else {
		fd = open_path(place, err);
		if (fd < 0)
			return fd;
	}
	if (fstat(given >= 0 ? given : fd, &file) < 0)
		return err_errno(err, -errno, "cannot use --log-file (PYACTION_LOG_FILE) '%s'", place);
	server_log.fd = given >= 0 ? given : steal_fd(&fd);
	server_log.path = given >= 0 ? NULL : place;
	server_log.format = format;
	server_log.level = level;
	server_log.torn = false;
	server_log.lost = 0;
	take_type(&file);
	return 0;
}

void server_log_close(void)
{
	if (server_log.path != NULL)
		fd_close(server_log.fd);
	server_log.fd = -1;
}
