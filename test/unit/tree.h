/*
 * Directories of a test: made below $TMPDIR, written down as text for comparison, and removed.
 */
#pragma once

#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

/* A fresh directory; for free(). */
TAP_UNUSED static char *tree_new(void)
{
	const char *parent = getenv("TMPDIR");
	char *path = NULL;

	if (asprintf(&path, "%s/pyaction-unit-XXXXXX", parent != NULL ? parent : "/tmp") < 0 || mkdtemp(path) == NULL)
		bail_out("cannot make a directory for the test");
	return path;
}

static int tree_remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void) stat;
	(void) type;
	return where->level == 0 ? 0 : remove(path);
}

/* Removes what is in it, links themselves and not what they lead to. */
TAP_UNUSED static void tree_empty(const char *path)
{
	if (nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		diag("cannot empty %s: %s", path, strerror(errno));
}

/* Ends a tree_new(). */
TAP_UNUSED static void tree_free(char *path)
{
	tree_empty(path);
	if (rmdir(path) < 0)
		diag("cannot remove %s: %s", path, strerror(errno));
	free(path);
}

static void tree_write_file(FILE *out, const char *path, off_t size)
{
	char text[64] = "";
	FILE *file = fopen(path, "re");
	size_t length = file != NULL ? fread(text, 1, sizeof(text), file) : 0;

	if (size > (off_t) sizeof(text))
		(void) fprintf(out, " %lld bytes", (long long) size);
	else
		(void) fprintf(out, " '%s'", tap_show(text, length));
	if (file != NULL)
		(void) fclose(file);
}

static void tree_write(FILE *out, const char *path, const char *shown)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char child[PATH_MAX], child_shown[PATH_MAX], target[64];
		const char *name = entries[i]->d_name;
		struct stat stat;
		ssize_t length;

		(void) snprintf(child, sizeof(child), "%s/%s", path, name);
		(void) snprintf(child_shown, sizeof(child_shown), "%s%s%s", shown, shown[0] != '\0' ? "/" : "", name);
		free(entries[i]);
		if (strcmp(strrchr(child, '/'), "/.") == 0 || strcmp(strrchr(child, '/'), "/..") == 0 ||
			lstat(child, &stat) < 0)
			continue;
		(void) fprintf(out, "%s", child_shown);
		if (S_ISDIR(stat.st_mode)) {
			(void) fprintf(out, "/ %03o\n", stat.st_mode & 07777U);
			tree_write(out, child, child_shown);
			continue;
		}
		if (S_ISLNK(stat.st_mode)) {
			length = readlink(child, target, sizeof(target));
			(void) fprintf(out, " -> %s",
				length >= (ssize_t) sizeof(target) ? "..." : tap_show(target, (size_t) length));
		} else if (S_ISREG(stat.st_mode)) {
			(void) fprintf(out, " %03o", stat.st_mode & 07777U);
			tree_write_file(out, child, stat.st_size);
		} else {
			(void) fprintf(out, " of another type");
		}
		(void) fputc('\n', out);
	}
	if (count >= 0)
		free(entries);
}

/* What is in a directory, a line each, sorted: "dir/ 755", "dir/file 644 'contents'", "link -> target". For
 * free(). */
TAP_UNUSED static char *tree_show(const char *path)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	tree_write(out, path, "");
	(void) fclose(out);
	return text;
}

/* How many descriptors are open, for finding those that were left so. */
TAP_UNUSED static int count_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	if (directory == NULL)
		bail_out("no /proc");
	while (readdir(directory) != NULL)
		count++;
	(void) closedir(directory);
	return count;
}
