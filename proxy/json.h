/*
 * The little the proxy does with JSON text itself.
 *
 * cJSON parses the proxy's own small messages and the envelope of /init. What belongs to the user is never
 * printed again from cJSON's tree, whose numbers went through a double: it is found in the text and passed
 * on as the bytes it was.
 */
#pragma once

#include "../common/util.h"

#include <stdbool.h>
#include <stdio.h>

struct json_span {
	const char *start;
	size_t length;
};

/* Writes text as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD. */
void json_write_string(FILE *out, const char *text, size_t length);

/* {"error":"text"} and a newline, for free(); NULL when out of memory. */
char *json_error_document(const char *text, size_t *ret_length) UTIL_MUST_CHECK;

/* Length of the UTF-8 sequence that text, which is not empty, begins with (1 to 4), 0 when it is none: overlong forms,
 * surrogates and values over U+10FFFF included (RFC 3629). */
size_t json_utf8_sequence(const char *text, size_t length);

/* Whether text is UTF-8 (RFC 3629); where it is not, ret_offset is that of the first bad byte. */
bool json_is_utf8(const char *text, size_t length, size_t *ret_offset) UTIL_MUST_CHECK;

/*
 * Whether text is one JSON value (RFC 8259) that every decoder takes for the same, and that can become a part of a
 * larger text: UTF-8 without a byte order mark, white space around it allowed, nested at most JSON_PLAIN_DEPTH
 * deep, with no number longer than JSON_PLAIN_NUMBER characters. What is JSON but not plain is left to the vendor's
 * own decoder, which may refuse it.
 */
bool json_is_plain(const char *text, size_t length) UTIL_MUST_CHECK;

/* Whether text is JSON that the runner can decode: as above, nested at most JSON_VALID_DEPTH deep, with any number. */
bool json_is_valid(const char *text, size_t length) UTIL_MUST_CHECK;

enum { JSON_PLAIN_DEPTH = 512, JSON_PLAIN_NUMBER = 1000, JSON_VALID_DEPTH = 5000 };

/*
 * Finds the value of a member of the object that text holds. text must be what cJSON has parsed, and is read
 * with its leniency: any byte up to 0x20 is white space. Of duplicate names the first counts, as with
 * cJSON_GetObjectItemCaseSensitive(). Returns 0 or -ENOENT.
 */
int json_find_member(const char *text, size_t length, const char *name, struct json_span *ret_value) UTIL_MUST_CHECK;
