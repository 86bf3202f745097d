/* /init and /run: the action interface of OpenWhisk, and of DigitalOcean. */
#include "../common/wire.h"
#include "door.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

/* The invoker takes 200 for success, 503 for "shutting down, send it elsewhere", and any other status for
 * the developer's error, whose text is the member "error". */
static enum http_status status_of(enum outcome_kind kind)
{
	switch (kind) {
	case OUTCOME_INITIALIZED:
	case OUTCOME_SUCCESS:
	case OUTCOME_SUCCESS_BYTES:
	case OUTCOME_APPLICATION_ERROR:
		return HTTP_OK;
	case OUTCOME_EXITED:
	case OUTCOME_BAD_REQUEST:
		return HTTP_BAD_REQUEST;
	case OUTCOME_NO_CODE_GIVEN:
	case OUTCOME_ALREADY_INITIALIZED:
		return HTTP_FORBIDDEN;
	case OUTCOME_QUEUE_FULL:
		return HTTP_TOO_MANY_REQUESTS;
	case OUTCOME_FUNCTION_ERROR:
	case OUTCOME_INIT_FAILED:
	case OUTCOME_INIT_EXITED:
	case OUTCOME_TIMED_OUT:
	case OUTCOME_OUT_OF_MEMORY:
		return HTTP_BAD_GATEWAY;
	case OUTCOME_STOPPING:
		return HTTP_SERVICE_UNAVAILABLE;
	case OUTCOME_NOT_INITIALIZED:
	case OUTCOME_INTERNAL_ERROR:
		break;
	}
	return HTTP_INTERNAL_SERVER_ERROR;
}

/* before and payload and after, in place of payload. */
static void wrap(struct outcome *outcome, const char *before, const char *after)
{
	size_t length = strlen(before) + outcome->payload_length + strlen(after);
	char *wrapped = malloc(length + 1);

	if (wrapped == NULL)
		return;
	(void) snprintf(
		wrapped, length + 1, "%s%.*s%s", before, (int) outcome->payload_length, outcome->payload, after);
	free(outcome->payload);
	outcome->payload = wrapped;
	outcome->payload_length = length;
}

/* The clouds let NaN and Infinity through; an invoker takes nothing but JSON. */
static void refuse_result(struct outcome *outcome)
{
	free(outcome->payload);
	outcome->payload = NULL;
	outcome->kind = OUTCOME_FUNCTION_ERROR;
	(void) snprintf(outcome->text, sizeof(outcome->text),
		"The result is not JSON: it has NaN or Infinity, or is nested over %d deep.", JSON_PLAIN_DEPTH);
}

/* An action's result is an object. Other conventions' results may be anything: those become its member "body", as of
 * a web action; their error documents the member "error". */
void openwhisk_make_object(struct outcome *outcome)
{
	if (outcome->convention == CONVENTION_OPENWHISK || outcome->payload == NULL)
		return;
	if (outcome->kind == OUTCOME_FUNCTION_ERROR || outcome->kind == OUTCOME_INIT_FAILED)
		wrap(outcome, "{\"error\":", "}");
	else if (outcome->kind == OUTCOME_SUCCESS_BYTES)
		wrap(outcome, "{\"body\":\"", "\",\"isBase64Encoded\":true}");
	else if (outcome->kind == OUTCOME_SUCCESS && !json_is_plain(outcome->payload, outcome->payload_length))
		refuse_result(outcome);
	else if (outcome->kind == OUTCOME_SUCCESS && outcome->payload[0] != '{')
		wrap(outcome, "{\"body\":", "}");
}

void openwhisk_answer(struct http_request *request, struct outcome *outcome)
{
	struct http_body body = { .length = outcome->payload_length };

	if (outcome->payload == NULL) {
		http_answer_error(request, status_of(outcome->kind), "%s", outcome->text);
		return;
	}
	body.data = steal_ptr(&outcome->payload);
	http_answer(request, status_of(outcome->kind), body);
}

static void on_outcome(void *context, struct outcome *outcome)
{
	openwhisk_make_object(outcome);
	openwhisk_answer(context, outcome);
}

/* The body is the message; whether it is JSON the runner finds out. */
static char *make_message(void *context, const struct limits *limits UTIL_UNUSED, size_t *ret_length)
{
	struct http_body body = { 0 };

	body.data = http_steal_body(context, &body.length);
	door_put_on_one_line(&body);
	/* No JSON, and not to be taken for a message of ours: another control character is no JSON either. */
	if (body.length > 0 && body.data[0] == WIRE_RECORD_SEPARATOR)
		body.data[0] = '\0';
	*ret_length = body.length;
	return body.data;
}

static void read_id(void *context, char id[PLATFORM_ID_SIZE])
{
	size_t length;
	const char *body = http_request_body(context, &length);

	door_copy_id(body, length, id);
}

/* Time and memory are the invoker's to limit, who knows what the action may have. */
static const struct platform platform = { .markers = true, .read_id = read_id, .make_message = make_message };

static bool takes(const struct building *building UTIL_UNUSED, const char *path)
{
	return strcmp(path, "/init") == 0 || strcmp(path, "/run") == 0;
}

static void on_request(const struct building *building, struct http_request *request)
{
	size_t length;
	char *body;

	if (strcmp(http_path(request), "/run") == 0) {
		function_run(building->function, &platform, on_outcome, request);
		return;
	}
	body = http_steal_body(request, &length);
	function_init(building->function, body, length, on_outcome, request);
}

const struct door openwhisk_door = { .takes = takes, .on_request = on_request };
