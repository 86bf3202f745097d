#include "openwhisk.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *path;
	enum invocation_kind kind;
} routes[] = {
	{ "/init", INVOCATION_INIT },
	{ "/run", INVOCATION_RUN },
};

/* The invoker takes 200 for success, 503 for "shutting down, send it elsewhere", and any other status for
 * the developer's error, whose text is the member "error". */
static enum http_status status_of(enum outcome_kind kind)
{
	switch (kind) {
	case OUTCOME_INITIALIZED:
	case OUTCOME_SUCCESS:
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
		return HTTP_BAD_GATEWAY;
	case OUTCOME_STOPPING:
		return HTTP_SERVICE_UNAVAILABLE;
	case OUTCOME_NOT_INITIALIZED:
	case OUTCOME_INTERNAL_ERROR:
		break;
	}
	return HTTP_INTERNAL_SERVER_ERROR;
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct http_request *request = context;
	struct http_body body = { .length = outcome->payload_length };

	if (outcome->payload == NULL) {
		http_answer_error(request, status_of(outcome->kind), "%s", outcome->text);
		return;
	}
	body.data = steal_ptr(&outcome->payload);
	http_answer(request, status_of(outcome->kind), body);
}

static int find_route(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (strcmp(routes[i].path, path) == 0)
			return (int) i;
	return -1;
}

static void on_headers(void *context UTIL_UNUSED, struct http_request *request)
{
	if (find_route(http_path(request)) < 0) {
		http_answer_error(request, HTTP_NOT_FOUND,
			"There is nothing at %.200s: this server takes POST /init and POST /run.", http_path(request));
	} else if (strcmp(http_method(request), "POST") != 0) {
		http_set_header(request, "Allow", "POST");
		http_answer_error(request, HTTP_METHOD_NOT_ALLOWED, "%s takes POST, not %.20s.", http_path(request),
			http_method(request));
	}
}

static void on_request(void *context, struct http_request *request)
{
	struct function *function = context;
	size_t length;
	char *body = http_steal_body(request, &length);

	function_submit(function, routes[find_route(http_path(request))].kind, body, length, on_outcome, request);
}

struct http_callbacks openwhisk_callbacks(struct function *function)
{
	return (struct http_callbacks) { .on_headers = on_headers, .on_request = on_request, .context = function };
}
