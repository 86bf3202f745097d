#include "function.h"

#include "code_dir.h"
#include "json.h"
#include "limits.h"
#include "precompiler.h"
#include "runner.h"
#include "server_log.h"
#include "spawn.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

/* What the invocation at the head of the queue is waiting for. */
enum phase {
	PHASE_IDLE,           /* nothing is under way */
	PHASE_UNPACKING,      /* init: the unpacker */
	PHASE_INITIALIZING,   /* init: the runner loads the code */
	PHASE_REINITIALIZING, /* run: a fresh runner loads the code it had before */
	PHASE_RUNNING,        /* run: the handler */
	PHASE_ENDING,         /* its output is being written */
};

enum invocation_kind { INVOCATION_INIT, INVOCATION_LOAD, INVOCATION_RUN };

struct invocation {
	enum invocation_kind kind;
	char *body; /* of INIT; of RUN the message, once it is made and not sent */
	size_t length;
	struct envelope envelope;        /* of LOAD */
	const struct platform *platform; /* of RUN */
	invocation_done on_done;
	void *context;
	uint64_t submitted_us;     /* of RUN; 0 once its turn has come */
	uint64_t queue_us;         /* that it waited for it */
	bool started;              /* the message was made, and the log has the platform's first lines */
	int attempts;              /* runners that ended before they read its message */
	char id[PLATFORM_ID_SIZE]; /* of the activation, where the log wants it */
	struct invocation *next;
};

struct function {
	struct loop *loop;
	struct logs *logs;
	struct function_config config;

	struct invocation *queue, **queue_end;
	size_t queued;
	enum phase phase;
	struct outcome outcome; /* of the head, complete in PHASE_ENDING */
	struct timer watchdog;  /* set while the head has a limit to keep */
	uint64_t deadline_ms;   /* of loop_now_ms(); 0: none */
	uint64_t phase_since_us;
	struct cold_start cold_start; /* not reported yet; init_us 0: it has been */
	bool killed;                  /* the runner, by us; outcome.kind says why */
	bool init_failed;             /* the last one */
	bool was_full;                /* and it has been said; the queue has not been empty since then */
	bool advancing;
	bool stopping;
	bool terminating; /* the runner has been sent SIGTERM and has not ended */

	struct runner *runner;
	bool runner_initialized;

	/* The code: there is some when initialized is set or an init is under way. */
	bool initialized;
	enum convention convention;
	const char *convention_reason;
	struct code_dir *code_dir;       /* holds the code, or what is installed for a folder of the user's own */
	bool compiled;                   /* the archive was made by pyaction -compile */
	struct precompiler *precompiler; /* works in code_dir until the first init is over; NULL for none */
	struct envelope envelope;        /* of the code; the code text itself is dropped once it is on disk */
	char *init_line;                 /* without its closing brace: send_init() may add a member */

	struct function_metrics metrics;
};

static void advance(struct function *function);

static uint64_t now_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* --- what is told of it ------------------------------------------------------------------------------ */

const char *function_state_name(enum function_state state)
{
	static const char *const names[FUNCTION_STATE_COUNT] = {
		[FUNCTION_WAITING] = "waiting_for_init",
		[FUNCTION_LOADING] = "initializing",
		[FUNCTION_FAILED] = "init_failed",
		[FUNCTION_READY] = "ready",
		[FUNCTION_RELOADING] = "reinitializing",
		[FUNCTION_RUNNING] = "running",
		[FUNCTION_STOPPING] = "stopping",
	};

	return names[state];
}

static enum function_state state_of(const struct function *function)
{
	if (function->stopping)
		return FUNCTION_STOPPING;
	switch (function->phase) {
	case PHASE_UNPACKING:
	case PHASE_INITIALIZING:
		return FUNCTION_LOADING;
	case PHASE_REINITIALIZING:
		return FUNCTION_RELOADING;
	case PHASE_RUNNING:
		return FUNCTION_RUNNING;
	case PHASE_ENDING:
		/* Of an activation, for most take their time only where their output does. */
		if (function->initialized && function->queue->kind == INVOCATION_RUN)
			return FUNCTION_RUNNING;
		break;
	case PHASE_IDLE:
		break;
	}
	if (function->initialized)
		return FUNCTION_READY;
	return function->init_failed ? FUNCTION_FAILED : FUNCTION_WAITING;
}

void function_describe(const struct function *function, struct function_status *ret_status)
{
	bool busy = function->phase != PHASE_IDLE;

	*ret_status = (struct function_status) {
		.state = state_of(function),
		.convention = function->initialized ? convention_name(function->convention) : NULL,
		.in_flight = busy ? 1 : 0,
		.waiting = function->queued - (busy ? 1 : 0),
		.runner = function->runner != NULL ? runner_pid(function->runner) : 0,
		.metrics = &function->metrics,
	};
}

/* --- the runner -------------------------------------------------------------------------------------- */

static void on_runner_reply(void *context, struct reply *reply);
static void on_runner_end(void *context, const struct runner_end *end);

static int start_runner(struct function *function, struct err *err)
{
	const struct runner_config config = {
		.path = function->config.runner_path,
		.user = function->config.user,
		.stdout_fd = logs_stdout_fd(function->logs),
		.stderr_fd = logs_stderr_fd(function->logs),
		.extra_environment = function->envelope.start_variables,
	};
	const struct runner_callbacks callbacks = {
		.on_reply = on_runner_reply, .on_end = on_runner_end, .context = function
	};

	int r;

	if (function->runner != NULL)
		return 0;
	function->runner_initialized = false;
	r = runner_start(&function->runner, function->loop, &config, &callbacks, err);
	if (r < 0) {
		server_log(EVENT_RUNNER_START_FAILED, LOG_TEXT("error", err->text));
		return r;
	}
	function->metrics.runner_starts++;
	server_log(EVENT_RUNNER_STARTED, LOG_NUMBER("pid", runner_pid(function->runner)));
	return 0;
}

static void discard_runner(struct function *function)
{
	if (function->runner != NULL) {
		server_log(EVENT_RUNNER_DISCARDED, LOG_NUMBER("pid", runner_pid(function->runner)));
		runner_discard(function->runner);
	}
	function->runner = NULL;
	function->terminating = false;
	function->runner_initialized = false;
}

/* --- the code ---------------------------------------------------------------------------------------- */

static void discard_code(struct function *function)
{
	precompiler_free(function->precompiler);
	function->precompiler = NULL;
	code_dir_free(function->code_dir);
	function->code_dir = NULL;
	envelope_done(&function->envelope);
	free(function->init_line);
	function->init_line = NULL;
	function->initialized = false;
	function->convention = CONVENTION_OPENWHISK;
}

/* Code that has run, and did not load: what has left the runner's group must not meet the next one's, nor keep filling
 * the directory that is being removed. */
static void discard_failed_code(struct function *function)
{
	discard_runner(function);
	spawn_kill_descendants(function->loop);
	discard_code(function);
}

static int make_init_line(struct function *function, struct err *err)
{
	const struct envelope *envelope = &function->envelope;
	const struct limits *limits = &function->config.limits;
	bool owned = envelope->kind != CODE_FOLDER;
	const char *packages = code_dir_path(function->code_dir);
	const char *path = owned ? packages : envelope->folder;
	struct text text;
	FILE *line = text_open(&text);

	if (line == NULL)
		return err_errno(err, -ENOMEM, "cannot make the message to the runner");
	(void) fputs("{\"path\":", line);
	json_write_string(line, path, strlen(path));
	(void) fputs(",\"handler\":", line);
	json_write_string(line, envelope->handler, strlen(envelope->handler));
	(void) fputs(",\"packages\":", line);
	json_write_string(line, packages, strlen(packages));
	(void) fprintf(line, ",\"source\":%s,\"owned\":%s,\"terminal\":%s,\"convention\":\"%s\"",
		envelope->kind == CODE_SOURCE ? "true" : "false", owned ? "true" : "false",
		isatty(STDOUT_FILENO) == 1 ? "true" : "false", convention_name(function->convention));
	if (function->compiled)
		(void) fputs(",\"compiled\":true", line);
	if (limits->timeout_ms != LIMITS_DEFAULT)
		(void) fprintf(line, ",\"timeout_ms\":%u", limits->timeout_ms);
	if (limits->memory_mb != LIMITS_DEFAULT)
		(void) fprintf(line, ",\"memory_mb\":%u", limits->memory_mb);
	(void) fprintf(line, ",\"env\":%s", envelope->environment);
	function->init_line = text_close(&text, NULL);
	if (function->init_line == NULL)
		return err_errno(err, -ENOMEM, "cannot make the message to the runner");
	return 0;
}

/* --- the queue --------------------------------------------------------------------------------------- */

static void invocation_free(struct invocation *invocation)
{
	envelope_done(&invocation->envelope);
	free(invocation->body);
	free(invocation);
}

static void count_outcome(struct function *function, enum invocation_kind kind, enum outcome_kind outcome)
{
	if (kind == INVOCATION_RUN)
		function->metrics.runs[outcome]++;
	else
		function->metrics.inits[outcome]++;
}

/* Of an invocation that is an init, or of the loading for one that is a run. */
static void log_init_end(const struct function *function, enum outcome_kind kind)
{
	bool loaded = kind == OUTCOME_INITIALIZED;

	server_log(EVENT_INIT_ENDED, LOG_TEXT("outcome", outcome_name(kind)),
		LOG_MS(loaded ? "loading_ms" : NULL, function->cold_start.init_us),
		LOG_NUMBER(loaded ? "peak_kb" : NULL, function->cold_start.peak_kb));
}

static void log_outcome(
	const struct function *function, const struct invocation *invocation, const struct outcome *outcome)
{
	if (invocation->kind == INVOCATION_RUN)
		server_log(EVENT_ACTIVATION_ENDED, LOG_TEXT("activation_id", invocation->id),
			LOG_TEXT("outcome", outcome_name(outcome->kind)), LOG_MS("queue_ms", invocation->queue_us),
			LOG_MS("run_ms", outcome->run_us), LOG_NUMBER("peak_kb", outcome->peak_kb),
			LOG_NUMBER("waiting", function->queued));
	else
		log_init_end(function, outcome->kind);
}

static void pop_and_tell(struct function *function, struct outcome *outcome)
{
	struct invocation *invocation = function->queue;

	function->queue = invocation->next;
	if (function->queue == NULL) {
		function->queue_end = &function->queue;
		function->was_full = false;
	}
	function->queued--;
	count_outcome(function, invocation->kind, outcome->kind);
	log_outcome(function, invocation, outcome);
	invocation->on_done(invocation->context, outcome);
	free(outcome->payload);
	free(outcome->log);
	invocation_free(invocation);
}

static void refuse_head(struct function *function)
{
	struct outcome outcome = { .kind = OUTCOME_STOPPING, .text = "The server is shutting down." };

	pop_and_tell(function, &outcome);
}

static bool wants_log(const struct invocation *invocation)
{
	const struct platform *platform = invocation->platform;

	return invocation->started && platform->wants_log != NULL && platform->wants_log(invocation->context);
}

static void on_output_written(void *context)
{
	struct function *function = context;
	struct outcome outcome = function->outcome;

	if (wants_log(function->queue))
		outcome.log = logs_steal_tail(function->logs, &outcome.log_length);
	function->outcome = (struct outcome) { 0 };
	function->phase = PHASE_IDLE;
	pop_and_tell(function, &outcome);
	advance(function);
}

/* Ends the head of the queue with function->outcome as it stands. An activation, successful or not, has its
 * markers; what ran nothing has none, for a marker too many would end the next activation's log early. */
static void finish_outcome(struct function *function, bool markers)
{
	const struct invocation *invocation = function->queue;
	const struct platform *platform = invocation->platform;
	cleanup_free char *lines = NULL;

	loop_timer_clear(function->loop, &function->watchdog);
	if (function->phase == PHASE_RUNNING) {
		function->outcome.run_us = now_us() - function->phase_since_us;
		histogram_record(&function->metrics.run, function->outcome.run_us);
		function->outcome.init_us = function->cold_start.init_us;
		function->cold_start.init_us = 0;
	}
	if (invocation->started && platform->log_end != NULL)
		lines = platform->log_end(invocation->context, &function->outcome);
	if (lines != NULL)
		logs_write_stdout(function->logs, lines);
	function->phase = PHASE_ENDING;
	markers = markers && (platform != NULL ? platform->markers : invocation->kind == INVOCATION_INIT);
	logs_end_activation(function->logs, markers, on_output_written, function);
}

static void finish(struct function *function, enum outcome_kind kind, bool markers, const char *format, ...)
	UTIL_PRINTF(4, 5);

static void finish(struct function *function, enum outcome_kind kind, bool markers, const char *format, ...)
{
	va_list args;

	function->outcome.kind = kind;
	va_start(args, format);
	(void) vsnprintf(function->outcome.text, sizeof(function->outcome.text), format, args);
	va_end(args);
	finish_outcome(function, markers);
}

/* Nothing was run, for a reason of ours or the machine's. */
static void finish_for_our_reason(struct function *function, const char *text)
{
	server_log(EVENT_INTERNAL_ERROR, LOG_TEXT("error", text));
	finish(function, OUTCOME_INTERNAL_ERROR, false, "%s", text);
}

static void finish_with_payload(struct function *function, enum outcome_kind kind, bool markers, struct reply *reply)
{
	function->outcome.kind = kind;
	function->outcome.payload_length = reply->payload_length;
	function->outcome.payload = steal_ptr(&reply->payload);
	finish_outcome(function, markers);
}

/* --- limits ------------------------------------------------------------------------------------------ */

/* Those of the server come first, then the platform's; loading code has no platform. */
static void set_limits(struct function *function, const struct invocation *invocation)
{
	const struct platform *platform = invocation->platform;
	struct limits *limits = &function->outcome.limits;

	*limits = platform != NULL ? platform->limits : (struct limits) { 0 };
	if (platform != NULL && platform->adjust_limits != NULL)
		platform->adjust_limits(invocation->context, limits);
	if (function->config.limits.timeout_ms != LIMITS_DEFAULT)
		limits->timeout_ms = function->config.limits.timeout_ms;
	if (function->config.limits.memory_mb != LIMITS_DEFAULT)
		limits->memory_mb = function->config.limits.memory_mb;
}

static long memory_limit_kb(const struct function *function)
{
	return (long) function->outcome.limits.memory_mb * 1024;
}

static bool is_over_memory(const struct function *function)
{
	return function->outcome.limits.memory_mb > 0 && function->outcome.peak_kb > memory_limit_kb(function);
}

static void look_at_memory(struct function *function)
{
	long kb = runner_memory_kb(function->runner, memory_limit_kb(function));

	if (kb > function->outcome.peak_kb)
		function->outcome.peak_kb = kb;
}

/* The invocation ends when the process has: what it still writes until then belongs to it. */
static void kill_runner(struct function *function, enum outcome_kind kind, const char *reason)
{
	loop_timer_clear(function->loop, &function->watchdog);
	function->outcome.kind = kind;
	function->killed = true;
	runner_kill(function->runner, reason);
}

static void kill_for_limit(struct function *function, enum outcome_kind kind)
{
	const struct outcome *outcome = &function->outcome;

	if (kind == OUTCOME_TIMED_OUT)
		server_log(EVENT_TIME_LIMIT_PASSED, LOG_TEXT("activation_id", function->queue->id),
			LOG_NUMBER("pid", runner_pid(function->runner)),
			LOG_NUMBER("timeout_ms", outcome->limits.timeout_ms));
	else
		server_log(EVENT_MEMORY_LIMIT_PASSED, LOG_TEXT("activation_id", function->queue->id),
			LOG_NUMBER("pid", runner_pid(function->runner)),
			LOG_NUMBER("memory_mb", outcome->limits.memory_mb), LOG_NUMBER("peak_kb", outcome->peak_kb));
	kill_runner(function, kind, "it passed a limit");
}

static void set_watchdog(struct function *function)
{
	uint64_t due_ms = function->deadline_ms;

	if (function->outcome.limits.memory_mb > 0) {
		uint64_t look_ms = loop_now_ms() + LIMIT_MEMORY_LOOK_MS;

		due_ms = due_ms != 0 && due_ms < look_ms ? due_ms : look_ms;
	}
	if (due_ms != 0)
		loop_timer_set(function->loop, &function->watchdog, due_ms);
}

static void on_watchdog(void *context)
{
	struct function *function = context;

	look_at_memory(function);
	if (function->deadline_ms != 0 && loop_now_ms() >= function->deadline_ms)
		kill_for_limit(function, OUTCOME_TIMED_OUT);
	else if (is_over_memory(function))
		kill_for_limit(function, OUTCOME_OUT_OF_MEMORY);
	else
		set_watchdog(function);
}

/* Its turn has come, for the first time or again. */
static void end_wait(struct function *function, struct invocation *invocation)
{
	if (invocation->submitted_us == 0)
		return;
	invocation->queue_us = function->phase_since_us - invocation->submitted_us;
	invocation->submitted_us = 0;
	histogram_record(&function->metrics.queue, invocation->queue_us);
}

/* In ms, 0 for none. Loading has the limit of a run, but at least LIMIT_INIT_MS. */
static unsigned time_limit(const struct function *function, enum phase phase)
{
	unsigned timeout_ms = function->outcome.limits.timeout_ms;

	return timeout_ms > 0 && phase != PHASE_RUNNING && timeout_ms < LIMIT_INIT_MS ? LIMIT_INIT_MS : timeout_ms;
}

/* The phases in which the function's code runs. */
static void enter_phase(struct function *function, enum phase phase)
{
	unsigned timeout_ms = time_limit(function, phase);

	function->phase = phase;
	function->phase_since_us = now_us();
	end_wait(function, function->queue);
	function->deadline_ms = timeout_ms > 0 ? loop_now_ms() + timeout_ms : 0;
	set_watchdog(function);
}

/* --- init -------------------------------------------------------------------------------------------- */

/* The code did not load: the next init finds everything as if this one had never been. */
static void forget_failed_init(struct function *function)
{
	struct err err;

	function->init_failed = true;
	discard_failed_code(function);
	/* Should it fail, the next invocation tries again and tells. */
	(void) start_runner(function, &err);
}

static void send_init(struct function *function, enum phase phase)
{
	bool compiling = phase == PHASE_INITIALIZING && function->precompiler != NULL;
	char *line;
	int length = asprintf(&line, "%s%s}", function->init_line, compiling ? ",\"compiling\":true" : "");

	if (length < 0) {
		finish_for_our_reason(function, "Out of memory for the message to the runner.");
		return;
	}
	enter_phase(function, phase);
	server_log(EVENT_INIT_STARTED, LOG_TEXT("handler", function->envelope.handler),
		LOG_TEXT("convention", convention_name(function->convention)),
		LOG_TEXT("because", function->convention_reason),
		LOG_TEXT("again", phase == PHASE_REINITIALIZING ? "yes" : NULL),
		LOG_NUMBER("pid", runner_pid(function->runner)));
	runner_send(function->runner, line, (size_t) length);
}

static int choose_convention(struct function *function, struct err *err)
{
	const char *wanted = function->envelope.convention;
	char line[ERR_TEXT_MAX];
	int r;

	function->convention_reason = "";
	r = convention_choose(wanted != NULL ? wanted : function->config.convention, function->envelope.handler,
		&function->convention, &function->convention_reason, err);
	function->outcome.convention = function->convention;
	if (r < 0 || !function->config.tell)
		return r;
	(void) snprintf(line, sizeof(line), "pyaction: convention %s for the handler '%.200s', because %s",
		convention_name(function->convention), function->envelope.handler, function->convention_reason);
	logs_write_stderr(function->logs, line);
	return 0;
}

static void initialize(struct function *function)
{
	struct err err;

	if (choose_convention(function, &err) < 0) {
		discard_code(function);
		finish(function, OUTCOME_BAD_REQUEST, false, "%s", err.text);
		return;
	}
	/* They must be there when the process starts, and a runner that is there has none of them. One that is ending,
	 * or spoke without being asked, must not be what the code fails for. */
	if (function->envelope.start_variables != NULL ||
		(function->runner != NULL && !runner_is_ready(function->runner)))
		discard_runner(function);
	if (make_init_line(function, &err) < 0 || start_runner(function, &err) < 0) {
		discard_code(function);
		finish_for_our_reason(function, err.text);
		return;
	}
	send_init(function, PHASE_INITIALIZING);
}

static void on_unpacked(void *context, const char *problem)
{
	struct function *function = context;

	if (problem == NULL) {
		if (function->precompiler != NULL)
			precompiler_begin(function->precompiler);
		initialize(function);
		return;
	}
	function->init_failed = true;
	server_log(EVENT_UNPACKING_FAILED, LOG_TEXT("error", problem));
	discard_code(function);
	logs_write_stderr(function->logs, problem);
	finish(function, OUTCOME_INIT_FAILED, true,
		"The action failed to generate or locate a binary. See logs for details. (%s)", problem);
}

/* What pyaction -compile has made ends with this comment (compile.py). Its bytecode counts, for the sources are those
 * that it was made of. */
static bool is_compiled(const struct envelope *envelope)
{
	static const char mark[] = "pyaction: compiled";
	const size_t length = sizeof(mark) - 1;

	return envelope->code_length >= length &&
		memcmp(envelope->code + envelope->code_length - length, mark, length) == 0;
}

/* Where it cannot be started, or would change nothing, the import works without it. A variable for the start of
 * Python may want other bytecode than the ordinary, or none. */
static void start_precompiler(struct function *function)
{
	const struct envelope *envelope = &function->envelope;
	struct err err;

	if (envelope->code_length >= LIMIT_SMALL_ARCHIVE && envelope->start_variables == NULL && !function->compiled)
		(void) !precompiler_start(&function->precompiler, function->loop, function->config.precompiler_path,
			function->config.user, code_dir_path(function->code_dir), envelope->handler, &err);
}

static int place_code(struct function *function, struct err *err)
{
	struct envelope *envelope = &function->envelope;
	int r;

	r = code_dir_new(
		&function->code_dir, function->config.work_dir, function->config.user, function->config.remover, err);
	if (r < 0)
		return r;
	function->compiled = envelope->kind == CODE_ZIP && is_compiled(envelope);
	if (envelope->kind == CODE_SOURCE)
		r = code_dir_write(function->code_dir, "__main__.py", envelope->code, envelope->code_length, err);
	else if (envelope->kind != CODE_FOLDER)
		r = code_dir_unpack(function->code_dir, function->loop,
			envelope->kind == CODE_GZIP ? function->config.untar_path : function->config.unzip_path,
			envelope->code, envelope->code_length, on_unpacked, function, err);
	if (r == 0 && (envelope->kind == CODE_ZIP || envelope->kind == CODE_GZIP))
		start_precompiler(function);
	free(envelope->code);
	envelope->code = NULL;
	return r;
}

static void start_init(struct function *function, struct invocation *invocation)
{
	struct err err;
	int r;

	if (function->initialized) {
		static const char text[] = "Cannot initialize the action more than once.";

		logs_write_stderr(function->logs, text);
		finish(function, OUTCOME_ALREADY_INITIALIZED, false, "%s", text);
		return;
	}
	if (invocation->kind == INVOCATION_LOAD) {
		function->envelope = invocation->envelope;
		invocation->envelope = (struct envelope) { 0 };
	} else if ((r = envelope_parse(&function->envelope, invocation->body, invocation->length, &err)) < 0) {
		finish(function, r == -ENODATA ? OUTCOME_NO_CODE_GIVEN : OUTCOME_BAD_REQUEST, false, "%s", err.text);
		return;
	}
	free(invocation->body); /* as large as the code, which has been copied */
	invocation->body = NULL;

	set_limits(function, invocation);
	function->phase = PHASE_UNPACKING;
	r = place_code(function, &err);
	if (r < 0) {
		discard_code(function);
		finish_for_our_reason(function, err.text);
	} else if (function->envelope.kind == CODE_SOURCE || function->envelope.kind == CODE_FOLDER) {
		initialize(function);
	}
}

/* --- run --------------------------------------------------------------------------------------------- */

/* Makes the message, and gives the log the platform's first lines; once. */
static int start_invocation(struct function *function, struct invocation *invocation)
{
	const struct platform *platform = invocation->platform;
	cleanup_free char *lines = NULL;

	if (invocation->started)
		return 0;
	/* Before the message is made, which takes the request apart. */
	if (platform->read_id != NULL && server_log_wants(EVENT_RUNNER_ENDED))
		platform->read_id(invocation->context, invocation->id);
	invocation->body = platform->make_message(invocation->context, &function->outcome.limits, &invocation->length);
	if (invocation->body == NULL)
		return -ENOMEM;
	invocation->started = true;
	if (platform->log_start != NULL)
		lines = platform->log_start(
			invocation->context, function->cold_start.init_us > 0 ? &function->cold_start : NULL);
	if (lines != NULL || wants_log(invocation))
		logs_begin_activation(function->logs, lines, wants_log(invocation));
	return 0;
}

static void send_run(struct function *function)
{
	struct invocation *invocation = function->queue;

	if (start_invocation(function, invocation) < 0) {
		finish_for_our_reason(function, "Out of memory for the message to the runner.");
		return;
	}
	enter_phase(function, PHASE_RUNNING);
	server_log(EVENT_ACTIVATION_STARTED, LOG_TEXT("activation_id", invocation->id),
		LOG_NUMBER("pid", runner_pid(function->runner)));
	runner_send(function->runner, steal_ptr(&invocation->body), invocation->length);
}

static void start_run(struct function *function, struct invocation *invocation)
{
	struct err err;

	if (!function->initialized) {
		finish(function, OUTCOME_NOT_INITIALIZED, false, "no action defined yet");
		return;
	}
	set_limits(function, invocation);
	function->outcome.convention = function->convention;
	if (start_runner(function, &err) < 0)
		finish_for_our_reason(function, err.text);
	else if (function->runner_initialized)
		send_run(function);
	else
		send_init(function, PHASE_REINITIALIZING);
}

/* --- what the runner brings -------------------------------------------------------------------------- */

static void take_init_reply(struct function *function, struct reply *reply, const struct outcome_status *status)
{
	bool first_time = function->phase == PHASE_INITIALIZING;

	if (function->precompiler != NULL)
		precompiler_stop(function->precompiler);
	if (status->kind == OUTCOME_INITIALIZED) {
		function->runner_initialized = true;
		function->initialized = true;
		function->init_failed = false;
		function->cold_start.init_us = now_us() - function->phase_since_us;
		histogram_record(&function->metrics.loading, function->cold_start.init_us);
		function->cold_start.peak_kb = function->outcome.peak_kb;
		if (first_time) {
			finish_with_payload(function, OUTCOME_INITIALIZED, false, reply);
		} else {
			log_init_end(function, OUTCOME_INITIALIZED);
			send_run(function);
		}
		return;
	}
	if (first_time)
		forget_failed_init(function);
	else
		discard_runner(function);
	finish_with_payload(function, status->kind, status->markers, reply);
}

static void kill_for_status(struct function *function, const char *status)
{
	static const char reason[] = "it answered with an unknown status";

	server_log(EVENT_RUNNER_MISBEHAVED, LOG_NUMBER("pid", runner_pid(function->runner)), LOG_TEXT("error", reason));
	(void) snprintf(function->outcome.text, sizeof(function->outcome.text),
		"The runner answered with an unknown status: %.200s", status);
	kill_runner(function, OUTCOME_INTERNAL_ERROR, reason);
}

static void on_runner_reply(void *context, struct reply *reply)
{
	struct function *function = context;
	long peak_kb;
	const struct outcome_status *status = outcome_parse_status(reply->status, &peak_kb);
	bool loading = function->phase == PHASE_INITIALIZING || function->phase == PHASE_REINITIALIZING;
	bool about_loading =
		status != NULL && (status->kind == OUTCOME_INITIALIZED || status->kind == OUTCOME_INIT_FAILED);

	if (peak_kb > function->outcome.peak_kb)
		function->outcome.peak_kb = peak_kb;
	if (status == NULL || (loading != about_loading && status->kind != OUTCOME_BAD_REQUEST)) {
		kill_for_status(function, reply->status);
	} else if (loading) {
		take_init_reply(function, reply, status);
	} else if (is_over_memory(function)) {
		kill_for_limit(function, OUTCOME_OUT_OF_MEMORY);
	} else {
		finish_with_payload(function, status->kind, status->markers, reply);
	}
}

/* The runner has been killed by kill_runner(), and is gone. The sentences are those of OpenWhisk's invoker. */
static void finish_killed(struct function *function)
{
	function->killed = false;
	if (function->outcome.kind == OUTCOME_INTERNAL_ERROR)
		finish_outcome(function, true);
	else if (function->outcome.kind == OUTCOME_TIMED_OUT)
		finish(function, OUTCOME_TIMED_OUT, true,
			function->phase == PHASE_RUNNING
				? "The action exceeded its time limits of %u milliseconds."
				: "The action exceeded its time limits of %u milliseconds during initialization.",
			time_limit(function, function->phase));
	else
		finish(function, OUTCOME_OUT_OF_MEMORY, true, "The action exhausted its memory and was aborted.");
}

static void finish_exited_init(struct function *function, const char *reason)
{
	logs_write_stderr(function->logs, "Command exited abruptly during initialization.");
	finish(function, OUTCOME_INIT_EXITED, true, "Cannot start action. Check logs for details. (%s)", reason);
}

/* The message that a process ended without reading goes to another one: it died of something else. A few
 * times only, for what cannot stay alive long enough to read would be started for ever. */
static bool send_again(struct function *function, struct runner *runner)
{
	enum { ATTEMPTS = 3 };
	struct invocation *head = function->queue;
	enum phase phase = function->phase;
	size_t length = 0;
	cleanup_free char *line = runner_steal_unread(runner, &length);
	struct err err;

	if (line == NULL || ++head->attempts >= ATTEMPTS || start_runner(function, &err) < 0)
		return false;
	if (phase == PHASE_RUNNING) {
		head->body = steal_ptr(&line);
		head->length = length;
		phase = PHASE_REINITIALIZING;
	}
	send_init(function, phase);
	return true;
}

/* Before anything else is done about it. */
static void note_runner_end(struct function *function, const struct runner_end *end)
{
	static const char *const phases[] = {
		[PHASE_IDLE] = "idle",
		[PHASE_UNPACKING] = "unpacking",
		[PHASE_INITIALIZING] = "initializing",
		[PHASE_REINITIALIZING] = "reinitializing",
		[PHASE_RUNNING] = "running",
		[PHASE_ENDING] = "ending",
	};

	if (WIFEXITED(end->wait_status))
		function->metrics.runner_exits[WEXITSTATUS(end->wait_status)]++;
	else if (WTERMSIG(end->wait_status) < FUNCTION_SIGNALS)
		function->metrics.runner_signals[WTERMSIG(end->wait_status)]++;
	server_log(EVENT_RUNNER_ENDED, LOG_TEXT("reason", end->reason), LOG_TEXT("phase", phases[function->phase]),
		LOG_TEXT("activation_id", function->queue != NULL ? function->queue->id : NULL),
		LOG_NUMBER("peak_kb", end->peak_kb));
}

static void on_runner_end(void *context, const struct runner_end *end)
{
	struct function *function = context;
	bool waited_for = function->phase == PHASE_INITIALIZING || function->phase == PHASE_REINITIALIZING ||
		function->phase == PHASE_RUNNING;
	bool was_initialized = function->runner_initialized;
	struct runner *runner = function->runner;
	enum phase phase = function->phase;
	struct err err;

	note_runner_end(function, end);
	function->runner = NULL;
	function->runner_initialized = false;
	function->terminating = false;
	if (waited_for && send_again(function, runner))
		return;
	if (waited_for) {
		function->outcome.wait_status = end->wait_status;
		if (end->peak_kb > function->outcome.peak_kb)
			function->outcome.peak_kb = end->peak_kb;
		if (function->outcome.peak_kb == 0)
			function->outcome.peak_kb = function->cold_start.peak_kb;
	}

	if (phase == PHASE_INITIALIZING)
		forget_failed_init(function);
	/* At once, so that the interpreter's start overlaps the wait for the next invocation; but one that
	 * could not even stay alive idle is not started over and over again. */
	else if (was_initialized && !function->stopping)
		(void) start_runner(function, &err);

	if (waited_for && function->killed)
		finish_killed(function);
	else if (phase == PHASE_RUNNING)
		finish(function, OUTCOME_EXITED, true, "command exited (%s)", end->reason);
	else if (waited_for)
		finish_exited_init(function, end->reason);
	else
		advance(function);
}

/* --- the order of things ----------------------------------------------------------------------------- */

static void advance_one(struct function *function)
{
	struct invocation *invocation = function->queue;

	if (function->stopping) /* nothing ran, so there is no output to wait for */
		refuse_head(function);
	else if (invocation->kind == INVOCATION_RUN)
		start_run(function, invocation);
	else
		start_init(function, invocation);
}

static void advance(struct function *function)
{
	if (function->advancing)
		return;
	/* A loop instead of recursion: refusing a full queue must not need a deep stack. */
	function->advancing = true;
	while (function->phase == PHASE_IDLE && function->queue != NULL) {
		/* Its end is known but not its reason: on_runner_end() comes back here. */
		if (function->runner != NULL && !runner_is_ready(function->runner) && !function->stopping)
			break;
		advance_one(function);
	}
	function->advancing = false;
}

/* invocation is complete but for its on_done and context, and taken over; NULL when there is no memory for it. */
static void submit(struct function *function, enum invocation_kind kind, struct invocation *invocation,
	invocation_done on_done, void *context)
{
	struct outcome full = { .kind = OUTCOME_QUEUE_FULL, .text = "Too many requests are waiting." };

	if (invocation == NULL || function->queued >= LIMIT_QUEUE) {
		if (!function->was_full)
			server_log(EVENT_QUEUE_FULL, LOG_NUMBER("waiting", function->queued));
		function->was_full = true;
		count_outcome(function, kind, OUTCOME_QUEUE_FULL);
		if (invocation != NULL)
			invocation_free(invocation);
		on_done(context, &full);
		return;
	}
	invocation->on_done = on_done;
	invocation->context = context;
	*function->queue_end = invocation;
	function->queue_end = &invocation->next;
	function->queued++;
	advance(function);
}

void function_init(struct function *function, char *body, size_t length, invocation_done on_done, void *context)
{
	struct invocation *invocation = calloc(1, sizeof(*invocation));

	if (invocation != NULL)
		*invocation = (struct invocation) { .kind = INVOCATION_INIT, .body = body, .length = length };
	else
		free(body);
	submit(function, INVOCATION_INIT, invocation, on_done, context);
}

void function_load(struct function *function, struct envelope *envelope, invocation_done on_done, void *context)
{
	struct invocation *invocation = calloc(1, sizeof(*invocation));

	if (invocation != NULL)
		*invocation = (struct invocation) { .kind = INVOCATION_LOAD, .envelope = *envelope };
	else
		envelope_done(envelope);
	*envelope = (struct envelope) { 0 };
	submit(function, INVOCATION_LOAD, invocation, on_done, context);
}

void function_run(struct function *function, const struct platform *platform, invocation_done on_done, void *context)
{
	struct invocation *invocation = calloc(1, sizeof(*invocation));

	if (invocation != NULL)
		*invocation =
			(struct invocation) { .kind = INVOCATION_RUN, .platform = platform, .submitted_us = now_us() };
	submit(function, INVOCATION_RUN, invocation, on_done, context);
	/* An answer that is there when the platform's call returns costs neither it nor the loop a second turn. */
	if (function->phase == PHASE_RUNNING && function->queued == 1)
		runner_look(function->runner);
}

bool function_is_idle(const struct function *function)
{
	return function->queue == NULL && !function->terminating;
}

void function_stop(struct function *function)
{
	if (!function->stopping && function->runner != NULL)
		function->terminating = runner_terminate(function->runner);
	function->stopping = true;
	advance(function);
}

void function_abort(struct function *function)
{
	function->stopping = true;
	discard_runner(function);
	if (function->phase == PHASE_IDLE)
		return;
	loop_timer_clear(function->loop, &function->watchdog);
	function->killed = false;
	/* The code itself stays until function_free(): processes of it may be left that write there. */
	if (function->phase == PHASE_UNPACKING)
		discard_code(function);
	/* Nobody waits for the output any longer. */
	logs_end_activation(function->logs, false, NULL, NULL);
	while (function->queue != NULL)
		refuse_head(function);
	free(function->outcome.payload);
	function->outcome = (struct outcome) { 0 };
	function->phase = PHASE_IDLE;
}

/* --- life -------------------------------------------------------------------------------------------- */

int function_new(struct function **ret_function, struct loop *loop, struct logs *logs,
	const struct function_config *config, struct err *err)
{
	struct function *function = calloc(1, sizeof(*function));
	int r;

	if (function == NULL)
		return err_errno(err, -ENOMEM, "cannot make the function");
	function->loop = loop;
	function->logs = logs;
	function->config = *config;
	function->queue_end = &function->queue;
	function->watchdog = (struct timer) { .on_due = on_watchdog, .context = function };
	r = start_runner(function, err);
	if (r < 0) {
		function_free(function);
		return r;
	}
	*ret_function = function;
	return 0;
}

void function_free(struct function *function)
{
	if (function == NULL)
		return;
	loop_timer_clear(function->loop, &function->watchdog);
	discard_runner(function);
	discard_code(function);
	free(function);
}
