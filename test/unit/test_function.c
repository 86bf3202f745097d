#include "../../proxy/function.h"
#include "../../proxy/limits.h"

#include "loop_run.h"
#include "runner_double.h"
#include "tap.h"
#include "tree.h"

#include <sys/wait.h>

#define MARKER LOGS_MARKER "\n"

static char self[PATH_MAX];

/* --- the unpacker: this program with a directory as its argument ------------------------------------- */

static int be_unpacker(const char *directory)
{
	char archive[100] = "", path[PATH_MAX];

	archive[pread(STDIN_FILENO, archive, sizeof(archive) - 1, 0)] = '\0';
	(void) snprintf(path, sizeof(path), "%s/%s", directory, archive);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	if (strcmp(archive, "PKbad") == 0)
		return puts("the archive is bad") < 0 ? 2 : 1;
	while (strcmp(archive, "PKhang") == 0)
		(void) pause();
	return 0;
}

#define ZIP(base64) "{\"value\":{\"code\":\"" base64 "\",\"binary\":true}}"
#define ZIP_GOOD ZIP("UEtnb29k")
#define ZIP_BAD ZIP("UEtiYWQ=")
#define ZIP_HANG ZIP("UEtoYW5n")

/* --- a function and what is seen of it --------------------------------------------------------------- */

/* An invocation and its outcome. */
struct asked {
	char *message; /* first: make_message() takes it from there */
	int calls;
	bool done;
	enum outcome_kind kind;
	char *payload; /* NULL: text counts */
	char text[700];
	struct asked *next; /* all of a test, for freeing */
};

static struct {
	struct loop *loop;
	struct logs *logs;
	struct function *function;
	char *work_dir;
	struct asked *all;
	int told; /* how many outcomes there have been */
	int saved[2], out_read, error_read;
	int fds;
} test;

static void on_outcome(void *context, struct outcome *outcome)
{
	struct asked *asked = context;

	asked->calls++;
	asked->done = true;
	asked->kind = outcome->kind;
	if (outcome->payload != NULL && strlen(outcome->payload) != outcome->payload_length)
		diag("the length of the payload is wrong");
	asked->payload = steal_ptr(&outcome->payload);
	(void) snprintf(asked->text, sizeof(asked->text), "%s", outcome->text);
	test.told++;
}

static char *copy_body(const char *text)
{
	char *body = malloc(strlen(text) + 2); /* room for one byte more than the NUL */

	return strcpy(body, text);
}

/* The platform of runs whose context begins with the text of the message. A newline becomes white space, as /run has
 * it. */
static char *make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	char *message = copy_body(*(char **) context);

	(void) limits;
	*ret_length = strlen(message);
	for (char *at = message; (at = strchr(at, '\n')) != NULL;)
		*at = '\r';
	return message;
}

static const struct platform platform = { .markers = true, .make_message = make_message };

enum kind { INVOCATION_INIT, INVOCATION_RUN };

static struct asked *submit(enum kind kind, const char *text)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	asked->message = copy_body(text);
	asked->next = test.all;
	test.all = asked;
	if (kind == INVOCATION_INIT)
		function_init(test.function, copy_body(text), strlen(text), on_outcome, asked);
	else
		function_run(test.function, &platform, on_outcome, asked);
	return asked;
}

static struct asked *ask(enum kind kind, const char *text)
{
	struct asked *asked = submit(kind, text);

	if (!run_until(test.loop, &asked->done))
		diag("no outcome");
	return asked;
}

static struct asked *run(const char *text)
{
	return ask(INVOCATION_RUN, text);
}

/* An init whose handler is the commands for the runner. */
static struct asked *submit_init(const char *commands)
{
	char text[1000];

	(void) snprintf(text, sizeof(text), "{\"value\":{\"code\":\"code\",\"main\":\"%s\"}}", commands);
	return submit(INVOCATION_INIT, text);
}

static struct asked *init(const char *commands)
{
	struct asked *asked = submit_init(commands);

	(void) run_until(test.loop, &asked->done);
	return asked;
}

/* said: the payload, or the text where there is none. */
static bool is_outcome(const struct asked *asked, enum outcome_kind kind, const char *said)
{
	return tap_is_int(asked->calls, 1) && tap_is_int(asked->kind, kind) &&
		tap_is_str(asked->payload != NULL ? asked->payload : asked->text, said);
}

static bool is_initialized(const struct asked *asked)
{
	return is_outcome(asked, OUTCOME_INITIALIZED, "{\"ok\":true}");
}

static bool came(int fd, const char *wanted)
{
	static char text[1 << 20];
	ssize_t length = read(fd, text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = '\0';
	return tap_is_str(text, wanted);
}

/* All that has come since the last time. */
static bool came_out(const char *wanted)
{
	return came(test.out_read, wanted);
}

static bool came_error(const char *wanted)
{
	return came(test.error_read, wanted);
}

static bool work_dir_is(const char *wanted)
{
	char *tree = tree_show(test.work_dir), *at = strchr(tree, '\n');
	bool same;

	/* Without the name of the directory, which is random. */
	for (char *line = tree; at != NULL && (line = strstr(line, "pyaction-")) != NULL;)
		memcpy(line, "pyaction-......", 15), line += 15;
	same = tap_is_str(tree, wanted);
	free(tree);
	return same;
}

static void set_up(const char *mode)
{
	struct function_config config = {
		.runner_path = self, .unzip_path = self, .limits = { LIMITS_DEFAULT, LIMITS_DEFAULT }
	};
	struct err err;
	int out[2], error[2];

	test.fds = count_open_fds();
	(void) setenv("RUNNER_DOUBLE", mode, 1);
	(void) unsetenv("DOUBLE_INIT");
	config.work_dir = test.work_dir = tree_new();
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0)
		bail_out("no pipe");
	for (int i = 0; i < 2; i++) {
		test.saved[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 100);
		(void) fcntl(i == 0 ? out[1] : error[1], F_SETPIPE_SZ, 1 << 20); /* nobody reads meanwhile */
		(void) dup2(i == 0 ? out[1] : error[1], i + 1);
		fd_close(i == 0 ? out[1] : error[1]);
	}
	test.out_read = out[0];
	test.error_read = error[0];
	(void) fcntl(out[0], F_SETFL, O_NONBLOCK);
	(void) fcntl(error[0], F_SETFL, O_NONBLOCK);
	test.told = 0;
	test.loop = make_loop();
	if (logs_new(&test.logs, test.loop, &err) < 0 ||
		function_new(&test.function, test.loop, test.logs, &config, &err) < 0)
		bail_out("%s", err.text);
}

static bool has_no_children(void)
{
	return waitid(P_ALL, 0, &(siginfo_t) { 0 }, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static bool settle(void)
{
	for (int i = 0; i < 5000 && !has_no_children(); i++)
		run_ms(test.loop, 2);
	return has_no_children();
}

/* Ends a test; nothing may be left of it. */
static void tear_down(void)
{
	int wrong = 0;

	function_free(test.function);
	ok(settle() && work_dir_is(""), "no process and no file is left");
	logs_free(test.logs);
	for (int i = 0; i < 2; i++) {
		(void) dup2(test.saved[i], i + 1);
		fd_close(test.saved[i]);
	}
	fd_close(test.out_read);
	fd_close(test.error_read);
	loop_free(test.loop);
	tree_free(test.work_dir);
	is_int(count_open_fds(), test.fds, "no descriptor is left open");
	while (test.all != NULL) {
		struct asked *next = test.all->next;

		wrong += test.all->calls != 1;
		free(test.all->message);
		free(test.all->payload);
		free(test.all);
		test.all = next;
	}
	is_int(wrong, 0, "each invocation has had one outcome");
}

/* --- init -------------------------------------------------------------------------------------------- */

static void test_source(void)
{
	set_up("script");
	ok(function_is_idle(test.function), "a fresh function is idle");
	ok(is_initialized(init("<out imported~;reply initialized>")), "init");
	ok(came_out("imported\n") && came_error(""), "... passes on what the import printed, without a marker");
	ok(work_dir_is("pyaction-....../ 700\npyaction-....../__main__.py 644 'code'\n"),
		"... and has a directory with the code");
	ok(is_outcome(run("{\"value\":{}}"), OUTCOME_SUCCESS, "{\"value\":{}}"), "run");
	ok(came_out(MARKER) && came_error(MARKER), "... has its markers");
	ok(is_outcome(run("{\n\"value\":\r\n1}\n"), OUTCOME_SUCCESS, "{\r\"value\":\r\r1}\r"),
		"a body of several lines is one");
	ok(came_out(MARKER) && came_error(MARKER), "... one marker each");
	ok(function_is_idle(test.function), "it is idle again");
	tear_down();
}

static void test_second_init(void)
{
	struct asked *asked;

	set_up("script");
	asked = ask(INVOCATION_INIT, "{\"value\":{\"code\":\"c\",\"main\":\"\\\"q\\\\\",\"env\":{ \"A\" : 1e400 }}}");
	ok(is_initialized(asked), "a handler with quotes, a number that no double holds");
	ok(is_outcome(ask(INVOCATION_INIT, ZIP_GOOD), OUTCOME_ALREADY_INITIALIZED,
		   "Cannot initialize the action more than once."),
		"a second init");
	ok(came_out("") && came_error("Cannot initialize the action more than once.\n"),
		"... is in the log, without a marker");
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... and harms nothing");
	tear_down();
}

static void test_archives(void)
{
	set_up("script");
	ok(is_outcome(ask(INVOCATION_INIT, ZIP_BAD), OUTCOME_INIT_FAILED,
		   "The action failed to generate or locate a binary. See logs for details. (the archive is bad)"),
		"a bad archive");
	ok(came_out(MARKER) && came_error("the archive is bad\n" MARKER), "... is in the log, with markers");
	ok(work_dir_is(""), "... and its directory removed");
	ok(is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"), "... there is nothing to run");
	ok(is_initialized(ask(INVOCATION_INIT, ZIP_GOOD)), "a good one after that");
	ok(work_dir_is("pyaction-....../ 700\npyaction-....../PKgood 644 ''\n"), "... in a directory of its own");
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... runs");
	tear_down();
}

static void test_refused_inits(void)
{
	set_up("script");
	ok(is_outcome(ask(INVOCATION_INIT, "{}"), OUTCOME_NO_CODE_GIVEN, "Missing main/no code to execute."),
		"no code");
	ok(is_outcome(ask(INVOCATION_INIT, "[]"), OUTCOME_BAD_REQUEST,
		   "Error unmarshaling request: the body is an array, not an object"),
		"no object");
	ok(is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"), "run before init");
	ok(came_out("") && came_error(""), "what ran nothing has no marker");
	ok(is_initialized(init("main")), "init works after that");
	tear_down();
}

static void test_failed_init(void)
{
	set_up("script");
	ok(is_outcome(init("<err reason~;reply init_failed>"), OUTCOME_INIT_FAILED, "{\"ok\":true}"),
		"code that does not load");
	ok(came_out(MARKER) && came_error("reason\n" MARKER), "... has markers");
	ok(work_dir_is(""), "... and no directory any more");
	ok(is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"), "... nothing to run");
	ok(is_outcome(init("<exit 3>"), OUTCOME_INIT_EXITED,
		   "Cannot start action. Check logs for details. (exit status 3)"),
		"code that ends the process");
	ok(came_out(MARKER) && came_error("Command exited abruptly during initialization.\n" MARKER),
		"... has markers");
	ok(is_outcome(init("<kill 11>"), OUTCOME_INIT_EXITED,
		   "Cannot start action. Check logs for details. (killed by signal 11: Segmentation fault)"),
		"code that crashes it");
	(void) (came_out(MARKER) && came_error("Command exited abruptly during initialization.\n" MARKER));
	ok(is_outcome(init("<reply bad_request>"), OUTCOME_BAD_REQUEST, "{\"ok\":true}"),
		"what the runner does not understand");
	ok(came_out("") && came_error(""), "... has no marker");
	ok(is_initialized(init("main")) && is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "good code after that");
	tear_down();
}

static void test_nowhere_to_unpack(void)
{
	struct asked *asked;

	set_up("script");
	(void) rmdir(test.work_dir);
	asked = init("main");
	ok(asked->kind == OUTCOME_INTERNAL_ERROR && strstr(asked->text, "--work-dir") != NULL,
		"no directory for the code: %s", asked->text);
	(void) mkdir(test.work_dir, 0700);
	ok(is_initialized(init("main")), "... it is there again");
	tear_down();
}

static void test_missing_programs(void)
{
	struct function_config config = {
		.runner_path = "/nonexistent/runner", .unzip_path = self, .work_dir = "/tmp"
	};
	struct function *function = NULL;
	struct asked *asked;
	struct err err;

	set_up("script");
	is_int(function_new(&function, test.loop, test.logs, &config, &err), -ENOENT, "a runner that is not there");
	is_str(err.text, "cannot start '/nonexistent/runner': No such file or directory", "... is said at once");
	ok(function == NULL, "... and nothing returned");
	function_free(NULL);
	tear_down();

	set_up("script");
	function_free(test.function);
	config = (struct function_config) {
		.runner_path = self, .unzip_path = "/nonexistent/unpacker", .work_dir = test.work_dir
	};
	if (function_new(&test.function, test.loop, test.logs, &config, &err) < 0)
		bail_out("%s", err.text);
	asked = ask(INVOCATION_INIT, ZIP_GOOD);
	ok(is_outcome(asked, OUTCOME_INTERNAL_ERROR, "cannot start '/nonexistent/unpacker': No such file or directory"),
		"an unpacker that is not there");
	ok(work_dir_is("") && is_initialized(init("main")), "... source code needs none");
	tear_down();
}

/* --- variables that need a fresh process ------------------------------------------------------------- */

static void test_start_variables(void)
{
	set_up("script");
	ok(is_outcome(
		   ask(INVOCATION_INIT,
			   "{\"value\":{\"code\":\"c\",\"main\":\"<reply init_failed>\",\"env\":{\"LD_T\":\"leaked\"}}}"),
		   OUTCOME_INIT_FAILED, "{\"ok\":true}"),
		"an init with such a variable, which fails");
	ok(is_initialized(
		   ask(INVOCATION_INIT, "{\"value\":{\"code\":\"c\",\"env\":{\"PYTHON_T\":\"set\",\"OTHER\":\"x\"}}}")),
		"another with another");
	ok(is_outcome(run("<env PYTHON_T>"), OUTCOME_SUCCESS, "set"), "its variable is there");
	ok(is_outcome(run("<env LD_T>"), OUTCOME_SUCCESS, "unset"), "that of the failed one is not");
	ok(is_outcome(run("<env OTHER>"), OUTCOME_SUCCESS, "unset"), "others are the runner's to set");
	ok(is_outcome(run("<exit 1>"), OUTCOME_EXITED, "command exited (exit status 1)"), "it ends");
	ok(is_outcome(run("<env PYTHON_T>"), OUTCOME_SUCCESS, "set"), "the next one has the variable, too");
	tear_down();
}

/* --- run --------------------------------------------------------------------------------------------- */

static void test_outcomes_of_runs(void)
{
	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<reply success>"), OUTCOME_SUCCESS, "<reply success>"), "success");
	ok(is_outcome(run("<reply application_error>"), OUTCOME_APPLICATION_ERROR, "<reply application_error>"),
		"an error of the application");
	ok(is_outcome(run("<out o;err e~;reply function_error>"), OUTCOME_FUNCTION_ERROR,
		   "<out o;err e~;reply function_error>"),
		"an error of the function");
	ok(came_out(MARKER MARKER "o\n" MARKER) && came_error(MARKER MARKER "e\n" MARKER),
		"a marker each, after the output");
	ok(is_outcome(run("<reply bad_request>"), OUTCOME_BAD_REQUEST, "<reply bad_request>"),
		"a body that is not understood");
	ok(came_out("") && came_error(""), "... has no marker");
	tear_down();
}

static void check_unknown_status(const char *commands, const char *text)
{
	struct asked *asked = run(commands);

	ok(is_outcome(asked, OUTCOME_INTERNAL_ERROR, text), "%s", text);
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... another runner goes on");
}

static void test_unknown_statuses(void)
{
	set_up("script");
	ok(is_outcome(init("<reply success>"), OUTCOME_INTERNAL_ERROR,
		   "The runner answered with an unknown status: {\"status\":\"success\"}"),
		"the status of a run to an init");
	ok(is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"), "... is none");
	ok(is_initialized(init("main")), "init");
	check_unknown_status(
		"<reply nonsense>", "The runner answered with an unknown status: {\"status\":\"nonsense\"}");
	check_unknown_status(
		"<reply initialized>", "The runner answered with an unknown status: {\"status\":\"initialized\"}");
	check_unknown_status(
		"<reply init_failed>", "The runner answered with an unknown status: {\"status\":\"init_failed\"}");
	check_unknown_status("<status no JSON>", "The runner answered with an unknown status: no JSON");
	check_unknown_status("<status {}>", "The runner answered with an unknown status: {}");
	check_unknown_status("<status {\"status\":1}>", "The runner answered with an unknown status: {\"status\":1}");
	check_unknown_status("<status >", "The runner answered with an unknown status: ");
	tear_down();
}

static void test_crashes(void)
{
	set_up("script");
	ok(is_initialized(init("<err loaded~;reply initialized>")) && came_error("loaded\n"), "init");
	ok(is_outcome(run("<out bye;exit 3>"), OUTCOME_EXITED, "command exited (exit status 3)"), "a run that exits");
	ok(came_out("bye\n" MARKER) && came_error(MARKER), "... has markers");
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "the next one runs");
	ok(came_out(MARKER) && came_error("loaded\n" MARKER), "... after the code was loaded again");
	ok(is_outcome(run("<kill 6>"), OUTCOME_EXITED, "command exited (killed by signal 6: Aborted)"), "a crash");
	ok(is_outcome(run("<raw half;exit 1>"), OUTCOME_EXITED, "command exited (exit status 1)"), "half an answer");
	ok(is_outcome(run("<close;pause>"), OUTCOME_EXITED, "command exited (it closed its channel to the proxy)"),
		"an end without an end of the process");
	tear_down();
}

static void test_reply_then_end(void)
{
	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<reply success;exit 1>"), OUTCOME_SUCCESS, "<reply success;exit 1>"),
		"an answer counts, whatever follows");
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "the next run has its own");
	ok(came_out(MARKER MARKER) && came_error(MARKER MARKER), "one marker each for both");
	tear_down();

	set_up("script");
	ok(is_initialized(init("<reply initialized;exit 1>")), "an init that ends right after its answer");
	(void) setenv("DOUBLE_INIT", "reply initialized", 1);
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... a run after it");
	tear_down();
}

static void test_failing_again(void)
{
	set_up("script");
	ok(is_initialized(init("main")), "init");
	(void) setenv("DOUBLE_INIT", "exit 4", 1);
	ok(is_outcome(run("<exit 3>"), OUTCOME_EXITED, "command exited (exit status 3)"), "a run ends the process");
	(void) (came_out(MARKER) && came_error(MARKER));
	ok(is_outcome(run("{}"), OUTCOME_INIT_EXITED, "Cannot start action. Check logs for details. (exit status 4)"),
		"the code does not load any more: it exits");
	ok(came_out(MARKER) && came_error("Command exited abruptly during initialization.\n" MARKER),
		"... with markers");
	(void) setenv("DOUBLE_INIT", "reply init_failed", 1);
	ok(is_outcome(run("{}"), OUTCOME_INIT_FAILED, "{\"ok\":true}"), "... it fails");
	ok(came_out(MARKER) && came_error(MARKER), "... with markers");
	(void) unsetenv("DOUBLE_INIT");
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... it loads again");
	tear_down();
}

/* --- ends between two invocations -------------------------------------------------------------------- */

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

/* The runner is dead and the loop does not know. */
static void kill_unnoticed(void)
{
	pid_t pid = only_child();

	(void) kill(pid, SIGKILL);
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
}

static void test_death_while_idle(void)
{
	set_up("script");
	ok(is_initialized(init("main")), "init");
	kill_unnoticed();
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "a run that a dead runner never saw is given to another");
	ok(came_out(MARKER) && came_error(MARKER), "... with one marker each");
	ok(is_outcome(run("<reply success;close;pause>"), OUTCOME_SUCCESS, "<reply success;close;pause>"),
		"a runner that closes its channel after its answer");
	run_ms(test.loop, 20);
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"), "... the next run waits for its end, and has another");
	tear_down();
}

static void test_death_before_init(void)
{
	set_up("script");
	kill_unnoticed();
	ok(is_initialized(init("main")), "an init that a dead runner never saw is given to another");
	tear_down();
}

static void test_runner_that_cannot_start(void)
{
	set_up("exit");
	ok(settle(), "a runner that ends by itself is not started over and over again");
	ok(is_outcome(
		   init("main"), OUTCOME_INIT_EXITED, "Cannot start action. Check logs for details. (exit status 5)"),
		"... an init says so");
	(void) (came_out(MARKER) && came_error("Command exited abruptly during initialization.\n" MARKER));
	(void) setenv("RUNNER_DOUBLE", "script", 1);
	(void) settle();
	ok(is_initialized(init("main")), "... the next finds one that works");
	tear_down();
}

/* --- the queue --------------------------------------------------------------------------------------- */

static void test_order(void)
{
	enum { RUNS = 20 };
	struct asked *first, *runs[RUNS];
	bool right = true;

	set_up("script");
	first = submit_init("main");
	for (int i = 0; i < RUNS; i++) {
		char text[100];

		(void) snprintf(text, sizeof(text), i == 7 ? "<exit %d>" : "{\"n\":%d}", i);
		runs[i] = submit(INVOCATION_RUN, text);
	}
	is_int(test.told, 0, "%d invocations wait", RUNS + 1);
	for (int i = 0; i < RUNS; i++) {
		char text[100];

		(void) run_until(test.loop, &runs[i]->done);
		/* None after it may have been told: the loop stops between two turns, of which each tells one. */
		right = right && (i == RUNS - 1 || !runs[RUNS - 1]->done);
		(void) snprintf(text, sizeof(text), i == 7 ? "command exited (exit status %d)" : "{\"n\":%d}", i);
		right = right && is_outcome(runs[i], i == 7 ? OUTCOME_EXITED : OUTCOME_SUCCESS, text);
	}
	ok(is_initialized(first) && right, "each has its own outcome, the one that ended the process, too");
	is_int(test.told, RUNS + 1, "... once");
	tear_down();
}

static void test_full_queue(void)
{
	struct asked *asked = NULL;
	bool right = true;

	set_up("script");
	(void) submit_init("main");
	for (size_t i = 1; i < LIMIT_QUEUE; i++)
		asked = submit(INVOCATION_RUN, "{}");
	is_int(test.told, 0, "as many as fit wait");
	ok(is_outcome(submit(INVOCATION_RUN, "{}"), OUTCOME_QUEUE_FULL, "Too many requests are waiting."),
		"one more is refused");
	is_int(test.told, 1, "... at once");
	(void) run_until(test.loop, &asked->done);
	for (const struct asked *one = test.all->next; one->next != NULL; one = one->next)
		right = right && one->kind == OUTCOME_SUCCESS;
	ok(right, "... the others run");
	is_int(test.told, LIMIT_QUEUE + 1, "... each");
	tear_down();
}

static int chain_left;

struct chained {
	const char *message;
	enum outcome_kind kind;
};

static void on_outcome_submit(void *context, struct outcome *outcome)
{
	struct chained *chained = context;

	chained->kind = outcome->kind;
	if (--chain_left > 0)
		function_run(test.function, &platform, on_outcome_submit, context);
}

/* Each outcome at once, and from it the next invocation: no recursion. */
static void test_submitting_in_an_outcome(void)
{
	struct chained chained = { .message = "{}" };

	set_up("script");
	chain_left = 200000;
	function_run(test.function, &platform, on_outcome_submit, &chained);
	ok(chain_left == 0 && chained.kind == OUTCOME_NOT_INITIALIZED,
		"200000 invocations, each from the outcome of the one before");
	tear_down();
}

/* --- stopping ---------------------------------------------------------------------------------------- */

#define STOPPING "The server is shutting down."

static void test_stop(void)
{
	struct asked *head, *waiting;

	set_up("script");
	ok(is_initialized(init("main")), "init");
	head = submit(INVOCATION_RUN, "<kill 19;reply success>"); /* stops */
	waiting = submit(INVOCATION_RUN, "{}");
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WSTOPPED | WNOWAIT);
	function_stop(test.function);
	ok(!head->done && !function_is_idle(test.function), "stopped, the one under way goes on");
	(void) kill(only_child(), SIGCONT);
	ok(run_until(test.loop, &head->done) && is_outcome(head, OUTCOME_SUCCESS, "<kill 19;reply success>"),
		"... and has its outcome");
	ok(run_until(test.loop, &waiting->done) && is_outcome(waiting, OUTCOME_STOPPING, STOPPING),
		"one that waits is refused");
	ok(is_outcome(submit(INVOCATION_RUN, "{}"), OUTCOME_STOPPING, STOPPING), "a new one, too, at once");
	ok(is_outcome(submit_init("main"), OUTCOME_STOPPING, STOPPING), "an init, too");
	ok(came_out(MARKER) && came_error(MARKER), "only what ran has markers");
	ok(function_is_idle(test.function), "then it is idle");
	tear_down();
}

static void test_stop_with_dying_runner(void)
{
	struct asked *asked;

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<reply success;close;pause>"), OUTCOME_SUCCESS, "<reply success;close;pause>"),
		"a runner that is ending");
	run_ms(test.loop, 20);
	asked = submit(INVOCATION_RUN, "{}");
	ok(!asked->done, "a run that waits for that");
	function_stop(test.function);
	ok(is_outcome(asked, OUTCOME_STOPPING, STOPPING), "... is refused when the server stops");
	tear_down();
}

/* head: under way; there is another one behind it. */
static void check_abort(struct asked *head, const char *phase)
{
	struct asked *waiting = submit(INVOCATION_RUN, "{}");

	ok(!head->done && !waiting->done, "%s: under way", phase);
	function_stop(test.function);
	function_abort(test.function);
	ok(is_outcome(head, OUTCOME_STOPPING, STOPPING) && is_outcome(waiting, OUTCOME_STOPPING, STOPPING),
		"... both end when it is aborted");
	ok(function_is_idle(test.function), "... and it is idle");
	ok(is_outcome(submit(INVOCATION_RUN, "{}"), OUTCOME_STOPPING, STOPPING), "... and takes nothing any more");
	ok(settle(), "... and no process is left");
	tear_down();
}

static void test_abort(void)
{
	struct asked *asked;

	set_up("script");
	function_stop(test.function);
	function_abort(test.function);
	ok(is_outcome(submit_init("main"), OUTCOME_STOPPING, STOPPING),
		"aborted while idle, it takes nothing any more");
	tear_down();

	set_up("script");
	asked = submit(INVOCATION_INIT, ZIP_HANG);
	run_ms(test.loop, 20);
	check_abort(asked, "unpacking");

	set_up("script");
	asked = submit_init("<pause>");
	run_ms(test.loop, 20);
	check_abort(asked, "loading");

	set_up("script");
	ok(is_initialized(init("main")), "init");
	(void) setenv("DOUBLE_INIT", "pause", 1);
	ok(is_outcome(run("<exit 1>"), OUTCOME_EXITED, "command exited (exit status 1)"), "a run that exits");
	asked = submit(INVOCATION_RUN, "{}");
	run_ms(test.loop, 20);
	check_abort(asked, "loading again");

	set_up("script");
	ok(is_initialized(init("main")), "init");
	asked = submit(INVOCATION_RUN, "<fork;pause>");
	run_ms(test.loop, 20);
	check_abort(asked, "running");

	set_up("script");
	ok(is_initialized(init("main")), "init");
	(void) fcntl(test.out_read, F_SETPIPE_SZ, 4096);
	asked = submit(INVOCATION_RUN, "<flood 200000;reply success>"); /* more than fits: nobody reads */
	run_ms(test.loop, 50);
	check_abort(asked, "writing the output");
}

/* A function that wants to know of the end is told, and has time for it. */
static void test_stop_is_told(void)
{
	bool ended = false;

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<trap bye;reply success>"), OUTCOME_SUCCESS, "<trap bye;reply success>"),
		"a handler for SIGTERM");
	(void) came_out(MARKER);
	function_stop(test.function);
	ok(!function_is_idle(test.function), "stopped, it is not idle before the process has ended");
	for (int i = 0; i < 5000 && !ended; i++) {
		run_ms(test.loop, 2);
		ended = function_is_idle(test.function);
	}
	ok(ended && came_out("bye"), "... which it does, with its last words");
	ok(has_no_children(), "... and no other is started");
	tear_down();

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<trap;reply success>"), OUTCOME_SUCCESS, "<trap;reply success>"),
		"a handler that does not end");
	function_stop(test.function);
	run_ms(test.loop, 50);
	ok(!function_is_idle(test.function), "stopped, it goes on");
	function_abort(test.function);
	ok(function_is_idle(test.function), "... until it is aborted");
	tear_down();
}

static void test_stop_ends_a_run(void)
{
	struct asked *asked;

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run("<trap bye;reply success>"), OUTCOME_SUCCESS, "<trap bye;reply success>"),
		"a handler for SIGTERM");
	asked = submit(INVOCATION_RUN, "<pause>");
	run_ms(test.loop, 20);
	function_stop(test.function);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_EXITED, "command exited (exit status 7)"),
		"stopped in the middle of a run, it may end it");
	tear_down();
}

/* What a function says on its own channel while idle is not the answer to the next run. */
static void test_forged_answer(void)
{
	static const char forging[] = "<reply success;kill 19;raw {\"status\":\"success\"}~forged~;kill 19>";
	pid_t pid;

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run(forging), OUTCOME_SUCCESS, forging), "a run");
	pid = only_child();
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WSTOPPED);
	(void) kill(pid, SIGCONT);
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WSTOPPED);
	ok(is_outcome(run("{\"n\":1}"), OUTCOME_SUCCESS, "{\"n\":1}"), "the next one has its own answer");
	tear_down();
}

/* The proxy's own end: freed in the middle of what it did. */
static void test_free_after_stop(void)
{
	set_up("script");
	function_stop(test.function);
	ok(is_outcome(submit_init("main"), OUTCOME_STOPPING, STOPPING), "stopped before it was used");
	tear_down();
}

int main(int argc, char **argv)
{
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 1)
		return be_unpacker(argv[1]);
	become_runner_double();
	self[length] = '\0';
	(void) signal(SIGPIPE, SIG_IGN);
	test_source();
	test_second_init();
	test_archives();
	test_refused_inits();
	test_failed_init();
	test_nowhere_to_unpack();
	test_missing_programs();
	test_start_variables();
	test_outcomes_of_runs();
	test_unknown_statuses();
	test_crashes();
	test_reply_then_end();
	test_failing_again();
	test_death_while_idle();
	test_death_before_init();
	test_runner_that_cannot_start();
	test_order();
	test_full_queue();
	test_submitting_in_an_outcome();
	test_stop();
	test_stop_with_dying_runner();
	test_abort();
	test_stop_is_told();
	test_stop_ends_a_run();
	test_forged_answer();
	test_free_after_stop();
	return done_testing();
}
