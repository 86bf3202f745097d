#include "../../proxy/reply.h"

#include "tap.h"

enum { MAX_PAYLOAD = 1 << 20 };

/* Feeds a copy of just these bytes, so that a sanitizer sees each byte read too many. */
static int feed(struct reply *reply, const char *data, size_t length, size_t max_payload, struct err *err)
{
	char *copy = malloc(length > 0 ? length : 1);
	int r;

	memcpy(copy, data, length);
	r = reply_feed(reply, copy, length, max_payload, err);
	free(copy);
	return r;
}

static bool is_reply(const struct reply *reply, const char *status, const char *payload, size_t payload_length)
{
	return reply->complete && strcmp(reply->status, status) == 0 && reply->status_length == strlen(status) &&
		reply->payload_length == payload_length && memcmp(reply->payload, payload, payload_length) == 0 &&
		reply->payload[payload_length] == '\0';
}

static void test_whole(void)
{
	struct reply reply = { 0 };
	struct err err;

	is_int(feed(&reply, "ok\n{}\n", 6, MAX_PAYLOAD, &err), 0, "a whole reply");
	ok(is_reply(&reply, "ok", "{}", 2), "... has its status and its payload");
	reply_reset(&reply);
	ok(!reply.complete && !reply.status_complete && reply.status_length == 0 && reply.payload == NULL &&
			reply.payload_capacity == 0,
		"reset empties it");
	reply_reset(&reply);

	is_int(feed(&reply, "\n\n", 2, MAX_PAYLOAD, &err), 0, "two empty lines");
	ok(is_reply(&reply, "", "", 0), "... are an empty status and an empty payload");
	reply_reset(&reply);

	is_int(feed(&reply, "s\n\0a\0\n", 6, MAX_PAYLOAD, &err), 0, "null characters");
	ok(is_reply(&reply, "s", "\0a\0", 3), "... stay in the payload");
	is_int(feed(&reply, "", 0, MAX_PAYLOAD, &err), 0, "no bytes are no bytes after the end");
	reply_reset(&reply);

	is_int(feed(&reply, "s", 1, MAX_PAYLOAD, &err), 0, "half a status");
	ok(!reply.status_complete && !reply.complete && reply.payload == NULL, "... completes nothing");
	is_int(feed(&reply, "\n", 1, MAX_PAYLOAD, &err), 0, "its newline");
	ok(reply.status_complete && !reply.complete, "... completes the status alone");
	is_int(feed(&reply, "p", 1, MAX_PAYLOAD, &err), 0, "half a payload");
	ok(!reply.complete, "... completes nothing");
	reply_reset(&reply);
}

/* Every way to cut a reply in three. */
static void test_split_points(void)
{
	static const char *const samples[] = { "\n\n", "s\n\n", "\np\n",
		"{\"status\":\"success\"}\n{\"a\": [1, 2]}\n" };

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const char *sample = samples[i], *payload = strchr(sample, '\n') + 1;
		size_t length = strlen(sample), payload_length = strlen(payload) - 1;
		char status[100];
		unsigned wrong = 0, tried = 0;

		(void) snprintf(status, sizeof(status), "%.*s", (int) (payload - sample - 1), sample);
		for (size_t first = 0; first <= length; first++) {
			for (size_t second = first; second <= length; second++, tried++) {
				struct reply reply = { 0 };
				struct err err;
				bool early;

				wrong += feed(&reply, sample, first, MAX_PAYLOAD, &err) != 0;
				early = reply.complete && first < length;
				wrong += feed(&reply, sample + first, second - first, MAX_PAYLOAD, &err) != 0;
				early = early || (reply.complete && second < length);
				wrong += feed(&reply, sample + second, length - second, MAX_PAYLOAD, &err) != 0;
				wrong += early || !is_reply(&reply, status, payload, payload_length);
				reply_reset(&reply);
			}
		}
		is_int(wrong, 0, "sample %zu, cut in three in %u ways", i, tried);
	}
}

/* As runner.c reads: directly into the payload where that is offered, else through a buffer. Returns how
 * many bytes went directly, or -1. */
static long feed_randomly(struct reply *reply, const char *data, size_t length, size_t most)
{
	long direct = 0;
	struct err err;

	while (length > 0) {
		size_t room = 0, count = 1 + random_below(length < most ? length : most);
		char *space = random_below(4) == 0 ? NULL : reply_direct_space(reply, &room);
		int r;

		if (space != NULL && room < 4096)
			return -1;
		if (space != NULL) {
			count = count < room ? count : room;
			memcpy(space, data, count);
			r = reply_direct_commit(reply, count, MAX_PAYLOAD, &err);
			direct += (long) count;
		} else {
			r = feed(reply, data, count, MAX_PAYLOAD, &err);
		}
		if (r < 0) {
			diag("%s", err.text);
			return -1;
		}
		data += count;
		length -= count;
	}
	return direct;
}

static void test_random_feeds(void)
{
	enum { ROUNDS = 300 };
	long direct = 0;

	for (int round = 0; round < ROUNDS; round++) {
		size_t length = random_below(round % 3 == 0 ? 300000 : 40000);
		size_t most = round % 2 == 0 ? 100000 : 1 + random_below(5000);
		char *text = malloc(length + 8);
		struct reply reply = { 0 };
		long count;
		bool same;

		memcpy(text, "status\n", 7);
		for (size_t i = 0; i < length; i++)
			text[7 + i] = (char) (11 + random_below(240)); /* no newline */
		text[7 + length] = '\n';
		count = feed_randomly(&reply, text, length + 8, most);
		same = count >= 0 && is_reply(&reply, "status", text + 7, length);
		direct += count;
		reply_reset(&reply);
		free(text);
		if (!same) {
			ok(false, "round %d: a payload of %zu bytes in random pieces up to %zu", round, length, most);
			return;
		}
	}
	ok(direct > 0, "%d random payloads in random pieces, %ld bytes of them directly", ROUNDS, direct);
}

static void test_direct_space(void)
{
	static char page[20000];
	struct reply reply = { 0 };
	size_t room = 4711;
	struct err err;
	char *space;

	memset(page, 'p', sizeof(page));
	ok(reply_direct_space(&reply, &room) == NULL && room == 4711,
		"no direct space before the status line is complete");
	(void) !feed(&reply, "status\n", 7, MAX_PAYLOAD, &err);
	ok(reply_direct_space(&reply, &room) == NULL, "none for a payload of which nothing is there");
	(void) !feed(&reply, page, sizeof(page), MAX_PAYLOAD, &err);
	space = reply_direct_space(&reply, &room);
	ok(space == reply.payload + sizeof(page) && room >= 4096, "direct space behind a long payload");
	if (space == NULL)
		return;
	memset(space, 'q', room); /* all of it is ours: a sanitizer looks */
	is_int(reply_direct_commit(&reply, room, MAX_PAYLOAD, &err), 0, "all of it is taken");
	ok(reply.payload_length == sizeof(page) + room && reply.payload[reply.payload_length - 1] == 'q',
		"... and counts");
	space = reply_direct_space(&reply, &room);
	memcpy(space, "the end\n", 8);
	is_int(reply_direct_commit(&reply, 8, MAX_PAYLOAD, &err), 0, "the end comes directly");
	ok(reply.complete && strcmp(reply.payload + reply.payload_length - 7, "the end") == 0, "... and completes it");
	ok(reply_direct_space(&reply, &room) == NULL, "no direct space after the end");
	reply_reset(&reply);
}

static void test_after_the_end(void)
{
	struct reply reply = { 0 };
	struct err err;

	is_int(feed(&reply, "s\np\nx", 5, MAX_PAYLOAD, &err), -EPROTO, "a byte after the end, in the same piece");
	is_str(err.text, "the runner sent 1 bytes after its reply", "... is counted");
	reply_reset(&reply);

	is_int(feed(&reply, "s\np\n", 4, MAX_PAYLOAD, &err), 0, "a whole reply");
	is_int(feed(&reply, "\nab", 3, MAX_PAYLOAD, &err), -EPROTO, "more in another piece");
	is_str(err.text, "the runner sent 3 bytes after its reply", "... is counted");
	reply_reset(&reply);

	is_int(feed(&reply, "\n\n\n", 3, MAX_PAYLOAD, &err), -EPROTO, "a third empty line");
	reply_reset(&reply);
}

static void test_direct_after_the_end(void)
{
	static char page[20000];
	struct reply reply = { 0 };
	struct err err;
	size_t room;
	char *space;

	memset(page, 'p', sizeof(page));
	(void) !feed(&reply, "s\n", 2, MAX_PAYLOAD, &err);
	(void) !feed(&reply, page, sizeof(page), MAX_PAYLOAD, &err);
	space = reply_direct_space(&reply, &room);
	memcpy(space, "a\nbc", 4);
	is_int(reply_direct_commit(&reply, 4, MAX_PAYLOAD, &err), -EPROTO, "bytes after the end, read directly");
	is_str(err.text, "the runner sent 2 bytes after its reply", "... are counted");
	reply_reset(&reply);
}

static void test_limits(void)
{
	char line[600];
	struct reply reply = { 0 };
	struct err err;

	memset(line, 's', sizeof(line));
	is_int(feed(&reply, line, 511, 10, &err), 0, "a status line of 511 bytes");
	is_int(feed(&reply, "\n0123456789\n", 12, 10, &err), 0,
		"... is not too long, nor a payload of exactly its limit");
	ok(reply.complete && strlen(reply.status) == 511 && reply.payload_length == 10, "... both whole");
	reply_reset(&reply);

	is_int(feed(&reply, line, 512, 10, &err), -EMSGSIZE, "a status line of 512 bytes is too long");
	is_str(err.text, "the runner's status line is longer than 511 bytes", "... which the sentence says");
	reply_reset(&reply);

	is_int(feed(&reply, line, 500, 10, &err), 0, "a status line that grows");
	is_int(feed(&reply, line, 12, 10, &err), -EMSGSIZE, "... until it is too long");
	reply_reset(&reply);

	is_int(feed(&reply, "s\n0123456789a", 13, 10, &err), -EMSGSIZE, "a payload over its limit, not ended");
	is_str(err.text, "the runner's reply is longer than 10 bytes", "... which the sentence says");
	reply_reset(&reply);
	is_int(feed(&reply, "s\n0123456789a\n", 14, 10, &err), -EMSGSIZE, "a payload over its limit, ended");
	reply_reset(&reply);
	is_int(feed(&reply, "s\n01234", 7, 10, &err), 0, "a payload that grows");
	is_int(feed(&reply, "567890", 6, 10, &err), -EMSGSIZE, "... over its limit");
	reply_reset(&reply);
}

static void test_direct_limit(void)
{
	static char page[20000];
	struct reply reply = { 0 };
	struct err err;
	size_t room;

	(void) !feed(&reply, "s\n", 2, sizeof(page) + 5, &err);
	memset(page, 'p', sizeof(page));
	is_int(feed(&reply, page, sizeof(page), sizeof(page) + 5, &err), 0, "a long payload under its limit");
	memset(reply_direct_space(&reply, &room), 'p', 6);
	is_int(reply_direct_commit(&reply, 6, sizeof(page) + 5, &err), -EMSGSIZE, "... over it, read directly");
	reply_reset(&reply);
}

/* What the caller does with the payload of a reply that is not its own any more. */
static void test_taking_the_payload(void)
{
	struct reply reply = { 0 };
	struct err err;
	char *taken;

	(void) !feed(&reply, "s\npayload\n", 10, MAX_PAYLOAD, &err);
	taken = steal_ptr(&reply.payload);
	reply_reset(&reply);
	is_str(taken, "payload", "a taken payload survives the reset");
	free(taken);
}

int main(void)
{
	test_whole();
	test_split_points();
	test_random_feeds();
	test_direct_space();
	test_after_the_end();
	test_direct_after_the_end();
	test_limits();
	test_direct_limit();
	test_taking_the_payload();
	return done_testing();
}
