/*
 * What the runner does with the variables of /init and of activations: check_environment.py. The input is JSON, a
 * line each: the env of /init, then the bodies of activations.
 */
#include "python_target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_start("check_environment", true);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	python_target_check("(y#)", (const char *) data, (Py_ssize_t) size);
	return 0;
}
