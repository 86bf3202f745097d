#include "door_doubles.h"

#include "../../proxy/base64.h"

#include <time.h>

#define LAMBDA "/2015-03-31/functions/function/invocations"

/* --- which door -------------------------------------------------------------------------------------- */

static void check_taken(const char *path, const char *function_call)
{
	struct http_request *request = request_new(path, "{}", 2);

	set_up();
	deliver(request);
	ok(request->answers == 0 && tap_is_int(test.function.runs, strcmp(function_call, "run") == 0) &&
			tap_is_int(test.function.inits, strcmp(function_call, "init") == 0),
		"POST %s is one %s", path, function_call);
	end_with(&test.function, &(struct outcome) { .kind = OUTCOME_STOPPING, .text = "over" });
	is_int(request->answers, 1, "... answered with its outcome");
	request_free(request);
	tear_down();
}

#define NOTHING_THERE                                                                                                  \
	"There is nothing at %.200s: this server takes POST /init and POST /run, POST " LAMBDA                         \
	", and POST /event-invoke."

static void check_not_found(const char *path)
{
	struct http_request *request = request_new(path, "{}", 2);
	char wanted[500];

	(void) snprintf(wanted, sizeof(wanted), NOTHING_THERE, path);
	set_up();
	deliver(request);
	ok(is_answer(request, 404, "", wanted) && test.function.runs + test.function.inits == 0, "nothing at '%s'",
		tap_show(path, strlen(path)));
	request_free(request);
	tear_down();
}

static void test_paths(void)
{
	static const char *const nowhere[] = { "", "/", "/runs", "/run/", "/init/", "run", "/RUN", "/run/init",
		"/event-invoke/", "/event-invoke/x", "/event-invok", "/event_invoke", "/2015-03-31/functions/",
		"/2015-03-31/functions/invocations", "/2015-03-31/functions//invocations",
		"/2015-03-31/functions/f/invocations/", "/2015-03-31/functions/f/invoke-async",
		"/2014-11-13/functions/f/invocations", "x/2015-03-31/functions/f/invocations", "/invocations" };
	char longest[1000];

	check_taken("/init", "init");
	check_taken("/run", "run");
	check_taken("/event-invoke", "run");
	check_taken(LAMBDA, "run");
	check_taken("/2015-03-31/functions/f/invocations", "run");
	check_taken("/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:f:1/invocations", "run");
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		check_not_found(nowhere[i]);
	memset(longest, 'l', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	check_not_found(longest);
}

static void check_method(const char *method, const char *path)
{
	struct http_request *request = request_new(path, "{}", 2);
	char wanted[200];

	request->method = method;
	(void) snprintf(wanted, sizeof(wanted), "%s takes POST, not %.20s.", path, method);
	set_up();
	deliver(request);
	ok(is_answer(request, 405, "Allow: POST\n", wanted) && test.function.runs + test.function.inits == 0,
		"no %.20s of %s", method, path);
	request_free(request);
	tear_down();
}

static void test_methods(void)
{
	static const char *const paths[] = { "/init", "/run", "/event-invoke", LAMBDA };
	static const char *const methods[] = { "GET", "HEAD", "PUT", "OPTIONS", "post", "POSTS", "",
		"AMETHODOFTHIRTYCHARACTERSATALL" };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		for (size_t j = 0; j < ARRAY_SIZE(methods); j++)
			check_method(methods[j], paths[i]);
}

/* --- ids --------------------------------------------------------------------------------------------- */

static bool is_uuid(const char *id)
{
	for (size_t i = 0; i < DOOR_ID_SIZE - 1; i++) {
		const char *allowed = "0123456789abcdef";

		if (i == 8 || i == 13 || i == 18 || i == 23)
			allowed = "-";
		else if (i == 14)
			allowed = "4";
		else if (i == 19)
			allowed = "89ab";
		if (id[i] == '\0' || strchr(allowed, id[i]) == NULL)
			return false;
	}
	return id[DOOR_ID_SIZE - 1] == '\0';
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void test_ids(void)
{
	enum { COUNT = 2000 };
	char(*ids)[DOOR_ID_SIZE] = calloc(COUNT, sizeof(*ids));
	int valid = 0, equal = 0;
	unsigned seen[DOOR_ID_SIZE] = { 0 }; /* which digits were at each place */

	for (int i = 0; i < COUNT; i++) {
		door_make_id(ids[i]);
		valid += is_uuid(ids[i]);
		for (size_t j = 0; j < DOOR_ID_SIZE - 1; j++)
			if (ids[i][j] != '-')
				seen[j] |= 1U << strtoul((char[]) { ids[i][j], '\0' }, NULL, 16);
	}
	is_int(valid, COUNT, "%d ids are UUIDs of version 4", COUNT);
	qsort(ids, COUNT, sizeof(*ids), compare_ids);
	for (int i = 1; i < COUNT; i++)
		equal += strcmp(ids[i - 1], ids[i]) == 0;
	is_int(equal, 0, "... no two of them equal");
	for (size_t j = 0; j < DOOR_ID_SIZE - 1; j++) {
		unsigned wanted = 0xffff;

		if (strchr("-", ids[0][j]) != NULL)
			wanted = 0;
		else if (j == 14)
			wanted = 1U << 4;
		else if (j == 19)
			wanted = 0xf00;
		if (seen[j] != wanted)
			ok(false, "all digits come at place %zu: 0x%x", j, seen[j]);
	}
	free(ids);
}

/* --- events and messages ----------------------------------------------------------------------------- */

static void test_take_event(void)
{
	struct http_request *request = request_new("/", "\0{}", 3);
	struct http_body event = door_take_event(request);

	is_mem(event.data, event.length, "\0{}", 3, "a body is the event");
	ok(request->body == NULL, "... taken out of the request");
	free(event.data);
	request_free(request);

	request = request_new("/", "", 0);
	event = door_take_event(request);
	is_mem(event.data, event.length, "{}", 2, "none is {}");
	free(event.data);
	request_free(request);
}

static void test_write_member(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	door_write_member(out, "none", NULL);
	(void) fflush(out);
	is_int(length, 0, "NULL is no member");
	door_write_member(out, "a", "");
	door_write_member(out, "none", NULL);
	door_write_member(out, "b", "\"\\\n\xff");
	(void) fclose(out);
	is_str(text, "\"a\":\"\",\"b\":\"\\\"\\\\\\n\xef\xbf\xbd\"", "members, with commas between them");
	free(text);
}

/* In static memory. event is of its own size, and freed. */
static const char *make_message(const char *id, unsigned timeout_ms, const char *details, const char *pyaction_details,
	const char *event, size_t length)
{
	static char text[65536];
	struct http_body body = { .data = malloc(length > 0 ? length : 1), .length = length };
	const struct limits limits = { .timeout_ms = timeout_ms, .memory_mb = 128 };
	size_t message_length = 0;
	char *message;

	memcpy(body.data, event, length);
	message = door_make_message(id, &limits, details, pyaction_details, &body, &message_length);
	if (message == NULL || body.data != NULL || message_length >= sizeof(text))
		bail_out("no message");
	memcpy(text, message, message_length);
	text[message_length] = '\0';
	message[message_length] = '\n'; /* the room for one more */
	free(message);
	return text;
}

static void check_message(const char *details, const char *pyaction_details, const char *event, const char *wanted)
{
	is_str(make_message("i", 0, details, pyaction_details, event, strlen(event)), wanted, "the message about %s",
		tap_show(event, strlen(event)));
}

static void test_message(void)
{
	struct http_body none = { 0 };
	size_t length;

	check_message("", "", "{}", "\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1e{}");
	check_message(",\"a\":1", "\"b\":2", "[1,\"x\"]",
		"\x1e{\"activation_id\":\"i\",\"a\":1,\"pyaction\":{\"b\":2}}\x1e[1,\"x\"]");
	check_message("", "", "9007199254740993.10",
		"\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1e"
		"9007199254740993.10");
	check_message("", "", "\n{\n\"a\\n\" :\r\n1}\n",
		"\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1e\v{\v\"a\\n\" :\r\v1}\v");
	check_message("", "", "no JSON", "\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1eno JSON");
	check_message(
		"", "", "null,\"pyaction\":{", "\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1enull,\"pyaction\":{");
	check_message("", "", "\x1e{}\x1e{}", "\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1e\x1e{}\x1e{}");
	check_message("", "", "\xff", "\x1e{\"activation_id\":\"i\",\"pyaction\":{}}\x1e\xff");
	check_message("", "", "\v", "{\"activation_id\":\"i\",\"pyaction\":{\"body\":\"Cw==\"}}");
	check_message(",\"a\":1", "\"b\":2,\"c\":3", "{}\v}",
		"{\"activation_id\":\"i\",\"a\":1,\"pyaction\":{\"b\":2,\"c\":3,\"body\":\"e30LfQ==\"}}");
	is_str(make_message("i", 0, "", "", "\0\v", 2), "{\"activation_id\":\"i\",\"pyaction\":{\"body\":\"AAs=\"}}",
		"a null character is no end");
	is_str(make_message("\"}\n\xff\x1e", 0, "", "", "{}", 2),
		"\x1e{\"activation_id\":\"\\\"}\\n\xef\xbf\xbd\\u001e\",\"pyaction\":{}}\x1e{}",
		"an id is a string, whatever it is");
	ok(door_make_message("i", &no_limits, "", "", &none, &length) == NULL, "without an event there is none");
}

static void test_deadline(void)
{
	struct timespec now;
	const char *message, *at;
	unsigned long long before_ms, after_ms, deadline_ms = 0;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	before_ms = (unsigned long long) now.tv_sec * 1000 + (unsigned long long) now.tv_nsec / 1000000;
	message = make_message("i", 86400000, ",\"a\":1", "", "{}", 2);
	(void) clock_gettime(CLOCK_REALTIME, &now);
	after_ms = (unsigned long long) now.tv_sec * 1000 + (unsigned long long) now.tv_nsec / 1000000;
	at = strstr(message, "{\"activation_id\":\"i\",\"deadline\":\"");
	if (at == message + 1)
		deadline_ms = strtoull(at + 33, NULL, 10);
	ok(deadline_ms >= before_ms + 86400000 && deadline_ms <= after_ms + 86400000,
		"the deadline is the time limit from now, in ms since 1970: %llu", deadline_ms);
	is_str(strchr(message + 34, '"'), "\",\"a\":1,\"pyaction\":{}}\x1e{}", "... a string, before the rest");
}

/* Whether the message holds the event, as it is or in base64, on one line. */
static bool holds_event(const char *message, const char *event, bool *ret_encoded)
{
	const char *body = strstr(message, "{\"body\":\""), *value = strchr(message + 1, '\x1e');
	cleanup_free char *copy = NULL;
	size_t length = strlen(event);
	struct err err;

	*ret_encoded = message[0] != '\x1e';
	if (strchr(message, '\n') != NULL)
		return false;
	if (!*ret_encoded) {
		copy = strdup(event);
		for (char *at = copy; (at = strchr(at, '\n')) != NULL;)
			*at = '\v';
		return value != NULL && strcmp(value + 1, copy) == 0;
	}
	copy = strndup(body + 9, strcspn(body + 9, "\""));
	return base64_decode(copy, strlen(copy), &length, &err) == 0 && length == strlen(event) &&
		memcmp(copy, event, length) == 0;
}

/* Nothing in a message may end its line, whatever comes. */
static void test_random_messages(void)
{
	enum { ROUNDS = 20000 };
	static const char *const parts[] = { "{", "}", "[", "]", "\"a\"", ":", ",", "\n", "1", " ", "\"", "\\n",
		"\xc3\xa9", "\xff", "null", "\v", "\x1e" };
	int encoded = 0;

	for (int round = 0; round < ROUNDS; round++) {
		char event[100] = "";
		const char *message;
		bool is_encoded;

		for (size_t count = random_below(6) + 1; count > 0; count--)
			(void) strcat(event, parts[random_below(ARRAY_SIZE(parts))]);
		message = make_message("i", 0, "", "", event, strlen(event));
		if (!holds_event(message, event, &is_encoded)) {
			ok(false, "the message about %s: %s", tap_show(event, strlen(event)), message);
			return;
		}
		encoded += is_encoded;
	}
	ok(encoded > ROUNDS / 100 && encoded < ROUNDS / 2,
		"%d random events are in their messages, %d of them in base64", ROUNDS, encoded);
}

/* --- payloads ---------------------------------------------------------------------------------------- */

static void check_payload(enum outcome_kind kind, const char *payload, const char *wanted, size_t wanted_length)
{
	struct outcome outcome = { .kind = kind, .payload = strdup(payload), .payload_length = strlen(payload) };
	size_t size = door_payload_size(&outcome);
	struct http_body body = door_take_payload(&outcome);

	ok(tap_is_mem(body.data, body.length, wanted, wanted_length) && outcome.payload == NULL &&
			(payload[0] == '!' || tap_is_int(size, wanted_length)),
		"the body of an outcome of kind %d with '%s'", (int) kind, payload);
	free(body.data);
}

static void test_payloads(void)
{
	struct outcome none = { .kind = OUTCOME_SUCCESS_BYTES };
	struct http_body body = door_take_payload(&none);

	ok(body.data == NULL && body.length == 0, "no payload is no body");
	check_payload(OUTCOME_SUCCESS, "{\"a\":1}", "{\"a\":1}", 7);
	check_payload(OUTCOME_SUCCESS, "Zm9v", "Zm9v", 4);
	check_payload(OUTCOME_APPLICATION_ERROR, "Zm9v", "Zm9v", 4);
	check_payload(OUTCOME_FUNCTION_ERROR, "Zm9v", "Zm9v", 4);
	check_payload(OUTCOME_INIT_FAILED, "Zm9v", "Zm9v", 4);
	is_int(door_payload_size(&none), 0, "... of no size");
	check_payload(OUTCOME_SUCCESS, "Zg==", "Zg==", 4);
	check_payload(OUTCOME_SUCCESS_BYTES, "Zg==", "f", 1);
	check_payload(OUTCOME_SUCCESS_BYTES, "Zm8=", "fo", 2);
	check_payload(OUTCOME_SUCCESS_BYTES, "Zm9v", "foo", 3);
	check_payload(OUTCOME_SUCCESS_BYTES, "AP8KAA==", "\0\xff\n\0", 4);
	check_payload(OUTCOME_SUCCESS_BYTES, "", "", 0);
	check_payload(OUTCOME_SUCCESS_BYTES, "!", "", 0);
}

int main(void)
{
	test_paths();
	test_methods();
	test_ids();
	test_take_event();
	test_write_member();
	test_message();
	test_deadline();
	test_random_messages();
	test_payloads();
	return done_testing();
}
