#include "function.h"

#include "code_dir.h"
#include "envelope.h"
#include "json.h"
#include "limits.h"
#include "runner.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the invocation at the head of the queue is waiting for. */
enum phase {
	PHASE_IDLE,           /* nothing is under way */
	PHASE_UNPACKING,      /* init: the unpacker */
	PHASE_INITIALIZING,   /* init: the runner loads the code */
	PHASE_REINITIALIZING, /* run: a fresh runner loads the code it had before */
	PHASE_RUNNING,        /* run: the handler */
	PHASE_ENDING,         /* its output is being written */
};

struct invocation {
	enum invocation_kind kind;
	char *body;
	size_t length;
	void (*on_done)(void *context, struct outcome *outcome);
	void *context;
	int attempts; /* runners that ended before they read its message */
	struct invocation *next;
};

struct function {
	struct loop *loop;
	struct logs *logs;
	struct function_config config;

	struct invocation *queue, **queue_end;
	size_t queued;
	enum phase phase;
	struct outcome outcome; /* of the head, in PHASE_ENDING */
	bool advancing;
	bool stopping;
	bool terminating; /* the runner has been sent SIGTERM and has not ended */

	struct runner *runner;
	bool runner_initialized;

	/* The code: there is some when initialized is set or an init is under way. */
	bool initialized;
	struct code_dir *code_dir;
	struct envelope envelope; /* of the code; the code text itself is dropped once it is on disk */
	char *init_line;
	size_t init_line_length;
};

static void advance(struct function *function);

/* --- the runner -------------------------------------------------------------------------------------- */

static void on_runner_reply(void *context, struct reply *reply);
static void on_runner_end(void *context, const char *reason);

static int start_runner(struct function *function, struct err *err)
{
	const struct runner_config config = {
		.path = function->config.runner_path,
		.stdout_fd = logs_stdout_fd(function->logs),
		.stderr_fd = logs_stderr_fd(function->logs),
		.extra_environment = function->envelope.start_variables,
	};
	const struct runner_callbacks callbacks = {
		.on_reply = on_runner_reply, .on_end = on_runner_end, .context = function
	};

	if (function->runner != NULL)
		return 0;
	function->runner_initialized = false;
	return runner_start(&function->runner, function->loop, &config, &callbacks, err);
}

static void discard_runner(struct function *function)
{
	if (function->runner != NULL)
		runner_discard(function->runner);
	function->runner = NULL;
	function->terminating = false;
	function->runner_initialized = false;
}

/* --- the code ---------------------------------------------------------------------------------------- */

static void discard_code(struct function *function)
{
	code_dir_free(function->code_dir);
	function->code_dir = NULL;
	envelope_done(&function->envelope);
	free(function->init_line);
	function->init_line = NULL;
	function->initialized = false;
}

static int make_init_line(struct function *function, struct err *err)
{
	const struct envelope *envelope = &function->envelope;
	const char *path = code_dir_path(function->code_dir);
	FILE *line = open_memstream(&function->init_line, &function->init_line_length);

	if (line == NULL)
		return err_errno(err, -ENOMEM, "cannot make the message to the runner");
	(void) fputs("{\"path\":", line);
	json_write_string(line, path, strlen(path));
	(void) fputs(",\"handler\":", line);
	json_write_string(line, envelope->handler, strlen(envelope->handler));
	(void) fprintf(line, ",\"source\":%s,\"env\":%s}", envelope->kind == CODE_SOURCE ? "true" : "false",
		envelope->environment);
	if (fclose(line) != 0)
		return err_errno(err, -ENOMEM, "cannot make the message to the runner");
	return 0;
}

/* --- the queue --------------------------------------------------------------------------------------- */

static void pop_and_tell(struct function *function, struct outcome *outcome)
{
	struct invocation *invocation = function->queue;

	function->queue = invocation->next;
	if (function->queue == NULL)
		function->queue_end = &function->queue;
	function->queued--;
	invocation->on_done(invocation->context, outcome);
	free(outcome->payload);
	free(invocation->body);
	free(invocation);
}

static void refuse_head(struct function *function)
{
	struct outcome outcome = { .kind = OUTCOME_STOPPING, .text = "The server is shutting down." };

	pop_and_tell(function, &outcome);
}

static void on_output_written(void *context)
{
	struct function *function = context;
	struct outcome outcome = function->outcome;

	function->outcome = (struct outcome) { 0 };
	function->phase = PHASE_IDLE;
	pop_and_tell(function, &outcome);
	advance(function);
}

/* Ends the head of the queue with function->outcome as it stands. An activation, successful or not, has its
 * markers; what ran nothing has none, for a marker too many would end the next activation's log early. */
static void finish_outcome(struct function *function, bool markers)
{
	function->phase = PHASE_ENDING;
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

static void finish_with_payload(struct function *function, enum outcome_kind kind, bool markers, struct reply *reply)
{
	function->outcome.kind = kind;
	function->outcome.payload_length = reply->payload_length;
	function->outcome.payload = steal_ptr(&reply->payload);
	finish_outcome(function, markers);
}

/* --- init -------------------------------------------------------------------------------------------- */

/* The code did not load: the next init finds everything as if this one had never been. */
static void forget_failed_init(struct function *function)
{
	struct err err;

	discard_runner(function);
	discard_code(function);
	/* Should it fail, the next invocation tries again and tells. */
	(void) start_runner(function, &err);
}

static void send_init(struct function *function, enum phase phase)
{
	char *line = malloc(function->init_line_length + 1);

	if (line == NULL) {
		finish(function, OUTCOME_INTERNAL_ERROR, false, "Out of memory for the message to the runner.");
		return;
	}
	memcpy(line, function->init_line, function->init_line_length);
	function->phase = phase;
	runner_send(function->runner, line, function->init_line_length);
}

static void initialize(struct function *function)
{
	struct err err;

	/* They must be there when the process starts; and a runner that is there has none of them. */
	if (function->envelope.start_variables != NULL)
		discard_runner(function);
	if (make_init_line(function, &err) < 0 || start_runner(function, &err) < 0) {
		discard_code(function);
		finish(function, OUTCOME_INTERNAL_ERROR, false, "%s", err.text);
		return;
	}
	send_init(function, PHASE_INITIALIZING);
}

static void on_unpacked(void *context, const char *problem)
{
	struct function *function = context;

	if (problem == NULL) {
		initialize(function);
		return;
	}
	discard_code(function);
	logs_write_stderr(function->logs, problem);
	finish(function, OUTCOME_INIT_FAILED, true,
		"The action failed to generate or locate a binary. See logs for details. (%s)", problem);
}

static int place_code(struct function *function, struct err *err)
{
	struct envelope *envelope = &function->envelope;
	int r;

	r = code_dir_new(&function->code_dir, function->config.work_dir, err);
	if (r < 0)
		return r;
	if (envelope->kind == CODE_SOURCE)
		r = code_dir_write(function->code_dir, "__main__.py", envelope->code, envelope->code_length, err);
	else
		r = code_dir_unpack(function->code_dir, function->loop, function->config.unpacker_path, envelope->code,
			envelope->code_length, on_unpacked, function, err);
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
	r = envelope_parse(&function->envelope, invocation->body, invocation->length, &err);
	if (r < 0) {
		finish(function, r == -ENODATA ? OUTCOME_NO_CODE_GIVEN : OUTCOME_BAD_REQUEST, false, "%s", err.text);
		return;
	}
	free(invocation->body); /* as large as the code, which has been copied */
	invocation->body = NULL;

	function->phase = PHASE_UNPACKING;
	r = place_code(function, &err);
	if (r < 0) {
		discard_code(function);
		finish(function, OUTCOME_INTERNAL_ERROR, false, "%s", err.text);
	} else if (function->envelope.kind == CODE_SOURCE) {
		initialize(function);
	}
}

/* --- run --------------------------------------------------------------------------------------------- */

static void send_run(struct function *function)
{
	struct invocation *invocation = function->queue;

	function->phase = PHASE_RUNNING;
	runner_send(function->runner, steal_ptr(&invocation->body), invocation->length);
}

static void start_run(struct function *function, struct invocation *invocation)
{
	struct err err;

	if (!function->initialized) {
		finish(function, OUTCOME_NOT_INITIALIZED, false, "no action defined yet");
		return;
	}
	/* It becomes one line. Between JSON's tokens a newline is white space, and so is a carriage return;
	 * inside a string both are errors, which the runner is left to report. */
	for (char *at = invocation->body;
		(at = memchr(at, '\n', invocation->length - (size_t) (at - invocation->body)));)
		*at = '\r';
	if (start_runner(function, &err) < 0)
		finish(function, OUTCOME_INTERNAL_ERROR, false, "%s", err.text);
	else if (function->runner_initialized)
		send_run(function);
	else
		send_init(function, PHASE_REINITIALIZING);
}

/* --- what the runner brings -------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum outcome_kind kind;
	bool markers;
} statuses[] = {
	{ "success", OUTCOME_SUCCESS, true },
	{ "application_error", OUTCOME_APPLICATION_ERROR, true },
	{ "function_error", OUTCOME_FUNCTION_ERROR, true },
	{ "bad_request", OUTCOME_BAD_REQUEST, false },
	{ "initialized", OUTCOME_INITIALIZED, false },
	{ "init_failed", OUTCOME_INIT_FAILED, true },
};

/* The index in statuses of what a status line says, -1 when it says none of them. */
static int parse_status(const char *line)
{
	cJSON *root = cJSON_Parse(line);
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "status"));
	int found = -1;

	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(statuses); i++)
		if (strcmp(statuses[i].name, name) == 0)
			found = (int) i;
	cJSON_Delete(root);
	return found;
}

static void take_init_reply(struct function *function, struct reply *reply, int status)
{
	bool first_time = function->phase == PHASE_INITIALIZING;

	if (statuses[status].kind == OUTCOME_INITIALIZED) {
		function->runner_initialized = true;
		function->initialized = true;
		if (first_time)
			finish_with_payload(function, OUTCOME_INITIALIZED, false, reply);
		else
			send_run(function);
		return;
	}
	if (first_time)
		forget_failed_init(function);
	else
		discard_runner(function);
	finish_with_payload(function, statuses[status].kind, statuses[status].markers, reply);
}

static void on_runner_reply(void *context, struct reply *reply)
{
	struct function *function = context;
	int status = parse_status(reply->status);
	bool loading = function->phase == PHASE_INITIALIZING || function->phase == PHASE_REINITIALIZING;
	bool about_loading = status >= 0 &&
		(statuses[status].kind == OUTCOME_INITIALIZED || statuses[status].kind == OUTCOME_INIT_FAILED);

	if (status < 0 || (loading != about_loading && statuses[status].kind != OUTCOME_BAD_REQUEST)) {
		discard_runner(function);
		if (!function->initialized)
			discard_code(function);
		finish(function, OUTCOME_INTERNAL_ERROR, true, "The runner answered with an unknown status: %.200s",
			reply->status);
	} else if (loading) {
		take_init_reply(function, reply, status);
	} else {
		finish_with_payload(function, statuses[status].kind, statuses[status].markers, reply);
	}
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

static void on_runner_end(void *context, const char *reason)
{
	struct function *function = context;
	bool waited_for = function->phase == PHASE_INITIALIZING || function->phase == PHASE_REINITIALIZING ||
		function->phase == PHASE_RUNNING;
	bool was_initialized = function->runner_initialized;
	struct runner *runner = function->runner;
	enum phase phase = function->phase;
	struct err err;

	function->runner = NULL;
	function->runner_initialized = false;
	function->terminating = false;
	if (waited_for && send_again(function, runner))
		return;

	if (phase == PHASE_INITIALIZING)
		forget_failed_init(function);
	/* At once, so that the interpreter's start overlaps the wait for the next invocation; but one that
	 * could not even stay alive idle is not started over and over again. */
	else if (was_initialized && !function->stopping)
		(void) start_runner(function, &err);

	if (phase == PHASE_RUNNING)
		finish(function, OUTCOME_EXITED, true, "command exited (%s)", reason);
	else if (waited_for)
		finish_exited_init(function, reason);
	else
		advance(function);
}

/* --- the order of things ----------------------------------------------------------------------------- */

static void advance_one(struct function *function)
{
	struct invocation *invocation = function->queue;

	if (function->stopping) /* nothing ran, so there is no output to wait for */
		refuse_head(function);
	else if (invocation->kind == INVOCATION_INIT)
		start_init(function, invocation);
	else
		start_run(function, invocation);
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

void function_submit(struct function *function, enum invocation_kind kind, char *body, size_t length,
	void (*on_done)(void *context, struct outcome *outcome), void *context)
{
	struct outcome full = { .kind = OUTCOME_QUEUE_FULL, .text = "Too many requests are waiting." };
	struct invocation *invocation = NULL;

	if (function->queued < LIMIT_QUEUE)
		invocation = calloc(1, sizeof(*invocation));
	if (invocation == NULL) {
		free(body);
		on_done(context, &full);
		return;
	}
	*invocation = (struct invocation) {
		.kind = kind, .body = body, .length = length, .on_done = on_done, .context = context
	};
	*function->queue_end = invocation;
	function->queue_end = &invocation->next;
	function->queued++;
	advance(function);
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
	if (!function->initialized)
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
	discard_runner(function);
	discard_code(function);
	free(function);
}
