#include "../../common/process.h"

#include "../../common/util.h"
#include "tap.h"

#include <limits.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MEGABYTES = 64, KB = MEGABYTES * 1024 };

/* Takes memory, and gives it back. */
static void take_memory(void)
{
	char *memory = mmap(NULL, (size_t) KB * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bail_out("no memory");
	memset(memory, 1, (size_t) KB * 1024);
	(void) munmap(memory, (size_t) KB * 1024);
}

static void test_memory(void)
{
	long before = process_resident_kb(0), peak;

	ok(before > 100 && before < KB, "resident memory of this process: %ld KB", before);
	ok(labs(process_resident_kb(getpid()) - process_resident_kb(0)) < 512, "... likewise by its number");
	take_memory();
	peak = process_peak_kb(0);
	ok(peak >= KB && peak < 2 * KB + before, "the peak remains: %ld KB", peak);
	ok(process_resident_kb(0) < KB, "... and what it has now does not");
}

static void test_other_process(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void) pause();
		_exit(0);
	}
	ok(process_resident_kb(pid) > 0 && process_peak_kb(pid) > 0, "another process");
	(void) kill(pid, SIGKILL);
	(void) waitpid(pid, NULL, 0);
	is_int(process_resident_kb(pid), 0, "one that has ended has none");
	is_int(process_peak_kb(pid), 0, "... and no peak");
}

enum { GENERATIONS = 4 };

/* As many processes as generations says, each the child of the one before, in a group of their own. All have one memory,
 * got before; the last says through fd that it is there. */
static pid_t start_family(int generations, int fd)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (generations == GENERATIONS)
		(void) setpgid(0, 0);
	if (generations > 1)
		(void) start_family(generations - 1, fd);
	else if (write(fd, "", 1) != 1)
		_exit(1);
	(void) pause();
	_exit(0);
}

static void test_tree(void)
{
	char *memory = mmap(NULL, (size_t) KB * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long own = process_tree_kb(getpid(), 0), all, shares;
	int fds[2];
	pid_t pid;
	char byte;

	ok(labs(own - process_resident_kb(0)) < 512, "one alone has what is resident: %ld KB", own);
	if (memory == MAP_FAILED || pipe(fds) < 0)
		bail_out("no memory");
	memset(memory, 1, (size_t) KB * 1024);
	pid = start_family(GENERATIONS, fds[1]);
	if (read(fds[0], &byte, 1) != 1)
		bail_out("no family");
	(void) close(fds[0]);
	(void) close(fds[1]);
	all = process_tree_kb(pid, LONG_MAX);
	ok(all >= GENERATIONS * KB, "what is resident in %d of them: %ld KB", GENERATIONS, all);
	/* This process has a share of it, too. */
	shares = process_tree_kb(pid, KB);
	ok(shares >= KB / 2 && shares < 2 * KB, "what they share counts once: %ld KB", shares);
	(void) kill(-pid, SIGKILL);
	(void) waitpid(pid, NULL, 0);
	is_int(process_tree_kb(pid, 0), 0, "nothing is left");
	(void) munmap(memory, (size_t) KB * 1024);
}

static int wait_for_end(void *fds)
{
	char byte;

	(void) !read(((int *) fds)[0], &byte, 1);
	return 0;
}

/* As after vfork(2), but that this process goes on. */
static void test_child_in_the_same_memory(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	char *memory = mmap(NULL, (size_t) KB * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long one, both, sum;
	int fds[2];
	pid_t pid;

	if (memory == MAP_FAILED || pipe(fds) < 0)
		bail_out("no memory");
	memset(memory, 1, (size_t) KB * 1024);
	one = process_tree_kb(getpid(), 0);
	pid = clone(wait_for_end, stack + sizeof(stack), CLONE_VM | SIGCHLD, fds);
	both = process_tree_kb(getpid(), KB);
	sum = process_tree_kb(getpid(), LONG_MAX);
	ok(pid > 0 && one >= KB && both < one + KB / 2, "a child in the same memory has none of its own: %ld KB", both);
	ok(sum < one + KB / 2, "... nor where shares are not looked at: %ld KB", sum);
	(void) !write(fds[1], "", 1);
	(void) waitpid(pid, NULL, 0);
	(void) close(fds[0]);
	(void) close(fds[1]);
	(void) munmap(memory, (size_t) KB * 1024);
}

static void test_open_files(void)
{
	unsigned before = process_open_files();
	int fds[2];

	ok(before >= 3, "this process has %u open files", before);
	if (pipe(fds) < 0)
		bail_out("no pipe");
	is_int(process_open_files(), before + 2, "a pipe is two more");
	(void) close(fds[0]);
	(void) close(fds[1]);
	is_int(process_open_files(), before, "... while it is open");
}

int main(void)
{
	test_memory();
	test_other_process();
	test_tree();
	/* valgrind knows no such clone(), and some containers' filters no kcmp(). */
	if (getenv("PYACTION_VALGRIND") != NULL || syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) != 0)
		diag("not tried here: a child in the same memory");
	else
		test_child_in_the_same_memory();
	test_open_files();
	return done_testing();
}
