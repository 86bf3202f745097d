/*
 * OpenWhisk's single entry point, for Knative: POST / takes {"init", "activation", "value"}, together or apart, and
 * answers as a web action does. The contract is that of Apache OpenWhisk's Node.js runtime (core/nodejsActionBase/
 * platform/knative.js), whose tests it comes from.
 */
#include "base64.h"
#include "door.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct call {
	const struct building *building;
	struct http_request *request;
	char *body;                               /* of the request; the spans lie in it */
	struct json_span init, activation, value; /* start NULL: absent */
};

static void call_free(struct call *call)
{
	free(call->body);
	free(call);
}

static void cjson_deletep(cJSON **item)
{
	cJSON_Delete(*item);
}

#define cleanup_cjson __attribute__((cleanup(cjson_deletep)))

static bool takes(const struct building *building, const char *path)
{
	return building->knative && strcmp(path, "/") == 0;
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* A string's text, for free(). A character that no C string holds ends it. */
static struct http_body decode_string(const struct json_span *span)
{
	cleanup_cjson cJSON *string = cJSON_ParseWithLength(span->start, span->length);
	struct http_body body = { 0 };

	if (string != NULL && string->valuestring != NULL) {
		body.data = steal_ptr(&string->valuestring);
		body.length = strlen(body.data);
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

/* An answer's headers from the result's. Returns the content type, which belongs to headers; NULL for none. */
static const char *set_headers(struct http_request *request, const cJSON *headers)
{
	const char *content_type = NULL;
	const cJSON *header;

	cJSON_ArrayForEach(header, headers)
	{
		char number[32];
		const char *value = cJSON_GetStringValue(header);

		if (cJSON_IsNumber(header)) {
			(void) snprintf(number, sizeof(number), "%.15g", header->valuedouble);
			value = number;
		} else if (cJSON_IsBool(header)) {
			value = cJSON_IsTrue(header) ? "true" : "false";
		}
		if (value != NULL && !is_servers_own(header->string))
			http_set_header(request, header->string, value);
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

/* The member "body": text as it is, an image's base64 decoded, anything else as JSON. */
static struct http_body make_body(struct http_request *request, const struct json_span *span, const char *content_type)
{
	struct http_body body = { 0 };
	struct err err;

	if (span->start[0] != '"') {
		body.data = strndup(span->start, span->length);
		body.length = span->length;
		return body;
	}
	body = decode_string(span);
	if (content_type == NULL)
		http_set_header(request, "Content-Type", "text/html");
	else if (strncasecmp(content_type, "image/", 6) == 0 && body.data != NULL &&
		base64_decode(body.data, body.length, &body.length, &err) < 0) {
		free(body.data); /* partly overwritten: it was text, as of an SVG image */
		body = decode_string(span);
	}
	return body;
}

/* A result is a web response: {statusCode, headers, body}; without a body it is the body itself, as JSON. */
static void answer_result(struct http_request *request, struct outcome *outcome)
{
	enum http_status status = status_code(outcome->payload, outcome->payload_length);
	cleanup_cjson cJSON *headers = NULL;
	const char *content_type = NULL;
	struct json_span span;
	struct http_body body = { .length = outcome->payload_length };

	if (json_find_member(outcome->payload, outcome->payload_length, "headers", &span) == 0) {
		headers = cJSON_ParseWithLength(span.start, span.length);
		if (cJSON_IsObject(headers))
			content_type = set_headers(request, headers);
	}
	if (json_find_member(outcome->payload, outcome->payload_length, "body", &span) == 0)
		body = make_body(request, &span, content_type);
	else
		body.data = steal_ptr(&outcome->payload);
	if (body.length == 0 && status == HTTP_OK)
		status = HTTP_NO_CONTENT;
	http_answer(request, status, body);
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct call *call = context;
	struct http_request *request = call->request;

	openwhisk_make_object(outcome);
	if (outcome->kind == OUTCOME_SUCCESS && outcome->payload != NULL)
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

struct header_writer {
	FILE *out;
	bool any;
};

/* Names in lower case, as web actions get them. */
static void write_header(void *context, const char *name, const char *value)
{
	struct header_writer *writer = context;
	cleanup_free char *lower = strdup(name);

	if (lower == NULL)
		return;
	for (char *at = lower; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char) (*at - 'A' + 'a');
	(void) fputs(writer->any ? "," : "", writer->out);
	writer->any = true;
	json_write_string(writer->out, lower, strlen(lower));
	(void) fputc(':', writer->out);
	json_write_string(writer->out, value, strlen(value));
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
	const char *raw = getenv("__OW_ACTION_RAW"), *user = getenv("__OW_NAMESPACE");
	struct header_writer writer = { .out = out };

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
	(void) fputs(",\"__ow_path\":\"\",\"__ow_headers\":{", out);
	http_each_header(call->request, write_header, &writer);
	(void) fputc('}', out);
	if (raw != NULL && strcasecmp(raw, "true") == 0)
		write_raw(out, call);
	(void) fputc('}', out);
}

static char *make_message(void *context, const struct limits *limits UTIL_UNUSED, size_t *ret_length)
{
	struct call *call = context;
	char *message = NULL;
	FILE *out = open_memstream(&message, ret_length);

	if (out == NULL)
		return NULL;
	(void) fputc('{', out);
	write_members(out, &call->activation);
	(void) fputs("\"value\":", out);
	write_event(out, call);
	(void) fputs("}", out);
	/* The stream's own NUL leaves the room that the newline needs. */
	return fclose(out) == 0 ? message : NULL;
}

/* Time and memory are Knative's to limit. */
static const struct platform platform = { .markers = true, .make_message = make_message };

/* --- requests ---------------------------------------------------------------------------------------- */

static void run(struct call *call)
{
	function_run(call->building->function, &platform, on_outcome, call);
}

static void on_initialized(void *context, struct outcome *outcome)
{
	struct call *call = context;

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
	size_t length;
	char *body;

	if (getenv("__OW_ACTION_CODE") != NULL) {
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
	const char *binary = getenv("__OW_ACTION_BINARY"), *name = getenv("__OW_ACTION_NAME");
	char *body = NULL;
	FILE *out;

	if (code == NULL || code[0] == '\0')
		return NULL;
	out = open_memstream(&body, ret_length);
	if (out == NULL)
		return NULL;
	(void) fputs("{\"value\":{\"code\":", out);
	json_write_string(out, code, strlen(code));
	(void) fprintf(
		out, ",\"binary\":%s,\"main\":", binary != NULL && strcasecmp(binary, "true") == 0 ? "true" : "false");
	json_write_string(out, main_name != NULL ? main_name : "", main_name != NULL ? strlen(main_name) : 0);
	(void) fputs(",\"name\":", out);
	json_write_string(out, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
	(void) fputs("}}", out);
	return fclose(out) == 0 ? body : NULL;
}

const struct door knative_door = { .takes = takes, .on_request = on_request };
