#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(struct err *err, const char *text)
{
	size_t used = strlen(err->text);

	(void) snprintf(err->text + used, sizeof(err->text) - used, "%s", text);
}

#define FORMAT_INTO(err, format)                                                                                       \
	do {                                                                                                           \
		va_list args;                                                                                          \
		va_start(args, format);                                                                                \
		(void) vsnprintf((err)->text, sizeof((err)->text), format, args);                                      \
		va_end(args);                                                                                          \
	} while (0)

int err_set(struct err *err, int code, const char *format, ...)
{
	FORMAT_INTO(err, format);
	return code;
}

int err_errno(struct err *err, int code, const char *format, ...)
{
	FORMAT_INTO(err, format);
	append(err, ": ");
	append(err, strerror(-code));
	return code;
}

int err_wrap(struct err *err, int code, const char *format, ...)
{
	struct err inner = *err;

	FORMAT_INTO(err, format);
	append(err, ": ");
	append(err, inner.text);
	return code;
}
