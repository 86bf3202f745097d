#include "reply.h"

#include <string.h>

enum { DIRECT_FROM = 16384, DIRECT_STEP = 65536 };

void reply_reset(struct reply *reply)
{
	free(reply->payload);
	*reply = (struct reply) { 0 };
}

static int reserve(struct reply *reply, size_t length)
{
	size_t needed = reply->payload_length + length + 1;
	size_t capacity = reply->payload_capacity;
	char *grown;

	if (needed <= capacity)
		return 0;
	needed = needed > capacity + capacity / 2 ? needed : capacity + capacity / 2;
	grown = realloc(reply->payload, needed);
	if (grown == NULL)
		return -ENOMEM;
	reply->payload = grown;
	reply->payload_capacity = needed;
	return 0;
}

/* The bytes from payload_length on are new; ends the payload at the first newline among them. */
static int payload_grew(struct reply *reply, size_t length, size_t max_payload, struct err *err)
{
	char *start = reply->payload + reply->payload_length;
	char *newline = memchr(start, '\n', length);
	size_t taken = newline != NULL ? (size_t) (newline - start) : length;

	reply->payload_length += taken;
	if (reply->payload_length > max_payload)
		return err_set(err, -EMSGSIZE, "the runner's reply is longer than %zu bytes", max_payload);
	reply->payload[reply->payload_length] = '\0';
	if (newline == NULL)
		return 0;
	reply->complete = true;
	if (taken + 1 < length)
		return err_set(err, -EPROTO, "the runner sent %zu bytes after its reply", length - taken - 1);
	return 0;
}

static int status_grew(struct reply *reply, const char *data, size_t length, size_t *ret_taken, struct err *err)
{
	const char *newline = memchr(data, '\n', length);
	size_t taken = newline != NULL ? (size_t) (newline - data) : length;

	if (taken >= sizeof(reply->status) - reply->status_length)
		return err_set(
			err, -EMSGSIZE, "the runner's status line is longer than %zu bytes", sizeof(reply->status) - 1);
	memcpy(reply->status + reply->status_length, data, taken);
	reply->status_length += taken;
	reply->status[reply->status_length] = '\0';
	reply->status_complete = newline != NULL;
	*ret_taken = newline != NULL ? taken + 1 : taken;
	return 0;
}

int reply_feed(struct reply *reply, const char *data, size_t length, size_t max_payload, struct err *err)
{
	if (length == 0)
		return 0;
	if (reply->complete)
		return err_set(err, -EPROTO, "the runner sent %zu bytes after its reply", length);
	if (!reply->status_complete) {
		size_t taken = 0;
		int r = status_grew(reply, data, length, &taken, err);

		if (r < 0)
			return r;
		data += taken;
		length -= taken;
		if (length == 0)
			return 0;
	}
	if (reserve(reply, length) < 0)
		return err_set(err, -ENOMEM, "out of memory for the runner's reply");
	memcpy(reply->payload + reply->payload_length, data, length);
	return payload_grew(reply, length, max_payload, err);
}

char *reply_direct_space(struct reply *reply, size_t *ret_length)
{
	if (reply->complete || reply->payload_length < DIRECT_FROM || reserve(reply, DIRECT_STEP) < 0)
		return NULL;
	*ret_length = reply->payload_capacity - reply->payload_length - 1;
	return reply->payload + reply->payload_length;
}

int reply_direct_commit(struct reply *reply, size_t length, size_t max_payload, struct err *err)
{
	return payload_grew(reply, length, max_payload, err);
}
