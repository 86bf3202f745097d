#include "runner.h"

#include "../common/process.h"
#include "limits.h"
#include "server_log.h"
#include "spawn.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

enum {
	CHANNEL_PIPE_SIZE = 1 << 20, /* large payloads in few system calls; 64 KB where that is refused */
	READ_SIZE = 65536,
	KEEP_LINE_MAX = 65536, /* a message kept until its reply, in case it is never read */
	EXIT_GRACE_MS = 100,   /* between the end of the channel and the end of the process */
};

struct runner {
	struct loop *loop;
	struct runner_callbacks callbacks;
	struct child_watch child;
	long inherited_peak_kb; /* its peak_kb cannot be less: a fork begins with the parent's */
	pid_t group;            /* its process group, led by it */
	struct watch messages;  /* write end, watched while a message does not fit into the pipe */
	struct watch replies;   /* read end */
	char *line;
	size_t line_length, line_sent;
	struct reply reply;
	char buffer[READ_SIZE]; /* here, not on the stack, where each call would have it zeroed */
	bool busy;
	bool ended;                   /* its end has been noticed */
	bool killed;                  /* by us */
	char complaint[ERR_TEXT_MAX]; /* why we killed it */
	struct timer exit_grace;
};

static void runner_free(struct runner *runner)
{
	loop_unwatch(runner->loop, &runner->messages);
	loop_unwatch(runner->loop, &runner->replies);
	if (runner->busy)
		loop_expect_answer(runner->loop, false);
	loop_child_unwatch(runner->loop, &runner->child);
	loop_timer_clear(runner->loop, &runner->exit_grace);
	fd_close(runner->messages.fd);
	fd_close(runner->replies.fd);
	free(runner->line);
	reply_reset(&runner->reply);
	free(runner);
}

/* --- the channel ------------------------------------------------------------------------------------- */

static void drop_line(struct runner *runner)
{
	free(runner->line);
	runner->line = NULL;
	loop_unwatch(runner->loop, &runner->messages);
}

static void write_line(struct runner *runner)
{
	struct err err;

	while (runner->line_sent < runner->line_length) {
		ssize_t count = write(
			runner->messages.fd, runner->line + runner->line_sent, runner->line_length - runner->line_sent);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EAGAIN && loop_watch(runner->loop, &runner->messages, EPOLLOUT, &err) == 0)
			return;
		/* EPIPE: it is gone, or closed its end; the reply side finds out. Else it would wait for the rest, for
		 * ever: the system may have no memory for a pipe's pages, or for a watch. */
		if (count < 0 && errno != EPIPE)
			runner_kill(runner, "the message to it could not be sent");
		if (count < 0)
			break;
		runner->line_sent += (size_t) count;
	}
	loop_unwatch(runner->loop, &runner->messages);
	if (runner->line_length > KEEP_LINE_MAX)
		drop_line(runner);
}

static void on_messages_ready(void *context, uint32_t events)
{
	struct runner *runner = context;

	if ((events & EPOLLERR) != 0) /* the read end is closed */
		loop_unwatch(runner->loop, &runner->messages);
	else
		write_line(runner);
}

static void kill_group(struct runner *runner)
{
	runner->killed = true;
	runner->ended = true;
	/* Nothing it says counts any more, and its last bytes must not keep waking us. */
	loop_unwatch(runner->loop, &runner->replies);
	if (runner->child.pid > 0)
		(void) kill(-runner->group, SIGKILL);
}

void runner_kill(struct runner *runner, const char *reason)
{
	if (runner->complaint[0] == '\0')
		(void) snprintf(runner->complaint, sizeof(runner->complaint), "%s", reason);
	kill_group(runner);
}

/* count bytes have been read to space, the payload's own buffer, or where that is NULL to ours. */
static int take_bytes(struct runner *runner, const char *space, size_t count, struct err *err)
{
	if (!runner->busy)
		return err_set(err, -EPROTO, "the runner sent %zu bytes without being asked", count);
	if (space != NULL)
		return reply_direct_commit(&runner->reply, count, LIMIT_REPLY_MAX, err);
	return reply_feed(&runner->reply, runner->buffer, count, LIMIT_REPLY_MAX, err);
}

static void set_busy(struct runner *runner, bool busy)
{
	runner->busy = busy;
	loop_expect_answer(runner->loop, busy);
}

static void deliver(struct runner *runner)
{
	struct reply reply = runner->reply;

	/* Moved out first: the callback may send the next message. */
	runner->reply = (struct reply) { 0 };
	set_busy(runner, false);
	drop_line(runner);
	runner->callbacks.on_reply(runner->callbacks.context, &reply);
	reply_reset(&reply);
}

/* Reads what is there. Returns false at the end of the channel. */
static bool read_replies(struct runner *runner)
{
	for (;;) {
		size_t size = sizeof(runner->buffer);
		char *space = reply_direct_space(&runner->reply, &size);
		ssize_t count = read(runner->replies.fd, space != NULL ? space : runner->buffer, size);
		struct err err;

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno == EAGAIN;
		if (count == 0)
			return false;
		if (take_bytes(runner, space, (size_t) count, &err) < 0) {
			server_log(
				EVENT_RUNNER_MISBEHAVED, LOG_NUMBER("pid", runner->group), LOG_TEXT("error", err.text));
			runner_kill(runner, err.text);
			return true;
		}
		if (runner->reply.complete) {
			deliver(runner);
			return true;
		}
		/* A short read emptied the pipe: asking again would only bring EAGAIN. */
		if ((size_t) count < size)
			return true;
	}
}

static void on_replies_ready(void *context, uint32_t events UTIL_UNUSED)
{
	struct runner *runner = context;

	if (read_replies(runner))
		return;
	/* The process is ending, and its status tells how. One that goes on without its channel is of no use. */
	runner->ended = true;
	loop_unwatch(runner->loop, &runner->replies);
	loop_timer_set(runner->loop, &runner->exit_grace, loop_now_ms() + EXIT_GRACE_MS);
}

static void on_exit_grace_over(void *context)
{
	const struct runner *runner = context;

	server_log(EVENT_RUNNER_MISBEHAVED, LOG_NUMBER("pid", runner->group),
		LOG_TEXT("error", "it closed its channel to the proxy"));
	runner_kill(context, "it closed its channel to the proxy");
}

/* --- the process ------------------------------------------------------------------------------------- */

static void describe_end(const struct runner *runner, int wait_status, char *text, size_t size)
{
	int number = WTERMSIG(wait_status);

	if (WIFEXITED(wait_status))
		(void) snprintf(text, size, "exit status %d", WEXITSTATUS(wait_status));
	else if (runner->killed && number == SIGKILL && runner->complaint[0] != '\0')
		(void) snprintf(text, size, "%s", runner->complaint);
	else if (number == SIGKILL && !runner->killed)
		(void) snprintf(
			text, size, "killed by signal 9: by itself, by the kernel for lack of memory, or from outside");
	else
		(void) snprintf(text, size, "killed by signal %d: %s", number, strsignal(number));
}

static void on_process_end(void *context, int wait_status)
{
	struct runner *runner = context;
	pid_t group = runner->group;
	char reason[ERR_TEXT_MAX + 64];
	struct runner_end end = { .reason = reason, .wait_status = wait_status };

	/* What it wrote before it died is in the pipe: the reply, if it is whole, counts. EOF may never come,
	 * should a process it forked hold the other end. */
	runner->ended = true;
	if (!runner->killed)
		(void) read_replies(runner);
	(void) kill(-group, SIGKILL);
	if (runner->child.peak_kb > runner->inherited_peak_kb)
		end.peak_kb = runner->child.peak_kb;
	describe_end(runner, wait_status, reason, sizeof(reason));
	if (runner->callbacks.on_end != NULL)
		runner->callbacks.on_end(runner->callbacks.context, &end);
	runner_free(runner);
}

void runner_discard(struct runner *runner)
{
	runner->callbacks = (struct runner_callbacks) { 0 };
	kill_group(runner);
}

bool runner_is_ready(struct runner *runner)
{
	int unasked = 0;

	if (!runner->ended && !runner->busy && ioctl(runner->replies.fd, FIONREAD, &unasked) == 0 && unasked > 0) {
		server_log(EVENT_RUNNER_MISBEHAVED, LOG_NUMBER("pid", runner->group),
			LOG_TEXT("error", "it spoke without being asked"));
		runner_kill(runner, "it spoke without being asked");
	}
	return !runner->ended;
}

/* Whether the process catches the signal: bit number-1 of the mask SigCgt (proc(5)). */
static bool catches_signal(pid_t pid, int number)
{
	char path[64], line[128];
	unsigned long long mask = 0;
	FILE *status;

	(void) snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	status = fopen(path, "re");
	if (status == NULL)
		return false;
	while (fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, "SigCgt:", 7) == 0)
			mask = strtoull(line + 7, NULL, 16);
	(void) fclose(status);
	return (mask >> (number - 1) & 1) != 0;
}

long runner_memory_kb(const struct runner *runner, long enough_kb)
{
	return runner->child.pid > 0 ? process_tree_kb(runner->child.pid, enough_kb) : 0;
}

pid_t runner_pid(const struct runner *runner)
{
	return runner->child.pid;
}

bool runner_terminate(struct runner *runner)
{
	return runner->child.pid > 0 && catches_signal(runner->child.pid, SIGTERM) &&
		kill(runner->child.pid, SIGTERM) == 0;
}

char *runner_steal_unread(struct runner *runner, size_t *ret_length)
{
	int unread = 0;

	if (!runner->busy || runner->killed || runner->line == NULL || runner->reply.status_length > 0)
		return NULL;
	if (ioctl(runner->messages.fd, FIONREAD, &unread) < 0 || (size_t) unread != runner->line_sent)
		return NULL;
	*ret_length = runner->line_length - 1;
	return steal_ptr(&runner->line);
}

bool runner_is_busy(const struct runner *runner)
{
	return runner->busy;
}

void runner_send(struct runner *runner, char *line, size_t length)
{
	line[length] = '\n';
	runner->line = line;
	runner->line_length = length + 1;
	runner->line_sent = 0;
	set_busy(runner, true);
	write_line(runner);
}

void runner_look(struct runner *runner)
{
	if (runner->busy && !runner->ended && runner->messages.events == 0 &&
		loop_look_for_answer(runner->loop, runner->replies.fd))
		on_replies_ready(runner, EPOLLIN);
}

/* --- starting ---------------------------------------------------------------------------------------- */

static bool has_name_of(const char *variable, const char *other)
{
	size_t length = strcspn(other, "=");

	return strncmp(variable, other, length + 1) == 0;
}

/* This process's environment with extra put over it. The array is the caller's, the strings are not. */
static const char **merge_environment(const char *const *extra)
{
	size_t count = 0, extra_count = 0, used = 0;
	const char **merged;

	while (environ[count] != NULL)
		count++;
	while (extra != NULL && extra[extra_count] != NULL)
		extra_count++;
	merged = calloc(count + extra_count + 1, sizeof(*merged));
	if (merged == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		bool replaced = false;

		for (size_t j = 0; j < extra_count; j++)
			replaced = replaced || has_name_of(environ[i], extra[j]);
		if (!replaced)
			merged[used++] = environ[i];
	}
	for (size_t j = 0; j < extra_count; j++)
		merged[used++] = extra[j];
	return merged;
}

static int start_process(
	struct runner *runner, const struct runner_config *config, int messages_fd, int replies_fd, struct err *err)
{
	const char *argv[] = { config->path, NULL };
	cleanup_fd int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int fds[] = { null_fd, config->stdout_fd, config->stderr_fd, messages_fd, replies_fd };
	cleanup_free const char **environment = merge_environment(config->extra_environment);
	struct spawn spawn = {
		.argv = argv, .environment = environment, .fds = fds, .fd_count = ARRAY_SIZE(fds), .user = config->user
	};

	if (null_fd < 0)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
		return err_errno(err, -errno, "cannot open /dev/null");
	if (environment == NULL)
		return err_errno(err, -ENOMEM, "cannot start '%s'", config->path);
	return spawn_process(&spawn, runner->loop, &runner->child.pid, err);
}

static int open_channel(int *ret_read, int *ret_write, int ours_is_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot make a pipe for the runner");
	(void) fcntl(fds[1], F_SETPIPE_SZ, CHANNEL_PIPE_SIZE);
	(void) fcntl(fds[ours_is_write ? 1 : 0], F_SETFL, O_NONBLOCK);
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

static void runner_freep(struct runner **runner)
{
	if (*runner != NULL)
		runner_free(*runner);
}

int runner_start(struct runner **ret_runner, struct loop *loop, const struct runner_config *config,
	const struct runner_callbacks *callbacks, struct err *err)
{
	__attribute__((cleanup(runner_freep))) struct runner *runner = calloc(1, sizeof(*runner));
	cleanup_fd int messages_read = -1;
	cleanup_fd int replies_write = -1;
	struct rusage usage = { 0 };
	int r;

	if (runner == NULL)
		return err_errno(err, -ENOMEM, "cannot start '%s'", config->path);
	runner->loop = loop;
	runner->callbacks = *callbacks;
	runner->messages = (struct watch) { .fd = -1, .on_ready = on_messages_ready, .context = runner };
	runner->replies = (struct watch) { .fd = -1, .on_ready = on_replies_ready, .context = runner };
	runner->exit_grace = (struct timer) { .on_due = on_exit_grace_over, .context = runner };
	(void) getrusage(RUSAGE_SELF, &usage);
	runner->inherited_peak_kb = usage.ru_maxrss;
	runner->child = (struct child_watch) { .on_end = on_process_end, .context = runner };

	r = open_channel(&messages_read, &runner->messages.fd, true, err);
	if (r < 0)
		return r;
	r = open_channel(&runner->replies.fd, &replies_write, false, err);
	if (r < 0)
		return r;
	r = start_process(runner, config, messages_read, replies_write, err);
	if (r < 0)
		return r;
	runner->group = runner->child.pid;
	loop_child_watch(loop, &runner->child);
	r = loop_watch(loop, &runner->replies, EPOLLIN, err);
	if (r < 0) {
		kill_group(runner);
		return r;
	}
	*ret_runner = steal_ptr(&runner);
	return 0;
}
