/*
 * Arbitrary bytes as a zip archive: whatever libzip makes of them, nothing outside of the directory changes, and
 * what comes out is files, directories and links within the limits.
 */
#include "unpacking.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	unpacking_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *archive = fuzz_copy(data, size);
	struct err err;

	(void) unpacking_run(archive, size, &err);
	(void) unpacking_empty(false);
	free(archive);
	return 0;
}
