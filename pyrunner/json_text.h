/* What both directions of the JSON codec know about text. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Arrays and objects in each other, in both directions. More than any use of JSON has, and with the C stack
 * of the process, 8 MB where nobody has set it, far from its end. */
enum { JSON_MAX_DEPTH = 5000 };

/* Up to the last one that 64 bits hold; all are exact as double too. */
enum { JSON_LAST_POWER = 19 };
static const uint64_t json_powers_of_ten[JSON_LAST_POWER + 1] = { 1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL,
	1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL, 10000000000ULL, 100000000000ULL, 1000000000000ULL,
	10000000000000ULL, 100000000000000ULL, 1000000000000000ULL, 10000000000000000ULL, 100000000000000000ULL,
	1000000000000000000ULL, 10000000000000000000ULL };

#define JSON_EACH_BYTE(value) (0x0101010101010101ULL * (value))

/* The byte at text is the lowest one. */
static inline uint64_t json_load_word(const unsigned char *text)
{
	uint64_t word;

	memcpy(&word, text, sizeof(word));
	return le64toh(word);
}

/*
 * Nonzero if one of the word's bytes is a quote, a backslash, a control character or no ASCII: those a string
 * cannot simply hold. The lowest bit that is set is in the first of them; the others say nothing, since the
 * subtractions borrow from the bytes above.
 */
static inline uint64_t json_special_bytes(uint64_t word)
{
	uint64_t control = word - JSON_EACH_BYTE(0x20);
	uint64_t quote = (word ^ JSON_EACH_BYTE('"')) - JSON_EACH_BYTE(1);
	uint64_t backslash = (word ^ JSON_EACH_BYTE('\\')) - JSON_EACH_BYTE(1);

	return (word | control | quote | backslash) & JSON_EACH_BYTE(0x80);
}

static inline bool json_is_special(unsigned char byte)
{
	return byte < 0x20 || byte == '"' || byte == '\\' || byte >= 0x80;
}

static inline bool json_is_surrogate(uint32_t code_point)
{
	return code_point >= 0xD800 && code_point <= 0xDFFF;
}

/* Writes a code point as UTF-8, up to 4 bytes, surrogates by the same scheme; returns where it ends. */
static inline unsigned char *json_put_utf8(unsigned char *to, uint32_t code_point)
{
	if (code_point < 0x80) {
		*to++ = (unsigned char) code_point;
		return to;
	}
	if (code_point < 0x800) {
		*to++ = (unsigned char) (0xC0 | code_point >> 6);
	} else {
		if (code_point < 0x10000) {
			*to++ = (unsigned char) (0xE0 | code_point >> 12);
		} else {
			*to++ = (unsigned char) (0xF0 | code_point >> 18);
			*to++ = (unsigned char) (0x80 | (code_point >> 12 & 0x3F));
		}
		*to++ = (unsigned char) (0x80 | (code_point >> 6 & 0x3F));
	}
	*to++ = (unsigned char) (0x80 | (code_point & 0x3F));
	return to;
}
