/*
 * CPython as the runner wants it, and the bootstrap modules inside of it.
 */
#pragma once

#include "../common/err.h"
#include "python.h"

/* A module compiled in by embed.py: marshalled code. The first embedded_eager_count are in the order in which they
 * must be imported; the others are imported on demand (pyaction_bootstrap/on_demand.py). */
struct embedded_module {
	const char *name;
	const unsigned char *code;
	size_t length;
};

extern const struct embedded_module embedded_modules[];
extern const size_t embedded_module_count;
extern const size_t embedded_eager_count;
/* Of the Python that compiled them; the one that is linked must agree. */
extern const long embedded_magic;

/*
 * Starts the interpreter, with its environment variables in effect, UTF-8 mode on, and python3's signal
 * dispositions; imports the bootstrap modules; returns a new reference to the module pyaction_bootstrap.handle.
 * The caller has the interpreter's lock.
 */
int interpreter_start(PyObject **ret_bootstrap, struct err *err) UTIL_MUST_CHECK;
