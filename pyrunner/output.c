#include "output.h"

#include "json_decode.h"
#include "json_encode.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_VARIABLES = 64 };

/* Writes at most PIPE_BUF bytes if that does not block: -1 with EAGAIN where it would. A pipe takes them whole or not at
 * all, and one that polls writable takes them (pipe(7)). */
static ssize_t write_at_once(int fd, const char *data, size_t length)
{
	static bool can_tell = true; /* the kernel can, for pipes since Linux 6.4: one system call instead of two */
	const struct iovec piece = { .iov_base = (char *) data, .iov_len = length };
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	ssize_t count = can_tell ? pwritev2(fd, &piece, 1, -1, RWF_NOWAIT) : -1;

	if (can_tell && (count >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)))
		return count;
	can_tell = false;
	if (poll(&poll_fd, 1, 0) > 0)
		return write(fd, data, length);
	errno = EAGAIN;
	return -1;
}

/* Writes with the interpreter's lock held where that cannot block. So a text and its newline, two writes, stay together
 * without a lock of their own. */
static ssize_t write_some(int fd, const char *data, size_t length)
{
	ssize_t count = -1;
	int saved;

	if (length <= PIPE_BUF) {
		count = write_at_once(fd, data, length);
		if (count >= 0 || errno != EAGAIN)
			return count;
	}
	Py_BEGIN_ALLOW_THREADS
	count = write(fd, data, length);
	saved = errno;
	Py_END_ALLOW_THREADS
	errno = saved;
	return count;
}

/* 0, or -1 with an exception. */
static int write_all(int fd, const char *data, Py_ssize_t length)
{
	Py_ssize_t written = 0;

	while (written < length) {
		ssize_t count = write_some(fd, data + written, (size_t) (length - written));

		if (count >= 0) {
			written += count;
		} else if (errno != EINTR) {
			(void) PyErr_SetFromErrno(PyExc_OSError);
			return -1;
		} else if (PyErr_CheckSignals() < 0) {
			return -1;
		}
	}
	return 0;
}

static PyObject *output_write(PyObject *module, PyObject *args)
{
	Py_buffer data = { 0 };
	PyObject *result = NULL;
	int fd;

	(void) module;
	if (!PyArg_ParseTuple(args, "iy*:write", &fd, &data))
		return NULL;
	if (write_all(fd, data.buf, data.len) == 0)
		result = PyLong_FromSsize_t(data.len); /* New reference. */
	PyBuffer_Release(&data);
	return result;
}

/* --- print --------------------------------------------------------------------------------------------------- */

/* Python's print() writes each argument, separator and end by itself: six system calls for a line of three
 * arguments where nothing is kept back. This one writes the line at once, if it goes to the log stream. */

static PyObject *print_stream;   /* the stream, or NULL: owned */
static PyObject *original_print; /* owned */

/* Takes sep and end from the keywords, borrowed; NULL stands for the default. False when it is a case for the
 * original: another file or stream, or an argument that it will refuse. */
static int is_plain_line(PyObject *keywords, PyObject **ret_separator, PyObject **ret_end)
{
	PyObject *name, *value; /* Borrowed. */
	Py_ssize_t position = 0;

	if (print_stream == NULL || PySys_GetObject("stdout") != print_stream) /* Borrowed. */
		return 0;
	while (keywords != NULL && PyDict_Next(keywords, &position, &name, &value)) {
		int is_text = value == Py_None || PyUnicode_CheckExact(value);

		if (PyUnicode_CompareWithASCIIString(name, "sep") == 0 && is_text)
			*ret_separator = value == Py_None ? NULL : value;
		else if (PyUnicode_CompareWithASCIIString(name, "end") == 0 && is_text)
			*ret_end = value == Py_None ? NULL : value;
		else if (PyUnicode_CompareWithASCIIString(name, "flush") != 0)
			return 0;
	}
	return 1;
}

/* The line that print() writes. New reference. */
static PyObject *join_line(PyObject *objects, PyObject *separator, PyObject *end)
{
	cleanup_pyobject PyObject *texts = PyList_New(PyTuple_GET_SIZE(objects)); /* New reference. */
	cleanup_pyobject PyObject *space = separator == NULL ? PyUnicode_FromString(" ") : Py_NewRef(separator);
	cleanup_pyobject PyObject *newline = end == NULL ? PyUnicode_FromString("\n") : Py_NewRef(end);
	cleanup_pyobject PyObject *line = NULL;

	if (texts == NULL || space == NULL || newline == NULL)
		return NULL;
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(objects); i++) {
		PyObject *text = PyObject_Str(PyTuple_GET_ITEM(objects, i)); /* New reference. */

		if (text == NULL)
			return NULL;
		PyList_SET_ITEM(texts, i, text); /* Steals. */
	}
	line = PyUnicode_Join(space, texts); /* New reference. */
	return line != NULL ? PyUnicode_Concat(line, newline) : NULL;
}

static PyObject *output_print(PyObject *module, PyObject *objects, PyObject *keywords)
{
	PyObject *separator = NULL, *end = NULL; /* Borrowed. */
	cleanup_pyobject PyObject *line = NULL;
	cleanup_pyobject PyObject *bytes = NULL;

	(void) module;
	if (!is_plain_line(keywords, &separator, &end))
		return PyObject_Call(original_print, objects, keywords);
	line = join_line(objects, separator, end); /* New reference. */
	if (line != NULL)
		bytes = PyUnicode_AsEncodedString(line, "utf-8", "backslashreplace"); /* New reference. */
	if (bytes == NULL || write_all(STDOUT_FILENO, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef print_method = {
	"print",
	(PyCFunction) (void (*)(void)) output_print,
	METH_VARARGS | METH_KEYWORDS,
	"print($module, /, *args, sep=' ', end='\\n', file=None, flush=False)\n--\n\n"
	"Prints the values to a stream, or to sys.stdout by default.\n\n"
	"  sep\n    string inserted between values, default a space.\n"
	"  end\n    string appended after the last value, default a newline.\n"
	"  file\n    a file-like object (stream); defaults to the current sys.stdout.\n"
	"  flush\n    whether to forcibly flush the stream.",
};

/* Puts it in the place of Python's own. It says that it is the module builtins', as that does: another process that
 * gets it pickled, one of multiprocessing's for example, has a print() there. -1 with an exception set. */
static int replace_print(void)
{
	PyObject *builtins = PyImport_AddModule("builtins");                /* Borrowed. */
	cleanup_pyobject PyObject *name = PyUnicode_FromString("builtins"); /* New reference. */
	cleanup_pyobject PyObject *original = NULL, *print = NULL;

	if (builtins == NULL || name == NULL)
		return -1;
	original = PyObject_GetAttrString(builtins, "print");     /* New reference. */
	print = PyCFunction_NewEx(&print_method, builtins, name); /* New reference. */
	if (original == NULL || print == NULL || PyObject_SetAttrString(builtins, "print", print) < 0)
		return -1;
	original_print = Py_NewRef(original);
	return 0;
}

static PyObject *set_print_stream(PyObject *module, PyObject *stream)
{
	(void) module;
	if (original_print == NULL && replace_print() < 0)
		return NULL;
	Py_CLEAR(print_stream);
	if (stream != Py_None)
		print_stream = Py_NewRef(stream);
	Py_RETURN_NONE;
}

static PyObject *decode(PyObject *module, PyObject *object)
{
	Py_buffer data;
	PyObject *value;

	(void) module;
	if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) < 0)
		return NULL;
	value = json_decode(data.buf, (size_t) data.len); /* New reference. */
	PyBuffer_Release(&data);
	return value;
}

static PyObject *encode(PyObject *module, PyObject *value)
{
	(void) module;
	return json_encode(value, 0);
}

static PyObject *encode_plain(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	int ensure_ascii;

	(void) module;
	if (count != 2)
		return PyErr_Format(PyExc_TypeError, "encode_plain() takes 2 arguments, not %zd", count);
	ensure_ascii = PyObject_IsTrue(args[1]);
	if (ensure_ascii < 0)
		return NULL;
	return json_encode(args[0], JSON_PLAIN | (ensure_ascii != 0 ? JSON_ASCII : 0));
}

/* --- variables ------------------------------------------------------------------------------------------------ */

/* glibc's setenv() never frees a value it was given once: variables that change with each activation would be a leak.
 * putenv() takes a buffer of the caller's, which is used again here. */
static struct variable {
	size_t name_length;
	char *text; /* "NAME=value"; in environ, unless somebody has set the variable in another way meanwhile */
	size_t capacity;
} variables[MAX_VARIABLES];

static struct variable *find_variable(const char *name, size_t name_length)
{
	for (size_t i = 0; i < MAX_VARIABLES; i++) {
		struct variable *variable = &variables[i];

		if (variable->text == NULL)
			variable->name_length = name_length; /* a free place */
		if (variable->text == NULL ||
			(variable->name_length == name_length && memcmp(variable->text, name, name_length) == 0))
			return variable;
	}
	return NULL;
}

static int put_variable(struct variable *variable, const char *name, const char *value, size_t size)
{
	size_t capacity = (size + 63) / 64 * 64;
	char *text = malloc(capacity), *old = variable->text;

	if (text == NULL)
		return -1;
	(void) snprintf(text, size, "%s=%s", name, value);
	if (putenv(text) != 0) {
		free(text);
		return -1;
	}
	variable->text = text;
	variable->capacity = capacity;
	free(old); /* environ has the new one */
	return 0;
}

static PyObject *set_variable(PyObject *module, PyObject *args)
{
	const char *name, *value;
	size_t size;
	struct variable *variable;

	(void) module;
	if (!PyArg_ParseTuple(args, "yy:set_variable", &name, &value)) /* without NUL, or ValueError */
		return NULL;
	if (name[0] == '\0' || strchr(name, '=') != NULL)
		return PyErr_Format(PyExc_ValueError, "illegal environment variable name");
	size = strlen(name) + strlen(value) + 2;
	variable = find_variable(name, strlen(name));
	if (variable == NULL) { /* more of them than any platform sends */
		if (setenv(name, value, 1) < 0)
			return PyErr_SetFromErrno(PyExc_OSError);
	} else if (variable->text != NULL && size <= variable->capacity &&
		getenv(name) == variable->text + variable->name_length + 1) {
		(void) memcpy(variable->text + variable->name_length + 1, value, strlen(value) + 1);
	} else if (put_variable(variable, name, value, size) < 0) {
		return PyErr_NoMemory();
	}
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "decode", decode, METH_O,
		"decode(data, /)\n--\n\nThe object that JSON text, a bytes-like object, stands for; or ValueError." },
	{ "encode", encode, METH_O, "encode(value, /)\n--\n\nThe JSON text of an object, as bytes." },
	{ "encode_plain", (PyCFunction) (void (*)(void)) encode_plain, METH_FASTCALL,
		"encode_plain(value, ensure_ascii, /)\n--\n\nAs encode(), of a value for which simplejson has the same "
		"text; refuses others." },
	{ "set_print_stream", set_print_stream, METH_O,
		"set_print_stream(stream, /)\n--\n\nMake print() write a line at once while sys.stdout is this stream, "
		"which must\nlead to fd 1 unbuffered, as UTF-8 with backslashreplace; None: never." },
	{ "set_variable", set_variable, METH_VARARGS,
		"set_variable(name, value, /)\n--\n\nSet a variable of the process's environment, both bytes, without "
		"the leak of setenv();\nos.environ does not notice." },
	{ "write", output_write, METH_VARARGS,
		"write(fd, data, /)\n--\n\nWrite all of a bytes-like object to a descriptor; returns its size." },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_pyaction",
	.m_size = 0,
	.m_methods = methods,
};

PyObject *output_module(void)
{
	return PyModuleDef_Init(&definition);
}
