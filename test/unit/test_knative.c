#include "door_doubles.h"

static struct http_request *make(const char *body)
{
	set_up();
	test.building.knative = true;
	return request_new("/", body, strlen(body));
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

#define OUTCOME(...) (&(struct outcome) { __VA_ARGS__ })

/* --- where it is ------------------------------------------------------------------------------------- */

static void test_place(void)
{
	struct http_request *request = ask("{}");

	ok(request->answers == 0 && test.function.runs == 1 && test.function.inits == 0, "on Knative POST / is a run");
	ok(test.function.platform->markers && test.function.platform->limits.timeout_ms == 0 &&
			test.function.platform->limits.memory_mb == 0 && test.function.platform->log_start == NULL,
		"... as one through /run");
	end_and_free(request);

	request = make("{}");
	test.building.knative = false;
	deliver(request);
	ok(request->status == 404 && test.function.runs == 0, "elsewhere there is nothing");
	done(request);

	request = make("{}");
	request->method = "GET";
	deliver(request);
	ok(is_answer(request, 405, "Allow: POST\n", "/ takes POST, not GET."), "it takes POST");
	done(request);

	request = make("{}");
	request->path = "/run";
	deliver(request);
	is_str(message_of(&test.function, &no_limits), "{}", "/run is as it always is");
	end_and_free(request);
}

/* --- the message ------------------------------------------------------------------------------------- */

#define CONTEXT "\"__ow_user\":\"\",\"__ow_method\":\"POST\",\"__ow_path\":\"\",\"__ow_headers\":{}"

static void check_message(const char *body, const char *wanted)
{
	struct http_request *request = ask(body);

	ok(test.function.runs == 1 && tap_is_str(message_of(&test.function, &no_limits), wanted), "the message of '%s'",
		tap_show(body, strlen(body)));
	end_and_free(request);
}

static void test_messages(void)
{
	check_message("{\"value\":{\"a\":1}}", "{\"value\":{\"a\":1," CONTEXT "}}");
	check_message("{\"value\":{\"a\":1,\"b\":{\"c\":[1e400]}}}",
		"{\"value\":{\"a\":1,\"b\":{\"c\":[1e400]}," CONTEXT "}}");
	check_message("{\"value\":{}}", "{\"value\":{" CONTEXT "}}");
	check_message("{\"value\":{ \t}}", "{\"value\":{" CONTEXT "}}");
	check_message("{\"activation\":{\"activation_id\":\"i\",\"deadline\":\"5\"},\"value\":{\"a\":1}}",
		"{\"activation_id\":\"i\",\"deadline\":\"5\",\"value\":{\"a\":1," CONTEXT "}}");
	check_message("{\"activation\":{},\"value\":{\"a\":1}}", "{\"value\":{\"a\":1," CONTEXT "}}");
	check_message(
		"{\"activation\":{\"activation_id\":\"i\"}}", "{\"activation_id\":\"i\",\"value\":{" CONTEXT "}}");
	check_message("{\"activation\":[1],\"value\":{}}", "{\"value\":{" CONTEXT "}}");
	check_message("{\n\"value\" :\n{ \"a\" : 1\n}\n}\n", "{\"value\":{\"a\" : 1\r," CONTEXT "}}");
	check_message("{\"value\":[1,2]}", "{\"value\":[1,2]}");
	check_message("{\"value\":null}", "{\"value\":{" CONTEXT "}}");
	check_message("{\"a\\\"b\":1,\"v\\u0061lue\":{\"a\":1}}", "{\"value\":{\"a\":1," CONTEXT "}}");
	/* None of the parts: it is the value. */
	check_message("{\"a\":1}", "{\"value\":{\"a\":1," CONTEXT "}}");
	check_message("\n {\"a\":1}\n", "{\"value\":{\"a\":1," CONTEXT "}}");
	check_message("[1,{\"value\":2}]", "{\"value\":[1,{\"value\":2}]}");
	check_message("", "{\"value\":{" CONTEXT "}}");
}

static void test_http_context(void)
{
	struct http_request *request = make("{\"value\":{\"a\":1}}");

	add_header(request, "Content-Type", "application/json");
	add_header(request, "X-Quote", "\"\\\xff");
	add_header(request, "content-TYPE", "again");
	(void) setenv("__OW_NAMESPACE", "name\"space", 1);
	deliver(request);
	is_str(message_of(&test.function, &no_limits),
		"{\"value\":{\"a\":1,\"__ow_user\":\"name\\\"space\",\"__ow_method\":\"POST\",\"__ow_path\":\"\","
		"\"__ow_headers\":{\"content-type\":\"application/json, again\",\"x-quote\":\"\\\"\\\\\xef\xbf\xbd\"}}}",
		"headers, with their names in lower case, and the namespace");
	end_and_free(request);
	(void) unsetenv("__OW_NAMESPACE");

	request = make("{\"value\":{\"a\":1}}");
	request->query = "b=2&c=%22";
	(void) setenv("__OW_ACTION_RAW", "True", 1);
	deliver(request);
	is_str(message_of(&test.function, &no_limits),
		"{\"value\":{\"a\":1," CONTEXT ",\"__ow_body\":\"eyJhIjoxfQ==\",\"__ow_query\":\"b=2&c=%22\"}}",
		"a raw action has the body and the query, too");
	end_and_free(request);
	(void) setenv("__OW_ACTION_RAW", "false", 1);
	check_message("{\"value\":{}}", "{\"value\":{" CONTEXT "}}");
	(void) unsetenv("__OW_ACTION_RAW");
}

static void test_not_json(void)
{
	static const char *const bad[] = { "no JSON", "{", "{\"value\":{}}}", "\xff", " " };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_request *request = ask(bad[i]);

		ok(is_answer(request, 400, "", "The request body is not JSON, or nested over 512 deep.") &&
				test.function.runs + test.function.inits == 0,
			"%s is refused", tap_show(bad[i], strlen(bad[i])));
		done(request);
	}
}

/* --- init -------------------------------------------------------------------------------------------- */

static void test_init(void)
{
	struct http_request *request = ask("{\"init\":{\"code\":\"x\",\n\"main\":\"m\"}}");

	ok(test.function.inits == 1 && test.function.runs == 0 &&
			tap_is_mem(test.function.body, test.function.length,
				"{\"value\":{\"code\":\"x\",\r\"main\":\"m\"}}",
				strlen("{\"value\":{\"code\":\"x\",\r\"main\":\"m\"}}")),
		"an init is one, with the same envelope");
	end_with(&test.function, OUTCOME(.kind = OUTCOME_INITIALIZED, .payload = (char[]) { "{\"ok\":true}" }));
	ok(is_answer(request, 200, "", "{\"ok\":true}") && test.function.runs == 0, "... and answered");
	done(request);

	request = ask("{\"init\":{\"code\":\"x\"},\"activation\":{\"activation_id\":\"i\"},\"value\":{\"a\":1}}");
	ok(test.function.inits == 1 && test.function.runs == 0, "with a value it is one");
	end_with(&test.function, OUTCOME(.kind = OUTCOME_INITIALIZED, .payload = (char[]) { "{\"ok\":true}" }));
	ok(request->answers == 0 && test.function.runs == 1 &&
			tap_is_str(message_of(&test.function, &no_limits),
				"{\"activation_id\":\"i\",\"value\":{\"a\":1," CONTEXT "}}"),
		"... and a run after that");
	end_with(&test.function, OUTCOME(.kind = OUTCOME_SUCCESS, .payload = (char[]) { "{\"b\":2}" }));
	ok(is_answer(request, 200, "", "{\"b\":2}"), "... which is answered");
	done(request);

	request = ask("{\"init\":{\"code\":\"x\"},\"activation\":{}}");
	end_with(&test.function, OUTCOME(.kind = OUTCOME_INITIALIZED, .payload = (char[]) { "{\"ok\":true}" }));
	is_str(message_of(&test.function, &no_limits), "{\"value\":{" CONTEXT "}}",
		"an activation alone is a run, too");
	end_and_free(request);

	request = ask("{\"init\":{\"code\":\"x\"},\"value\":{}}");
	end_with(&test.function, OUTCOME(.kind = OUTCOME_INIT_EXITED, .text = "Cannot start action."));
	ok(is_answer(request, 502, "", "Cannot start action.") && test.function.runs == 0,
		"after an init that failed there is none");
	done(request);

	(void) setenv("__OW_ACTION_CODE", "", 1);
	request = ask("{\"init\":{\"code\":\"x\"}}");
	is_int(test.function.inits, 1, "an empty variable is no dedicated function");
	end_and_free(request);
	(void) setenv("__OW_ACTION_CODE", "x", 1);
	request = ask("{\"init\":{\"code\":\"x\"}}");
	ok(is_answer(request, 403, "", "Cannot initialize a runtime with a dedicated function.") &&
			test.function.inits == 0,
		"a dedicated function is not replaced");
	done(request);
	(void) unsetenv("__OW_ACTION_CODE");
}

/* Whether the function is a raw action its init says, too. The last test: it holds for the process. */
static void check_raw_init(const char *init, enum outcome_kind kind, bool raw)
{
	struct http_request *request = ask(init);

	end_with(&test.function, OUTCOME(.kind = kind, .payload = (char[]) { "{}" }));
	done(request);
	request = ask("{}");
	ok((strstr(message_of(&test.function, &no_limits), "\"__ow_body\":\"e30=\"") != NULL) == raw, "%s is %sraw",
		init, raw ? "" : "not ");
	end_and_free(request);
}

static void test_raw_init(void)
{
	check_raw_init("{\"init\":{\"raw\":\"true\"}}", OUTCOME_INITIALIZED, false);
	check_raw_init("{\"init\":{\"raw\":true}}", OUTCOME_INIT_FAILED, false);
	check_raw_init("{\"init\":{\"raw\":true}}", OUTCOME_INITIALIZED, true);
	check_raw_init("{\"init\":{\"raw\":false}}", OUTCOME_INITIALIZED, false);
}

/* NULL: not set. */
static void check_dedicated(
	const char *code, const char *main_name, const char *binary, const char *name, const char *wanted)
{
	const char *const variables[][2] = { { "__OW_ACTION_CODE", code }, { "__OW_ACTION_MAIN", main_name },
		{ "__OW_ACTION_BINARY", binary }, { "__OW_ACTION_NAME", name } };
	size_t length = 0;
	char *body;

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		if (variables[i][1] != NULL)
			(void) setenv(variables[i][0], variables[i][1], 1);
	body = knative_make_dedicated(&length);
	ok(tap_is_mem(body, body != NULL ? length : 0, wanted, wanted != NULL ? strlen(wanted) : 0),
		"the dedicated function of %s", code != NULL ? code : "nothing");
	free(body);
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		(void) unsetenv(variables[i][0]);
}

static void test_dedicated(void)
{
	check_dedicated(NULL, "m", "true", "n", NULL);
	check_dedicated("", "m", "true", "n", NULL);
	check_dedicated("a\n\"b\"", NULL, NULL, NULL,
		"{\"value\":{\"code\":\"a\\n\\\"b\\\"\",\"binary\":false,\"main\":\"\",\"name\":\"\"}}");
	check_dedicated("UEs=", "m\"", "TRUE", "n",
		"{\"value\":{\"code\":\"UEs=\",\"binary\":true,\"main\":\"m\\\"\",\"name\":\"n\"}}");
	check_dedicated("x", "", "1", "", "{\"value\":{\"code\":\"x\",\"binary\":false,\"main\":\"\",\"name\":\"\"}}");
}

/* --- answers ----------------------------------------------------------------------------------------- */

static void check_bytes(char *result, int status, const char *set, const char *body, size_t length)
{
	struct http_request *request = ask("{}");

	end_with(&test.function, OUTCOME(.kind = OUTCOME_SUCCESS, .payload = result));
	ok(tap_is_int(request->answers, 1) && tap_is_int(request->status, status) && tap_is_str(request->set, set) &&
			tap_is_mem(request->answer, request->answer_length, body, length),
		"the answer of %s", result);
	done(request);
}

#define CHECK_ANSWER(result, status, set, body) check_bytes((char[]) { result }, status, set, body, sizeof(body) - 1)
#define CHECK_NO_BODY(result, status, set) check_bytes((char[]) { result }, status, set, NULL, 0)
#define HTML "Content-Type: text/html\n"

static void test_bodies(void)
{
	CHECK_ANSWER("{\"a\":1}", 200, "", "{\"a\":1}");
	CHECK_ANSWER("{}", 200, "", "{}");
	CHECK_ANSWER("[1]", 200, "", "[1]");
	CHECK_ANSWER("{\"body\": \"a \\\"b\\\" \\u00e9\\n\"}", 200, HTML, "a \"b\" \xc3\xa9\n");
	CHECK_ANSWER("{\"body\": {\"b\": [1e400, \"\\u00e9\"]}, \"c\": 1}", 200, "", "{\"b\": [1e400, \"\\u00e9\"]}");
	CHECK_ANSWER("{\"body\": 5}", 200, "", "5");
	CHECK_ANSWER("{\"body\": \"\"}", 204, HTML, "");
	CHECK_ANSWER("{\"body\": \"\", \"statusCode\": 201}", 201, HTML, "");
	CHECK_ANSWER(
		"{\"a\": {\"body\": 1, \"statusCode\": 404}}", 200, "", "{\"a\": {\"body\": 1, \"statusCode\": 404}}");
}

static void test_status_codes(void)
{
	CHECK_ANSWER("{\"statusCode\": 404, \"body\": \"x\"}", 404, HTML, "x");
	CHECK_ANSWER("{\"statusCode\": \"404\", \"body\": \"x\"}", 404, HTML, "x");
	CHECK_ANSWER("{\"a\\\"b\": 1, \"statusC\\u006fde\": 404, \"body\": \"x\"}", 404, HTML, "x");
	CHECK_ANSWER("{\"statusCode\": 200, \"body\": 1}", 200, "", "1");
	CHECK_ANSWER("{\"statusCode\": 599, \"body\": 1}", 599, "", "1");
	CHECK_ANSWER("{\"statusCode\": 199, \"body\": 1}", 200, "", "1");
	CHECK_ANSWER("{\"statusCode\": 600, \"body\": 1}", 200, "", "1");
	CHECK_ANSWER("{\"statusCode\": -1, \"body\": 1}", 200, "", "1");
	CHECK_ANSWER("{\"statusCode\": null, \"body\": 1}", 200, "", "1");
}

/* A body of bytes that base64 spells. */
static void test_base64(void)
{
	CHECK_ANSWER("{\"body\": \"AP8=\", \"isBase64Encoded\": true}", 200, "Content-Type: application/octet-stream\n",
		"\0\xff");
	CHECK_ANSWER("{\"headers\": {\"Content-Type\": \"a/b\"}, \"body\": \"AP8=\", \"isBase64Encoded\": true}", 200,
		"Content-Type: a/b\n", "\0\xff");
	CHECK_ANSWER("{\"body\": \"AP8=\", \"isBase64Encoded\": false}", 200, HTML, "AP8=");
	CHECK_ANSWER("{\"body\": \"AP8=\", \"isBase64Encoded\": \"true\"}", 200, HTML, "AP8=");
	CHECK_ANSWER("{\"body\": \"no base64!\", \"isBase64Encoded\": true}", 200,
		"Content-Type: application/octet-stream\n", "no base64!");
}

/* Text whose characters need more or less bytes than their spelling, a null character among them. */
static void test_text(void)
{
	CHECK_ANSWER("{\"body\": \"a\\u0000b\"}", 200, HTML, "a\0b");
	CHECK_ANSWER("{\"body\": \"\\u007f\\u0080\\u07ff\\u0800\\uffff\"}", 200, HTML,
		"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf");
	CHECK_ANSWER("{\"body\": \"\\ud83d\\ude00|\\uD83D\\uDE00\"}", 200, HTML, "\xf0\x9f\x98\x80|\xf0\x9f\x98\x80");
	CHECK_ANSWER("{\"body\": \"\\\\u0041\\\\\\/\\b\\f\\n\\r\\t\\\"\"}", 200, HTML, "\\u0041\\/\b\f\n\r\t\"");
	CHECK_ANSWER("{\"body\": \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}", 200, HTML,
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

/* What is no body says how it is sent, and is no part of it. */
static void test_rest(void)
{
	CHECK_NO_BODY("{\"statusCode\": 404}", 404, "");
	CHECK_NO_BODY("{\"statusCode\": 200}", 204, "");
	CHECK_NO_BODY("{\"headers\": {\"X-A\": \"a\"}}", 204, "X-A: a\n");
	CHECK_NO_BODY("{\"headers\": {}, \"statusCode\": 201}", 201, "");
	CHECK_ANSWER("{\"statusCode\": 404, \"a\": 1}", 404, "", "{\"a\": 1}");
	CHECK_ANSWER("{\"a\": 1, \"statusCode\": 404}", 404, "", "{\"a\": 1}");
	CHECK_ANSWER(
		"{\"a\": 1, \"statusCode\": 404, \"b\": \"statusCode\"}", 404, "", "{\"a\": 1, \"b\": \"statusCode\"}");
	CHECK_ANSWER("{\"statusCode\":404,\"headers\":{\"X-A\":\"a,\\\"\"},\"a\":{\"headers\":1}}", 404, "X-A: a,\"\n",
		"{\"a\":{\"headers\":1}}");
	CHECK_ANSWER("{\"a\":1,\"headers\":{\"X-A\":\"a\"},\"statusCode\":404}", 404, "X-A: a\n", "{\"a\":1}");
	CHECK_NO_BODY("{\"body\": null, \"statusCode\": 404}", 404, "");
	CHECK_NO_BODY("{\"body\": null}", 204, "");
}

static void test_headers(void)
{
	CHECK_ANSWER(
		"{\"headers\": {\"X-A\": \"a\", \"X-B\": 12, \"X-C\": 1.5, \"X-D\": true, \"X-E\": false}, \"body\": 1}",
		200, "X-A: a\nX-B: 12\nX-C: 1.5\nX-D: true\nX-E: false\n", "1");
	CHECK_ANSWER("{\"headers\": {\"X-A\": null, \"X-B\": {}, \"X-C\": \"c\"}, \"body\": 1}", 200, "X-C: c\n", "1");
	CHECK_ANSWER("{\"headers\": {\"content-type\": \"text/plain\"}, \"body\": \"x\"}", 200,
		"content-type: text/plain\n", "x");
	/* They are the server's to say. */
	CHECK_ANSWER(
		"{\"headers\": {\"content-length\": 9, \"Transfer-Encoding\": \"x\", \"Connection\": \"x\", \"date\": \"x\"}, "
		"\"body\": 1}",
		200, "", "1");
	CHECK_ANSWER("{\"headers\": {\"Set-Cookie\": [\"a=1\", 2, null, \"b=3\"], \"Date\": [\"x\"]}, \"body\": 1}",
		200, "Set-Cookie: a=1\nSet-Cookie: 2\nSet-Cookie: b=3\n", "1");
	CHECK_ANSWER("{\"headers\": [\"X-A\", \"a\"], \"body\": 1}", 200, "", "1");
	CHECK_ANSWER("{\"headers\": \"X-A\", \"body\": 1}", 200, "", "1");
}

static void test_images(void)
{
	CHECK_ANSWER("{\"headers\": {\"Content-Type\": \"image/png\"}, \"body\": \"iVBORwD/\"}", 200,
		"Content-Type: image/png\n", "\x89PNG\0\xff");
	CHECK_ANSWER("{\"headers\": {\"CONTENT-TYPE\": \"Image/png\"}, \"body\": \"AA==\"}", 200,
		"CONTENT-TYPE: Image/png\n", "\0");
	CHECK_ANSWER("{\"headers\": {\"Content-Type\": \"image/svg+xml\"}, \"body\": \"AAAA<svg/>\"}", 200,
		"Content-Type: image/svg+xml\n", "AAAA<svg/>");
	CHECK_ANSWER("{\"headers\": {\"Content-Type\": \"text/plain\"}, \"body\": \"AA==\"}", 200,
		"Content-Type: text/plain\n", "AA==");
}

static void check_outcome(const struct outcome *outcome, int status, const char *body)
{
	struct http_request *request = ask("{}");

	end_with(&test.function, outcome);
	ok(is_answer(request, status, "", body), "kind %d: %d, %s", (int) outcome->kind, status, body);
	done(request);
}

static void test_outcomes(void)
{
	static char web[] = "{\"statusCode\":404,\"body\":\"x\",\"error\":1}";

	check_outcome(OUTCOME(.kind = OUTCOME_APPLICATION_ERROR, .payload = web), 200, web);
	check_outcome(OUTCOME(.kind = OUTCOME_FUNCTION_ERROR, .payload = web), 502, web);
	check_outcome(OUTCOME(.kind = OUTCOME_EXITED, .text = "command exited"), 400, "command exited");
	check_outcome(OUTCOME(.kind = OUTCOME_QUEUE_FULL, .text = "full"), 429, "full");
	check_outcome(OUTCOME(.kind = OUTCOME_NOT_INITIALIZED, .text = "none"), 500, "none");
	check_outcome(OUTCOME(.kind = OUTCOME_SUCCESS, .convention = CONVENTION_LAMBDA, .payload = (char[]) { "[1]" }),
		200, "[1]"); /* as the body of an object */
}

static void test_outcome_at_once(void)
{
	const struct outcome full = { .kind = OUTCOME_QUEUE_FULL, .text = "full" };
	struct http_request *request = make("{\"value\":{}}");

	test.function.at_once = &full;
	deliver(request);
	ok(is_answer(request, 429, "", "full"), "refused at once");
	done(request);
}

int main(void)
{
	static const char *const variables[] = { "__OW_NAMESPACE", "__OW_ACTION_RAW", "__OW_ACTION_CODE",
		"__OW_ACTION_MAIN", "__OW_ACTION_BINARY", "__OW_ACTION_NAME" };

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		(void) unsetenv(variables[i]);
	test_place();
	test_messages();
	test_http_context();
	test_not_json();
	test_init();
	test_dedicated();
	test_bodies();
	test_status_codes();
	test_base64();
	test_text();
	test_rest();
	test_headers();
	test_images();
	test_outcomes();
	test_outcome_at_once();
	test_raw_init();
	return done_testing();
}
