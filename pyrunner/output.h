/*
 * The built-in module _pyaction: write(fd, data) for the log streams of streams.py, encode(value) for wire.py,
 * decode(data), its counterpart, and encode_plain(value, ensure_ascii) for aws_lambda_json.py.
 */
#pragma once

#include "python.h"

/* For PyImport_AppendInittab(). */
PyObject *output_module(void);
