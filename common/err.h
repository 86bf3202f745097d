/*
 * The one failure idiom of this tree.
 *
 * A function that can fail returns 0, or a negative errno, and takes a struct err as its last argument.
 * Success leaves err and every ret_ output untouched. Failure fills err with one sentence that names the
 * object ("cannot start runner '/usr/libexec/pyrunner': No such file or directory"). Callers add context
 * with err_wrap on the way up; only main and the front doors show it to somebody.
 */
#pragma once

#include "util.h"

enum { ERR_TEXT_MAX = 512 };

/* A value without ownership: lives on the caller's stack, needs no initialisation and no release. Longer
 * texts are cut. */
struct err {
	char text[ERR_TEXT_MAX];
};

/* Fills err and returns code, which must be a negative errno. The text of the errno is not added. */
int err_set(struct err *err, int code, const char *format, ...) UTIL_PRINTF(3, 4);

/* As err_set, and appends ": " with the text of the errno. */
int err_errno(struct err *err, int code, const char *format, ...) UTIL_PRINTF(3, 4);

/* Puts "context: " before the sentence that err holds; returns code for the caller to pass on. */
int err_wrap(struct err *err, int code, const char *format, ...) UTIL_PRINTF(3, 4);
