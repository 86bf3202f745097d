/* pyrunner: embeds CPython; for each line from the proxy calls the bootstrap's handle() and sends its reply. */
#include "../common/process.h"
#include "channel.h"
#include "interpreter.h"
#include "message.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

enum {
	EXIT_NO_PYTHON = 70, /* EX_SOFTWARE */
	LARGE_MESSAGE = 262144,
	SMALL_REPLY = 4096,
	STATUS_LINE_MAX = 128,
	TRIM_AFTER_MS = 100,
	MMAP_THRESHOLD = 16 << 20,
	TRIM_THRESHOLD = 64 << 20,
};

/* Python-level signal handlers of the function run here when the signal came between two activations. What
 * they raise then ends the process (SystemExit) or goes to the log. */
static void run_signal_handlers(PyObject *bootstrap)
{
	cleanup_pyobject PyObject *error = NULL;
	cleanup_pyobject PyObject *done = NULL;

	if (PyErr_CheckSignals() == 0)
		return;
	error = py_take_exception();                                       /* New. */
	done = PyObject_CallMethod(bootstrap, "after_signal", "O", error); /* New. */
	if (done == NULL)
		PyErr_WriteUnraisable(NULL);
}

/* Blocks without the interpreter's lock, so that the function's threads run meanwhile. */
static int next_line(struct channel *channel, PyObject *bootstrap, char **ret_line, size_t *ret_length)
{
	int r;

	Py_BEGIN_ALLOW_THREADS
	channel_look(channel);
	Py_END_ALLOW_THREADS
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

/* Two lines. Small ones go in one piece, so that the proxy wakes up once; large ones are not copied for that. */
static int write_reply(
	const struct channel *channel, const char *status, size_t status_length, const char *payload, size_t length)
{
	char small[SMALL_REPLY];
	int r;

	if (status_length + length < sizeof(small)) {
		memcpy(small, status, status_length);
		memcpy(small + status_length, payload, length);
		small[status_length + length] = '\n';
		return channel_write(channel, small, status_length + length + 1);
	}
	r = channel_write(channel, status, status_length);
	if (r == 0)
		r = channel_write(channel, payload, length);
	return r == 0 ? channel_write(channel, "\n", 1) : r;
}

/* The most memory this process has had at a time, in KB. A process inherits the figure of the one that forked it, so
 * where its own is not larger there is only what it has now (proc(5)). */
static long inherited_peak_kb;

static long peak_kb(void)
{
	struct rusage usage = { 0 };

	(void) getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss > inherited_peak_kb ? usage.ru_maxrss : process_resident_kb(0);
}

static int send_reply(const struct channel *channel, PyObject *status, PyObject *payload)
{
	char line[STATUS_LINE_MAX];
	int length, r;

	/* Whatever C code has printed must be out before the reply says that the activation is over. */
	(void) fflush(NULL);
	length = snprintf(
		line, sizeof(line), "{\"status\":\"%s\",\"peak_kb\":%ld}\n", PyBytes_AS_STRING(status), peak_kb());
	if (length < 0 || (size_t) length >= sizeof(line)) /* no status of ours */
		return -EPROTO;
	Py_BEGIN_ALLOW_THREADS
	r = write_reply(channel, line, (size_t) length, PyBytes_AS_STRING(payload), (size_t) PyBytes_GET_SIZE(payload));
	Py_END_ALLOW_THREADS
	return r;
}

/* Takes what is alive out of the collector's sight, or puts it back: gc.freeze() and gc.unfreeze(). */
static void call_gc(const char *function)
{
	cleanup_pyobject PyObject *gc = PyImport_ImportModule("gc");                                   /* New. */
	cleanup_pyobject PyObject *done = gc != NULL ? PyObject_CallMethod(gc, function, NULL) : NULL; /* New. */

	if (done == NULL)
		PyErr_Clear();
}

static bool has_frozen_objects(void)
{
	cleanup_pyobject PyObject *gc = PyImport_ImportModule("gc"); /* New. */
	cleanup_pyobject PyObject *count =
		gc != NULL ? PyObject_CallMethod(gc, "get_freeze_count", NULL) : NULL; /* New. */
	bool any = count == NULL || PyObject_IsTrue(count) != 0;

	PyErr_Clear();
	return any;
}

static int call_and_send(
	struct channel *channel, PyObject *bootstrap, PyObject **message, bool is_large, size_t *ret_size)
{
	cleanup_pyobject PyObject *error = *message == NULL ? py_take_exception() : NULL; /* New reference, or NULL. */
	cleanup_pyobject PyObject *reply = NULL;
	PyObject *status, *payload; /* Borrowed from reply. */

	reply = PyObject_CallMethod(bootstrap, "handle", "OO", *message != NULL ? *message : Py_None,
		error != NULL ? error : Py_None); /* New reference. */
	if (reply == NULL || !PyArg_ParseTuple(reply, "SS", &status, &payload)) {
		/* A bug of ours, or an exception that a signal handler of the function raised in our code. */
		PyErr_Print();
		return -EIO;
	}
	/* Freeing a large event takes as long as decoding it did: that can wait until the answer is on its way. */
	if (!is_large)
		Py_CLEAR(*message);
	*ret_size += (size_t) PyBytes_GET_SIZE(payload);
	return send_reply(channel, status, payload);
}

static int answer(struct channel *channel, PyObject *bootstrap, char *line, size_t length, size_t *ret_size)
{
	int gc_was_running = py_pause_gc(), r;
	cleanup_pyobject PyObject *message = message_decode(line, length); /* New reference, or NULL. */
	bool is_large = length > LARGE_MESSAGE, frozen;

	channel_trim(channel); /* before the function runs: a long line is memory that it may want */
	/* A large event is hundreds of thousands of new objects without a cycle among them, and would be searched
	 * for cycles at once: a fifth of the time of a 10 MB echo. A function that freezes objects itself keeps
	 * that to itself. */
	frozen = is_large && gc_was_running && message != NULL && !has_frozen_objects();
	if (frozen)
		call_gc("freeze");
	py_resume_gc(gc_was_running);
	*ret_size = length;
	r = call_and_send(channel, bootstrap, &message, is_large, ret_size);
	Py_CLEAR(message);
	if (frozen)
		call_gc("unfreeze");
	return r;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* What a large payload took goes back to the system when for a while no other one has come: got and zeroed anew for
 * each, it would be a third of the time of a 1 MB echo (measured). Small messages may come meanwhile, without end.
 * *due_ms is when that is, 0 for never. */
static void trim_when_due(const struct channel *channel, uint64_t *due_ms)
{
	uint64_t now = now_ms();
	bool idle = true;

	if (now < *due_ms) {
		Py_BEGIN_ALLOW_THREADS
		idle = channel_wait(channel, (int) (*due_ms - now)) == 0;
		Py_END_ALLOW_THREADS
	}
	if (!idle)
		return;
	(void) malloc_trim(0);
	*due_ms = 0;
}

static int serve(struct channel *channel, PyObject *bootstrap)
{
	uint64_t trim_due_ms = 0;

	for (;;) {
		char *line;
		size_t length, size = 0;
		int r;

		if (trim_due_ms != 0)
			trim_when_due(channel, &trim_due_ms);
		r = next_line(channel, bootstrap, &line, &length);
		if (r <= 0)
			return r;
		r = answer(channel, bootstrap, line, length, &size);
		if (r < 0)
			return r;
		if (size > LARGE_MESSAGE)
			trim_due_ms = now_ms() + TRIM_AFTER_MS;
	}
}

int main(void)
{
	struct channel channel;
	PyObject *bootstrap;
	struct rusage usage = { 0 };
	struct err err;

	/* What the function starts is of the same user: it must not reach the channel through /proc or ptrace(2). */
	(void) prctl(PR_SET_DUMPABLE, 0);
	(void) getrusage(RUSAGE_SELF, &usage);
	inherited_peak_kb = usage.ru_maxrss;
	/* Nothing that C code prints is kept back: a crash would lose it, and its order. */
	(void) setvbuf(stdout, NULL, _IONBF, 0);
	if (channel_open(&channel, &err) < 0 || interpreter_start(&bootstrap, &err) < 0) {
		(void) fprintf(stderr, "pyrunner: %s\n", err.text);
		return EXIT_NO_PYTHON;
	}
	/* Not before: what the interpreter's start takes for a while goes back. */
	(void) mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void) mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	/* It returns when the proxy has gone. No Py_Finalize: threads of the function may hang in it. */
	_exit(serve(&channel, bootstrap) < 0 ? EXIT_NO_PYTHON : 0);
}
