#include "../../proxy/spawn.h"

#include "loop_run.h"
#include "tap.h"
#include "tree.h"

#include <libgen.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef SYS_close_range /* glibc 2.31; the number is the same everywhere */
#define SYS_close_range 436
#endif

extern char **environ;

static char self[PATH_MAX];

/* --- what is started: this program again, with an argument ------------------------------------------- */

static bool tells_state(const char *line)
{
	static const char *const names[] = { "SigBlk:", "SigIgn:", "Uid:", "Gid:", "CapInh:", "CapPrm:", "CapEff:" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(line, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Writes to path, "-" for fd 1, all that a process can know about how it was started. */
static int write_report(const char *path)
{
	char line[300], fds[1000] = "";
	int death_signal = 0;
	FILE *out, *status;

	/* The descriptors first, before this opens any. */
	if (tap.out != NULL)
		(void) fclose(tap.out);
	for (int fd = 0; fd < 2000; fd++) {
		struct stat stat;

		if (fstat(fd, &stat) == 0)
			(void) snprintf(fds + strlen(fds), sizeof(fds) - strlen(fds), " %d=%lu%s", fd,
				(unsigned long) stat.st_ino, (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 ? "!" : "");
	}
	out = strcmp(path, "-") == 0 ? fdopen(STDOUT_FILENO, "w") : fopen(path, "we");
	status = fopen("/proc/self/status", "re");
	(void) prctl(PR_GET_PDEATHSIG, &death_signal);
	(void) fprintf(out, "fds:%s\n", fds);
	(void) fprintf(out, "leads: %s\n",
		getsid(0) == getpid()           ? "a session"
			: getpgrp() == getpid() ? "a group"
						: "nothing");
	(void) fprintf(out, "death signal: %d\n", death_signal);
	(void) fputs("environment:", out);
	for (char **variable = environ; *variable != NULL; variable++)
		(void) fprintf(out, " %s", *variable);
	(void) fputc('\n', out);
	while (fgets(line, sizeof(line), status) != NULL)
		if (tells_state(line))
			(void) fputs(line, out);
	(void) fclose(status);
	(void) fclose(out);
	return 0;
}

/* Forks levels generations, two children each, every other one in a session of its own; tells one byte for
 * each process to fd 1; none of them ends by itself. */
static _Noreturn void grow_tree(int levels)
{
	sigset_t all;

	sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, NULL);
	for (int i = 0; levels > 0 && i < 2; i++) {
		if (fork() == 0) {
			levels--;
			i = -1;
			if (levels % 2 == 0)
				(void) setsid();
		}
	}
	(void) !write(STDOUT_FILENO, "x", 1);
	for (;;)
		(void) pause();
}

static int be_started(char **argv)
{
	if (strcmp(argv[1], "report") == 0)
		return write_report(argv[2]);
	if (strcmp(argv[1], "tree") == 0)
		grow_tree(atoi(argv[2]));
	return atoi(argv[2]); /* "exit" */
}

/* --- starting ---------------------------------------------------------------------------------------- */

struct ending {
	struct child_watch watch;
	bool done;
	int wait_status;
};

static void on_end(void *context, int wait_status)
{
	struct ending *ending = context;

	ending->done = true;
	ending->wait_status = wait_status;
}

static int start_watched(const struct spawn *spawn, struct loop *loop, struct ending *ending, struct err *err)
{
	int r;

	*ending = (struct ending) { .watch = { .on_end = on_end, .context = ending } };
	r = spawn_process(spawn, loop, &ending->watch.pid, err);
	if (r == 0)
		loop_child_watch(loop, &ending->watch);
	return r;
}

static char *directory;

/* Starts this program as reporter with what else is in spawn, and returns its report; for free(). */
static char *report_of(struct spawn spawn, struct loop *loop)
{
	char path[PATH_MAX], text[4000] = "";
	const char *const argv[] = { self, "report", path, NULL };
	struct ending ending;
	struct err err;
	FILE *file;

	(void) snprintf(path, sizeof(path), "%s/report", directory);
	(void) unlink(path);
	spawn.argv = argv;
	if (start_watched(&spawn, loop, &ending, &err) < 0)
		return strdup(err.text);
	if (!run_until(loop, &ending.done) || ending.wait_status != 0)
		return strdup("it has failed");
	file = fopen(path, "re");
	if (file == NULL)
		return strdup("it has not reported");
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void) fclose(file);
	return strdup(text);
}

/* The value of a line of a report, in static memory. */
static const char *line_of(const char *report, const char *name)
{
	static char value[2000];
	const char *start = strstr(report, name);

	if (start == NULL)
		return report;
	(void) snprintf(value, sizeof(value), "%.*s", (int) strcspn(start + strlen(name), "\n"), start + strlen(name));
	return value;
}

static const char *const no_environment[] = { NULL };

/* --- tests ------------------------------------------------------------------------------------------- */

/* A file of its own for each of the numbers from 0 to count - 1: told apart by their inodes. */
static void describe_fds(char *text, size_t size, const int *fds, size_t count)
{
	text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		struct stat stat = { 0 };

		(void) fstat(fds[i], &stat);
		(void) snprintf(text + strlen(text), size - strlen(text), " %zu=%lu", i, (unsigned long) stat.st_ino);
	}
}

static int open_numbered(int number)
{
	char path[PATH_MAX];
	int fd, moved;

	(void) snprintf(path, sizeof(path), "%s/file%d", directory, number);
	fd = open(path, O_RDWR | O_CREAT, 0600); /* not close-on-exec, on purpose */
	if (fd < 0)
		bail_out("cannot open %s", path);
	moved = fcntl(fd, F_DUPFD, number);
	(void) close(fd);
	return moved;
}

static void check_arrangement(struct loop *loop, const int *fds, size_t count, const char *what)
{
	struct spawn spawn = { .environment = no_environment, .fds = fds, .fd_count = count };
	char wanted[400];
	char *report;

	describe_fds(wanted, sizeof(wanted), fds, count);
	report = report_of(spawn, loop);
	ok(tap_is_str(line_of(report, "fds:"), wanted), "%s", what);
	free(report);
}

static void test_descriptors(void)
{
	enum { ROUNDS = 25 };
	struct loop *loop = make_loop();
	int files[8], low = open_numbered(3), round = 0;
	char what[100];

	for (int i = 0; i < 8; i++)
		files[i] = open_numbered(i < 5 ? 3 + i : 200 + i);
	check_arrangement(loop, files, 5, "five descriptors are 0 to 4, and nothing else is open");
	check_arrangement(loop, files, 3, "three are 0 to 2");
	check_arrangement(loop, files, 8, "eight are 0 to 7");
	check_arrangement(
		loop, (const int[]) { low, low, low }, 3, "one that is given three times is there three times");
	check_arrangement(loop, NULL, 0, "none");
	for (; round < ROUNDS; round++) {
		int shuffled[5];

		/* Among them the numbers 0 to 4 themselves, in any order. */
		for (size_t i = 0; i < 5; i++)
			shuffled[i] = random_below(2) == 0 ? (int) random_below(5) : files[random_below(8)];
		(void) snprintf(what, sizeof(what), "%d %d %d %d %d become 0 1 2 3 4", shuffled[0], shuffled[1],
			shuffled[2], shuffled[3], shuffled[4]);
		check_arrangement(loop, shuffled, 5, what);
	}
	for (int i = 0; i < 8; i++)
		(void) close(files[i]);
	(void) close(low);
	loop_free(loop);
}

static void test_environment_and_group(void)
{
	static const char *const environment[] = { "A=b=c", "EMPTY=", NULL };
	const int fds[] = { 0, 1, 2 };
	struct spawn spawn = { .environment = environment, .fds = fds, .fd_count = 3 };
	struct loop *loop = make_loop();
	char *report = report_of(spawn, loop);

	is_str(line_of(report, "environment:"), " A=b=c EMPTY=", "the environment is the given one");
	is_str(line_of(report, "leads: "), "a session", "it leads a session of its own, without a terminal");
	is_str(line_of(report, "death signal: "), "9", "SIGKILL is its death signal");
	free(report);
	loop_free(loop);
}

/* What it is as that user, through a pipe: it can write to no file of ours. */
static void test_user(void)
{
	static const struct user user = { .other = true, .strip = true, .uid = 4711, .gid = 4712 };
	const char *const argv[] = { self, "report", "-", NULL };
	struct loop *loop;
	char report[4000] = "";
	struct ending ending;
	struct err err;
	int pipe_fds[2];

	if (geteuid() != 0 || user_check_directory(&user, dirname(strdupa(self)), false) < 0) {
		ok(true, "a process of another user # SKIP needs root, and a place that others reach");
		return;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	loop = make_loop();
	const int fds[] = { 0, pipe_fds[1], 2 };
	const struct spawn spawn = {
		.argv = argv, .environment = no_environment, .fds = fds, .fd_count = 3, .user = &user
	};

	is_int(start_watched(&spawn, loop, &ending, &err), 0, "a process of another user");
	ok(run_until(loop, &ending.done) && read(pipe_fds[0], report, sizeof(report) - 1) > 0, "... reports");
	is_str(line_of(report, "Uid:"), "\t4711\t4711\t4711\t4711", "... all four user ids are that one's");
	is_str(line_of(report, "Gid:"), "\t4712\t4712\t4712\t4712", "... and the group ids");
	is_str(line_of(report, "CapInh:"), "\t0000000000000000", "... no capability can be inherited");
	is_str(line_of(report, "CapPrm:"), "\t0000000000000000", "... none is permitted");
	is_str(line_of(report, "CapEff:"), "\t0000000000000000", "... none is in effect");
	is_str(line_of(report, "death signal: "), "9", "... SIGKILL is its death signal all the same");
	fd_close(pipe_fds[0]);
	fd_close(pipe_fds[1]);
	loop_free(loop);
}

static void test_group_is_there_at_once(void)
{
	const char *const argv[] = { self, "tree", "0", NULL };
	int pipe_fds[2];
	struct spawn spawn = { .argv = argv, .environment = no_environment, .fd_count = 3 };
	struct loop *loop = make_loop();
	struct ending ending;
	struct err err;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	spawn.fds = (const int[]) { 0, pipe_fds[1], 2 };
	is_int(start_watched(&spawn, loop, &ending, &err), 0, "a process with a group");
	is_int(getpgid(ending.watch.pid), ending.watch.pid, "... which is there when the call returns");
	(void) kill(-ending.watch.pid, SIGKILL);
	ok(run_until(loop, &ending.done) && WTERMSIG(ending.wait_status) == SIGKILL, "... for killing");
	fd_close(pipe_fds[0]);
	fd_close(pipe_fds[1]);
	loop_free(loop);
}

/* In a process of its own, which has what a parent may have handed down. */
static void check_signals(void)
{
	const int fds[] = { 0, 1, 2 };
	struct spawn spawn = { .environment = no_environment, .fds = fds, .fd_count = 3 };
	sigset_t mine;
	struct loop *loop;
	char *report;
	bool right;

	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2); /* number 12 */
	(void) sigprocmask(SIG_SETMASK, &mine, NULL);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) signal(SIGHUP, SIG_IGN);
	(void) signal(SIGRTMIN, SIG_IGN);
	loop = make_loop();
	report = report_of(spawn, loop);
	right = strcmp(line_of(report, "SigBlk:\t"), "0000000000000800") == 0 &&
		strcmp(line_of(report, "SigIgn:\t"), "0000000000000000") == 0;
	if (!right)
		diag("%s", report);
	_exit(right ? 0 : 1);
}

static int in_child(void (*body)(void))
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		body();
		_exit(0);
	}
	(void) waitpid(pid, &wait_status, 0);
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1000 + WTERMSIG(wait_status);
}

static void check_failure(struct loop *loop, const struct spawn *spawn, int code, const char *sentence)
{
	struct err err = { .text = "" };
	pid_t pid = 4711;
	int r = spawn_process(spawn, loop, &pid, &err);

	ok(tap_is_int(r, code) && tap_is_str(err.text, sentence) && pid == 4711, "%s", sentence);
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "... and no child is left");
}

static void test_failures(void)
{
	const char *argv[] = { "/nonexistent/program", NULL };
	static const int nine[9] = { 0, 1, 2, 0, 1, 2, 0, 1, 2 }, closed[] = { 0, 1, 1999 };
	struct spawn spawn = { .argv = argv, .environment = no_environment, .fds = nine, .fd_count = 3 };
	struct loop *loop = make_loop();
	char sentence[PATH_MAX + 100], path[PATH_MAX];

	check_failure(loop, &spawn, -ENOENT, "cannot start '/nonexistent/program': No such file or directory");
	argv[0] = directory;
	(void) snprintf(sentence, sizeof(sentence), "cannot start '%s': Permission denied", directory);
	check_failure(loop, &spawn, -EACCES, sentence);

	(void) snprintf(path, sizeof(path), "%s/broken", directory);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
	argv[0] = path;
	(void) snprintf(sentence, sizeof(sentence), "cannot start '%s': Exec format error", path);
	check_failure(loop, &spawn, -ENOEXEC, sentence);

	argv[0] = self;
	spawn.fd_count = 9;
	(void) snprintf(sentence, sizeof(sentence), "cannot start '%s': Argument list too long", self);
	check_failure(loop, &spawn, -E2BIG, sentence);
	spawn.fds = closed;
	spawn.fd_count = 3;
	(void) snprintf(sentence, sizeof(sentence), "cannot start '%s': Bad file descriptor", self);
	check_failure(loop, &spawn, -EBADF, sentence);
	loop_free(loop);
}

/* close_range(2) is refused, as before Linux 5.9 or by a container's filter: descriptors are closed one by one. */
static void check_without_close_range(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };
	const struct rlimit files = { .rlim_cur = 4096, .rlim_max = 4096 };
	int fds[3] = { 0, 1, 2 };
	struct spawn spawn = { .environment = no_environment, .fds = fds, .fd_count = 3 };
	struct loop *loop = make_loop();
	char wanted[100], *report;

	(void) setrlimit(RLIMIT_NOFILE, &files);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(77);
	if (syscall(SYS_close_range, 3999U, 4000U, 0) == 0 || errno != ENOSYS)
		_exit(78);
	(void) dup2(open_numbered(3), 1500);
	describe_fds(wanted, sizeof(wanted), fds, 3);
	report = report_of(spawn, loop);
	_exit(strcmp(line_of(report, "fds:"), wanted) == 0 ? 0 : 1);
}

/* --- the end of others ------------------------------------------------------------------------------- */

/* Starts a tree of processes that do not end by themselves, and waits until it is there. */
static size_t start_tree(struct loop *loop, struct ending *ending, const char *levels, size_t size)
{
	const char *const argv[] = { self, "tree", levels, NULL };
	int pipe_fds[2];
	struct spawn spawn = { .argv = argv, .environment = no_environment, .fd_count = 3 };
	struct err err;
	char byte;
	size_t count = 0;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	spawn.fds = (const int[]) { 0, pipe_fds[1], 2 };
	if (start_watched(&spawn, loop, ending, &err) < 0)
		bail_out("%s", err.text);
	fd_close(pipe_fds[1]);
	while (count < size && read(pipe_fds[0], &byte, 1) == 1)
		count++;
	fd_close(pipe_fds[0]);
	return count;
}

static void check_descendants(void)
{
	struct ending tree, watched;
	struct loop *loop;

	(void) prctl(PR_SET_CHILD_SUBREAPER, 1);
	loop = make_loop();
	/* 2 levels of 2 each: 1 + 2 + 4 processes */
	if (start_tree(loop, &tree, "2", 7) != 7 || start_tree(loop, &watched, "0", 1) != 1)
		_exit(1);
	loop_child_unwatch(loop, &tree.watch);
	spawn_kill_descendants(loop);
	if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
		_exit(2);
	if (tree.done || !watched.done || WTERMSIG(watched.wait_status) != SIGKILL)
		_exit(3);
	spawn_kill_descendants(loop); /* of nobody */
}

/* Somebody traces it: it dies, but cannot be waited for. The call returns all the same, and the loop forgets it. */
static void test_kill_of_a_traced_child(void)
{
	struct loop *loop = make_loop();
	struct ending ending;
	int pipe_fds[2];
	char byte;
	pid_t tracer;

	(void) start_tree(loop, &ending, "0", 1);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	tracer = fork();
	if (tracer == 0) {
		(void) !write(pipe_fds[1], ptrace(PTRACE_SEIZE, ending.watch.pid, NULL, NULL) == 0 ? "1" : "0", 1);
		for (;;)
			(void) pause();
	}
	if (read(pipe_fds[0], &byte, 1) == 1 && byte == '1') {
		pid_t pid = ending.watch.pid;

		spawn_kill(loop, &ending.watch);
		is_int(ending.watch.pid, 0, "a child that is traced is forgotten");
		is_int(waitpid(pid, NULL, WNOHANG), 0, "... for it cannot be waited for");
		(void) kill(tracer, SIGKILL);
		(void) waitpid(tracer, NULL, 0);
		is_int(waitpid(pid, NULL, 0), pid, "... until the tracer is gone");
	} else {
		ok(true, "a child that is traced # SKIP no ptrace here");
		(void) kill(tracer, SIGKILL);
		(void) waitpid(tracer, NULL, 0);
		spawn_kill(loop, &ending.watch);
	}
	ok(!ending.done, "its callback is not called");
	spawn_kill(loop, &ending.watch); /* of nobody */
	fd_close(pipe_fds[0]);
	fd_close(pipe_fds[1]);
	loop_free(loop);
}

/* The proxy is killed: what it started goes with it. */
static void test_death_signal(void)
{
	int pipe_fds[2];
	char byte;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	pid = fork();
	if (pid == 0) {
		const char *const argv[] = { self, "tree", "0", NULL };
		const int fds[] = { 0, pipe_fds[1], 2 };
		const struct spawn spawn = { .argv = argv, .environment = no_environment, .fds = fds, .fd_count = 3 };
		struct err err;
		pid_t ignored;

		if (spawn_process(&spawn, make_loop(), &ignored, &err) < 0)
			_exit(1);
		for (;;)
			(void) pause();
	}
	fd_close(pipe_fds[1]);
	ok(read(pipe_fds[0], &byte, 1) == 1, "a process and its parent");
	(void) kill(pid, SIGKILL);
	(void) waitpid(pid, NULL, 0);
	is_int(read(pipe_fds[0], &byte, 1), 0, "the parent's death is its own");
	fd_close(pipe_fds[0]);
}

int main(int argc, char **argv)
{
	int fds = count_open_fds(), status;
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 1)
		return be_started(argv);
	self[length] = '\0';
	directory = tree_new();
	is_int(in_child(check_signals), 0, "the mask of our own start, and no signal ignored");
	status = in_child(check_without_close_range);
	is_int(status, 0, "without close_range nothing is left open either");
	is_int(in_child(check_descendants), 0,
		"all descendants are killed and reaped, orphans and other sessions, too");
	test_death_signal();
	test_kill_of_a_traced_child();
	test_descriptors();
	test_environment_and_group();
	test_user();
	test_group_is_there_at_once();
	test_failures();
	tree_free(directory);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
