/* Handler strings, as the runner's conventions split them: check_handler.py. */
#include "python_target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_start("check_handler", true);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	python_target_check("(y#)", (const char *) data, (Py_ssize_t) size);
	return 0;
}
