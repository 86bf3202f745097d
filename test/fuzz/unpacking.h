/*
 * Unpacking with witnesses: files beside the directory, none of which may change.
 *
 *	PARENT/              in /dev/shm, or $TMPDIR; nothing else is in it
 *	    base/            the working directory, so that links can name what is in it absolutely (/proc/self/cwd)
 *	        out/         where archives are unpacked; empty between inputs
 *	        canary
 *	        witness/canary, witness/inner/
 */
#pragma once

#include "../../proxy/archive.h"
#include "fuzz.h"

#include <sys/stat.h>

enum { UNPACKED_MAX = 1 << 16, ENTRIES_MAX = 48 };

/* Makes the tree; it is removed when the process ends. */
void unpacking_prepare(void);

/* Before and after anything that unpacks into out/: out of a user's hands that owns nothing outside of the tree; and
 * the check that no witness has changed. */
void unpacking_begin(void);
void unpacking_end(void);

/* Unpacks the zip archive into out/ with these around it. Returns what archive_unpack() returned. */
int unpacking_run(const void *archive, size_t size, struct err *err);

/* What is in out/, without the links' targets being followed; -errno when there is nothing of that name. */
int unpacking_stat(const char *path, struct stat *ret_stat);
/* The first bytes of a file or the target of a link, as far as they fit; how many they were, or -errno. */
ssize_t unpacking_read(const char *path, char *to, size_t size);

/* Checks what nothing that comes out may be, and empties out/. Returns how many files, links and directories there
 * were. hard_links: whether there may be some, which are counted as many times as they have names. */
size_t unpacking_empty(bool hard_links);
