#include "door_doubles.h"

#include "../../proxy/limits.h"

#include <signal.h>

#define ID "X-Scf-Request-Id"

static struct http_request *make(const char *body)
{
	struct http_request *request = request_new("/event-invoke", body, strlen(body));

	set_up();
	add_header(request, ID, "the-id");
	return request;
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

/* --- the message ------------------------------------------------------------------------------------- */

static void check_sent(struct http_request *request, const char *details, const char *event, const char *what)
{
	char wanted[4096];

	deliver(request);
	(void) snprintf(wanted, sizeof(wanted), "\x1e{\"activation_id\":\"the-id\",\"pyaction\":{\"scf\":{%s}}}\x1e%s",
		details, event);
	ok(tap_is_int(request->answers, 0) && tap_is_int(test.function.runs, 1) &&
			tap_is_str(message_of(&test.function, &no_limits), wanted),
		"the message of %s", what);
	end_and_free(request);
}

static void check_header(const char *name, const char *value, const char *details)
{
	struct http_request *request = make("1");

	add_header(request, name, value);
	check_sent(request, details, "1", name);
}

static void test_messages(void)
{
	struct http_request *request;

	check_sent(make("{\"a\":1}"), "", "{\"a\":1}", "an object");
	check_sent(make("[1,\n2]\n"), "", "[1,\v2]\v", "an array of several lines");
	check_sent(make(""), "", "{}", "no body");
	check_header("X-Scf-Name", "n", "\"function_name\":\"n\"");
	check_header("X-Scf-Version", "$LATEST", "\"function_version\":\"$LATEST\"");
	check_header("X-Scf-Namespace", "default", "\"namespace\":\"default\"");
	check_header("X-Scf-Region", "ap-guangzhou", "\"tencentcloud_region\":\"ap-guangzhou\"");
	check_header("X-Scf-Appid", "1", "\"tencentcloud_appid\":\"1\"");
	check_header("X-Scf-Uin", "2", "\"tencentcloud_uin\":\"2\"");
	check_header("X-Scf-Secret-Id", "i", "\"secret_id\":\"i\"");
	check_header("X-Scf-Secret-Key", "k", "\"secret_key\":\"k\"");
	check_header("X-Scf-Session-Token", "\"\\\n", "\"session_token\":\"\\\"\\\\\\n\"");
	check_header("X-Scf-Trigger-Src", "timer", "\"trigger_src\":\"timer\"");
	check_header("X-Scf-Unknown", "x", "");

	request = make("null");
	add_header(request, "x-scf-namespace", "");
	add_header(request, "x-scf-name", "n");
	check_sent(request, "\"function_name\":\"n\",\"namespace\":\"\"", "null", "several headers, in lower case");
}

/* An id is made where the caller gives none. */
static void test_ids(void)
{
	static const char *const none[] = { NULL, "" };

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct http_request *request = request_new("/event-invoke", "1", 1);
		char id[DOOR_ID_SIZE] = "", wanted[200];

		if (none[i] != NULL)
			add_header(request, ID, none[i]);
		set_up();
		deliver(request);
		ok(sscanf(request->set, ID ": %36s\n", id) == 1 && strlen(id) == DOOR_ID_SIZE - 1, "%s id: one is made",
			none[i] != NULL ? "an empty" : "no");
		(void) snprintf(wanted, sizeof(wanted),
			"\x1e{\"activation_id\":\"%s\",\"pyaction\":{\"scf\":{}}}\x1e%d", id, 1);
		is_str(message_of(&test.function, &no_limits), wanted, "... and in the message");
		end_and_free(request);
	}
}

/* --- limits ------------------------------------------------------------------------------------------ */

/* NULL: no such header. */
static void check_limits(const char *timeout, const char *memory, unsigned timeout_ms, unsigned memory_mb)
{
	struct http_request *request = make("1");
	struct limits limits;
	char wanted[128];

	if (timeout != NULL)
		add_header(request, "X-Scf-Timeout", timeout);
	if (memory != NULL)
		add_header(request, "X-Scf-Memory", memory);
	deliver(request);
	limits = test.function.platform->limits;
	test.function.platform->adjust_limits(test.function.context, &limits);
	ok(tap_is_int(limits.timeout_ms, timeout_ms) && tap_is_int(limits.memory_mb, memory_mb),
		"a timeout of %s and a memory of %s are %u ms and %u MB", timeout != NULL ? timeout : "nothing",
		memory != NULL ? memory : "nothing", timeout_ms, memory_mb);
	(void) snprintf(wanted, sizeof(wanted), "\"scf\":{\"memory_limit_in_mb\":%u,\"time_limit_in_ms\":%u}",
		memory_mb, timeout_ms);
	ok(strstr(message_of(&test.function, &limits), wanted) != NULL, "... and so says the context");
	end_and_free(request);
}

/* The context's limits are those in force, behind what else it has. name NULL: it has nothing else. */
static void check_context(const char *name, struct limits limits, const char *context)
{
	struct http_request *request = make("1");
	char wanted[200];

	if (name != NULL)
		add_header(request, "X-Scf-Name", name);
	deliver(request);
	(void) snprintf(wanted, sizeof(wanted), "\"pyaction\":{\"scf\":{%s}}}", context);
	ok(strstr(message_of(&test.function, &limits), wanted) != NULL, "the context is {%s}", context);
	end_and_free(request);
}

static void test_context(void)
{
	check_context(NULL, (struct limits) { 0, 0 }, "");
	check_context(NULL, (struct limits) { 0, 64 }, "\"memory_limit_in_mb\":64");
	check_context(NULL, (struct limits) { 1500, 0 }, "\"time_limit_in_ms\":1500");
	check_context(NULL, (struct limits) { 1500, 64 }, "\"memory_limit_in_mb\":64,\"time_limit_in_ms\":1500");
	check_context("n", (struct limits) { 0, 0 }, "\"function_name\":\"n\"");
	check_context("n", (struct limits) { 0, 64 }, "\"function_name\":\"n\",\"memory_limit_in_mb\":64");
	check_context("n", (struct limits) { 1500, 0 }, "\"function_name\":\"n\",\"time_limit_in_ms\":1500");
	check_context("n", (struct limits) { 1500, 64 },
		"\"function_name\":\"n\",\"memory_limit_in_mb\":64,\"time_limit_in_ms\":1500");
}

static void test_limits(void)
{
	static const char *const no_numbers[] = { "", "0", "-1", "+1", " 1", "1 ", "1.5", "x", "0x10", "1000000001",
		"99999999999999999999" };
	struct http_request *request = ask("1");

	ok(!test.function.platform->markers, "no markers");
	ok(strstr(message_of(&test.function, &(struct limits) { .timeout_ms = 1 }), ",\"deadline\":\"") != NULL,
		"a limit in time is a deadline in the message");
	end_and_free(request);
	check_limits(NULL, NULL, 3000, 128);
	check_limits("1", "64", 1000, 64);
	check_limits("900", "3072", 900000, 3072);
	check_limits("999", NULL, 999000, 128);
	check_limits("1000", NULL, 1000, 128); /* ms from here on */
	check_limits("86400000", "1000000000", 86400000, 1000000000);
	for (size_t i = 0; i < ARRAY_SIZE(no_numbers); i++)
		check_limits(no_numbers[i], no_numbers[i], 3000, 128);
}

/* --- what is refused --------------------------------------------------------------------------------- */

static void check_refused(struct http_request *request, int status, const char *text)
{
	char body[500];

	(void) snprintf(body, sizeof(body),
		"{\"errorCode\":-1,\"errorMessage\":\"%s\",\"requestId\":\"the-id\",\"statusCode\":%d}", text, status);
	deliver(request);
	ok(is_answer(request, status, ID ": the-id\n", body) && tap_is_int(test.function.runs, 0), "%d: %s", status,
		text);
	done(request);
}

/* With a body of that length, or only a header that announces it. */
static struct http_request *sized(size_t length, bool announced)
{
	static char text[32];
	char *body = malloc(length + 1);
	struct http_request *request;

	memset(body, '"', length);
	if (length > 2)
		memset(body + 1, 's', length - 2);
	set_up();
	request = request_new("/event-invoke", body, announced ? 0 : length);
	free(body);
	add_header(request, ID, "the-id");
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

static void test_sizes(void)
{
	struct http_request *request;

	for (int announced = 0; announced < 2; announced++) {
		check_taken(sized(SIX_MB, announced), "6 MB");
		check_refused(sized(SIX_MB + 1, announced), 406,
			"RequestTooLarge: the event has 6291457 bytes, the limit is 6291456");
		request = sized(11, announced);
		test.building.max_request = 10;
		check_refused(request, 406, "RequestTooLarge: the event has 11 bytes, the limit is 10");
		request = sized(10, announced);
		test.building.max_request = 10;
		check_taken(request, "as much as the operator allows");
		request = sized(SIX_MB + 1, announced);
		test.building.max_request = 2 * SIX_MB;
		check_taken(request, "... even if the cloud does not");
	}
}

static void test_no_json(void)
{
	static const char *const bad[] = { "no JSON", "{", "{}}", " ", "\xff", "NaN", "\xef\xbb\xbf{}" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_request *request = ask(bad[i]);

		ok(tap_is_int(request->status, 400) && tap_is_int(request->answers, 1) &&
				tap_is_int(test.function.runs, 0) && tap_is_str(request->set, ID ": the-id\n") &&
				strncmp(request->answer,
					"{\"errorCode\":-1,\"errorMessage\":\"InvalidParameterValue: the event is not JSON",
					76) == 0 &&
				memmem(request->answer, request->answer_length,
					"\"requestId\":\"the-id\",\"statusCode\":400}", 38) != NULL,
			"%s is refused", tap_show(bad[i], strlen(bad[i])));
		done(request);
	}
}

static void test_deep_json(void)
{
	static const char wanted[] = "\x1e{\"activation_id\":\"the-id\",\"pyaction\":{\"scf\":{}}}\x1e[[[[[[[[";
	char event[1201] = "";
	struct http_request *request;

	memset(event, '[', 600);
	memset(event + 600, ']', 600);
	request = ask(event);
	ok(test.function.runs == 1 && strncmp(message_of(&test.function, &no_limits), wanted, strlen(wanted)) == 0,
		"600 levels are taken");
	end_and_free(request);
}

/* --- outcomes ---------------------------------------------------------------------------------------- */

#define OUTCOME(...) (&(struct outcome) { __VA_ARGS__ })

static void check_outcome(const struct outcome *outcome, int status, const char *set, const char *body)
{
	struct http_request *request = ask("{}");
	char all[200];

	end_with(&test.function, outcome);
	(void) snprintf(all, sizeof(all), ID ": the-id\n%s", set);
	ok(is_answer(request, status, all, body), "kind %d: %d, %s", (int) outcome->kind, status, body);
	done(request);
}

static void test_results(void)
{
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"a\":1}" }), 200, "", "{\"a\":1}");
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "null" }), 200, "", "null");
	check_outcome(OUTCOME(.kind = OUTCOME_APPLICATION_ERROR, .payload = (char[]) { "{\"error\":1}" }), 430, "",
		"{\"error\":1}");
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS_BYTES, .payload = (char[]) { "Zm9v" }), 200,
		"Content-Type: application/octet-stream\n", "foo");
	check_outcome(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .payload = (char[]) { "{\"errorCode\":1}" }), 430, "",
		"{\"errorCode\":1}");
	check_outcome(OUTCOME(.kind = OUTCOME_INIT_FAILED, .payload = (char[]) { "{\"errorCode\":1}" }), 443, "",
		"{\"errorCode\":1}");
}

static void check_failure(const struct outcome *outcome, int code, int status, const char *text)
{
	char body[500];

	(void) snprintf(body, sizeof(body),
		"{\"errorCode\":%d,\"errorMessage\":\"%s\",\"requestId\":\"the-id\",\"statusCode\":%d}", code, text,
		status);
	check_outcome(outcome, status, "", body);
}

static void test_failures(void)
{
	check_failure(OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits.timeout_ms = 3000), -1, 433,
		"Invoking task timed out after 3 seconds");
	check_failure(OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits.timeout_ms = 1500), -1, 433,
		"Invoking task timed out after 1.5 seconds");
	check_failure(
		OUTCOME(.kind = OUTCOME_OUT_OF_MEMORY, .limits.memory_mb = 64), -1, 434, "Task memory exceeded 64 MB");
	check_failure(OUTCOME(.kind = OUTCOME_EXITED, .wait_status = 256), 1, 439,
		"Process exited before completing request");
	check_failure(OUTCOME(.kind = OUTCOME_INIT_EXITED, .wait_status = 0), 1, 439,
		"Process exited before completing request");
	check_failure(OUTCOME(.kind = OUTCOME_BAD_REQUEST, .payload = (char[]) { "{}" }), -1, 400,
		"InvalidParameterValue: the event is not JSON");
	check_failure(OUTCOME(.kind = OUTCOME_NOT_INITIALIZED, .text = "x"), -1, 435,
		"FunctionNotFound: the code comes with /init, or with --code at the start");
	check_failure(OUTCOME(.kind = OUTCOME_QUEUE_FULL, .text = "100% \"full\""), -1, 429,
		"ResourceLimit: 100% \\\"full\\\"");
	check_failure(OUTCOME(.kind = OUTCOME_STOPPING, .text = "gone"), -1, 499, "RequestCanceled: gone");
	check_failure(OUTCOME(.kind = OUTCOME_INTERNAL_ERROR, .text = "broken"), -1, 500, "InternalError: broken");
}

static void test_outcome_at_once(void)
{
	const struct outcome full = { .kind = OUTCOME_QUEUE_FULL, .text = "full" };
	struct http_request *request = make("{}");

	test.function.at_once = &full;
	deliver(request);
	ok(is_answer(request, 429, ID ": the-id\n",
		   "{\"errorCode\":-1,\"errorMessage\":\"ResourceLimit: full\",\"requestId\":\"the-id\",\"statusCode\":429}"),
		"refused at once");
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
		"{\"errorCode\":-1,\"errorMessage\":\"The size of response exceeds the upper limit (%s)\","
		"\"requestId\":\"the-id\",\"statusCode\":407}",
		limit);
	if (limit != NULL)
		ok(is_answer(request, 407, ID ": the-id\n", body), "%zu bytes, kind %d, are too many", bytes,
			(int) kind);
	else
		ok(tap_is_int(request->answer_length, bytes) && request->status != 407,
			"%zu bytes, kind %d, are not too many", bytes, (int) kind);
	free(outcome.payload);
	done(request);
}

static void test_response_sizes(void)
{
	static const enum outcome_kind kinds[] = { OUTCOME_SUCCESS, OUTCOME_FUNCTION_ERROR, OUTCOME_SUCCESS_BYTES };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		check_response(SIZE_MAX, kinds[i], SIX_MB, NULL);
		check_response(SIZE_MAX, kinds[i], SIX_MB + 1, "6MB");
		check_response(16, kinds[i], 16, NULL);
		check_response(16, kinds[i], 17, "16 bytes");
		check_response(3 * SIX_MB, kinds[i], 2 * SIX_MB, NULL);
	}
}

/* --- the log ----------------------------------------------------------------------------------------- */

static void test_log_start(void)
{
	const struct cold_start cold_start = { .init_us = 12500, .peak_kb = 10250 };
	struct http_request *request = ask("{}");
	char *lines = test.function.platform->log_start(test.function.context, NULL);

	is_str(lines, "START RequestId:the-id\n", "the first line, warm");
	free(lines);
	(void) message_of(&test.function, &(struct limits) { .memory_mb = 64 }); /* which is made before */
	lines = test.function.platform->log_start(test.function.context, &cold_start);
	is_str(lines,
		"START RequestId:the-id\nInit Report RequestId: the-id Coldstart: 13ms (PullCode: 0ms InitRuntime: 0ms "
		"InitFunction: 13ms) Memory: 64MB MemUsage: 10.01MB\n",
		"the first lines, cold");
	free(lines);
	ok(test.function.platform->wants_log == NULL, "nobody wants the log");
	end_and_free(request);
}

#define REPORT(duration, usage)                                                                                        \
	"END RequestId:the-id\nReport RequestId:the-id Duration:" duration "ms Memory:64MB MemUsage:" usage "MB\n"

/* result: the line in front of the last two. */
static void check_log_end(struct outcome *outcome, const char *result, const char *report)
{
	struct http_request *request = ask("{}");
	char *lines, *wanted = NULL;

	if (outcome->payload != NULL && outcome->payload_length == 0)
		outcome->payload_length = strlen(outcome->payload);
	outcome->limits.memory_mb = 64;
	lines = test.function.platform->log_end(test.function.context, outcome);
	if (asprintf(&wanted, "%s%s", result, report) < 0)
		bail_out("no memory");
	is_str(lines, wanted, "the last lines of kind %d", (int) outcome->kind);
	free(lines);
	free(wanted);
	end_and_free(request);
}

static void test_log_end(void)
{
	check_log_end(
		OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"a\":1}" }, .run_us = 1499, .peak_kb = 10250),
		"Response RequestId:the-id RetMsg:{\"a\":1}\n", REPORT("1", "10.009766"));
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS_BYTES, .payload = (char[]) { "Zm9v" }, .run_us = 1500),
		"Response RequestId:the-id RetMsg:Zm9v\n", REPORT("2", "0.000000"));
	check_log_end(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .payload = (char[]) { "{\"errorCode\":1}" }),
		"ERROR RequestId:the-id Result:{\"errorCode\":1}\n", REPORT("0", "0.000000"));
	check_log_end(OUTCOME(.kind = OUTCOME_APPLICATION_ERROR, .payload = (char[]) { "{\"error\":1}" }),
		"ERROR RequestId:the-id Result:{\"error\":1}\n", REPORT("0", "0.000000"));
	check_log_end(OUTCOME(.kind = OUTCOME_INIT_FAILED, .payload = (char[]) { "{\"errorCode\":1}" }),
		"ERROR RequestId:the-id Result:{\"errorCode\":1}\n", REPORT("0", "0.000000"));
	check_log_end(OUTCOME(.kind = OUTCOME_TIMED_OUT, .limits.timeout_ms = 2000),
		"ERROR RequestId:the-id Result:{\"errorCode\":-1,\"errorMessage\":\"Invoking task timed out after 2 seconds\","
		"\"requestId\":\"the-id\",\"statusCode\":433}\n",
		REPORT("0", "0.000000"));
	check_log_end(OUTCOME(.kind = OUTCOME_EXITED, .text = "x"),
		"ERROR RequestId:the-id Result:{\"errorCode\":1,\"errorMessage\":\"Process exited before completing request\","
		"\"requestId\":\"the-id\",\"statusCode\":439}\n",
		REPORT("0", "0.000000"));
}

/* A long result is cut, and one that is too large is the error that it became. */
static void test_log_long_results(void)
{
	char *payload = malloc(SIX_MB + 2), wanted[LIMIT_SCF_LOGGED + 100];

	memset(payload, '1', SIX_MB + 1);
	payload[LIMIT_SCF_LOGGED] = '\0';
	(void) snprintf(wanted, sizeof(wanted), "Response RequestId:the-id RetMsg:%s\n", payload);
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = payload), wanted, REPORT("0", "0.000000"));
	payload[LIMIT_SCF_LOGGED] = '2';
	payload[LIMIT_SCF_LOGGED + 1] = '\0';
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = payload), wanted, REPORT("0", "0.000000"));
	/* Not within a character. */
	memcpy(payload + LIMIT_SCF_LOGGED - 3, "\xf0\x9f\x98\x80", 5);
	(void) snprintf(
		wanted, sizeof(wanted), "Response RequestId:the-id RetMsg:%.*s\n", LIMIT_SCF_LOGGED - 3, payload);
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = payload), wanted, REPORT("0", "0.000000"));
	payload[LIMIT_SCF_LOGGED + 1] = '2';
	payload[SIX_MB + 1] = '\0';
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = payload),
		"ERROR RequestId:the-id Result:{\"errorCode\":-1,\"errorMessage\":\"The size of response exceeds the upper "
		"limit (6MB)\",\"requestId\":\"the-id\",\"statusCode\":407}\n",
		REPORT("0", "0.000000"));
	free(payload);
}

/* What only native code of the function can have put into a reply; the platform's lines come all the same. */
static void test_log_forged_results(void)
{
	char *payload = malloc(LIMIT_SCF_LOGGED + 2);

	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"a\":\0 1}" }, .payload_length = 9),
		"Response RequestId:the-id RetMsg:{\"a\":\n", REPORT("0", "0.000000"));
	memset(payload, 0x80, LIMIT_SCF_LOGGED + 1);
	payload[LIMIT_SCF_LOGGED + 1] = '\0';
	check_log_end(OUTCOME(.kind = OUTCOME_SUCCESS, .payload = payload), "Response RequestId:the-id RetMsg:\n",
		REPORT("0", "0.000000"));
	free(payload);
}

int main(void)
{
	test_messages();
	test_ids();
	test_context();
	test_limits();
	test_sizes();
	test_no_json();
	test_deep_json();
	test_results();
	test_failures();
	test_outcome_at_once();
	test_response_sizes();
	test_log_start();
	test_log_end();
	test_log_long_results();
	test_log_forged_results();
	return done_testing();
}
