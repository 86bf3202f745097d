/* The one place that includes Python.h, with what it asks for. */
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x03090000
#error "CPython 3.9 or newer is needed"
#endif

#if PY_VERSION_HEX < 0x030A0000
static inline PyObject *Py_NewRef(PyObject *object)
{
	Py_INCREF(object);
	return object;
}
#endif

static inline void py_decrefp(PyObject **object)
{
	Py_XDECREF(*object);
	*object = NULL;
}

/* A local that owns a reference, or is NULL. */
#define cleanup_pyobject __attribute__((cleanup(py_decrefp)))

/* The exception that is set, which is cleared: a new reference, or NULL. */
static inline PyObject *py_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
	return PyErr_GetRaisedException();
#else
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback); /* New references, or NULL. */
	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback != NULL)
		(void) PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	return value;
#endif
}

/* Makes the text of a str accessible, which C extensions could leave undone up to 3.11. -1 with MemoryError. */
static inline int py_ready_text(PyObject *text)
{
#if PY_VERSION_HEX < 0x030C0000
	return PyUnicode_READY(text);
#else
	(void) text;
	return 0;
#endif
}

/* Stops garbage collection, and says whether it ran; py_resume_gc() with that undoes it. 3.9 goes on collecting. */
static inline int py_pause_gc(void)
{
#if PY_VERSION_HEX >= 0x030A0000
	return PyGC_Disable();
#else
	return 0;
#endif
}

static inline void py_resume_gc(int was_running)
{
#if PY_VERSION_HEX >= 0x030A0000
	if (was_running)
		(void) PyGC_Enable();
#else
	(void) was_running;
#endif
}
