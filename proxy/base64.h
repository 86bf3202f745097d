/* Base64 as /init carries it: RFC 4648 alphabet, line ends (and other white space) allowed anywhere,
 * padding required and nothing after it. */
#pragma once

#include "../common/err.h"

/* On one line, with padding and a NUL; from malloc, NULL when out of memory. */
char *base64_encode(const char *data, size_t length, size_t *ret_length) UTIL_MUST_CHECK;

/* Decodes in place; the result is never longer than the text. Returns 0, or -EINVAL naming the offset of
 * the first bad character (text is then partly overwritten). */
int base64_decode(char *text, size_t length, size_t *ret_length, struct err *err) UTIL_MUST_CHECK;
