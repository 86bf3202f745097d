/*
 * Python objects to JSON text: the bytes of json.dumps(value, ensure_ascii=False, allow_nan=False).encode().
 *
 * Against json.dumps: depth has a limit of its own (JSON_MAX_DEPTH) instead of the interpreter's recursion limit.
 */
#pragma once

#include "../common/util.h"
#include "python.h"

/*
 * The JSON text of value: a new reference to bytes. Or NULL with an exception: TypeError for a type that JSON
 * has not, ValueError for NaN, an infinity, a lone surrogate or a circular structure, RecursionError for one
 * that is nested too deeply, or what methods of subclasses of dict, list and tuple raise. The messages do not
 * say where in value it is.
 */
PyObject *json_encode(PyObject *value) UTIL_MUST_CHECK;
