/*
 * OpenWhisk's single entry point, for Knative: POST / takes {"init", "activation", "value"}, together or apart, and
 * answers as a web action does. The contract is that of Apache OpenWhisk's Node.js runtime (core/nodejsActionBase/
 * platform/knative.js), whose tests it comes from.
 */
#include "base64.h"
#include "cjson.h"
#include "door.h"
#include "json.h"
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct call {
	const struct building *building;
	struct http_request *request;
	char *body;                               /* of the request; the spans lie in it */
	struct json_span init, activation, value; /* start NULL: absent */
	bool raw;                                 /* its init says so */
};

static void call_free(struct call *call)
{
	free(call->body);
	free(call);
}

/* Whether the one function of this process is a raw action: __OW_ACTION_RAW, or the member of its init. */
static bool is_raw;

static bool is_true(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && strcasecmp(value, "true") == 0;
}

static bool is_dedicated(void)
{
	const char *code = getenv("__OW_ACTION_CODE");

	return code != NULL && code[0] != '\0';
}

static bool span_is(const struct json_span *span, const char *text)
{
	return span->length == strlen(text) && memcmp(span->start, text, span->length) == 0;
}

static bool takes(const struct building *building, const char *path)
{
	return building->knative && strcmp(path, "/") == 0;
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* How many bytes of UTF-8 the text of a string has: it may hold a NUL. span is with its quotes. */
static size_t decoded_length(const struct json_span *span)
{
	const char *at = span->start + 1, *end = span->start + span->length - 1;
	size_t length = 0;

	while (at < end) {
		char digits[5] = "";
		unsigned long code;

		if (at[0] != '\\' || at[1] != 'u') {
			at += at[0] == '\\' ? 2 : 1;
			length++;
			continue;
		}
		memcpy(digits, at + 2, 4);
		code = strtoul(digits, NULL, 16);
		if (code >= 0xd800 && code <= 0xdbff) { /* half of a pair, which is 4 bytes */
			at += 12;
			length += 4;
		} else {
			at += 6;
			length += code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
		}
	}
	return length;
}

/* A string's text, for free(). */
static struct http_body decode_string(const struct json_span *span)
{
	cleanup_cjson cJSON *string = cJSON_ParseWithLength(span->start, span->length);
	struct http_body body = { 0 };

	if (string != NULL && string->valuestring != NULL) {
		body.data = steal_ptr(&string->valuestring);
		body.length = decoded_length(span);
	}
	return body;
}

/* What the server says of an answer itself. */
static bool is_servers_own(const char *name)
{
	static const char *const names[] = { "Content-Length", "Transfer-Encoding", "Connection", "Date" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static void set_header(struct http_request *request, const char *name, const cJSON *header)
{
	char number[32];
	const char *value = cJSON_GetStringValue(header);

	if (cJSON_IsNumber(header)) {
		(void) snprintf(number, sizeof(number), "%.15g", header->valuedouble);
		value = number;
	} else if (cJSON_IsBool(header)) {
		value = cJSON_IsTrue(header) ? "true" : "false";
	}
	if (value != NULL && !is_servers_own(name))
		http_set_header(request, name, value);
}

/* An answer's headers from the result's: an array is one for each of its values. Returns the content type, which
 * belongs to headers; NULL for none. */
static const char *set_headers(struct http_request *request, const cJSON *headers)
{
	const char *content_type = NULL;
	const cJSON *header, *value;

	cJSON_ArrayForEach(header, headers)
	{
		if (cJSON_IsArray(header))
			cJSON_ArrayForEach(value, header)
			{
				set_header(request, header->string, value);
			}
		else
			set_header(request, header->string, header);
		if (cJSON_IsString(header) && strcasecmp(header->string, "Content-Type") == 0)
			content_type = header->valuestring;
	}
	return content_type;
}

static enum http_status status_code(const char *payload, size_t length)
{
	struct json_span span;
	char *end;
	long code;

	if (json_find_member(payload, length, "statusCode", &span) < 0)
		return HTTP_OK;
	code = strtol(span.start[0] == '"' ? span.start + 1 : span.start, &end, 10);
	return code >= 200 && code <= 599 ? (enum http_status) code : HTTP_OK;
}

/* The member "body": text as it is, base64 of an image or of what is_base64 says decoded, anything else as JSON. */
static struct http_body make_body(
	struct http_request *request, const struct json_span *span, const char *content_type, bool is_base64)
{
	struct http_body body = { 0 };
	struct err err;

	if (span_is(span, "null"))
		return body;
	if (span->start[0] != '"') {
		body.data = strndup(span->start, span->length);
		body.length = span->length;
		return body;
	}
	body = decode_string(span);
	if (content_type == NULL)
		http_set_header(request, "Content-Type", is_base64 ? "application/octet-stream" : "text/html");
	if ((is_base64 || (content_type != NULL && strncasecmp(content_type, "image/", 6) == 0)) && body.data != NULL &&
		base64_decode(body.data, body.length, &body.length, &err) < 0) {
		free(body.data); /* partly overwritten: it was text, as of an SVG image */
		body = decode_string(span);
	}
	return body;
}

/* Takes a member, name and all, out of an object that the runner has written: without escapes in the name. */
static void remove_member(struct outcome *object, const char *name)
{
	char *end = object->payload + object->payload_length, *from, *to;
	struct json_span value;

	if (json_find_member(object->payload, object->payload_length, name, &value) < 0)
		return;
	to = object->payload + (value.start - object->payload) + value.length;
	from = object->payload + (value.start - object->payload);
	while (*from != ':')
		from--;
	while (*from != '"')
		from--;
	do
		from--;
	while (*from != '"');
	while (to < end && *to == ' ')
		to++;
	if (*to == ',') { /* and the blank behind it, if another member follows */
		to++;
		while (*to == ' ')
			to++;
	} else {
		while (from > object->payload + 1 && (from[-1] == ' ' || from[-1] == ','))
			from--;
	}
	memmove(from, to, (size_t) (end - to) + 1);
	object->payload_length -= (size_t) (to - from);
}

/* The object that is the body itself, as JSON. One that only says the status and the headers has no body. */
static struct http_body take_rest(struct outcome *outcome, bool is_response)
{
	struct http_body body = { 0 };

	remove_member(outcome, "statusCode");
	remove_member(outcome, "headers");
	if (is_response && strcmp(outcome->payload, "{}") == 0)
		return body;
	body.length = outcome->payload_length;
	body.data = steal_ptr(&outcome->payload);
	return body;
}

/* A result is a web response: {statusCode, headers, body}; without a body it is the body itself, as JSON. */
static void answer_result(struct http_request *request, struct outcome *outcome)
{
	enum http_status status = status_code(outcome->payload, outcome->payload_length);
	cleanup_cjson cJSON *headers = NULL;
	const char *content_type = NULL;
	struct json_span span, base64;
	struct http_body body;
	bool is_response;

	/* A function that finds the runner's channel can write what it likes: nothing else is taken apart. */
	if (!json_is_valid(outcome->payload, outcome->payload_length)) {
		http_answer(request, HTTP_OK, door_take_payload(outcome));
		return;
	}
	is_response = json_find_member(outcome->payload, outcome->payload_length, "statusCode", &span) == 0;

	if (json_find_member(outcome->payload, outcome->payload_length, "headers", &span) == 0) {
		is_response = true;
		headers = cJSON_ParseWithLength(span.start, span.length);
		if (cJSON_IsObject(headers))
			content_type = set_headers(request, headers);
	}
	if (json_find_member(outcome->payload, outcome->payload_length, "body", &span) == 0)
		body = make_body(request, &span, content_type,
			json_find_member(outcome->payload, outcome->payload_length, "isBase64Encoded", &base64) == 0 &&
				span_is(&base64, "true"));
	else
		body = take_rest(outcome, is_response);
	if (body.length == 0 && status == HTTP_OK)
		status = HTTP_NO_CONTENT;
	http_answer(request, status, body);
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct call *call = context;
	struct http_request *request = call->request;

	openwhisk_make_object(outcome);
	if ((outcome->kind == OUTCOME_SUCCESS || outcome->kind == OUTCOME_SUCCESS_BYTES) && outcome->payload != NULL)
		answer_result(request, outcome);
	else
		openwhisk_answer(request, outcome);
	call_free(call);
}

/* --- the platform ------------------------------------------------------------------------------------ */

/* The inside of an object's text, the braces left out; of length 0 for what is none. */
static struct json_span inside(const struct json_span *object)
{
	struct json_span members = { .start = "", .length = 0 };

	if (object->start == NULL || object->length < 2 || object->start[0] != '{')
		return members;
	members = (struct json_span) { .start = object->start + 1, .length = object->length - 2 };
	while (members.length > 0 && strchr(" \t\r\n", members.start[0]) != NULL) {
		members.start++;
		members.length--;
	}
	return members;
}

/* Writes members of an object, with a comma behind them unless there are none. */
static void write_members(FILE *out, const struct json_span *object)
{
	struct json_span members = inside(object);

	(void) fwrite(members.start, 1, members.length, out);
	if (members.length > 0)
		(void) fputc(',', out);
}

/* Names in lower case, as web actions get them; the values of one that comes again are a list (RFC 9110, 5.3). */
static void add_header(void *context, const char *name, const char *value)
{
	cJSON *headers = context, *before;
	cleanup_free char *lower = strdup(name), *list = NULL;

	if (lower == NULL)
		return;
	for (char *at = lower; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char) (*at - 'A' + 'a');
	before = cJSON_GetObjectItemCaseSensitive(headers, lower);
	if (before == NULL)
		(void) cJSON_AddStringToObject(headers, lower, value);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
	else if (asprintf(&list, "%s, %s", before->valuestring, value) >= 0)
		(void) cJSON_SetValuestring(before, list);
}

/* Not by cJSON, which would let through what is not UTF-8. */
static void write_headers(FILE *out, struct http_request *request)
{
	cleanup_cjson cJSON *headers = cJSON_CreateObject();
	const cJSON *header;
	char separator = '{';

	if (headers != NULL)
		http_each_header(request, add_header, headers);
	cJSON_ArrayForEach(header, headers)
	{
		(void) fputc(separator, out);
		json_write_string(out, header->string, strlen(header->string));
		(void) fputc(':', out);
		json_write_string(out, header->valuestring, strlen(header->valuestring));
		separator = ',';
	}
	(void) fputs(separator == '{' ? "{}" : "}", out);
}

/* What a raw action gets besides: the query, and its value as text in base64. */
static void write_raw(FILE *out, struct call *call)
{
	cleanup_free char *query = http_make_query(call->request);
	size_t length = 0;
	cleanup_free char *encoded = base64_encode(call->value.start, call->value.length, &length);

	(void) fprintf(out, ",\"__ow_body\":\"%s\",\"__ow_query\":", encoded != NULL ? encoded : "");
	json_write_string(out, query != NULL ? query : "", query != NULL ? strlen(query) : 0);
}

/* The event: the value's members and the HTTP context (OpenWhisk, docs/webactions.md). */
static void write_event(FILE *out, struct call *call)
{
	const char *user = getenv("__OW_NAMESPACE");

	if (call->value.start[0] != '{') { /* an array has no members */
		(void) fwrite(call->value.start, 1, call->value.length, out);
		return;
	}
	(void) fputc('{', out);
	write_members(out, &call->value);
	(void) fputs("\"__ow_user\":", out);
	json_write_string(out, user != NULL ? user : "", user != NULL ? strlen(user) : 0);
	(void) fputs(",\"__ow_method\":", out);
	json_write_string(out, http_method(call->request), strlen(http_method(call->request)));
	(void) fputs(",\"__ow_path\":\"\",\"__ow_headers\":", out);
	write_headers(out, call->request);
	if (is_raw || is_true("__OW_ACTION_RAW"))
		write_raw(out, call);
	(void) fputc('}', out);
}

static char *make_message(void *context, const struct limits *limits UTIL_UNUSED, size_t *ret_length)
{
	struct call *call = context;
	struct text message;
	FILE *out = text_open(&message);

	if (out == NULL)
		return NULL;
	(void) fputc('{', out);
	write_members(out, &call->activation);
	(void) fputs("\"value\":", out);
	write_event(out, call);
	(void) fputs("}", out);
	/* Its NUL leaves the room that the newline needs. */
	return text_close(&message, ret_length);
}

static void read_id(void *context, char id[PLATFORM_ID_SIZE])
{
	const struct call *call = context;

	if (call->activation.start != NULL)
		door_copy_id(call->activation.start, call->activation.length, id);
}

/* Time and memory are Knative's to limit. */
static const struct platform platform = { .markers = true, .read_id = read_id, .make_message = make_message };

/* --- requests ---------------------------------------------------------------------------------------- */

static void run(struct call *call)
{
	function_run(call->building->function, &platform, on_outcome, call);
}

static void on_initialized(void *context, struct outcome *outcome)
{
	struct call *call = context;

	if (outcome->kind == OUTCOME_INITIALIZED)
		is_raw = call->raw;
	if (outcome->kind == OUTCOME_INITIALIZED && (call->value.start != NULL || call->activation.start != NULL)) {
		if (call->value.start == NULL)
			call->value = (struct json_span) { .start = "{}", .length = 2 };
		run(call);
		return;
	}
	openwhisk_make_object(outcome);
	openwhisk_answer(call->request, outcome);
	call_free(call);
}

/* {"value": …}, an /init envelope. */
static char *make_envelope(const struct json_span *value, size_t *ret_length)
{
	char *body = NULL;

	if (asprintf(&body, "{\"value\":%.*s}", (int) value->length, value->start) < 0)
		return NULL;
	*ret_length = strlen(body);
	return body;
}

static void initialize(struct call *call)
{
	struct json_span raw;
	size_t length;
	char *body;

	if (is_dedicated()) {
		http_answer_error(
			call->request, HTTP_FORBIDDEN, "Cannot initialize a runtime with a dedicated function.");
		call_free(call);
		return;
	}
	body = make_envelope(&call->init, &length);
	if (body == NULL) {
		http_answer_error(call->request, HTTP_INTERNAL_SERVER_ERROR, "Out of memory.");
		call_free(call);
		return;
	}
	call->raw = json_find_member(call->init.start, call->init.length, "raw", &raw) == 0 && span_is(&raw, "true");
	function_init(call->building->function, body, length, on_initialized, call);
}

/* Finds the parts of the body. One that has none of them is the value itself. */
static void find_parts(struct call *call, size_t length)
{
	const struct {
		const char *name;
		struct json_span *span;
	} parts[] = { { "init", &call->init }, { "activation", &call->activation }, { "value", &call->value } };
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		any = json_find_member(call->body, length, parts[i].name, parts[i].span) == 0 || any;
	if (call->value.start != NULL && span_is(&call->value, "null"))
		call->value = (struct json_span) { .start = "{}", .length = 2 };
	if (any)
		return;
	while (length > 0 && strchr(" \t\r\n", call->body[length - 1]) != NULL)
		length--;
	call->value.start = call->body + strspn(call->body, " \t\r\n");
	call->value.length = length - (size_t) (call->value.start - call->body);
}

static void on_request(const struct building *building, struct http_request *request)
{
	struct call *call = calloc(1, sizeof(*call));
	struct http_body event = door_take_event(request);

	if (call == NULL || event.data == NULL) {
		free(call);
		free(event.data);
		http_answer_error(request, HTTP_INTERNAL_SERVER_ERROR, "Out of memory.");
		return;
	}
	*call = (struct call) { .building = building, .request = request, .body = event.data };
	if (!json_is_plain(event.data, event.length)) {
		http_answer_error(request, HTTP_BAD_REQUEST, "The request body is not JSON, or nested over %d deep.",
			JSON_PLAIN_DEPTH);
		call_free(call);
		return;
	}
	door_put_on_one_line(&event);
	find_parts(call, event.length);
	if (call->init.start != NULL) {
		initialize(call);
		return;
	}
	if (call->value.start == NULL)
		call->value = (struct json_span) { .start = "{}", .length = 2 };
	run(call);
}

char *knative_make_dedicated(size_t *ret_length)
{
	const char *code = getenv("__OW_ACTION_CODE"), *main_name = getenv("__OW_ACTION_MAIN");
	const char *name = getenv("__OW_ACTION_NAME");
	struct text body;
	FILE *out;

	if (code == NULL || code[0] == '\0')
		return NULL;
	out = text_open(&body);
	if (out == NULL)
		return NULL;
	(void) fputs("{\"value\":{\"code\":", out);
	json_write_string(out, code, strlen(code));
	(void) fprintf(out, ",\"binary\":%s,\"main\":", is_true("__OW_ACTION_BINARY") ? "true" : "false");
	json_write_string(out, main_name != NULL ? main_name : "", main_name != NULL ? strlen(main_name) : 0);
	(void) fputs(",\"name\":", out);
	json_write_string(out, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
	(void) fputs("}}", out);
	return text_close(&body, ret_length);
}

const struct door knative_door = { .takes = takes, .on_request = on_request };
