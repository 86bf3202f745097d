/*
 * Tencent SCF, as its cloud calls a custom image: POST /event-invoke with the event, and the function's configuration
 * in X-Scf-* headers (SCF documentation, "Custom Image"). How the cloud maps an answer that is not 200 is not
 * documented; here the HTTP status is the error document's statusCode (its "status codes" page), so that curl and
 * people see a failure.
 */
#include "door.h"
#include "json.h"
#include "limits.h"
#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The vendor's status codes. */
enum scf_status {
	SCF_INVALID_PARAMETER = 400,
	SCF_REQUEST_TOO_LARGE = 406,
	SCF_RESPONSE_TOO_LARGE = 407,
	SCF_RESOURCE_LIMIT = 429,
	SCF_USER_CODE_EXCEPTION = 430,
	SCF_TIME_LIMIT = 433,
	SCF_MEMORY_LIMIT = 434,
	SCF_FUNCTION_NOT_FOUND = 435,
	SCF_PROCESS_EXIT = 439,
	SCF_USER_CODE_ERROR = 443,
	SCF_CANCELED = 499,
	SCF_INTERNAL_ERROR = 500,
};

struct call {
	const struct building *building;
	struct http_request *request;
	char *id;
	struct http_body event; /* until the message is made */
	char *details;          /* members of the message's "pyaction" */
	unsigned memory_mb;     /* that is in force, for the log */
	struct limits limits;   /* that the headers tell, 0 for those that they do not */
	size_t max_response;
};

static void call_free(struct call *call)
{
	free(call->id);
	free(call->event.data);
	free(call->details);
	free(call);
}

static bool takes(const struct building *building UTIL_UNUSED, const char *path)
{
	return strcmp(path, "/event-invoke") == 0;
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* {"errorCode", "errorMessage", "requestId", "statusCode"}, for free(); NULL when out of memory. */
static char *make_document(enum scf_status status, int code, const char *id, const char *text, size_t *ret_length)
{
	struct text document;
	FILE *out = text_open(&document);

	if (out == NULL)
		return NULL;
	(void) fprintf(out, "{\"errorCode\":%d,\"errorMessage\":", code);
	json_write_string(out, text, strlen(text));
	(void) fputs(",\"requestId\":", out);
	json_write_string(out, id, strlen(id));
	(void) fprintf(out, ",\"statusCode\":%d}", (int) status);
	return text_close(&document, ret_length);
}

static void answer_error(
	struct http_request *request, const char *id, enum scf_status status, int code, const char *text)
{
	struct http_body body = { 0 };

	body.data = make_document(status, code, id, text, &body.length);
	http_answer(request, (enum http_status) status, body);
}

/* What the platform says of an outcome that is not the function's own result or error; *ret_code is the document's
 * errorCode. 0 when it says nothing. */
static enum scf_status describe_failure(
	const struct call *call, const struct outcome *outcome, char *text, size_t size, int *ret_code)
{
	const struct limits *limits = &outcome->limits;

	*ret_code = -1;
	switch (outcome->kind) {
	case OUTCOME_TIMED_OUT:
		(void) snprintf(text, size, "Invoking task timed out after %g seconds", limits->timeout_ms / 1000.0);
		return SCF_TIME_LIMIT;
	case OUTCOME_OUT_OF_MEMORY:
		(void) snprintf(text, size, "Task memory exceeded %u MB", limits->memory_mb);
		return SCF_MEMORY_LIMIT;
	case OUTCOME_EXITED:
	case OUTCOME_INIT_EXITED:
		*ret_code = 1;
		(void) snprintf(text, size, "Process exited before completing request");
		return SCF_PROCESS_EXIT;
	case OUTCOME_BAD_REQUEST:
		(void) snprintf(text, size, "InvalidParameterValue: the event is not JSON");
		return SCF_INVALID_PARAMETER;
	case OUTCOME_NOT_INITIALIZED:
		(void) snprintf(text, size, "FunctionNotFound: the code comes with /init, or with --code at the start");
		return SCF_FUNCTION_NOT_FOUND;
	case OUTCOME_QUEUE_FULL:
		(void) snprintf(text, size, "ResourceLimit: %.200s", outcome->text);
		return SCF_RESOURCE_LIMIT;
	case OUTCOME_STOPPING:
		(void) snprintf(text, size, "RequestCanceled: %.200s", outcome->text);
		return SCF_CANCELED;
	case OUTCOME_INTERNAL_ERROR:
	case OUTCOME_ALREADY_INITIALIZED:
	case OUTCOME_NO_CODE_GIVEN:
	case OUTCOME_INITIALIZED:
		(void) snprintf(text, size, "InternalError: %.400s", outcome->text);
		return SCF_INTERNAL_ERROR;
	case OUTCOME_SUCCESS:
	case OUTCOME_SUCCESS_BYTES:
	case OUTCOME_APPLICATION_ERROR:
	case OUTCOME_FUNCTION_ERROR:
	case OUTCOME_INIT_FAILED:
		break;
	}
	if (door_payload_size(outcome) <= call->max_response)
		return 0;
	if (call->max_response == LIMIT_SCF_RESPONSE)
		(void) snprintf(text, size, "The size of response exceeds the upper limit (6MB)");
	else
		(void) snprintf(
			text, size, "The size of response exceeds the upper limit (%zu bytes)", call->max_response);
	return SCF_RESPONSE_TOO_LARGE;
}

static bool is_error(const struct outcome *outcome)
{
	return outcome->kind == OUTCOME_FUNCTION_ERROR || outcome->kind == OUTCOME_APPLICATION_ERROR ||
		outcome->kind == OUTCOME_INIT_FAILED;
}

static void answer_result(struct http_request *request, struct outcome *outcome)
{
	enum http_status status = HTTP_OK;

	if (outcome->kind == OUTCOME_INIT_FAILED)
		status = (enum http_status) SCF_USER_CODE_ERROR;
	else if (is_error(outcome))
		status = (enum http_status) SCF_USER_CODE_EXCEPTION;
	if (outcome->kind == OUTCOME_SUCCESS_BYTES)
		http_set_header(request, "Content-Type", "application/octet-stream");
	http_answer(request, status, door_take_payload(outcome));
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct call *call = context;
	char text[ERR_TEXT_MAX];
	int code;
	enum scf_status status = describe_failure(call, outcome, text, sizeof(text), &code);

	if (status == SCF_RESPONSE_TOO_LARGE)
		door_note_too_large(call->building, call->id, outcome, call->max_response);
	if (status != 0)
		answer_error(call->request, call->id, status, code, text);
	else
		answer_result(call->request, outcome);
	call_free(call);
}

/* --- the platform ------------------------------------------------------------------------------------ */

/* The cloud keeps its limits itself; ours must not come before them. */
static void adjust_limits(void *context, struct limits *limits)
{
	const struct call *call = context;

	if (call->limits.timeout_ms > 0)
		limits->timeout_ms = call->limits.timeout_ms;
	if (call->limits.memory_mb > 0)
		limits->memory_mb = call->limits.memory_mb;
}

/* The context tells the limits that are in force. */
static char *make_scf_member(const struct call *call, const struct limits *limits)
{
	struct text member;
	FILE *out = text_open(&member);

	if (out == NULL)
		return NULL;
	(void) fprintf(out, "\"scf\":{%s", call->details);
	if (limits->memory_mb > 0)
		(void) fprintf(
			out, "%s\"memory_limit_in_mb\":%u", call->details[0] != '\0' ? "," : "", limits->memory_mb);
	if (limits->timeout_ms > 0)
		(void) fprintf(out, "%s\"time_limit_in_ms\":%u",
			call->details[0] != '\0' || limits->memory_mb > 0 ? "," : "", limits->timeout_ms);
	(void) fputc('}', out);
	return text_close(&member, NULL);
}

static char *make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	struct call *call = context;
	cleanup_free char *member = make_scf_member(call, limits);

	call->memory_mb = limits->memory_mb;
	if (member == NULL)
		return NULL;
	return door_make_message(call->id, limits, "", member, &call->event, ret_length);
}

static void read_id(void *context, char id[PLATFORM_ID_SIZE])
{
	const struct call *call = context;

	(void) snprintf(id, PLATFORM_ID_SIZE, "%s", call->id);
}

static char *log_start(void *context, const struct cold_start *cold_start)
{
	const struct call *call = context;
	unsigned long long ms = cold_start != NULL ? (unsigned long long) (cold_start->init_us + 500) / 1000 : 0;
	char *lines = NULL;
	int r;

	if (cold_start == NULL)
		r = asprintf(&lines, "START RequestId:%s\n", call->id);
	else
		/* The code was there and the interpreter running: what is left of a cold start is the import. */
		r = asprintf(&lines,
			"START RequestId:%s\nInit Report RequestId: %s Coldstart: %llums (PullCode: 0ms InitRuntime: 0ms "
			"InitFunction: %llums) Memory: %uMB MemUsage: %.2fMB\n",
			call->id, call->id, ms, ms, call->memory_mb, (double) cold_start->peak_kb / 1024);
	return r < 0 ? NULL : lines;
}

static void log_result(FILE *out, const struct call *call, const struct outcome *outcome)
{
	cleanup_free char *document = NULL;
	char text[ERR_TEXT_MAX];
	int code;
	enum scf_status status = describe_failure(call, outcome, text, sizeof(text), &code);
	size_t length = outcome->payload_length;
	const char *result = outcome->payload;

	if (status != 0) {
		document = make_document(status, code, call->id, text, &length);
		result = document;
	}
	if (result == NULL)
		return;
	if (length > LIMIT_SCF_LOGGED) {
		length = LIMIT_SCF_LOGGED;
		while (length > 0 && ((unsigned char) result[length] & 0xc0) == 0x80) /* not within UTF-8 */
			length--;
	}
	/* Nor is it UTF-8, or text, where native code of the function has written the reply: the lines behind it stay. */
	length = strnlen(result, length);
	if (status != 0 || is_error(outcome))
		(void) fprintf(out, "ERROR RequestId:%s Result:", call->id);
	else
		(void) fprintf(out, "Response RequestId:%s RetMsg:", call->id);
	(void) fwrite(result, 1, length, out);
	(void) fputc('\n', out);
}

static char *log_end(void *context, const struct outcome *outcome)
{
	const struct call *call = context;
	struct text lines;
	FILE *out = text_open(&lines);

	if (out == NULL)
		return NULL;
	log_result(out, call, outcome);
	(void) fprintf(out, "END RequestId:%s\nReport RequestId:%s Duration:%llums Memory:%uMB MemUsage:%.6fMB\n",
		call->id, call->id, (unsigned long long) (outcome->run_us + 500) / 1000, outcome->limits.memory_mb,
		(double) outcome->peak_kb / 1024);
	return text_close(&lines, NULL);
}

/* What a function has that nobody configured (SCF quotas). */
static const struct platform platform = {
	.limits = { .timeout_ms = 3000, .memory_mb = 128 },
	.adjust_limits = adjust_limits,
	.read_id = read_id,
	.make_message = make_message,
	.log_start = log_start,
	.log_end = log_end,
};

/* --- requests ---------------------------------------------------------------------------------------- */

/* Headers that are members of the context, or variables, under these names. */
static const struct {
	const char *header, *name;
} texts[] = {
	{ "X-Scf-Name", "function_name" },
	{ "X-Scf-Version", "function_version" },
	{ "X-Scf-Namespace", "namespace" },
	{ "X-Scf-Region", "tencentcloud_region" },
	{ "X-Scf-Appid", "tencentcloud_appid" },
	{ "X-Scf-Uin", "tencentcloud_uin" },
	{ "X-Scf-Secret-Id", "secret_id" },
	{ "X-Scf-Secret-Key", "secret_key" },
	{ "X-Scf-Session-Token", "session_token" },
	{ "X-Scf-Trigger-Src", "trigger_src" },
};

/* A header's number, 0 when there is none. */
static unsigned number_header(const struct http_request *request, const char *name)
{
	const char *text = http_header(request, name);
	char *rest = NULL;
	unsigned long number = text != NULL && text[0] >= '0' && text[0] <= '9' ? strtoul(text, &rest, 10) : 0;

	return rest != NULL && *rest == '\0' && number <= 1000000000 ? (unsigned) number : 0;
}

/* The time limit's unit is not documented. It is 1 to 900 seconds, a day for asynchronous calls: a number below 1000
 * cannot be milliseconds. */
static struct limits take_limits(const struct http_request *request)
{
	enum { LEAST_MS = 1000 };
	unsigned timeout = number_header(request, "X-Scf-Timeout");

	return (struct limits) {
		.timeout_ms = timeout < LEAST_MS ? timeout * 1000 : timeout,
		.memory_mb = number_header(request, "X-Scf-Memory"),
	};
}

static char *make_details(const struct http_request *request)
{
	struct text details;
	FILE *out = text_open(&details);

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		door_write_member(out, texts[i].name, http_header(request, texts[i].header));
	return text_close(&details, NULL);
}

/* The request's id, or a fresh one. From malloc. */
static char *take_id(const struct http_request *request)
{
	const char *given = http_header(request, "X-Scf-Request-Id");
	char id[DOOR_ID_SIZE];

	if (given != NULL && given[0] != '\0')
		return strdup(given);
	door_make_id(id);
	return strdup(id);
}

static struct call *call_new(const struct building *building, struct http_request *request)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->building = building;
	call->request = request;
	call->max_response = building->max_response != SIZE_MAX ? building->max_response : LIMIT_SCF_RESPONSE;
	call->id = take_id(request);
	call->limits = take_limits(request);
	call->details = make_details(request);
	call->event = door_take_event(request);
	if (call->id == NULL || call->details == NULL || call->event.data == NULL) {
		call_free(call);
		return NULL;
	}
	return call;
}

static bool refuse_size(const struct building *building, struct http_request *request, unsigned long long length)
{
	size_t most = building->max_request != SIZE_MAX ? building->max_request : LIMIT_SCF_REQUEST;
	cleanup_free char *id = NULL;
	char text[128];

	if (length <= most)
		return false;
	id = take_id(request);
	if (id != NULL)
		http_set_header(request, "X-Scf-Request-Id", id);
	(void) snprintf(
		text, sizeof(text), "RequestTooLarge: the event has %llu bytes, the limit is %zu", length, most);
	answer_error(request, id != NULL ? id : "", SCF_REQUEST_TOO_LARGE, -1, text);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
	return true;
}

static void on_headers(const struct building *building, struct http_request *request)
{
	const char *length = http_header(request, "Content-Length");

	if (length != NULL)
		(void) refuse_size(building, request, strtoull(length, NULL, 10));
}

static void on_request(const struct building *building, struct http_request *request)
{
	struct call *call;
	size_t length;

	(void) http_request_body(request, &length);
	if (refuse_size(building, request, length))
		return;
	call = call_new(building, request);
	if (call == NULL) {
		answer_error(request, "", SCF_INTERNAL_ERROR, -1, "InternalError: out of memory");
		return;
	}
	http_set_header(request, "X-Scf-Request-Id", call->id);
	/* The cloud refuses it before it calls the function (status 400). */
	if (!json_is_valid(call->event.data, call->event.length)) {
		answer_error(
			request, call->id, SCF_INVALID_PARAMETER, -1, "InvalidParameterValue: the event is not JSON");
		call_free(call);
		return;
	}
	function_run(building->function, &platform, on_outcome, call);
}

const struct door scf_door = { .takes = takes, .on_headers = on_headers, .on_request = on_request };
