#include "message.h"

#include "../common/wire.h"
#include "json_decode.h"

static void restore_newlines(char *event, size_t length)
{
	for (char *at = event; (at = memchr(at, WIRE_NEWLINE, length - (size_t) (at - event))) != NULL;)
		*at = '\n';
}

/* What the vendor's own decoder may take nevertheless, or says in its own words. */
static int add_refused(PyObject *message, const char *event, size_t length)
{
	PyObject *details = PyDict_GetItemString(message, "pyaction");                           /* Borrowed. */
	cleanup_pyobject PyObject *body = PyBytes_FromStringAndSize(event, (Py_ssize_t) length); /* New. */

	return details != NULL && body != NULL ? PyDict_SetItemString(details, "body", body) : -1;
}

static int add_event(PyObject *message, char *event, size_t length)
{
	cleanup_pyobject PyObject *value = NULL;

	restore_newlines(event, length);
	value = json_decode(event, length); /* New reference. */
	if (value != NULL)
		return PyDict_SetItemString(message, "value", value);
	if (!PyErr_ExceptionMatches(PyExc_ValueError))
		return -1;
	PyErr_Clear();
	return add_refused(message, event, length);
}

PyObject *message_decode(char *line, size_t length)
{
	cleanup_pyobject PyObject *message = NULL;
	char *event = NULL;

	if (length > 0 && line[0] == WIRE_RECORD_SEPARATOR)
		event = memchr(line + 1, WIRE_RECORD_SEPARATOR, length - 1);
	if (event == NULL)
		return json_decode(line, length);
	message = json_decode(line + 1, (size_t) (event - line) - 1); /* New reference. */
	if (message == NULL || add_event(message, event + 1, length - (size_t) (event - line) - 1) < 0)
		return NULL;
	return steal_ptr(&message);
}
