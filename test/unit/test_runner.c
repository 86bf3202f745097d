#include "../../proxy/runner.h"

#include "loop_run.h"
#include "runner_double.h"
#include "tap.h"
#include "tree.h"

#include <sys/wait.h>

static char self[PATH_MAX];

/* --- a runner and what is seen of it ----------------------------------------------------------------- */

struct seen {
	struct runner *runner; /* NULL when it has ended */
	char order[64];        /* r for each reply, e for the end */
	char status[512];
	char *payload;
	size_t payload_length;
	bool replied, ended;
	char reason[600];
	int wait_status;
	long peak_kb;
	char *stolen;
	size_t stolen_length;
	void (*in_reply)(struct seen *seen);
	bool alive_in_reply;
};

static struct loop *loop;

static void on_reply(void *context, struct reply *reply)
{
	struct seen *seen = context;

	seen->order[strlen(seen->order)] = 'r';
	(void) snprintf(seen->status, sizeof(seen->status), "%s", reply->status);
	free(seen->payload);
	seen->payload_length = reply->payload_length;
	seen->payload = steal_ptr(&reply->payload);
	seen->replied = true;
	seen->alive_in_reply = runner_is_ready(seen->runner);
	if (seen->in_reply != NULL)
		seen->in_reply(seen);
}

static void on_end(void *context, const struct runner_end *end)
{
	struct seen *seen = context;

	seen->order[strlen(seen->order)] = 'e';
	(void) snprintf(seen->reason, sizeof(seen->reason), "%s", end->reason);
	seen->wait_status = end->wait_status;
	seen->peak_kb = end->peak_kb;
	seen->stolen = runner_steal_unread(seen->runner, &seen->stolen_length);
	seen->runner = NULL;
	seen->ended = true;
}

static int start_with(struct seen *seen, const struct runner_config *config, struct err *err)
{
	const struct runner_callbacks callbacks = { .on_reply = on_reply, .on_end = on_end, .context = seen };

	*seen = (struct seen) { 0 };
	return runner_start(&seen->runner, loop, config, &callbacks, err);
}

static struct seen *start(const char *mode)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	char variable[100];
	const char *const extra[] = { variable, NULL };
	cleanup_fd int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const struct runner_config config = {
		.path = self, .stdout_fd = null_fd, .stderr_fd = STDERR_FILENO, .extra_environment = extra
	};
	struct err err;

	(void) snprintf(variable, sizeof(variable), "RUNNER_DOUBLE=%s", mode);
	if (start_with(seen, &config, &err) < 0)
		bail_out("%s", err.text);
	return seen;
}

static void send_text(const struct seen *seen, const char *text)
{
	size_t length = strlen(text);
	char *line = malloc(length + 1);

	memcpy(line, text, length);
	runner_send(seen->runner, line, length);
}

static bool has_no_children(void)
{
	return waitid(P_ALL, 0, &(siginfo_t) { 0 }, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static pid_t only_child(void)
{
	char path[64], text[32] = "";
	FILE *children;

	(void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
	children = fopen(path, "re");
	if (children == NULL || fgets(text, sizeof(text), children) == NULL)
		bail_out("no child");
	(void) fclose(children);
	return atoi(text);
}

/* Until everything that was killed is reaped and freed. */
static bool settle(void)
{
	for (int i = 0; i < 5000 && !has_no_children(); i++)
		run_ms(loop, 2);
	return has_no_children();
}

static void finish(struct seen *seen)
{
	if (seen->runner != NULL)
		runner_discard(seen->runner);
	(void) settle();
	free(seen->payload);
	free(seen->stolen);
	free(seen);
}

static bool is_reply(const struct seen *seen, const char *status, const char *payload)
{
	return tap_is_str(seen->status, status) &&
		tap_is_mem(seen->payload, seen->payload_length, payload, strlen(payload));
}

/* --- replies ----------------------------------------------------------------------------------------- */

static void test_echo(void)
{
	struct seen *seen = start("script");
	bool right = true;

	ok(!runner_is_busy(seen->runner) && runner_is_ready(seen->runner), "a fresh runner is idle and alive");
	for (int i = 0; i < 50; i++) {
		char text[100];

		(void) snprintf(text, sizeof(text), "{\"number\": %d}", i);
		seen->replied = false;
		send_text(seen, text);
		right = right && runner_is_busy(seen->runner) && run_until(loop, &seen->replied) &&
			is_reply(seen, "{\"status\":\"success\"}", text) && !runner_is_busy(seen->runner) &&
			seen->alive_in_reply;
	}
	ok(right, "50 messages, one after the other, each have their reply");
	seen->replied = false;
	send_text(seen, "<facts>");
	ok(run_until(loop, &seen->replied) && is_reply(seen, "facts", "stdin 0, group own, parent there"),
		"its stdin is empty, and it leads a process group");
	finish(seen);
}

static void send_another(struct seen *seen)
{
	seen->replied = strlen(seen->order) == 5;
	if (!seen->replied)
		send_text(seen, "again");
}

static void test_send_in_reply(void)
{
	struct seen *seen = start("script");

	seen->in_reply = send_another;
	send_text(seen, "again");
	ok(run_until(loop, &seen->replied) && strcmp(seen->order, "rrrrr") == 0,
		"the next message is sent from on_reply");
	finish(seen);
}

static void test_pieces(void)
{
	struct seen *seen = start("script");

	send_text(seen, "<raw s;raw ta;raw tus~pay;raw load;raw ~>");
	ok(run_until(loop, &seen->replied) && is_reply(seen, "status", "payload"), "a reply in pieces");
	seen->replied = false;
	send_text(seen, "<raw ~~>");
	ok(run_until(loop, &seen->replied) && is_reply(seen, "", ""), "an empty one");
	finish(seen);
}

static void test_large(void)
{
	enum { SIZE = 5 << 20 };
	struct seen *seen = start("script");
	char *text = malloc(SIZE + 1);

	memset(text, 'm', SIZE);
	text[SIZE] = '\0';
	send_text(seen, text);
	ok(run_until(loop, &seen->replied), "a message of 5 MB has a reply");
	ok(tap_is_mem(seen->payload, seen->payload_length, text, SIZE), "... of the same 5 MB");
	seen->replied = false;
	send_text(seen, "<big 5000001>");
	ok(run_until(loop, &seen->replied) && seen->payload_length == 5000001 && seen->payload[0] == 'b' &&
			seen->payload[5000000] == 'b' && seen->payload[5000001] == '\0',
		"a short message, a reply of 5 MB");
	seen->replied = false;
	send_text(seen, "small");
	ok(run_until(loop, &seen->replied) && is_reply(seen, "{\"status\":\"success\"}", "small"),
		"a small one after that");
	free(text);
	finish(seen);
}

static void test_two_runners(void)
{
	struct seen *a = start("script"), *b = start("script");

	send_text(a, "to a");
	send_text(b, "to b");
	ok(run_until(loop, &a->replied) && run_until(loop, &b->replied), "two runners answer");
	ok(strcmp(a->payload, "to a") == 0 && strcmp(b->payload, "to b") == 0, "... each its own");
	send_text(a, "<exit 1>");
	ok(run_until(loop, &a->ended), "one ends");
	b->replied = false;
	send_text(b, "still here");
	ok(run_until(loop, &b->replied) && strcmp(b->payload, "still here") == 0 && !b->ended, "... the other goes on");
	finish(b);
	finish(a);
}

/* --- what it gets ------------------------------------------------------------------------------------ */

static void check_variable(const char *const *extra, const char *name, const char *wanted)
{
	const struct runner_config config = {
		.path = self, .stdout_fd = 2, .stderr_fd = 2, .extra_environment = extra
	};
	struct seen *seen = calloc(1, sizeof(*seen));
	char text[100];
	struct err err;

	if (start_with(seen, &config, &err) < 0)
		bail_out("%s", err.text);
	(void) snprintf(text, sizeof(text), "<env %s>", name);
	send_text(seen, text);
	ok(run_until(loop, &seen->replied) && tap_is_str(seen->payload, wanted), "%s is %s%s", name, wanted,
		extra == NULL ? ", without extra variables" : "");
	finish(seen);
}

static void test_environment(void)
{
	static const char *const extra[] = { "TEST_A=extra=1", "TEST_NEW=", NULL };

	(void) setenv("RUNNER_DOUBLE", "script", 1);
	(void) setenv("TEST_A", "own", 1);
	(void) setenv("TEST_AB", "own too", 1);
	check_variable(NULL, "TEST_A", "own");
	check_variable(NULL, "TEST_NEW", "unset");
	check_variable(extra, "TEST_A", "extra=1");
	check_variable(extra, "TEST_NEW", "");
	check_variable(extra, "TEST_AB", "own too");
	(void) unsetenv("RUNNER_DOUBLE");
}

static void test_output(void)
{
	static const char *const extra[] = { "RUNNER_DOUBLE=script", NULL };
	struct seen *seen = calloc(1, sizeof(*seen));
	char out[20] = "", error[20] = "";
	int out_pipe[2], error_pipe[2];
	struct err err;

	if (pipe2(out_pipe, O_CLOEXEC) < 0 || pipe2(error_pipe, O_CLOEXEC) < 0)
		bail_out("no pipe");
	if (start_with(seen,
		    &(struct runner_config) { .path = self,
			    .stdout_fd = out_pipe[1],
			    .stderr_fd = error_pipe[1],
			    .extra_environment = extra },
		    &err) < 0)
		bail_out("%s", err.text);
	send_text(seen, "<out to stdout;err to stderr;reply success>");
	ok(run_until(loop, &seen->replied), "a runner that prints");
	(void) !read(out_pipe[0], out, sizeof(out) - 1);
	(void) !read(error_pipe[0], error, sizeof(error) - 1);
	is_str(out, "to stdout", "its stdout is the given one");
	is_str(error, "to stderr", "its stderr is the given one");
	/* What it forked would keep these open. */
	seen->replied = false;
	send_text(seen, "<fork;reply success>");
	ok(run_until(loop, &seen->replied), "it forks");
	runner_discard(seen->runner);
	seen->runner = NULL;
	fd_close(out_pipe[1]);
	fd_close(error_pipe[1]);
	ok(settle() && read(out_pipe[0], out, 1) == 0, "discarded, it goes with what it has forked");
	fd_close(out_pipe[0]);
	fd_close(error_pipe[0]);
	finish(seen);
}

static void test_start_failure(void)
{
	const struct runner_config config = { .path = "/nonexistent/runner", .stdout_fd = 2, .stderr_fd = 2 };
	struct seen seen;
	struct err err;
	int fds = count_open_fds();

	is_int(start_with(&seen, &config, &err), -ENOENT, "a runner that is not there");
	is_str(err.text, "cannot start '/nonexistent/runner': No such file or directory", "... which is said");
	ok(seen.runner == NULL && count_open_fds() == fds && has_no_children(), "... and nothing is left of it");
}

/* --- ends -------------------------------------------------------------------------------------------- */

/* Sends message to a runner in that mode; NULL: none. */
static void check_end(const char *mode, const char *message, const char *order, const char *reason, const char *what)
{
	struct seen *seen = start(mode);

	if (message != NULL)
		send_text(seen, message);
	ok(run_until(loop, &seen->ended) && tap_is_str(seen->reason, reason) && tap_is_str(seen->order, order) &&
			seen->stolen == NULL,
		"%s: %s", what, reason);
	ok(settle(), "... reaped");
	finish(seen);
}

static void test_ends(void)
{
	check_end("exit", NULL, "e", "exit status 5", "it ends before it was asked anything");
	check_end("script", "<exit 0>", "e", "exit status 0", "instead of an answer");
	check_end("script", "<exit 3>", "e", "exit status 3", "instead of an answer");
	check_end("script", "<raw half a li;exit 3>", "e", "exit status 3", "after half a status line");
	check_end("script", "<raw s~half a payl;exit 3>", "e", "exit status 3", "after half a payload");
	check_end("script", "<raw s~p~;exit 4>", "re", "exit status 4", "after a whole reply, which counts");
	check_end("script", "<big 3000000;exit 4>", "re", "exit status 4", "after a large whole reply");
	check_end("script", "<kill 11>", "e", "killed by signal 11: Segmentation fault", "by a fault");
	check_end("script", "<kill 15>", "e", "killed by signal 15: Terminated", "by SIGTERM");
	check_end("script", "<kill 9>", "e",
		"killed by signal 9: by itself, by the kernel for lack of memory, or from outside", "by SIGKILL");
	check_end("script", "<fork;exit 3>", "e", "exit status 3", "while a process it forked has the channel");
	check_end("script", "<raw s~p~;fork;exit 3>", "re", "exit status 3", "... after a reply");
}

/* The end is noticed first: what had been said before it counts all the same. */
static void test_end_before_reply(void)
{
	struct seen *seen = start("script");

	send_text(seen, "<raw s~p~;exit 4>");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
	loop_reap_children(loop, 20000);
	ok(strcmp(seen->order, "re") == 0 && is_reply(seen, "s", "p") && !seen->alive_in_reply,
		"a reply that is still in the pipe when the end is noticed");
	is_str(seen->reason, "exit status 4", "... which is told after it");
	finish(seen);

	seen = start("script");
	send_text(seen, "<big 500000;exit 4>");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
	loop_reap_children(loop, 20000);
	ok(strcmp(seen->order, "re") == 0 && seen->payload_length == 500000, "a large one");
	finish(seen);
}

static void test_broken_protocol(void)
{
	check_end("script", "<raw s~p~x;pause>", "e", "the runner sent 1 bytes after its reply", "with its reply");
	check_end("talker", NULL, "e", "the runner sent 4 bytes without being asked", "while idle");
	check_end("closer", NULL, "e", "it closed its channel to the proxy", "while idle");
	check_end("closer", "message", "e", "it closed its channel to the proxy", "without reading a message");
	check_end("script", "<close;pause>", "e", "it closed its channel to the proxy", "while asked");
	check_end("script", "<raw s~p;close;pause>", "e", "it closed its channel to the proxy", "in its reply");
}

static void test_long_status(void)
{
	char message[700] = "<raw ";

	memset(message + 5, 's', 600);
	(void) strcat(message, ";pause>");
	check_end("script", message, "e", "the runner's status line is longer than 511 bytes",
		"with an endless status line");
}

/* The bytes after the reply come when it has been delivered. */
static void test_late_extra_bytes(void)
{
	struct seen *seen = start("script");

	send_text(seen, "<raw s~p~;kill 19;raw more;pause>");
	ok(run_until(loop, &seen->replied), "a reply, after which it stops");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WSTOPPED | WNOWAIT);
	(void) kill(only_child(), SIGCONT);
	ok(run_until(loop, &seen->ended) && strcmp(seen->order, "re") == 0, "... and goes on with more bytes");
	is_str(seen->reason, "the runner sent 4 bytes without being asked", "... which end it");
	finish(seen);
}

static void test_closed_channel_has_a_grace(void)
{
	struct seen *seen = start("closer");
	uint64_t since_ms = loop_now_ms();

	ok(run_until(loop, &seen->ended) && loop_now_ms() - since_ms >= 100,
		"without its channel it has 100 ms to end");
	finish(seen);

	seen = start("script");
	send_text(seen, "<close;exit 7>");
	ok(run_until(loop, &seen->ended) && strcmp(seen->reason, "exit status 7") == 0,
		"... within which its status counts");
	finish(seen);
}

/* --- discarding -------------------------------------------------------------------------------------- */

static void discard_in_reply(struct seen *seen)
{
	runner_discard(seen->runner);
	seen->runner = NULL;
}

static void check_discarded(const char *mode, const char *message, int wait_ms, const char *what)
{
	int fds = count_open_fds();
	struct seen *seen = start(mode);

	if (message != NULL)
		send_text(seen, message);
	if (wait_ms > 0)
		run_ms(loop, (uint64_t) wait_ms);
	if (seen->runner != NULL)
		runner_discard(seen->runner);
	seen->runner = NULL;
	ok(settle() && seen->order[0] == '\0' && count_open_fds() == fds, "discarded %s: no call, nothing left", what);
	finish(seen);
}

static void test_discard(void)
{
	struct seen *seen;
	char *big = malloc(4 << 20);

	check_discarded("mute", NULL, 0, "at once");
	check_discarded("mute", NULL, 10, "while idle");
	check_discarded("mute", "message", 10, "while asked");
	check_discarded("script", "<raw s~half;pause>", 30, "in the middle of a reply");
	memset(big, 'm', 4 << 20);
	big[(4 << 20) - 1] = '\0';
	check_discarded("mute", big, 10, "in the middle of a message");
	free(big);

	seen = start("script");
	seen->in_reply = discard_in_reply;
	send_text(seen, "<raw s~p~;pause>");
	ok(run_until(loop, &seen->replied) && settle() && strcmp(seen->order, "r") == 0, "discarded in its reply");
	finish(seen);
	seen = start("script");
	seen->in_reply = discard_in_reply;
	send_text(seen, "<raw s~p~;exit 0>");
	ok(run_until(loop, &seen->replied) && settle() && strcmp(seen->order, "r") == 0,
		"discarded in its reply, which came with its end");
	finish(seen);
}

/* --- messages that were never read ------------------------------------------------------------------- */

static void kill_only_child(void)
{
	pid_t pid = only_child();

	(void) kill(pid, SIGKILL);
	/* It is dead, and the loop does not know. */
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
}

static void test_steal(void)
{
	struct seen *seen = start("mute");
	char *large = malloc(100001);

	kill_only_child();
	ok(runner_is_ready(seen->runner), "a runner that died unnoticed seems alive");
	send_text(seen, "unread");
	ok(run_until(loop, &seen->ended) && tap_is_mem(seen->stolen, seen->stolen_length, "unread", 6),
		"a message that it never read is given back");
	if (seen->stolen != NULL)
		seen->stolen[6] = '\n'; /* the room for one more */
	finish(seen);

	seen = start("mute");
	send_text(seen, "unread");
	run_ms(loop, 5);
	kill_only_child();
	ok(run_until(loop, &seen->ended) && tap_is_mem(seen->stolen, seen->stolen_length, "unread", 6),
		"one that was in the pipe when it died");
	finish(seen);

	seen = start("exit");
	send_text(seen, "");
	ok(run_until(loop, &seen->ended) && tap_is_mem(seen->stolen, seen->stolen_length, "", 0), "an empty one");
	finish(seen);

	seen = start("half");
	send_text(seen, "half read");
	ok(run_until(loop, &seen->ended) && strcmp(seen->reason, "exit status 6") == 0 && seen->stolen == NULL,
		"one that it began to read is not");
	finish(seen);

	seen = start("mute");
	memset(large, 'l', 100000);
	large[100000] = '\0';
	send_text(seen, large);
	kill_only_child();
	ok(run_until(loop, &seen->ended) && seen->stolen == NULL, "one that is too large to keep is not");
	free(large);
	finish(seen);
}

static void test_nothing_to_steal(void)
{
	struct seen *seen = start("script");

	send_text(seen, "answered");
	ok(run_until(loop, &seen->replied), "a message that was answered");
	kill_only_child();
	ok(run_until(loop, &seen->ended) && seen->stolen == NULL, "... is not given back");
	finish(seen);

	seen = start("talker");
	send_text(seen, "unread");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WSTOPPED);
	kill_only_child();
	ok(run_until(loop, &seen->ended) && seen->stolen == NULL,
		"nor is one that a runner talks about without reading it");
	finish(seen);
}

/* --- stopping it -------------------------------------------------------------------------------------- */

static void test_terminate(void)
{
	struct seen *seen = start("script");

	send_text(seen, "ready?");
	ok(run_until(loop, &seen->replied) && !runner_terminate(seen->runner),
		"without a handler SIGTERM is not passed on");
	seen->replied = false;
	send_text(seen, "still here");
	ok(run_until(loop, &seen->replied) && strcmp(seen->payload, "still here") == 0, "... and it goes on");
	seen->replied = false;
	send_text(seen, "<trap bye;reply success>");
	ok(run_until(loop, &seen->replied) && runner_terminate(seen->runner), "with a handler it is");
	ok(run_until(loop, &seen->ended) && strcmp(seen->reason, "exit status 7") == 0, "... and that decides");
	finish(seen);
}

/* It has spoken while idle, and the loop has not looked yet: that must not become the next answer. */
static void test_unasked_before_a_message(void)
{
	struct seen *seen = start("script");
	pid_t pid;

	send_text(seen, "<raw s~p~;kill 19;raw forged~reply~;kill 19>");
	ok(run_until(loop, &seen->replied) && runner_is_ready(seen->runner), "a reply, after which it stops");
	pid = only_child();
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WSTOPPED);
	(void) kill(pid, SIGCONT);
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WSTOPPED);
	ok(!runner_is_ready(seen->runner), "another that nobody asked for: it is not ready for a message");
	ok(run_until(loop, &seen->ended) && strcmp(seen->order, "re") == 0, "... and ends");
	is_str(seen->reason, "it spoke without being asked", "... for that reason");
	finish(seen);
}

/* --- killing it --------------------------------------------------------------------------------------- */

static void test_kill(void)
{
	struct seen *seen = start("script");
	pid_t pid;

	send_text(seen, "<pause>");
	run_ms(loop, 10);
	runner_kill(seen->runner, "enough");
	ok(!seen->ended && !runner_is_ready(seen->runner), "killed, it takes no message, and its end is not told yet");
	runner_kill(seen->runner, "more than enough");
	ok(run_until(loop, &seen->ended) && tap_is_str(seen->order, "e") && tap_is_str(seen->reason, "enough") &&
			seen->stolen == NULL,
		"... but comes, with the first reason");
	ok(WIFSIGNALED(seen->wait_status) && WTERMSIG(seen->wait_status) == SIGKILL, "... and the signal");
	finish(seen);

	seen = start("script");
	pid = only_child();
	runner_kill(seen->runner, "idle");
	ok(run_until(loop, &seen->ended) && strcmp(seen->reason, "idle") == 0, "one that is idle, at once");
	ok(kill(pid, 0) < 0 && errno == ESRCH && has_no_children(), "... is gone");
	finish(seen);

	seen = start("script");
	send_text(seen, "<fork;pause>");
	run_ms(loop, 30);
	runner_kill(seen->runner, "with its children");
	ok(run_until(loop, &seen->ended) && settle(), "one with a child goes with it");
	finish(seen);
}

static void test_kill_and_reply(void)
{
	struct seen *seen = start("script");

	/* Both are in the pipe when it is killed: nothing it has said counts. */
	send_text(seen, "<raw s~p~;kill 19>");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WSTOPPED | WNOWAIT);
	runner_kill(seen->runner, "too late");
	ok(run_until(loop, &seen->ended) && tap_is_str(seen->order, "e"), "a reply that was not read does not count");
	finish(seen);

	seen = start("mute");
	send_text(seen, "unread");
	runner_kill(seen->runner, "never read");
	ok(run_until(loop, &seen->ended) && seen->stolen == NULL, "a message that one has not read is not given back");
	finish(seen);

	seen = start("script");
	send_text(seen, "<exit 3>");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
	runner_kill(seen->runner, "dead already");
	ok(run_until(loop, &seen->ended) && tap_is_str(seen->reason, "exit status 3"),
		"one that had ended before has its own reason");
	finish(seen);
}

static void kill_in_reply(struct seen *seen)
{
	runner_kill(seen->runner, "in its reply");
}

static void test_kill_in_reply(void)
{
	struct seen *seen = start("script");

	seen->in_reply = kill_in_reply;
	send_text(seen, "<raw s~p~;pause>");
	ok(run_until(loop, &seen->ended) && tap_is_str(seen->order, "re") && tap_is_str(seen->reason, "in its reply"),
		"killed in its reply, its end follows");
	finish(seen);
}

static void check_wait_status(const char *message, int wait_status)
{
	struct seen *seen = start("script");

	send_text(seen, message);
	ok(run_until(loop, &seen->ended) && tap_is_int(seen->wait_status & ~0x80, wait_status), "the wait status of %s",
		message); /* 0x80: a core was dumped */
	finish(seen);
}

static void test_wait_status(void)
{
	check_wait_status("<exit 0>", 0);
	check_wait_status("<exit 3>", 3 << 8);
	check_wait_status("<kill 15>", SIGTERM);
	check_wait_status("<kill 11>", SIGSEGV);
	check_wait_status("<raw s~p~;exit 4>", 4 << 8);
	check_wait_status("<raw s~p~x;pause>", SIGKILL);
}

/* --- its memory --------------------------------------------------------------------------------------- */

enum { LARGE_MB = 100 };

/* What the kernel says of the process in another place, in KB. field: "VmRSS:" and the like. */
static long memory_field(pid_t pid, const char *field)
{
	char path[64], line[128];
	long kb = -1;
	FILE *status;

	(void) snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	status = fopen(path, "re");
	while (status != NULL && fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			kb = strtol(line + strlen(field), NULL, 10);
	if (status != NULL)
		(void) fclose(status);
	return kb;
}

static void test_memory(void)
{
	struct seen *seen = start("script");
	long before_kb, after_kb, resident_kb;

	send_text(seen, "ready?");
	(void) run_until(loop, &seen->replied);
	before_kb = runner_memory_kb(seen->runner, LONG_MAX);
	resident_kb = memory_field(only_child(), "VmRSS:");
	ok(labs(before_kb - resident_kb) < labs(memory_field(only_child(), "VmSize:") - resident_kb) / 4,
		"%ld KB are what is resident, %ld KB", before_kb, resident_kb);
	seen->replied = false;
	send_text(seen, "<grow 100;reply success>");
	(void) run_until(loop, &seen->replied);
	after_kb = runner_memory_kb(seen->runner, LONG_MAX);
	ok(before_kb > 0 && before_kb < LARGE_MB * 1024, "a fresh one has %ld KB", before_kb);
	ok(after_kb >= before_kb + LARGE_MB * 1024 - 1024 && after_kb <= before_kb + LARGE_MB * 1024 + 10240,
		"%d MB more are %ld KB", LARGE_MB, after_kb);
	kill_only_child();
	is_int(runner_memory_kb(seen->runner, LONG_MAX), 0, "one that has ended has none");
	(void) run_until(loop, &seen->ended);
	ok(seen->peak_kb >= LARGE_MB * 1024 && seen->peak_kb <= after_kb + 10240,
		"its end has the most that it had, %ld KB", seen->peak_kb);
	finish(seen);

	seen = start("script");
	send_text(seen, "<exit 0>");
	ok(run_until(loop, &seen->ended), "another ends");
	ok(seen->peak_kb < LARGE_MB * 1024, "... which has had %ld KB", seen->peak_kb);
	finish(seen);
}

/* A process begins with the peak of the one that forked it, and so much it has not had. Leaves this process with such
 * a peak: the last test. */
static void test_inherited_memory(void)
{
	size_t size = (size_t) 2 * LARGE_MB << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct seen *seen;

	if (memory == MAP_FAILED)
		bail_out("no memory");
	seen = start("script");
	(void) munmap(memory, size);
	send_text(seen, "<exit 0>");
	ok(run_until(loop, &seen->ended) && tap_is_int(seen->peak_kb, 0),
		"what one that began as a copy of a larger process has had is not known");
	finish(seen);
	seen = start("script");
	send_text(seen, "<grow 300;exit 0>");
	(void) run_until(loop, &seen->ended);
	ok(seen->peak_kb >= 300 * 1024, "... unless it was more, %ld KB", seen->peak_kb);
	finish(seen);
}

int main(int argc, char **argv)
{
	int fds = count_open_fds();
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void) argc;
	(void) argv;
	become_runner_double();
	self[length] = '\0';
	loop = make_loop();
	test_echo();
	test_send_in_reply();
	test_pieces();
	test_large();
	test_two_runners();
	test_environment();
	test_output();
	test_start_failure();
	test_ends();
	test_end_before_reply();
	test_broken_protocol();
	test_long_status();
	test_late_extra_bytes();
	test_closed_channel_has_a_grace();
	test_discard();
	test_steal();
	test_nothing_to_steal();
	test_terminate();
	test_unasked_before_a_message();
	test_kill();
	test_kill_and_reply();
	test_kill_in_reply();
	test_wait_status();
	test_memory();
	test_inherited_memory();
	loop_free(loop);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
