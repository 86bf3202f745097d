/*
 * CPython for the targets that test what the runner does: started as pyrunner starts it, with the bootstrap modules,
 * and, to test C, with an allocator that the sanitizer sees through.
 *
 * What is to hold is written in Python, test/fuzz/NAME.py: a function check(...), which raises if it does not.
 */
#pragma once

#include "../../pyrunner/python.h"
#include "fuzz.h"

/* Starts the interpreter and loads NAME.py. With trace it is for Python code: the lines of the bootstrap modules count
 * as coverage, and the allocator is CPython's. */
void python_target_start(const char *name, bool trace);
/* Counts the lines of other files, those whose names begin so, instead. */
void python_target_trace(const char *file);

/* Calls check() with the arguments that format (as of Py_BuildValue) makes. An exception is a finding. */
void python_target_check(const char *format, ...);
