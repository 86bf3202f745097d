#include "../../proxy/json.h"

#include "tap.h"
#include "tree.h"

#define REPLACED "\xef\xbf\xbd" /* U+FFFD */

/* behind: bytes that follow the text. None, at the end of an allocation: a sanitizer sees each byte read too many. */
static char *write_followed(const char *text, size_t length, size_t behind, size_t *ret_length)
{
	char *written = NULL, *copy = malloc(length + behind > 0 ? length + behind : 1);
	FILE *out = open_memstream(&written, ret_length);

	memcpy(copy, text, length);
	memset(copy + length, 0x80, behind); /* would continue a sequence */
	json_write_string(out, copy, length);
	(void) fclose(out);
	free(copy);
	return written;
}

static char *write_string(const char *text, size_t length, size_t *ret_length)
{
	return write_followed(text, length, 0, ret_length);
}

/* wanted: without the quotes around it. */
static void check_written(const char *text, size_t length, const char *wanted)
{
	char quoted[200];
	size_t written_length;
	char *written = write_string(text, length, &written_length);
	size_t followed_length;
	char *followed = write_followed(text, length, 3, &followed_length);

	(void) snprintf(quoted, sizeof(quoted), "\"%s\"", wanted);
	ok(tap_is_mem(written, written_length, quoted, strlen(quoted)) &&
			tap_is_mem(followed, followed_length, quoted, strlen(quoted)),
		"\"%s\" is written", tap_show(text, length));
	free(written);
	free(followed);
}

#define CHECK_WRITTEN(literal, wanted) check_written(literal, sizeof(literal) - 1, wanted)

static void test_write_string(void)
{
	CHECK_WRITTEN("", "");
	CHECK_WRITTEN("plain / text", "plain / text");
	CHECK_WRITTEN("\"\\", "\\\"\\\\");
	CHECK_WRITTEN("a\nb", "a\\nb");
	CHECK_WRITTEN("\0\x01\t\r\x1f\x7f", "\\u0000\\u0001\\u0009\\u000d\\u001f\\u007f");
	/* The first and the last character of each length. */
	CHECK_WRITTEN("\xc2\x80 \xdf\xbf", "\xc2\x80 \xdf\xbf");
	CHECK_WRITTEN("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf",
		"\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf");
	CHECK_WRITTEN("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf");
}

static void test_invalid_utf8(void)
{
	CHECK_WRITTEN("a\x80z", "a" REPLACED "z"); /* a continuation without a start */
	CHECK_WRITTEN("a\xbfz", "a" REPLACED "z");
	CHECK_WRITTEN("\xc3", REPLACED); /* cut off, by the end and by another character */
	CHECK_WRITTEN("\xc3z", REPLACED "z");
	CHECK_WRITTEN("\xe2\x82", REPLACED REPLACED);
	CHECK_WRITTEN("\xe2\x82z", REPLACED REPLACED "z");
	CHECK_WRITTEN("\xf0\x9f\x98", REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xf0\x9f\x98\"", REPLACED REPLACED REPLACED "\\\"");
	CHECK_WRITTEN("\xe2\xc3\xa9", REPLACED "\xc3\xa9");
	CHECK_WRITTEN("\xc0\xaf", REPLACED REPLACED); /* overlong: "/" in 2, 3 and 4 bytes, and the longest */
	CHECK_WRITTEN("\xc1\xbf", REPLACED REPLACED);
	CHECK_WRITTEN("\xe0\x80\xaf", REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xe0\x9f\xbf", REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xf0\x80\x80\xaf", REPLACED REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xf0\x8f\xbf\xbf", REPLACED REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xed\xa0\x80", REPLACED REPLACED REPLACED); /* surrogates: the first, the last, a pair */
	CHECK_WRITTEN("\xed\xbf\xbf", REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xed\xa0\xbd\xed\xb8\x80", REPLACED REPLACED REPLACED REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xf4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED); /* over U+10FFFF */
	CHECK_WRITTEN("\xf5\x80\x80\x80", REPLACED REPLACED REPLACED REPLACED);
	CHECK_WRITTEN("\xf8\x88\x80\x80\x80", REPLACED REPLACED REPLACED REPLACED REPLACED); /* 5 bytes, 6 bytes */
	CHECK_WRITTEN("\xfc\xfe\xff", REPLACED REPLACED REPLACED);
}

/* Each code point of the Unicode standard, encoded here, must pass; each surrogate must not. */
static void test_all_code_points(void)
{
	unsigned wrong = 0;

	for (unsigned code = 0x80; code <= 0x10ffff; code++) {
		char text[4], wanted[8], *written;
		size_t count, length;

		if (code < 0x800) {
			count = 2;
			text[0] = (char) (0xc0 | code >> 6);
		} else if (code < 0x10000) {
			count = 3;
			text[0] = (char) (0xe0 | code >> 12);
		} else {
			count = 4;
			text[0] = (char) (0xf0 | code >> 18);
		}
		for (size_t i = 1; i < count; i++)
			text[i] = (char) (0x80 | (code >> 6 * (count - 1 - i) & 0x3f));
		if (code >= 0x10000 && code % 37 != 0) /* a sample of the many */
			continue;
		written = write_string(text, count, &length);
		(void) snprintf(wanted, sizeof(wanted), "\"%.*s\"", (int) count, text);
		if ((length == count + 2 && memcmp(written, wanted, length) == 0) != (code < 0xd800 || code > 0xdfff))
			wrong++;
		free(written);
	}
	is_int(wrong, 0, "code points pass, surrogates do not");
}

/* wanted: the offset of the first bad byte, -1 for none. */
static void check_utf8(const char *text, size_t length, long wanted)
{
	char *copy = malloc(length > 0 ? length : 1);
	size_t offset = 4711;
	bool good;

	memcpy(copy, text, length);
	good = json_is_utf8(copy, length, &offset);
	free(copy);
	ok(good == (wanted < 0) && (good || tap_is_int((long long) offset, wanted)), "'%s' is %sUTF-8",
		tap_show(text, length), wanted < 0 ? "" : "not ");
}

#define CHECK_UTF8(literal, wanted) check_utf8(literal, sizeof(literal) - 1, wanted)

static void test_is_utf8(void)
{
	CHECK_UTF8("", -1);
	CHECK_UTF8("a\0\x7f", -1);
	CHECK_UTF8("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", -1);
	CHECK_UTF8("\x80", 0);
	CHECK_UTF8("ab\xff", 2);
	CHECK_UTF8("\xc3\xa9\xc3", 2);
	CHECK_UTF8("\xc3\xa9\xe2\x82", 2);
	CHECK_UTF8("\xf0\x9f\x98z", 0);
	CHECK_UTF8("\xc0\xaf", 0);
	CHECK_UTF8("\xe0\x9f\xbf", 0);
	CHECK_UTF8("a\xed\xa0\x80", 1);
	CHECK_UTF8("\xf4\x90\x80\x80", 0);
	CHECK_UTF8("0123456789abcdef0123456789abcde\xff", 31);
	CHECK_UTF8("0123456789abcdef\xc3\xa9"
		   "0123456789abc\x80xyz",
		31);
}

static void test_error_document(void)
{
	size_t length = 0;
	char *document = json_error_document("no \"x\"\xff", &length);

	is_mem(document, length, "{\"error\":\"no \\\"x\\\"" REPLACED "\"}\n",
		strlen("{\"error\":\"no \\\"x\\\"" REPLACED "\"}\n"), "an error document");
	is_int(document[length], '\0', "it is NUL-terminated");
	free(document);
	document = json_error_document("", &length);
	is_mem(document, length, "{\"error\":\"\"}\n", 13, "an empty one");
	free(document);
}

/* Looks in a copy at the end of an allocation. wanted NULL: it returns code. */
static void check_code(const char *text, const char *name, int code, const char *wanted)
{
	size_t length = strlen(text);
	struct json_span span = { .start = "untouched", .length = 9 };
	char *copy = malloc(length > 0 ? length : 1);
	int r;

	memcpy(copy, text, length);
	r = json_find_member(copy, length, name, &span);
	if (wanted == NULL)
		ok(tap_is_int(r, code) && tap_is_mem(span.start, span.length, "untouched", 9), "%s in %s: %s", name,
			text, strerror(-code));
	else
		ok(tap_is_int(r, 0) && tap_is_mem(span.start, span.length, wanted, strlen(wanted)), "%s in %s is %s",
			name, text, wanted);
	free(copy);
}

static void check_found(const char *text, const char *name, const char *wanted)
{
	check_code(text, name, -ENOENT, wanted);
}

static void test_find_member(void)
{
	check_found("{\"a\":1}", "a", "1");
	check_found("{\"a\":1,\"b\":2}", "b", "2");
	check_found("{\"a\":\"text\"}", "a", "\"text\"");
	check_found("{\"a\":true,\"b\":null}", "b", "null");
	check_found("{\"a\":-1.5e+3,\"b\":2}", "a", "-1.5e+3");
	check_found("{\"a\":9007199254740993}", "a", "9007199254740993");
	check_found("{\"a\":{}}", "a", "{}");
	check_found("{\"a\":[],\"b\":[[]]}", "b", "[[]]");
	check_found("{\"\":7}", "", "7");
	check_found("{\"b\":1}", "a", NULL);
	check_found("{}", "a", NULL);
	check_found("{\"ab\":1}", "a", NULL);
	check_found("{\"a\":1}", "ab", NULL);
	check_found("{\"A\":1}", "a", NULL);
	check_found("[\"a\",1]", "a", NULL);
	check_found("\"a\"", "a", NULL);
	check_found("", "a", NULL);
	check_found("  ", "a", NULL);
}

static void test_find_nested(void)
{
	check_found("{\"x\":{\"a\":1},\"a\":2}", "a", "2");
	check_found("{\"x\":[{\"a\":1},[\"a\"]],\"a\":2}", "a", "2");
	check_found("{\"x\":\"a\",\"a\":2}", "a", "2");
	check_found("{\"x\":{\"y\":{\"z\":[{},[],{\"a\":[1]}]}},\"a\":{\"a\":{\"a\":3}}}", "a", "{\"a\":{\"a\":3}}");
	check_found("{\"x\":{\"a\":1}}", "a", NULL);
	check_found("{\"x\":\"}\",\"y\":[\"]{\"],\"a\":1}", "a", "1");
	check_found("{\"a\":{\"x\":\"}\",\"y\":\"\\\"}\"},\"b\":1}", "a", "{\"x\":\"}\",\"y\":\"\\\"}\"}");
}

static void test_find_escapes_spaces_duplicates(void)
{
	check_found("{\"x\":\"\\\",\\\"a\\\":1\",\"a\":2}", "a", "2");
	check_found("{\"x\":\"\\\\\",\"a\":2}", "a", "2");
	check_found("{\"a\":\"\\\\\\\"\"}", "a", "\"\\\\\\\"\"");
	/* What cJSON would decode is not guessed at, where it could be the name or stand in front of it. */
	check_found("{\"\\u0061\":1}", "a", "1");
	check_found("{\"\\u0061\":1,\"a\":2}", "a", "1");
	check_found("{\"x\\\"\":1,\"a\":2}", "a", "2");
	check_found("{\"a\":2,\"\\u0061\":1}", "a", "2");
	check_found("{\"x\":{\"\\u0061\":1},\"a\":2}", "a", "2");

	check_found(" \t\r\n{ \"x\" : [ 1 , 2 ] , \"a\" :\n{ \"b\" : 1 }\t} ", "a", "{ \"b\" : 1 }");
	check_found("{\"a\"\n:\n1\n,\n\"b\"\n:\n\"x y\"\n}", "b", "\"x y\"");
	check_found("{\x01\"a\"\f:\v12\x1f,\"b\":1}", "a", "12"); /* as lenient as cJSON */
	check_found("{\"a\" : 12 ,\"b\":1}", "a", "12");
	check_found("{\"a\":12\n}", "a", "12");

	check_found("{\"a\":1,\"a\":2}", "a", "1");
	check_found("{\"a\":null,\"a\":2}", "a", "null");
}

/* Invalid JSON may give any answer, but must not make it read outside of the text: sanitizers look. */
static void test_garbage(void)
{
	static const char whole[] = "{\"x\" : {\"y\\\"\":[1,\"}\"]}, \"a\":[true,{\"b\":\"\\u00e9\"}] }";
	size_t inside = 0, found = 0, tried = 0;

	for (size_t length = 0; length <= strlen(whole); length++, tried++) {
		struct json_span span;
		char *cut = malloc(length > 0 ? length : 1);

		memcpy(cut, whole, length);
		if (json_find_member(cut, length, "a", &span) < 0)
			inside++;
		else if (span.start >= cut && span.start + span.length <= cut + length)
			found++, inside++;
		free(cut);
	}
	ok(inside == tried && found > 0, "cut at every byte");

	inside = 0;
	for (tried = 0; tried < 50000; tried++) {
		size_t length = random_below(24);
		char *text = malloc(length > 0 ? length : 1);
		struct json_span span;

		for (size_t i = 0; i < length; i++)
			text[i] = "{}[]\"\"\\:,a 1"[random_below(12)];
		if (json_find_member(text, length, "a", &span) < 0 ||
			(span.start >= text && span.start + span.length <= text + length))
			inside++;
		free(text);
	}
	is_int(inside, tried, "random texts");
}

/* --- is it plain? ------------------------------------------------------------------------------------ */

/* Asks about a copy at the end of an allocation. */
static bool ask_about(bool (*question)(const char *text, size_t length), const char *text, size_t length)
{
	char *copy = malloc(length > 0 ? length : 1);
	bool answer;

	memcpy(copy, text, length);
	answer = question(copy, length);
	free(copy);
	return answer;
}

static bool is_plain(const char *text, size_t length)
{
	return ask_about(json_is_plain, text, length);
}

static bool is_valid(const char *text, size_t length)
{
	return ask_about(json_is_valid, text, length);
}

static void test_plain(void)
{
	static const char *const plain[] = { "{}", "[]", "null", "true", "false", "0", "-0", "1", "-12", "0.0", "1.50",
		"1e5", "1E+5", "-1.25e-30", "0e0", "12345678901234567890123456789", "1e400", "\"\"", "\"a\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\"", "\"\\uaBcD\"",
		"\"\x7f\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"{}[],:\"", " \t\r\n1 \t\r\n", "[1]", "[1,2]",
		"[ 1 , 2 ]", "[[]]", "[{}]", "[[],[]]", "{\"a\":1}", "{\"a\":1,\"a\":2}", "{\"\":\"\"}",
		"{ \"a\" : { \"b\" : [ ] } , \"c\" : null }", "[true,false,null,0,\"\",{},[]]", "{\n\"a\"\n:\n1\n}\n" };
	static const char *const other[] = { "", " ", "nul", "nulll", "Null", "True", "NaN", "Infinity", "-Infinity",
		"-", "+1", "01", "-01", "00", "1.", ".1", "1.e5", "1e", "1e+", "1e5.0", "0x10", "1 2", "1,", ",", ":",
		"\"", "'a'", "\"a", "a\"", "\"\\\"", "\"\\x\"", "\"\\u\"", "\"\\", "\"\\u", "\"\\u12", "\"\\u123",
		"\"\\u1234", "\"\\u123\"", "\"\\u123g\"", "\"\\U0000\"", "\"a\nb\"", "\"\t\"", "\"\x1f\"", "\"\x80\"",
		"\"\xc3\"", "\"\xed\xa0\x80\"", "\xef\xbb\xbf{}", "\v1", "1\f",
		"\xc2\xa0"
		"1",
		"{", "}", "[", "]", "[1", "1]", "[1}", "{]", "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "{,}", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\" 1}", "{\"a\",1}", "{\"a\":1 \"b\":2}", "{a:1}", "{1:1}",
		"{null:1}", "{\"a\":1}}", "{\"a\":1}{}", "[[]", "[[]]]", "[{]}", "[\"a\":1]", "{\"a\":1:2}", "{}//",
		"/**/1", "{\"a\":1}x", "truefalse", "[truefalse]", "\"a\"\"b\"", "1\"a\"" };

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		ok(is_plain(plain[i], strlen(plain[i])) && is_valid(plain[i], strlen(plain[i])), "plain: %s",
			tap_show(plain[i], strlen(plain[i])));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		ok(!is_plain(other[i], strlen(other[i])) && !is_valid(other[i], strlen(other[i])), "not plain: %s",
			tap_show(other[i], strlen(other[i])));
	ok(!is_plain("1\0", 2) && !is_plain("\0", 1) && !is_plain("\"\0\"", 3) && !is_plain("\"\\\0\"", 4) &&
			!is_plain("\"\\u000\0\"", 8),
		"not plain: null characters");
}

/* A quote, a backslash and every other byte at each place of strings that are looked at several bytes at a time. */
static void test_plain_strings(void)
{
	size_t wrong = 0;

	for (size_t length = 0; length <= 20; length++) {
		for (size_t place = 0; place < length; place++) {
			for (unsigned byte = 0; byte < 256; byte++) {
				char text[24];
				bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

				memset(text, 'x', sizeof(text));
				text[0] = text[length + 1] = '"';
				text[place + 1] = (char) byte;
				/* An escaped x is none, and after a quote the rest is too much. */
				if (is_plain(text, length + 2) != plain)
					wrong++;
			}
		}
	}
	is_int(wrong, 0, "each byte at each place of strings of up to 20 bytes");
}

/* depth opening brackets, of both kinds for kind 2, and what closes them. */
static bool is_deep(bool (*question)(const char *text, size_t length), size_t depth, int kind)
{
	char *text = malloc(depth * 6 + 2), *at = text;
	bool answer;

	for (size_t i = 0; i < depth; i++)
		at = stpcpy(at, kind == 0 || (kind == 2 && i % 2 == 0) ? "[" : "{\"a\":");
	*at++ = '1';
	for (size_t i = depth; i > 0; i--)
		*at++ = kind == 0 || (kind == 2 && i % 2 == 1) ? ']' : '}';
	answer = ask_about(question, text, (size_t) (at - text));
	free(text);
	return answer;
}

/* length characters, of which the first are these. */
static bool is_number(bool (*question)(const char *text, size_t length), const char *start, size_t length)
{
	char text[2000];

	memset(text, '1', length);
	memcpy(text, start, strlen(start));
	return ask_about(question, text, length);
}

static void test_plain_limits(void)
{
	static const char *const starts[] = { "", "-", "0.", "1e-" };

	for (int kind = 0; kind < 3; kind++) {
		ok(is_deep(json_is_plain, JSON_PLAIN_DEPTH, kind), "%d levels are plain", JSON_PLAIN_DEPTH);
		ok(!is_deep(json_is_plain, JSON_PLAIN_DEPTH + 1, kind), "... one more is not");
		ok(is_deep(json_is_valid, JSON_VALID_DEPTH, kind), "%d levels are valid", JSON_VALID_DEPTH);
		ok(!is_deep(json_is_valid, JSON_VALID_DEPTH + 1, kind), "... one more is not");
	}
	ok(!is_deep(json_is_plain, 100000, 0) && !is_deep(json_is_valid, 100000, 0), "... nor are many more");
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		ok(is_number(json_is_plain, starts[i], JSON_PLAIN_NUMBER), "a number of %d characters is plain, %s…",
			JSON_PLAIN_NUMBER, starts[i]);
		ok(!is_number(json_is_plain, starts[i], JSON_PLAIN_NUMBER + 1), "... one more is not");
		ok(is_number(json_is_valid, starts[i], JSON_PLAIN_NUMBER + 1), "... but valid");
	}
}

/* --- ... and does Python's decoder agree? ------------------------------------------------------------ */

/* Whether each line of a file, a text in hex, is JSON (RFC 8259) in UTF-8: a 0 or a 1. */
static const char oracle[] = "import json, sys\n"
			     "def refuse(name):\n"
			     "    raise ValueError(name)\n"
			     "def is_json(line):\n"
			     "    try:\n"
			     "        json.loads(bytes.fromhex(line).decode(), parse_constant=refuse)\n"
			     "    except ValueError:\n"
			     "        return \"0\"\n"
			     "    return \"1\"\n"
			     "print(\"\".join(map(is_json, open(sys.argv[1]))))\n";

enum { TEXT_MAX = 120, TEXTS_MAX = 120000 };

static struct {
	struct {
		char bytes[TEXT_MAX];
		size_t length;
	} * all;
	size_t count;
} texts;

static void add_text(const char *bytes, size_t length)
{
	memcpy(texts.all[texts.count].bytes, bytes, length);
	texts.all[texts.count++].length = length;
}

/* All texts of up to four of these. */
static void add_short_texts(void)
{
	static const char alphabet[] = "{}[],:\"a\\1-.e0 \n"; /* 16, so that four bits choose one */

	for (size_t length = 0; length <= 4; length++) {
		for (size_t number = 0; number < (size_t) 1 << 4 * length; number++) {
			char text[4];

			for (size_t i = 0; i < length; i++)
				text[i] = alphabet[number >> 4 * i & 15];
			add_text(text, length);
		}
	}
}

static void write_space(FILE *out)
{
	while (random_below(6) == 0)
		(void) fputc(" \t\r\n"[random_below(4)], out);
}

static void write_value(FILE *out, int depth)
{
	static const char *const scalars[] = { "null", "true", "false", "0", "-0", "17", "-3.25", "1e5", "1E-7",
		"0.5e+9", "\"\"", "\"a\"", "\"\\n\\\"\"", "\"\\u00e9\"", "\"\\ud800\"", "\"\xc3\xa9\"",
		"\"\xf0\x9f\x98\x80\"" };
	size_t kind = depth < 4 ? random_below(4) : 3;
	size_t count = random_below(4);

	write_space(out);
	if (kind > 1) {
		(void) fputs(scalars[random_below(ARRAY_SIZE(scalars))], out);
	} else {
		(void) fputc("[{"[kind], out);
		write_space(out);
		for (size_t i = 0; i < count; i++) {
			if (i > 0)
				(void) fputc(',', out);
			write_space(out);
			if (kind == 1)
				(void) fputs("\"k\":", out);
			write_value(out, depth + 1);
		}
		(void) fputc("]}"[kind], out);
	}
	write_space(out);
}

/* Texts that are JSON, and each again with a byte less, more, or another. */
static void add_random_texts(size_t count)
{
	static const char alphabet[] = "{}[],:\"\\/ul0123456789aeE+-. \n\t\x01\x80\xc3\xa9";

	for (size_t i = 0; i < count; i++) {
		char text[4096] = "", other = alphabet[random_below(sizeof(alphabet))];
		FILE *out = fmemopen(text, sizeof(text), "w");
		size_t length, at;

		write_value(out, 0);
		(void) fclose(out);
		length = strlen(text);
		if (length + 1 > TEXT_MAX)
			continue;
		add_text(text, length);
		at = random_below(length);
		if (random_below(3) == 0)
			memmove(text + at, text + at + 1, length-- - at);
		else if (random_below(2) == 0)
			text[at] = other;
		else
			memmove(text + at + 1, text + at, length++ - at), text[at] = other;
		add_text(text, length);
	}
}

/* What the oracle says, for free(). */
static char *ask_oracle(void)
{
	char *directory = tree_new(), *answers = calloc(1, TEXTS_MAX + 1), file[PATH_MAX], script[PATH_MAX];
	char command[3 * PATH_MAX];
	const char *python = getenv("PYTHON");
	FILE *out;

	(void) snprintf(script, sizeof(script), "%s/oracle.py", directory);
	(void) snprintf(file, sizeof(file), "%s/texts", directory);
	out = fopen(script, "we");
	(void) fputs(oracle, out);
	(void) fclose(out);
	out = fopen(file, "we");
	for (size_t i = 0; i < texts.count; i++) {
		for (size_t j = 0; j < texts.all[i].length; j++)
			(void) fprintf(out, "%02x", (unsigned char) texts.all[i].bytes[j]);
		(void) fputc('\n', out);
	}
	(void) fclose(out);
	(void) snprintf(command, sizeof(command), "%s -I '%s' '%s'", python != NULL ? python : "/usr/bin/python3",
		script, file);
	out = popen(command, "re");
	if (out == NULL || fgets(answers, TEXTS_MAX + 1, out) == NULL || pclose(out) != 0)
		bail_out("no answer from %s", command);
	tree_free(directory);
	return answers;
}

static void test_against_python(void)
{
	size_t wrong = 0, valid = 0;
	char *answers;

	texts.all = calloc(TEXTS_MAX, sizeof(*texts.all));
	add_short_texts();
	add_random_texts(20000);
	answers = ask_oracle();
	for (size_t i = 0; i < texts.count; i++) {
		bool plain = is_plain(texts.all[i].bytes, texts.all[i].length);

		valid += plain;
		if (plain == (answers[i] == '1') && plain == is_valid(texts.all[i].bytes, texts.all[i].length))
			continue;
		if (wrong++ < 5)
			diag("%splain: %s", plain ? "" : "not ", tap_show(texts.all[i].bytes, texts.all[i].length));
	}
	is_int(wrong, 0, "Python's decoder takes the same of %zu texts, of which %zu are JSON", texts.count, valid);
	ok(valid > texts.count / 10 && valid < texts.count / 2, "... and there are enough of both");
	free(answers);
	free(texts.all);
}

int main(void)
{
	test_write_string();
	test_invalid_utf8();
	test_all_code_points();
	test_is_utf8();
	test_error_document();
	test_plain();
	test_plain_strings();
	test_plain_limits();
	test_against_python();
	test_find_member();
	test_find_nested();
	test_find_escapes_spaces_duplicates();
	test_garbage();
	return done_testing();
}
