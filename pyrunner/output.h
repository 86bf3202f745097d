/*
 * The built-in module _pyaction: write(fd, data) for the log streams of streams.py, encode(value) for wire.py,
 * and decode(data), its counterpart.
 */
#pragma once

#include "python.h"

/* For PyImport_AppendInittab(). */
PyObject *output_module(void);
