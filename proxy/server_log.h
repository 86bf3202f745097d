/*
 * The proxy's own log: what happens to the server, for who operates it, in a place of its own. The function's output
 * is in logs.h.
 *
 * One for the process, as with syslog(3), and closed until server_log_open(). A line says the time, the level, the
 * event, a sentence, and fields. What belongs to users is in none: no payloads, no code, no variables; paths of requests
 * and what programs of ours say about an archive only with LOG_LEVEL_DEBUG. Control characters are escaped.
 *
 * A line is one write() of at most LIMIT_LOG_LINE bytes, and is dropped where the place cannot take it at once: a pipe
 * that nobody reads, a full disk. How many were is said as soon as one fits again. A regular file that has been renamed
 * or removed is made anew within a second; one that was cut goes on at its end.
 */
#pragma once

#include "user.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Names, levels and sentences are in server_log.c; docs/messages.md says what they mean. */
enum log_event {
	EVENT_SERVER_STARTED,
	EVENT_LISTENING,
	EVENT_PORT_MISSED,
	EVENT_USER_KEPT,
	EVENT_START_FAILED,
	EVENT_LOAD_FAILED,
	EVENT_SERVER_STOPPING,
	EVENT_STOP_HURRIED,
	EVENT_GRACE_OVER,
	EVENT_SERVER_STOPPED,
	EVENT_RUNNER_STARTED,
	EVENT_RUNNER_START_FAILED,
	EVENT_RUNNER_DISCARDED,
	EVENT_RUNNER_ENDED,
	EVENT_RUNNER_MISBEHAVED,
	EVENT_INIT_STARTED,
	EVENT_INIT_ENDED,
	EVENT_UNPACKING_FAILED,
	EVENT_ACTIVATION_STARTED,
	EVENT_ACTIVATION_ENDED,
	EVENT_TIME_LIMIT_PASSED,
	EVENT_MEMORY_LIMIT_PASSED,
	EVENT_QUEUE_FULL,
	EVENT_RESULT_TOO_LARGE,
	EVENT_REQUEST_REFUSED,
	EVENT_CLIENT_GONE,
	EVENT_OUTPUT_LOST,
	EVENT_FOLDER_LEFT,
	EVENT_INTERNAL_ERROR,
	EVENT_LOG_REOPENED,
	EVENT_LOG_LINES_LOST,
	LOG_EVENT_COUNT
};

/* A part of a line. One without a name, or with a text that is NULL or empty, is left out. */
struct log_field {
	const char *name;
	enum { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_MICROSECONDS } type;
	const char *text;
	uint64_t number;
};

#define LOG_TEXT(field_name, value) ((struct log_field) { .name = (field_name), .text = (value) })
#define LOG_NUMBER(field_name, value)                                                                                  \
	((struct log_field) { .name = (field_name), .type = LOG_FIELD_NUMBER, .number = (uint64_t) (value) })
/* Written in milliseconds: the name says so. */
#define LOG_MS(field_name, value_us)                                                                                   \
	((struct log_field) { .name = (field_name), .type = LOG_FIELD_MICROSECONDS, .number = (value_us) })

/* Writes a line, if its level is wanted: server_log(EVENT_LISTENING, LOG_TEXT("port", port)). The fields are not
 * evaluated otherwise. */
#define server_log(event, ...)                                                                                         \
	do {                                                                                                           \
		if (server_log_wants(event)) {                                                                         \
			const struct log_field server_log_fields[] = { { 0 }, ##__VA_ARGS__ };                         \
			server_log_write(event, server_log_fields + 1, ARRAY_SIZE(server_log_fields) - 1);             \
		}                                                                                                      \
	} while (0)

/*
 * Opens the log. place is a path, of a regular file (made where there is none), a named pipe, with a reader or without,
 * or a device; or "fd:N", a descriptor that this process was started with. Events of levels up to level are written.
 * Keeps place.
 *
 * A path that user could replace by another, now or when the file is made anew, is not written to (-EPERM): we might have
 * rights that it has not. NULL is no such user.
 */
int server_log_open(const char *place, enum log_format format, enum log_level level, const struct user *user,
	struct err *err) UTIL_MUST_CHECK;
void server_log_close(void);

bool server_log_wants(enum log_event event);
void server_log_write(enum log_event event, const struct log_field *fields, size_t count);

/* Lines that could not be written, since the start. */
uint64_t server_log_lost(void);

/* "error", "warning", "info", "debug"; -EINVAL for another name. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *name, enum log_level *ret_level);
