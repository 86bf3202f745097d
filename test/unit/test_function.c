#include "../../proxy/base64.h"
#include "../../proxy/function.h"
#include "../../proxy/limits.h"

#include "clock.h"
#include "loop_run.h"
#include "runner_double.h"
#include "tap.h"
#include "tree.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

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

/* --- the precompiler: likewise, with a handler, too -------------------------------------------------- */

/* Leaves a file when it is told to begin, and one when it is told to stop; where the init fails it hangs. */
static int be_precompiler(const char *directory, const char *handler)
{
	char byte, path[PATH_MAX];

	while (strstr(handler, "init_failed") != NULL)
		(void) pause();
	(void) snprintf(path, sizeof(path), "%s/precompiler-has-begun", directory);
	if (read(STDIN_FILENO, &byte, 1) == 1)
		(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	(void) !read(STDIN_FILENO, &byte, 1);
	(void) snprintf(path, sizeof(path), "%s/precompiler-has-stopped", directory);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
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
	enum convention convention;
	int wait_status;
	struct limits limits;
	uint64_t run_us, init_us;
	long peak_kb;
	char *log;
	/* What a platform was asked, and what it is to answer. */
	struct limits adjusted, limits_at_message;
	bool wants_log;
	int messages, ends, told_at_message;
	struct cold_start cold_start;
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

static void note_asked(char letter);

static void on_outcome(void *context, struct outcome *outcome)
{
	struct asked *asked = context;

	note_asked('D');
	asked->calls++;
	asked->done = true;
	asked->kind = outcome->kind;
	if (outcome->payload != NULL && strlen(outcome->payload) != outcome->payload_length)
		diag("the length of the payload is wrong");
	asked->payload = steal_ptr(&outcome->payload);
	(void) snprintf(asked->text, sizeof(asked->text), "%s", outcome->text);
	asked->convention = outcome->convention;
	asked->wait_status = outcome->wait_status;
	asked->limits = outcome->limits;
	asked->run_us = outcome->run_us;
	asked->init_us = outcome->init_us;
	asked->peak_kb = outcome->peak_kb;
	asked->log = steal_ptr(&outcome->log);
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

static struct asked *asked_new(const char *text)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	asked->message = copy_body(text);
	asked->next = test.all;
	test.all = asked;
	return asked;
}

static struct asked *submit_prepared(enum kind kind, const struct platform *of_run, struct asked *asked)
{
	if (kind == INVOCATION_INIT)
		function_init(test.function, copy_body(asked->message), strlen(asked->message), on_outcome, asked);
	else
		function_run(test.function, of_run, on_outcome, asked);
	return asked;
}

static struct asked *submit(enum kind kind, const char *text)
{
	return submit_prepared(kind, &platform, asked_new(text));
}

static struct asked *wait_for(struct asked *asked)
{
	if (!run_until(test.loop, &asked->done))
		diag("no outcome");
	return asked;
}

static struct asked *ask(enum kind kind, const char *text)
{
	return wait_for(submit(kind, text));
}

static struct asked *ask_platform(const struct platform *of_run, const char *text)
{
	return wait_for(submit_prepared(INVOCATION_RUN, of_run, asked_new(text)));
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

/* DOUBLE_INIT of the runner that the next set_up() starts. */
static const char *double_init;

/* more: what a configuration can have besides its paths. */
static void set_up_with(const char *mode, const struct function_config *more)
{
	struct function_config config = { .runner_path = self,
		.unzip_path = self,
		.precompiler_path = self,
		.untar_path = "/nonexistent/untar",
		.limits = more->limits,
		.convention = more->convention,
		.tell = more->tell };
	struct err err;
	int out[2], error[2];

	test.fds = count_open_fds();
	(void) setenv("RUNNER_DOUBLE", mode, 1);
	(void) (double_init != NULL ? setenv("DOUBLE_INIT", double_init, 1) : unsetenv("DOUBLE_INIT"));
	double_init = NULL;
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

static void set_up(const char *mode)
{
	set_up_with(mode, &(struct function_config) { .limits = { LIMITS_DEFAULT, LIMITS_DEFAULT } });
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
		free(test.all->log);
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

	set_up("script");
	ok(is_outcome(ask(INVOCATION_INIT, ZIP("H4sI")), OUTCOME_INTERNAL_ERROR,
		   "cannot start '/nonexistent/untar': No such file or directory"),
		"a tar.gz archive has another unpacker");
	tear_down();
}

/* Of an archive of that many bytes, with commands for the runner as its handler. */
static struct asked *init_archive(const char *commands, size_t size, const char *environment)
{
	char *text = NULL;
	struct asked *asked;

	/* "PKlarge", and zeros. */
	if (asprintf(&text, "{\"value\":{\"main\":\"%s\",\"binary\":true,\"env\":%s,\"code\":\"UEtsYXJnZQAA%0*d\"}}",
		    commands, environment, (int) (size / 3 * 4), 0) < 0)
		bail_out("no memory");
	for (char *at = strstr(text, "UEtsYXJnZQAA") + 12; *at == '0'; at++)
		*at = 'A';
	asked = ask(INVOCATION_INIT, text);
	free(text);
	return asked;
}

static bool has_file(const char *name)
{
	char *tree = tree_show(test.work_dir);
	bool has = strstr(tree, name) != NULL;

	free(tree);
	return has;
}

static bool will_have_file(const char *name)
{
	for (int i = 0; i < 5000 && !has_file(name); i++)
		run_ms(test.loop, 2);
	return has_file(name);
}

static void check_precompiling(size_t size, const char *environment, bool wanted, const char *what)
{
	struct asked *asked;

	set_up("script");
	asked = init_archive("<echo initialized>", size, environment);
	ok(tap_is_int(asked->kind, OUTCOME_INITIALIZED) &&
			(strstr(asked->payload, "},\"compiling\":true}") != NULL) == wanted,
		"%s: what the runner is told", what);
	if (wanted)
		ok(will_have_file("precompiler-has-begun") && will_have_file("precompiler-has-stopped"),
			"... the precompiler begins, and is stopped");
	else
		ok(!has_file("precompiler-has"), "... no precompiler");
	tear_down();
}

static void check_compiled(const char *archive, size_t length, bool wanted, const char *what)
{
	size_t encoded_length;
	char *encoded = base64_encode(archive, length, &encoded_length), *body = NULL;
	struct asked *asked;

	if (encoded == NULL ||
		asprintf(&body, "{\"value\":{\"main\":\"<echo initialized>\",\"binary\":true,\"code\":\"%s\"}}",
			encoded) < 0)
		bail_out("no memory");
	set_up("script");
	asked = ask(INVOCATION_INIT, body);
	ok(tap_is_int(asked->kind, OUTCOME_INITIALIZED) &&
			(strstr(asked->payload, ",\"compiled\":true,") != NULL) == wanted,
		"%s: whether the runner is told that it has been compiled", what);
	tear_down();
	free(body);
	free(encoded);
}

#define MARK "pyaction: compiled"
#define CHECK_COMPILED(archive, wanted, what) check_compiled(archive, sizeof(archive) - 1, wanted, what)

static void test_compiled(void)
{
	CHECK_COMPILED("PKlarge" MARK, true, "an archive with the mark at its end");
	CHECK_COMPILED("PKlarge" MARK " ", false, "one with something behind it");
	CHECK_COMPILED("PKlarge", false, "one that is shorter than the mark");
	CHECK_COMPILED("# " MARK, false, "a source with the mark");
}

static void test_precompiling(void)
{
	cpu_set_t processors;
	bool several = sched_getaffinity(0, sizeof(processors), &processors) < 0 || CPU_COUNT(&processors) > 1;

	(void) setenv("PYTHONDONTWRITEBYTECODE", "", 1); /* whatever the shell that runs the tests has */
	check_precompiling(LIMIT_SMALL_ARCHIVE, "{}", several, "a large archive");
	check_precompiling(LIMIT_SMALL_ARCHIVE / 2, "{}", false, "a small one");
	check_precompiling(LIMIT_SMALL_ARCHIVE, "{\"PYTHONOPTIMIZE\":\"1\"}", false, "other bytecode wanted");

	set_up("script");
	ok(is_outcome(init_archive("<reply init_failed>", LIMIT_SMALL_ARCHIVE, "{}"), OUTCOME_INIT_FAILED,
		   "{\"ok\":true}"),
		"a large archive that does not load");
	ok(work_dir_is(""), "... leaves nothing, the precompiler neither");
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

/* --- a platform with lines and limits ---------------------------------------------------------------- */

/* What the platform was asked, in order: a letter for each call, a repeated one once. a: adjust_limits, m:
 * make_message, s: log_start, S: with a cold start, w: wants_log, e: log_end, D: on_done. */
static char asked_order[200];

static void note_asked(char letter)
{
	size_t length = strlen(asked_order);

	if (length + 1 < sizeof(asked_order) && (length == 0 || asked_order[length - 1] != letter))
		asked_order[length] = letter;
}

static bool was_asked(const char *wanted)
{
	bool right = tap_is_str(asked_order, wanted);

	memset(asked_order, 0, sizeof(asked_order));
	return right;
}

static void cloud_adjust_limits(void *context, struct limits *limits)
{
	const struct asked *asked = context;

	note_asked('a');
	if (asked->adjusted.timeout_ms != 0)
		limits->timeout_ms = asked->adjusted.timeout_ms;
	if (asked->adjusted.memory_mb != 0)
		limits->memory_mb = asked->adjusted.memory_mb;
}

static char *cloud_make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	struct asked *asked = context;

	note_asked('m');
	asked->messages++;
	asked->told_at_message = test.told;
	asked->limits_at_message = *limits;
	return make_message(context, limits, ret_length);
}

static char *cloud_log_start(void *context, const struct cold_start *cold_start)
{
	struct asked *asked = context;

	note_asked(cold_start != NULL ? 'S' : 's');
	if (cold_start != NULL)
		asked->cold_start = *cold_start;
	return strdup(cold_start != NULL ? "START cold\n" : "START\n");
}

static char *cloud_log_end(void *context, const struct outcome *outcome)
{
	struct asked *asked = context;
	char *lines = NULL;

	note_asked('e');
	asked->ends++;
	if (asprintf(&lines, "END %d\n", (int) outcome->kind) < 0)
		bail_out("no memory");
	return lines;
}

static bool cloud_wants_log(void *context)
{
	const struct asked *asked = context;

	note_asked('w');
	return asked->wants_log;
}

static struct platform cloud = {
	.adjust_limits = cloud_adjust_limits,
	.make_message = cloud_make_message,
	.log_start = cloud_log_start,
	.log_end = cloud_log_end,
	.wants_log = cloud_wants_log,
};

static struct asked *submit_to_cloud(const char *text)
{
	return submit_prepared(INVOCATION_RUN, &cloud, asked_new(text));
}

static struct asked *run_prepared(struct asked *asked)
{
	return wait_for(submit_prepared(INVOCATION_RUN, &cloud, asked));
}

static struct asked *run_on_cloud(const char *text)
{
	return run_prepared(asked_new(text));
}

/* Until the runner has stopped itself with "kill 19". */
static void wait_for_stop(void)
{
	(void) waitid(P_PID, (id_t) only_child(), &(siginfo_t) { 0 }, WSTOPPED | WNOWAIT);
}

static void set_up_cloud(unsigned timeout_ms, unsigned memory_mb)
{
	set_up("script");
	cloud.limits = (struct limits) { .timeout_ms = timeout_ms, .memory_mb = memory_mb };
	memset(asked_order, 0, sizeof(asked_order));
}

static void test_platform(void)
{
	struct asked *asked;

	set_up_cloud(0, 0);
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"), "without a function");
	ok(was_asked("D") && came_out("") && came_error(""), "... the platform is not asked anything");
	ok(is_initialized(init("main")) && was_asked("D"), "nor at init");
	ok(is_outcome(
		   run_on_cloud("<out hi~;err ho~;reply success>"), OUTCOME_SUCCESS, "<out hi~;err ho~;reply success>"),
		"a run");
	ok(was_asked("amSwewD"), "... asks the platform for all, in order");
	ok(came_out("START cold\nhi\nEND 1\n") && came_error("ho\n"),
		"... its lines are around the output, no markers");
	ok(is_outcome(run_on_cloud("<out hi;reply function_error>"), OUTCOME_FUNCTION_ERROR,
		   "<out hi;reply function_error>") &&
			was_asked("amswewD"),
		"another");
	ok(came_out("START\nhi\nEND 4\n") && came_error(""), "... is no cold start");
	ok(is_outcome(run("<out other;reply success>"), OUTCOME_SUCCESS, "<out other;reply success>") &&
			came_out("other\n" MARKER) && came_error(MARKER) && was_asked("D"),
		"a run through another platform has that one's");
	asked = run_on_cloud("<out bye;exit 3>");
	ok(is_outcome(asked, OUTCOME_EXITED, "command exited (exit status 3)") && was_asked("amswewD") &&
			came_out("START\nbye\nEND 7\n"),
		"one that ends the process has its lines");
	ok(WIFEXITED(asked->wait_status) && WEXITSTATUS(asked->wait_status) == 3, "... and the wait status");
	ok(is_outcome(run_on_cloud("<reply bad_request>"), OUTCOME_BAD_REQUEST, "<reply bad_request>") &&
			came_out("START cold\nEND 10\n"),
		"one that is not understood, too");
	tear_down();
}

static void test_platform_without_lines(void)
{
	static const struct platform bare = { .make_message = make_message };

	set_up("script");
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(ask_platform(&bare, "<out hi;reply success>"), OUTCOME_SUCCESS, "<out hi;reply success>") &&
			came_out("hi") && came_error(""),
		"a platform with nothing has the output as it is");
	tear_down();
}

static char *fail_to_make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	(void) context;
	(void) limits;
	(void) ret_length;
	return NULL;
}

static void test_no_message(void)
{
	static const struct platform poor = {
		.make_message = fail_to_make_message, .log_start = cloud_log_start, .log_end = cloud_log_end
	};

	set_up_cloud(0, 0);
	ok(is_initialized(init("main")) && was_asked("D"), "init");
	ok(is_outcome(
		   ask_platform(&poor, "{}"), OUTCOME_INTERNAL_ERROR, "Out of memory for the message to the runner.") &&
			came_out("") && was_asked("D"),
		"a run without a message has no lines");
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}") && came_out("START cold\nEND 1\n"),
		"the next one runs");
	tear_down();
}

static void test_wanted_log(void)
{
	struct asked *asked = asked_new("<out hi;reply success>");

	set_up_cloud(0, 0);
	ok(is_initialized(init("main")) && came_out(""), "init");
	asked->wants_log = true;
	ok(is_outcome(run_prepared(asked), OUTCOME_SUCCESS, "<out hi;reply success>") &&
			tap_is_str(asked->log, "START cold\nhi\nEND 1\n"),
		"the log, where it is wanted");
	ok(tap_is_str(run_on_cloud("{}")->log, NULL), "... only there");
	asked = asked_new("<out hi;kill 9>");
	asked->wants_log = true;
	ok(run_prepared(asked)->kind == OUTCOME_EXITED && tap_is_str(asked->log, "START\nhi\nEND 7\n"),
		"... and when the process ends");
	tear_down();
}

/* A message is made when its invocation's turn has come: deadlines count from there. */
static void test_turn(void)
{
	enum { RUNS = 5 };
	struct asked *runs[RUNS];
	bool right = true;

	set_up_cloud(0, 0);
	(void) submit_init("main");
	for (int i = 0; i < RUNS; i++)
		runs[i] = submit_to_cloud("{}");
	ok(was_asked(""), "in the queue no message is made");
	for (int i = 0; i < RUNS; i++)
		right = run_until(test.loop, &runs[i]->done) && runs[i]->told_at_message == i + 1 &&
			runs[i]->messages == 1 && right;
	ok(right && was_asked("DamSwewDamswewDamswewDamswewDamswewD"), "each is made when the one before has ended");
	tear_down();
}

static void test_unread_message(void)
{
	struct asked *asked;

	set_up_cloud(0, 0);
	ok(is_initialized(init("main")) && was_asked("D"), "init");
	kill_unnoticed();
	asked = run_on_cloud("<out hi;reply success>");
	ok(is_outcome(asked, OUTCOME_SUCCESS, "<out hi;reply success>"), "a run that a dead runner never saw");
	ok(was_asked("amSwewD") && asked->messages == 1 && came_out("START cold\nhi\nEND 1\n"),
		"... has one message, and its lines once");
	kill_unnoticed();
	(void) setenv("DOUBLE_INIT", "exit 4", 1);
	asked = run_on_cloud("{}");
	ok(is_outcome(asked, OUTCOME_INIT_EXITED, "Cannot start action. Check logs for details. (exit status 4)"),
		"one for which no other could be started");
	ok(was_asked("amswewD") && asked->messages == 1 && came_out("START\nEND 6\n"), "... has them, too");
	(void) unsetenv("DOUBLE_INIT");
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}") && came_out("START cold\nEND 1\n"),
		"the next one runs");
	tear_down();
}

/* One that nobody ever reads. */
static void test_message_never_read(void)
{
	struct asked *asked;

	set_up_cloud(0, 0);
	ok(is_initialized(init("main")) && was_asked("D"), "init");
	kill_unnoticed();
	(void) setenv("RUNNER_DOUBLE", "exit", 1);
	asked = run_on_cloud("{}");
	ok(asked->calls == 1 && asked->kind == OUTCOME_INIT_EXITED && asked->messages == 1 && asked->ends == 1,
		"a run whose runners end before they read anything is given up: %s", asked->text);
	ok(came_out("START cold\nEND 6\n"), "... with its lines");
	(void) setenv("RUNNER_DOUBLE", "script", 1);
	(void) settle();
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}"), "the next finds one that works");
	tear_down();
}

/* --- cold starts ------------------------------------------------------------------------------------- */

static void test_cold_start(void)
{
	struct asked *asked;

	double_init = "status {\"status\":\"initialized\",\"peak_kb\":1234}";
	set_up_cloud(0, 0);
	ok(is_initialized(init("main")), "init");
	asked = run_on_cloud("{}");
	ok(asked->cold_start.init_us > 0 && asked->cold_start.init_us < 20000000 && asked->cold_start.peak_kb == 1234,
		"the first run is told of the cold start: %llu us, %ld KB",
		(unsigned long long) asked->cold_start.init_us, asked->cold_start.peak_kb);
	is_int(asked->init_us, asked->cold_start.init_us, "... its outcome has the same time");
	asked = run_on_cloud("{}");
	ok(asked->cold_start.init_us == 0 && asked->init_us == 0, "the second is not");
	(void) run_on_cloud("<exit 1>");
	asked = run_on_cloud("{}");
	ok(asked->cold_start.init_us > 0 && asked->init_us == asked->cold_start.init_us,
		"after a crash there is one again");
	/* Told to whom cannot use it: it is over all the same. */
	(void) run("<exit 1>");
	asked = run("{}");
	ok(asked->init_us > 0 && asked->cold_start.init_us == 0, "a run through another platform has the time");
	asked = run_on_cloud("{}");
	ok(asked->init_us == 0 && asked->cold_start.init_us == 0, "... and the next none");
	tear_down();
}

static void test_measures(void)
{
	struct asked *asked;
	uint64_t before_ms;

	double_init = "status {\"status\":\"initialized\",\"peak_kb\":1234}";
	set_up_cloud(0, 0);
	asked = init("main");
	ok(asked->run_us == 0 && asked->init_us == 0 && asked->peak_kb == 1234, "an init has its peak and no time");
	before_ms = loop_now_ms();
	asked = submit_to_cloud("<kill 19;status {\"status\":\"success\",\"peak_kb\":4321}>");
	wait_for_stop();
	advance_clock(5000);
	(void) kill(only_child(), SIGCONT);
	(void) run_until(test.loop, &asked->done);
	ok(asked->run_us >= 5000000 && asked->run_us <= (loop_now_ms() - before_ms + 1) * 1000, "a run took %llu us",
		(unsigned long long) asked->run_us);
	is_int(asked->peak_kb, 4321, "... and what its reply says");
	asked = run_on_cloud("{}");
	is_int(asked->peak_kb, 0, "one whose reply says nothing has no peak");
	asked = run_on_cloud("<status {\"status\":\"success\",\"peak_kb\":\"9\"}>");
	ok(asked->kind == OUTCOME_SUCCESS && asked->peak_kb == 0, "... nor one that says nonsense");
	asked = run_on_cloud("<grow 200;exit 1>");
	ok(asked->peak_kb >= 200 * 1024 && asked->peak_kb < 400 * 1024, "one that ended has the process's: %ld KB",
		asked->peak_kb);
	tear_down();
}

/* --- limits ------------------------------------------------------------------------------------------ */

static bool has_limits(const struct asked *asked, unsigned timeout_ms, unsigned memory_mb)
{
	return tap_is_int(asked->limits.timeout_ms, timeout_ms) && tap_is_int(asked->limits.memory_mb, memory_mb);
}

/* config: the server's. adjusted: what the platform makes of its own for an invocation, 0 for as they are. */
static void check_limits(struct limits config, struct limits adjusted, unsigned timeout_ms, unsigned memory_mb)
{
	struct asked *asked = asked_new("{}");

	set_up_with("script", &(struct function_config) { .limits = config });
	cloud.limits = (struct limits) { .timeout_ms = 30000, .memory_mb = 3000 };
	asked->adjusted = adjusted;
	ok(is_initialized(init("main")) &&
			has_limits(test.all, config.timeout_ms != LIMITS_DEFAULT ? config.timeout_ms : 0,
				config.memory_mb != LIMITS_DEFAULT ? config.memory_mb : 0),
		"an init has the server's limits");
	ok(run_prepared(asked)->kind == OUTCOME_SUCCESS && has_limits(asked, timeout_ms, memory_mb),
		"a run has %u ms and %u MB", timeout_ms, memory_mb);
	ok(asked->limits_at_message.timeout_ms == timeout_ms && asked->limits_at_message.memory_mb == memory_mb,
		"... which its message is made with");
	tear_down();
}

static void test_whose_limits(void)
{
	const struct limits none = { LIMITS_DEFAULT, LIMITS_DEFAULT };

	check_limits(none, (struct limits) { 0, 0 }, 30000, 3000);
	check_limits(none, (struct limits) { 40000, 0 }, 40000, 3000);
	check_limits(none, (struct limits) { 0, 4000 }, 30000, 4000);
	check_limits((struct limits) { 50000, LIMITS_DEFAULT }, (struct limits) { 40000, 4000 }, 50000, 4000);
	check_limits((struct limits) { LIMITS_DEFAULT, 5000 }, (struct limits) { 40000, 4000 }, 40000, 5000);
	check_limits((struct limits) { 0, 0 }, (struct limits) { 40000, 4000 }, 0, 0);
}

#define TIME_LIMIT(ms) "The action exceeded its time limits of " ms " milliseconds."
#define TIME_LIMIT_OF_LOADING(ms) "The action exceeded its time limits of " ms " milliseconds during initialization."
#define MEMORY_LIMIT "The action exhausted its memory and was aborted."

static bool was_killed(const struct asked *asked)
{
	return WIFSIGNALED(asked->wait_status) && WTERMSIG(asked->wait_status) == SIGKILL;
}

static void test_timeout(void)
{
	struct asked *asked, *next;

	set_up_cloud(60000, 0);
	ok(is_initialized(init("main")) && was_asked("D"), "init");
	asked = submit_to_cloud("<out before~;err too~;fork;kill 19>");
	next = submit_to_cloud("{}");
	wait_for_stop();
	advance_clock(60100);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_TIMED_OUT, TIME_LIMIT("60000")),
		"a run that lasts");
	ok(was_killed(asked) && asked->run_us >= 60000000 && has_limits(asked, 60000, 0), "... is killed");
	ok(came_out("START cold\nbefore\nEND 8\n") && came_error("too\n"), "... its output and its lines are there");
	ok(run_until(test.loop, &next->done) && is_outcome(next, OUTCOME_SUCCESS, "{}") &&
			came_out("START cold\nEND 1\n"),
		"the next one has a fresh process");
	cloud.limits.timeout_ms = 40;
	asked = run_on_cloud("<pause>");
	ok(is_outcome(asked, OUTCOME_TIMED_OUT, TIME_LIMIT("40")) && asked->run_us >= 40000 && asked->run_us < 9000000,
		"a short limit, by the clock on the wall: %llu us", (unsigned long long) asked->run_us);
	cloud.limits.timeout_ms = 60000;
	ok(is_outcome(run_on_cloud("<exit 3>"), OUTCOME_EXITED, "command exited (exit status 3)"),
		"one that ends by itself after that is none that was killed");
	tear_down();

	set_up_with("script", &(struct function_config) { .limits = { 60000, LIMITS_DEFAULT } });
	ok(is_initialized(init("main")), "init");
	asked = submit(INVOCATION_RUN, "<out hi;kill 19>");
	wait_for_stop();
	advance_clock(60100);
	ok(is_outcome(wait_for(asked), OUTCOME_TIMED_OUT, TIME_LIMIT("60000")), "one of a platform without limits");
	ok(came_out("hi\n" MARKER) && came_error(MARKER), "... has the server's, and its markers");
	tear_down();
}

/* Stops in the run, and has gone on for as long as the clock says. */
static struct asked *stopped_run(uint64_t ms)
{
	struct asked *asked = submit_to_cloud("<kill 19;reply success>");

	wait_for_stop();
	advance_clock(ms);
	run_ms(test.loop, 10);
	return asked;
}

static void test_timeout_counts(void)
{
	struct asked *asked, *next;
	pid_t pid;

	set_up_cloud(60000, 0);
	ok(is_initialized(init("main")), "init");
	pid = only_child();
	asked = stopped_run(59000);
	next = submit_to_cloud("<kill 19;reply success>");
	ok(!asked->done, "a run of 59 seconds goes on");
	(void) kill(pid, SIGCONT);
	ok(run_until(test.loop, &asked->done) && asked->kind == OUTCOME_SUCCESS, "... to its end");
	(void) waitid(P_PID, (id_t) pid, &(siginfo_t) { 0 }, WSTOPPED | WNOWAIT);
	advance_clock(59000);
	run_ms(test.loop, 10);
	ok(!next->done, "the next has waited for it, and has its own 60 seconds");
	advance_clock(1100);
	ok(run_until(test.loop, &next->done) && is_outcome(next, OUTCOME_TIMED_OUT, TIME_LIMIT("60000")),
		"... not more");
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}"), "another");
	pid = only_child();
	advance_clock(3600000);
	run_ms(test.loop, 10);
	ok(only_child() == pid && kill(pid, 0) == 0 && is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}"),
		"an idle process has no limit");
	tear_down();
}

/* Loading has at least 10 seconds, and no less than a run. */
static void check_init_timeout(unsigned timeout_ms, uint64_t lasting_ms, const char *text)
{
	struct asked *asked;

	set_up_with("script", &(struct function_config) { .limits = { timeout_ms, LIMITS_DEFAULT } });
	asked = submit_init("<out loading~;kill 19>");
	wait_for_stop();
	advance_clock(lasting_ms - 500);
	run_ms(test.loop, 20);
	ok(!asked->done, "with a limit of %u ms an init may take %llu", timeout_ms,
		(unsigned long long) lasting_ms - 500);
	advance_clock(600);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_TIMED_OUT, text) && was_killed(asked),
		"... not %llu", (unsigned long long) lasting_ms + 100);
	ok(came_out("loading\n" MARKER) && came_error(MARKER), "... and has markers");
	ok(work_dir_is("") && is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"),
		"there is no function");
	ok(is_initialized(init("main")), "the next init works");
	tear_down();
}

static void test_init_timeout(void)
{
	struct asked *asked;

	check_init_timeout(50, LIMIT_INIT_MS, TIME_LIMIT_OF_LOADING("10000"));
	check_init_timeout(20000, 20000, TIME_LIMIT_OF_LOADING("20000"));

	set_up_cloud(5000, 0);
	ok(is_initialized(init("main")), "init");
	(void) setenv("DOUBLE_INIT", "kill 19;reply initialized", 1);
	(void) run_on_cloud("<exit 1>");
	(void) came_out("START cold\nEND 7\n");
	asked = submit_to_cloud("{}");
	wait_for_stop();
	advance_clock(LIMIT_INIT_MS - 500);
	run_ms(test.loop, 20);
	ok(!asked->done, "loading again may take as long");
	(void) kill(only_child(), SIGCONT);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_SUCCESS, "{}"),
		"... before a run that has its own");
	(void) came_out("START cold\nEND 1\n");
	(void) setenv("DOUBLE_INIT", "pause", 1);
	(void) run_on_cloud("<exit 1>");
	(void) came_out("START\nEND 7\n");
	asked = submit_to_cloud("{}");
	run_ms(test.loop, 20);
	advance_clock(LIMIT_INIT_MS + 100);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_TIMED_OUT, TIME_LIMIT_OF_LOADING("10000")),
		"... not longer");
	(void) unsetenv("DOUBLE_INIT");
	ok(is_outcome(run_on_cloud("{}"), OUTCOME_SUCCESS, "{}"), "the next run loads it");
	tear_down();
}

static void test_memory_watched(void)
{
	struct asked *asked;

	set_up_cloud(0, 200);
	ok(is_initialized(init("main")) && was_asked("D"), "init");
	asked = run_on_cloud("<out before~;grow 300;pause>");
	ok(is_outcome(asked, OUTCOME_OUT_OF_MEMORY, MEMORY_LIMIT), "a run that takes too much memory");
	ok(was_killed(asked) && asked->peak_kb > 200 * 1024 && has_limits(asked, 0, 200), "... is killed, with %ld KB",
		asked->peak_kb);
	ok(came_out("START cold\nbefore\nEND 9\n"), "... its output and its lines are there");
	ok(is_outcome(run_on_cloud("<grow 100;reply success>"), OUTCOME_SUCCESS, "<grow 100;reply success>"),
		"the next one may take some");
	tear_down();

	set_up_cloud(60000, 200);
	ok(is_initialized(init("main")), "init");
	ok(is_outcome(run_on_cloud("<grow 300;pause>"), OUTCOME_OUT_OF_MEMORY, MEMORY_LIMIT),
		"with a limit in time, too, memory counts at once");
	cloud.limits.timeout_ms = 50;
	ok(is_outcome(run_on_cloud("<pause>"), OUTCOME_TIMED_OUT, TIME_LIMIT("50")), "... and time in time");
	tear_down();

	double_init = "grow 300;pause";
	set_up_with("script", &(struct function_config) { .limits = { LIMITS_DEFAULT, 200 } });
	asked = submit_init("main");
	(void) unsetenv("DOUBLE_INIT"); /* for the runner that is started at its end */
	ok(is_outcome(wait_for(asked), OUTCOME_OUT_OF_MEMORY, MEMORY_LIMIT) && was_killed(asked),
		"an init that takes too much");
	ok(came_out(MARKER) && came_error(MARKER) && work_dir_is(""), "... leaves nothing");
	ok(is_initialized(init("main")), "the next init works");
	tear_down();
}

/* What it took for a moment, between two looks, its reply tells. */
static void test_memory_told(void)
{
	static const char most[] = "<status {\"status\":\"success\",\"peak_kb\":204800}>",
			  more[] = "<status {\"status\":\"success\",\"peak_kb\":204801}>";
	struct asked *asked;

	set_up_cloud(0, 200);
	ok(is_initialized(init("main")), "init");
	asked = run_on_cloud(most);
	ok(is_outcome(asked, OUTCOME_SUCCESS, most) && asked->peak_kb == 204800, "a run that took as much as it may");
	(void) came_out("START cold\nEND 1\n");
	asked = run_on_cloud(more);
	ok(is_outcome(asked, OUTCOME_OUT_OF_MEMORY, MEMORY_LIMIT) && was_killed(asked), "one that took more");
	ok(asked->payload == NULL && came_out("START\nEND 9\n"), "... has no result");
	asked = run_on_cloud("{}");
	ok(is_outcome(asked, OUTCOME_SUCCESS, "{}") && asked->init_us > 0, "the next has a fresh process");
	cloud.limits.memory_mb = 0;
	ok(is_outcome(run_on_cloud(more), OUTCOME_SUCCESS, more), "without a limit it may");
	tear_down();
}

/* The end of the server comes while the end of a killed process is waited for. */
static void test_abort_at_limit(void)
{
	struct asked *asked;

	set_up_cloud(60000, 0);
	ok(is_initialized(init("main")), "init");
	asked = submit_to_cloud("<pause>");
	run_ms(test.loop, 10);
	function_stop(test.function);
	advance_clock(60100);
	ok(run_until(test.loop, &asked->done) && is_outcome(asked, OUTCOME_TIMED_OUT, TIME_LIMIT("60000")),
		"stopped, a limit is kept");
	ok(function_is_idle(test.function) && settle(), "... and no other process started");
	tear_down();

	set_up_cloud(60000, 0);
	ok(is_initialized(init("main")), "init");
	asked = submit_to_cloud("<pause>");
	run_ms(test.loop, 10);
	function_abort(test.function);
	ok(is_outcome(asked, OUTCOME_STOPPING, STOPPING), "aborted in a run with a limit");
	advance_clock(60100);
	run_ms(test.loop, 10);
	ok(function_is_idle(test.function), "... which does not come any more");
	tear_down();
}

/* --- code that was there at the start ---------------------------------------------------------------- */

static struct asked *submit_load(const char *path, const char *handler)
{
	struct asked *asked = asked_new("");
	struct envelope envelope = { 0 };
	struct err err;

	if (envelope_from_path(&envelope, path, handler, &err) < 0)
		bail_out("%s", err.text);
	function_load(test.function, &envelope, on_outcome, asked);
	ok(envelope.handler == NULL && envelope.folder == NULL && envelope.code == NULL, "the envelope is taken over");
	return asked;
}

static struct asked *load(const char *path, const char *handler)
{
	return wait_for(submit_load(path, handler));
}

/* A folder of the user's. */
static char *make_folder(const char *name, const char *contents)
{
	char *folder = tree_new(), path[PATH_MAX];
	FILE *file;

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	(void) fputs(contents, file);
	(void) fclose(file);
	return folder;
}

static void test_load_folder(void)
{
	char *folder = make_folder("index.py", "code"), *tree, wanted[2 * PATH_MAX + 300];
	struct asked *asked;

	double_init = "echo initialized";
	set_up("script");
	asked = load(folder, NULL);
	ok(asked->kind == OUTCOME_INITIALIZED && asked->convention == CONVENTION_SCF, "a folder is loaded");
	ok(work_dir_is("pyaction-....../ 700\n"), "... with a directory for what is installed");
	tree = tree_show(test.work_dir);
	(void) snprintf(wanted, sizeof(wanted),
		"{\"path\":\"%s\",\"handler\":\"index.main_handler\",\"packages\":\"%s/%.15s\",\"source\":false,\"owned\":false,"
		"\"terminal\":false,\"convention\":\"scf\",\"env\":{}}",
		folder, test.work_dir, tree);
	ok(is_outcome(asked, OUTCOME_INITIALIZED, wanted), "... the runner is told all of it");
	free(tree);
	tree = tree_show(folder);
	ok(strncmp(tree, "index.py 6", 10) == 0 && strchr(tree, '\n')[1] == '\0', "... and the folder is as it was");
	free(tree);
	ok(is_outcome(run("{}"), OUTCOME_SUCCESS, "{}") && came_out(MARKER) && came_error(MARKER), "a run");
	ok(is_outcome(run("<exit 1>"), OUTCOME_EXITED, "command exited (exit status 1)") &&
			is_outcome(run("{}"), OUTCOME_SUCCESS, "{}"),
		"another process loads it again");
	ok(is_outcome(load(folder, NULL), OUTCOME_ALREADY_INITIALIZED, "Cannot initialize the action more than once."),
		"a second one");
	ok(is_outcome(init("main"), OUTCOME_ALREADY_INITIALIZED, "Cannot initialize the action more than once."),
		"... as from /init");
	tear_down();
	tree_free(folder);
}

static void test_load_archive(void)
{
	char *folder = make_folder("archive", "PKgood"), path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/archive", folder);
	double_init = "echo initialized";
	set_up("script");
	ok(strstr(load(path, "a.lambda_handler")->payload, "\"handler\":\"a.lambda_handler\",") != NULL,
		"an archive is loaded");
	ok(strstr(test.all->payload, "\"source\":false,\"owned\":true,") != NULL, "... and is ours");
	ok(work_dir_is("pyaction-....../ 700\npyaction-....../PKgood 644 ''\n"), "... unpacked");
	tear_down();
	tree_free(folder);
}

static void test_load_failure(void)
{
	char *folder = make_folder("index.py", "code"), *archive = make_folder("archive", "PKbad"), path[PATH_MAX];
	struct asked *asked;

	(void) snprintf(path, sizeof(path), "%s/archive", archive);
	double_init = "err why~;reply init_failed";
	set_up("script");
	asked = submit_load(folder, NULL);
	(void) setenv("DOUBLE_INIT", "exit 3", 1); /* for the runner that is started at its end */
	ok(is_outcome(wait_for(asked), OUTCOME_INIT_FAILED, "{\"ok\":true}"), "code that does not load");
	ok(came_out("") && came_error("why\n"), "... no activation: no markers");
	ok(is_outcome(load(folder, NULL), OUTCOME_INIT_EXITED,
		   "Cannot start action. Check logs for details. (exit status 3)"),
		"code that ends the process");
	ok(came_out("") && came_error("Command exited abruptly during initialization.\n"), "... no markers either");
	ok(is_outcome(load(path, NULL), OUTCOME_INIT_FAILED,
		   "The action failed to generate or locate a binary. See logs for details. (the archive is bad)"),
		"a bad archive");
	ok(came_out("") && came_error("the archive is bad\n"), "... nor here");
	ok(work_dir_is("") && is_outcome(run("{}"), OUTCOME_NOT_INITIALIZED, "no action defined yet"),
		"there is no function");
	function_stop(test.function);
	ok(is_outcome(submit_load(folder, NULL), OUTCOME_STOPPING, STOPPING), "stopped, nothing is loaded");
	tear_down();
	tree_free(folder);
	tree_free(archive);
}

static void test_load_with_full_queue(void)
{
	char *folder = make_folder("index.py", "code");
	struct asked *asked, *last = NULL;

	set_up("script");
	(void) submit_init("main");
	for (size_t i = 1; i < LIMIT_QUEUE; i++)
		last = submit(INVOCATION_RUN, "{}");
	asked = submit_load(folder, NULL);
	ok(is_outcome(asked, OUTCOME_QUEUE_FULL, "Too many requests are waiting."), "a full queue takes no code");
	(void) run_until(test.loop, &last->done);
	tear_down();
	tree_free(folder);
}

/* --- which convention -------------------------------------------------------------------------------- */

/* config: the server's, NULL for none; name: in the init's environment, NULL for none. */
static void check_convention(
	const char *config, const char *name, const char *handler, enum convention convention, const char *reason)
{
	char text[300], line[300], wanted[50];
	struct asked *asked;

	double_init = "echo initialized";
	set_up_with("script",
		&(struct function_config) {
			.convention = config, .tell = reason != NULL, .limits = { LIMITS_DEFAULT, LIMITS_DEFAULT } });
	(void) snprintf(text, sizeof(text), "{\"value\":{\"code\":\"c\",\"main\":\"%s\",\"env\":{%s%s%s}}}", handler,
		name != NULL ? "\"PYACTION_CONVENTION\":\"" : "", name != NULL ? name : "", name != NULL ? "\"" : "");
	asked = ask(INVOCATION_INIT, text);
	(void) snprintf(wanted, sizeof(wanted), "\"convention\":\"%s\",", convention_name(convention));
	ok(asked->kind == OUTCOME_INITIALIZED && tap_is_int(asked->convention, convention) &&
			strstr(asked->payload, wanted) != NULL,
		"%s, with %s for the server and %s for the function, is %s", handler,
		config != NULL ? config : "nothing", name != NULL ? name : "nothing", convention_name(convention));
	if (reason != NULL)
		(void) snprintf(line, sizeof(line), "pyaction: convention %s for the handler '%s', because %s\n",
			convention_name(convention), handler, reason);
	ok(came_error(reason != NULL ? line : "") && came_out(""), "... which is said where it is wanted");
	is_int(run("{}")->convention, convention, "... and known of a run");
	is_int(run("<exit 1>")->convention, convention, "... however it ends");
	tear_down();
}

static void test_convention(void)
{
	static const char says_so[] = "PYACTION_CONVENTION says so";
	struct asked *asked;

	check_convention(NULL, NULL, "main", CONVENTION_OPENWHISK, NULL);
	check_convention(
		NULL, NULL, "x.lambda_handler", CONVENTION_LAMBDA, "the handler's function is called lambda_handler");
	check_convention(
		NULL, NULL, "index.main_handler", CONVENTION_SCF, "the handler's function is called main_handler");
	check_convention("auto", NULL, "main", CONVENTION_OPENWHISK,
		"the handler's function is called neither lambda_handler nor main_handler");
	check_convention("scf", NULL, "main", CONVENTION_SCF, says_so);
	check_convention("scf", "lambda", "main", CONVENTION_LAMBDA, says_so);
	check_convention("scf", "auto", "x.lambda_handler", CONVENTION_LAMBDA, NULL);
	check_convention(NULL, "openwhisk", "x.lambda_handler", CONVENTION_OPENWHISK, says_so);

	set_up("script");
	asked = ask(INVOCATION_INIT, "{\"value\":{\"code\":\"c\",\"env\":{\"PYACTION_CONVENTION\":\"aws\"}}}");
	ok(is_outcome(asked, OUTCOME_BAD_REQUEST,
		   "PYACTION_CONVENTION is 'aws', but must be auto, openwhisk, lambda or scf"),
		"one that is none is refused");
	ok(work_dir_is("") && came_out("") && came_error(""), "... and leaves nothing");
	ok(is_initialized(init("x.lambda_handler")) && test.all->convention == CONVENTION_LAMBDA,
		"the next init works");
	tear_down();
}

static void test_init_line(void)
{
	struct asked *asked;

	double_init = "echo initialized";
	set_up_with("script", &(struct function_config) { .limits = { 1500, 64 } });
	asked = ask(INVOCATION_INIT,
		"{\"value\":{\"code\":\"c\",\"main\":\"\\\"q\\\\\",\"env\":{ \"A\" : 1e400,\n\"B\":\"\\u00e9\"}}}");
	ok(asked->kind == OUTCOME_INITIALIZED &&
			strstr(asked->payload, "\"handler\":\"\\\"q\\\\\",\"packages\":\"") != NULL &&
			strstr(asked->payload,
				"\",\"source\":true,\"owned\":true,\"terminal\":false,\"convention\":\"openwhisk\","
				"\"timeout_ms\":1500,\"memory_mb\":64,\"env\":{ \"A\" : 1e400,\r\"B\":\"\\u00e9\"}}") !=
				NULL,
		"the runner is told of source code, limits and variables: %s", asked->payload);
	tear_down();
	double_init = "echo initialized";
	set_up_with("script", &(struct function_config) { .limits = { 0, 0 } });
	ok(strstr(init("main")->payload, ",\"timeout_ms\":0,\"memory_mb\":0,") != NULL,
		"... and of limits that are off");
	tear_down();
}

int main(int argc, char **argv)
{
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 2)
		return be_precompiler(argv[1], argv[2]);
	if (argc > 1)
		return be_unpacker(argv[1]);
	become_runner_double();
	self[length] = '\0';
	(void) signal(SIGPIPE, SIG_IGN);
	test_source();
	test_second_init();
	test_archives();
	test_compiled();
	test_precompiling();
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
	test_platform();
	test_platform_without_lines();
	test_no_message();
	test_wanted_log();
	test_turn();
	test_unread_message();
	test_message_never_read();
	test_cold_start();
	test_measures();
	test_whose_limits();
	test_timeout();
	test_timeout_counts();
	test_init_timeout();
	test_memory_watched();
	test_memory_told();
	test_abort_at_limit();
	test_load_folder();
	test_load_archive();
	test_load_failure();
	test_load_with_full_queue();
	test_convention();
	test_init_line();
	return done_testing();
}
