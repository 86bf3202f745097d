/*
 * The relay of the function's output, between a function that writes anything at any time and a reader that stalls or
 * goes away, against a model of what must have come out: every byte, in order, with the platform's lines and the
 * markers where they belong.
 *
 * The input is a script: what kind of files the output goes to, then steps (enum step).
 */
#include "../../proxy/logs.h"
#include "fuzz.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum step {
	STEP_STDOUT, /* the function writes; the length and the bytes follow */
	STEP_STDERR,
	STEP_FLOOD_STDOUT, /* it writes much */
	STEP_FLOOD_STDERR,
	STEP_BEGIN,       /* of an activation; a byte says with which lines, and whether its tail is kept */
	STEP_LINE_STDOUT, /* of the platform's, for the end */
	STEP_LINE_STDERR,
	STEP_END,         /* of the activation; a byte says whether with markers */
	STEP_READ_STDOUT, /* the reader takes some bytes, 16 for each of the next byte */
	STEP_READ_STDERR,
	STEP_READER_GONE, /* of stdout, or of stderr */
	STEP_TURN,
	STEP_KINDS,
};

enum target_kind { TWO_PIPES, ONE_PIPE, TWO_FILES, TWO_SOCKETS, TARGET_KINDS };

enum { MODEL_MAX = 1 << 20, PENDING_MAX = 200000, FLOOD = 7001, LINES_MAX = 20, PATIENCE_S = 20 };

static const char line[] = "a line of the platform's\n";

/* A stream as it should be, and as it is. */
struct model {
	char wanted[MODEL_MAX], got[MODEL_MAX];
	size_t wanted_length, got_length;
	size_t since_end; /* bytes that the function has written since the last end */
	size_t segment;   /* where the activation's part of wanted begins */
	size_t logged;    /* where it ends, before the markers */
	size_t due;       /* what must have been written when the end that is asked for has come */
	unsigned lines;   /* for the end */
	int read_fd;      /* -1 when the reader is gone */
};

static struct {
	struct loop *loop;
	struct logs *logs;
	struct watch always; /* ready in every turn */
	struct fuzz_script script;
	enum target_kind kind;
	struct model models[2];
	bool active, ending, last_end, keeps_tail, is_over;
	bool is_exact; /* all that is in the tail is the activation's */
	unsigned ends, ends_done;
	const char *problem; /* found while fds 1 and 2 are somebody else's */
	struct timespec started;
} run;

/* The sanitizer's report would go to fd 2. */
__attribute__((weak)) void __sanitizer_set_report_fd(void *fd);

static int own_fds[2];

static void check(bool holds, const char *problem)
{
	if (!holds && run.problem == NULL)
		run.problem = problem;
}

/* --- the model ---------------------------------------------------------------------------------------- */

static struct model *model_of(bool is_stderr)
{
	return &run.models[is_stderr && run.kind != ONE_PIPE ? 1 : 0];
}

static void expect(struct model *model, const char *text, size_t length)
{
	FUZZ_NEED(model->wanted_length + length <= MODEL_MAX, "room for the model");
	memcpy(model->wanted + model->wanted_length, text, length);
	model->wanted_length += length;
}

static void expect_line_end(struct model *model)
{
	if (model->wanted_length > 0 && model->wanted[model->wanted_length - 1] != '\n')
		expect(model, "\n", 1);
}

static void model_end(struct model *model, int markers)
{
	if (model->lines > 0 || markers > 0)
		expect_line_end(model);
	for (; model->lines > 0; model->lines--)
		expect(model, line, strlen(line));
	model->logged = model->wanted_length;
	for (int i = 0; i < markers; i++)
		expect(model, LOGS_MARKER "\n", strlen(LOGS_MARKER) + 1);
	model->since_end = 0;
	model->due = model->wanted_length;
}

/* --- the function, the platform, the reader ----------------------------------------------------------- */

static size_t most_pending(int fd)
{
	int capacity = fcntl(fd, F_GETPIPE_SZ);

	return capacity / 2 < PENDING_MAX ? (size_t) capacity / 2 : PENDING_MAX;
}

static void function_writes(bool is_stderr, const void *data, size_t length)
{
	int fd = is_stderr ? logs_stderr_fd(run.logs) : logs_stdout_fd(run.logs), pending = 0;
	struct model *model = model_of(is_stderr);

	/* Where the function would wait it writes nothing. Small writes take more of a pipe than their length. */
	(void) ioctl(fd, FIONREAD, &pending);
	if ((size_t) pending + length > most_pending(fd) || length == 0 ||
		model->wanted_length + length > MODEL_MAX / 2)
		return;
	FUZZ_NEED(fd_write_all(fd, data, length) == 0, "write");
	expect(model, data, length);
	model->since_end += length;
}

static void begin(uint8_t flags)
{
	struct model *model = model_of(false);
	/* Where they come when there is output from before is nobody's promise. */
	bool has_lines = (flags & 1) != 0 && model->since_end == 0;

	if (run.active || run.ending)
		return;
	run.active = true;
	run.keeps_tail = (flags & 2) != 0;
	run.is_exact = model->since_end == 0;
	if (has_lines)
		expect_line_end(model);
	for (int i = 0; i < 2; i++)
		run.models[i].segment = run.models[i].wanted_length;
	if (has_lines)
		expect(model, line, strlen(line));
	logs_begin_activation(run.logs, has_lines ? line : NULL, run.keeps_tail);
}

/* Both streams' tails interleave in one way or another; but the platform's lines are the last. */
static void check_tail(const char *tail, size_t length, bool has_lines)
{
	const struct model *model = model_of(false);
	size_t logged = model->logged - model->segment;

	check(length <= LOGS_TAIL_MAX, "the tail is too long");
	check(tail[length] == '\0', "the tail has no end");
	if (has_lines)
		check(length >= strlen(line) && memcmp(tail + length - strlen(line), line, strlen(line)) == 0,
			"the platform's lines are not the last of the tail");
	if (run.kind == ONE_PIPE && run.is_exact) {
		check(length == (logged < LOGS_TAIL_MAX ? logged : LOGS_TAIL_MAX) &&
				memcmp(tail, model->wanted + model->logged - length, length) == 0,
			"the tail");
	}
}

/* How much has been written where the reader reads. */
static size_t written(const struct model *model)
{
	struct stat file = { 0 };
	int waiting = 0;

	if (run.kind == TWO_FILES)
		return fstat(model->read_fd, &file) == 0 ? (size_t) file.st_size : 0;
	(void) ioctl(model->read_fd, FIONREAD, &waiting);
	return model->got_length + (size_t) waiting;
}

static bool ends_with_lines;

static void on_done(void *context)
{
	check(context == &run && run.ending, "an end that nobody waits for");
	run.ending = false;
	run.ends_done++;
	for (int i = 0; i < 2; i++)
		if (run.models[i].read_fd >= 0)
			check(written(&run.models[i]) >= run.models[i].due, "an end before all of it was written");
	if (run.active && run.keeps_tail) {
		size_t length = SIZE_MAX;
		cleanup_free char *tail = logs_steal_tail(run.logs, &length);

		check(tail != NULL, "no tail");
		if (tail != NULL)
			check_tail(tail, length, ends_with_lines);
	}
	run.active = false;
	run.is_over = run.last_end;
}

static void end(bool markers)
{
	if (run.ending)
		return;
	run.ending = true;
	run.ends++;
	ends_with_lines = run.models[0].lines > 0 && run.kind != ONE_PIPE;
	model_end(&run.models[0], markers ? (run.kind == ONE_PIPE ? 2 : 1) : 0);
	if (run.kind != ONE_PIPE)
		model_end(&run.models[1], markers ? 1 : 0);
	logs_end_activation(run.logs, markers, on_done, &run);
}

static void add_line(bool is_stderr)
{
	struct model *model = model_of(is_stderr);

	if (run.ending || model->lines >= LINES_MAX)
		return;
	model->lines++;
	if (is_stderr)
		logs_write_stderr(run.logs, "a line of the platform's");
	else
		logs_write_stdout(run.logs, line);
}

static void reader_reads(struct model *model, size_t length)
{
	ssize_t count = 0;

	if (model->read_fd < 0 || run.kind == TWO_FILES)
		return;
	if (length > MODEL_MAX - model->got_length)
		length = MODEL_MAX - model->got_length;
	count = read(model->read_fd, model->got + model->got_length, length);
	model->got_length += count > 0 ? (size_t) count : 0;
}

static void reader_goes(struct model *model)
{
	if (run.kind != TWO_FILES)
		fd_closep(&model->read_fd);
}

/* --- the script --------------------------------------------------------------------------------------- */

static void make_step(struct fuzz_script *script)
{
	static char flood[FLOOD];
	enum step step = (enum step)(fuzz_byte(script) % STEP_KINDS);
	uint8_t detail = step != STEP_TURN ? fuzz_byte(script) : 0;
	size_t length;
	const uint8_t *bytes;

	memset(flood, 'x', sizeof(flood));
	if (step == STEP_STDOUT || step == STEP_STDERR) {
		bytes = fuzz_take(script, detail, &length);
		function_writes(step == STEP_STDERR, bytes, length);
	} else if (step == STEP_FLOOD_STDOUT || step == STEP_FLOOD_STDERR) {
		for (int i = 0; i < (detail & 7); i++)
			function_writes(step == STEP_FLOOD_STDERR, flood, sizeof(flood));
	} else if (step == STEP_BEGIN) {
		begin(detail);
	} else if (step == STEP_LINE_STDOUT || step == STEP_LINE_STDERR) {
		add_line(step == STEP_LINE_STDERR);
	} else if (step == STEP_END) {
		end((detail & 1) != 0);
	} else if (step == STEP_READ_STDOUT || step == STEP_READ_STDERR) {
		reader_reads(model_of(step == STEP_READ_STDERR), detail * 16U);
	} else if (step == STEP_READER_GONE) {
		reader_goes(model_of((detail & 1) != 0));
	}
}

static void on_turn(void *context, uint32_t events)
{
	struct timespec now;

	(void) context;
	(void) events;
	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	check(now.tv_sec - run.started.tv_sec < PATIENCE_S, "the end of an activation never comes");
	if (run.is_over || run.problem != NULL) {
		loop_stop(run.loop);
		return;
	}
	if (fuzz_left(&run.script) > 0) {
		make_step(&run.script);
		return;
	}
	/* One end more, which takes all with it. */
	reader_reads(&run.models[0], MODEL_MAX);
	reader_reads(&run.models[1], MODEL_MAX);
	if (!run.ending && !run.last_end) {
		run.last_end = true;
		end(true);
	}
}

/* --- fds 1 and 2 -------------------------------------------------------------------------------------- */

static void open_target(int number)
{
	struct model *model = &run.models[number];
	int fds[2];

	if (run.kind == TWO_FILES) {
		fds[0] = memfd_create("log", MFD_CLOEXEC);
		fds[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	} else if (run.kind == TWO_SOCKETS) {
		FUZZ_NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
		(void) fcntl(fds[0], F_SETFL, O_NONBLOCK);
	} else {
		FUZZ_NEED(pipe2(fds, O_CLOEXEC) == 0, "pipe2");
		(void) fcntl(fds[1], F_SETPIPE_SZ, 4096);
		(void) fcntl(fds[0], F_SETFL, O_NONBLOCK);
	}
	FUZZ_NEED(fds[0] >= 0 && fds[1] >= 0, "a target");
	model->read_fd = fds[0];
	FUZZ_NEED(dup2(fds[1], STDOUT_FILENO + number) >= 0, "dup2");
	fd_close(fds[1]);
}

static void open_targets(void)
{
	if (__sanitizer_set_report_fd != NULL)
		__sanitizer_set_report_fd((void *) (intptr_t) own_fds[1]);
	for (int i = 0; i < 2; i++)
		run.models[i].wanted_length = run.models[i].got_length = run.models[i].lines = 0;
	for (int i = 0; i < 2; i++)
		run.models[i].since_end = run.models[i].segment = run.models[i].due = run.models[i].logged = 0;
	run.models[1].read_fd = -1;
	open_target(0);
	if (run.kind == ONE_PIPE)
		FUZZ_NEED(dup2(STDOUT_FILENO, STDERR_FILENO) >= 0, "dup2");
	else
		open_target(1);
}

static void restore_fds(void)
{
	FUZZ_NEED(dup2(own_fds[0], STDOUT_FILENO) >= 0 && dup2(own_fds[1], STDERR_FILENO) >= 0, "dup2");
	if (__sanitizer_set_report_fd != NULL)
		__sanitizer_set_report_fd((void *) (intptr_t) STDERR_FILENO);
}

static void check_model(struct model *model, const char *name)
{
	size_t same = 0;
	ssize_t count;

	if (model->read_fd < 0)
		return;
	while ((count = run.kind == TWO_FILES ? pread(model->read_fd, model->got + model->got_length,
							MODEL_MAX - model->got_length, (off_t) model->got_length)
					      : read(model->read_fd, model->got + model->got_length,
							MODEL_MAX - model->got_length)) > 0)
		model->got_length += (size_t) count;
	fd_closep(&model->read_fd);
	while (same < model->got_length && same < model->wanted_length && model->got[same] == model->wanted[same])
		same++;
	FUZZ_CHECK(same == model->wanted_length && same == model->got_length,
		"%s differs at byte %zu: %zu bytes, wanted %zu\ngot    ...%.60s\nwanted ...%.60s", name, same,
		model->got_length, model->wanted_length, model->got + same, model->wanted + same);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	(void) signal(SIGPIPE, SIG_IGN);
	own_fds[0] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
	own_fds[1] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
	FUZZ_NEED(own_fds[0] >= 0 && own_fds[1] >= 0, "fds");
	return 0;
}

static void run_script(void)
{
	sigset_t mask;
	struct err err;

	(void) sigprocmask(SIG_SETMASK, NULL, &mask);
	FUZZ_NEED(loop_new(&run.loop, &err) == 0, "a loop");
	(void) sigprocmask(SIG_SETMASK, &mask, NULL); /* libFuzzer's signals are its own */
	FUZZ_NEED(logs_new(&run.logs, run.loop, &err) == 0, "the relay");
	run.always = (struct watch) { .fd = eventfd(1, EFD_CLOEXEC), .on_ready = on_turn };
	FUZZ_NEED(loop_watch(run.loop, &run.always, EPOLLIN, &err) == 0, "an eventfd");
	FUZZ_NEED(loop_run(run.loop, &err) == 0, "the loop");
	logs_free(run.logs);
	loop_unwatch(run.loop, &run.always);
	fd_close(run.always.fd);
	loop_free(run.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run.script = (struct fuzz_script) { .at = data, .end = data + size };
	run.kind = (enum target_kind)(fuzz_byte(&run.script) % TARGET_KINDS);
	run.active = run.ending = run.last_end = run.keeps_tail = run.is_over = false;
	run.ends = run.ends_done = 0;
	run.problem = NULL;
	(void) clock_gettime(CLOCK_MONOTONIC, &run.started);

	(void) fflush(NULL);
	open_targets();
	run_script();
	restore_fds();
	FUZZ_CHECK(run.problem == NULL, "%s", run.problem);
	FUZZ_CHECK(run.ends == run.ends_done, "%u of %u ends", run.ends_done, run.ends);
	check_model(&run.models[0], "stdout");
	check_model(&run.models[1], "stderr");
	return 0;
}
