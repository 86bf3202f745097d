/*
 * Every state of a function with every event.
 *
 * function.c and runner.c as they are, over a world that the test makes: processes that are nothing but the other
 * ends of their pipes, timers, a log, a disk. So each event can be made to happen at each moment, also those that
 * take a race to happen in reality, and as often as one likes.
 *
 * 1. From the first state on, each event is made to happen in each state that is found, until no new one is found.
 *    What becomes of a state is written down in transitions[]; a state or an event that is not there fails.
 * 2. From each of the states, with a world that behaves from then on, every request is answered and the next works.
 * 3. Long random sequences of events, with a queue.
 *
 * After each step what must always hold is checked (check_always), and at each end that nothing is left
 * (destroy_world).
 */
#pragma GCC diagnostic error "-Wswitch-enum" /* a phase that is added has to get a letter in describe_state() */

#include "../../proxy/function.c"
#include "../../proxy/spawn.h"

#include "tap.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

/* --- events ------------------------------------------------------------------------------------------ */

/* Requests come first, and among them those that bring code. */
#define EVENTS(X)                                                                                                      \
	X(INIT_SOURCE, "source")              /* an init with source code */                                           \
	X(INIT_ARCHIVE, "archive")            /* ... with an archive large enough for the precompiler */               \
	X(INIT_VARIABLES, "variables")        /* ... with variables for the start of a process */                      \
	X(INIT_LOAD, "load")                  /* a folder that is there at the start */                                \
	X(INIT_NOT_JSON, "not-json")          /* inits that are refused: no JSON */                                    \
	X(INIT_NO_CODE, "no-code")            /* ... no code */                                                        \
	X(INIT_NO_SUCH_CONVENTION, "no-such") /* ... an unknown convention */                                          \
	X(INIT_NO_SPACE, "no-space")          /* ... no directory can be made */                                       \
	X(INIT_NO_UNPACKER, "no-unpacker")    /* ... the unpacker cannot be started */                                 \
	X(RUN, "run")                         /* a run with OpenWhisk's markers */                                     \
	X(RUN_LINES, "lines")                 /* ... with a platform's lines in the log, which it wants to have */     \
	X(RUN_NO_MEMORY, "no-memory")         /* ... whose message cannot be made */                                   \
	X(UNPACKED, "unpacked")               /* the unpacker is ready */                                              \
	X(UNPACK_FAILED, "unpack-failed")     /* it says that the archive is bad, or died */                           \
	X(READ, "read")                       /* the process reads what it was sent */                                 \
	X(ANSWER_SUCCESS, "success")          /* it answers */                                                         \
	X(ANSWER_SUCCESS_BYTES, "bytes")                                                                               \
	X(ANSWER_APPLICATION_ERROR, "app-error")                                                                       \
	X(ANSWER_FUNCTION_ERROR, "error")                                                                              \
	X(ANSWER_BAD_REQUEST, "bad")                                                                                   \
	X(ANSWER_INITIALIZED, "loaded")                                                                                \
	X(ANSWER_INIT_FAILED, "load-failed")                                                                           \
	X(ANSWER_GREEDY, "greedy")            /* ... that it took more memory than it may */                           \
	X(ANSWER_UNKNOWN, "unknown")          /* ... with a status that is none */                                     \
	X(ANSWER_LONG, "long")                /* ... with a status line that does not end */                           \
	X(ANSWER_TWICE, "twice")              /* ... and goes on after the answer */                                   \
	X(ANSWER_HALF, "half")                /* ... the first half of it */                                           \
	X(ANSWER_REST, "rest")                /* ... the second half */                                                \
	X(ANSWER_AND_EXIT, "success+exit")    /* ... and ends; both are seen at once */                                \
	X(SPEAK, "speak")                     /* it says something without being asked */                              \
	X(SPEAK_UNSEEN, "speak-unseen")       /* ... and the loop has not seen it yet */                               \
	X(SEEN, "seen")                       /* ... now it has */                                                     \
	X(CLOSE, "close")                     /* it closes its channel */                                              \
	X(EXIT, "exit")                       /* it ends by itself */                                                  \
	X(CRASH, "crash")                     /* ... by a signal */                                                    \
	X(DIE, "die")                         /* ... as it was killed by us */                                         \
	X(DISCARDED_DIES, "discarded-dies")   /* one that was killed, and is no longer the function's, ends */         \
	X(DISCARDED_GRACE, "discarded-grace") /* ... its time to end by itself is over */                              \
	X(GRACE, "grace")                     /* the time to end after closing the channel is over */                  \
	X(DEADLINE, "deadline")               /* the time of the invocation is over */                                 \
	X(LOOK, "look")                       /* its memory is looked at */                                            \
	X(LOOK_GREEDY, "look-greedy")         /* ... and it is too much */                                             \
	X(WRITTEN, "written")                 /* the log has been written to the end */                                \
	X(NO_PROCESSES, "no-processes")       /* from now on no process can be started */                              \
	X(PROCESSES, "processes")             /* ... it can again */                                                   \
	X(STOP, "stop")                       /* the server stops */                                                   \
	X(STOP_HANDLED, "stop-handled")       /* ... and the process has a handler for SIGTERM */                      \
	X(ABORT, "abort")                     /* ... and it has taken too long */

#define EVENT_ENUM(name, text) EVENT_##name,
#define EVENT_TEXT(name, text) text,
enum event { EVENTS(EVENT_ENUM) EVENT_COUNT };
static const char *const event_texts[EVENT_COUNT] = { EVENTS(EVENT_TEXT) };
static int happened[EVENT_COUNT];

static bool is_init_request(enum event event)
{
	return event < EVENT_RUN;
}

static bool is_request(enum event event)
{
	return event < EVENT_UNPACKED;
}

/* --- the world --------------------------------------------------------------------------------------- */

enum { PROCESSES_MAX = 16, TIMERS_MAX = 64, LIMIT_MS = 20000, LIMIT_MB = 100, ENOUGH_REQUESTS = 10, STATE_SIZE = 80 };

/* The other end of a runner's pipes. */
struct process {
	pid_t pid;                 /* 0: this place is free */
	struct child_watch *watch; /* NULL: nobody waits for its end */
	int messages, answers;     /* our ends, -1 when closed */
	bool killed;
	bool half;        /* of an answer is under way */
	bool left_unread; /* it closed its channel without reading the message, or before that was sent */
};

struct request {
	enum event event;
	int answers, messages, starts, ends;
	bool after_stop;
	enum outcome_kind outcome;
	struct request *next;
};

/* What function.c and runner.c do to their loop, log, disk and helpers. */
struct loop {
	struct watch *watches[2 * PROCESSES_MAX];
	struct timer *timers[TIMERS_MAX];
	uint64_t now_ms;
};

struct logs {
	bool ending, markers; /* logs_end_activation() has been called */
	int ends;             /* ... so often for one request */
	void (*on_done)(void *context);
	void *context;
	bool keeps;   /* the tail */
	bool at_once; /* everything can be written at once */
};

struct code_dir {
	bool unpacking;
	void (*on_done)(void *context, const char *problem);
	void *context;
};

struct precompiler {
	bool begun, stopped;
};

static struct {
	struct function *function;
	struct loop loop;
	struct logs logs;
	struct code_dir *code_dir;
	struct precompiler *precompiler;
	struct process processes[PROCESSES_MAX];
	struct request *requests, **requests_end; /* that wait for their outcome, in order */
	struct request *answered;                 /* the last one */
	bool no_processes, handles_sigterm, greedy, limited, stopped, aborted;
	bool kills_at_once; /* killed descendants are gone when the call returns; or the time for that was over */
	pid_t last_pid;
	int first_free_fd;
	const char *wrong; /* the first thing that must not have happened */
} world;

/* What must not be happens inside calls: it is noted, and told by the step. */
static void wrong_if(bool condition, const char *what)
{
	if (condition && world.wrong == NULL)
		world.wrong = what;
}

/* --- in place of loop.c, spawn.c --------------------------------------------------------------------- */

int loop_watch(struct loop *loop, struct watch *watch, uint32_t events, struct err *err)
{
	(void) err;
	if (watch->events == 0) {
		size_t i = 0;

		while (loop->watches[i] != NULL)
			assert(++i < ARRAY_SIZE(loop->watches));
		loop->watches[i] = watch;
	}
	watch->events = events;
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
	for (size_t i = 0; i < ARRAY_SIZE(loop->watches); i++)
		if (loop->watches[i] == watch)
			loop->watches[i] = NULL;
	watch->events = 0;
}

uint64_t loop_now_ms(void)
{
	return world.loop.now_ms;
}

void loop_timer_clear(struct loop *loop, struct timer *timer)
{
	for (size_t i = 0; i < TIMERS_MAX; i++)
		if (loop->timers[i] == timer)
			loop->timers[i] = NULL;
	timer->set = false;
}

void loop_timer_set(struct loop *loop, struct timer *timer, uint64_t due_ms)
{
	size_t i = 0;

	loop_timer_clear(loop, timer);
	while (loop->timers[i] != NULL)
		assert(++i < TIMERS_MAX);
	loop->timers[i] = timer;
	timer->due_ms = due_ms;
	timer->set = true;
}

/* Makes a timer due. */
static void fire(struct timer *timer)
{
	assert(timer->set);
	if (world.loop.now_ms < timer->due_ms)
		world.loop.now_ms = timer->due_ms;
	loop_timer_clear(&world.loop, timer);
	timer->on_due(timer->context);
}

static struct process *process_of(pid_t pid)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (pid != 0 && world.processes[i].pid == pid)
			return &world.processes[i];
	return NULL;
}

void loop_child_watch(struct loop *loop, struct child_watch *child)
{
	struct process *process = process_of(child->pid);

	(void) loop;
	assert(process != NULL);
	process->watch = child;
}

/* Its caller has no pid any more once the process has been reaped. */
void loop_child_unwatch(struct loop *loop, struct child_watch *child)
{
	(void) loop;
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (world.processes[i].watch == child)
			world.processes[i].watch = NULL;
}

void loop_expect_answer(struct loop *loop, bool expected)
{
	(void) loop;
	(void) expected;
}

/* An answer is an event of its own. */
bool loop_look_for_answer(struct loop *loop, int fd)
{
	(void) loop;
	(void) fd;
	return false;
}

int spawn_process(const struct spawn *spawn, const struct loop *loop, pid_t *ret_pid, struct err *err)
{
	struct process *process = world.processes;

	(void) loop;
	if (world.no_processes)
		return err_errno(err, -EAGAIN, "cannot start '%s'", spawn->argv[0]);
	wrong_if(world.stopped && world.requests == NULL, "a process is started in the end");
	while (process->pid != 0)
		assert(++process < world.processes + PROCESSES_MAX);
	*process = (struct process) { .pid = ++world.last_pid,
		.messages = fcntl(spawn->fds[3], F_DUPFD_CLOEXEC, 0),
		.answers = fcntl(spawn->fds[4], F_DUPFD_CLOEXEC, 0) };
	assert(process->messages >= 0 && process->answers >= 0);
	*ret_pid = process->pid;
	return 0;
}

/* The C library's: nothing here has a real process. */
int kill(pid_t pid, int number)
{
	struct process *process = process_of(pid < 0 ? -pid : pid);

	if (process == NULL) {
		errno = ESRCH;
		return -1;
	}
	process->killed = process->killed || number == SIGKILL;
	return 0;
}

static void end_process(struct process *process, int wait_status);

void spawn_kill_descendants(struct loop *loop)
{
	(void) loop;
	for (size_t i = 0; i < PROCESSES_MAX; i++) {
		struct process *process = &world.processes[i];

		process->killed = true;
		if (process->pid != 0 && world.kills_at_once)
			end_process(process, SIGKILL);
	}
}

static int file_of(const char *text)
{
	int fds[2];

	assert(pipe2(fds, O_CLOEXEC) == 0);
	assert(write(fds[1], text, strlen(text)) == (ssize_t) strlen(text));
	(void) close(fds[1]);
	return fds[0];
}

/* What runner.c reads of a process in /proc. */
int open(const char *path, int flags, ...)
{
	if (strncmp(path, "/proc/", 6) == 0) /* pages: one MB, or more than the limit */
		return file_of(world.greedy ? "999999 999999 0\n" : "999999 256 0\n");
	return (int) syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

FILE *fopen(const char *path, const char *mode)
{
	assert(strncmp(path, "/proc/", 6) == 0);
	return fdopen(file_of(world.handles_sigterm ? "SigCgt:\t0000000000004000\n" : "SigCgt:\t0000000000000000\n"),
		mode[0] == 'r' ? "r" : "");
}

/* --- in place of code_dir.c, precompiler.c ----------------------------------------------------------- */

static bool head_is(enum event event)
{
	return ((struct request *) world.function->queue->context)->event == event;
}

int code_dir_new(struct code_dir **ret_dir, const char *parent, const struct user *user, struct remover *remover,
	struct err *err)
{
	(void) user;
	(void) remover;
	if (head_is(EVENT_INIT_NO_SPACE))
		return err_errno(err, -ENOSPC, "cannot make a directory in '%s'", parent);
	wrong_if(world.code_dir != NULL, "a second directory for the code");
	*ret_dir = world.code_dir = calloc(1, sizeof(**ret_dir));
	return 0;
}

void code_dir_free(struct code_dir *dir)
{
	wrong_if(dir != NULL && world.precompiler != NULL, "the directory of a precompiler is removed");
	wrong_if(dir != world.code_dir, "another directory is freed, or none");
	free(dir);
	world.code_dir = NULL;
}

const char *code_dir_path(const struct code_dir *dir)
{
	(void) dir;
	return "/code";
}

int code_dir_write(struct code_dir *dir, const char *name, const char *data, size_t length, struct err *err)
{
	(void) dir;
	(void) name;
	(void) data;
	(void) length;
	(void) err;
	return 0;
}

int code_dir_unpack(struct code_dir *dir, struct loop *loop, const char *unpacker, const char *archive, size_t length,
	void (*on_done)(void *context, const char *problem), void *context, struct err *err)
{
	(void) loop;
	(void) archive;
	(void) length;
	if (head_is(EVENT_INIT_NO_UNPACKER))
		return err_errno(err, -EAGAIN, "cannot start '%s'", unpacker);
	dir->unpacking = true;
	dir->on_done = on_done;
	dir->context = context;
	return 0;
}

static void end_unpacker(const char *problem)
{
	struct code_dir *dir = world.code_dir;

	dir->unpacking = false;
	dir->on_done(dir->context, problem);
}

int precompiler_start(struct precompiler **ret_precompiler, struct loop *loop, const char *program,
	const struct user *user, const char *directory, const char *handler, struct err *err)
{
	(void) loop;
	(void) program;
	(void) user;
	(void) directory;
	(void) handler;
	(void) err;
	*ret_precompiler = world.precompiler = calloc(1, sizeof(**ret_precompiler));
	return 0;
}

void precompiler_begin(struct precompiler *precompiler)
{
	wrong_if(precompiler->begun || world.code_dir->unpacking, "a precompiler begins too early, or twice");
	precompiler->begun = true;
}

void precompiler_stop(struct precompiler *precompiler)
{
	precompiler->stopped = true;
}

void precompiler_free(struct precompiler *precompiler)
{
	wrong_if(precompiler != world.precompiler, "another precompiler is freed, or none");
	free(precompiler);
	world.precompiler = NULL;
}

/* --- in place of logs.c ------------------------------------------------------------------------------ */

int logs_stdout_fd(const struct logs *logs)
{
	(void) logs;
	return STDOUT_FILENO;
}

int logs_stderr_fd(const struct logs *logs)
{
	(void) logs;
	return STDERR_FILENO;
}

void logs_write_stderr(struct logs *logs, const char *line)
{
	wrong_if(logs->ending, "a line behind the end of an activation");
	wrong_if(strchr(line, '\n') != NULL, "a line of several");
}

void logs_write_stdout(struct logs *logs, const char *lines)
{
	(void) lines;
	wrong_if(logs->ending, "lines behind the end of an activation");
}

void logs_begin_activation(struct logs *logs, const char *lines, bool keep_tail)
{
	(void) lines;
	wrong_if(logs->ending, "an activation begins in the end of another");
	logs->keeps = keep_tail;
}

char *logs_steal_tail(struct logs *logs, size_t *ret_length)
{
	wrong_if(!logs->keeps, "a tail is asked for that is not kept");
	logs->keeps = false;
	*ret_length = 3;
	return strdup("log");
}

static void end_log(void)
{
	world.logs.ending = false;
	world.logs.on_done(world.logs.context);
}

void logs_end_activation(struct logs *logs, bool markers, void (*on_done)(void *context), void *context)
{
	wrong_if(logs->ending && on_done != NULL, "an activation ends twice");
	logs->ending = on_done != NULL;
	logs->markers = markers;
	logs->ends++;
	logs->on_done = on_done;
	logs->context = context;
	if (logs->at_once && logs->ending)
		end_log();
}

/* --- requests ---------------------------------------------------------------------------------------- */

/* Each request that was not refused unseen ends in the log, once; with markers where something ran, and the platform
 * has them. */
static void check_end_of_log(const struct request *request, enum outcome_kind kind)
{
	bool unseen = kind == OUTCOME_STOPPING || kind == OUTCOME_QUEUE_FULL;
	bool nothing_ran = unseen || kind == OUTCOME_INITIALIZED || kind == OUTCOME_BAD_REQUEST ||
		kind == OUTCOME_NO_CODE_GIVEN || kind == OUTCOME_ALREADY_INITIALIZED || kind == OUTCOME_NOT_INITIALIZED;
	bool has_markers = request->event != EVENT_RUN_LINES && request->event != EVENT_RUN_NO_MEMORY &&
		request->event != EVENT_INIT_LOAD;

	wrong_if(!world.aborted && world.logs.ends != (unseen ? 0 : 1), "an end of the log too many, or none");
	/* An internal error comes before anything has run, or after. */
	wrong_if(!unseen && kind != OUTCOME_INTERNAL_ERROR && world.logs.markers != (has_markers && !nothing_ran),
		"markers too many, or none");
	wrong_if(!unseen && world.logs.markers && !has_markers, "markers on a platform without");
	world.logs.ends = 0;
}

static void on_outcome(void *context, struct outcome *outcome)
{
	struct request *request = context;

	request->answers++;
	request->outcome = outcome->kind;
	wrong_if(request != world.requests, "an answer out of order, or a second one");
	wrong_if((request->after_stop || world.aborted) && outcome->kind != OUTCOME_STOPPING,
		"another outcome of the end");
	check_end_of_log(request, outcome->kind);
	wrong_if(request->starts != request->ends && !world.aborted, "lines at the begin without lines at the end");
	wrong_if(outcome->payload == NULL && outcome->text[0] == '\0', "an outcome that says nothing");
	wrong_if((outcome->log != NULL) != (request->starts > 0) && !world.aborted, "a log nobody wanted, or none");
	if (request != world.requests)
		return;
	world.requests = request->next;
	if (world.requests == NULL)
		world.requests_end = &world.requests;
	free(world.answered);
	world.answered = request;
}

static char *make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	struct request *request = context;
	char *message = malloc(3);

	wrong_if(request->messages++ > 0, "a second message");
	wrong_if(request != world.requests, "a message before its turn");
	wrong_if(limits->timeout_ms != (world.limited ? LIMIT_MS : 0), "another limit");
	*ret_length = 2;
	return strcpy(message, "{}");
}

static char *fail_to_make_message(void *context, const struct limits *limits, size_t *ret_length)
{
	(void) context;
	(void) limits;
	(void) ret_length;
	return NULL;
}

static char *log_start(void *context, const struct cold_start *cold_start)
{
	struct request *request = context;

	(void) cold_start;
	wrong_if(request->starts++ > 0 || request->messages != 1, "lines at the begin twice, or too early");
	return strdup("START\n");
}

static char *log_end(void *context, const struct outcome *outcome)
{
	struct request *request = context;

	(void) outcome;
	wrong_if(request->ends++ > 0 || request->starts != 1, "lines at the end twice, or without a begin");
	return strdup("END\n");
}

static bool wants_its_log(void *context)
{
	(void) context;
	return true;
}

static const struct platform with_markers = { .markers = true, .make_message = make_message };
static const struct platform with_lines = {
	.make_message = make_message, .log_start = log_start, .log_end = log_end, .wants_log = wants_its_log
};
static const struct platform without_memory = {
	.make_message = fail_to_make_message, .log_start = log_start, .log_end = log_end, .wants_log = wants_its_log
};

/* The body of an /init, but for EVENT_INIT_LOAD. */
static char *make_body(enum event event)
{
	enum { ARCHIVE = LIMIT_SMALL_ARCHIVE / 3 * 4 };
	char *body = NULL;
	int r = -1;

	if (event == EVENT_INIT_SOURCE || event == EVENT_INIT_NO_SPACE)
		r = asprintf(&body, "{\"value\":{\"code\":\"c\"}}");
	else if (event == EVENT_INIT_ARCHIVE || event == EVENT_INIT_NO_UNPACKER) /* "PK", and zeros */
		r = asprintf(&body, "{\"value\":{\"binary\":true,\"code\":\"UEsA%0*d\"}}", ARCHIVE, 0);
	else if (event == EVENT_INIT_VARIABLES)
		r = asprintf(&body, "{\"value\":{\"code\":\"c\",\"env\":{\"LD_X\":\"y\"}}}");
	else if (event == EVENT_INIT_NO_SUCH_CONVENTION)
		r = asprintf(&body, "{\"value\":{\"code\":\"c\",\"env\":{\"PYACTION_CONVENTION\":\"x\"}}}");
	else
		r = asprintf(&body, event == EVENT_INIT_NOT_JSON ? "no" : "{}");
	assert(r >= 0);
	return body;
}

static void submit_request(enum event event)
{
	struct request *request = calloc(1, sizeof(*request));
	struct envelope folder = { .kind = CODE_FOLDER };
	char *body;

	request->event = event;
	request->after_stop = world.stopped;
	*world.requests_end = request;
	world.requests_end = &request->next;
	if (event == EVENT_INIT_LOAD) {
		folder.handler = strdup("main");
		folder.folder = strdup("/folder");
		folder.environment = strdup("{}");
		function_load(world.function, &folder, on_outcome, request);
	} else if (is_init_request(event)) {
		body = make_body(event);
		function_init(world.function, body, strlen(body), on_outcome, request);
	} else {
		function_run(world.function,
			event == EVENT_RUN                 ? &with_markers
				: event == EVENT_RUN_LINES ? &with_lines
							   : &without_memory,
			on_outcome, request);
	}
}

/* --- processes --------------------------------------------------------------------------------------- */

/* That of the function's runner; NULL when it has none. */
static struct process *present_process(void)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (world.processes[i].pid != 0 && world.processes[i].watch != NULL && world.function->runner != NULL &&
			world.processes[i].watch->context == world.function->runner)
			return &world.processes[i];
	return NULL;
}

static bool is_ending(const struct process *process)
{
	return process != NULL && (process->killed || process->answers < 0);
}

/* The first of those that the function has killed and forgotten. */
static struct process *discarded_process(void)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (world.processes[i].pid != 0 && &world.processes[i] != present_process())
			return &world.processes[i];
	return NULL;
}

static int bytes_in(int fd)
{
	int count = 0;

	assert(ioctl(fd, FIONREAD, &count) == 0);
	return count;
}

static bool has_unread_message(const struct process *process)
{
	return process->messages >= 0 && bytes_in(process->messages) > 0;
}

static bool has_unseen_bytes(const struct process *process)
{
	return process->answers >= 0 && bytes_in(process->answers) > 0;
}

/* The loop sees what the process has written, or that it has closed its channel. */
static void be_seen(const struct process *process)
{
	struct runner *runner = process->watch->context;

	for (size_t i = 0; i < ARRAY_SIZE(world.loop.watches); i++) {
		struct watch *watch = world.loop.watches[i];

		if (watch != NULL && watch->context == runner && watch->events == EPOLLIN) {
			watch->on_ready(runner, EPOLLIN);
			return;
		}
	}
}

static void say(struct process *process, const char *text)
{
	assert(write(process->answers, text, strlen(text)) == (ssize_t) strlen(text));
}

static void say_and_be_seen(struct process *process, const char *text)
{
	say(process, text);
	be_seen(process);
}

static void answer(struct process *process, const char *status)
{
	char text[100];

	(void) snprintf(text, sizeof(text), "{\"status\":\"%s\"}\n{}\n", status);
	say_and_be_seen(process, text);
}

static void answer_long(struct process *process)
{
	char text[600];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	say_and_be_seen(process, text);
}

static void read_messages(const struct process *process)
{
	char bytes[PIPE_BUF];

	while (has_unread_message(process))
		assert(read(process->messages, bytes, sizeof(bytes)) > 0);
}

static void close_channel(struct process *process)
{
	fd_close(process->messages);
	fd_close(process->answers);
	process->messages = process->answers = -1;
}

static void end_process(struct process *process, int wait_status)
{
	struct child_watch *watch = process->watch;

	close_channel(process);
	wrong_if(watch == NULL, "a process that nobody waits for");
	process->pid = 0;
	process->watch = NULL;
	if (watch == NULL)
		return;
	watch->pid = 0;
	watch->on_end(watch->context, wait_status);
}

/* The timer for the end of a process after that of its channel; NULL when it is not set. */
static struct timer *grace_of(const struct process *process)
{
	for (size_t i = 0; i < TIMERS_MAX; i++)
		if (process != NULL && world.loop.timers[i] != NULL &&
			world.loop.timers[i]->context == process->watch->context)
			return world.loop.timers[i];
	return NULL;
}

/* --- events: whether they can happen, and how -------------------------------------------------------- */

static bool can_answer(enum event event, const struct process *process)
{
	if (process == NULL || process->killed || process->answers < 0 || !runner_is_busy(world.function->runner) ||
		has_unread_message(process))
		return false;
	if (event == EVENT_ANSWER_REST)
		return process->half;
	return !process->half || event == EVENT_ANSWER_LONG;
}

static bool can_speak(enum event event, const struct process *process)
{
	bool may =
		process != NULL && !process->killed && process->answers >= 0 && !runner_is_busy(world.function->runner);

	if (event == EVENT_SPEAK)
		return may;
	return may && has_unseen_bytes(process) == (event == EVENT_SEEN);
}

static bool can_end(enum event event, const struct process *process)
{
	if (process == NULL)
		return false;
	if (event == EVENT_CLOSE)
		return !process->killed && process->answers >= 0;
	if (event == EVENT_DIE)
		return process->killed;
	return event == EVENT_EXIT || !process->killed; /* it may end by itself in the moment in which it is killed */
}

static bool can_stop(enum event event)
{
	return event == EVENT_ABORT ? world.stopped && !world.aborted : !world.stopped;
}

static bool can_happen(enum event event)
{
	const struct process *process = present_process();
	bool watched = world.function->watchdog.set;

	if (is_request(event))
		return world.function->queued < ENOUGH_REQUESTS;
	if (event == EVENT_UNPACKED || event == EVENT_UNPACK_FAILED)
		return world.code_dir != NULL && world.code_dir->unpacking;
	if (event == EVENT_READ)
		return process != NULL && !process->killed && has_unread_message(process);
	if (event >= EVENT_ANSWER_SUCCESS && event <= EVENT_ANSWER_AND_EXIT)
		return can_answer(event, process);
	if (event >= EVENT_SPEAK && event <= EVENT_SEEN)
		return can_speak(event, process);
	if (event >= EVENT_CLOSE && event <= EVENT_DIE)
		return can_end(event, process);
	if (event == EVENT_DISCARDED_DIES)
		return discarded_process() != NULL;
	if (event == EVENT_DISCARDED_GRACE)
		return grace_of(discarded_process()) != NULL;
	if (event == EVENT_GRACE)
		return grace_of(process) != NULL;
	if (event >= EVENT_DEADLINE && event <= EVENT_LOOK_GREEDY)
		return watched;
	if (event == EVENT_WRITTEN)
		return world.logs.ending;
	if (event == EVENT_NO_PROCESSES || event == EVENT_PROCESSES)
		return world.no_processes == (event == EVENT_PROCESSES);
	return can_stop(event);
}

static void make_answer(enum event event, struct process *process)
{
	static const char *const texts[EVENT_COUNT] = {
		[EVENT_ANSWER_SUCCESS] = "success",
		[EVENT_ANSWER_SUCCESS_BYTES] = "success_bytes",
		[EVENT_ANSWER_APPLICATION_ERROR] = "application_error",
		[EVENT_ANSWER_FUNCTION_ERROR] = "function_error",
		[EVENT_ANSWER_BAD_REQUEST] = "bad_request",
		[EVENT_ANSWER_INITIALIZED] = "initialized",
		[EVENT_ANSWER_INIT_FAILED] = "init_failed",
		[EVENT_ANSWER_GREEDY] = "success\",\"peak_kb\":999999,\"\":\"",
		[EVENT_ANSWER_UNKNOWN] = "failed",
	};

	bool loading = world.function->phase != PHASE_RUNNING;
	pid_t pid = process->pid; /* whose place may be another's afterwards */

	if (texts[event] != NULL) {
		answer(process, texts[event]);
		wrong_if(loading && event != EVENT_ANSWER_INITIALIZED && process->pid == pid && !process->killed,
			"a process goes on in which code did not load");
	} else if (event == EVENT_ANSWER_LONG) {
		answer_long(process);
	} else if (event == EVENT_ANSWER_TWICE) {
		say_and_be_seen(process, "{\"status\":\"success\"}\n{}\nmore");
	} else if (event == EVENT_ANSWER_HALF) {
		process->half = true;
		say_and_be_seen(process, "{\"status\":\"succ");
	} else if (event == EVENT_ANSWER_REST) {
		process->half = false;
		say_and_be_seen(process, "ess\"}\n{}\n");
	} else {
		say(process, "{\"status\":\"success\"}\n{}\n");
		end_process(process, 3 << 8);
	}
}

static void speak_or_end(enum event event, struct process *process)
{
	if (event == EVENT_SPEAK || event == EVENT_SPEAK_UNSEEN)
		say(process, "what");
	if (event == EVENT_SPEAK || event == EVENT_SEEN)
		be_seen(process);
	if (event == EVENT_CLOSE) {
		process->left_unread = has_unread_message(process) || !runner_is_busy(world.function->runner);
		close_channel(process);
		be_seen(process);
	}
	if (event == EVENT_EXIT)
		end_process(process, 3 << 8);
	if (event == EVENT_CRASH)
		end_process(process, SIGSEGV);
	if (event == EVENT_DIE)
		end_process(process, SIGKILL);
}

static void look(enum event event)
{
	world.greedy = event == EVENT_LOOK_GREEDY;
	if (event == EVENT_DEADLINE)
		world.loop.now_ms = world.function->deadline_ms;
	fire(&world.function->watchdog);
	world.greedy = false;
}

static void stop(enum event event)
{
	world.handles_sigterm = event == EVENT_STOP_HANDLED;
	world.stopped = true;
	world.aborted = event == EVENT_ABORT;
	if (event == EVENT_ABORT)
		function_abort(world.function);
	else
		function_stop(world.function);
	wrong_if(world.aborted && (world.requests != NULL || !function_is_idle(world.function)),
		"something is under way after the end");
}

static void happen(enum event event)
{
	struct process *process = present_process();

	happened[event]++;
	if (is_request(event))
		submit_request(event);
	else if (event == EVENT_UNPACKED || event == EVENT_UNPACK_FAILED)
		end_unpacker(event == EVENT_UNPACKED ? NULL : "the archive is bad");
	else if (event == EVENT_READ)
		read_messages(process);
	else if (event >= EVENT_ANSWER_SUCCESS && event <= EVENT_ANSWER_AND_EXIT)
		make_answer(event, process);
	else if (event >= EVENT_SPEAK && event <= EVENT_DIE)
		speak_or_end(event, process);
	else if (event == EVENT_DISCARDED_DIES)
		end_process(discarded_process(), SIGKILL);
	else if (event == EVENT_DISCARDED_GRACE)
		fire(grace_of(discarded_process()));
	else if (event == EVENT_GRACE)
		fire(grace_of(process));
	else if (event >= EVENT_DEADLINE && event <= EVENT_LOOK_GREEDY)
		look(event);
	else if (event == EVENT_WRITTEN)
		end_log();
	else if (event == EVENT_NO_PROCESSES || event == EVENT_PROCESSES)
		world.no_processes = event == EVENT_NO_PROCESSES;
	else
		stop(event);
}

/* --- a world's begin, and its end -------------------------------------------------------------------- */

static int first_free_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	fd_close(fd);
	return fd;
}

static void make_world(bool limited)
{
	const struct function_config config = { .runner_path = "runner",
		.unzip_path = "unzip",
		.untar_path = "untar",
		.precompiler_path = "precompiler",
		.work_dir = "/work",
		.limits = { limited ? LIMIT_MS : LIMITS_DEFAULT, limited ? LIMIT_MB : LIMITS_DEFAULT } };
	struct err err;

	memset(&world, 0, sizeof(world));
	world.requests_end = &world.requests;
	world.limited = limited;
	world.last_pid = 1 << 30; /* no process that there is */
	world.loop.now_ms = 1;
	world.first_free_fd = first_free_fd();
	if (function_new(&world.function, &world.loop, &world.logs, &config, &err) < 0)
		bail_out("%s", err.text);
}

/* Returns what is left that should not be; NULL for nothing. */
static const char *destroy_world(void)
{
	struct process *process;

	if (!world.stopped)
		happen(EVENT_STOP);
	if (!world.aborted)
		happen(EVENT_ABORT);
	function_free(world.function);
	world.function = &(struct function) { 0 };
	while ((process = discarded_process()) != NULL) {
		wrong_if(!process->killed, "a process is left alive");
		end_process(process, SIGKILL);
	}
	free(world.answered);
	wrong_if(world.code_dir != NULL || world.precompiler != NULL, "a directory or a precompiler is left");
	wrong_if(first_free_fd() != world.first_free_fd, "a descriptor is left open");
	for (size_t i = 0; i < TIMERS_MAX; i++)
		wrong_if(world.loop.timers[i] != NULL, "a timer is left");
	for (size_t i = 0; i < ARRAY_SIZE(world.loop.watches); i++)
		wrong_if(world.loop.watches[i] != NULL, "a watch is left");
	return world.wrong;
}

/* --- what must always hold --------------------------------------------------------------------------- */

static size_t waiting_requests(void)
{
	size_t count = 0;

	for (const struct request *request = world.requests; request != NULL; request = request->next)
		count++;
	return count;
}

static bool runs_code(enum phase phase)
{
	return phase == PHASE_INITIALIZING || phase == PHASE_REINITIALIZING || phase == PHASE_RUNNING;
}

static void check_always(void)
{
	const struct function *function = world.function;
	const struct process *present = present_process();
	size_t alive = 0;

	for (size_t i = 0; i < PROCESSES_MAX; i++)
		alive += world.processes[i].pid != 0 && !world.processes[i].killed;
	wrong_if(alive > 1, "two processes that are not killed");
	wrong_if(alive == 1 && (present == NULL || present->killed), "a process that is forgotten but not killed");
	wrong_if((function->runner != NULL) != (present != NULL), "a runner without a process");
	wrong_if(waiting_requests() != function->queued, "a request that is lost");
	wrong_if((function->phase == PHASE_IDLE) != (function->queue == NULL) && !is_ending(present),
		"nothing is done, although a request waits");
	wrong_if((function->phase == PHASE_ENDING) != world.logs.ending, "an end without the end of the log");
	wrong_if((function->phase == PHASE_UNPACKING) != (world.code_dir != NULL && world.code_dir->unpacking),
		"unpacking without an unpacker");
	wrong_if(function->watchdog.set != (runs_code(function->phase) && world.limited && !function->killed),
		"limits are not kept, or for nothing");
	wrong_if(function->killed && (present == NULL || !present->killed), "nothing was killed");
	wrong_if(runs_code(function->phase) && present == NULL, "no process runs the code");
	wrong_if(runs_code(function->phase) && !runner_is_busy(function->runner) && !present->killed,
		"a process that was not told what to do");
	wrong_if(function->initialized && world.code_dir == NULL, "the code is gone");
	wrong_if(function->phase == PHASE_IDLE && !function->initialized && !world.aborted && world.code_dir != NULL,
		"code is left"); /* when it is aborted it stays until the end */
	wrong_if(world.precompiler != NULL && world.code_dir == NULL, "a precompiler without code");
	wrong_if(function->outcome.payload != NULL && function->phase != PHASE_ENDING, "a payload too early");
}

/* --- states ------------------------------------------------------------------------------------------ */

static const char *describe_phase(void)
{
	const struct function *function = world.function;

	switch (function->phase) {
	case PHASE_IDLE:
		if (function->queue != NULL && function->queue->kind == INVOCATION_RUN)
			return function->initialized ? "ready+run" : "empty+run";
		if (function->queue != NULL)
			return function->initialized ? "ready+init" : "empty+init";
		return function->initialized ? "ready" : "empty";
	case PHASE_UNPACKING:
		return "unpacking";
	case PHASE_INITIALIZING:
		return "loading";
	case PHASE_REINITIALIZING:
		return "reloading";
	case PHASE_RUNNING:
		return "running";
	case PHASE_ENDING:
		return function->initialized ? "ending" : "failing";
	}
	return NULL;
}

static const char *describe_asked(const struct process *process)
{
	static const char *const unread[] = { "unread", "unread-again", "unread-last" };
	static const char *const closed[] = { "closed-unread", "closed-unread-again", "closed-unread-last" };
	int attempts = world.function->queue->attempts;

	if (world.function->killed && world.function->outcome.kind == OUTCOME_INTERNAL_ERROR)
		return "garbled";
	if (world.function->killed)
		return world.function->outcome.kind == OUTCOME_TIMED_OUT ? "over-time" : "over-memory";
	if (process->killed)
		return "killed";
	if (process->answers < 0 && process->left_unread)
		return closed[attempts];
	if (process->answers < 0)
		return "closed";
	if (process->half)
		return "half";
	if (has_unread_message(process))
		return unread[attempts];
	return "read";
}

/* What the function's process does; "again": it is the second one that is sent the
 * same message, as the first ended without having read it; "last": the third, and there is no fourth. */
static const char *describe_process(void)
{
	const struct process *process = present_process();
	bool loaded = world.function->runner_initialized;

	if (process == NULL)
		return "none";
	if (runs_code(world.function->phase))
		return describe_asked(process);
	if (process->killed)
		return loaded ? "loaded-killed" : "killed";
	if (process->answers < 0)
		return loaded ? "loaded-closed" : "closed";
	if (has_unseen_bytes(process))
		return loaded ? "loaded-spoke" : "spoke";
	return loaded ? "loaded" : "fresh";
}

static const char *describe_outcome(enum outcome_kind kind)
{
	static const char *const texts[] = {
		[OUTCOME_INITIALIZED] = "initialized",
		[OUTCOME_SUCCESS] = "success",
		[OUTCOME_APPLICATION_ERROR] = "app-error",
		[OUTCOME_SUCCESS_BYTES] = "bytes",
		[OUTCOME_FUNCTION_ERROR] = "error",
		[OUTCOME_INIT_FAILED] = "init-failed",
		[OUTCOME_INIT_EXITED] = "init-exited",
		[OUTCOME_EXITED] = "exited",
		[OUTCOME_TIMED_OUT] = "timed-out",
		[OUTCOME_OUT_OF_MEMORY] = "out-of-memory",
		[OUTCOME_BAD_REQUEST] = "bad-request",
		[OUTCOME_NO_CODE_GIVEN] = "no-code-given",
		[OUTCOME_ALREADY_INITIALIZED] = "already",
		[OUTCOME_NOT_INITIALIZED] = "not-initialized",
		[OUTCOME_QUEUE_FULL] = "full",
		[OUTCOME_STOPPING] = "stopping",
		[OUTCOME_INTERNAL_ERROR] = "internal",
	};

	return texts[kind];
}

/* Nothing of that which has its own rules: the server goes on, and processes can be started. */
static bool is_normal(void)
{
	return !world.stopped && !world.no_processes;
}

/* "phase/process", as in transitions[]. */
static void describe_state(char *text, size_t size)
{
	(void) snprintf(text, size, "%s/%s", describe_phase(), describe_process());
}

/* ... and "=outcome" where that has been decided just now; it is told when the log is written. */
static void describe_transition(char *text, size_t size, bool was_ending)
{
	bool ending = world.function->phase == PHASE_ENDING && !was_ending;

	(void) snprintf(text, size, "%s/%s%s%s", describe_phase(), describe_process(), ending ? "=" : "",
		ending ? describe_outcome(world.function->outcome.kind) : "");
}

/* With all that the next steps depend on: two worlds with the same description go on in the same way. */
static void describe_world(char *text, size_t size)
{
	const struct function *function = world.function;
	const struct request *head = world.requests;
	const struct request *second = head != NULL ? head->next : NULL;
	const struct process *present = present_process(), *discarded = discarded_process();

	(void) snprintf(text, size, "%s/%s %d%d%d%d%d %d%d%d %d%d%d %d %d", describe_phase(), describe_process(),
		world.stopped, world.aborted, world.no_processes, function->terminating, function->initialized,
		head != NULL ? (int) head->event : -1, second != NULL ? (int) second->event : -1,
		(int) function->queued, discarded != NULL, discarded != NULL && grace_of(discarded) != NULL,
		grace_of(present) != NULL, function->queue != NULL ? function->queue->attempts : 0,
		function->envelope.start_variables != NULL);
}

/* --- transitions ------------------------------------------------------------------------------------- */

#define INITS "source archive variables load not-json no-code no-such no-space no-unpacker"

/*
 * For each state what each event makes of it: events>state, where that is ending or failing with the outcome; "." is
 * the same state, "*" any ending of the name. An event that is not there cannot happen: the process has not been asked,
 * the timer is not set.
 *
 * What holds everywhere is not repeated: a request in a phase other than empty and ready waits; the end of a process
 * that has been discarded changes nothing, nor does more time to end for one that was killed for a limit.
 */
static const struct {
	const char *state, *reactions;
} transitions[] = {
	/* There is no code. A runner that ended is not replaced before it is needed: it could not even stay alive idle.
	 * While one is about to end, requests wait for that. */
	{ "empty/none",
		"source variables load>loading/unread archive>unpacking/none not-json "
		"no-such>failing/none=bad-request no-code>failing/none=no-code-given no-space "
		"no-unpacker>failing/none=internal run lines no-memory>failing/none=not-initialized" },
	{ "empty/fresh",
		"source variables load>loading/unread archive>unpacking/fresh not-json "
		"no-such>failing/fresh=bad-request no-code>failing/fresh=no-code-given no-space "
		"no-unpacker>failing/fresh=internal run lines no-memory>failing/fresh=not-initialized "
		"speak>empty/killed speak-unseen>empty/spoke close>empty/closed exit crash>empty/none" },
	{ "empty/spoke",
		"source>empty+init/killed run>empty+run/killed speak seen close>empty/killed exit crash>empty/none" },
	{ "empty/closed", "source>empty+init/closed run>empty+run/closed exit crash>empty/none grace>empty/killed" },
	{ "empty/killed", "source>empty+init/killed run>empty+run/killed exit die>empty/none" },
	{ "empty+init/closed", "exit crash>loading/unread grace>empty+init/killed" },
	{ "empty+init/killed", "exit die>loading/unread" },
	{ "empty+run/closed", "exit crash>failing/none=not-initialized grace>empty+run/killed" },
	{ "empty+run/killed", "exit die>failing/none=not-initialized" },
	{ "unpacking/none", "unpacked>loading/unread unpack-failed>failing/none=init-failed" },
	{ "unpacking/fresh",
		"unpacked>loading/unread unpack-failed>failing/fresh=init-failed speak>unpacking/killed "
		"speak-unseen>unpacking/spoke close>unpacking/closed exit crash>unpacking/none" },
	{ "unpacking/spoke",
		"unpacked>loading/unread unpack-failed>failing/spoke=init-failed speak seen close>unpacking/killed "
		"exit crash>unpacking/none" },
	{ "unpacking/closed",
		"unpacked>loading/unread unpack-failed>failing/closed=init-failed exit crash>unpacking/none "
		"grace>unpacking/killed" },
	{ "unpacking/killed",
		"unpacked>loading/unread unpack-failed>failing/killed=init-failed exit die>unpacking/none" },
	{ "loading/unread",
		"read>loading/read close>loading/closed-unread exit crash>loading/unread-again "
		"deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/unread-again",
		"read>loading/read close>loading/closed-unread-again exit crash>loading/unread-last "
		"deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/unread-last",
		"read>loading/read close>loading/closed-unread-last exit crash>failing/fresh=init-exited "
		"deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/read",
		"success bytes app-error error greedy unknown>loading/garbled success+exit>failing/fresh=internal "
		"bad>failing/fresh=bad-request loaded>ending/loaded=initialized load-failed>failing/fresh=init-failed "
		"long twice>loading/killed half>loading/half close>loading/closed exit "
		"crash>failing/fresh=init-exited deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/half",
		"long>loading/killed rest>loading/garbled close>loading/closed exit "
		"crash>failing/fresh=init-exited deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/closed-unread",
		"exit crash>loading/unread-again grace>loading/killed deadline>loading/over-time look>. "
		"look-greedy>loading/over-memory" },
	{ "loading/closed-unread-again",
		"exit crash>loading/unread-last grace>loading/killed deadline>loading/over-time look>. "
		"look-greedy>loading/over-memory" },
	{ "loading/closed-unread-last",
		"exit crash>failing/fresh=init-exited grace>loading/killed deadline>loading/over-time look>. "
		"look-greedy>loading/over-memory" },
	{ "loading/closed",
		"exit crash>failing/fresh=init-exited grace>loading/killed deadline>loading/over-time look>. "
		"look-greedy>loading/over-memory" },
	{ "loading/killed",
		"exit die>failing/fresh=init-exited deadline>loading/over-time look>. look-greedy>loading/over-memory" },
	{ "loading/garbled", "exit die>failing/fresh=internal" },
	{ "loading/over-time", "exit die>failing/fresh=timed-out" },
	{ "loading/over-memory", "exit die>failing/fresh=out-of-memory" },
	{ "failing/none", "written>empty/none" },
	{ "failing/fresh",
		"speak>failing/killed speak-unseen>failing/spoke close>failing/closed exit crash>failing/none "
		"written>empty/fresh" },
	{ "failing/spoke", "speak seen close>failing/killed exit crash>failing/none written>empty/spoke" },
	{ "failing/closed", "exit crash>failing/none grace>failing/killed written>empty/closed" },
	{ "failing/killed", "exit die>failing/none written>empty/killed" },
	{ "ready/none", INITS ">ending/none=already run lines>reloading/unread" },
	{ "ready/fresh",
		INITS ">ending/fresh=already run lines>reloading/unread speak>ready/killed speak-unseen>ready/spoke "
		      "close>ready/closed exit crash>ready/none" },
	{ "ready/spoke",
		"source>ready+init/killed run>ready+run/killed speak seen close>ready/killed exit crash>ready/none" },
	{ "ready/closed", "source>ready+init/closed run>ready+run/closed exit crash>ready/none grace>ready/killed" },
	{ "ready/killed", "source>ready+init/killed run>ready+run/killed exit die>ready/none" },
	{ "ready/loaded",
		INITS ">ending/loaded=already run lines>running/unread no-memory>ending/loaded=internal "
		      "speak>ready/loaded-killed speak-unseen>ready/loaded-spoke close>ready/loaded-closed exit "
		      "crash>ready/fresh" },
	{ "ready/loaded-spoke",
		"source>ready+init/loaded-killed run>ready+run/loaded-killed speak seen close>ready/loaded-killed "
		"exit crash>ready/fresh" },
	{ "ready/loaded-closed",
		"source>ready+init/loaded-closed run>ready+run/loaded-closed exit crash>ready/fresh "
		"grace>ready/loaded-killed" },
	{ "ready/loaded-killed", "source>ready+init/loaded-killed run>ready+run/loaded-killed exit die>ready/fresh" },
	{ "ready+init/closed", "exit crash>ending/none=already grace>ready+init/killed" },
	{ "ready+init/killed", "exit die>ending/none=already" },
	{ "ready+init/loaded-closed", "exit crash>ending/fresh=already grace>ready+init/loaded-killed" },
	{ "ready+init/loaded-killed", "exit die>ending/fresh=already" },
	{ "ready+run/closed", "exit crash>reloading/unread grace>ready+run/killed" },
	{ "ready+run/killed", "exit die>reloading/unread" },
	{ "ready+run/loaded-closed", "exit crash>reloading/unread grace>ready+run/loaded-killed" },
	{ "ready+run/loaded-killed", "exit die>reloading/unread" },
	{ "reloading/unread",
		"read>reloading/read close>reloading/closed-unread exit crash>reloading/unread-again "
		"deadline>reloading/over-time look>. look-greedy>reloading/over-memory" },
	{ "reloading/unread-again",
		"read>reloading/read close>reloading/closed-unread-again exit crash>reloading/unread-last "
		"deadline>reloading/over-time look>. look-greedy>reloading/over-memory" },
	{ "reloading/unread-last",
		"read>reloading/read close>reloading/closed-unread-last exit crash>ending/none=init-exited "
		"deadline>reloading/over-time look>. look-greedy>reloading/over-memory" },
	{ "reloading/read",
		"success bytes app-error error greedy unknown>reloading/garbled success+exit>ending/none=internal "
		"bad>ending/none=bad-request loaded>running/unread* load-failed>ending/none=init-failed long "
		"twice>reloading/killed half>reloading/half close>reloading/closed exit crash>ending/none=init-exited "
		"deadline>reloading/over-time look>. look-greedy>reloading/over-memory" },
	{ "reloading/half",
		"long>reloading/killed rest>reloading/garbled close>reloading/closed exit "
		"crash>ending/none=init-exited deadline>reloading/over-time look>. look-greedy>reloading/over-memory" },
	{ "reloading/closed-unread",
		"exit crash>reloading/unread-again grace>reloading/killed deadline>reloading/over-time look>. "
		"look-greedy>reloading/over-memory" },
	{ "reloading/closed-unread-again",
		"exit crash>reloading/unread-last grace>reloading/killed deadline>reloading/over-time look>. "
		"look-greedy>reloading/over-memory" },
	{ "reloading/closed-unread-last",
		"exit crash>ending/none=init-exited grace>reloading/killed deadline>reloading/over-time look>. "
		"look-greedy>reloading/over-memory" },
	{ "reloading/closed",
		"exit crash>ending/none=init-exited grace>reloading/killed deadline>reloading/over-time look>. "
		"look-greedy>reloading/over-memory" },
	{ "reloading/killed",
		"exit die>ending/none=init-exited deadline>reloading/over-time look>. "
		"look-greedy>reloading/over-memory" },
	{ "reloading/garbled", "exit die>ending/none=internal" },
	{ "reloading/over-time", "exit die>ending/none=timed-out" },
	{ "reloading/over-memory", "exit die>ending/none=out-of-memory" },
	{ "running/unread",
		"read>running/read close>running/closed-unread exit crash>reloading/unread-again "
		"deadline>running/over-time look>. look-greedy>running/over-memory" },
	{ "running/unread-again",
		"read>running/read close>running/closed-unread-again exit crash>reloading/unread-last "
		"deadline>running/over-time look>. look-greedy>running/over-memory" },
	{ "running/unread-last",
		"read>running/read close>running/closed-unread-last exit crash>ending/fresh=exited "
		"deadline>running/over-time look>. look-greedy>running/over-memory" },
	{ "running/read",
		"success>ending/loaded=success bytes>ending/loaded=bytes app-error>ending/loaded=app-error "
		"error>ending/loaded=error bad>ending/loaded=bad-request loaded load-failed "
		"unknown>running/garbled greedy look-greedy>running/over-memory long twice>running/killed "
		"half>running/half success+exit>ending/fresh=success close>running/closed exit "
		"crash>ending/fresh=exited deadline>running/over-time look>." },
	{ "running/half",
		"long>running/killed rest>ending/loaded=success close>running/closed exit crash>ending/fresh=exited "
		"deadline>running/over-time look>. look-greedy>running/over-memory" },
	{ "running/closed-unread",
		"exit crash>reloading/unread-again grace>running/killed deadline>running/over-time look>. "
		"look-greedy>running/over-memory" },
	{ "running/closed-unread-again",
		"exit crash>reloading/unread-last grace>running/killed deadline>running/over-time look>. "
		"look-greedy>running/over-memory" },
	{ "running/closed-unread-last",
		"exit crash>ending/fresh=exited grace>running/killed deadline>running/over-time look>. "
		"look-greedy>running/over-memory" },
	{ "running/closed",
		"exit crash>ending/fresh=exited grace>running/killed deadline>running/over-time look>. "
		"look-greedy>running/over-memory" },
	{ "running/killed",
		"exit die>ending/fresh=exited deadline>running/over-time look>. look-greedy>running/over-memory" },
	{ "running/garbled", "exit die>ending/fresh=internal" },
	{ "running/over-time", "exit die>ending/fresh=timed-out" },
	{ "running/over-memory", "exit die>ending/fresh=out-of-memory" },
	{ "ending/none", "written>ready/none" },
	{ "ending/fresh",
		"speak>ending/killed speak-unseen>ending/spoke close>ending/closed exit crash>ending/none "
		"written>ready/fresh" },
	{ "ending/spoke", "speak seen close>ending/killed exit crash>ending/none written>ready/spoke" },
	{ "ending/closed", "exit crash>ending/none grace>ending/killed written>ready/closed" },
	{ "ending/killed", "exit die>ending/none written>ready/killed" },
	{ "ending/loaded",
		"speak>ending/loaded-killed speak-unseen>ending/loaded-spoke close>ending/loaded-closed exit "
		"crash>ending/fresh written>ready/loaded" },
	{ "ending/loaded-spoke",
		"speak seen close>ending/loaded-killed exit crash>ending/fresh written>ready/loaded-spoke" },
	{ "ending/loaded-closed", "exit crash>ending/fresh grace>ending/loaded-killed written>ready/loaded-closed" },
	{ "ending/loaded-killed", "exit die>ending/fresh written>ready/loaded-killed" },
};

static bool transition_seen[ARRAY_SIZE(transitions)];

/* Whether the next word of at is word. */
static bool is_word(const char *at, const char *word)
{
	size_t length = strlen(word);

	return strncmp(at, word, length) == 0 && strchr(" >", at[length]) != NULL;
}

static bool is_state(const char *wanted, const char *before, const char *after)
{
	size_t length = strcspn(wanted, " ");

	if (length == 1 && wanted[0] == '.')
		return strcmp(before, after) == 0;
	if (wanted[length - 1] == '*')
		return strncmp(wanted, after, length - 1) == 0;
	return strncmp(wanted, after, length) == 0 && after[length] == '\0';
}

/* What event does in the state of that index; NULL when it cannot happen. */
static const char *find_reaction(size_t state, enum event event)
{
	const char *at = transitions[state].reactions;

	for (; at != NULL && !is_word(at, event_texts[event]); at = at != NULL ? at + 1 : NULL)
		at = strpbrk(at, " ");
	return at != NULL ? strchr(at, '>') + 1 : NULL;
}

static bool changes_nothing(const char *state, enum event event)
{
	bool takes = strncmp(state, "empty/", 6) == 0 || strncmp(state, "ready/", 6) == 0;

	return event == EVENT_DISCARDED_DIES || event == EVENT_DISCARDED_GRACE || (is_request(event) && !takes) ||
		(event == EVENT_GRACE && strstr(state, "/over-") != NULL);
}

static bool is_transition(const char *before, enum event event, const char *after)
{
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++) {
		const char *wanted;

		if (strcmp(transitions[i].state, before) != 0)
			continue;
		transition_seen[i] = true;
		wanted = changes_nothing(before, event) ? "." : find_reaction(i, event);
		if (wanted != NULL && is_state(wanted, before, after))
			return true;
		diag("%s in %s: got %s, wanted %.*s", event_texts[event], before, after,
			wanted != NULL ? (int) strcspn(wanted, " ") : 7, wanted != NULL ? wanted : "nothing");
		return false;
	}
	diag("%s is not among the states", before);
	return false;
}

/* An event that has a reaction, but can not happen there. */
static bool has_only_possible(const char *state, const bool *possible)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(transitions) && strcmp(transitions[i].state, state) != 0)
		i++;
	for (enum event event = 0; i < ARRAY_SIZE(transitions) && event < EVENT_COUNT; event++)
		if (find_reaction(i, event) != NULL && !possible[event]) {
			diag("%s cannot happen in %s", event_texts[event], state);
			return false;
		}
	return true;
}

/* --- all states, all events -------------------------------------------------------------------------- */

/* A world that was found, by the way to it. */
struct found {
	char world[STATE_SIZE];
	int from; /* index of the one before, -1 for the first */
	enum event event;
	int length;
};

enum { FOUND_MAX = 20000, TABLE_SIZE = 65536 };

static struct found *found;
static int found_count, *table;

/* The index of the world as it is, or -1 after it has been added. */
static int find_or_add(int from, enum event event)
{
	char text[sizeof(found->world)];
	uint32_t hash = 2166136261;

	describe_world(text, sizeof(text));
	for (const char *at = text; *at != '\0'; at++)
		hash = (hash ^ (uint8_t) *at) * 16777619;
	for (hash %= TABLE_SIZE; table[hash] >= 0; hash = (hash + 1) % TABLE_SIZE)
		if (strcmp(found[table[hash]].world, text) == 0)
			return table[hash];
	assert(found_count < FOUND_MAX);
	found[found_count] =
		(struct found) { .from = from, .event = event, .length = from >= 0 ? found[from].length + 1 : 0 };
	(void) strcpy(found[found_count].world, text);
	table[hash] = found_count++;
	return -1;
}

static void go_to(int index)
{
	enum event path[64];
	int length = found[index].length;

	for (int i = length - 1; i >= 0; i--, index = found[index].from)
		path[i] = found[index].event;
	make_world(true);
	for (int i = 0; i < length; i++)
		happen(path[i]);
}

/* To keep the number of worlds finite: in a queue of two, one kind of request; of the processes that are to be
 * reaped, one. */
static bool is_explored(enum event event)
{
	if (is_request(event) && world.function->queued > 0)
		return world.function->queued < 2 && event == EVENT_RUN;
	if (world.stopped && (event == EVENT_NO_PROCESSES || event == EVENT_PROCESSES))
		return false;
	if (is_request(event) && event != EVENT_INIT_SOURCE && event != EVENT_RUN &&
		(is_ending(present_process()) || can_happen(EVENT_SEEN)))
		return false;
	if (event == EVENT_RUN_NO_MEMORY && world.function->initialized && strcmp(describe_process(), "loaded") != 0)
		return false;
	return event == EVENT_DISCARDED_DIES || event == EVENT_DISCARDED_GRACE || discarded_process() == NULL;
}

/* What can happen there, and is to be tried. Returns whether that is what transitions[] has. */
static bool note_possible(int index, bool *possible)
{
	bool right = true;
	char state[STATE_SIZE];

	go_to(index);
	for (enum event event = 0; event < EVENT_COUNT; event++)
		possible[event] = can_happen(event);
	describe_state(state, sizeof(state));
	/* The reactions to requests that are not explored are those to requests that are. */
	if (is_normal())
		right = has_only_possible(state, possible);
	for (enum event event = 0; event < EVENT_COUNT; event++)
		possible[event] = possible[event] && is_explored(event);
	(void) destroy_world();
	return right;
}

static bool is_right(int index, enum event event, const char *wrong)
{
	if (wrong == NULL)
		return true;
	diag("%s: after %s in %s", wrong, event_texts[event], found[index].world);
	for (; index > 0; index = found[index].from)
		diag("  before that %s", event_texts[found[index].event]);
	return false;
}

static bool try_event(int index, enum event event)
{
	char before[STATE_SIZE], after[STATE_SIZE];
	bool compared, was_ending;

	go_to(index);
	compared = is_normal() && world.function->queued <= 1;
	was_ending = world.function->phase == PHASE_ENDING;
	describe_state(before, sizeof(before));
	happen(event);
	check_always();
	describe_transition(after, sizeof(after), was_ending);
	compared = compared && is_normal();
	(void) find_or_add(index, event);
	if (compared && !is_transition(before, event, after))
		wrong_if(true, "another transition");
	return is_right(index, event, destroy_world());
}

/* --- the way back ------------------------------------------------------------------------------------ */

/* What happens next where the processes do what they should; EVENT_COUNT: nothing. */
static enum event next_good_event(void)
{
	static const enum event in_order[] = { EVENT_PROCESSES, EVENT_WRITTEN, EVENT_UNPACKED, EVENT_DIE,
		EVENT_DISCARDED_DIES, EVENT_SEEN, EVENT_GRACE, EVENT_READ, EVENT_ANSWER_REST };
	const struct process *process = present_process();

	for (size_t i = 0; i < ARRAY_SIZE(in_order); i++)
		if (can_happen(in_order[i]))
			return in_order[i];
	if (can_answer(EVENT_ANSWER_SUCCESS, process))
		return world.function->phase == PHASE_RUNNING ? EVENT_ANSWER_SUCCESS : EVENT_ANSWER_INITIALIZED;
	return process != NULL && world.function->terminating ? EVENT_EXIT : EVENT_COUNT;
}

static void settle(void)
{
	enum { STEPS = 200 };
	enum event event;

	for (int i = 0; i < STEPS; i++) {
		event = next_good_event();
		if (event == EVENT_COUNT)
			return;
		happen(event);
		check_always();
	}
	wrong_if(true, "it does not come to rest");
}

static enum outcome_kind settled_outcome(enum event event)
{
	submit_request(event);
	settle();
	wrong_if(world.requests != NULL, "a request without an answer");
	return world.answered->outcome;
}

/* From now on everything works: so must the function, however it has come to where it is. */
static const char *check_recovery(void)
{
	enum outcome_kind kind;

	settle();
	wrong_if(world.requests != NULL || !function_is_idle(world.function), "a request without an answer");
	if (!world.stopped && !world.function->initialized)
		wrong_if(settled_outcome(EVENT_INIT_ARCHIVE) != OUTCOME_INITIALIZED, "an init does not work");
	kind = settled_outcome(EVENT_RUN);
	wrong_if(kind != (world.stopped ? OUTCOME_STOPPING : OUTCOME_SUCCESS), "a run does not work");
	return world.wrong;
}

static bool recovers(int index)
{
	const char *wrong;

	go_to(index);
	(void) check_recovery();
	wrong = destroy_world();
	return is_right(index, EVENT_COUNT - 1, wrong);
}

/* --- the tests --------------------------------------------------------------------------------------- */

static void test_every_state_with_every_event(void)
{
	bool possible[EVENT_COUNT], right = true;
	long tried = 0;

	for (int i = 0; i < TABLE_SIZE; i++)
		table[i] = -1;
	make_world(true);
	(void) find_or_add(-1, 0);
	(void) destroy_world();
	for (int i = 0; i < found_count && right; i++) {
		right = note_possible(i, possible);
		for (enum event event = 0; event < EVENT_COUNT && right; event++) {
			right = !possible[event] || try_event(i, event);
			tried += possible[event];
		}
	}
	ok(right, "each of %d states of the world with each event: %ld", found_count, tried);
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++)
		if (!transition_seen[i])
			diag("%s was never seen", transitions[i].state);
	ok(memchr(transition_seen, false, sizeof(transition_seen)) == NULL, "each of the %zu states was there",
		ARRAY_SIZE(transitions));
}

static void test_recovery(void)
{
	bool right = true;

	for (int i = 0; i < found_count && right; i++)
		right = recovers(i);
	ok(right, "from each of them, where the world behaves from then on, everything works again");
}

/* One that can happen; half of them are those that a good life consists of, and what ends all comes rarely. */
static enum event random_event(void)
{
	enum { RARELY = 200, NOT_SO_RARELY = 20, DISCARDED_MAX = 4 };
	enum event good = random_below(2) == 0 ? next_good_event() : EVENT_COUNT;
	size_t processes = 0;

	if (good != EVENT_COUNT)
		return good;
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		processes += world.processes[i].pid != 0;
	if (processes > DISCARDED_MAX)
		return EVENT_DISCARDED_DIES;
	for (;;) {
		enum event event = (enum event) random_below(EVENT_COUNT);

		if (event >= EVENT_STOP && random_below(RARELY) > 0)
			continue;
		if (event == EVENT_NO_PROCESSES && random_below(NOT_SO_RARELY) > 0)
			continue;
		if (can_happen(event))
			return event;
	}
}

/* Returns the number of events. */
static int walk(int most, bool *seen)
{
	int i = 0;

	make_world(random_below(2) == 0);
	while (i < most && !world.aborted && world.wrong == NULL) {
		enum event event = random_event();

		world.logs.at_once = random_below(2) == 0;
		world.kills_at_once = random_below(2) == 0;
		happen(event);
		check_always();
		i++;
		if (world.wrong != NULL)
			diag("%s: after %s", world.wrong, event_texts[event]);
		if (world.answered != NULL)
			seen[world.answered->outcome] = true;
	}
	world.logs.at_once = false;
	if (!world.aborted && world.wrong == NULL)
		(void) check_recovery();
	return i;
}

static void test_random_events(void)
{
	enum { STEPS = 200000, WALK = 20000 };
	bool seen[OUTCOME_INTERNAL_ERROR + 1] = { false };
	const char *wrong = NULL;
	int steps = 0, walks = 0;

	while (steps < STEPS && wrong == NULL) {
		steps += walk(WALK, seen);
		walks++;
		wrong = destroy_world();
	}
	ok(tap_is_str(wrong, NULL), "%d random events in %d lives of a function", steps, walks);
	for (enum outcome_kind kind = 0; kind <= OUTCOME_INTERNAL_ERROR; kind++)
		ok(seen[kind] || kind == OUTCOME_QUEUE_FULL, "... in which there was an outcome: %s",
			describe_outcome(kind));
}

static void test_events_have_happened(void)
{
	for (enum event event = 0; event < EVENT_COUNT; event++)
		ok(happened[event] > 0, "%s has happened %d times", event_texts[event], happened[event]);
}

int main(void)
{
	found = calloc(FOUND_MAX, sizeof(*found));
	table = calloc(TABLE_SIZE, sizeof(*table));
	(void) signal(SIGPIPE, SIG_IGN);
	test_every_state_with_every_event();
	test_recovery();
	test_random_events();
	test_events_have_happened();
	free(found);
	free(table);
	return done_testing();
}
