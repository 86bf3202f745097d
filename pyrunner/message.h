/* A line from the proxy to the Python object that it stands for. */
#pragma once

#include "../common/util.h"
#include "python.h"

/*
 * The message: a new reference; or NULL with ValueError, whose message says what is wrong at which byte, or
 * MemoryError. An event that comes behind its message is the member "value"; one that json_decode() refuses is left to
 * the convention, as the member "body", bytes, of "pyaction". line, length bytes, is changed. Runs no Python code.
 */
PyObject *message_decode(char *line, size_t length) UTIL_MUST_CHECK;
