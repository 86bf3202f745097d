#include "text.h"

#include "../common/util.h"

#include <string.h>

/* Makes room for length more bytes and a NUL. */
static int reserve(struct text *text, size_t length)
{
	size_t needed = text->length + length + 1;
	char *grown;

	if (needed <= text->capacity)
		return 0;
	if (needed < 2 * text->capacity)
		needed = 2 * text->capacity;
	grown = realloc(text->data, needed);
	if (grown == NULL)
		return -ENOMEM;
	text->data = grown;
	text->capacity = needed;
	return 0;
}

static ssize_t write_text(void *cookie, const char *from, size_t length)
{
	struct text *text = cookie;

	text->failed = text->failed || reserve(text, length) < 0;
	if (text->failed)
		return 0;
	memcpy(text->data + text->length, from, length);
	text->length += length;
	return (ssize_t) length;
}

/* For ftell() alone. */
static int seek_text(void *cookie, off64_t *offset, int from)
{
	const struct text *text = cookie;

	if (from != SEEK_CUR || *offset != 0)
		return -1;
	*offset = (off64_t) text->length;
	return 0;
}

FILE *text_open(struct text *text)
{
	const cookie_io_functions_t functions = { .write = write_text, .seek = seek_text };

	text->data = NULL;
	text->length = text->capacity = 0;
	text->failed = false;
	text->out = fopencookie(text, "w", functions);
	if (text->out != NULL)
		(void) setvbuf(text->out, text->pending, _IOFBF, sizeof(text->pending));
	return text->out;
}

char *text_close(struct text *text, size_t *ret_length)
{
	if (text->out == NULL)
		return NULL;
	/* What the stream still holds goes to write_text(), which notes what fails. */
	(void) fclose(text->out);
	if (text->failed || reserve(text, 0) < 0) {
		free(text->data);
		return NULL;
	}
	text->data[text->length] = '\0';
	if (ret_length != NULL)
		*ret_length = text->length;
	return text->data;
}
