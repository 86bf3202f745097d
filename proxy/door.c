#include "door.h"

#include "../common/wire.h"
#include "base64.h"
#include "json.h"
#include "server_log.h"
#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const struct door *const doors[] = { &openwhisk_door, &lambda_door, &scf_door, &knative_door };

static const struct door *find_door(const struct building *building, const struct http_request *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(doors); i++)
		if (doors[i]->takes(building, http_path(request)))
			return doors[i];
	return NULL;
}

static void on_headers(void *context, struct http_request *request)
{
	const struct door *door = find_door(context, request);

	if (door == NULL) {
		http_answer_error(request, HTTP_NOT_FOUND,
			"There is nothing at %.200s: this server takes POST /init and POST /run, "
			"POST /2015-03-31/functions/function/invocations, and POST /event-invoke.",
			http_path(request));
	} else if (strcmp(http_method(request), "POST") != 0) {
		http_set_header(request, "Allow", "POST");
		http_answer_error(request, HTTP_METHOD_NOT_ALLOWED, "%s takes POST, not %.20s.", http_path(request),
			http_method(request));
	} else if (door->on_headers != NULL) {
		door->on_headers(context, request);
	}
}

static void on_request(void *context, struct http_request *request)
{
	const struct door *door = find_door(context, request);

	if (door != NULL) /* on_headers() has answered otherwise */
		door->on_request(context, request);
}

struct http_callbacks doors_callbacks(struct building *building)
{
	return (struct http_callbacks) { .on_headers = on_headers, .on_request = on_request, .context = building };
}

/* --- what they have in common ------------------------------------------------------------------------ */

void door_make_id(char id[DOOR_ID_SIZE])
{
	unsigned char bytes[16] = { 0 };

	/* Up to 256 bytes come whole; without a seeded generator, early in a machine's life, this waits
	 * (getrandom(2)). */
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes))
		abort();
	bytes[6] = (unsigned char) ((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char) ((bytes[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*id++ = '-';
		*id++ = "0123456789abcdef"[bytes[i] >> 4];
		*id++ = "0123456789abcdef"[bytes[i] & 15];
	}
	*id = '\0';
}

/* gcc 12's analyzer takes what a returned struct points to for lost. */
#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
struct http_body door_take_event(struct http_request *request)
{
	struct http_body event = { 0 };

	event.data = http_steal_body(request, &event.length);
	if (event.length == 0) {
		free(event.data);
		event = (struct http_body) { .data = strdup("{}"), .length = 2 };
	}
	return event;
}
#pragma GCC diagnostic pop

void door_copy_id(const char *text, size_t length, char id[PLATFORM_ID_SIZE])
{
	struct json_span span;

	if (json_is_plain(text, length) && json_find_member(text, length, "activation_id", &span) == 0 &&
		span.start[0] == '"')
		(void) snprintf(id, PLATFORM_ID_SIZE, "%.*s",
			span.length - 2 < PLATFORM_ID_SIZE ? (int) span.length - 2 : PLATFORM_ID_SIZE, span.start + 1);
}

void door_write_member(FILE *out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	(void) fprintf(out, "%s\"%s\":", ftell(out) > 0 ? "," : "", name);
	json_write_string(out, text, strlen(text));
}

static void replace_all(struct http_body *text, char old, char new)
{
	for (char *at = text->data; (at = memchr(at, old, text->length - (size_t) (at - text->data))) != NULL;)
		*at = new;
}

void door_put_on_one_line(struct http_body *event)
{
	replace_all(event, '\n', '\r');
}

/* The message without its event. */
static char *make_front(const char *id, const struct limits *limits, const char *details, const char *pyaction_details,
	const char *body, size_t *ret_length)
{
	struct text front;
	FILE *out = text_open(&front);
	struct timespec now;

	if (out == NULL)
		return NULL;
	if (body == NULL)
		(void) fputc(WIRE_RECORD_SEPARATOR, out);
	(void) fputs("{\"activation_id\":", out);
	json_write_string(out, id, strlen(id));
	if (limits->timeout_ms > 0) {
		(void) clock_gettime(CLOCK_REALTIME, &now);
		(void) fprintf(out, ",\"deadline\":\"%llu\"",
			(unsigned long long) now.tv_sec * 1000 + (unsigned long long) now.tv_nsec / 1000000 +
				limits->timeout_ms);
	}
	(void) fprintf(out, "%s,\"pyaction\":{%s", details, pyaction_details);
	if (body != NULL)
		(void) fprintf(out, "%s\"body\":\"%s\"}}", pyaction_details[0] != '\0' ? "," : "", body);
	else
		(void) fprintf(out, "}}%c", WIRE_RECORD_SEPARATOR);
	return text_close(&front, ret_length);
}

/* An event with a character that has to stand for its newlines. */
static char *make_encoded_message(const char *id, const struct limits *limits, const char *details,
	const char *pyaction_details, const struct http_body *event, size_t *ret_length)
{
	size_t encoded_length;
	cleanup_free char *encoded = base64_encode(event->data, event->length, &encoded_length);

	return encoded != NULL ? make_front(id, limits, details, pyaction_details, encoded, ret_length) : NULL;
}

char *door_make_message(const char *id, const struct limits *limits, const char *details, const char *pyaction_details,
	struct http_body *event, size_t *ret_length)
{
	struct http_body body = { .data = event->data, .length = event->length };
	cleanup_free char *data = steal_ptr(&event->data);
	cleanup_free char *front = NULL;
	size_t front_length = 0;
	char *message;

	if (data == NULL)
		return NULL;
	if (memchr(data, WIRE_NEWLINE, body.length) != NULL)
		return make_encoded_message(id, limits, details, pyaction_details, &body, ret_length);
	replace_all(&body, '\n', WIRE_NEWLINE);
	front = make_front(id, limits, details, pyaction_details, NULL, &front_length);
	/* In the event's own buffer: a large one is not there twice. */
	message = front != NULL ? realloc(data, front_length + body.length + 1) : NULL;
	if (message == NULL)
		return NULL;
	data = NULL;
	memmove(message + front_length, message, body.length);
	memcpy(message, front, front_length);
	*ret_length = front_length + body.length;
	return message;
}

size_t door_payload_size(const struct outcome *outcome)
{
	size_t length = outcome->payload_length;

	if (outcome->kind != OUTCOME_SUCCESS_BYTES || length < 4)
		return length;
	return length / 4 * 3 - (outcome->payload[length - 1] == '=') - (outcome->payload[length - 2] == '=');
}

void door_note_too_large(
	const struct building *building, const char *id, const struct outcome *outcome, size_t max_response)
{
	if (building->metrics != NULL)
		building->metrics->results_too_large++;
	server_log(EVENT_RESULT_TOO_LARGE, LOG_TEXT("activation_id", id),
		LOG_NUMBER("bytes", door_payload_size(outcome)), LOG_NUMBER("max_response", max_response));
}

struct http_body door_take_payload(struct outcome *outcome)
{
	struct http_body body = { .length = outcome->payload_length };
	struct err err;

	body.data = steal_ptr(&outcome->payload);
	if (outcome->kind != OUTCOME_SUCCESS_BYTES || body.data == NULL)
		return body;
	if (base64_decode(body.data, body.length, &body.length, &err) < 0)
		body.length = 0; /* no reply of our runner's */
	return body;
}
