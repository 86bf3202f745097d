#include "json_decode.h"

#include "json_text.h"

#include <float.h>
#include <math.h>

enum {
	SHORT_WORDS = 4, /* of 8 bytes */
	MEMO_BITS = 7,
	MEMO_LONGEST = 40, /* bytes of a key that is kept */
};

struct memo {
	PyObject *key;        /* owned */
	uint64_t first, last; /* its first and last 8 bytes, which overlap in a short one */
};

struct decoder {
	const unsigned char *text, *at, *end;
	int depth;
	int collecting; /* what garbage collection was before: nothing that is decoded is garbage */
	/* Keys of objects: most objects have those of the one before. Found by hash, the last one wins. */
	struct memo memo[1 << MEMO_BITS];
};

static PyObject *decode_value(struct decoder *decoder);

static PyObject *fail(const struct decoder *decoder, const unsigned char *at, const char *problem)
{
	if (at < decoder->end)
		return PyErr_Format(PyExc_ValueError, "%s at byte %zd", problem, (Py_ssize_t) (at - decoder->text));
	return PyErr_Format(
		PyExc_ValueError, "unexpected end of the text at byte %zd", (Py_ssize_t) (at - decoder->text));
}

/* The next byte, or -1 at the end. */
static int peek(const struct decoder *decoder)
{
	return decoder->at < decoder->end ? *decoder->at : -1;
}

static int skip_space(struct decoder *decoder)
{
	while (decoder->at < decoder->end) {
		unsigned char byte = *decoder->at;

		if (byte != ' ' && byte != '\n' && byte != '\t' && byte != '\r')
			return byte;
		decoder->at++;
	}
	return -1;
}

/* --- strings */

/* The first byte that is not simply itself in a string, or end. */
static const unsigned char *find_special(const unsigned char *at, const unsigned char *end)
{
	for (int words = 1; end - at >= 8; at += 8, words++) {
		uint64_t special = json_special_bytes(json_load_word(at));

		if (special != 0)
			return at + (__builtin_ctzll(special) >> 3);
		/* Most strings are short. */
		while (words >= SHORT_WORDS && end - at - 8 >= JSON_SPAN && !json_has_special(at + 8, false))
			at += JSON_SPAN;
	}
	while (at < end && !json_is_special(*at))
		at++;
	return at;
}

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xC0) == 0x80;
}

/* Reads the UTF-8 sequence at *at, not ASCII, and moves *at behind it: its code point, or -1 if it is invalid. */
static inline int32_t read_utf8(const unsigned char **at, const unsigned char *end)
{
	const unsigned char *bytes = *at;
	int length = bytes[0] < 0xE0 ? 2 : bytes[0] < 0xF0 ? 3 : 4;
	int32_t code_point;

	if (bytes[0] < 0xC2 || bytes[0] > 0xF4 || end - bytes < length || !is_continuation(bytes[1]))
		return -1;
	code_point = bytes[1] & 0x3F;
	if (length == 2) {
		*at += 2;
		return (bytes[0] & 0x1F) << 6 | code_point;
	}
	if (!is_continuation(bytes[2]))
		return -1;
	code_point = code_point << 6 | (bytes[2] & 0x3F);
	if (length == 3) {
		code_point |= (bytes[0] & 0xF) << 12;
		if (code_point < 0x800 || json_is_surrogate((uint32_t) code_point))
			return -1;
		*at += 3;
		return code_point;
	}
	code_point = (bytes[0] & 0x7) << 18 | code_point << 6 | (bytes[3] & 0x3F);
	if (code_point < 0x10000 || code_point > 0x10FFFF || !is_continuation(bytes[3]))
		return -1;
	*at += 4;
	return code_point;
}

/* Four hexadecimal digits, or -1. */
static int32_t read_hex(const unsigned char *at, const unsigned char *end)
{
	int32_t value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		unsigned char digit = at[i], letter = digit | 0x20;

		if (digit >= '0' && digit <= '9')
			value = value << 4 | (digit - '0');
		else if (letter >= 'a' && letter <= 'f')
			value = value << 4 | (letter - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* Reads what follows \u, and another escape where the two are a surrogate pair: the code point, or -1. */
static int32_t read_unicode_escape(const unsigned char *at, const unsigned char *end, const unsigned char **ret_behind)
{
	int32_t high = read_hex(at, end), low;

	*ret_behind = at + 4;
	if ((high & ~0x3FF) != 0xD800 || end - at < 6 || at[4] != '\\' || at[5] != 'u')
		return high;
	low = read_hex(at + 6, end);
	if ((low & ~0x3FF) != 0xDC00) /* not a low surrogate; or no escape at all, which the next call finds */
		return high;
	*ret_behind = at + 10;
	return 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
}

/* Reads the escape at *at, a backslash, and moves *at behind it: its code point, or -1 if it is invalid. */
static inline int32_t read_escape(const unsigned char **at, const unsigned char *end)
{
	static const char meanings[0x80] = { ['"'] = '"',
		['\\'] = '\\',
		['/'] = '/',
		['b'] = '\b',
		['f'] = '\f',
		['n'] = '\n',
		['r'] = '\r',
		['t'] = '\t' };
	const unsigned char *bytes = *at, *behind;
	int32_t code_point;

	if (end - bytes < 2 || bytes[1] >= sizeof(meanings))
		return -1;
	if (bytes[1] != 'u') {
		if (meanings[bytes[1]] == '\0')
			return -1;
		*at += 2;
		return meanings[bytes[1]];
	}
	code_point = read_unicode_escape(bytes + 2, end, &behind);
	if (code_point >= 0)
		*at = behind;
	return code_point;
}

/* New reference. */
static PyObject *make_ascii(const unsigned char *body, size_t length)
{
	PyObject *text;

	if (length <= 1) /* those that are shared */
		return PyUnicode_DecodeUTF8((const char *) body, (Py_ssize_t) length, NULL);
	text = PyUnicode_New((Py_ssize_t) length, 127);
	if (text != NULL)
		memcpy(PyUnicode_1BYTE_DATA(text), body, length);
	return text;
}

/* What a string becomes. */
struct measure {
	const unsigned char *quote; /* the closing one */
	Py_ssize_t length;          /* in code points */
	uint32_t bits;              /* of any code point */
};

/* Checks the string with this body. -1 with ValueError. */
static int measure_string(const struct decoder *decoder, const unsigned char *body, struct measure *measure)
{
	const unsigned char *at = body, *end = decoder->end;
	Py_ssize_t length = 0;
	uint32_t bits = 0;

	for (;;) {
		const unsigned char *special = find_special(at, end);
		int32_t code_point;

		length += special - at;
		at = special;
		if (at == end || *at < 0x20) {
			fail(decoder, at, "control character in a string");
			return -1;
		}
		if (*at == '"') {
			*measure = (struct measure) { .quote = at, .length = length, .bits = bits };
			return 0;
		}
		do {
			code_point = *at == '\\' ? read_escape(&at, end) : read_utf8(&at, end);
			bits |= (uint32_t) code_point;
			length++;
		} while (code_point >= 0 && at < end && (*at >= 0x80 || *at == '\\'));
		if (code_point < 0) {
			fail(decoder, at, *at == '\\' ? "invalid escape" : "invalid UTF-8");
			return -1;
		}
	}
}

/* As read_utf8, of a sequence that is known to be valid. */
static inline uint32_t read_valid_utf8(const unsigned char **at)
{
	const unsigned char *bytes = *at;

	if (bytes[0] < 0xE0) {
		*at += 2;
		return (bytes[0] & 0x1FU) << 6 | (bytes[1] & 0x3FU);
	}
	if (bytes[0] < 0xF0) {
		*at += 3;
		return (bytes[0] & 0xFU) << 12 | (bytes[1] & 0x3FU) << 6 | (bytes[2] & 0x3FU);
	}
	*at += 4;
	return (bytes[0] & 0x7U) << 18 | (bytes[1] & 0x3FU) << 12 | (bytes[2] & 0x3FU) << 6 | (bytes[3] & 0x3FU);
}

/* Eight characters that are simply themselves. */
static inline __attribute__((always_inline)) void fill_plain(
	int kind, void *data, Py_ssize_t start, const unsigned char *at)
{
	for (Py_ssize_t i = 0; i < 8; i++) /* one instruction or two, when compiled */
		PyUnicode_WRITE(kind, data, start + i, at[i]);
}

/* Writes the string, which measure_string has checked. */
static inline __attribute__((always_inline)) void fill(
	int kind, void *data, const unsigned char *at, const unsigned char *quote)
{
	for (Py_ssize_t i = 0; at < quote; i++) {
		for (; quote - at >= 8 && json_special_bytes(json_load_word(at)) == 0; at += 8, i += 8)
			fill_plain(kind, data, i, at);
		if (at == quote)
			return;
		if (*at >= 0x80)
			PyUnicode_WRITE(kind, data, i, read_valid_utf8(&at));
		else if (*at == '\\')
			PyUnicode_WRITE(kind, data, i, (Py_UCS4) read_escape(&at, quote));
		else
			PyUnicode_WRITE(kind, data, i, *at++);
	}
}

static void fill_text(PyObject *text, const unsigned char *body, const unsigned char *quote)
{
	void *data = PyUnicode_DATA(text); /* Borrowed from text. */

	if (PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND)
		fill(PyUnicode_1BYTE_KIND, data, body, quote);
	else if (PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND)
		fill(PyUnicode_2BYTE_KIND, data, body, quote);
	else
		fill(PyUnicode_4BYTE_KIND, data, body, quote);
}

/* A string that is not ASCII alone, or has escapes. New reference. */
static PyObject *decode_other_string(struct decoder *decoder, const unsigned char *body)
{
	struct measure measure;
	PyObject *text;

	if (measure_string(decoder, body, &measure) < 0)
		return NULL;
	decoder->at = measure.quote + 1;
	if (measure.length == 1) /* those of Latin 1 are shared */
		return PyUnicode_FromOrdinal((int) measure.bits);
	/* Bits above 0x7F, 0xFF and 0xFFFF are there if and only if some code point is. */
	text = PyUnicode_New(measure.length, measure.bits < 0x10000 ? measure.bits : 0x10FFFF);
	if (text == NULL)
		return NULL;
	fill_text(text, body, measure.quote);
	return text;
}

/* With its opening quote read. New reference. */
static PyObject *decode_string(struct decoder *decoder)
{
	const unsigned char *body = decoder->at, *special = find_special(body, decoder->end);

	if (special == decoder->end || *special != '"')
		return decode_other_string(decoder, body);
	decoder->at = special + 1;
	return make_ascii(body, (size_t) (special - body));
}

/* --- objects and arrays */

/* Whether it is the one that a string with this body is. */
static inline bool is_key(const struct memo *memo, const unsigned char *body, size_t length)
{
	return memo->key != NULL && (size_t) PyUnicode_GET_LENGTH(memo->key) == length &&
		(length <= 16 || memcmp(PyUnicode_1BYTE_DATA(memo->key), body, length) == 0);
}

/* As decode_string; a key that the document has had already is the same object, which spares its hash too. */
static PyObject *decode_key(struct decoder *decoder)
{
	const unsigned char *body = decoder->at, *special = find_special(body, decoder->end);
	size_t length = (size_t) (special - body);
	uint64_t first, last;
	struct memo *memo;

	if (special == decoder->end || *special != '"' || length > MEMO_LONGEST)
		return decode_string(decoder);
	decoder->at = special + 1;
	first = length < 8 ? json_load_short(body, length) : json_load_word(body);
	last = length < 8 ? first : json_load_word(special - 8);
	memo = &decoder->memo[(first + 31 * last + length) * 0x9E3779B97F4A7C15ULL >> (64 - MEMO_BITS)];
	if (memo->first != first || memo->last != last || !is_key(memo, body, length)) {
		PyObject *key = make_ascii(body, length); /* New reference, for the memo. */

		if (key == NULL)
			return NULL;
		Py_XSETREF(memo->key, key);
		memo->first = first;
		memo->last = last;
	}
	Py_INCREF(memo->key);
	return memo->key;
}

static int decode_member(struct decoder *decoder, PyObject *dict)
{
	cleanup_pyobject PyObject *key = NULL;
	cleanup_pyobject PyObject *value = NULL;

	if (skip_space(decoder) != '"') {
		fail(decoder, decoder->at, "expected a key in quotes");
		return -1;
	}
	decoder->at++;
	key = decode_key(decoder); /* New reference. */
	if (key == NULL)
		return -1;
	if (skip_space(decoder) != ':') {
		fail(decoder, decoder->at, "expected ':'");
		return -1;
	}
	decoder->at++;
	value = decode_value(decoder); /* New reference. */
	return value != NULL ? PyDict_SetItem(dict, key, value) : -1;
}

/* With its brace read. New reference. */
static PyObject *decode_object(struct decoder *decoder)
{
	cleanup_pyobject PyObject *dict = PyDict_New(); /* New reference. */

	if (dict == NULL)
		return NULL;
	if (skip_space(decoder) == '}') {
		decoder->at++;
		return steal_ptr(&dict);
	}
	for (;;) {
		int byte;

		if (decode_member(decoder, dict) < 0)
			return NULL;
		byte = skip_space(decoder);
		if (byte != ',' && byte != '}')
			return fail(decoder, decoder->at, "expected ',' or '}'");
		decoder->at++;
		if (byte == '}')
			return steal_ptr(&dict);
	}
}

/* With its bracket read. New reference. */
static PyObject *decode_array(struct decoder *decoder)
{
	cleanup_pyobject PyObject *list = PyList_New(0); /* New reference. */

	if (list == NULL)
		return NULL;
	if (skip_space(decoder) == ']') {
		decoder->at++;
		return steal_ptr(&list);
	}
	for (;;) {
		cleanup_pyobject PyObject *item = decode_value(decoder); /* New reference. */
		int byte;

		if (item == NULL || PyList_Append(list, item) < 0)
			return NULL;
		byte = skip_space(decoder);
		if (byte != ',' && byte != ']')
			return fail(decoder, decoder->at, "expected ',' or ']'");
		decoder->at++;
		if (byte == ']')
			return steal_ptr(&list);
	}
}

static PyObject *decode_container(struct decoder *decoder)
{
	PyObject *container;

	if (decoder->depth == JSON_MAX_DEPTH)
		return PyErr_Format(PyExc_ValueError, "it is nested too deeply, more than %d levels", JSON_MAX_DEPTH);
	decoder->depth++;
	container = *decoder->at++ == '{' ? decode_object(decoder) : decode_array(decoder); /* New reference. */
	decoder->depth--;
	return container;
}

/* --- numbers */

struct number {
	uint64_t digits; /* all of them as an integer */
	int exponent;    /* of ten, to multiply it with */
	bool negative, is_float;
	bool exact; /* else there are more digits than fit */
};

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

/* Reads digits, at least one; returns how many, 0 with ValueError. */
static Py_ssize_t scan_digits(struct decoder *decoder, struct number *number)
{
	const unsigned char *start = decoder->at;

	for (; is_digit(peek(decoder)); decoder->at++) {
		if (number->digits >= json_powers_of_ten[JSON_LAST_POWER - 1])
			number->exact = false;
		else
			number->digits = number->digits * 10 + (uint64_t) (*decoder->at - '0');
	}
	if (decoder->at == start)
		fail(decoder, start, "expected a digit");
	return decoder->at - start;
}

static int scan_exponent(struct decoder *decoder, struct number *number)
{
	struct number exponent = { .exact = true };
	int sign;

	decoder->at++;
	sign = peek(decoder);
	if (sign == '-' || sign == '+')
		decoder->at++;
	if (scan_digits(decoder, &exponent) == 0)
		return -1;
	if (!exponent.exact || exponent.digits > 1000)
		number->exact = false;
	else
		number->exponent += sign == '-' ? -(int) exponent.digits : (int) exponent.digits;
	return 0;
}

/* Reads a number by the grammar of RFC 8259, 6. -1 with ValueError. */
static int scan_number(struct decoder *decoder, struct number *number)
{
	*number = (struct number) { .exact = true, .negative = peek(decoder) == '-' };
	if (number->negative)
		decoder->at++;
	if (peek(decoder) == '0')
		decoder->at++; /* no digit can follow: what reads on finds it there */
	else if (scan_digits(decoder, number) == 0)
		return -1;
	if (peek(decoder) == '.') {
		Py_ssize_t places;

		decoder->at++;
		places = scan_digits(decoder, number);
		if (places == 0)
			return -1;
		number->is_float = true;
		if (places > 1000)
			number->exact = false;
		else
			number->exponent = -(int) places;
	}
	if ((peek(decoder) | 0x20) == 'e') {
		number->is_float = true;
		return scan_exponent(decoder, number);
	}
	return 0;
}

/*
 * digits / 10^places, correctly rounded, for digits > 0: the quotient of the integers to at least 64 bits, of
 * which the lowest that are kept also say whether anything but zeros was cut off. So the conversion rounds as
 * if it had all of them.
 */
static double divide(uint64_t digits, int places)
{
	int shift = 64 + __builtin_clzll(digits);
	unsigned __int128 dividend = (unsigned __int128) digits << shift;
	unsigned __int128 quotient = dividend / json_powers_of_ten[places];
	uint64_t high = (uint64_t) (quotient >> 64);
	int surplus = 1 + (high != 0 ? 64 - __builtin_clzll(high) : 0);
	uint64_t kept = (uint64_t) (quotient >> surplus);
	bool cut = (unsigned __int128) kept << surplus != quotient || quotient * json_powers_of_ten[places] != dividend;

	return ldexp((double) (int64_t) (kept | cut), surplus - shift);
}

/* The number as a float, correctly rounded; false if that takes more than this knows. */
static bool make_double(const struct number *number, double *ret_value)
{
	double value;

	if (!number->exact || number->exponent < -JSON_LAST_POWER || number->exponent > JSON_LAST_POWER)
		return false;
	if (number->digits <= 1ULL << DBL_MANT_DIG && number->exponent >= 0) /* both exact, so rounded once */
		value = (double) number->digits * (double) json_powers_of_ten[number->exponent];
	else if (number->digits <= 1ULL << DBL_MANT_DIG)
		value = (double) number->digits / (double) json_powers_of_ten[-number->exponent];
	else if (number->exponent < 0)
		value = divide(number->digits, -number->exponent);
	else
		return false;
	*ret_value = number->negative ? -value : value;
	return true;
}

/* By the interpreter's own functions, which want a NUL behind it. New reference. */
static PyObject *convert_number(const struct decoder *decoder, const unsigned char *start, bool is_float)
{
	size_t length = (size_t) (decoder->at - start);
	cleanup_free char *copy = malloc(length + 1);
	double value;

	if (copy == NULL)
		return PyErr_NoMemory();
	memcpy(copy, start, length);
	copy[length] = '\0';
	if (!is_float)
		return PyLong_FromString(copy, NULL, 10);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
	value = PyOS_string_to_double(copy, NULL, NULL);
	return PyErr_Occurred() == NULL ? PyFloat_FromDouble(value) : NULL;
}

/* New reference. */
static PyObject *decode_number(struct decoder *decoder)
{
	const unsigned char *start = decoder->at;
	struct number number;
	double value;

	if (scan_number(decoder, &number) < 0)
		return NULL;
	if (number.is_float && make_double(&number, &value))
		return PyFloat_FromDouble(value);
	if (!number.is_float && number.exact && number.digits <= INT64_MAX)
		return PyLong_FromLongLong(number.negative ? -(int64_t) number.digits : (int64_t) number.digits);
	return convert_number(decoder, start, number.is_float);
}

/* --- values */

/* New reference. */
static PyObject *decode_literal(struct decoder *decoder, const char *literal, PyObject *value)
{
	size_t length = strlen(literal);

	if ((size_t) (decoder->end - decoder->at) < length || memcmp(decoder->at, literal, length) != 0)
		return fail(decoder, decoder->at, "unexpected character");
	decoder->at += length;
	Py_INCREF(value);
	return value;
}

/* New reference. */
static PyObject *decode_value(struct decoder *decoder)
{
	int byte = skip_space(decoder);

	switch (byte) {
	case '"':
		decoder->at++;
		return decode_string(decoder);
	case '{':
	case '[':
		return decode_container(decoder);
	case 't':
		return decode_literal(decoder, "true", Py_True);
	case 'f':
		return decode_literal(decoder, "false", Py_False);
	case 'n':
		return decode_literal(decoder, "null", Py_None);
	default:
		if (byte == '-' || is_digit(byte))
			return decode_number(decoder);
		return fail(decoder, decoder->at, "unexpected character");
	}
}

static void decoder_clearp(struct decoder *decoder)
{
	py_resume_gc(decoder->collecting);
	for (size_t i = 0; i < ARRAY_SIZE(decoder->memo); i++)
		Py_CLEAR(decoder->memo[i].key);
}

PyObject *json_decode(const char *text, size_t length)
{
	__attribute__((cleanup(decoder_clearp))) struct decoder decoder = {
		.text = (const unsigned char *) text,
		.at = (const unsigned char *) text,
		.end = (const unsigned char *) text + length,
		.collecting = py_pause_gc(),
	};
	cleanup_pyobject PyObject *value = NULL;

	if (skip_space(&decoder) < 0) {
		PyErr_SetString(PyExc_ValueError, "the text is empty");
		return NULL;
	}
	value = decode_value(&decoder); /* New reference. */
	if (value != NULL && skip_space(&decoder) >= 0)
		return fail(&decoder, decoder.at, "something follows the JSON");
	return steal_ptr(&value);
}
