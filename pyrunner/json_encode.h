/*
 * Python objects to JSON text: the bytes of json.dumps(value, ensure_ascii=False, allow_nan=False).encode().
 *
 * Against json.dumps: depth has a limit of its own (JSON_MAX_DEPTH) instead of the interpreter's recursion limit.
 */
#pragma once

#include "../common/util.h"
#include "python.h"

/* Flags; 0 is the style of json.dumps as above. */
enum json_style {
	/* Refuses what simplejson encodes in another way, or may: subclasses of dict, list and tuple, and those of int
	 * and float with a conversion of their own. */
	JSON_PLAIN = 1,
	/* ensure_ascii: \uXXXX for what is not ASCII, and for U+007F. Lone surrogates can be written, too. */
	JSON_ASCII = 2,
};

/*
 * The JSON text of value: a new reference to bytes. Or NULL with an exception: TypeError for a type that JSON
 * has not, ValueError for NaN, an infinity, a lone surrogate or a circular structure, RecursionError for one
 * that is nested too deeply, or what methods of subclasses of dict, list and tuple raise. The messages do not
 * say where in value it is.
 */
PyObject *json_encode(PyObject *value, unsigned style) UTIL_MUST_CHECK;
