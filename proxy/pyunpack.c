/*
 * pyunpack DIRECTORY < ARCHIVE: unpacks a zip archive; a sentence on stdout and exit status 1 when it cannot.
 *
 * A program of its own, so that a hostile archive meets neither the proxy's memory nor its event loop, and
 * the proxy stays without libzip and the cryptography that comes with it (1.8 MB resident, measured).
 * The proxy starts it; a person can, too.
 */
#include "archive.h"
#include "limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int unpack(const char *directory, struct err *err)
{
	const struct archive_limits limits = { .bytes = LIMIT_UNPACKED, .entries = LIMIT_ARCHIVE_ENTRIES };
	cleanup_fd int directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat archive;
	void *data;

	if (directory_fd < 0)
		return err_errno(err, -errno, "cannot open the directory '%s'", directory);
	if (fstat(STDIN_FILENO, &archive) < 0 || !S_ISREG(archive.st_mode) || archive.st_size == 0)
		return err_set(err, -EINVAL, "not a valid zip archive: stdin is no file, or an empty one");
	data = mmap(NULL, (size_t) archive.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
	if (data == MAP_FAILED)
		return err_errno(err, -errno, "cannot map the archive");
	return archive_unpack(data, (size_t) archive.st_size, directory_fd, &limits, err);
}

int main(int argc, char **argv)
{
	struct err err;

	if (argc != 2) {
		(void) puts("usage: pyunpack DIRECTORY < ARCHIVE");
		return 2;
	}
	if (unpack(argv[1], &err) < 0) {
		(void) puts(err.text);
		return 1;
	}
	return 0;
}
