#include "unpacking.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/fsuid.h>
#include <time.h>

enum { NOBODY = 65534 };

static struct {
	char path[64];
	int base_fd, out_fd;
	unsigned renamed;
	off_t bytes;
	size_t found, left;
	bool hard_links;
} tree;

/* Everything but out/, whose own entry in base/ never changes either. */
static struct witness {
	const char *path;
	struct stat before;
} witnesses[] = {
	{ .path = ".." },
	{ .path = "." },
	{ .path = "canary" },
	{ .path = "witness" },
	{ .path = "witness/canary" },
	{ .path = "witness/inner" },
};

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void) stat;
	(void) type;
	(void) where;
	return remove(path);
}

static void remove_tree(void)
{
	(void) nftw(tree.path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_file(int fd, const char *path)
{
	int file = openat(fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	FUZZ_NEED(file >= 0 && fd_write_all(file, "witness\n", 8) == 0 && fchmod(file, 0666) == 0, "a file");
	fd_close(file);
}

/* The archives are unpacked with somebody's rights on files who has none outside of the tree, should a finding lead
 * there. No-op for those who are not root. */
static void change_file_user(unsigned user)
{
	(void) setfsuid(user);
	(void) setfsgid(user);
}

void unpacking_prepare(void)
{
	const struct timespec tick = { .tv_nsec = 20000000 };
	const char *parent = getenv("TMPDIR");

	(void) umask(0);
	if (access("/dev/shm", W_OK) == 0)
		parent = "/dev/shm";
	(void) snprintf(tree.path, sizeof(tree.path), "%.40s/pyaction-fuzz-XXXXXX", parent != NULL ? parent : "/tmp");
	FUZZ_NEED(mkdtemp(tree.path) != NULL && chmod(tree.path, 0755) == 0, "a directory");
	(void) atexit(remove_tree);
	if (geteuid() == 0)
		FUZZ_NEED(chown(tree.path, NOBODY, NOBODY) == 0, "chown");

	if (geteuid() == 0)
		change_file_user(NOBODY);
	tree.base_fd = open(tree.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_NEED(tree.base_fd >= 0 && mkdirat(tree.base_fd, "base", 0777) == 0, "base/");
	fd_close(tree.base_fd);
	FUZZ_NEED(chdir(tree.path) == 0 && chdir("base") == 0, "chdir");
	tree.base_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_NEED(mkdir("out", 0755) == 0 && mkdir("witness", 0777) == 0, "directories");
	FUZZ_NEED(mkdir("witness/inner", 0777) == 0, "witness/inner");
	make_file(tree.base_fd, "canary");
	make_file(tree.base_fd, "witness/canary");
	tree.out_fd = open("out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_NEED(tree.out_fd >= 0, "out/");
	if (geteuid() == 0)
		change_file_user(0);

	/* Times of files are those of the last tick of the clock: a later change must have another. */
	(void) nanosleep(&tick, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
		FUZZ_NEED(lstat(witnesses[i].path, &witnesses[i].before) == 0, "a witness");
}

static bool is_same_time(struct timespec one, struct timespec other)
{
	return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

/* A directory's own times and links tell of every entry that came or went. */
static void check_witnesses(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++) {
		const struct stat *before = &witnesses[i].before;
		struct stat now;

		FUZZ_CHECK(lstat(witnesses[i].path, &now) == 0, "%s is gone", witnesses[i].path);
		FUZZ_CHECK(now.st_ino == before->st_ino && now.st_mode == before->st_mode &&
				now.st_nlink == before->st_nlink && now.st_uid == before->st_uid &&
				now.st_size == before->st_size && is_same_time(now.st_mtim, before->st_mtim) &&
				is_same_time(now.st_ctim, before->st_ctim),
			"%s has changed", witnesses[i].path);
	}
}

void unpacking_begin(void)
{
	if (geteuid() == 0)
		change_file_user(NOBODY);
}

void unpacking_end(void)
{
	if (geteuid() == 0)
		change_file_user(0);
	check_witnesses();
}

int unpacking_run(const void *archive, size_t size, struct err *err)
{
	const struct archive_limits limits = { .bytes = UNPACKED_MAX, .entries = ENTRIES_MAX };
	int r;

	*err = (struct err) { "" };
	unpacking_begin();
	r = archive_unpack(archive, size, tree.out_fd, &limits, err);
	unpacking_end();
	FUZZ_CHECK((r == 0) == (err->text[0] == '\0'), "%d: %s", r, err->text);
	return r;
}

int unpacking_stat(const char *path, struct stat *ret_stat)
{
	return fstatat(tree.out_fd, path, ret_stat, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

ssize_t unpacking_read(const char *path, char *to, size_t size)
{
	ssize_t length = readlinkat(tree.out_fd, path, to, size);
	cleanup_fd int fd = length < 0 ? openat(tree.out_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;

	if (fd >= 0)
		length = read(fd, to, size);
	return length < 0 ? -errno : length;
}

static void check_entry(const char *name, const struct stat *stat)
{
	bool is_file = S_ISREG(stat->st_mode);

	FUZZ_CHECK(is_file || S_ISDIR(stat->st_mode) || S_ISLNK(stat->st_mode), "%s: %o", name, stat->st_mode);
	FUZZ_CHECK(S_ISLNK(stat->st_mode) || (stat->st_mode & 07000) == 0, "%s: %o", name, stat->st_mode);
	FUZZ_CHECK(S_ISDIR(stat->st_mode) || stat->st_nlink == 1 || tree.hard_links, "%s has links", name);
	FUZZ_CHECK(!is_file || (stat->st_mode & 0600) == 0600, "%s: %o", name, stat->st_mode);
	FUZZ_CHECK(!S_ISDIR(stat->st_mode) || (stat->st_mode & 0777) == 0755, "%s: %o", name, stat->st_mode);
	tree.bytes += is_file ? stat->st_size : 0;
	tree.found++;
}

static bool is_itself(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* How directories are called that have been moved: nothing in an archive will be, least of all in one that is found. */
#define MOVED "\xff\xff.moved."

static bool is_moved(const char *name)
{
	return strncmp(name, MOVED, strlen(MOVED)) == 0;
}

/* Removes the entry, or moves it up to out/ if it is a directory with something in it. */
static void remove_entry(int directory_fd, const char *name)
{
	char moved[32];
	struct stat stat;

	FUZZ_NEED(fstatat(directory_fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
	check_entry(name, &stat);
	if (unlinkat(directory_fd, name, S_ISDIR(stat.st_mode) ? AT_REMOVEDIR : 0) == 0)
		return;
	(void) snprintf(moved, sizeof(moved), MOVED "%u", tree.renamed++);
	FUZZ_NEED(renameat(directory_fd, name, tree.out_fd, moved) == 0, "renameat");
}

static void for_each_entry(int directory_fd, void (*call)(int fd, const char *name))
{
	DIR *directory = fdopendir(openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;

	FUZZ_NEED(directory != NULL, "opendir");
	while ((entry = readdir(directory)) != NULL)
		if (!is_itself(entry->d_name))
			call(directory_fd, entry->d_name);
	(void) closedir(directory);
}

static void remove_top_entry(int out_fd, const char *name)
{
	cleanup_fd int fd = -1;

	if (!is_moved(name)) {
		remove_entry(out_fd, name);
		return;
	}
	fd = openat(out_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_NEED(fd >= 0, "openat");
	for_each_entry(fd, remove_entry);
	FUZZ_NEED(unlinkat(out_fd, name, AT_REMOVEDIR) == 0, "unlinkat");
}

static void count_entry(int out_fd, const char *name)
{
	(void) out_fd;
	(void) name;
	tree.left++;
}

/* Not by descending: directories may be nested thousands of times. */
size_t unpacking_empty(bool hard_links)
{
	tree.hard_links = hard_links;
	tree.bytes = 0;
	tree.found = 0;
	do {
		for_each_entry(tree.out_fd, remove_top_entry);
		tree.left = 0;
		for_each_entry(tree.out_fd, count_entry);
	} while (tree.left > 0);
	FUZZ_CHECK(tree.bytes <= UNPACKED_MAX || hard_links, "%lld bytes", (long long) tree.bytes);
	return tree.found;
}
