/*
 * Framing of what a runner answers: two lines for each message, a small status line and the payload.
 *
 * Pure: bytes in, a reply out; no descriptor, no JSON. Feed it whatever a read returned, in pieces of any
 * size; the payload is collected in a buffer of its own that can be handed to the HTTP answer as it is.
 */
#pragma once

#include "../common/err.h"

#include <stdbool.h>

struct reply {
	char status[512]; /* the first line, NUL-terminated, without its newline */
	size_t status_length;
	bool status_complete;
	char *payload; /* the second line, NUL-terminated, without its newline; from malloc */
	size_t payload_length;
	size_t payload_capacity;
	bool complete;
};

/* Also for a zeroed struct. Keeps no memory. */
void reply_reset(struct reply *reply);

/*
 * Takes length bytes. Sets complete when the second newline has come; bytes after it are an error, for a
 * runner answers only when it is asked. Returns 0, -EMSGSIZE (a line over its limit: size of status,
 * max_payload), -EPROTO (bytes after the end) or -ENOMEM.
 */
int reply_feed(
	struct reply *reply, const char *data, size_t length, size_t max_payload, struct err *err) UTIL_MUST_CHECK;

/* Where the next bytes of a long payload can be read to directly, at least a few KB; NULL when reply_feed()
 * must be used (status line not complete, out of memory). */
char *reply_direct_space(struct reply *reply, size_t *ret_length);
/* Takes length bytes that stand at reply_direct_space(). As reply_feed(). */
int reply_direct_commit(struct reply *reply, size_t length, size_t max_payload, struct err *err) UTIL_MUST_CHECK;
