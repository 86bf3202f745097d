#include "process.h"

#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The begin of /proc/PID/name, NUL-terminated; empty when it cannot be read. */
static void read_file(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64] = "";
	cleanup_fd int fd = -1;
	ssize_t length;

	if (pid > 0)
		(void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
	else
		(void) snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd >= 0 ? read(fd, text, size - 1) : 0;
	text[length > 0 ? length : 0] = '\0';
}

long process_resident_kb(pid_t pid)
{
	char text[128];
	const char *resident;

	read_file(pid, "statm", text, sizeof(text));
	resident = strchr(text, ' '); /* the second number is the resident pages */
	return resident != NULL ? strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

long process_peak_kb(pid_t pid)
{
	char text[4096];
	const char *peak;

	read_file(pid, "status", text, sizeof(text));
	peak = strstr(text, "\nVmHWM:");
	return peak != NULL ? strtol(peak + strlen("\nVmHWM:"), NULL, 10) : 0;
}

/* Processes, each behind the one that started it. */
struct tree {
	pid_t pids[256]; /* more are not looked at */
	pid_t parents[256];
	size_t count;
};

static void closedirp(DIR **directory)
{
	if (*directory != NULL)
		(void) closedir(*directory);
}

/* One thread's children. Kernels without CONFIG_PROC_CHILDREN have no such file. */
static void add_children_of_thread(struct tree *tree, pid_t pid, const char *thread)
{
	char name[64], text[4096], *at = text, *end;

	(void) snprintf(name, sizeof(name), "task/%.20s/children", thread);
	read_file(pid, name, text, sizeof(text));
	for (long child; tree->count < ARRAY_SIZE(tree->pids) && (child = strtol(at, &end, 10)) > 0; at = end) {
		tree->parents[tree->count] = pid;
		tree->pids[tree->count++] = (pid_t) child;
	}
}

static void add_children(struct tree *tree, pid_t pid)
{
	char path[64];
	__attribute__((cleanup(closedirp))) DIR *threads = NULL;

	(void) snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);
	threads = opendir(path);
	for (struct dirent *entry; threads != NULL && (entry = readdir(threads)) != NULL;)
		if (entry->d_name[0] != '.')
			add_children_of_thread(tree, pid, entry->d_name);
}

/* Its memory, of a page that n processes have an nth; 0 when that cannot be read, as of another user's. */
static long share_kb(pid_t pid)
{
	char text[4096];
	const char *share;

	read_file(pid, "smaps_rollup", text, sizeof(text));
	share = strstr(text, "\nPss:");
	return share != NULL ? strtol(share + strlen("\nPss:"), NULL, 10) : 0;
}

/* Whether it is in its parent's memory: after vfork(2), until it executes a program. The kernel does not take that for
 * sharing. Where a container's filter refuses kcmp(2), as Docker's does, nobody can tell: then it counts twice. */
static bool is_in_memory_of(pid_t pid, pid_t parent)
{
	return parent != 0 && syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0) == 0;
}

long process_tree_kb(pid_t pid, long enough_kb)
{
	struct tree tree = { .pids = { pid }, .count = 1 };
	bool counts[ARRAY_SIZE(tree.pids)] = { false };
	long sum = 0, shares = 0, largest = 0;

	for (size_t i = 0; i < tree.count; i++) {
		long resident = process_resident_kb(tree.pids[i]);

		counts[i] = !is_in_memory_of(tree.pids[i], tree.parents[i]);
		sum += counts[i] ? resident : 0;
		largest = resident > largest ? resident : largest;
		add_children(&tree, tree.pids[i]);
	}
	if (tree.count == 1 || sum <= enough_kb)
		return sum;
	for (size_t i = 0; i < tree.count; i++)
		shares += counts[i] ? share_kb(tree.pids[i]) : 0;
	return shares > largest ? shares : largest; /* less than one alone has: some could not be read */
}

/* Each entry of the directory is one, but for "." and "..", and the one that it is read with. */
static unsigned count_entries(const char *path)
{
	enum { NOT_COUNTED = 3 };
	DIR *directory = opendir(path);
	unsigned count = 0;

	if (directory == NULL)
		return 0;
	while (readdir(directory) != NULL)
		count++;
	(void) closedir(directory);
	return count > NOT_COUNTED ? count - NOT_COUNTED : 0;
}

unsigned process_open_files(void)
{
	static const char path[] = "/proc/self/fd";
	struct stat directory;

	/* Since Linux 6.2 the directory's size is their number. */
	if (stat(path, &directory) == 0 && directory.st_size > 0)
		return (unsigned) directory.st_size;
	return count_entries(path);
}
