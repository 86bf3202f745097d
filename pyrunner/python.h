/* The one place that includes Python.h, with what it asks for. */
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x03090000
#error "CPython 3.9 or newer is needed"
#endif

static inline void py_decrefp(PyObject **object)
{
	Py_XDECREF(*object);
	*object = NULL;
}

/* A local that owns a reference, or is NULL. */
#define cleanup_pyobject __attribute__((cleanup(py_decrefp)))
