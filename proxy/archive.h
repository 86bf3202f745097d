/*
 * Zip archives to files: the only file that knows libzip. The archive is hostile.
 *
 * Nothing is ever written outside the directory: every entry is opened component by component below it, no
 * component through a symbolic link, and names that are absolute or contain ".." are refused. Links are
 * created as they are, absolute and dangling ones too, for virtual environments have them.
 */
#pragma once

#include "../common/err.h"

struct archive_limits {
	size_t bytes; /* all files together, unpacked */
	size_t entries;
};

/*
 * Unpacks the archive of length bytes at data into the directory directory_fd, which should be empty. Keeps
 * executable bits and links; a file is always readable and writable for its owner. Of entries with the same
 * name the last one stays. Returns 0, or a negative errno with a sentence that names the entry: damaged,
 * truncated or encrypted archives, checksum errors, forbidden names, more than the limits allow.
 * What had been unpacked until then stays.
 */
int archive_unpack(const void *data, size_t length, int directory_fd, const struct archive_limits *limits,
	struct err *err) UTIL_MUST_CHECK;
