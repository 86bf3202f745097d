#include "json.h"

#include "cjson.h"
#include "text.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

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

size_t json_utf8_sequence(const char *text, size_t length)
{
	return utf8_sequence((const unsigned char *) text, length);
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
	struct text document;
	FILE *out = text_open(&document);

	if (out == NULL)
		return NULL;
	(void) fputs("{\"error\":", out);
	json_write_string(out, text, strlen(text));
	(void) fputs("}\n", out);
	return text_close(&document, ret_length);
}

/* --- is it plain? ------------------------------------------------------------------------------------ */

/* These take the place where something should begin and return the place after it, NULL when it is not there. */

static const char *plain_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

static const char *plain_escape(const char *at, const char *end)
{
	if (at == end)
		return NULL;
	if (*at != 'u')
		return *at != '\0' && strchr("\"\\/bfnrt", *at) != NULL ? at + 1 : NULL;
	if (end - at < 5)
		return NULL;
	for (int i = 1; i <= 4; i++)
		if (strchr("0123456789abcdefABCDEF", at[i]) == NULL || at[i] == '\0')
			return NULL;
	return at + 5;
}

/* Skips the characters that need no look in a string, eight at a time: neither quote, backslash nor control. */
static const char *plain_run(const char *at, const char *end)
{
	const uint64_t ones = 0x0101010101010101U, high = 0x8080808080808080U;
	uint64_t eight, quote, backslash, found;

	for (; end - at >= (ptrdiff_t) sizeof(eight); at += sizeof(eight)) {
		memcpy(&eight, at, sizeof(eight));
		eight = le64toh(eight);
		quote = eight ^ (ones * '"');
		backslash = eight ^ (ones * '\\');
		/* A byte's high bit: less than 0x20, or zero after the XOR. Borrows only reach bytes above the first found. */
		found = ((eight - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~eight & high;
		if (found != 0)
			return at + (__builtin_ctzll(found) >> 3);
	}
	return at;
}

static const char *plain_string(const char *at, const char *end)
{
	if (at == end || *at != '"')
		return NULL;
	for (at = plain_run(at + 1, end); at < end; at = plain_run(at + 1, end)) {
		if (*at == '"')
			return at + 1;
		if ((unsigned char) *at < 0x20)
			return NULL;
		if (*at != '\\')
			continue;
		at = plain_escape(at + 1, end);
		if (at == NULL)
			return NULL;
		at--;
	}
	return NULL;
}

static const char *plain_digits(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at > start ? at : NULL;
}

static const char *plain_number(const char *at, const char *end)
{
	if (at < end && *at == '-')
		at++;
	if (at < end && *at == '0')
		at++;
	else
		at = plain_digits(at, end);
	if (at != NULL && at < end && *at == '.')
		at = plain_digits(at + 1, end);
	if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		at = plain_digits(at, end);
	}
	return at;
}

static const char *plain_word(const char *at, const char *end, const char *word, size_t length)
{
	return (size_t) (end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *plain_scalar(const char *at, const char *end)
{
	if (at == end)
		return NULL;
	switch (*at) {
	case '"':
		return plain_string(at, end);
	case 't':
		return plain_word(at, end, "true", 4);
	case 'f':
		return plain_word(at, end, "false", 5);
	case 'n':
		return plain_word(at, end, "null", 4);
	default:
		return plain_number(at, end);
	}
}

/* A member's name and its colon. */
static const char *plain_name(const char *at, const char *end)
{
	at = plain_string(plain_space(at, end), end);
	if (at == NULL)
		return NULL;
	at = plain_space(at, end);
	return at < end && *at == ':' ? at + 1 : NULL;
}

/* The closing brackets that are awaited, the outermost first. */
struct nesting {
	char *closers;
	size_t depth, deepest;
};

/* Behind a value: the commas and closing brackets up to where the next value begins, or the end of the outermost. */
static const char *plain_after_value(const char *at, const char *end, struct nesting *nesting)
{
	while (nesting->depth > 0) {
		char closer = nesting->closers[nesting->depth - 1];

		at = plain_space(at, end);
		if (at == end)
			return NULL;
		if (*at == ',')
			return closer == '}' ? plain_name(at + 1, end) : at + 1;
		if (*at != closer)
			return NULL;
		nesting->depth--;
		at++;
	}
	return at;
}

/* An opening bracket: up to where the first value in it begins. What is empty ends at once. */
static const char *plain_open(const char *at, const char *end, struct nesting *nesting)
{
	char closer = *at == '{' ? '}' : ']';

	if (nesting->depth == nesting->deepest)
		return NULL;
	nesting->closers[nesting->depth++] = closer;
	at = plain_space(at + 1, end);
	if (at < end && *at == closer)
		return plain_after_value(at, end, nesting);
	return closer == '}' ? plain_name(at, end) : at;
}

static bool is_value(const char *text, size_t length, struct nesting *nesting, ptrdiff_t longest_number)
{
	const char *at = text, *end = text + length, *start;
	size_t bad_offset;

	if (!json_is_utf8(text, length, &bad_offset))
		return false;
	do {
		start = at = plain_space(at, end);
		if (at < end && (*at == '{' || *at == '[')) {
			at = plain_open(at, end, nesting);
			continue;
		}
		at = plain_scalar(at, end);
		if (at != NULL && *start != '"' && at - start > longest_number)
			return false;
		if (at != NULL)
			at = plain_after_value(at, end, nesting);
	} while (at != NULL && nesting->depth > 0);
	return at != NULL && plain_space(at, end) == end;
}

bool json_is_plain(const char *text, size_t length)
{
	char closers[JSON_PLAIN_DEPTH];
	struct nesting nesting = { .closers = closers, .deepest = JSON_PLAIN_DEPTH };

	return is_value(text, length, &nesting, JSON_PLAIN_NUMBER);
}

bool json_is_valid(const char *text, size_t length)
{
	char closers[JSON_VALID_DEPTH];
	struct nesting nesting = { .closers = closers, .deepest = JSON_VALID_DEPTH };

	return is_value(text, length, &nesting, PTRDIFF_MAX);
}

/* --- members ----------------------------------------------------------------------------------------- */

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (unsigned char) *at <= 0x20)
		at++;
	return at;
}

/* at stands on the opening quote; returns the place after the closing one. */
static const char *skip_string(const char *at, const char *end)
{
	for (at = plain_run(at + 1, end); at < end && *at != '"'; at = plain_run(at + 1, end))
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

/* Whether a member's name, as it is spelled from its opening quote on, is this one. */
static bool is_name(const char *spelled, size_t length, const char *name)
{
	size_t name_length = strlen(name);
	cleanup_cjson cJSON *decoded = NULL;

	if (memchr(spelled, '\\', length) == NULL)
		return length == name_length + 2 && memcmp(spelled + 1, name, name_length) == 0;
	decoded = cJSON_ParseWithLength(spelled, length);
	/* A C string ends at a null character, which no name of ours has. */
	return cJSON_IsString(decoded) && memmem(spelled, length, "\\u0000", 6) == NULL &&
		strcmp(decoded->valuestring, name) == 0;
}

int json_find_member(const char *text, size_t length, const char *name, struct json_span *ret_value)
{
	const char *end = text + length;
	const char *at = skip_space(text, end);

	if (at == end || *at != '{')
		return -ENOENT;
	at = skip_space(at + 1, end);
	while (at < end && *at == '"') {
		const char *key = at;
		bool found;

		at = skip_string(at, end);
		if (at <= key + 1)
			return -ENOENT;
		found = is_name(key, (size_t) (at - key), name);
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
