/*
 * JSON text to Python objects: those that json.loads makes, from what RFC 8259 calls JSON.
 *
 * Against json.loads: NaN and Infinity are refused, depth has a limit of its own (JSON_MAX_DEPTH) instead of the
 * interpreter's recursion limit, and text is UTF-8 bytes, checked here. Like json.loads it takes lone surrogates
 * in escapes, the last of equal keys, and numbers too large for a float, as infinity.
 */
#pragma once

#include "../common/util.h"
#include "python.h"

/*
 * The object that text, length bytes, stands for: a new reference. Or NULL with ValueError, whose message says
 * what is wrong at which byte, or MemoryError. Runs no Python code. text need not end with a NUL.
 */
PyObject *json_decode(const char *text, size_t length) UTIL_MUST_CHECK;
