#include "python_target.h"

#include "../../pyrunner/interpreter.h"
#include "../analysis/python_malloc.h"

#include <signal.h>
#include <stdarg.h>

#ifndef FUZZ_FOLDER
#error "FUZZ_FOLDER must be the folder of the Python files"
#endif

/* Whether a line was reached, as far as the hash tells them apart. */
FUZZ_COUNTERS(lines, 8192);

/* How the files' names begin whose lines are counted: that of the bootstrap, unless a target has another. */
static const char *traced = "<pyaction>";

static PyObject *check;

static bool leaks_are_seen;

/* Of the sanitizer's runtime, where there is one. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return !leaks_are_seen;
}

static unsigned hash_line(const char *file, int line)
{
	unsigned hash = (unsigned) line * 2654435761U;

	for (; *file != '\0'; file++)
		hash = (hash ^ (unsigned char) *file) * 16777619U;
	return hash;
}

/* NULL for a file whose lines are not counted. */
static const char *traced_file(PyFrameObject *frame)
{
	cleanup_pyobject PyObject *code = (PyObject *) PyFrame_GetCode(frame);     /* New reference. */
	const char *file = PyUnicode_AsUTF8(((PyCodeObject *) code)->co_filename); /* Borrowed; code lives on. */

	return file != NULL && strncmp(file, traced, strlen(traced)) == 0 ? file : NULL;
}

/* A trace function (Python C API, "Profiling and Tracing"). */
static int count_line(PyObject *object, PyFrameObject *frame, int what, PyObject *argument)
{
	const char *file;

	(void) object;
	(void) argument;
	if (what != PyTrace_LINE && what != PyTrace_CALL)
		return 0;
	file = traced_file(frame);
	if (what == PyTrace_CALL)
		return file != NULL ? 0 : PyObject_SetAttrString((PyObject *) frame, "f_trace_lines", Py_False);
	if (file != NULL)
		lines[hash_line(file, PyFrame_GetLineNumber(frame)) % sizeof(lines)] = 1;
	return 0;
}

/* For what cannot go on. */
static void fail(const char *what)
{
	(void) fprintf(stderr, "fuzz target: %s\n", what);
	if (PyErr_Occurred() != NULL)
		PyErr_PrintEx(0);
	(void) fflush(stderr);
	abort();
}

static PyObject *load_check(const char *name)
{
	cleanup_pyobject PyObject *folder = PyUnicode_FromString(FUZZ_FOLDER); /* New reference. */
	PyObject *sys_path = PySys_GetObject("path");                          /* Borrowed. */
	cleanup_pyobject PyObject *module = NULL;

	if (folder == NULL || PyList_Insert(sys_path, 0, folder) < 0)
		return NULL;
	module = PyImport_ImportModule(name); /* New reference. */
	return module != NULL ? PyObject_GetAttrString(module, "check") : NULL;
}

void python_target_trace(const char *file)
{
	traced = file;
}

void python_target_start(const char *name, bool trace)
{
	PyObject *bootstrap;
	struct err err;

	if (!trace) { /* what is tested is C */
		python_malloc_use();
		leaks_are_seen = true;
	}
	(void) setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	(void) setenv("PYTHONHASHSEED", "0", 1);
	if (interpreter_start(&bootstrap, &err) < 0)
		fail(err.text);
	Py_DECREF(bootstrap);           /* sys.modules has it */
	(void) signal(SIGINT, SIG_DFL); /* CPython has taken it for KeyboardInterrupt */
	check = load_check(name);       /* New reference, kept. */
	if (check == NULL)
		fail("cannot load the Python part");
	if (trace)
		PyEval_SetTrace(count_line, NULL);
}

void python_target_check(const char *format, ...)
{
	cleanup_pyobject PyObject *arguments = NULL;
	cleanup_pyobject PyObject *result = NULL;
	va_list args;

	va_start(args, format);
	arguments = Py_VaBuildValue(format, args); /* New reference to a tuple. */
	va_end(args);
	result = arguments != NULL ? PyObject_CallObject(check, arguments) : NULL; /* New reference. */
	if (result == NULL)
		fail("does not hold");
}
