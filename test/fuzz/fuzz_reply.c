/*
 * The framing of the runner's replies, fed in arbitrary pieces and by both ways (a copy, or directly into the
 * payload), against a reader that has the whole stream before it.
 *
 * The input is a script: the limit, then operations that make the stream, then the sizes of the pieces.
 */
#include "../../proxy/reply.h"
#include "fuzz.h"

enum { STREAM_MAX = 400000, FILLER = 4099 };

struct stream {
	char *data;
	size_t length;
};

static void append(struct stream *stream, const void *data, size_t length)
{
	if (length > STREAM_MAX - stream->length)
		length = STREAM_MAX - stream->length;
	memcpy(stream->data + stream->length, data, length);
	stream->length += length;
}

/* 0 ends the stream; 1: a newline; 2: FILLER bytes, which also reach the lengths where reads go directly into the
 * payload; 3: 127 bytes; any other: so many bytes of the script, less 3. */
static void make_stream(struct fuzz_script *script, struct stream *stream)
{
	static char filler[FILLER];
	uint8_t operation;

	memset(filler, 'x', sizeof(filler));
	while ((operation = fuzz_byte(script)) != 0) {
		size_t length;
		const uint8_t *bytes;

		if (operation == 1) {
			append(stream, "\n", 1);
		} else if (operation == 2) {
			append(stream, filler, FILLER);
		} else if (operation == 3) {
			append(stream, filler, 127);
		} else {
			bytes = fuzz_take(script, operation - 3U, &length);
			append(stream, bytes, length);
		}
	}
}

/* What has come up to an offset must be exactly this. */
static void check_progress(const struct reply *reply, const struct stream *stream, size_t fed)
{
	const char *newline = memchr(stream->data, '\n', fed);
	size_t status_length = newline != NULL ? (size_t) (newline - stream->data) : fed;
	const char *payload = newline != NULL ? newline + 1 : NULL;
	size_t left = newline != NULL ? fed - status_length - 1 : 0;
	const char *end = left > 0 ? memchr(payload, '\n', left) : NULL;
	size_t payload_length = end != NULL ? (size_t) (end - payload) : left;

	FUZZ_CHECK(reply->status_complete == (newline != NULL), "after %zu bytes", fed);
	FUZZ_CHECK(reply->status_length == status_length, "%zu, wanted %zu", reply->status_length, status_length);
	FUZZ_CHECK(memcmp(reply->status, stream->data, status_length) == 0, "status");
	FUZZ_CHECK(reply->status[status_length] == '\0', "status has no end");
	FUZZ_CHECK(reply->complete == (end != NULL), "after %zu bytes", fed);
	FUZZ_CHECK(reply->payload_length == payload_length, "%zu, wanted %zu", reply->payload_length, payload_length);
	if (left > 0) {
		FUZZ_CHECK(memcmp(reply->payload, payload, payload_length) == 0, "payload");
		FUZZ_CHECK(reply->payload[payload_length] == '\0', "payload has no end");
		FUZZ_CHECK(reply->payload_length < reply->payload_capacity, "%zu", reply->payload_capacity);
	}
}

/* What feeding up to an offset must return. */
static int expected_result(const struct stream *stream, size_t fed, size_t max_payload)
{
	const char *newline = memchr(stream->data, '\n', fed), *payload, *end;
	size_t left;

	if ((newline != NULL ? (size_t) (newline - stream->data) : fed) >= sizeof(((struct reply *) NULL)->status))
		return -EMSGSIZE;
	if (newline == NULL)
		return 0;
	payload = newline + 1;
	left = fed - (size_t) (payload - stream->data);
	end = memchr(payload, '\n', left);
	if ((end != NULL ? (size_t) (end - payload) : left) > max_payload)
		return -EMSGSIZE;
	return end != NULL && end + 1 < payload + left ? -EPROTO : 0;
}

/* One piece. The lowest bit of choice asks for the direct way, which need not be open. */
static int feed(struct reply *reply, const char *data, size_t *length, uint8_t choice, size_t max_payload)
{
	size_t room = 0;
	char *space = (choice & 1) != 0 ? reply_direct_space(reply, &room) : NULL, *copy;
	struct err err = { "" };
	int r;

	if (space != NULL) {
		FUZZ_CHECK(room >= 4096, "%zu bytes of room", room);
		*length = *length < room ? *length : room;
		memcpy(space, data, *length);
		r = reply_direct_commit(reply, *length, max_payload, &err);
	} else {
		copy = fuzz_copy(data, *length);
		r = reply_feed(reply, copy, *length, max_payload, &err);
		free(copy);
	}
	FUZZ_CHECK((r == 0) == (err.text[0] == '\0'), "%d: %s", r, err.text);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_script script = { .at = data, .end = data + size };
	size_t max_payload = (size_t) fuzz_byte(&script) * 1024 + fuzz_byte(&script), fed = 0;
	static char room[STREAM_MAX];
	struct stream stream = { .data = room };
	struct reply reply = { 0 };

	make_stream(&script, &stream);
	while (fed < stream.length) {
		uint8_t choice = fuzz_byte(&script);
		/* Small pieces, and large ones; without a script all that is left. */
		size_t length = choice == 0 ? stream.length : (choice & 2) != 0 ? choice >> 2 : (choice >> 2) * 4096U;
		int expected, r;

		length = length < stream.length - fed ? length : stream.length - fed;
		r = feed(&reply, stream.data + fed, &length, choice, max_payload);
		fed += length;
		expected = expected_result(&stream, fed, max_payload);
		FUZZ_CHECK(r == expected, "%d, wanted %d, after %zu bytes", r, expected, fed);
		if (r < 0)
			break;
		check_progress(&reply, &stream, fed);
	}
	reply_reset(&reply);
	FUZZ_CHECK(reply.payload == NULL && reply.status_length == 0 && !reply.complete, "reset");
	return 0;
}
