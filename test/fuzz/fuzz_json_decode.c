/*
 * The runner's decoder against json.loads(), its encoder against json.dumps() of what came out, and the proxy's
 * json_is_plain() and json_is_valid() against the decoder that is behind them.
 */
#include "../../proxy/json.h"
#include "../../pyrunner/json_decode.h"
#include "python_target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_start("check_json_decode", false);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);
	bool is_plain = json_is_plain(text, size), is_valid = json_is_valid(text, size);
	cleanup_pyobject PyObject *value = json_decode(text, size);                    /* New reference, or NULL. */
	cleanup_pyobject PyObject *error = value == NULL ? py_take_exception() : NULL; /* New reference, or NULL. */

	FUZZ_CHECK((value == NULL) == (error != NULL), "a value, or an exception");
	free(text);
	python_target_check("(y#OOOO)", (const char *) data, (Py_ssize_t) size, value != NULL ? value : Py_None,
		error != NULL ? error : Py_None, is_plain ? Py_True : Py_False, is_valid ? Py_True : Py_False);
	return 0;
}
