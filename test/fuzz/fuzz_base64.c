/*
 * base64_decode() and base64_encode() against a decoder and an encoder written from RFC 4648 the slow way: each input is
 * taken as base64 text, and as bytes, which are decoded with white space in arbitrary places, too.
 */
#include "../../proxy/base64.h"
#include "fuzz.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Four characters, already without white space; returns how many bytes they are, or -1. */
static int decode_quartet(const char *quartet, char *to)
{
	unsigned bits = 0;
	int pads = quartet[3] != '=' ? 0 : quartet[2] != '=' ? 1 : 2;

	for (int i = 0; i < 4; i++) {
		const char *digit = quartet[i] != '\0' ? strchr(alphabet, quartet[i]) : NULL;

		if (digit == NULL && i < 4 - pads)
			return -1;
		bits = bits << 6 | (digit != NULL ? (unsigned) (digit - alphabet) : 0);
	}
	to[0] = (char) (bits >> 16);
	to[1] = (char) (bits >> 8);
	to[2] = (char) bits;
	return 3 - pads;
}

/* Returns the length of what text stands for, in to, or -1. */
static long decode_slowly(const char *text, size_t length, char *to)
{
	char *dense = malloc(length + 1);
	size_t used = 0;
	long written = 0;

	FUZZ_NEED(dense != NULL, "memory");
	for (size_t i = 0; i < length; i++)
		if (!is_space(text[i]))
			dense[used++] = text[i];
	for (size_t i = 0; written >= 0 && i < used; i += 4) {
		int count = used - i >= 4 ? decode_quartet(dense + i, to + written) : -1;

		written = count < 0 || (count < 3 && i + 4 < used) ? -1 : written + count;
	}
	free(dense);
	return written;
}

/* with_space: in arbitrary places. to has room for 3 characters for each byte, and 8 more. */
static size_t encode(const uint8_t *data, size_t size, bool with_space, char *to)
{
	size_t used = 0;
	uint32_t seed = (uint32_t) size * 2654435761U;

	for (size_t i = 0; i < size; i += 3) {
		unsigned bits = (unsigned) data[i] << 16 | (i + 1 < size ? (unsigned) data[i + 1] << 8 : 0) |
			(i + 2 < size ? data[i + 2] : 0);

		for (unsigned digit = 0; digit < 4; digit++) {
			bool is_pad = i + digit > size;

			to[used++] = is_pad ? '=' : alphabet[bits >> (18 - 6 * digit) & 0x3f];
			seed = seed * 1664525U + 1013904223U;
			if (with_space && seed >> 30 == 0)
				to[used++] = " \t\r\n"[seed >> 28 & 3];
		}
	}
	return used;
}

static void check_as_text(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size), *expected = malloc(size + 3);
	long expected_length = decode_slowly(text, size, expected);
	size_t length = SIZE_MAX, offset;
	struct err err = { "" };
	int r = base64_decode(text, size, &length, &err);

	if (r == 0) {
		FUZZ_CHECK(expected_length >= 0 && length == (size_t) expected_length, "%zu bytes", length);
		FUZZ_CHECK(memcmp(text, expected, length) == 0, "other bytes");
	} else {
		FUZZ_CHECK(expected_length < 0, "%s", err.text);
		FUZZ_CHECK(r == -EINVAL && length == SIZE_MAX, "%d", r);
		FUZZ_CHECK(sscanf(err.text, "illegal base64 data at input byte %zu", &offset) == 1, "%s", err.text);
		FUZZ_CHECK(offset <= size && (offset == size || !is_space((char) data[offset])), "%zu", offset);
	}
	free(expected);
	free(text);
}

static void check_as_bytes(const uint8_t *data, size_t size)
{
	char *room = malloc(3 * size + 8), *text, *written;
	size_t encoded = encode(data, size, true, room), length = 0;
	struct err err = { "" };

	FUZZ_NEED(room != NULL, "memory");
	text = fuzz_copy(room, encoded);
	FUZZ_CHECK(base64_decode(text, encoded, &length, &err) == 0, "%s", err.text);
	FUZZ_CHECK(length == size && memcmp(text, data, size) == 0, "%zu of %zu bytes", length, size);
	free(text);

	encoded = encode(data, size, false, room);
	text = fuzz_copy(data, size);
	written = base64_encode(text, size, &length);
	FUZZ_CHECK(
		written != NULL && length == encoded && memcmp(written, room, encoded) == 0, "%zu characters", length);
	FUZZ_CHECK(written[length] == '\0', "no NUL");
	free(written);
	free(text);
	free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_as_text(data, size);
	check_as_bytes(data, size);
	return 0;
}
