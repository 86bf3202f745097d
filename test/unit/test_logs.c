#include "../../proxy/logs.h"

#include "loop_run.h"
#include "tap.h"
#include "tree.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MARKER LOGS_MARKER "\n"

/* --- fds 1 and 2, and who reads them ----------------------------------------------------------------- */

/* What comes out at one of them. */
struct reader {
	struct watch watch; /* fd -1: nobody reads */
	char *text;
	size_t length, capacity;
};

static struct {
	struct loop *loop;
	struct logs *logs;
	struct reader out, error;
	int saved[2];
	int done_count;
	bool done;
} test;

static void reader_read(struct reader *reader)
{
	for (;;) {
		ssize_t count;

		if (reader->capacity - reader->length < 70000)
			reader->text = realloc(reader->text, reader->capacity = 2 * reader->capacity + 140000);
		count = read(reader->watch.fd, reader->text + reader->length, 65536);
		if (count <= 0)
			return;
		reader->length += (size_t) count;
	}
}

static void on_reader_ready(void *context, uint32_t events)
{
	(void) events;
	reader_read(context);
}

static void reader_start(struct reader *reader)
{
	struct err err;

	reader->watch.on_ready = on_reader_ready;
	reader->watch.context = reader;
	if (loop_watch(test.loop, &reader->watch, EPOLLIN, &err) < 0)
		bail_out("%s", err.text);
}

static void on_done(void *context)
{
	ok(context == &test, "on_done has its context");
	test.done_count++;
	test.done = true;
}

/* Puts targets in the place of fds 1 and 2 and makes a relay to them; closes them. The read ends are the
 * readers', -1 for none. */
static void set_up(int out_target, int error_target, int out_read, int error_read)
{
	struct err err;

	test.loop = make_loop();
	test.done_count = 0;
	test.out = (struct reader) { .watch.fd = out_read };
	test.error = (struct reader) { .watch.fd = error_read };
	for (int i = 0; i < 2; i++)
		test.saved[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 100);
	(void) dup2(out_target, 1);
	(void) dup2(error_target, 2);
	fd_close(out_target);
	if (error_target != out_target)
		fd_close(error_target);
	for (size_t i = 0; i < 2; i++)
		if ((i == 0 ? out_read : error_read) >= 0)
			(void) fcntl(i == 0 ? out_read : error_read, F_SETFL, O_NONBLOCK);
	if (logs_new(&test.logs, test.loop, &err) < 0)
		bail_out("%s", err.text);
}

static void tear_down(void)
{
	struct reader *readers[] = { &test.out, &test.error };

	logs_free(test.logs);
	test.logs = NULL;
	for (int i = 0; i < 2; i++) {
		(void) dup2(test.saved[i], i + 1);
		fd_close(test.saved[i]);
		loop_unwatch(test.loop, &readers[i]->watch);
		fd_close(readers[i]->watch.fd);
		free(readers[i]->text);
	}
	loop_free(test.loop);
}

/* A pipe of size bytes at each. */
static void set_up_pipes(int size)
{
	int out[2], error[2];

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0)
		bail_out("no pipe");
	(void) fcntl(out[1], F_SETPIPE_SZ, size);
	(void) fcntl(error[1], F_SETPIPE_SZ, size);
	set_up(out[1], error[1], out[0], error[0]);
}

/* One pipe at both. */
static void set_up_one_pipe(void)
{
	int both[2];

	if (pipe2(both, O_CLOEXEC) < 0)
		bail_out("no pipe");
	set_up(both[1], both[1], both[0], -1);
}

static void put(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) != (ssize_t) strlen(text))
		bail_out("the relay's pipe takes nothing");
}

static void out(const char *text)
{
	put(logs_stdout_fd(test.logs), text);
}

static void error(const char *text)
{
	put(logs_stderr_fd(test.logs), text);
}

/* Ends an activation, and waits until that is told. */
static bool end(bool markers)
{
	test.done = false;
	logs_end_activation(test.logs, markers, on_done, &test);
	return run_until(test.loop, &test.done);
}

static bool came(struct reader *reader, const char *wanted)
{
	reader_read(reader);
	return tap_is_mem(reader->text, reader->length, wanted, strlen(wanted));
}

/* --- where both lead to different places ------------------------------------------------------------- */

static void test_markers(void)
{
	set_up_pipes(65536);
	out("to stdout\n");
	error("to stderr\n");
	ok(end(true), "an activation ends");
	ok(came(&test.out, "to stdout\n" MARKER), "stdout, then a marker");
	ok(came(&test.error, "to stderr\n" MARKER), "stderr, then a marker");
	ok(end(true) && came(&test.out, "to stdout\n" MARKER MARKER), "one without output has its marker");
	is_int(test.done_count, 2, "on_done is called once for each");
	out("more\n");
	ok(end(false) && came(&test.out, "to stdout\n" MARKER MARKER "more\n") &&
			came(&test.error, "to stderr\n" MARKER MARKER),
		"one without markers has its output all the same");
	tear_down();
}

static void test_unterminated_lines(void)
{
	set_up_pipes(65536);
	out("no newline");
	ok(end(true) && came(&test.out, "no newline\n" MARKER) && came(&test.error, MARKER),
		"an unterminated line is ended, before the marker");
	out("a");
	ok(end(false), "an end without a marker");
	out("b");
	ok(end(true) && came(&test.out, "no newline\n" MARKER "ab\n" MARKER), "... ends no line; the next one does");
	out("\n");
	ok(end(true) && came(&test.out, "no newline\n" MARKER "ab\n" MARKER "\n" MARKER), "an empty line is a line");
	tear_down();
}

static void test_output_by_itself(void)
{
	set_up_pipes(65536);
	out("idle\n");
	error("idle too");
	run_ms(test.loop, 20);
	ok(came(&test.out, "idle\n") && came(&test.error, "idle too"),
		"output is passed on as it comes, without any end");
	ok(end(true) && came(&test.error, "idle too\n" MARKER), "... and its last line ended with the next activation");
	is_int(fcntl(1, F_GETFL) & O_NONBLOCK, 0, "the flags of fd 1 are as they were");
	is_int(fcntl(2, F_GETFL) & O_NONBLOCK, 0, "the flags of fd 2 are as they were");
	tear_down();
}

static void test_notes(void)
{
	char longest[LOGS_LINES_MAX + 100], wanted[LOGS_LINES_MAX + 300];

	set_up_pipes(65536);
	logs_write_stderr(test.logs, "a note");
	run_ms(test.loop, 5);
	ok(came(&test.error, ""), "a note waits for the end of the activation");
	ok(end(true) && came(&test.error, "a note\n" MARKER) && came(&test.out, MARKER),
		"... and stands before its marker");
	error("text");
	logs_write_stderr(test.logs, "one");
	logs_write_stderr(test.logs, "two");
	ok(end(false) && came(&test.error, "a note\n" MARKER "text\none\ntwo\n"),
		"two, after an unterminated line, without a marker");
	test.error.length = 0;
	ok(end(true) && came(&test.error, MARKER), "they come once");

	for (size_t length = LOGS_LINES_MAX - 12; length < LOGS_LINES_MAX + 8; length++) {
		size_t kept = length < LOGS_LINES_MAX - 2 ? length : LOGS_LINES_MAX - 2;

		memset(longest, 'n', length);
		longest[length] = '\0';
		logs_write_stderr(test.logs, longest);
		logs_write_stderr(test.logs, "more");
		test.error.length = 0;
		if (!end(true))
			bail_out("it does not end");
		reader_read(&test.error);
		(void) snprintf(wanted, sizeof(wanted), "%.*s", (int) kept - 10, longest);
		if (test.error.length < kept || strncmp(test.error.text, wanted, strlen(wanted)) != 0 ||
			test.error.length > LOGS_LINES_MAX + strlen(MARKER) ||
			memcmp(test.error.text + test.error.length - strlen(MARKER) - 1, "\n" MARKER,
				strlen(MARKER) + 1) != 0)
			ok(false, "a note of %zu bytes is cut, and is a line", length);
	}
	tear_down();
}

/* --- where both lead to the same --------------------------------------------------------------------- */

static void test_same_file(void)
{
	set_up_one_pipe();
	is_int(logs_stdout_fd(test.logs), logs_stderr_fd(test.logs), "one pipe for both");
	out("1");
	error("2");
	out("3\n");
	error("4");
	logs_write_stderr(test.logs, "note");
	ok(end(true) && came(&test.out, "123\n4\nnote\n" MARKER MARKER), "the order is kept, and two markers come");
	tear_down();
}

static void check_files(bool same)
{
	char *directory = tree_new(), path[PATH_MAX], text[300] = "";
	int a, b, fd;

	(void) snprintf(path, sizeof(path), "%s/out", directory);
	a = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (!same)
		(void) snprintf(path, sizeof(path), "%s/err", directory);
	b = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	set_up(a, b, -1, -1);
	out("out\n");
	error("err");
	ok(end(true), "%s takes all at once", same ? "one file, opened twice," : "a file each");
	is_int(test.done_count, 1, "... once");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void) !read(fd, text, sizeof(text) - 1);
	fd_close(fd);
	is_str(text, same ? "out\nerr\n" MARKER MARKER : "err\n" MARKER, "... in its order");
	tear_down();
	tree_free(directory);
}

/* --- targets of other kinds -------------------------------------------------------------------------- */

static void test_devices(void)
{
	set_up(open("/dev/null", O_WRONLY | O_CLOEXEC), open("/dev/full", O_WRONLY | O_CLOEXEC), -1, -1);
	for (int i = 0; i < 3; i++) {
		out("nothing");
		error("nowhere");
		ok(end(true), "/dev/null takes all, a full disk nothing: nobody waits");
	}
	tear_down();
}

static void test_socket(void)
{
	enum { SIZE = 200000 };
	int pair[2];
	char *text = malloc(SIZE + 1);

	memset(text, 's', SIZE);
	text[SIZE] = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		bail_out("no socket");
	(void) setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int) { 20000 }, sizeof(int));
	set_up(pair[1], open("/dev/null", O_WRONLY | O_CLOEXEC), pair[0], -1);
	is_int(fcntl(1, F_GETFL) & O_NONBLOCK, 0, "a socket stays blocking");
	out(text);
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	ok(!run_for(test.loop, &test.done, 20), "... and a full one blocks nobody");
	reader_start(&test.out);
	ok(run_until(test.loop, &test.done), "when it is read, the activation ends");
	text = realloc(text, SIZE + 100);
	(void) strcat(text, "\n" MARKER);
	ok(came(&test.out, text), "... with all of it");
	free(text);
	tear_down();
}

/* --- readers that stall or go ------------------------------------------------------------------------ */

/* Text of numbered lines, so that anything missing or out of order shows. */
static char *make_text(size_t lines)
{
	char *text = malloc(lines * 8 + 1);

	for (size_t i = 0; i < lines; i++)
		(void) sprintf(text + 8 * i, "%07zu\n", i % 10000000);
	return text;
}

static int turns;

static int count_turns(void *context)
{
	(void) context;
	turns++;
	return turns < 1000 ? 10 : 0;
}

static void stop_loop(void *context)
{
	loop_stop(context);
}

/* A relay that waits for a full pipe must sleep. */
static void check_sleeping(void)
{
	struct timer limit = { .on_due = stop_loop, .context = test.loop };
	struct err err;

	turns = 0;
	loop_set_before_wait(test.loop, count_turns, NULL);
	loop_timer_set(test.loop, &limit, loop_now_ms() + 40);
	(void) loop_run(test.loop, &err);
	ok(turns < 20, "it sleeps meanwhile (%d turns)", turns);
}

static void test_stalled_reader(void)
{
	enum { LINES = 40000 };
	char *text = make_text(LINES), *wanted = malloc(LINES * 8 + 100);

	set_up_pipes(4096);
	out(text);
	error("short\n");
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	ok(!run_for(test.loop, &test.done, 20), "a full stdout holds up the end of the activation");
	ok(came(&test.error, "short\n" MARKER), "... but not stderr");
	out("of the next\n");
	reader_start(&test.out);
	ok(run_until(test.loop, &test.done), "when it is read, the activation ends");
	run_ms(test.loop, 20);
	(void) sprintf(wanted, "%s" MARKER "of the next\n", text);
	ok(came(&test.out, wanted), "... all of its output before the marker, what came later after it");
	is_int(test.done_count, 1, "... told once");
	ok(end(true), "the next one ends");
	free(text);
	free(wanted);
	tear_down();
}

static void test_stalled_reader_sleeps(void)
{
	char *text = make_text(20000);

	set_up_pipes(4096);
	out(text);
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	check_sleeping();
	ok(!test.done, "... and the activation has not ended");
	free(text);
	tear_down();
}

/* Nobody is waited for when the proxy ends. */
static void test_free_with_stalled_reader(void)
{
	char *text = make_text(20000);

	set_up_pipes(4096);
	out(text);
	logs_end_activation(test.logs, true, on_done, &test);
	logs_free(test.logs);
	test.logs = NULL;
	is_int(test.done_count, 0, "freed before the end: no call");
	free(text);
	tear_down();
	set_up_pipes(65536);
	out("last words");
	logs_free(test.logs);
	test.logs = NULL;
	ok(came(&test.out, "last words"), "what is in the pipe goes out when it is freed");
	tear_down();
}

static void test_broken_pipe(void)
{
	set_up_pipes(65536);
	out("read\n");
	ok(end(true) && came(&test.out, "read\n" MARKER), "as long as somebody reads");
	fd_closep(&test.out.watch.fd);
	for (int i = 0; i < 3; i++) {
		out("unread");
		error("read\n");
		ok(end(true), "a broken pipe holds up nothing");
	}
	ok(came(&test.error, MARKER "read\n" MARKER "read\n" MARKER "read\n" MARKER), "... and the other is complete");
	tear_down();
}

static void test_broken_while_stalled(void)
{
	char *text = make_text(20000);

	set_up_pipes(4096);
	out(text);
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	ok(!run_for(test.loop, &test.done, 10), "a full pipe");
	fd_closep(&test.out.watch.fd);
	ok(run_until(test.loop, &test.done), "... that breaks: the activation ends");
	free(text);
	tear_down();
}

/* Somebody else reads the relay's own pipe, as a function can through /proc. */
static void test_stolen_output(void)
{
	char *text = make_text(20000), path[64], *stolen = malloc(1 << 20);
	int thief;

	set_up_pipes(4096);
	out(text);
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", logs_stdout_fd(test.logs));
	thief = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (thief < 0 && errno == EACCES)
		ok(true, "output is stolen # SKIP only root opens the pipe again");
	else
		ok(read(thief, stolen, 1 << 20) > 0, "output is stolen that the activation's end waits for");
	if (thief >= 0)
		fd_close(thief);
	reader_start(&test.out);
	ok(run_until(test.loop, &test.done), "... it comes all the same");
	free(text);
	free(stolen);
	tear_down();
}

/* --- bursts ------------------------------------------------------------------------------------------ */

/* A process that writes the text, however long the pipe makes it wait. */
static pid_t start_writer(const char *text)
{
	pid_t pid = fork();

	if (pid == 0) {
		size_t length = strlen(text), written = 0;

		while (written < length) {
			ssize_t count = write(logs_stdout_fd(test.logs), text + written, length - written);

			if (count < 0)
				_exit(1);
			written += (size_t) count;
		}
		_exit(0);
	}
	return pid;
}

static void set_ended(void *context, int wait_status)
{
	bool *ended = context;

	(void) wait_status;
	*ended = true;
}

static void test_burst(void)
{
	enum { LINES = 625000 }; /* 5 MB */
	char *text = make_text(LINES), *wanted = malloc(LINES * 8 + 100);
	struct child_watch child = { .on_end = set_ended };
	bool ended = false;

	set_up_pipes(65536);
	reader_start(&test.out);
	child.pid = start_writer(text);
	child.context = &ended;
	loop_child_watch(test.loop, &child);
	ok(run_until(test.loop, &ended), "a process writes 5 MB");
	ok(end(true), "the activation ends");
	(void) sprintf(wanted, "%s" MARKER, text);
	ok(came(&test.out, wanted), "all has come, in order, before the marker");
	free(text);
	free(wanted);
	tear_down();
}

/* Output without an end must not keep an activation from its own. */
static void test_endless_output(void)
{
	struct child_watch child = { .on_end = set_ended };
	bool ended = false;
	size_t markers = 0;

	set_up_pipes(65536);
	reader_start(&test.out);
	child.context = &ended;
	child.pid = fork();
	while (child.pid == 0)
		if (write(logs_stdout_fd(test.logs), "endless\n", 8) < 0)
			_exit(1);
	loop_child_watch(test.loop, &child);
	while (test.out.length == 0)
		run_ms(test.loop, 2);
	for (int i = 0; i < 3; i++)
		ok(end(true), "an activation ends beside a process that never stops writing");
	(void) kill(child.pid, SIGKILL);
	ok(run_until(test.loop, &ended), "the process is killed");
	run_ms(test.loop, 10);
	reader_read(&test.out);
	test.out.text[test.out.length] = '\0';
	for (const char *at = test.out.text; (at = strstr(at, MARKER)) != NULL; at++)
		markers += at == test.out.text || at[-1] == '\n';
	is_int(markers, 3, "each marker is there, on its own line");
	tear_down();
}

/* --- a platform's lines ------------------------------------------------------------------------------ */

static void begin(const char *lines)
{
	logs_begin_activation(test.logs, lines, false);
}

static void test_lines(void)
{
	set_up_pipes(65536);
	begin("START\nINIT\n");
	ok(came(&test.out, "START\nINIT\n"), "the first lines come at once");
	out("text\n");
	error("error");
	logs_write_stdout(test.logs, "END\n");
	run_ms(test.loop, 20);
	ok(came(&test.out, "START\nINIT\ntext\n"), "the last lines wait for the end");
	logs_write_stdout(test.logs, "REPORT\n");
	out("more\n");
	ok(end(false) && came(&test.out, "START\nINIT\ntext\nmore\nEND\nREPORT\n"),
		"... and stand behind all output up to it");
	ok(came(&test.error, "error"), "... stderr has none of them");
	ok(end(true) && came(&test.out, "START\nINIT\ntext\nmore\nEND\nREPORT\n" MARKER), "they come once");
	tear_down();
}

static void test_lines_and_unterminated_ones(void)
{
	set_up_pipes(65536);
	out("open");
	ok(end(false), "an activation without lines leaves a line open");
	begin("START\n");
	out("open");
	logs_write_stdout(test.logs, "END\n");
	ok(end(false) && came(&test.out, "open\nSTART\nopen\nEND\n"),
		"the lines of the next one are lines of their own");
	begin("START\n");
	logs_write_stdout(test.logs, "END\n");
	ok(end(true) && came(&test.out, "open\nSTART\nopen\nEND\nSTART\nEND\n" MARKER),
		"without output there is no empty line; a marker is behind them");
	begin(NULL);
	out("none");
	ok(end(false) && came(&test.out, "open\nSTART\nopen\nEND\nSTART\nEND\n" MARKER "none"), "no lines are none");
	tear_down();
}

static void test_lines_in_one_pipe(void)
{
	set_up_one_pipe();
	begin("START\n");
	out("1");
	error("2\n");
	logs_write_stdout(test.logs, "END\n");
	logs_write_stderr(test.logs, "note");
	out("3");
	ok(end(false) && came(&test.out, "START\n12\n3\nEND\nnote\n"), "the order is kept in one pipe");
	tear_down();
}

/* Long ones are cut, to lines. */
static void test_long_lines(void)
{
	char *lines = malloc(LOGS_LINES_MAX + 10), *wanted = malloc(2 * LOGS_LINES_MAX + 20);

	for (size_t length = LOGS_LINES_MAX - 3; length < LOGS_LINES_MAX + 4; length++) {
		int kept = length < LOGS_LINES_MAX ? (int) length : LOGS_LINES_MAX;

		memset(lines, 'l', length);
		(void) strcpy(lines + length - 1, "\n");
		(void) sprintf(wanted, "%.*s\n%.*s\n", kept - 1, lines, kept - 1, lines);
		set_up_pipes(65536);
		begin(lines);
		logs_write_stdout(test.logs, lines);
		ok(end(false) && came(&test.out, wanted), "of lines of %zu bytes %d are written", length, kept);
		tear_down();
	}
	free(lines);
	free(wanted);
}

/* What was said before stands before, even if nobody has read it yet. */
static void test_lines_behind_a_stalled_reader(void)
{
	char *text = make_text(6000), *wanted = malloc(100000);

	set_up_pipes(4096);
	out(text);
	run_ms(test.loop, 20);
	begin("START\n");
	out("text");
	logs_write_stdout(test.logs, "END\n");
	test.done = false;
	logs_end_activation(test.logs, true, on_done, &test);
	ok(!run_for(test.loop, &test.done, 20), "a full stdout holds up an activation with lines");
	reader_start(&test.out);
	ok(run_until(test.loop, &test.done), "... which ends when it is read");
	(void) sprintf(wanted, "%sSTART\ntext\nEND\n" MARKER, text);
	ok(came(&test.out, wanted), "... all in order");
	ok(came(&test.error, MARKER), "... and stderr");
	free(wanted);
	free(text);
	tear_down();
}

static void test_free_with_lines(void)
{
	char *text = make_text(20000);

	for (int ending = 0; ending < 2; ending++) {
		set_up_pipes(4096);
		(ending ? error : out)(text);
		run_ms(test.loop, 5);
		logs_begin_activation(test.logs, "START\n", true);
		logs_write_stdout(test.logs, "END\n");
		logs_write_stderr(test.logs, "note");
		if (ending) /* of which stdout is at its end */
			logs_end_activation(test.logs, true, on_done, &test);
		logs_free(test.logs);
		test.logs = NULL;
		is_int(test.done_count, 0, "freed with all it can have"); /* a sanitizer sees what is left */
		tear_down();
	}
	free(text);
}

/* --- the tail of the log ----------------------------------------------------------------------------- */

static bool is_tail(const char *wanted, size_t length)
{
	size_t tail_length = 4711;
	char *tail = logs_steal_tail(test.logs, &tail_length);
	bool same = tap_is_mem(tail, tail_length, wanted, length) && tail[tail_length] == '\0';

	free(tail);
	return same;
}

static bool has_no_tail(void)
{
	size_t length = 0;
	char *tail = logs_steal_tail(test.logs, &length);

	free(tail);
	return tail == NULL;
}

#define IS_TAIL(literal) is_tail(literal, sizeof(literal) - 1)

static void test_tail(void)
{
	set_up_pipes(65536);
	out("before");
	ok(end(false), "an activation");
	ok(has_no_tail(), "nothing is kept of it");
	logs_begin_activation(test.logs, "START\n", true);
	out("out\n");
	run_ms(test.loop, 10);
	error("err\n");
	run_ms(test.loop, 10);
	out("a");
	logs_write_stdout(test.logs, "END\n");
	ok(end(true) && IS_TAIL("START\nout\nerr\na\nEND\n"),
		"of another all is: lines, both streams, ends of lines, no marker");
	ok(has_no_tail(), "... once");
	logs_begin_activation(test.logs, NULL, true);
	put(logs_stdout_fd(test.logs), "x");
	(void) !write(logs_stdout_fd(test.logs), "a\0b", 3);
	ok(end(false) && IS_TAIL("xa\0b"), "any bytes, without lines");
	logs_begin_activation(test.logs, NULL, true);
	ok(end(false) && IS_TAIL(""), "nothing");
	logs_begin_activation(test.logs, "kept\n", true);
	logs_begin_activation(test.logs, "START\n", true);
	ok(end(false) && IS_TAIL("START\n"), "of two beginnings the last counts");
	logs_begin_activation(test.logs, "START\n", true);
	logs_begin_activation(test.logs, "START\n", false);
	ok(end(false) && has_no_tail(), "... also when it wants nothing kept");
	tear_down();
}

static void check_tail_of(size_t length)
{
	char *text = malloc(length + 1), *lines = malloc(length + 30);
	size_t total;

	for (size_t i = 0; i < length; i++)
		text[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+"[i % 63];
	text[length] = '\0';
	set_up_pipes(65536);
	reader_start(&test.out);
	logs_begin_activation(test.logs, "START\n", true);
	for (size_t done = 0; done < length;) {
		size_t some = length - done < 500000 ? length - done : 500000;

		if (write(logs_stdout_fd(test.logs), text + done, some) != (ssize_t) some)
			bail_out("the relay's pipe takes nothing");
		done += some;
		if (done < length)
			run_ms(test.loop, 50);
	}
	logs_write_stdout(test.logs, "END\n");
	total = (size_t) sprintf(lines, "START\n%s%sEND\n", text, length > 0 ? "\n" : "");
	ok(end(false) &&
			is_tail(total > LOGS_TAIL_MAX ? lines + total - LOGS_TAIL_MAX : lines,
				total < LOGS_TAIL_MAX ? total : LOGS_TAIL_MAX),
		"the last of %zu bytes", total);
	free(lines);
	free(text);
	tear_down();
}

static void test_tail_sizes(void)
{
	enum { LINES = 11 }; /* START, END and the end of the text's line */
	static const size_t sizes[] = { 0, 1, LOGS_TAIL_MAX - LINES - 1, LOGS_TAIL_MAX - LINES,
		LOGS_TAIL_MAX - LINES + 1, LOGS_TAIL_MAX - 5, LOGS_TAIL_MAX - 4, LOGS_TAIL_MAX - 1, LOGS_TAIL_MAX,
		LOGS_TAIL_MAX + 1, 2 * LOGS_TAIL_MAX - LINES, 2 * LOGS_TAIL_MAX, 65535, 65536, 65537, 200000, 2000000 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		check_tail_of(sizes[i]);
}

static void test_tail_of_an_open_line(void)
{
	set_up_pipes(65536);
	logs_begin_activation(test.logs, "START\n", true);
	error("open");
	logs_write_stdout(test.logs, "END\n");
	ok(end(false) && IS_TAIL("START\nopen\nEND\n"), "a line that stderr has left open is ended");
	ok(came(&test.out, "START\nEND\n") && came(&test.error, "open"), "... only there");
	tear_down();
}

/* The last lines stand last, whichever stream is at its end first, and what comes after the end is not kept. */
static void check_tail_of_two_streams(size_t lines)
{
	char *text = make_text(lines), *wanted = malloc(lines * 8 + 100);
	size_t length = (size_t) sprintf(wanted, "%sEND\n", text);

	set_up_pipes(4096);
	logs_begin_activation(test.logs, "START\n", true);
	error(text);
	logs_write_stdout(test.logs, "END\n");
	test.done = false;
	logs_end_activation(test.logs, false, on_done, &test);
	out("later\n");
	ok(!run_for(test.loop, &test.done, 20) && came(&test.out, "START\nEND\nlater\n"),
		"stdout is at its end, stderr is not read");
	reader_start(&test.error);
	ok(run_until(test.loop, &test.done) && is_tail(wanted + length - LOGS_TAIL_MAX, LOGS_TAIL_MAX),
		"... until its end, and then the last lines");
	free(wanted);
	free(text);
	tear_down();
}

/* The last lines alone are more than is kept. */
static void test_tail_of_long_lines(void)
{
	char lines[2 * LOGS_TAIL_MAX + 1];

	for (size_t i = 0; i < sizeof(lines) - 1; i++)
		lines[i] = (char) ('a' + i % 23);
	lines[sizeof(lines) - 2] = '\n';
	lines[sizeof(lines) - 1] = '\0';
	set_up_pipes(65536);
	logs_begin_activation(test.logs, lines, true);
	ok(end(false) && is_tail(lines + LOGS_TAIL_MAX, LOGS_TAIL_MAX), "the last of long first lines");
	logs_begin_activation(test.logs, "START\n", true);
	out("text\n");
	logs_write_stdout(test.logs, lines);
	ok(end(false) && is_tail(lines + LOGS_TAIL_MAX, LOGS_TAIL_MAX), "the last of long last lines");
	tear_down();
}

static void test_tail_in_one_pipe(void)
{
	set_up_one_pipe();
	logs_begin_activation(test.logs, "START\n", true);
	out("1");
	error("2");
	out("3");
	logs_write_stdout(test.logs, "END\n");
	logs_write_stderr(test.logs, "note");
	ok(end(true) && IS_TAIL("START\n123\nEND\nnote\n"), "the tail of one pipe");
	tear_down();
}

/* It does not wait for a reader: it is complete when the activation has ended. */
static void test_tail_and_stalled_reader(void)
{
	char *text = make_text(40000), *wanted = malloc(320100);
	size_t length = (size_t) sprintf(wanted, "%sEND\n", text);

	set_up_pipes(4096);
	logs_begin_activation(test.logs, "START\n", true);
	out(text);
	logs_write_stdout(test.logs, "END\n");
	test.done = false;
	logs_end_activation(test.logs, false, on_done, &test);
	ok(!run_for(test.loop, &test.done, 20), "a full stdout holds up the end");
	reader_start(&test.out);
	ok(run_until(test.loop, &test.done), "... until it is read");
	ok(is_tail(wanted + length - LOGS_TAIL_MAX, LOGS_TAIL_MAX), "... and its tail is there");
	free(wanted);
	free(text);
	tear_down();
}

/* --- anything ---------------------------------------------------------------------------------------- */

struct model {
	char text[1 << 20];
	size_t length;
};

static void model_add(struct model *model, const char *text)
{
	memcpy(model->text + model->length, text, strlen(text) + 1);
	model->length += strlen(text);
}

static void model_end(struct model *model, const char *note, bool markers)
{
	bool open = model->length > 0 && model->text[model->length - 1] != '\n';

	if (open && (note[0] != '\0' || markers))
		model_add(model, "\n");
	model_add(model, note);
	if (markers)
		model_add(model, MARKER);
}

/* Texts, notes and ends in any order, between readers that now and then read nothing for a while. */
static void test_random(void)
{
	enum { ROUNDS = 300 };
	static struct model out_model, error_model;
	static const char *const texts[] = { "a\n", "b", "c\nd", "\n", "" };
	char *long_text = make_text(3000);
	bool ended = true;

	set_up_pipes(4096);
	reader_start(&test.out);
	reader_start(&test.error);
	for (int round = 0; round < ROUNDS && ended; round++) {
		bool markers = random_below(2) == 0, noted = random_below(4) == 0, stalled = random_below(4) == 0;
		const char *text = random_below(12) == 0 ? long_text : texts[random_below(5)];
		const char *other = texts[random_below(5)];

		if (stalled)
			loop_unwatch(test.loop, &test.out.watch);
		out(text);
		model_add(&out_model, text);
		error(other);
		model_add(&error_model, other);
		if (noted)
			logs_write_stderr(test.logs, "note");
		if (random_below(3) == 0)
			run_ms(test.loop, 1);
		test.done = false;
		logs_end_activation(test.logs, markers, set_true, &test.done);
		if (stalled)
			(void) run_for(test.loop, &test.done, 1);
		reader_start(&test.out);
		ended = run_until(test.loop, &test.done);
		model_end(&out_model, "", markers);
		model_end(&error_model, noted ? "note\n" : "", markers);
	}
	run_ms(test.loop, 5);
	ok(ended, "%d activations end", ROUNDS);
	ok(came(&test.out, out_model.text) && came(&test.error, error_model.text), "... and both outputs are right");
	free(long_text);
	tear_down();
}

static bool is_model_tail(const struct model *model)
{
	size_t length = model->length < LOGS_TAIL_MAX ? model->length : LOGS_TAIL_MAX;

	return is_tail(model->text + model->length - length, length);
}

/* Activations with lines of a platform, in one pipe for both streams, where the order is known. */
static void test_random_activations(void)
{
	enum { ROUNDS = 300 };
	static struct model model, log; /* log: of the activation, without markers and ends of earlier lines */
	static const char *const texts[] = { "a\n", "b", "c\nd", "\n", "" };
	char *long_text = make_text(700);
	bool ended = true, kept_right = true;

	set_up_one_pipe();
	reader_start(&test.out);
	for (int round = 0; round < ROUNDS && ended && kept_right; round++) {
		const char *first = random_below(3) == 0 ? NULL : "START\nINIT\n";
		const char *last = random_below(3) == 0 ? "" : "END\n", *note = random_below(4) == 0 ? "note" : "";
		bool keep = random_below(2) == 0, markers = random_below(2) == 0, stalled = random_below(4) == 0;

		if (stalled)
			loop_unwatch(test.loop, &test.out.watch);
		if (first != NULL && model.length > 0 && model.text[model.length - 1] != '\n')
			model_add(&model, "\n");
		log.length = 0;
		if (first != NULL)
			model_add(&model, first), model_add(&log, first);
		logs_begin_activation(test.logs, first, keep);
		for (size_t count = random_below(4); count > 0; count--) {
			const char *text = random_below(6) == 0 ? long_text : texts[random_below(5)];

			(random_below(2) == 0 ? out : error)(text);
			model_add(&model, text);
			model_add(&log, text);
			if (random_below(4) == 0)
				run_ms(test.loop, 1);
		}
		if (last[0] != '\0')
			logs_write_stdout(test.logs, last);
		if (note[0] != '\0')
			logs_write_stderr(test.logs, note), note = "note\n";
		test.done = false;
		logs_end_activation(test.logs, markers, set_true, &test.done);
		if (stalled)
			(void) run_for(test.loop, &test.done, 1);
		reader_start(&test.out);
		ended = run_until(test.loop, &test.done);
		if (model.length > 0 && model.text[model.length - 1] != '\n' &&
			(last[0] != '\0' || note[0] != '\0' || markers))
			model_add(&model, "\n"), model_add(&log, "\n");
		model_add(&model, last), model_add(&log, last);
		model_add(&model, note), model_add(&log, note);
		if (markers)
			model_add(&model, MARKER MARKER);
		kept_right = keep ? is_model_tail(&log) : has_no_tail();
	}
	ok(ended && kept_right, "%d activations end, with their tails", ROUNDS);
	ok(came(&test.out, model.text), "... and the output is right");
	free(long_text);
	tear_down();
}

int main(void)
{
	int fds = count_open_fds();

	(void) signal(SIGPIPE, SIG_IGN);
	test_markers();
	test_unterminated_lines();
	test_output_by_itself();
	test_notes();
	test_same_file();
	check_files(true);
	check_files(false);
	test_devices();
	test_socket();
	test_stalled_reader();
	test_stalled_reader_sleeps();
	test_free_with_stalled_reader();
	test_broken_pipe();
	test_broken_while_stalled();
	test_stolen_output();
	test_burst();
	test_endless_output();
	test_lines();
	test_lines_and_unterminated_ones();
	test_lines_in_one_pipe();
	test_long_lines();
	test_lines_behind_a_stalled_reader();
	test_free_with_lines();
	test_tail();
	test_tail_sizes();
	test_tail_of_an_open_line();
	check_tail_of_two_streams(750);   /* fits into a buffer */
	check_tail_of_two_streams(20000); /* does not */
	test_tail_of_long_lines();
	test_tail_in_one_pipe();
	test_tail_and_stalled_reader();
	test_random();
	test_random_activations();
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
