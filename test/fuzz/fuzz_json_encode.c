/* The runner's encoder against json.dumps(), for objects that check_json_encode.py makes from the input. */
#include "python_target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_start("check_json_encode", false);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	python_target_check("(y#)", (const char *) data, (Py_ssize_t) size);
	return 0;
}
