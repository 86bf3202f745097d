/*
 * Hostile tar.gz archives, arbitrary bytes and such as check_tar.py makes from a script, for proxy/untar.py: nothing
 * outside of the directory changes, and what comes out is files, directories and links.
 */
#include "python_target.h"
#include "unpacking.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	python_target_trace(FUZZ_FOLDER "/../../proxy/untar.py");
	python_target_start("check_tar", true);
	unpacking_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unpacking_begin();
	python_target_check("(y#)", (const char *) data, (Py_ssize_t) size);
	unpacking_end();
	(void) unpacking_empty(true);
	return 0;
}
