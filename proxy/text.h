/*
 * Text that is written to memory piece by piece, through stdio.
 *
 * As open_memstream(3), but for what is missing there: glibc's loses what it has no memory for, goes on with the
 * next piece, and says so neither in ferror() nor in fclose(). A message with a hole must not be sent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Must stay where it is from text_open() to text_close(). */
struct text {
	FILE *out; /* ftell() works */
	char *data;
	size_t length, capacity;
	bool failed;
	char pending[1024]; /* stdio's */
};

/* What is to be written to; NULL when out of memory. text need not be initialised. */
FILE *text_open(struct text *text);

/* Ends it: the text, with a NUL that its length does not count and that the caller may write over, for free(). NULL
 * when there was not memory for all of it; also after a text_open() that failed. ret_length may be NULL. */
char *text_close(struct text *text, size_t *ret_length);
