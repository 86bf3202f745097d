/*
 * The front doors between an HTTP server and a function that are both played here: whatever a request has in its
 * path, its headers and its body, and whatever becomes of the invocation, there is one answer, the message to the
 * runner is one line that holds the event as it came, and nothing breaks the lines of the log.
 *
 * The input is a script: the request, then what becomes of it.
 */
#include "../../common/wire.h"
#include "../../proxy/base64.h"
#include "../../proxy/door.h"
#include "../../proxy/json.h"
#include "fuzz.h"

#include <stdarg.h>
#include <strings.h>

enum { HEADERS_MAX = 8 };

/* --- the request -------------------------------------------------------------------------------------- */

struct header {
	const char *name;
	char *value;
};

struct http_request {
	const char *method;
	char *path;
	struct header headers[HEADERS_MAX];
	size_t header_count;
	char *body;
	size_t body_length;
	const char *query;
	unsigned answers;
	enum http_status status;
	struct http_body answer;
};

const char *http_method(const struct http_request *request)
{
	return request->method;
}

const char *http_path(const struct http_request *request)
{
	return request->path;
}

static const char *find_header(const struct header *headers, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(headers[i].name, name) == 0)
			return headers[i].value;
	return NULL;
}

const char *http_header(const struct http_request *request, const char *name)
{
	return find_header(request->headers, request->header_count, name);
}

char *http_request_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = request->body_length;
	return request->body;
}

char *http_steal_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = request->body_length;
	request->body_length = 0;
	return steal_ptr(&request->body);
}

void http_each_header(const struct http_request *request,
	void (*visit)(void *context, const char *name, const char *value), void *context)
{
	for (size_t i = 0; i < request->header_count; i++)
		visit(context, request->headers[i].name, request->headers[i].value);
}

char *http_make_query(const struct http_request *request)
{
	return strdup(request->query);
}

/* Anything may come here: what HTTP does not allow http.c drops. */
void http_set_header(struct http_request *request, const char *name, const char *value)
{
	FUZZ_CHECK(request->answers == 0, "a header behind the answer");
	FUZZ_CHECK(name != NULL && strlen(name) < 100000 && strlen(value) < 1000000, "a header");
}

void http_answer(struct http_request *request, enum http_status status, struct http_body body)
{
	FUZZ_CHECK(request->answers++ == 0, "another answer: %d", (int) status);
	FUZZ_CHECK(status >= 200 && status < 600, "%d", (int) status);
	request->status = status;
	request->answer = body;
}

void http_answer_error(struct http_request *request, enum http_status status, const char *format, ...)
{
	struct http_body body = { 0 };
	char text[ERR_TEXT_MAX + 256];
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	body.data = json_error_document(text, &body.length);
	http_answer(request, status, body);
}

/* --- the function ------------------------------------------------------------------------------------- */

/* What happens to an invocation. */
struct fate {
	enum outcome_kind kind;
	bool starts;  /* its turn comes: it has a message and lines in the log */
	bool at_once; /* it is decided before function_run() returns */
	enum convention convention;
	int wait_status;
	char *payload; /* NULL for none */
	size_t payload_length;
};

struct function {
	struct fate fate;
	const struct platform *platform;
	invocation_done on_done;
	void *context;
	unsigned submitted;
	const char *path; /* of the request */
	char *event;      /* what its body was */
	size_t event_length;
	bool is_utf8; /* headers and payload */
};

static void check_log_lines(const char *lines, size_t most, bool is_utf8)
{
	size_t count = 0, bad = 0;

	if (lines == NULL)
		return;
	for (const char *at = lines; (at = strchr(at, '\n')) != NULL; at++)
		count++;
	FUZZ_CHECK(lines[0] != '\0' && lines[strlen(lines) - 1] == '\n', "%s", lines);
	FUZZ_CHECK(count <= most, "%zu lines: %s", count, lines);
	FUZZ_CHECK(!is_utf8 || json_is_utf8(lines, strlen(lines), &bad), "byte %zu of %s", bad, lines);
}

/* A member of a JSON object; start NULL when there is none. */
static struct json_span member(const char *object, size_t length, const char *name)
{
	struct json_span span = { NULL, 0 };

	if (json_find_member(object, length, name, &span) < 0)
		span.start = NULL;
	return span;
}

static void check_encoded_event(const struct json_span *encoded, const char *event, size_t event_length)
{
	size_t length = 0;
	struct err err;
	char *decoded;

	FUZZ_CHECK(encoded->start != NULL && encoded->length >= 2 && encoded->start[0] == '"', "no body");
	decoded = strndup(encoded->start + 1, encoded->length - 2);
	FUZZ_CHECK(base64_decode(decoded, strlen(decoded), &length, &err) == 0, "%s", err.text);
	FUZZ_CHECK(length == event_length && memcmp(decoded, event, event_length) == 0, "its body");
	free(decoded);
}

/* The event behind its message, as it came. */
static void check_raw_event(const struct function *function, const char *event, size_t length)
{
	const char *wanted = function->event_length > 0 ? function->event : "{}";
	size_t wanted_length = function->event_length > 0 ? function->event_length : 2;

	FUZZ_CHECK(length == wanted_length, "%zu bytes of %zu", length, wanted_length);
	for (size_t i = 0; i < length; i++)
		FUZZ_CHECK(event[i] == (wanted[i] == '\n' ? WIRE_NEWLINE : wanted[i]), "byte %zu", i);
}

/* What the doors other than OpenWhisk's send. */
static void check_message(const struct function *function, const char *message, size_t length)
{
	bool is_raw = message[0] == WIRE_RECORD_SEPARATOR;
	const char *event = is_raw ? memchr(message + 1, WIRE_RECORD_SEPARATOR, length - 1) : NULL;
	const char *front = message + is_raw;
	size_t front_length = event != NULL ? (size_t) (event - front) : length;
	struct json_span id = member(front, front_length, "activation_id");
	struct json_span details = member(front, front_length, "pyaction"), encoded;

	FUZZ_CHECK(json_is_plain(front, front_length), "%.*s", (int) front_length, front);
	FUZZ_CHECK(id.start != NULL && id.start[0] == '"', "no id");
	FUZZ_CHECK(details.start != NULL && details.start[0] == '{', "no details");
	encoded = member(details.start, details.length, "body");
	FUZZ_CHECK(is_raw == (event != NULL) && is_raw == (encoded.start == NULL), "the event's place");
	if (is_raw)
		check_raw_event(function, event + 1, length - (size_t) (event + 1 - message));
	else
		check_encoded_event(&encoded, function->event, function->event_length);
}

/* As function.c does when the turn has come. */
static void carry_out(struct function *function, struct outcome *outcome)
{
	const struct platform *platform = function->platform;
	const struct cold_start cold_start = { .init_us = 12345, .peak_kb = 9000 };
	size_t length = SIZE_MAX;
	char *message, *lines;

	outcome->limits = platform->limits;
	if (platform->adjust_limits != NULL)
		platform->adjust_limits(function->context, &outcome->limits);
	message = platform->make_message(function->context, &outcome->limits, &length);
	FUZZ_CHECK(message != NULL && memchr(message, '\n', length) == NULL, "no line of %zu bytes", length);
	message[length] = '\n'; /* there is room */
	if (!platform->markers)
		check_message(function, message, length);
	else
		FUZZ_CHECK(length == 0 || message[0] != WIRE_RECORD_SEPARATOR, "a client's own message of ours");
	if (platform->markers && strcmp(function->path, "/") == 0)
		FUZZ_CHECK(json_is_plain(message, length) || length > JSON_PLAIN_DEPTH, "%.*s", (int) length, message);
	free(message);
	if (platform->log_start != NULL) {
		lines = platform->log_start(function->context, (length & 1) != 0 ? &cold_start : NULL);
		check_log_lines(lines, 2, function->is_utf8);
		free(lines);
	}
	outcome->run_us = length * 1000;
	outcome->peak_kb = (long) length;
	if (platform->log_end != NULL) {
		lines = platform->log_end(function->context, outcome);
		check_log_lines(lines, 5, function->is_utf8);
		free(lines);
	}
	if (platform->wants_log != NULL && platform->wants_log(function->context)) {
		outcome->log = strdup("a line of the log\n");
		outcome->log_length = strlen(outcome->log);
	}
}

static void decide(struct function *function)
{
	struct fate *fate = &function->fate;
	invocation_done on_done = function->on_done;
	struct outcome outcome = {
		.kind = fate->kind, .convention = fate->convention, .wait_status = fate->wait_status
	};

	function->on_done = NULL; /* it may submit another one */
	(void) snprintf(outcome.text, sizeof(outcome.text), "a sentence");
	outcome.payload = steal_ptr(&fate->payload);
	outcome.payload_length = fate->payload_length;
	if (fate->starts && function->platform != NULL)
		carry_out(function, &outcome);
	on_done(function->context, &outcome);
	free(outcome.payload);
	free(outcome.log);
}

static void submit(struct function *function, const struct platform *platform, invocation_done on_done, void *context)
{
	FUZZ_CHECK(function->submitted++ < 2, "one invocation too many");
	function->platform = platform;
	function->on_done = on_done;
	function->context = context;
	if (function->fate.at_once)
		decide(function);
}

void function_init(struct function *function, char *body, size_t length, invocation_done on_done, void *context)
{
	FUZZ_CHECK(strcmp(function->path, "/") == 0 ||
			(length == function->event_length && memcmp(body, function->event, length) == 0),
		"another envelope");
	FUZZ_CHECK(strlen(body) <= length && body[length] == '\0', "an envelope without an end");
	free(body);
	submit(function, NULL, on_done, context);
}

void function_run(struct function *function, const struct platform *platform, invocation_done on_done, void *context)
{
	submit(function, platform, on_done, context);
}

/* --- the script --------------------------------------------------------------------------------------- */

/* Up to length bytes and a NUL, without what ends a header; for free(). */
static char *take_text(struct fuzz_script *script, size_t length)
{
	const uint8_t *bytes = fuzz_take(script, length, &length);
	char *text = malloc(length + 1);

	FUZZ_NEED(text != NULL, "memory");
	for (size_t i = 0; i < length; i++)
		text[i] = (char) (bytes[i] == '\0' || bytes[i] == '\r' || bytes[i] == '\n' ? ' ' : bytes[i]);
	text[length] = '\0';
	return text;
}

static char *make_path(struct fuzz_script *script)
{
	uint8_t choice = fuzz_byte(script), length = choice >> 3;
	char *text = take_text(script, length), *path = NULL;
	int r = 0;

	switch (choice & 7) {
	case 0:
	case 1:
	case 2:
		r = asprintf(&path, "/2015-03-31/functions/%s/invocations", text);
		break;
	case 3:
	case 4:
		r = asprintf(&path, "/event-invoke");
		break;
	case 5:
		r = asprintf(&path, length < 16 ? "/run" : "/init");
		break;
	case 6:
		r = asprintf(&path, "/");
		break;
	default:
		r = asprintf(&path, "/%s", text);
		break;
	}
	FUZZ_NEED(r >= 0, "memory");
	free(text);
	return path;
}

/* All that the doors look at. */
static const char *const names[] = { "X-Amz-Invocation-Type", "X-Amz-Log-Type", "X-Amz-Client-Context",
	"X-Amzn-Trace-Id", "X-Amz-Tenant-Id", "Lambda-Runtime-Cognito-Identity", "Content-Length", "X-Scf-Request-Id",
	"X-Scf-Name", "X-Scf-Version", "X-Scf-Namespace", "X-Scf-Region", "X-Scf-Appid", "X-Scf-Uin", "X-Scf-Secret-Id",
	"X-Scf-Session-Token", "X-Scf-Trigger-Src", "X-Scf-Timeout", "X-Scf-Memory", "X-Scf-Secret-Key" };

static const char *const values[] = { "Event", "RequestResponse", "DryRun", "Tail", "None", "900", "1000000000" };

static void make_headers(struct fuzz_script *script, struct http_request *request)
{
	uint8_t count = fuzz_byte(script) % (HEADERS_MAX + 1);

	for (; request->header_count < count; request->header_count++) {
		struct header *header = &request->headers[request->header_count];
		uint8_t length;

		header->name = names[fuzz_byte(script) % ARRAY_SIZE(names)];
		length = fuzz_byte(script);
		header->value =
			length >= 0xe0 ? strdup(values[length % ARRAY_SIZE(values)]) : take_text(script, length);
	}
}

/* As http.c hands it over: ended by a NUL, with room for one more byte. */
static void make_body(struct fuzz_script *script, struct http_request *request)
{
	const uint8_t *bytes = fuzz_take(script, fuzz_byte(script) * 4U, &request->body_length);

	request->body = malloc(request->body_length + 2);
	FUZZ_NEED(request->body != NULL, "memory");
	memcpy(request->body, bytes, request->body_length);
	request->body[request->body_length] = '\0';
}

static const int wait_statuses[] = { 0, 1 << 8, 255 << 8, 9, 11, 6 | 0x80 };

/* Larger than what is logged of a result; and a cut at any place is in the middle of a character. */
static void make_large(struct fate *fate)
{
	enum { CHARACTERS = 5000 };
	char *large = malloc(2 * CHARACTERS + 3);

	FUZZ_NEED(large != NULL, "memory");
	for (size_t i = 0; i < 2 * CHARACTERS; i++)
		large[1 + i] = "\xc3\xa9"[i % 2];
	large[0] = large[2 * CHARACTERS + 1] = '"';
	large[2 * CHARACTERS + 2] = '\0';
	free(fate->payload);
	fate->payload = large;
	fate->payload_length = 2 * CHARACTERS + 2;
}

static void make_fate(struct fuzz_script *script, struct fate *fate)
{
	uint8_t flags = fuzz_byte(script), length = fuzz_byte(script);
	const uint8_t *payload;

	fate->kind = (enum outcome_kind)(fuzz_byte(script) % (OUTCOME_INTERNAL_ERROR + 1));
	fate->starts = (flags & 1) != 0;
	fate->at_once = (flags & 2) != 0;
	fate->convention = (enum convention)(flags >> 2 & 3) % 3;
	fate->wait_status = wait_statuses[(flags >> 4) % ARRAY_SIZE(wait_statuses)];
	if ((length & 1) != 0 && fate->kind != OUTCOME_SUCCESS && fate->kind != OUTCOME_SUCCESS_BYTES)
		return;
	payload = fuzz_take(script, length >> 1, &fate->payload_length);
	if (fate->kind == OUTCOME_SUCCESS_BYTES && (length & 1) == 0) {
		fate->payload = base64_encode((const char *) payload, fate->payload_length, &fate->payload_length);
	} else {
		/* A payload is JSON text on one line, which the runner vouches for: no newline, no NUL but that behind it. */
		fate->payload = malloc(fate->payload_length + 1);
		FUZZ_NEED(fate->payload != NULL, "memory");
		for (size_t i = 0; i < fate->payload_length; i++)
			fate->payload[i] = (char) (payload[i] == '\n' || payload[i] == '\0' ? ' ' : payload[i]);
		fate->payload[fate->payload_length] = '\0';
	}
	FUZZ_NEED(fate->payload != NULL, "memory");
	if ((flags & 0x80) != 0)
		make_large(fate);
}

/* What a door says itself is JSON; a result is what the runner made of it. */
static void check_answer(const struct http_request *request, const struct function *function)
{
	FUZZ_CHECK(request->answers == 1, "%u answers", request->answers);
	if (function->submitted == 0 && request->answer.data != NULL)
		FUZZ_CHECK(json_is_plain(request->answer.data, request->answer.length), "%s", request->answer.data);
	FUZZ_CHECK((request->answer.data != NULL) == (request->answer.length > 0) || function->submitted > 0, "a body");
}

static void request_done(struct http_request *request)
{
	for (size_t i = 0; i < request->header_count; i++)
		free(request->headers[i].value);
	free(request->path);
	free(request->body);
	free(request->answer.data);
}

static bool is_utf8(const struct http_request *request, const struct fate *fate)
{
	size_t bad;

	for (size_t i = 0; i < request->header_count; i++)
		if (!json_is_utf8(request->headers[i].value, strlen(request->headers[i].value), &bad))
			return false;
	return fate->payload == NULL || json_is_utf8(fate->payload, fate->payload_length, &bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const methods[] = { "POST", "POST", "POST", "POST", "POST", "POST", "GET", "HEAD" };
	struct fuzz_script script = { .at = data, .end = data + size };
	uint8_t flags = fuzz_byte(&script);
	struct http_request request = { .method = methods[flags & 7], .query = "a=1&b=%20" };
	struct function function = { .submitted = 0 };
	struct building building = { .function = &function,
		.max_request = (flags & 8) != 0 ? 100 : SIZE_MAX,
		.max_response = (flags & 16) != 0 ? 20 : SIZE_MAX,
		.knative = true };
	const struct http_callbacks callbacks = doors_callbacks(&building);

	request.path = make_path(&script);
	make_headers(&script, &request);
	make_fate(&script, &function.fate);
	make_body(&script, &request);
	function.path = request.path;
	function.is_utf8 = is_utf8(&request, &function.fate);
	if ((flags & 32) != 0)
		(void) setenv("__OW_ACTION_RAW", "true", 1);
	else
		(void) unsetenv("__OW_ACTION_RAW");
	function.event = fuzz_copy(request.body, request.body_length);
	function.event_length = request.body_length;

	callbacks.on_headers(callbacks.context, &request);
	if (request.answers == 0)
		callbacks.on_request(callbacks.context, &request);
	while (function.on_done != NULL)
		decide(&function);
	check_answer(&request, &function);
	request_done(&request);
	free(function.fate.payload);
	free(function.event);
	return 0;
}
