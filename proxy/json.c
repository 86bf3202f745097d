#include "json.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at text (1 to 4), 0 when it is none: overlong forms, surrogates and values
 * over U+10FFFF included (RFC 3629). */
static size_t utf8_sequence(const unsigned char *text, size_t length)
{
	uint32_t code;
	size_t count;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		count = 2;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		count = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		count = 4;
	else
		return 0;
	if (length < count)
		return 0;
	code = text[0] & (0x7fU >> count);
	for (size_t i = 1; i < count; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3fU);
	}
	if ((count == 3 && code < 0x800) || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	if (count == 4 && (code < 0x10000 || code > 0x10ffff))
		return 0;
	return count;
}

bool json_is_utf8(const char *text, size_t length, size_t *ret_offset)
{
	const uint64_t high_bits = 0x8080808080808080U;
	size_t i = 0;

	while (i < length) {
		uint64_t eight;
		size_t count;

		if (length - i >= sizeof(eight)) {
			memcpy(&eight, text + i, sizeof(eight));
			if ((eight & high_bits) == 0) {
				i += sizeof(eight);
				continue;
			}
		}
		count = utf8_sequence((const unsigned char *) text + i, length - i);
		if (count == 0) {
			*ret_offset = i;
			return false;
		}
		i += count;
	}
	return true;
}

void json_write_string(FILE *out, const char *text, size_t length)
{
	(void) fputc('"', out);
	for (size_t i = 0; i < length;) {
		unsigned char byte = (unsigned char) text[i];
		size_t count = utf8_sequence((const unsigned char *) text + i, length - i);

		if (byte == '"' || byte == '\\')
			(void) fprintf(out, "\\%c", byte);
		else if (byte == '\n')
			(void) fputs("\\n", out);
		else if (byte < 0x20 || byte == 0x7f)
			(void) fprintf(out, "\\u%04x", byte);
		else if (count == 0)
			(void) fputs("\xef\xbf\xbd", out);
		else
			(void) fwrite(text + i, 1, count, out);
		i += count == 0 ? 1 : count;
	}
	(void) fputc('"', out);
}

char *json_error_document(const char *text, size_t *ret_length)
{
	char *document = NULL;
	FILE *out = open_memstream(&document, ret_length);

	if (out == NULL)
		return NULL;
	(void) fputs("{\"error\":", out);
	json_write_string(out, text, strlen(text));
	(void) fputs("}\n", out);
	if (fclose(out) != 0) {
		free(document);
		return NULL;
	}
	return document;
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (unsigned char) *at <= 0x20)
		at++;
	return at;
}

/* at stands on the opening quote; returns the place after the closing one. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at < end ? at + 1 : end;
}

/* at stands on the first character of a value; returns the place after it. */
static const char *skip_value(const char *at, const char *end)
{
	size_t depth = 0;

	while (at < end) {
		if (*at == '"') {
			at = skip_string(at, end);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (depth > 0 && (*at == '}' || *at == ']')) {
			depth--;
			at++;
		} else if (depth == 0 && (*at == ',' || *at == '}' || *at == ']' || (unsigned char) *at <= 0x20)) {
			return at;
		} else {
			at++;
			continue;
		}
		if (depth == 0)
			return at;
	}
	return at;
}

int json_find_member(const char *text, size_t length, const char *name, struct json_span *ret_value)
{
	const char *end = text + length;
	const char *at = skip_space(text, end);
	size_t name_length = strlen(name);

	if (at == end || *at != '{')
		return -ENOENT;
	at = skip_space(at + 1, end);
	while (at < end && *at == '"') {
		const char *key = at + 1;
		bool found;

		at = skip_string(at, end);
		if (at <= key)
			return -ENOENT;
		if (memchr(key, '\\', (size_t) (at - key)) != NULL)
			return -EINVAL;
		found = (size_t) (at - key) == name_length + 1 && memcmp(key, name, name_length) == 0;
		at = skip_space(at, end);
		at = skip_space(at < end ? at + 1 : end, end); /* the colon */
		key = at;
		at = skip_value(at, end);
		if (found) {
			*ret_value = (struct json_span) { .start = key, .length = (size_t) (at - key) };
			return 0;
		}
		at = skip_space(at, end);
		at = skip_space(at < end ? at + 1 : end, end); /* the comma, or the closing brace */
	}
	return -ENOENT;
}
