/*
 * What the fuzz targets share.
 *
 * A target is one file, fuzz_NAME.c, with the function libFuzzer calls for each input. The same file is linked with
 * replay.c, which calls it for files: no target may need libFuzzer, and none may keep anything from one input to
 * the next that changes what an input does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_UNUSED __attribute__((unused))

/* Of libFuzzer; the second one is optional. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A property of the code under test. abort() is what libFuzzer, and a person with a debugger, take for a finding. */
#define FUZZ_CHECK(holds, ...)                                                                                         \
	do {                                                                                                           \
		if (!(holds)) {                                                                                        \
			(void) fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);              \
			(void) fprintf(stderr, "" __VA_ARGS__);                                                        \
			(void) fputc('\n', stderr);                                                                    \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Something the target itself needs, and without which it would test nothing. */
#define FUZZ_NEED(holds, what)                                                                                         \
	do {                                                                                                           \
		if (!(holds)) {                                                                                        \
			perror("fuzz target: " what);                                                                  \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Counted by libFuzzer as coverage, and set to zero before each input: for what happens in code that is not
 * instrumented. One section can hold several; each target has one. */
#define FUZZ_COUNTERS(name, count)                                                                                     \
	__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t name[count]

/* What is left of an input that is read as a script. */
struct fuzz_script {
	const uint8_t *at, *end;
};

/* 0 at the end. */
FUZZ_UNUSED static inline uint8_t fuzz_byte(struct fuzz_script *script)
{
	return script->at < script->end ? *script->at++ : 0;
}

FUZZ_UNUSED static inline size_t fuzz_left(const struct fuzz_script *script)
{
	return (size_t) (script->end - script->at);
}

/* Up to length bytes; ret_length is how many. */
FUZZ_UNUSED static inline const uint8_t *fuzz_take(struct fuzz_script *script, size_t length, size_t *ret_length)
{
	const uint8_t *taken = script->at;

	*ret_length = length < fuzz_left(script) ? length : fuzz_left(script);
	script->at += *ret_length;
	return taken;
}

/* A copy of just these bytes, with nothing behind them: the sanitizer sees each byte read too many. For free(). */
FUZZ_UNUSED static inline char *fuzz_copy(const void *data, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	FUZZ_NEED(copy != NULL, "memory");
	copy[0] = '\0';
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}
