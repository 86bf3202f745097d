#include "door_doubles.h"

/* Hands a request to the function. */
static struct http_request *ask(const char *path, const char *body)
{
	struct http_request *request = request_new(path, body, strlen(body));

	set_up();
	deliver(request);
	return request;
}

static void done(struct http_request *request)
{
	request_free(request);
	tear_down();
}

/* --- what the function gets -------------------------------------------------------------------------- */

static void check_message(const char *body, const char *wanted)
{
	struct http_request *request = ask("/run", body);

	is_str(message_of(&test.function, &no_limits), wanted, "the message of a /run with '%s'",
		tap_show(body, strlen(body)));
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_STOPPING });
	done(request);
}

static void test_run(void)
{
	const struct platform *platform;
	struct http_request *request = ask("/run", "{}");

	is_int(test.function.runs, 1, "/run is a run");
	platform = test.function.platform;
	ok(platform->markers, "... with markers");
	ok(platform->limits.timeout_ms == 0 && platform->limits.memory_mb == 0 && platform->adjust_limits == NULL,
		"... without limits of its own");
	ok(platform->log_start == NULL && platform->log_end == NULL && platform->wants_log == NULL,
		"... and without lines in the log");
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_STOPPING });
	done(request);

	check_message("{\"value\":{\"a\":1},\"deadline\":\"5\"}", "{\"value\":{\"a\":1},\"deadline\":\"5\"}");
	check_message("\n{\"a\":\r\n1}\n\n", "\r{\"a\":\r\r1}\r\r");
	check_message("no JSON", "no JSON");
	check_message("", "");
	/* Nobody else's headers or limits change it. */
	request = request_new("/run", "{\"a\":1}", 7);
	add_header(request, "X-Amz-Client-Context", "e30=");
	add_header(request, "X-Scf-Request-Id", "id");
	set_up();
	deliver(request);
	is_str(message_of(&test.function, &(struct limits) { .timeout_ms = 1000, .memory_mb = 1 }), "{\"a\":1}",
		"the message is the body, whatever the limits and the headers");
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_STOPPING });
	done(request);
}

static void test_sizes(void)
{
	struct http_request *request = request_new("/run", "{\"a\":1}", 7);

	set_up();
	test.building.max_request = test.building.max_response = 1;
	deliver(request);
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"a\":1}" } });
	ok(is_answer(request, 200, "", "{\"a\":1}"), "the other doors' limits for events and results are not its own");
	done(request);
}

static void test_init(void)
{
	struct http_request *request = ask("/init", "{\"value\":{\"code\":\"x\"}}");

	ok(test.function.inits == 1 && test.function.runs == 0, "/init is an init");
	is_mem(test.function.body, test.function.length, "{\"value\":{\"code\":\"x\"}}", 22, "... with the body");
	end_with(&test.function,
		&(struct outcome) { .kind = OUTCOME_INITIALIZED, .payload = (char[]) { "{\"ok\":true}" } });
	ok(is_answer(request, 200, "", "{\"ok\":true}"), "... answered with the runner's document");
	done(request);
}

/* --- what the client gets ---------------------------------------------------------------------------- */

static void check_outcome(
	enum outcome_kind kind, enum convention convention, char *payload, int status, const char *wanted)
{
	struct http_request *request = ask(kind == OUTCOME_INITIALIZED ? "/init" : "/run", "{}");
	struct outcome outcome = { .kind = kind, .convention = convention, .payload = payload, .text = "100% text" };

	end_with(&test.function, &outcome);
	ok(is_answer(request, status, "", wanted), "kind %d of a function like %s, %s: %d", (int) kind,
		convention_name(convention), payload != NULL ? payload : "without a payload", status);
	done(request);
}

static const struct {
	enum outcome_kind kind;
	int status;
} statuses[] = {
	{ OUTCOME_INITIALIZED, 200 },
	{ OUTCOME_SUCCESS, 200 },
	{ OUTCOME_APPLICATION_ERROR, 200 },
	{ OUTCOME_SUCCESS_BYTES, 200 },
	{ OUTCOME_FUNCTION_ERROR, 502 },
	{ OUTCOME_INIT_FAILED, 502 },
	{ OUTCOME_INIT_EXITED, 502 },
	{ OUTCOME_EXITED, 400 },
	{ OUTCOME_TIMED_OUT, 502 },
	{ OUTCOME_OUT_OF_MEMORY, 502 },
	{ OUTCOME_BAD_REQUEST, 400 },
	{ OUTCOME_NO_CODE_GIVEN, 403 },
	{ OUTCOME_ALREADY_INITIALIZED, 403 },
	{ OUTCOME_NOT_INITIALIZED, 500 },
	{ OUTCOME_QUEUE_FULL, 429 },
	{ OUTCOME_STOPPING, 503 },
	{ OUTCOME_INTERNAL_ERROR, 500 },
};

static void test_statuses(void)
{
	is_int(ARRAY_SIZE(statuses), OUTCOME_INTERNAL_ERROR + 1, "each kind is in the table");
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		/* The double of http_answer_error() leaves out {"error": …}. */
		check_outcome(statuses[i].kind, CONVENTION_OPENWHISK, NULL, statuses[i].status, "100% text");
		check_outcome(statuses[i].kind, CONVENTION_LAMBDA, NULL, statuses[i].status, "100% text");
		check_outcome(statuses[i].kind, CONVENTION_OPENWHISK, (char[]) { "[%s]" }, statuses[i].status, "[%s]");
	}
}

/* OpenWhisk's caller expects an object. */
static void test_other_conventions(void)
{
	static const enum convention others[] = { CONVENTION_LAMBDA, CONVENTION_SCF };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		enum convention other = others[i];

		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "{\"a\":1}" }, 200, "{\"a\":1}");
		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "[1]" }, 200, "{\"body\":[1]}");
		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "\"{\"" }, 200, "{\"body\":\"{\"}");
		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "null" }, 200, "{\"body\":null}");
		check_outcome(OUTCOME_SUCCESS_BYTES, other, (char[]) { "Zm9v" }, 200,
			"{\"body\":\"Zm9v\",\"isBase64Encoded\":true}");
		check_outcome(
			OUTCOME_SUCCESS_BYTES, other, (char[]) { "" }, 200, "{\"body\":\"\",\"isBase64Encoded\":true}");
		check_outcome(OUTCOME_FUNCTION_ERROR, other, (char[]) { "{\"errorMessage\":\"m\"}" }, 502,
			"{\"error\":{\"errorMessage\":\"m\"}}");
		check_outcome(OUTCOME_INIT_FAILED, other, (char[]) { "{\"errorMessage\":\"m\"}" }, 502,
			"{\"error\":{\"errorMessage\":\"m\"}}");
		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "{\"a\": NaN}" }, 502,
			"The result is not JSON: it has NaN or Infinity, or is nested over 512 deep.");
		check_outcome(OUTCOME_SUCCESS, other, (char[]) { "-Infinity" }, 502,
			"The result is not JSON: it has NaN or Infinity, or is nested over 512 deep.");
		check_outcome(OUTCOME_INITIALIZED, other, (char[]) { "{\"ok\":true}" }, 200, "{\"ok\":true}");
		check_outcome(OUTCOME_BAD_REQUEST, other, (char[]) { "{\"error\":\"e\"}" }, 400, "{\"error\":\"e\"}");
	}
}

int main(void)
{
	test_run();
	test_sizes();
	test_init();
	test_statuses();
	test_other_conventions();
	return done_testing();
}
