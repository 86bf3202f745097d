#include "door_doubles.h"

#include "../../proxy/limits.h"

#include <signal.h>
#include <time.h>

#define INVOKE "/2015-03-31/functions/function/invocations"
#define ARN "arn:aws:lambda:us-east-1:012345678912:function:test_function"
#define EXECUTED "X-Amz-Executed-Version: $LATEST\n"

static struct http_request *make(const char *body)
{
	set_up();
	return request_new(INVOKE, body, strlen(body));
}

static struct http_request *ask(const char *body)
{
	struct http_request *request = make(body);

	deliver(request);
	return request;
}

static void done(struct http_request *request)
{
	request_free(request);
	tear_down();
}

static void end_and_free(struct http_request *request)
{
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_STOPPING });
	done(request);
}

/* The invocation's id, from the answer's headers; in static memory. */
static const char *id_of(const struct http_request *request)
{
	static char id[DOOR_ID_SIZE];

	if (sscanf(request->set, "X-Amzn-RequestId: %36s\n", id) != 1 || strlen(id) != DOOR_ID_SIZE - 1)
		bail_out("no id in %s", request->set);
	return id;
}

/* text with the id in the place of each @; in static memory, one for each of two. */
static const char *with_id(const struct http_request *request, const char *text)
{
	static char texts[2][8192];
	static int turn;
	char *out = texts[turn = 1 - turn];
	size_t used = 0;

	for (; *text != '\0' && used + DOOR_ID_SIZE < sizeof(texts[0]); text++)
		used += (size_t) snprintf(out + used, sizeof(texts[0]) - used, *text == '@' ? "%s" : "%.1s",
			*text == '@' ? id_of(request) : text);
	return out;
}

/* --- the message ------------------------------------------------------------------------------------- */

static void check_sent(struct http_request *request, const char *details, const char *event, const char *what)
{
	char wanted[4096];

	deliver(request);
	(void) snprintf(wanted, sizeof(wanted),
		"\x1e{\"activation_id\":\"@\",\"transaction_id\":\"@\",\"pyaction\":{%s}}\x1e%s", details, event);
	ok(tap_is_int(request->answers, 0) && tap_is_int(test.function.runs, 1) &&
			tap_is_str(message_of(&test.function, &no_limits), with_id(request, wanted)),
		"the message of %s", what);
	end_and_free(request);
}

#define ARN_MEMBER "\"invoked_function_arn\":\"" ARN "\""

static void test_events(void)
{
	check_sent(make("{\"a\":1}"), ARN_MEMBER, "{\"a\":1}", "an object");
	check_sent(make("\n[1,\n2]"), ARN_MEMBER, "\v[1,\v2]", "an array of several lines");
	check_sent(make(""), ARN_MEMBER, "{}", "no body");
	/* It is the runtime that refuses it, as in the cloud. */
	check_sent(make("no JSON"), ARN_MEMBER, "no JSON", "what is not JSON");
}

static void test_details(void)
{
	struct http_request *request = make("1");

	add_header(request, "X-Amz-Client-Context", "eyJjdXN0b20iOnsiYSI6IlwiIn19");
	add_header(request, "Lambda-Runtime-Cognito-Identity", "{\"i\":\"\\\"\"}");
	add_header(request, "X-Amzn-Trace-Id", "Root=1-2-3;Sampled=1");
	add_header(request, "X-Amz-Tenant-Id", "tenant");
	check_sent(request,
		ARN_MEMBER
		",\"client_context\":\"{\\\"custom\\\":{\\\"a\\\":\\\"\\\\\\\"\\\"}}\","
		"\"cognito_identity\":\"{\\\"i\\\":\\\"\\\\\\\"\\\"}\",\"trace_id\":\"Root=1-2-3;Sampled=1\","
		"\"tenant_id\":\"tenant\"",
		"1", "all details");
	request = make("1");
	add_header(request, "X-Amz-Client-Context", "");
	check_sent(request, ARN_MEMBER, "1", "an empty client context");
	request = make("1");
	add_header(request, "X-Amz-Client-Context", "bm8gSlNPTg==");
	check_sent(request, ARN_MEMBER ",\"client_context\":\"no JSON\"", "1",
		"a client context that the runtime has to refuse");
}

static void check_bad_context(const char *value)
{
	struct http_request *request = make("{}");

	add_header(request, "X-Amz-Client-Context", value);
	deliver(request);
	ok(is_answer(request, 400,
		   with_id(request, "X-Amzn-RequestId: @\nX-Amzn-ErrorType: InvalidRequestContentException\n"),
		   "{\"Type\":\"User\",\"Message\":\"Client context must be a valid Base64-encoded JSON object.\"}") &&
			test.function.runs == 0,
		"the client context '%s' is refused", value);
	done(request);
}

static void test_bad_contexts(void)
{
	check_bad_context("{}");
	check_bad_context("e30");
	check_bad_context("eyIAIn0="); /* {"\0"} */
}

static void check_arn(const char *path, const char *region, const char *name, const char *arn)
{
	struct http_request *request = make("1");
	char details[500];

	(void) (region != NULL ? setenv("AWS_REGION", region, 1) : unsetenv("AWS_REGION"));
	(void) (name != NULL ? setenv("AWS_LAMBDA_FUNCTION_NAME", name, 1) : unsetenv("AWS_LAMBDA_FUNCTION_NAME"));
	(void) snprintf(details, sizeof(details), "\"invoked_function_arn\":\"%s\"", arn);
	request->path = path;
	check_sent(request, details, "1", path);
	(void) (unsetenv("AWS_REGION") + unsetenv("AWS_LAMBDA_FUNCTION_NAME"));
}

static void test_arns(void)
{
	check_arn(INVOKE, NULL, NULL, ARN);
	check_arn(INVOKE, "eu-west-1", "mine", "arn:aws:lambda:eu-west-1:012345678912:function:mine");
	check_arn("/2015-03-31/functions/other/invocations", NULL, "mine",
		"arn:aws:lambda:us-east-1:012345678912:function:other");
	check_arn("/2015-03-31/functions/functions/invocations", "r", NULL,
		"arn:aws:lambda:r:012345678912:function:functions");
	check_arn("/2015-03-31/functions/arn:aws:lambda:x:1:function:f:2/invocations", "r", "mine",
		"arn:aws:lambda:x:1:function:f:2");
	check_arn("/2015-03-31/functions/a\"/invocations", NULL, NULL,
		"arn:aws:lambda:us-east-1:012345678912:function:a\\\"");
}

static void test_limits(void)
{
	struct http_request *request = ask("{}");
	const struct platform *platform = test.function.platform;
	const char *message;

	is_int(platform->limits.timeout_ms, 3000, "3 seconds");
	is_int(platform->limits.memory_mb, 128, "128 MB");
	ok(platform->adjust_limits == NULL && !platform->markers, "... whatever the request says; no markers");
	message = message_of(&test.function, &(struct limits) { .timeout_ms = 5000 });
	ok(strstr(message, ",\"deadline\":\"") != NULL, "a limit in time is a deadline in the message");
	end_and_free(request);
}

/* --- what is refused --------------------------------------------------------------------------------- */

static void check_refused(struct http_request *request, int status, const char *type, const char *text)
{
	char set[200], body[500];

	(void) snprintf(set, sizeof(set), "X-Amzn-RequestId: @\nX-Amzn-ErrorType: %s\n", type);
	(void) snprintf(body, sizeof(body), "{\"Type\":\"User\",\"Message\":\"%s\"}", text);
	deliver(request);
	ok(is_answer(request, status, with_id(request, set), body) && tap_is_int(test.function.runs, 0), "%s: %s", type,
		text);
	done(request);
}

/* With a body of that length, or only a header that announces it. */
static struct http_request *sized(size_t length, bool announced)
{
	char *body = malloc(length + 1);
	struct http_request *request;
	static char text[32];

	memset(body, '1', length);
	set_up();
	request = request_new(INVOKE, body, announced ? 0 : length);
	free(body);
	(void) snprintf(text, sizeof(text), "%zu", length);
	if (announced)
		add_header(request, "Content-Length", text);
	return request;
}

static void check_taken(struct http_request *request, const char *what)
{
	deliver(request);
	ok(tap_is_int(test.function.runs, 1), "%s is taken", what);
	end_and_free(request);
}

#define SIX_MB ((size_t) 6291456)
#define ONE_MB ((size_t) 1048576)

static void test_sizes(void)
{
	static const char too_large[] = "6291457 byte payload is too large for the RequestResponse invocation type "
					"(limit 6291456 bytes)";
	static const char event_too_large[] = "1048577 byte payload is too large for the Event invocation type "
					      "(limit 1048576 bytes)";
	static const char own[] =
		"11 byte payload is too large for the RequestResponse invocation type (limit 10 bytes)";
	struct http_request *request;

	for (int announced = 0; announced < 2; announced++) {
		check_taken(sized(SIX_MB, announced), "6 MB");
		check_refused(sized(SIX_MB + 1, announced), 413, "RequestTooLargeException", too_large);
		request = sized(ONE_MB + 1, announced);
		add_header(request, "X-Amz-Invocation-Type", "Event");
		check_refused(request, 413, "RequestTooLargeException", event_too_large);
		request = sized(11, announced);
		test.building.max_request = 10;
		check_refused(request, 413, "RequestTooLargeException", own);
		request = sized(10, announced);
		test.building.max_request = 10;
		check_taken(request, "as much as the operator allows");
		request = sized(SIX_MB + 1, announced);
		test.building.max_request = 2 * SIX_MB;
		check_taken(request, "... even if the cloud does not");
	}
	request = make("{}");
	add_header(request, "Content-Length", "99999999999999999999");
	check_refused(request, 413, "RequestTooLargeException",
		"18446744073709551615 byte payload is too large for the RequestResponse invocation type "
		"(limit 6291456 bytes)");
}

static struct http_request *typed(const char *type)
{
	struct http_request *request = make("{}");

	add_header(request, "X-Amz-Invocation-Type", type);
	return request;
}

static void test_types(void)
{
	static const char bad[] = "X-Amz-Invocation-Type must be RequestResponse, Event or DryRun.";
	struct http_request *request;

	check_taken(typed("RequestResponse"), "RequestResponse");
	check_taken(typed("requestresponse"), "requestresponse");
	check_taken(typed(""), "an empty type");
	check_refused(typed("Async"), 400, "InvalidParameterValueException", bad);
	check_refused(typed("Events"), 400, "InvalidParameterValueException", bad);
	request = typed("DryRun");
	deliver(request);
	ok(is_answer(request, 204, with_id(request, "X-Amzn-RequestId: @\n"), NULL) && test.function.runs == 0,
		"DryRun runs nothing");
	done(request);
}

/* --- asynchronous calls ------------------------------------------------------------------------------ */

static void test_event_type(void)
{
	struct http_request *request = typed("Event");
	char *lines, *message;
	size_t length;

	add_header(request, "X-Amz-Log-Type", "Tail");
	deliver(request);
	ok(is_answer(request, 202, with_id(request, "X-Amzn-RequestId: @\n"), NULL) && test.function.runs == 1,
		"Event is answered at once");
	request_free(request);
	message = test.function.platform->make_message(test.function.context, &no_limits, &length);
	ok(memcmp(message + length - 5, "}}\x1e{}", 5) == 0, "... its turn comes when the request is gone");
	free(message);
	lines = test.function.platform->log_start(test.function.context, NULL);
	ok(strncmp(lines, "START RequestId: ", 17) == 0, "... it has its lines in the log");
	free(lines);
	ok(!test.function.platform->wants_log(test.function.context), "... nobody wants them");
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_SUCCESS, .payload = (char[]) { "1" } });
	tear_down();
}

/* --- outcomes ---------------------------------------------------------------------------------------- */

/* set: besides the id; @ in body: the id. */
static void check_outcome(const struct outcome *outcome, int status, const char *set, const char *body)
{
	struct http_request *request = ask("{}");
	char all[500];

	end_with(&test.function, outcome);
	(void) snprintf(all, sizeof(all), "X-Amzn-RequestId: @\n" EXECUTED "%s", set);
	ok(is_answer(request, status, with_id(request, all), with_id(request, body)), "kind %d: %d, %s",
		(int) outcome->kind, status, body);
	done(request);
}

#define OUTCOME(...) (&(struct outcome) { __VA_ARGS__ })
#define UNHANDLED "X-Amz-Function-Error: Unhandled\n"

static void test_results(void)
{
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"a\":1}" }), 200, "", "{\"a\":1}");
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "null" }), 200, "", "null");
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS_BYTES, .payload = (char[]) { "Zm9v" }), 200,
		"Content-Type: application/unknown\n", "foo");
	check_outcome(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .payload = (char[]) { "{\"errorType\":\"E\"}" }), 200,
		UNHANDLED, "{\"errorType\":\"E\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_APPLICATION_ERROR, .payload = (char[]) { "{\"error\":\"e\"}" }), 200,
		UNHANDLED, "{\"error\":\"e\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_INIT_FAILED, .payload = (char[]) { "{\"errorType\":\"E\"}" }), 200,
		UNHANDLED, "{\"errorType\":\"E\"}");
}

static void check_exit(enum outcome_kind kind, int wait_status, const char *type, const char *text)
{
	char body[300];

	(void) snprintf(
		body, sizeof(body), "{\"errorType\":\"%s\",\"errorMessage\":\"RequestId: @ Error: %s\"}", type, text);
	check_outcome(OUTCOME(.kind = kind, .wait_status = wait_status), 200, UNHANDLED, body);
}

static void check_timeout(unsigned timeout_ms, const char *text)
{
	char body[300];

	(void) snprintf(body, sizeof(body),
		"{\"errorType\":\"Sandbox.Timedout\",\"errorMessage\":\"RequestId: @ Error: Task timed out after %s seconds\"}",
		text);
	check_outcome(OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits.timeout_ms = timeout_ms), 200, UNHANDLED, body);
}

/* What the platform says when it ended the invocation: see docs/protocol.md. */
static void test_failures(void)
{
	enum { CORE_DUMPED = 0x80, EXITED_WITH = 1 << 8 };

	check_timeout(3000, "3.00");
	check_timeout(1500, "1.50");
	check_timeout(12345, "12.34");
	check_timeout(50, "0.05");
	check_timeout(900000, "900.00");
	check_exit(OUTCOME_OUT_OF_MEMORY, SIGKILL, "Runtime.OutOfMemory", "Runtime exited with error: signal: killed");
	check_exit(OUTCOME_EXITED, 0, "Runtime.ExitError", "Runtime exited without providing a reason");
	check_exit(OUTCOME_EXITED, 3 * EXITED_WITH, "Runtime.ExitError", "Runtime exited with error: exit status 3");
	check_exit(
		OUTCOME_EXITED, 255 * EXITED_WITH, "Runtime.ExitError", "Runtime exited with error: exit status 255");
	check_exit(
		OUTCOME_EXITED, SIGSEGV, "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault");
	check_exit(OUTCOME_EXITED, SIGABRT | CORE_DUMPED, "Runtime.ExitError",
		"Runtime exited with error: signal: aborted (core dumped)");
	/* Its name is made anew in each call of strsignal(): a use of the old one shows under a sanitizer. */
	for (int number = 40; number <= 41; number++) {
		char text[64];

		(void) snprintf(text, sizeof(text), "Runtime exited with error: signal: real-time signal %d",
			number - SIGRTMIN);
		check_exit(OUTCOME_EXITED, number, "Runtime.ExitError", text);
	}
	check_exit(OUTCOME_INIT_EXITED, EXITED_WITH, "Runtime.ExitError", "Runtime exited with error: exit status 1");
}

static void test_refused_by_the_function(void)
{
	check_outcome(OUTCOME(.kind = OUTCOME_BAD_REQUEST, .payload = (char[]) { "{\"error\":\"x\"}" }), 400,
		"X-Amzn-ErrorType: InvalidRequestContentException\n",
		"{\"Type\":\"User\",\"Message\":\"Could not parse request body into json.\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_NOT_INITIALIZED, .text = "x"), 404,
		"X-Amzn-ErrorType: ResourceNotFoundException\n",
		"{\"Type\":\"User\",\"Message\":\"There is no function yet: its code comes with POST /init, or with --code "
		"at the start.\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_QUEUE_FULL, .text = "x"), 429,
		"X-Amzn-ErrorType: TooManyRequestsException\n", "{\"Type\":\"User\",\"Message\":\"Rate Exceeded.\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_STOPPING, .text = "50% \"gone\""), 503,
		"X-Amzn-ErrorType: ServiceException\n", "{\"Type\":\"Service\",\"Message\":\"50% \\\"gone\\\"\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_INTERNAL_ERROR, .text = "broken"), 500,
		"X-Amzn-ErrorType: ServiceException\n", "{\"Type\":\"Service\",\"Message\":\"broken\"}");
	check_outcome(OUTCOME(.kind = OUTCOME_INIT_FAILED, .text = "a bad archive"), 500,
		"X-Amzn-ErrorType: ServiceException\n", "{\"Type\":\"Service\",\"Message\":\"a bad archive\"}");
}

/* An outcome from within function_run(): the request is answered, and not touched any more. An asynchronous call
 * must not have been accepted before. */
static void test_outcome_at_once(void)
{
	static const char *const types[] = { "RequestResponse", "Event" };
	const struct outcome full = { .kind = OUTCOME_QUEUE_FULL };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct http_request *request = typed(types[i]);

		test.function.at_once = &full;
		deliver(request);
		ok(is_answer(request, 429,
			   with_id(request,
				   "X-Amzn-RequestId: @\n" EXECUTED "X-Amzn-ErrorType: TooManyRequestsException\n"),
			   "{\"Type\":\"User\",\"Message\":\"Rate Exceeded.\"}"),
			"%s, refused at once", types[i]);
		done(request);
	}
}

/* The runner can have answered within function_run(): the result of an asynchronous call is nobody's all the same. */
static void test_result_at_once(void)
{
	const struct outcome outcome = { .kind = OUTCOME_SUCCESS, .payload = (char[]) { "1" }, .payload_length = 1 };
	struct http_request *request = typed("Event");

	test.function.at_once = &outcome;
	test.function.starts = true;
	deliver(request);
	ok(is_answer(request, 202, with_id(request, "X-Amzn-RequestId: @\n"), NULL),
		"Event, done before it was answered");
	done(request);
}

/* --- the size of results ----------------------------------------------------------------------------- */

/* max_response SIZE_MAX: the cloud's. bytes: what the function returns, of which kind says whether they are text. */
static void check_response(size_t max_response, enum outcome_kind kind, size_t bytes, const char *limit)
{
	struct http_request *request = make("{}");
	size_t length = kind == OUTCOME_SUCCESS_BYTES ? (bytes + 2) / 3 * 4 : bytes;
	struct outcome outcome = { .kind = kind, .payload = malloc(length + 1) };
	char body[300];

	memset(outcome.payload, 'A', length);
	outcome.payload[length] = '\0';
	if (length != bytes)
		memcpy(outcome.payload + length - (3 - bytes % 3) % 3, "==", (3 - bytes % 3) % 3);
	test.building.max_response = max_response;
	deliver(request);
	end_with(&test.function, &outcome);
	(void) snprintf(body, sizeof(body),
		"{\"errorType\":\"Function.ResponseSizeTooLarge\",\"errorMessage\":\"Response payload size exceeded maximum "
		"allowed payload size (%s bytes).\"}",
		limit);
	if (limit != NULL)
		ok(is_answer(request, 200, with_id(request, "X-Amzn-RequestId: @\n" EXECUTED UNHANDLED), body),
			"%zu bytes, kind %d, are too many", bytes, (int) kind);
	else
		ok(tap_is_int(request->answer_length, bytes) && strstr(request->set, "Function.Resp") == NULL,
			"%zu bytes, kind %d, are not too many", bytes, (int) kind);
	free(outcome.payload);
	done(request);
}

static void test_response_sizes(void)
{
	static const enum outcome_kind kinds[] = { OUTCOME_SUCCESS, OUTCOME_FUNCTION_ERROR, OUTCOME_SUCCESS_BYTES };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		check_response(SIZE_MAX, kinds[i], 6291556, NULL);
		check_response(SIZE_MAX, kinds[i], 6291557, "6291556");
		check_response(16, kinds[i], 16, NULL);
		check_response(16, kinds[i], 17, "16");
		check_response(3 * SIX_MB, kinds[i], 2 * SIX_MB, NULL);
	}
}

/* --- the log ----------------------------------------------------------------------------------------- */

static void test_log_result(void)
{
	struct http_request *request = make("{}");

	add_header(request, "X-Amz-Log-Type", "tail");
	deliver(request);
	ok(test.function.platform->wants_log(test.function.context), "Tail wants the log");
	end_with(&test.function,
		OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "1" }, .log = (char[]) { "START\n>>?" }));
	ok(is_answer(request, 200, with_id(request, "X-Amzn-RequestId: @\nX-Amz-Log-Result: U1RBUlQKPj4/\n" EXECUTED),
		   "1"),
		"... and has it in a header");
	done(request);

	request = make("{}");
	add_header(request, "X-Amz-Log-Type", "None");
	deliver(request);
	ok(!test.function.platform->wants_log(test.function.context), "None does not");
	end_and_free(request);
	request = ask("{}");
	ok(!test.function.platform->wants_log(test.function.context), "nor does nothing");
	end_and_free(request);
}

static void test_log_start(void)
{
	struct http_request *request = ask("{}");
	const struct cold_start cold_start = { .init_us = 1000, .peak_kb = 2000 };

	for (int cold = 0; cold < 2; cold++) {
		char *lines = test.function.platform->log_start(test.function.context, cold ? &cold_start : NULL);

		is_str(lines, with_id(request, "START RequestId: @ Version: $LATEST\n"), "the first line, %s",
			cold ? "cold" : "warm");
		free(lines);
	}
	end_and_free(request);
}

/* A line of the JSON log without its time, which is checked; in static memory. */
static const char *without_time(char *line)
{
	static char text[1000];
	struct tm time = { 0 };
	const char *rest = strptime(line, "{\"time\":\"%Y-%m-%dT%H:%M:%S", &time);
	unsigned ms;
	int used = 0;

	if (rest == NULL || sscanf(rest, ".%3uZ\",%n", &ms, &used) != 1 || used != 7)
		return line;
	(void) snprintf(text, sizeof(text), "{%s", rest + used);
	free(line);
	return text;
}

static void check_json_end(const struct outcome *outcome, const char *wanted)
{
	struct http_request *request = ask("{}");
	char all[1000];

	(void) snprintf(all, sizeof(all),
		"{\"type\":\"platform.report\",\"record\":{\"requestId\":\"@\",\"metrics\":{%s}}\n", wanted);
	is_str(without_time(test.function.platform->log_end(test.function.context, outcome)), with_id(request, all),
		"the report of kind %d", (int) outcome->kind);
	end_and_free(request);
}

static void test_json_log(void)
{
	struct http_request *request = ask("{}");

	(void) setenv("AWS_LAMBDA_LOG_FORMAT", "Json", 1);
	is_str(without_time(test.function.platform->log_start(test.function.context, NULL)),
		with_id(request,
			"{\"type\":\"platform.start\",\"record\":{\"requestId\":\"@\",\"version\":\"$LATEST\"}}\n"),
		"the first line as JSON");
	end_and_free(request);
	check_json_end(OUTCOME(.kind = OUTCOME_SUCCESS, .limits.memory_mb = 128, .run_us = 1234567, .peak_kb = 20480),
		"\"durationMs\":1234.567,\"billedDurationMs\":1235,\"memorySizeMB\":128,\"maxMemoryUsedMB\":20},"
		"\"status\":\"success\"");
	check_json_end(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .limits.memory_mb = 1, .init_us = 2500),
		"\"durationMs\":0.000,\"billedDurationMs\":0,\"memorySizeMB\":1,\"maxMemoryUsedMB\":0,"
		"\"initDurationMs\":2.500},\"status\":\"error\"");
	check_json_end(OUTCOME(.kind = OUTCOME_EXITED, .limits.memory_mb = 1, .wait_status = 256),
		"\"durationMs\":0.000,\"billedDurationMs\":0,\"memorySizeMB\":1,\"maxMemoryUsedMB\":0},"
		"\"status\":\"error\",\"errorType\":\"Runtime.ExitError\"");
	check_json_end(OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits.memory_mb = 1, .limits.timeout_ms = 3000),
		"\"durationMs\":0.000,\"billedDurationMs\":0,\"memorySizeMB\":1,\"maxMemoryUsedMB\":0},"
		"\"status\":\"timeout\"");
	(void) unsetenv("AWS_LAMBDA_LOG_FORMAT");
}

static void check_log_end(const struct outcome *outcome, const char *wanted)
{
	struct http_request *request = ask("{}");
	char *lines = test.function.platform->log_end(test.function.context, outcome), all[1000];

	(void) snprintf(all, sizeof(all), "END RequestId: @\nREPORT RequestId: @\t%s", wanted);
	is_str(lines, with_id(request, all), "the last lines of kind %d", (int) outcome->kind);
	free(lines);
	end_and_free(request);
}

static void test_log_end(void)
{
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .limits.memory_mb = 128, .run_us = 1234567, .peak_kb = 20480),
		"Duration: 1234.57 ms\tBilled Duration: 1235 ms\tMemory Size: 128 MB\tMax Memory Used: 20 MB\t\n");
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .limits.memory_mb = 128, .run_us = 2000, .peak_kb = 20481,
			      .init_us = 123456),
		"Duration: 2.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 21 MB\t"
		"Init Duration: 123.46 ms\t\n");
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .run_us = 1, .peak_kb = 20481),
		"Duration: 0.00 ms\tBilled Duration: 1 ms\tMemory Size: 21 MB\tMax Memory Used: 21 MB\t\n");
	check_log_end(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .limits.memory_mb = 1),
		"Duration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: 1 MB\tMax Memory Used: 0 MB\t\n");
	check_log_end(OUTCOME(.kind = OUTCOME_EXITED, .limits.memory_mb = 1, .wait_status = 256),
		"Duration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: 1 MB\tMax Memory Used: 0 MB\t\n"
		"RequestId: @ Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n");
	check_log_end(OUTCOME(.kind = OUTCOME_OUT_OF_MEMORY, .limits.memory_mb = 1, .wait_status = SIGKILL),
		"Duration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: 1 MB\tMax Memory Used: 0 MB\t\n"
		"RequestId: @ Error: Runtime exited with error: signal: killed\nRuntime.OutOfMemory\n");
}

/* Its line has the time. */
static void test_log_timeout(void)
{
	struct http_request *request = ask("{}");
	char *lines = test.function.platform->log_end(test.function.context,
		OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits = { .timeout_ms = 3000, .memory_mb = 1 }));
	const char *line = strstr(lines, "MB\t\n");
	struct tm utc = { 0 };
	const char *rest;
	time_t now = time(NULL), then;

	if (line == NULL)
		bail_out("no report in %s", lines);
	rest = strptime(line + 4, "%Y-%m-%dT%H:%M:%S", &utc);
	then = timegm(&utc);
	ok(rest != NULL && then <= now && then >= now - 20, "the time of a timeout, in UTC: %.24s", line + 4);
	ok(rest != NULL && rest[0] == '.' && strspn(rest + 1, "0123456789") == 3, "... in ms");
	is_str(rest != NULL ? rest + 4 : NULL, with_id(request, "Z @ Task timed out after 3.00 seconds\n\n"),
		"... before what is said of it");
	free(lines);
	end_and_free(request);
}

int main(void)
{
	(void) (unsetenv("AWS_REGION") + unsetenv("AWS_LAMBDA_FUNCTION_NAME"));
	test_events();
	test_details();
	test_bad_contexts();
	test_arns();
	test_limits();
	test_sizes();
	test_types();
	test_event_type();
	test_results();
	test_failures();
	test_refused_by_the_function();
	test_outcome_at_once();
	test_result_at_once();
	test_response_sizes();
	test_log_result();
	test_log_start();
	test_log_end();
	test_json_log();
	test_log_timeout();
	return done_testing();
}
