#include "spawn.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void close_from(unsigned lowest)
{
	struct rlimit files;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, lowest, ~0U, 0) == 0)
		return;
#endif
	/* Before Linux 5.9, or refused by a seccomp filter. */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur > 1048576)
		files.rlim_cur = 1048576;
	for (unsigned fd = lowest; fd < files.rlim_cur; fd++)
		(void) close((int) fd);
}

/* Moves fds to 0, 1, 2, …, *status_fd to the number after them, and closes all others. Goes through
 * numbers above the range, so that no source is overwritten before it has been copied. */
static int arrange_descriptors(const struct spawn *spawn, int *status_fd)
{
	int above = (int) spawn->fd_count + 1;
	int moved[8];

	if (spawn->fd_count > ARRAY_SIZE(moved))
		return -E2BIG;
	for (size_t i = 0; i < spawn->fd_count; i++) {
		moved[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, above);
		if (moved[i] < 0)
			return -errno;
	}
	*status_fd = fcntl(*status_fd, F_DUPFD_CLOEXEC, above);
	if (*status_fd < 0)
		return -errno;
	for (size_t i = 0; i < spawn->fd_count; i++)
		if (dup2(moved[i], (int) i) < 0)
			return -errno;
	if (dup3(*status_fd, (int) spawn->fd_count, O_CLOEXEC) < 0)
		return -errno;
	*status_fd = (int) spawn->fd_count;
	close_from((unsigned) spawn->fd_count + 1);
	return 0;
}

static void reset_signals(const struct loop *loop)
{
	/* The kernel's struct sigaction, all zero: SIG_DFL. Not through glibc, which refuses 32 and 33, its own
	 * two; under make, for one, they are inherited ignored. */
	static const unsigned long by_default[16];

	for (int number = 1; number < NSIG; number++)
		(void) syscall(SYS_rt_sigaction, number, by_default, NULL, (size_t) NSIG / 8);
	(void) sigprocmask(SIG_SETMASK, loop_original_mask(loop), NULL);
}

/* Runs between fork and exec: async-signal-safe calls only, and no way out but exec or _exit. */
static _Noreturn void run_child(const struct spawn *spawn, const struct loop *loop, pid_t parent, int status_fd)
{
	int r;

	/* Without a controlling terminal: whoever has one can type into the shell behind it (TIOCSTI). */
	(void) setsid();
	reset_signals(loop);
	r = arrange_descriptors(spawn, &status_fd);
	if (r == 0)
		r = user_become(spawn->user);
	/* Behind the change of the user, which resets it. */
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before the line above */
		_exit(127);
	if (r == 0) {
		(void) execve(spawn->argv[0], (char *const *) (void *) spawn->argv,
			(char *const *) (void *) spawn->environment);
		r = -errno;
	}
	(void) !write(status_fd, &r, sizeof(r));
	_exit(127);
}

int spawn_process(const struct spawn *spawn, const struct loop *loop, pid_t *ret_pid, struct err *err)
{
	cleanup_fd int status_read = -1;
	cleanup_fd int status_write = -1;
	pid_t parent = getpid();
	int pipe_fds[2], code = 0;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot start '%s'", spawn->argv[0]);
	status_read = pipe_fds[0];
	status_write = pipe_fds[1];

	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot start '%s'", spawn->argv[0]);
	if (pid == 0)
		run_child(spawn, loop, parent, status_write);

	fd_closep(&status_write);
	/* Ends when exec closes the other end, or brings the errno of what failed. */
	while (read(status_read, &code, sizeof(code)) < 0 && errno == EINTR)
		;
	if (code < 0) {
		(void) waitpid(pid, NULL, 0);
		return err_errno(err, code, "cannot start '%s'", spawn->argv[0]);
	}
	*ret_pid = pid;
	return 0;
}

void spawn_kill(struct loop *loop, struct child_watch *child)
{
	enum { STEP_US = 200, STEPS = 1000000 / STEP_US };

	if (child->pid <= 0)
		return;
	loop_child_unwatch(loop, child);
	(void) kill(child->pid, SIGKILL);
	for (int step = 0; step < STEPS && waitpid(child->pid, NULL, WNOHANG) == 0; step++)
		(void) usleep(STEP_US);
	child->pid = 0;
}

/* Kills children as they are listed, process ids with a blank behind each; of many, those that fit. Returns how many,
 * or -errno. Takes no memory: it may be what has run out. */
static int kill_children(void)
{
	char path[64], list[4096], *at = list;
	cleanup_fd int fd = -1;
	ssize_t length;
	int count = 0;

	(void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd >= 0 ? read(fd, list, sizeof(list) - 1) : -1;
	if (length < 0)
		return -errno;
	list[length] = '\0';
	for (char *end; (end = strchr(at, ' ')) != NULL; at = end + 1) {
		pid_t pid = (pid_t) strtol(at, NULL, 10);

		if (pid > 0 && kill(pid, SIGKILL) == 0)
			count++;
	}
	return count;
}

void spawn_kill_descendants(struct loop *loop)
{
	enum { LIMIT_MS = 1000 };
	uint64_t end_ms = loop_now_ms() + LIMIT_MS;

	/* A killed process hands its children to us, so each round kills the next generation. The bound is for
	 * a fork bomb that outruns it, and for what the kernel does not let die. */
	for (uint64_t now_ms; (now_ms = loop_now_ms()) < end_ms;) {
		int count = kill_children();

		if (count == 0)
			return;
		if (count > 0)
			loop_reap_children(loop, (int) (end_ms - now_ms));
	}
}

void spawn_kill_all(struct loop *loop)
{
	/* To PID 1 all processes are all of its container's, and at once is faster than any fork bomb. */
	if (getpid() == 1)
		(void) kill(-1, SIGKILL);
	spawn_kill_descendants(loop);
}
