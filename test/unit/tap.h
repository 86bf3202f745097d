/*
 * The Test Anything Protocol for C tests, run by prove(1).
 *
 * Results go to a copy of the original stdout, so that a test may redirect fd 1. Each check returns whether it
 * holds. Random numbers are the same in every run; TEST_SEED=N in the environment gives others.
 */
#pragma once

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAP_UNUSED __attribute__((unused))
#define TAP_PRINTF(format_index, args_index) __attribute__((format(printf, format_index, args_index)))

static struct {
	FILE *out;
	unsigned count, failed;
	uint64_t seed, random;
} tap;

/* Before main, so that no test can have redirected or closed anything. A test that starts its own program as
 * something else may have given that one no stdout: out is NULL then. */
__attribute__((constructor)) static void tap_open(void)
{
	const char *seed = getenv("TEST_SEED");
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);

	tap.out = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (tap.out != NULL)
		(void) setvbuf(tap.out, NULL, _IOLBF, 0);
	else if (fd >= 0)
		(void) close(fd);
	tap.seed = tap.random = seed != NULL ? strtoull(seed, NULL, 10) : 1;
}

TAP_UNUSED TAP_PRINTF(1, 2) static void diag(const char *format, ...)
{
	va_list args;

	(void) fputs("# ", tap.out);
	va_start(args, format);
	(void) vfprintf(tap.out, format, args);
	va_end(args);
	(void) fputc('\n', tap.out);
}

TAP_PRINTF(4, 5) static bool tap_ok(bool holds, const char *file, int line, const char *format, ...)
{
	va_list args;

	(void) fprintf(tap.out, "%sok %u - ", holds ? "" : "not ", ++tap.count);
	va_start(args, format);
	(void) vfprintf(tap.out, format, args);
	va_end(args);
	(void) fputc('\n', tap.out);
	if (!holds) {
		tap.failed++;
		diag("%s:%d, seed %llu", file, line, (unsigned long long) tap.seed);
	}
	return holds;
}

/* The bytes at data with everything unprintable escaped, cut to 200; in static memory. */
TAP_UNUSED static const char *tap_show(const void *data, size_t length)
{
	static char shown[1024];
	const unsigned char *bytes = data;
	size_t used = 0;

	if (data == NULL)
		return "NULL";
	for (size_t i = 0; i < length && i < 200; i++)
		used += (size_t) snprintf(shown + used, sizeof(shown) - used,
			bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\' ? "%c" : "\\x%02x", bytes[i]);
	(void) snprintf(shown + used, sizeof(shown) - used, "%s", length > 200 ? "..." : "");
	return shown;
}

TAP_UNUSED static bool tap_is_mem(const void *got, size_t got_length, const void *wanted, size_t wanted_length)
{
	bool same = got != NULL && wanted != NULL ? got_length == wanted_length && memcmp(got, wanted, got_length) == 0
						  : got == wanted;

	if (!same) {
		diag("got    %zu bytes: %s", got_length, tap_show(got, got_length));
		diag("wanted %zu bytes: %s", wanted_length, tap_show(wanted, wanted_length));
	}
	return same;
}

TAP_UNUSED static bool tap_is_int(long long got, long long wanted)
{
	if (got != wanted)
		diag("got %lld, wanted %lld", got, wanted);
	return got == wanted;
}

#define ok(holds, ...) tap_ok(holds, __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, wanted, ...) ok(tap_is_int((long long) (got), (long long) (wanted)), __VA_ARGS__)
#define is_mem(got, got_length, wanted, wanted_length, ...)                                                            \
	ok(tap_is_mem(got, got_length, wanted, wanted_length), __VA_ARGS__)
#define is_str(got, wanted, ...) ok(tap_is_str(got, wanted), __VA_ARGS__)

/* Either may be NULL. */
TAP_UNUSED static bool tap_is_str(const char *got, const char *wanted)
{
	return tap_is_mem(got, got != NULL ? strlen(got) : 0, wanted, wanted != NULL ? strlen(wanted) : 0);
}

/* Ends the test program: something without which it makes no sense did not work. */
TAP_UNUSED TAP_PRINTF(1, 2) static _Noreturn void bail_out(const char *format, ...)
{
	va_list args;

	(void) fputs("Bail out! ", tap.out);
	va_start(args, format);
	(void) vfprintf(tap.out, format, args);
	va_end(args);
	(void) fputc('\n', tap.out);
	(void) fflush(tap.out);
	_exit(255);
}

/* For the return of main. */
static int done_testing(void)
{
	(void) fprintf(tap.out, "1..%u\n", tap.count);
	return fclose(tap.out) == 0 && tap.failed == 0 && tap.count > 0 ? 0 : 1;
}

/* 0 to below - 1; xorshift64. */
TAP_UNUSED static size_t random_below(size_t below)
{
	tap.random ^= tap.random << 13;
	tap.random ^= tap.random >> 7;
	tap.random ^= tap.random << 17;
	return (size_t) (tap.random % below);
}

TAP_UNUSED static void random_bytes(void *to, size_t length)
{
	unsigned char *bytes = to;

	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char) random_below(256);
}
