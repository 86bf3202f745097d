/* pyrunner: embeds CPython; for each line from the proxy calls the bootstrap's handle() and sends its reply. */
#include "channel.h"
#include "interpreter.h"

#include <malloc.h>
#include <stdio.h>

enum {
	EXIT_NO_PYTHON = 70, /* EX_SOFTWARE */
	LARGE_MESSAGE = 262144,
};

/* Python-level signal handlers of the function run here when the signal came between two activations. What
 * they raise then ends the process (SystemExit) or goes to the log. */
static void run_signal_handlers(PyObject *bootstrap)
{
	cleanup_pyobject PyObject *type = NULL;
	cleanup_pyobject PyObject *error = NULL;
	cleanup_pyobject PyObject *traceback = NULL;
	cleanup_pyobject PyObject *done = NULL;

	if (PyErr_CheckSignals() == 0)
		return;
	PyErr_Fetch(&type, &error, &traceback); /* New references, or NULL. */
	PyErr_NormalizeException(&type, &error, &traceback);
	if (traceback != NULL)
		(void) PyException_SetTraceback(error, traceback);
	done = PyObject_CallMethod(bootstrap, "after_signal", "O", error); /* New. */
	if (done == NULL)
		PyErr_WriteUnraisable(NULL);
}

/* Blocks without the interpreter's lock, so that the function's threads run meanwhile. */
static int next_line(struct channel *channel, PyObject *bootstrap, const char **ret_line, size_t *ret_length)
{
	int r;

	for (;;) {
		run_signal_handlers(bootstrap);
		Py_BEGIN_ALLOW_THREADS
		r = channel_read_line(channel, ret_line, ret_length);
		Py_END_ALLOW_THREADS
		if (r != -EINTR) {
			run_signal_handlers(bootstrap);
			return r;
		}
	}
}

/* str, or bytes where the line is not UTF-8: the bootstrap says what is wrong with it. New reference. */
static PyObject *make_text(const char *line, size_t length)
{
	PyObject *text = PyUnicode_DecodeUTF8(line, (Py_ssize_t) length, NULL);

	if (text != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
		return text;
	PyErr_Clear();
	return PyBytes_FromStringAndSize(line, (Py_ssize_t) length);
}

static int send_reply(const struct channel *channel, PyObject *reply)
{
	const char *data = PyBytes_AS_STRING(reply); /* Borrowed from reply. */
	size_t length = (size_t) PyBytes_GET_SIZE(reply);
	int r;

	/* Whatever C code has printed must be out before the reply says that the activation is over. */
	(void) fflush(NULL);
	Py_BEGIN_ALLOW_THREADS
	r = channel_write(channel, data, length);
	Py_END_ALLOW_THREADS
	return r;
}

static int answer(struct channel *channel, PyObject *bootstrap, const char *line, size_t length, size_t *ret_size)
{
	cleanup_pyobject PyObject *text = make_text(line, length); /* New reference. */
	cleanup_pyobject PyObject *reply = NULL;

	channel_trim(channel);
	if (text != NULL)
		reply = PyObject_CallMethod(bootstrap, "handle", "O", text); /* New reference. */
	if (reply == NULL || !PyBytes_Check(reply)) {
		/* A bug of ours, or an exception that a signal handler of the function raised in our code. */
		PyErr_Print();
		return -EIO;
	}
	*ret_size = length + (size_t) PyBytes_GET_SIZE(reply);
	return send_reply(channel, reply);
}

static int serve(struct channel *channel, PyObject *bootstrap)
{
	for (;;) {
		const char *line;
		size_t length, size = 0;
		int r = next_line(channel, bootstrap, &line, &length);

		if (r <= 0)
			return r;
		r = answer(channel, bootstrap, line, length, &size);
		if (r < 0)
			return r;
		/* What a large payload took goes back to the system. */
		if (size > LARGE_MESSAGE)
			(void) malloc_trim(0);
	}
}

int main(void)
{
	struct channel channel;
	PyObject *bootstrap;
	struct err err;

	/* Nothing that C code prints is kept back: a crash would lose it, and its order. */
	(void) setvbuf(stdout, NULL, _IONBF, 0);
	if (channel_open(&channel, &err) < 0 || interpreter_start(&bootstrap, &err) < 0) {
		(void) fprintf(stderr, "pyrunner: %s\n", err.text);
		return EXIT_NO_PYTHON;
	}
	if (serve(&channel, bootstrap) < 0)
		return EXIT_NO_PYTHON;
	/* The proxy has gone. No Py_Finalize: threads of the function may hang in it. */
	_exit(0);
}
