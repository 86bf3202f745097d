#include "../../proxy/base64.h"

#include "tap.h"

/* Decodes a copy that stands at the end of an allocation, where a sanitizer sees each byte too many. */
static int decode(const char *text, size_t length, char **ret_data, size_t *ret_length, struct err *err)
{
	char *copy = malloc(length > 0 ? length : 1);

	memcpy(copy, text, length);
	*ret_data = copy;
	return base64_decode(copy, length, ret_length, err);
}

static void check_decodes(const char *text, const char *wanted)
{
	size_t length = 0;
	struct err err;
	char *data;
	int r = decode(text, strlen(text), &data, &length, &err);

	ok(tap_is_int(r, 0) && tap_is_mem(data, length, wanted, strlen(wanted)), "'%s' decodes to '%s'",
		tap_show(text, strlen(text)), wanted);
	free(data);
}

/* offset: of the first character that makes it wrong. */
static void check_refused(const char *text, size_t length, size_t offset)
{
	size_t ret_length = 4711;
	char wanted[100], *data;
	struct err err;
	int r = decode(text, length, &data, &ret_length, &err);

	(void) snprintf(wanted, sizeof(wanted), "illegal base64 data at input byte %zu", offset);
	ok(tap_is_int(r, -EINVAL) && tap_is_str(err.text, wanted) && ret_length == 4711, "'%s' is refused",
		tap_show(text, length));
	free(data);
}

static void test_vectors(void)
{
	/* RFC 4648, section 10 */
	check_decodes("", "");
	check_decodes("Zg==", "f");
	check_decodes("Zm8=", "fo");
	check_decodes("Zm9v", "foo");
	check_decodes("Zm9vYg==", "foob");
	check_decodes("Zm9vYmE=", "fooba");
	check_decodes("Zm9vYmFy", "foobar");

	check_decodes("+/+/", "\xfb\xff\xbf");
	check_decodes("AQID", "\x01\x02\x03");
	check_decodes("Zm9v\r\nYmFy\r\n", "foobar");
	check_decodes("\n\n Z\tm\n9\rv\n", "foo");
	check_decodes("Zg\n=\n=\n", "f");
	check_decodes(" \n\t\r", "");
}

static void test_malformed(void)
{
	static const struct {
		const char *text;
		size_t offset;
	} cases[] = {
		{ "Z", 1 },
		{ "Zg", 2 },
		{ "Zm8", 3 },
		{ "Zm9vY", 5 },
		{ "Zm9vYg", 6 }, /* cut off */
		{ "Zg=", 3 },
		{ "Zg=\n", 4 }, /* one = of two */
		{ "=", 0 },
		{ "Z===", 1 },
		{ "====", 0 },
		{ "Zm9v=", 4 },
		{ "Zm9v====", 4 }, /* = too early */
		{ "Zm8==", 4 },
		{ "Zg===", 4 }, /* = too many */
		{ "Zg==Zg==", 4 },
		{ "Zg=g", 3 },
		{ "Zm8=v", 4 }, /* something after the = */
		{ "Zm-v", 2 },
		{ "Zm_v", 2 }, /* the alphabet for URLs */
		{ "Zm9v!", 4 },
		{ "Z\x80mv", 1 },
		{ "Zm\x7fv", 2 },
		{ "\v", 0 },
		{ "\f", 0 },
		{ ".Zm9v", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_refused(cases[i].text, strlen(cases[i].text), cases[i].offset);
	check_refused("Zm9v\0Zm9v", 9, 4);
	check_refused("\0", 1, 0);
}

static bool is_base64(unsigned char c)
{
	return c != '\0' && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c) != NULL;
}

static void test_alphabet(void)
{
	unsigned wrong = 0;

	for (unsigned c = 0; c < 256; c++) {
		char text[4] = { 'A', (char) c, 'A', 'A' }, *data;
		bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n', accepted;
		size_t length = 0;
		struct err err;

		accepted = decode(text, sizeof(text), &data, &length, &err) == 0;
		wrong += accepted != is_base64((unsigned char) c);
		free(data);
		/* A space in the place of the digit is no error, but the digit is missing at the end. */
		if (space && strstr(err.text, "byte 4") == NULL)
			wrong++;
	}
	is_int(wrong, 0, "of all 256 bytes, exactly the 64 are digits");
}

/* A straightforward encoder. to has room. */
static size_t encode(const unsigned char *data, size_t length, char *to)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t used = 0;

	for (size_t i = 0; i < length; i += 3) {
		size_t count = length - i < 3 ? length - i : 3;
		unsigned group = 0;

		for (size_t j = 0; j < 3; j++)
			group = group << 8 | (j < count ? data[i + j] : 0U);
		for (size_t j = 0; j < 4; j++)
			to[used++] = j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
		while (random_below(8) == 0)
			to[used++] = "\r\n \t"[random_below(4)];
	}
	return used;
}

static void test_round_trips(void)
{
	enum { ROUNDS = 3000, LONGEST = 200 };

	for (int round = 0; round < ROUNDS; round++) {
		unsigned char bytes[LONGEST];
		char text[LONGEST * 8], *data;
		size_t length = random_below(sizeof(bytes)), text_length, decoded = 0;
		struct err err = { .text = "" };
		bool same;

		random_bytes(bytes, length);
		text_length = encode(bytes, length, text);
		same = decode(text, text_length, &data, &decoded, &err) == 0 && decoded == length &&
			memcmp(data, bytes, length) == 0;
		free(data);
		if (!same) {
			ok(false, "round trip of '%s': %s", tap_show(bytes, length), err.text);
			return;
		}
	}
	ok(true, "%d random byte strings survive, line ends anywhere", ROUNDS);
}

/* Whatever comes in, nothing is read or written outside of the buffer; a sanitizer sees to that. */
static void test_garbage(void)
{
	enum { ROUNDS = 20000 };
	int refused = 0;

	for (int round = 0; round < ROUNDS; round++) {
		char text[24], *data;
		size_t length = random_below(sizeof(text)), decoded = 0;
		struct err err;

		for (size_t i = 0; i < length; i++)
			text[i] = "AZaz09+/==\n\x80"[random_below(12)];
		if (decode(text, length, &data, &decoded, &err) < 0)
			refused++;
		else if (decoded > length / 4 * 3)
			ok(false, "%zu characters became %zu bytes", length, decoded);
		free(data);
	}
	ok(refused > 0 && refused < ROUNDS, "%d random texts, of which %d were refused", ROUNDS, refused);
}

/* --- encoding ---------------------------------------------------------------------------------------- */

/* Of a copy at the end of an allocation. */
static void check_encodes(const char *data, size_t length, const char *wanted)
{
	char *copy = malloc(length > 0 ? length : 1), *text;
	size_t text_length = 4711;

	memcpy(copy, data, length);
	text = base64_encode(copy, length, &text_length);
	ok(tap_is_mem(text, text_length, wanted, strlen(wanted)) && text[text_length] == '\0',
		"'%s' is encoded as '%s'", tap_show(data, length), wanted);
	free(text);
	free(copy);
}

static void test_encode(void)
{
	/* RFC 4648, section 10 */
	check_encodes("", 0, "");
	check_encodes("f", 1, "Zg==");
	check_encodes("fo", 2, "Zm8=");
	check_encodes("foo", 3, "Zm9v");
	check_encodes("foob", 4, "Zm9vYg==");
	check_encodes("fooba", 5, "Zm9vYmE=");
	check_encodes("foobar", 6, "Zm9vYmFy");

	check_encodes("\0\0\0", 3, "AAAA");
	check_encodes("\xff\xff\xff", 3, "////");
	check_encodes("\xfb\xef\xbe", 3, "++++");
	check_encodes("\xff", 1, "/w==");
	check_encodes("\xff\xff", 2, "//8=");
	check_encodes(
		"\0\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f"
		"\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf",
		48, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
}

/* Against the encoder above, and back through the decoder. */
static void test_encode_random(void)
{
	enum { ROUNDS = 3000, LONGEST = 200 };

	for (int round = 0; round < ROUNDS; round++) {
		char bytes[LONGEST], wanted[LONGEST * 8], *text;
		size_t length = random_below(sizeof(bytes)), wanted_length, text_length = 0, kept = 0;
		struct err err = { .text = "" };
		bool same;

		random_bytes(bytes, length);
		wanted_length = encode((unsigned char *) bytes, length, wanted);
		for (size_t i = 0; i < wanted_length; i++)
			if (strchr("\r\n \t", wanted[i]) == NULL)
				wanted[kept++] = wanted[i];
		text = base64_encode(bytes, length, &text_length);
		same = text_length == kept && memcmp(text, wanted, kept) == 0 &&
			base64_decode(text, text_length, &text_length, &err) == 0 && text_length == length &&
			memcmp(text, bytes, length) == 0;
		free(text);
		if (!same) {
			ok(false, "'%s' is encoded, and decoded again: %s", tap_show(bytes, length), err.text);
			return;
		}
	}
	ok(true, "%d random byte strings are encoded, on one line, and decoded again", ROUNDS);
}

int main(void)
{
	test_vectors();
	test_malformed();
	test_alphabet();
	test_round_trips();
	test_garbage();
	test_encode();
	test_encode_random();
	return done_testing();
}
