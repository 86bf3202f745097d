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

static inline void json_store_word(unsigned char *to, uint64_t word)
{
	word = htole64(word);
	memcpy(to, &word, sizeof(word));
}

/* As json_load_word(), of 1 to 7 bytes; those that are missing are ASCII letters. */
static inline uint64_t json_load_short(const unsigned char *text, size_t length)
{
	uint64_t word = JSON_EACH_BYTE('x') << 8 * length;
	uint32_t low, high;

	if (length < 4) {
		for (size_t i = 0; i < length; i++)
			word |= (uint64_t) text[i] << 8 * i;
		return word;
	}
	/* They overlap in the same bytes. */
	memcpy(&low, text, sizeof(low));
	memcpy(&high, text + length - 4, sizeof(high));
	return word | le32toh(low) | (uint64_t) le32toh(high) << 8 * (length - 4);
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

/* 16 bytes at a time, by the compiler's vectors: whatever the processor has for them. */
typedef unsigned char json_block __attribute__((vector_size(16)));
typedef signed char json_signed_block __attribute__((vector_size(16)));
typedef uint16_t json_wide_block __attribute__((vector_size(16)));

enum { JSON_SPAN = 32 };

static inline bool json_any(json_block mask)
{
	uint64_t halves[2];

	memcpy(halves, &mask, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}

/* Whether one of the JSON_SPAN bytes at text is special, or U+007F where that counts too. */
static inline bool json_has_special(const unsigned char *text, bool del)
{
	json_block blocks[2], found = { 0 };

	memcpy(blocks, text, sizeof(blocks));
	for (int i = 0; i < 2; i++) {
		/* As signed ones, those of no ASCII are less than the control characters. */
		found |= (json_block) ((json_signed_block) blocks[i] < 0x20);
		found |= (json_block) (blocks[i] == '"') | (json_block) (blocks[i] == '\\');
		if (del)
			found |= (json_block) (blocks[i] == 0x7F);
	}
	return json_any(found);
}

/* Likewise of 8 characters of two bytes each. */
static inline bool json_has_wide_special(const uint16_t *text, bool del)
{
	json_wide_block block;

	memcpy(&block, text, sizeof(block));
	return json_any((json_block) (block < 0x20) | (json_block) (block >= (uint16_t) (del ? 0x7F : 0x80)) |
		(json_block) (block == '"') | (json_block) (block == '\\'));
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
