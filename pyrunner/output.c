#include "output.h"

#include "json_decode.h"
#include "json_encode.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

/* Writes with the interpreter's lock held where that cannot block: a pipe that polls writable takes PIPE_BUF
 * bytes whole (pipe(7)). So a text and its newline, two writes, stay together without a lock of their own. */
static ssize_t write_some(int fd, const char *data, size_t length)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	ssize_t count;
	int saved;

	if (length <= PIPE_BUF && poll(&poll_fd, 1, 0) > 0)
		return write(fd, data, length);

	Py_BEGIN_ALLOW_THREADS count = write(fd, data, length);
	saved = errno;
	Py_END_ALLOW_THREADS errno = saved;
	return count;
}

static PyObject *output_write(PyObject *module, PyObject *args)
{
	Py_buffer data = { 0 };
	PyObject *result = NULL;
	Py_ssize_t written = 0;
	int fd;

	(void) module;
	if (!PyArg_ParseTuple(args, "iy*:write", &fd, &data))
		return NULL;
	while (written < data.len) {
		ssize_t count = write_some(fd, (const char *) data.buf + written, (size_t) (data.len - written));

		if (count >= 0) {
			written += count;
		} else if (errno != EINTR) {
			result = PyErr_SetFromErrno(PyExc_OSError);
			break;
		} else if (PyErr_CheckSignals() < 0) {
			break;
		}
	}
	if (written == data.len)
		result = PyLong_FromSsize_t(data.len); /* New reference. */
	PyBuffer_Release(&data);
	return result;
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
	return json_encode(value);
}

static PyMethodDef methods[] = {
	{ "decode", decode, METH_O,
		"decode(data, /)\n--\n\nThe object that JSON text, a bytes-like object, stands for; or ValueError." },
	{ "encode", encode, METH_O, "encode(value, /)\n--\n\nThe JSON text of an object, as bytes." },
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
