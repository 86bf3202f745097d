/*
 * What stands on both sides of the doors in their tests: requests that no client has sent in place of http.c, and a
 * function that notes what it is asked in place of function.c.
 */
#pragma once

#include "../../proxy/door.h"

#include "tap.h"

#include <strings.h>

/* --- requests ---------------------------------------------------------------------------------------- */

enum { DOUBLE_HEADERS = 12 };

struct http_request {
	const char *method, *path, *query;
	const char *headers[2 * DOUBLE_HEADERS + 1]; /* name, value, …, NULL */
	char *body;
	size_t length;
	/* The answer. */
	int answers;
	enum http_status status;
	char *answer; /* NULL: none */
	size_t answer_length;
	char *set;   /* "Name: value\n" for each header */
	int misused; /* how often it was touched after its answer, when it may be gone */
};

static struct http_request *use(const struct http_request *request)
{
	struct http_request *used = (struct http_request *) (uintptr_t) request;

	used->misused += used->answers > 0;
	return used;
}

const char *http_method(const struct http_request *request)
{
	return use(request)->method;
}

const char *http_path(const struct http_request *request)
{
	return use(request)->path;
}

const char *http_header(const struct http_request *request, const char *name)
{
	for (const char *const *at = use(request)->headers; at[0] != NULL; at += 2)
		if (strcasecmp(at[0], name) == 0)
			return at[1];
	return NULL;
}

void http_each_header(const struct http_request *request,
	void (*visit)(void *context, const char *name, const char *value), void *context)
{
	for (const char *const *at = use(request)->headers; at[0] != NULL; at += 2)
		visit(context, at[0], at[1]);
}

char *http_make_query(const struct http_request *request)
{
	return strdup(use(request)->query);
}

char *http_request_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = use(request)->length;
	return request->body;
}

char *http_steal_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = use(request)->length;
	request->length = 0;
	return steal_ptr(&request->body);
}

void http_set_header(struct http_request *request, const char *name, const char *value)
{
	char *grown = NULL;

	if (asprintf(&grown, "%s%s: %s\n", use(request)->set, name, value) < 0)
		bail_out("no memory");
	free(request->set);
	request->set = grown;
}

void http_answer(struct http_request *request, enum http_status status, struct http_body body)
{
	use(request)->answers++;
	request->status = status;
	free(request->answer);
	request->answer = body.data;
	request->answer_length = body.length;
}

void http_answer_error(struct http_request *request, enum http_status status, const char *format, ...)
{
	struct http_body body = { 0 };
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&body.data, format, args);
	va_end(args);
	body.length = (size_t) length;
	http_answer(request, status, body);
}

/* In a body of its own size, where a sanitizer sees each byte too many. */
static struct http_request *request_new(const char *path, const char *body, size_t length)
{
	struct http_request *request = calloc(1, sizeof(*request));

	request->method = "POST";
	request->path = path;
	request->query = "";
	request->set = strdup("");
	request->length = length;
	request->body = malloc(length + 1);
	memcpy(request->body, body, length);
	request->body[length] = '\0';
	return request;
}

TAP_UNUSED static void add_header(struct http_request *request, const char *name, const char *value)
{
	size_t count = 0;

	while (request->headers[count] != NULL)
		count += 2;
	request->headers[count] = name;
	request->headers[count + 1] = value;
}

static void request_free(struct http_request *request)
{
	free(request->body);
	free(request->answer);
	free(request->set);
	free(request);
}

/* body NULL: an answer without one. */
TAP_UNUSED static bool is_answer(const struct http_request *request, int status, const char *set, const char *body)
{
	return tap_is_int(request->answers, 1) && tap_is_int(request->misused, 0) &&
		tap_is_int(request->status, status) && tap_is_str(request->set, set) &&
		tap_is_mem(request->answer, request->answer_length, body, body != NULL ? strlen(body) : 0);
}

/* --- the function ------------------------------------------------------------------------------------ */

struct function {
	int runs, inits;
	/* Of the last one. */
	const struct platform *platform;
	invocation_done on_done;
	void *context;
	char *body;
	size_t length;
	/* Runs end at once with this, unless it is NULL; after their turn has come, if they start. */
	const struct outcome *at_once;
	bool starts;
};

void function_init(struct function *function, char *body, size_t length, invocation_done on_done, void *context)
{
	free(function->body);
	function->inits++;
	function->body = body;
	function->length = length;
	function->on_done = on_done;
	function->context = context;
}

void function_run(struct function *function, const struct platform *platform, invocation_done on_done, void *context)
{
	function->runs++;
	function->platform = platform;
	function->on_done = on_done;
	function->context = context;
	if (function->at_once != NULL) {
		struct outcome outcome = *function->at_once;

		if (function->starts)
			free(platform->log_start(context, NULL));
		on_done(context, &outcome);
	}
}

/* Whatever outcome points to is freed after it, as function.c does. */
TAP_UNUSED static void end_with(struct function *function, const struct outcome *outcome)
{
	struct outcome copy = *outcome;

	copy.payload = outcome->payload != NULL ? strdup(outcome->payload) : NULL;
	copy.payload_length = outcome->payload != NULL ? strlen(outcome->payload) : 0;
	copy.log = outcome->log != NULL ? strdup(outcome->log) : NULL;
	copy.log_length = outcome->log != NULL ? strlen(outcome->log) : 0;
	function->on_done(function->context, &copy);
	free(copy.payload);
	free(copy.log);
}

/* The message of the last run, in static memory. */
TAP_UNUSED static const char *message_of(const struct function *function, const struct limits *limits)
{
	static char text[65536];
	size_t length = 0;
	char *message = function->platform->make_message(function->context, limits, &length);

	if (message == NULL)
		return NULL;
	if (length >= sizeof(text))
		bail_out("a message of %zu bytes", length);
	memcpy(text, message, length);
	text[length] = '\0';
	message[length] = '\n'; /* the room for one more */
	free(message);
	return text;
}

TAP_UNUSED static const struct limits no_limits = { 0 };

/* --- a door between them ----------------------------------------------------------------------------- */

static struct {
	struct function function;
	struct building building;
	struct http_callbacks callbacks;
} test;

static void set_up(void)
{
	memset(&test, 0, sizeof(test));
	test.building =
		(struct building) { .function = &test.function, .max_request = SIZE_MAX, .max_response = SIZE_MAX };
	test.callbacks = doors_callbacks(&test.building);
}

static void tear_down(void)
{
	free(test.function.body);
	test.function.body = NULL;
}

/* As http.c has it: on_headers() may have answered. */
static void deliver(struct http_request *request)
{
	test.callbacks.on_headers(test.callbacks.context, request);
	if (request->answers == 0)
		test.callbacks.on_request(test.callbacks.context, request);
}
