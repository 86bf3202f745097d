#include "json_encode.h"

#include "json_text.h"

#include <math.h>

enum {
	FIRST_CAPACITY = 512,
	WORD = 8,           /* bytes of an ASCII string that are written at a time */
	CHUNK = 4096,       /* characters of any string that are */
	LONGEST_ESCAPE = 6, /* bytes that a character can become: \u001f */
	LONGEST_PAIR = 12,  /* and one beyond U+FFFF: a surrogate pair */
	LONGEST_NUMBER = 32,
	EXACT_DIGITS = 15, /* of a decimal that a double keeps: DBL_DIG */
	MORE_DIGITS = 17,  /* that tell any two doubles apart */
	KEY_TEXT_MAX = 32,
	KNOWN_BITS = 6,
	KNOWN_AFTER = 4096, /* bytes of text, in which few keys come twice */
	CHECK_EVERY = 16,   /* levels between two looks for a circle */
};

/* What a key becomes, with its quotes, colon and blank: a list of records has the same ones again and again. */
struct known_key {
	PyObject *key; /* owned: no other can be at its address */
	unsigned char length;
	unsigned char text[KEY_TEXT_MAX];
};

struct encoder {
	PyObject *bytes; /* owned; longer than what is used of it */
	unsigned char *data;
	size_t used, capacity;
	unsigned style;               /* enum json_style */
	struct known_key *known_keys; /* 1 << KNOWN_BITS of them; NULL as long as the text is short */
};

/* The containers around a value, on the stack of the calls. */
struct level {
	const struct level *up;
	PyObject *container; /* Borrowed from the caller. */
	int depth;
};

static int encode_value(struct encoder *encoder, PyObject *value, const struct level *up);

/* --- the bytes */

static int grow(struct encoder *encoder, size_t count)
{
	size_t capacity = encoder->capacity;

	while (count > capacity - encoder->used)
		capacity = capacity == 0 ? FIRST_CAPACITY : 2 * capacity;
	if (encoder->bytes == NULL)
		encoder->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t) capacity); /* New reference. */
	else
		(void) _PyBytes_Resize(&encoder->bytes, (Py_ssize_t) capacity); /* NULL when it fails */
	if (encoder->bytes == NULL)
		return -1;
	encoder->data = (unsigned char *) PyBytes_AS_STRING(encoder->bytes);
	encoder->capacity = capacity;
	return 0;
}

/* Makes room for that many more bytes; -1 with MemoryError. */
static inline int reserve(struct encoder *encoder, size_t count)
{
	return count <= encoder->capacity - encoder->used ? 0 : grow(encoder, count);
}

static inline int put(struct encoder *encoder, const char *text, size_t length)
{
	if (reserve(encoder, length) < 0)
		return -1;
	memcpy(encoder->data + encoder->used, text, length);
	encoder->used += length;
	return 0;
}

static inline int put_byte(struct encoder *encoder, unsigned char byte)
{
	if (reserve(encoder, 1) < 0)
		return -1;
	encoder->data[encoder->used++] = byte;
	return 0;
}

/* --- strings */

static unsigned char *put_escape(unsigned char *to, unsigned char byte)
{
	static const unsigned char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};
	unsigned char letter = byte < 0x20 ? letters[byte] : byte;

	*to++ = '\\';
	if (letter != 0) {
		*to++ = letter;
		return to;
	}
	*to++ = 'u';
	*to++ = '0';
	*to++ = '0';
	*to++ = (unsigned char) "01"[byte >> 4];
	*to++ = (unsigned char) "0123456789abcdef"[byte & 0xF];
	return to;
}

/* \uXXXX of a code unit of UTF-16. */
static unsigned char *put_unit(unsigned char *to, uint32_t unit)
{
	*to++ = '\\';
	*to++ = 'u';
	for (int shift = 12; shift >= 0; shift -= 4)
		*to++ = (unsigned char) "0123456789abcdef"[unit >> shift & 0xF];
	return to;
}

static unsigned char *put_units(unsigned char *to, uint32_t code_point)
{
	if (code_point < 0x10000)
		return put_unit(to, code_point);
	code_point -= 0x10000;
	to = put_unit(to, 0xD800 | code_point >> 10);
	return put_unit(to, 0xDC00 | (code_point & 0x3FF));
}

/* U+007F is escaped too where all but ASCII is: that is how json and simplejson have it. */
static inline unsigned char *put_character(unsigned char *to, uint32_t code_point, bool ascii)
{
	if (ascii && code_point >= 0x7F)
		return put_units(to, code_point);
	if (code_point >= 0x80)
		return json_put_utf8(to, code_point);
	if (json_is_special((unsigned char) code_point))
		return put_escape(to, (unsigned char) code_point);
	*to++ = (unsigned char) code_point;
	return to;
}

static inline uint64_t find_special(uint64_t word, bool ascii)
{
	uint64_t del = (word ^ JSON_EACH_BYTE(0x7F)) - JSON_EACH_BYTE(1);

	return json_special_bytes(word) | (ascii ? del & JSON_EACH_BYTE(0x80) : 0);
}

/* Characters up to U+00FF, most of them ASCII. to has LONGEST_ESCAPE bytes for each, and WORD. */
static inline __attribute__((always_inline)) unsigned char *put_narrow(
	unsigned char *to, const unsigned char *from, size_t count, bool ascii)
{
	const unsigned char *end = from + count;

	while (from < end) {
		size_t left = (size_t) (end - from), plain = left < WORD ? left : WORD;
		uint64_t word = left < WORD ? json_load_short(from, left) : json_load_word(from);
		uint64_t special = find_special(word, ascii);

		if (special != 0)
			plain = (size_t) __builtin_ctzll(special) >> 3;
		json_store_word(to, word); /* those behind the plain ones are written over */
		to += plain;
		from += plain;
		for (; special == 0 && end - from >= JSON_SPAN && !json_has_special(from, ascii); to += JSON_SPAN) {
			memcpy(to, from, JSON_SPAN);
			from += JSON_SPAN;
		}
		while (from < end && (json_is_special(*from) || (ascii && *from == 0x7F)))
			to = put_character(to, *from++, ascii);
	}
	return to;
}

/* Characters of two or four bytes each; NULL if one is a surrogate, which UTF-8 has not. */
static inline __attribute__((always_inline)) unsigned char *put_wide(
	unsigned char *to, int kind, const void *data, Py_ssize_t start, size_t count, bool ascii)
{
	Py_ssize_t end = start + (Py_ssize_t) count;

	for (Py_ssize_t i = start; i < end;) {
		uint32_t code_point;

		if (kind == PyUnicode_2BYTE_KIND && end - i >= WORD &&
			!json_has_wide_special((const uint16_t *) data + i, ascii)) {
			for (int j = 0; j < WORD; j++)
				*to++ = (unsigned char) ((const uint16_t *) data)[i++];
			continue;
		}
		code_point = PyUnicode_READ(kind, data, i++);
		if (!ascii && json_is_surrogate(code_point))
			return NULL;
		to = put_character(to, code_point, ascii);
	}
	return to;
}

static inline __attribute__((always_inline)) unsigned char *put_chunk(
	unsigned char *to, int kind, const void *data, Py_ssize_t start, size_t count, bool ascii)
{
	if (kind == PyUnicode_1BYTE_KIND)
		return put_narrow(to, (const unsigned char *) data + start, count, ascii);
	if (kind == PyUnicode_2BYTE_KIND)
		return put_wide(to, PyUnicode_2BYTE_KIND, data, start, count, ascii);
	return put_wide(to, PyUnicode_4BYTE_KIND, data, start, count, ascii);
}

/* Writes characters of text, CHUNK at most, and leaves room for two bytes more. */
static int put_characters(struct encoder *encoder, PyObject *text, Py_ssize_t start, size_t count)
{
	int kind = (int) PyUnicode_KIND(text);
	const void *data = PyUnicode_DATA(text); /* Borrowed from text. */
	size_t longest = kind == PyUnicode_4BYTE_KIND ? LONGEST_PAIR : LONGEST_ESCAPE;
	unsigned char *end;

	if (reserve(encoder, count * longest + WORD + 2) < 0)
		return -1;
	if ((encoder->style & JSON_ASCII) != 0)
		end = put_chunk(encoder->data + encoder->used, kind, data, start, count, true);
	else
		end = put_chunk(encoder->data + encoder->used, kind, data, start, count, false);
	if (end == NULL) {
		PyErr_SetString(PyExc_ValueError, "a string has a lone surrogate");
		return -1;
	}
	encoder->used = (size_t) (end - encoder->data);
	return 0;
}

static int encode_string(struct encoder *encoder, PyObject *text)
{
	Py_ssize_t length, start = 0;

	if (py_ready_text(text) < 0 || put_byte(encoder, '"') < 0)
		return -1;
	length = PyUnicode_GET_LENGTH(text);
	/* Most of what it takes, at once: growing copies what is there. */
	if (length > CHUNK && reserve(encoder, (size_t) length + (size_t) CHUNK * LONGEST_PAIR) < 0)
		return -1;
	do {
		size_t count = length - start < CHUNK ? (size_t) (length - start) : CHUNK;

		if (put_characters(encoder, text, start, count) < 0)
			return -1;
		start += (Py_ssize_t) count;
	} while (start < length);
	encoder->data[encoder->used++] = '"';
	return 0;
}

/* --- what is encoded at all */

static int refuse(PyObject *value)
{
	PyErr_Format(PyExc_TypeError, "a value is of type %.100s", Py_TYPE(value)->tp_name);
	return -1;
}

/*
 * Whether value, of a type that JSON has, is one that simplejson encodes as this does: it asks subclasses of dict,
 * list and tuple for their _asdict(), and those of int and float for the number that they stand for.
 */
static bool is_plain(PyObject *value)
{
	PyTypeObject *type = Py_TYPE(value);

	if (PyLong_Check(value))
		return type->tp_as_number->nb_int == PyLong_Type.tp_as_number->nb_int;
	if (PyFloat_Check(value))
		return type->tp_as_number->nb_float == PyFloat_Type.tp_as_number->nb_float;
	return type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type;
}

/* 0, or -1 with TypeError if the style does not allow it. */
static inline int check_style(const struct encoder *encoder, PyObject *value)
{
	return (encoder->style & JSON_PLAIN) == 0 || is_plain(value) ? 0 : refuse(value);
}

/* --- numbers and constants */

/* At least width digits, with leading zeros; returns where they end. */
static unsigned char *put_digits(unsigned char *to, uint64_t value, int width)
{
	unsigned char digits[20];
	int count = 0;

	do {
		digits[count++] = (unsigned char) ('0' + value % 10);
		value /= 10;
	} while (value > 0 || count < width);
	while (count > 0)
		*to++ = digits[--count];
	return to;
}

/* What the type's own repr says; of a subclass that has another one too, as json does. */
static int put_repr(struct encoder *encoder, PyObject *value, reprfunc repr)
{
	cleanup_pyobject PyObject *text = repr(value); /* New reference. */
	Py_ssize_t length;
	const char *utf8 = text != NULL ? PyUnicode_AsUTF8AndSize(text, &length) : NULL; /* Borrowed from text. */

	return utf8 != NULL ? put(encoder, utf8, (size_t) length) : -1;
}

static int encode_integer(struct encoder *encoder, PyObject *value)
{
	int overflow;
	long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
	unsigned char *to;

	if (check_style(encoder, value) < 0)
		return -1;
	if (overflow != 0)
		return put_repr(encoder, value, PyLong_Type.tp_repr);
	if (reserve(encoder, LONGEST_NUMBER) < 0)
		return -1;
	to = encoder->data + encoder->used;
	if (number < 0)
		*to++ = '-';
	to = put_digits(to, number < 0 ? -(unsigned long long) number : (unsigned long long) number, 1);
	encoder->used = (size_t) (to - encoder->data);
	return 0;
}

/* Shortens a fraction by its zeros at the end, but for its first digit. The divisors are known to the compiler. */
static void drop_zeros(uint64_t *digits, int *places)
{
	if (*places > 8 && *digits % 100000000 == 0) {
		*digits /= 100000000;
		*places -= 8;
	}
	if (*places > 4 && *digits % 10000 == 0) {
		*digits /= 10000;
		*places -= 4;
	}
	if (*places > 2 && *digits % 100 == 0) {
		*digits /= 100;
		*places -= 2;
	}
	if (*places > 1 && *digits % 10 == 0) {
		*digits /= 10;
		*places -= 1;
	}
}

/* How many decimal places of size, 1e-3 to 1e14, make an integer of EXACT_DIGITS digits. */
static int find_places(double size)
{
	int places = EXACT_DIGITS;

	if (size < 0.1)
		return size < 0.01 ? EXACT_DIGITS + 2 : EXACT_DIGITS + 1;
	while (size >= (double) json_powers_of_ten[EXACT_DIGITS - places])
		places--;
	return places;
}

/*
 * The shortest decimal that reads back as size, as digits / 10^places, for one that takes MORE_DIGITS digits or one
 * less; 0 where this does not decide. The fraction size * 10^places is product / 2^shift, exactly; what reads back
 * as size lies less than half of 10^places away from product.
 */
static uint64_t find_long_digits(double size, int places)
{
	uint64_t bits, mantissa, digits, tens;
	unsigned __int128 product, unit, rest;
	int shift;

	memcpy(&bits, &size, sizeof(bits));
	mantissa = bits & ((1ULL << 52) - 1);
	if (mantissa == 0) /* the float below is half as far away as the one above */
		return 0;
	product = (unsigned __int128) (mantissa | 1ULL << 52) * json_powers_of_ten[places];
	shift = 1075 - (int) (bits >> 52);
	unit = (unsigned __int128) 1 << shift;
	digits = (uint64_t) (product >> shift);
	tens = digits / 10 * 10;
	rest = product - tens * unit;
	if (rest > 5 * unit) {
		tens += 10;
		rest = 10 * unit - rest;
	}
	if (rest == 5 * unit || 2 * rest == json_powers_of_ten[places])
		return 0;
	if (2 * rest < json_powers_of_ten[places])
		return tens;
	rest = product - digits * unit;
	if (2 * rest == unit)
		return 0;
	return 2 * rest > unit ? digits + 1 : digits;
}

/*
 * Writes value as repr does, for sizes that most numbers have; else returns NULL. Two decimals of EXACT_DIGITS
 * digits are never the same double: if the nearest one reads back as value, which one division of exact numbers
 * decides, it is the shortest that does.
 */
static unsigned char *put_float(unsigned char *to, double value)
{
	double size = fabs(value);
	uint64_t digits;
	int places;

	if (!(size >= 1e-3 && size < 1e14))
		return NULL;
	places = find_places(size);
	digits = (uint64_t) (size * (double) json_powers_of_ten[places] + 0.5);
	if ((double) digits / (double) json_powers_of_ten[places] != size) {
		places += MORE_DIGITS - EXACT_DIGITS;
		digits = find_long_digits(size, places);
		if (digits == 0)
			return NULL;
	}
	drop_zeros(&digits, &places);
	if (value < 0)
		*to++ = '-';
	to = put_digits(to, digits / json_powers_of_ten[places], 1);
	*to++ = '.';
	return put_digits(to, digits % json_powers_of_ten[places], places);
}

static int encode_float(struct encoder *encoder, PyObject *value)
{
	double number = PyFloat_AS_DOUBLE(value);
	unsigned char *end;

	if (check_style(encoder, value) < 0)
		return -1;
	if (!isfinite(number)) {
		PyErr_SetString(PyExc_ValueError, "JSON has no NaN and no infinity");
		return -1;
	}
	if (reserve(encoder, LONGEST_NUMBER) < 0)
		return -1;
	end = put_float(encoder->data + encoder->used, number);
	if (end == NULL)
		return put_repr(encoder, value, PyFloat_Type.tp_repr);
	encoder->used = (size_t) (end - encoder->data);
	return 0;
}

/* None, True and False: 1 when value is one of them, 0 when not, or -1. */
static int encode_constant(struct encoder *encoder, PyObject *value)
{
	const char *text = value == Py_None ? "null" : value == Py_True ? "true" : value == Py_False ? "false" : NULL;

	if (text == NULL)
		return 0;
	return put(encoder, text, strlen(text)) < 0 ? -1 : 1;
}

/* --- objects and arrays */

/* A key that is no string: the JSON text of its value, in quotes. */
static int encode_other_key(struct encoder *encoder, PyObject *key)
{
	int r;

	if (put_byte(encoder, '"') < 0)
		return -1;
	r = encode_constant(encoder, key);
	if (r < 0)
		return -1;
	if (r == 0 && PyFloat_Check(key)) {
		r = encode_float(encoder, key);
	} else if (r == 0 && PyLong_Check(key)) {
		r = encode_integer(encoder, key);
	} else if (r == 0) {
		PyErr_Format(PyExc_TypeError, "a dict has a key of type %.100s", Py_TYPE(key)->tp_name);
		return -1;
	}
	return r < 0 ? -1 : put_byte(encoder, '"');
}

/* Where key is kept, if it is. NULL without memory, too. */
static struct known_key *find_known(struct encoder *encoder, const PyObject *key)
{
	uint64_t address = (uintptr_t) key;

	if (encoder->known_keys == NULL && encoder->used > KNOWN_AFTER)
		encoder->known_keys = PyMem_Calloc(1 << KNOWN_BITS, sizeof(*encoder->known_keys));
	if (encoder->known_keys == NULL)
		return NULL;
	return &encoder->known_keys[address / 16 * 0x9E3779B97F4A7C15ULL >> (64 - KNOWN_BITS)];
}

static void remember_key(struct known_key *known, PyObject *key, const unsigned char *text, size_t length)
{
	if (length > sizeof(known->text))
		return;
	Py_INCREF(key);
	Py_XSETREF(known->key, key);
	known->length = (unsigned char) length;
	memcpy(known->text, text, length);
}

/* A key with its colon. */
static int encode_key(struct encoder *encoder, PyObject *key)
{
	struct known_key *known = PyUnicode_CheckExact(key) ? find_known(encoder, key) : NULL;
	size_t start = encoder->used;

	if (known != NULL && known->key == key) {
		if (reserve(encoder, KEY_TEXT_MAX) < 0)
			return -1;
		memcpy(encoder->data + start, known->text, KEY_TEXT_MAX); /* what is behind it is written over */
		encoder->used += known->length;
		return 0;
	}
	if ((PyUnicode_Check(key) ? encode_string(encoder, key) : encode_other_key(encoder, key)) < 0 ||
		put(encoder, ": ", 2) < 0)
		return -1;
	if (known != NULL)
		remember_key(known, key, encoder->data + start, encoder->used - start);
	return 0;
}

static int encode_member(struct encoder *encoder, PyObject *key, PyObject *value, const struct level *level)
{
	if (encoder->data[encoder->used - 1] != '{' && put(encoder, ", ", 2) < 0)
		return -1;
	return encode_key(encoder, key) < 0 ? -1 : encode_value(encoder, value, level);
}

static int encode_dict(struct encoder *encoder, PyObject *dict, const struct level *level)
{
	Py_ssize_t position = 0, size = PyDict_GET_SIZE(dict);
	PyObject *next_key, *next_value; /* Borrowed from dict, which methods of a value's class may change. */

	while (PyDict_Next(dict, &position, &next_key, &next_value)) {
		cleanup_pyobject PyObject *key = next_key;
		cleanup_pyobject PyObject *value = next_value;

		Py_INCREF(key);
		Py_INCREF(value);
		if (encode_member(encoder, key, value, level) < 0)
			return -1;
		if (PyDict_GET_SIZE(dict) != size) {
			PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
			return -1;
		}
	}
	return 0;
}

/* Of a subclass, what its items() says. */
static int encode_mapping(struct encoder *encoder, PyObject *mapping, const struct level *level)
{
	cleanup_pyobject PyObject *items = PyMapping_Items(mapping); /* New reference to a list. */

	if (items == NULL)
		return -1;
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
		cleanup_pyobject PyObject *item = PyList_GET_ITEM(items, i); /* Borrowed from items; made ours. */

		Py_INCREF(item);
		if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
			PyErr_SetString(PyExc_ValueError, "items must return 2-tuples");
			return -1;
		}
		if (encode_member(encoder, PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1), level) < 0)
			return -1;
	}
	return 0;
}

/* New reference, or NULL without an exception behind the end, which methods of an item's class may have moved. */
static PyObject *item_of(PyObject *items, Py_ssize_t index)
{
	PyObject *item;

	if (index >= PySequence_Fast_GET_SIZE(items))
		return NULL;
	item = PySequence_Fast_GET_ITEM(items, index); /* Borrowed from items. */
	Py_INCREF(item);
	return item;
}

/* A list or tuple; of a subclass, what iterating over it gives. */
static int encode_sequence(struct encoder *encoder, PyObject *sequence, const struct level *level)
{
	cleanup_pyobject PyObject *items = PySequence_Fast(sequence, "not iterable"); /* New reference. */

	if (items == NULL)
		return -1;
	for (Py_ssize_t i = 0;; i++) {
		cleanup_pyobject PyObject *item = item_of(items, i); /* New reference. */

		if (item == NULL)
			return 0;
		if ((i > 0 && put(encoder, ", ", 2) < 0) || encode_value(encoder, item, level) < 0)
			return -1;
	}
}

/*
 * Refuses what is nested too deeply, and a circle well before, lest it is written thousands of times. Looking
 * on every CHECK_EVERY-th level alone finds it at most that many, and its own number of, levels later.
 */
static int check_level(const struct level *level)
{
	if (level->depth % CHECK_EVERY == 0) {
		for (const struct level *outer = level->up; outer != NULL; outer = outer->up) {
			if (outer->container == level->container) {
				PyErr_SetString(PyExc_ValueError, "circular reference");
				return -1;
			}
		}
	}
	if (level->depth <= JSON_MAX_DEPTH)
		return 0;
	PyErr_Format(PyExc_RecursionError, "it is nested too deeply, more than %d levels", JSON_MAX_DEPTH);
	return -1;
}

static int encode_container(struct encoder *encoder, PyObject *value, const struct level *up)
{
	struct level level = { .up = up, .container = value, .depth = up != NULL ? up->depth + 1 : 1 };
	bool is_dict = PyDict_Check(value);
	int r;

	if (check_style(encoder, value) < 0 || check_level(&level) < 0 || put_byte(encoder, is_dict ? '{' : '[') < 0)
		return -1;
	if (!is_dict)
		r = encode_sequence(encoder, value, &level);
	else if (PyDict_CheckExact(value))
		r = encode_dict(encoder, value, &level);
	else
		/* An empty one is not asked for its items: json does not either. */
		r = PyDict_GET_SIZE(value) > 0 ? encode_mapping(encoder, value, &level) : 0;
	return r < 0 ? -1 : put_byte(encoder, is_dict ? '}' : ']');
}

static int encode_value(struct encoder *encoder, PyObject *value, const struct level *up)
{
	int r;

	if (PyUnicode_Check(value))
		return encode_string(encoder, value);
	r = encode_constant(encoder, value);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (PyLong_Check(value))
		return encode_integer(encoder, value);
	if (PyFloat_Check(value))
		return encode_float(encoder, value);
	if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value))
		return encode_container(encoder, value, up);
	return refuse(value);
}

static void encoder_clearp(struct encoder *encoder)
{
	for (size_t i = 0; encoder->known_keys != NULL && i < 1 << KNOWN_BITS; i++)
		Py_XDECREF(encoder->known_keys[i].key);
	PyMem_Free(encoder->known_keys);
	Py_CLEAR(encoder->bytes);
}

PyObject *json_encode(PyObject *value, unsigned style)
{
	__attribute__((cleanup(encoder_clearp))) struct encoder encoder = { .bytes = NULL, .style = style };

	if (encode_value(&encoder, value, NULL) < 0)
		return NULL;
	/* Gives back what was not needed. NULL when it fails. */
	(void) _PyBytes_Resize(&encoder.bytes, (Py_ssize_t) encoder.used);
	return steal_ptr(&encoder.bytes);
}
