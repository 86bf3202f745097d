/*
 * AWS Lambda's Invoke API, as boto3 and the aws command call it, and curl: POST
 * /2015-03-31/functions/NAME/invocations. The path is the one that AWS's emulator has, for any NAME; answers are
 * those of the cloud (API reference, "Invoke"), where the emulator has others.
 */
#include "../common/rfc3339.h"
#include "base64.h"
#include "door.h"
#include "json.h"
#include "limits.h"
#include "text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <time.h>

#define PATH_START "/2015-03-31/functions/"
#define PATH_END "/invocations"

/* One call. It outlives its request when nobody waits for the result. */
struct call {
	const struct building *building;
	struct http_request *request; /* NULL when nobody waits for the result */
	char id[DOOR_ID_SIZE];
	struct http_body event; /* until the message is made */
	char *details;          /* members of the message's "pyaction" */
	bool wants_log;
	size_t max_response;
	bool submitting; /* an asynchronous call, which can still be refused */
	bool started;    /* not any more: its turn has come */
	bool done;       /* it has ended already, or has been refused */
};

static void call_free(struct call *call)
{
	free(call->event.data);
	free(call->details);
	free(call);
}

static bool takes(const struct building *building UTIL_UNUSED, const char *path)
{
	size_t length = strlen(path);

	return length > strlen(PATH_START PATH_END) && strncmp(path, PATH_START, strlen(PATH_START)) == 0 &&
		strcmp(path + length - strlen(PATH_END), PATH_END) == 0;
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* An error of the API's own, before or instead of the function's: {"Type", "Message"} and the type in a header. */
static void answer_refusal(struct http_request *request, enum http_status status, const char *type, const char *format,
	...) UTIL_PRINTF(4, 5);

static void answer_refusal(
	struct http_request *request, enum http_status status, const char *type, const char *format, ...)
{
	char text[ERR_TEXT_MAX + 128];
	struct http_body body = { 0 };
	struct text document;
	FILE *out = text_open(&document);
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	http_set_header(request, "X-Amzn-ErrorType", type);
	if (out != NULL) {
		(void) fprintf(
			out, "{\"Type\":\"%s\",\"Message\":", status < HTTP_INTERNAL_SERVER_ERROR ? "User" : "Service");
		json_write_string(out, text, strlen(text));
		(void) fputs("}", out);
		body.data = text_close(&document, &body.length);
	}
	http_answer(request, status, body);
}

/* How the end of the process reads in AWS's documents and logs. */
static void describe_exit(int wait_status, char *text, size_t size)
{
	/* Once: for a real-time signal each call frees what the one before it has returned. */
	const char *signal_name = strsignal(WTERMSIG(wait_status));

	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
		(void) snprintf(text, size, "Runtime exited without providing a reason");
	else if (WIFEXITED(wait_status))
		(void) snprintf(text, size, "Runtime exited with error: exit status %d", WEXITSTATUS(wait_status));
	else
		(void) snprintf(text, size, "Runtime exited with error: signal: %c%s%s",
			tolower((unsigned char) signal_name[0]), signal_name + 1,
			WCOREDUMP(wait_status) ? " (core dumped)" : "");
}

/* The error type of a failure that the platform reports, and what it says; NULL when it is none. */
static const char *describe_failure(const struct outcome *outcome, char *text, size_t size)
{
	/* Not a switch: most kinds are no failure. */
	if (outcome->kind == OUTCOME_TIMED_OUT) {
		(void) snprintf(text, size, "Task timed out after %u.%02u seconds", outcome->limits.timeout_ms / 1000,
			outcome->limits.timeout_ms % 1000 / 10);
		return "Sandbox.Timedout";
	}
	if (outcome->kind == OUTCOME_OUT_OF_MEMORY || outcome->kind == OUTCOME_EXITED ||
		outcome->kind == OUTCOME_INIT_EXITED) {
		describe_exit(outcome->wait_status, text, size);
		return outcome->kind == OUTCOME_OUT_OF_MEMORY ? "Runtime.OutOfMemory" : "Runtime.ExitError";
	}
	return NULL;
}

static bool is_too_large(const struct call *call, const struct outcome *outcome)
{
	return outcome->payload != NULL && door_payload_size(outcome) > call->max_response;
}

/* A function that failed is a success of the API: 200, a header that says so, and the error document. */
static void answer_failure(struct call *call, const char *type, const char *format, ...) UTIL_PRINTF(3, 4);

static void answer_failure(struct call *call, const char *type, const char *format, ...)
{
	char text[ERR_TEXT_MAX + 128];
	struct http_body body = { 0 };
	struct text document;
	FILE *out = text_open(&document);
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (out != NULL) {
		(void) fprintf(out, "{\"errorType\":\"%s\",\"errorMessage\":", type);
		json_write_string(out, text, strlen(text));
		(void) fputs("}", out);
		body.data = text_close(&document, &body.length);
	}
	http_set_header(call->request, "X-Amz-Function-Error", "Unhandled");
	http_answer(call->request, HTTP_OK, body);
}

static void answer_result(struct call *call, struct outcome *outcome)
{
	bool failed = outcome->kind != OUTCOME_SUCCESS && outcome->kind != OUTCOME_SUCCESS_BYTES;

	if (failed)
		http_set_header(call->request, "X-Amz-Function-Error", "Unhandled");
	if (outcome->kind == OUTCOME_SUCCESS_BYTES)
		http_set_header(call->request, "Content-Type", "application/unknown");
	http_answer(call->request, HTTP_OK, door_take_payload(outcome));
}

static void answer_too_large(struct call *call, const struct outcome *outcome)
{
	door_note_too_large(call->building, call->id, outcome, call->max_response);
	answer_failure(call, "Function.ResponseSizeTooLarge",
		"Response payload size exceeded maximum allowed payload size (%zu bytes).", call->max_response);
}

static void answer_outcome(struct call *call, struct outcome *outcome)
{
	struct http_request *request = call->request;
	char text[128];
	const char *type = describe_failure(outcome, text, sizeof(text));

	if (type != NULL)
		answer_failure(call, type, "RequestId: %s Error: %s", call->id, text);
	else if (is_too_large(call, outcome))
		answer_too_large(call, outcome);
	else if (outcome->kind == OUTCOME_BAD_REQUEST)
		answer_refusal(request, HTTP_BAD_REQUEST, "InvalidRequestContentException",
			"Could not parse request body into json.");
	else if (outcome->payload != NULL)
		answer_result(call, outcome);
	else if (outcome->kind == OUTCOME_NOT_INITIALIZED)
		answer_refusal(request, HTTP_NOT_FOUND, "ResourceNotFoundException",
			"There is no function yet: its code comes with POST /init, or with --code at the start.");
	else if (outcome->kind == OUTCOME_QUEUE_FULL)
		answer_refusal(request, HTTP_TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded.");
	else if (outcome->kind == OUTCOME_STOPPING)
		answer_refusal(request, HTTP_SERVICE_UNAVAILABLE, "ServiceException", "%s", outcome->text);
	else
		answer_refusal(request, HTTP_INTERNAL_SERVER_ERROR, "ServiceException", "%s", outcome->text);
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct call *call = context;
	cleanup_free char *log = NULL;
	size_t length;

	/* Of an asynchronous call only the refusal is told, however soon its result is there. */
	if (call->request != NULL && !(call->submitting && call->started)) {
		if (outcome->log != NULL)
			log = base64_encode(outcome->log, outcome->log_length, &length);
		if (log != NULL)
			http_set_header(call->request, "X-Amz-Log-Result", log);
		http_set_header(call->request, "X-Amz-Executed-Version", "$LATEST");
		answer_outcome(call, outcome);
	}
	if (call->submitting)
		call->done = true;
	else
		call_free(call);
}

/* --- the platform ------------------------------------------------------------------------------------ */

static char *make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	struct call *call = context;
	cleanup_free char *front = NULL;

	if (asprintf(&front, ",\"transaction_id\":\"%s\"", call->id) < 0)
		return NULL;
	return door_make_message(call->id, limits, front, call->details, &call->event, ret_length);
}

/* AWS_LAMBDA_LOG_FORMAT=JSON, in any case, for the platform's lines as for the function's. */
static bool is_json_log(void)
{
	const char *format = getenv("AWS_LAMBDA_LOG_FORMAT");

	return format != NULL && strcasecmp(format, "JSON") == 0;
}

static void read_id(void *context, char id[PLATFORM_ID_SIZE])
{
	const struct call *call = context;

	(void) snprintf(id, PLATFORM_ID_SIZE, "%s", call->id);
}

static char *log_start(void *context, const struct cold_start *cold_start UTIL_UNUSED)
{
	struct call *call = context;
	char when[RFC3339_SIZE], *line = NULL;
	int r;

	call->started = true;
	if (!is_json_log())
		return asprintf(&line, "START RequestId: %s Version: $LATEST\n", call->id) < 0 ? NULL : line;
	rfc3339_write_now(when);
	r = asprintf(&line,
		"{\"time\":\"%s\",\"type\":\"platform.start\",\"record\":{\"requestId\":\"%s\",\"version\":\"$LATEST\"}}\n",
		when, call->id);
	return r < 0 ? NULL : line;
}

/* What REPORT says. */
struct report {
	const char *id;
	double duration_ms, init_ms; /* init_ms 0 where nothing was loaded */
	unsigned long long billed_ms;
	long size_mb, peak_mb;
};

/* Durations and memory as measured; billed is rounded up to milliseconds. */
static struct report make_report(const struct call *call, const struct outcome *outcome)
{
	long peak_mb = (outcome->peak_kb + 1023) / 1024;

	return (struct report) {
		.id = call->id,
		.duration_ms = (double) outcome->run_us / 1000,
		.init_ms = (double) outcome->init_us / 1000,
		.billed_ms = (unsigned long long) (outcome->run_us + 999) / 1000,
		.size_mb = outcome->limits.memory_mb > 0 ? (long) outcome->limits.memory_mb : peak_mb,
		.peak_mb = peak_mb,
	};
}

static void write_text_report(FILE *out, const struct report *report)
{
	(void) fprintf(out,
		"END RequestId: %s\nREPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %llu ms\t"
		"Memory Size: %ld MB\tMax Memory Used: %ld MB\t",
		report->id, report->id, report->duration_ms, report->billed_ms, report->size_mb, report->peak_mb);
	if (report->init_ms > 0)
		(void) fprintf(out, "Init Duration: %.2f ms\t", report->init_ms);
	(void) fputs("\n", out);
}

static void write_text_failure(FILE *out, const struct call *call, const struct outcome *outcome)
{
	char text[128], when[RFC3339_SIZE];
	const char *type = describe_failure(outcome, text, sizeof(text));

	if (type == NULL)
		return;
	rfc3339_write_now(when);
	if (outcome->kind == OUTCOME_TIMED_OUT)
		(void) fprintf(out, "%s %s %s\n\n", when, call->id, text);
	else
		(void) fprintf(out, "RequestId: %s Error: %s\n%s\n", call->id, text, type);
}

/* The schema of platform.report (AWS Lambda, "Lambda Telemetry API Event schema reference"). */
static void write_json_report(FILE *out, const struct report *report, const struct outcome *outcome)
{
	char text[128], when[RFC3339_SIZE];
	const char *type = describe_failure(outcome, text, sizeof(text));
	bool succeeded = outcome->kind == OUTCOME_SUCCESS || outcome->kind == OUTCOME_SUCCESS_BYTES;

	rfc3339_write_now(when);
	(void) fprintf(out,
		"{\"time\":\"%s\",\"type\":\"platform.report\",\"record\":{\"requestId\":\"%s\",\"metrics\":{"
		"\"durationMs\":%.3f,\"billedDurationMs\":%llu,\"memorySizeMB\":%ld,\"maxMemoryUsedMB\":%ld",
		when, report->id, report->duration_ms, report->billed_ms, report->size_mb, report->peak_mb);
	if (report->init_ms > 0)
		(void) fprintf(out, ",\"initDurationMs\":%.3f", report->init_ms);
	if (outcome->kind == OUTCOME_TIMED_OUT)
		(void) fputs("},\"status\":\"timeout\"", out);
	else
		(void) fprintf(out, "},\"status\":\"%s\"", succeeded ? "success" : "error");
	if (type != NULL && outcome->kind != OUTCOME_TIMED_OUT)
		(void) fprintf(out, ",\"errorType\":\"%s\"", type);
	(void) fputs("}}\n", out);
}

static char *log_end(void *context, const struct outcome *outcome)
{
	const struct call *call = context;
	struct report report = make_report(call, outcome);
	struct text lines;
	FILE *out = text_open(&lines);

	if (out == NULL)
		return NULL;
	if (is_json_log()) {
		write_json_report(out, &report, outcome);
	} else {
		write_text_report(out, &report);
		write_text_failure(out, call, outcome);
	}
	return text_close(&lines, NULL);
}

static bool wants_log(void *context)
{
	const struct call *call = context;

	return call->wants_log;
}

/* What a function has that nobody configured (AWS Lambda quotas). */
static const struct platform platform = {
	.limits = { .timeout_ms = 3000, .memory_mb = 128 },
	.read_id = read_id,
	.make_message = make_message,
	.log_start = log_start,
	.log_end = log_end,
	.wants_log = wants_log,
};

/* --- requests ---------------------------------------------------------------------------------------- */

static bool is_type(const struct http_request *request, const char *type)
{
	const char *wanted = http_header(request, "X-Amz-Invocation-Type");

	return strcasecmp(wanted != NULL && wanted[0] != '\0' ? wanted : "RequestResponse", type) == 0;
}

static size_t max_request(const struct building *building, const struct http_request *request)
{
	if (building->max_request != SIZE_MAX)
		return building->max_request;
	return is_type(request, "Event") ? LIMIT_LAMBDA_EVENT : LIMIT_LAMBDA_REQUEST;
}

/* What is answered without a call has an id as well. */
static void set_fresh_id(struct http_request *request)
{
	char id[DOOR_ID_SIZE];

	door_make_id(id);
	http_set_header(request, "X-Amzn-RequestId", id);
}

static bool refuse_size(const struct building *building, struct http_request *request, unsigned long long length)
{
	size_t most = max_request(building, request);

	if (length <= most)
		return false;
	set_fresh_id(request);
	answer_refusal(request, HTTP_CONTENT_TOO_LARGE, "RequestTooLargeException",
		"%llu byte payload is too large for the %s invocation type (limit %zu bytes)", length,
		is_type(request, "Event") ? "Event" : "RequestResponse", most);
	return true;
}

static void on_headers(const struct building *building, struct http_request *request)
{
	const char *length = http_header(request, "Content-Length");

	if (length != NULL)
		(void) refuse_size(building, request, strtoull(length, NULL, 10));
}

/* The client context is JSON in base64. Whether it is JSON the runtime finds out. Returns its text; NULL when there is
 * none, or with *ret_bad when it is no base64. */
static char *decode_client_context(const struct http_request *request, bool *ret_bad)
{
	const char *header = http_header(request, "X-Amz-Client-Context");
	cleanup_free char *text = header != NULL && header[0] != '\0' ? strdup(header) : NULL;
	size_t length;
	struct err err;

	*ret_bad = false;
	if (text == NULL)
		return NULL;
	if (base64_decode(text, strlen(text), &length, &err) < 0 || memchr(text, '\0', length) != NULL) {
		*ret_bad = true;
		return NULL;
	}
	text[length] = '\0';
	return steal_ptr(&text);
}

/* The function's ARN in an account of nobody's; the name in the path may be an ARN itself. */
static char *make_arn(const struct http_request *request)
{
	const char *path = http_path(request) + strlen(PATH_START);
	int length = (int) (strlen(path) - strlen(PATH_END));
	const char *region = getenv("AWS_REGION");
	const char *name = getenv("AWS_LAMBDA_FUNCTION_NAME");
	char *arn = NULL;
	int r;

	if (strncmp(path, "arn:", 4) == 0)
		r = asprintf(&arn, "%.*s", length, path);
	else if (length == 8 && strncmp(path, "function", 8) == 0)
		r = asprintf(&arn, "arn:aws:lambda:%s:012345678912:function:%s", region != NULL ? region : "us-east-1",
			name != NULL ? name : "test_function");
	else
		r = asprintf(&arn, "arn:aws:lambda:%s:012345678912:function:%.*s",
			region != NULL ? region : "us-east-1", length, path);
	return r < 0 ? NULL : arn;
}

static char *make_details(const struct http_request *request, const char *client_context)
{
	cleanup_free char *arn = make_arn(request);
	struct text details;
	FILE *out = text_open(&details);

	if (out == NULL)
		return NULL;
	door_write_member(out, "invoked_function_arn", arn);
	door_write_member(out, "client_context", client_context);
	door_write_member(out, "cognito_identity", http_header(request, "Lambda-Runtime-Cognito-Identity"));
	door_write_member(out, "trace_id", http_header(request, "X-Amzn-Trace-Id"));
	door_write_member(out, "tenant_id", http_header(request, "X-Amz-Tenant-Id"));
	return text_close(&details, NULL);
}

static struct call *call_new(const struct building *building, struct http_request *request, const char *client_context)
{
	const char *log_type = http_header(request, "X-Amz-Log-Type");
	struct call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	door_make_id(call->id);
	call->building = building;
	call->request = request;
	call->max_response = building->max_response != SIZE_MAX ? building->max_response : LIMIT_LAMBDA_RESPONSE;
	call->wants_log = log_type != NULL && strcasecmp(log_type, "Tail") == 0;
	call->details = make_details(request, client_context);
	call->event = door_take_event(request);
	if (call->details == NULL || call->event.data == NULL) {
		call_free(call);
		return NULL;
	}
	return call;
}

/* Whether the request is answered without the function. */
static bool refuse(const struct building *building, struct http_request *request, bool bad_context)
{
	size_t length;

	(void) http_request_body(request, &length);
	if (refuse_size(building, request, length))
		return true;
	if (!bad_context && (is_type(request, "RequestResponse") || is_type(request, "Event")))
		return false;
	set_fresh_id(request);
	if (bad_context)
		answer_refusal(request, HTTP_BAD_REQUEST, "InvalidRequestContentException",
			"Client context must be a valid Base64-encoded JSON object.");
	else if (is_type(request, "DryRun"))
		http_answer(request, HTTP_NO_CONTENT, (struct http_body) { 0 });
	else
		answer_refusal(request, HTTP_BAD_REQUEST, "InvalidParameterValueException",
			"X-Amz-Invocation-Type must be RequestResponse, Event or DryRun.");
	return true;
}

/* An asynchronous call: answered as soon as it waits in line. */
static void run_for_nobody(const struct building *building, struct call *call)
{
	struct http_request *request = call->request;
	bool refused;

	call->wants_log = false;
	call->submitting = true;
	function_run(building->function, &platform, on_outcome, call);
	call->submitting = false;
	refused = call->done && !call->started;
	call->request = NULL;
	if (call->done)
		call_free(call);
	if (!refused)
		http_answer(request, HTTP_ACCEPTED, (struct http_body) { 0 });
}

static void on_request(const struct building *building, struct http_request *request)
{
	bool bad_context;
	cleanup_free char *client_context = decode_client_context(request, &bad_context);
	struct call *call;

	if (refuse(building, request, bad_context))
		return;
	call = call_new(building, request, client_context);
	if (call == NULL) {
		answer_refusal(request, HTTP_INTERNAL_SERVER_ERROR, "ServiceException", "Out of memory.");
		return;
	}
	http_set_header(request, "X-Amzn-RequestId", call->id);
	if (is_type(request, "Event"))
		run_for_nobody(building, call);
	else
		function_run(building->function, &platform, on_outcome, call);
}

const struct door lambda_door = { .takes = takes, .on_headers = on_headers, .on_request = on_request };
