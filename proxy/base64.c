#include "base64.h"

#include <stdbool.h>
#include <stdint.h>

/* All that is no digit is 64 or more. */
enum { SPACE = 64, PAD = 65, BAD = 66 };

static unsigned digit_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26U;
	if (c >= '0' && c <= '9')
		return c - '0' + 52U;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	if (c == '=')
		return PAD;
	if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
		return SPACE;
	return BAD;
}

static void fill_table(uint8_t table[256])
{
	for (unsigned c = 0; c < 256; c++)
		table[c] = (uint8_t) digit_value((unsigned char) c);
}

static char *write_group(char *out, uint32_t group)
{
	out[0] = (char) (group >> 16);
	out[1] = (char) (group >> 8);
	out[2] = (char) group;
	return out + 3;
}

/* Decodes groups of four digits, up to the first that has anything else in it. Returns where that begins. */
static size_t decode_groups(const uint8_t table[256], char *text, size_t length, size_t at, size_t *written)
{
	char *out = text + *written;

	for (; length - at >= 4; at += 4) {
		const unsigned char *group = (const unsigned char *) text + at;
		unsigned a = table[group[0]], b = table[group[1]], c = table[group[2]], d = table[group[3]];

		if ((a | b | c | d) >= SPACE)
			break;
		out = write_group(out, a << 18 | b << 12 | c << 6 | d);
	}
	*written = (size_t) (out - text);
	return at;
}

int base64_decode(char *text, size_t length, size_t *ret_length, struct err *err)
{
	static uint8_t table[256];
	static bool filled;
	size_t written = 0;
	uint32_t group = 0;
	unsigned digits = 0, pads = 0;

	if (!filled) {
		fill_table(table);
		filled = true;
	}
	for (size_t i = 0; i < length; i++) {
		unsigned value;

		if (digits + pads == 0)
			i = decode_groups(table, text, length, i, &written);
		if (i == length)
			break;
		value = table[(unsigned char) text[i]];
		if (value == SPACE)
			continue;
		if (value == BAD || (value != PAD && pads > 0) || (value == PAD && (digits < 2 || digits + pads >= 4)))
			return err_set(err, -EINVAL, "illegal base64 data at input byte %zu", i);
		if (value == PAD) {
			pads++;
			continue;
		}
		group = group << 6 | value;
		if (++digits == 4) {
			(void) write_group(text + written, group);
			written += 3;
			digits = 0;
			group = 0;
		}
	}
	if (digits + pads != 0 && digits + pads != 4)
		return err_set(err, -EINVAL, "illegal base64 data at input byte %zu", length);
	if (digits >= 2)
		text[written++] = (char) (group >> (digits == 2 ? 4 : 10));
	if (digits == 3)
		text[written++] = (char) (group >> 2);
	*ret_length = written;
	return 0;
}

char *base64_encode(const char *data, size_t length, size_t *ret_length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *bytes = (const unsigned char *) data;
	char *text = malloc((length + 2) / 3 * 4 + 1);
	char *at = text;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < length; i += 3) {
		size_t count = length - i < 3 ? length - i : 3;
		uint32_t group = (uint32_t) bytes[i] << 16;

		group |= count > 1 ? (uint32_t) bytes[i + 1] << 8 : 0;
		group |= count > 2 ? bytes[i + 2] : 0;
		*at++ = digits[group >> 18];
		*at++ = digits[group >> 12 & 63];
		*at++ = (char) (count > 1 ? digits[group >> 6 & 63] : '=');
		*at++ = (char) (count > 2 ? digits[group & 63] : '=');
	}
	*at = '\0';
	*ret_length = (size_t) (at - text);
	return text;
}
