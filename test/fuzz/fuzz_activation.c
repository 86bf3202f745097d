/*
 * A whole activation in the runner, by each convention: whatever the line from the proxy holds, the reply is one the
 * proxy understands (check_activation.py). The first byte chooses the convention, the rest is the line.
 */
#include "../../pyrunner/message.h"
#include "python_target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_start("check_activation", true);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length = size > 0 ? size - 1 : 0;
	char *line = fuzz_copy(size > 0 ? data + 1 : data, length);
	cleanup_pyobject PyObject *message = message_decode(line, length);               /* New reference, or NULL. */
	cleanup_pyobject PyObject *error = message == NULL ? py_take_exception() : NULL; /* New reference, or NULL. */

	free(line);
	python_target_check(
		"(iOO)", size > 0 ? data[0] : 0, message != NULL ? message : Py_None, error != NULL ? error : Py_None);
	return 0;
}
