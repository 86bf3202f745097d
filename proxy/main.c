/* pyaction: command line, wiring, and the order of stopping. */
#include "cjson.h"
#include "door.h"
#include "health.h"
#include "limits.h"
#include "options.h"
#include "spawn.h"
#include "status.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum {
	/* After SIGTERM and the grace: how long the answers may take; how often to look. */
	STOP_ANSWERS_MS = 300,
	STOP_POLL_MS = 5,
	/* After SIGTERM: when the removal of the code is over; and how long it may take in any case. */
	STOP_REMOVED_MS = 800,
	STOP_REMOVAL_MS = 100,
	MMAP_THRESHOLD = 16 << 20,
	TRIM_THRESHOLD = 64 << 20,
};

enum exit_status { EXIT_STOPPED = 0, EXIT_SERVER = 1, EXIT_USAGE = 2, EXIT_FUNCTION = 3 };

struct server {
	struct loop *loop;
	struct logs *logs;
	struct function *function;
	struct remover remover;
	struct http_server *http;
	struct http_server *status; /* NULL where there is none */
	struct status_source status_source;
	struct door_metrics door_metrics;
	struct building building;
	const char *code, *handler; /* of a function that is there at the start, for messages */
	enum exit_status exit_status;
	struct timer stop_timer;
	uint64_t stop_since_ms; /* 0: not stopping */
	unsigned grace_ms;      /* how long what is under way may take then */
	bool drain;             /* and what waits is part of it */
	struct user user;
	char runner_path[PATH_MAX];
	char unzip_path[PATH_MAX];
	char untar_path[PATH_MAX];
	char precompiler_path[PATH_MAX];
};

/* The path of a program that belongs to this one: beside it where it was built, in ../libexec where it is
 * installed, below whatever prefix. */
static void find_program(const char *name, char *path, size_t size)
{
	static const char *const places[] = { "/", "/../libexec/pyaction/" };
	char self[PATH_MAX] = "/";
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int directory_length;

	self[length > 0 ? length : 1] = '\0';
	directory_length = (int) (strrchr(self, '/') - self);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		(void) snprintf(path, size, "%.*s%s%s", directory_length, self, places[i], name);
		if (access(path, X_OK) == 0)
			return;
	}
}

static void on_stop_due(void *context)
{
	struct server *server = context;
	uint64_t now_ms = loop_now_ms();
	uint64_t since_ms = now_ms - server->stop_since_ms;

	bool idle = function_is_idle(server->function) && http_is_idle(server->http);

	/* What was to be drained is done, or its time is over: the function gets its SIGTERM. */
	if (server->drain && (idle || since_ms >= server->grace_ms)) {
		server->drain = false;
		function_stop(server->function);
		idle = function_is_idle(server->function);
	}
	if (since_ms >= server->grace_ms && !function_is_idle(server->function)) {
		server_log(EVENT_GRACE_OVER, LOG_NUMBER("grace_ms", server->grace_ms));
		function_abort(server->function);
	}
	if (!server->drain && (idle || since_ms >= server->grace_ms + STOP_ANSWERS_MS))
		loop_stop(server->loop);
	else
		loop_timer_set(server->loop, &server->stop_timer, now_ms + STOP_POLL_MS);
}

static void on_signal(void *context, int signal_number)
{
	struct server *server = context;

	if (server->stop_since_ms != 0) {
		server_log(EVENT_STOP_HURRIED, LOG_NUMBER("signal", signal_number));
		/* Asked twice: no more grace. */
		server->stop_since_ms = loop_now_ms() - server->grace_ms - STOP_ANSWERS_MS;
		return;
	}
	server_log(
		EVENT_SERVER_STOPPING, LOG_NUMBER("signal", signal_number), LOG_NUMBER("grace_ms", server->grace_ms));
	server->stop_since_ms = loop_now_ms();
	http_stop_listening(server->http);
	if (!server->drain)
		function_stop(server->function);
	loop_timer_set(server->loop, &server->stop_timer, server->stop_since_ms);
}

/* Descriptors 0, 1 and 2 must be something: a socket or pipe of ours that got one of these numbers would be
 * taken for the function's input or output. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(fd);
}

static int check_work_dir(const char *path, const struct user *user, struct err *err)
{
	struct stat directory;
	int r;

	if (stat(path, &directory) < 0)
		return err_errno(err, -errno, "cannot use --work-dir (PYACTION_WORK_DIR) '%s'", path);
	if (!S_ISDIR(directory.st_mode))
		return err_set(err, -ENOTDIR, "--work-dir (PYACTION_WORK_DIR) '%s' is not a directory", path);
	if (access(path, W_OK | X_OK) < 0)
		return err_errno(err, -errno, "cannot write to --work-dir (PYACTION_WORK_DIR) '%s'", path);
	r = user_check_path(user, path, err);
	if (r < 0)
		return err_wrap(err, r, "--work-dir (PYACTION_WORK_DIR)");
	r = user_check_directory(user, path, false);
	if (r < 0)
		return err_errno(err, r,
			"the user '%s', who runs the function (--user), cannot reach --work-dir (PYACTION_WORK_DIR) '%s'",
			user->name, path);
	return 0;
}

/* NULL for the one that belongs to this program, which is where it is. */
static int check_runner(const char *path, struct err *err)
{
	if (path != NULL && access(path, X_OK) < 0)
		return err_errno(err, -errno, "cannot use --runner (PYACTION_RUNNER) '%s'", path);
	return 0;
}

/* --- code that is there at the start ----------------------------------------------------------------- */

static bool has_entries(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	bool found = false;

	while (directory != NULL && !found && (entry = readdir(directory)) != NULL)
		found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (directory != NULL)
		(void) closedir(directory);
	return found;
}

/* Where it is; NULL when it will come with /init. */
static const char *find_code(const struct options *options)
{
	if (options->code != NULL)
		return options->code;
	return options->handler != NULL || has_entries(OPTIONS_DEFAULT_CODE) ? OPTIONS_DEFAULT_CODE : NULL;
}

/* SCF's documents hold a whole traceback, which the log has already: its last line says what it was. */
static const char *last_line(const char *text)
{
	const char *line = text;

	for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n'))
		if (at[1] != '\0' && at[1] != '\n')
			line = at + 1;
	return line;
}

/* What went wrong, in one sentence, from whichever vendor's error document. Lambda's has the type apart. */
static void print_load_failure(const struct server *server, const struct outcome *outcome)
{
	cleanup_cjson cJSON *document = outcome->payload != NULL ? cJSON_Parse(outcome->payload) : NULL;
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, "errorType"));
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, "errorMessage"));

	if (text == NULL)
		text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, "error"));
	if (text == NULL)
		text = outcome->payload != NULL ? outcome->payload : outcome->text;
	text = last_line(text);
	(void) fprintf(stderr, "pyaction: cannot load the function: handler '%s' in %s: %s%s%s\n", server->handler,
		server->code, type != NULL ? type : "", type != NULL && text[0] != '\0' ? ": " : "", text);
}

static void on_loaded(void *context, struct outcome *outcome)
{
	struct server *server = context;

	if (outcome->kind == OUTCOME_INITIALIZED || outcome->kind == OUTCOME_STOPPING)
		return;
	print_load_failure(server, outcome);
	server_log(EVENT_LOAD_FAILED, LOG_TEXT("code", server->code), LOG_TEXT("handler", server->handler),
		LOG_TEXT("outcome", outcome_name(outcome->kind)));
	server->exit_status = EXIT_FUNCTION;
	on_signal(server, SIGTERM);
}

/* A function that Knative's service has in variables. */
static void load_dedicated(struct server *server)
{
	size_t length;
	char *body = knative_make_dedicated(&length);

	if (body == NULL)
		return;
	server->code = "__OW_ACTION_CODE";
	server->handler = getenv("__OW_ACTION_MAIN") != NULL ? getenv("__OW_ACTION_MAIN") : "main";
	function_init(server->function, body, length, on_loaded, server);
}

/* SCF's cloud calls its containers at port 9000. */
static const char *scf_port(const struct options *options, const struct envelope *envelope)
{
	enum convention convention = CONVENTION_OPENWHISK;
	const char *reason;
	struct err err;

	if (options->scf_port != NULL)
		return strcmp(options->scf_port, "0") != 0 ? options->scf_port : NULL;
	if (envelope->handler != NULL &&
		convention_choose(options->convention, envelope->handler, &convention, &reason, &err) < 0)
		return NULL; /* loading it will say why */
	return convention == CONVENTION_SCF || getenv("TENCENTCLOUD_RUNENV") != NULL ? "9000" : NULL;
}

static int listen_for_scf(struct server *server, const struct options *options, const char *port, struct err *err)
{
	int r;

	if (port == NULL || strcmp(port, options->port) == 0)
		return 0;
	r = http_listen_also(server->http, options->host, port, "--scf-port, PYACTION_SCF_PORT", err);
	if (r == 0 || options->scf_port != NULL)
		return r;
	/* Nobody asked for it: on a laptop somebody else may have it. */
	(void) fprintf(stderr, "pyaction: %s; go on without it\n", err->text);
	server_log(EVENT_PORT_MISSED, LOG_TEXT("error", err->text));
	return 0;
}

/* --- serving ----------------------------------------------------------------------------------------- */

static int start_function(struct server *server, const struct options *options, struct err *err)
{
	const struct function_config config = {
		.runner_path = options->runner != NULL ? options->runner : server->runner_path,
		.unzip_path = server->unzip_path,
		.untar_path = server->untar_path,
		.precompiler_path = server->precompiler_path,
		.user = &server->user,
		.work_dir = options->work_dir,
		.remover = &server->remover,
		.convention = options->convention,
		.limits = options->limits,
		.tell = options->tell,
	};

	return function_new(&server->function, server->loop, server->logs, &config, err);
}

static int start_http(struct server *server, const struct options *options, struct err *err)
{
	const struct http_config config = {
		.host = options->host,
		.port = options->port,
		.port_option = "--port, PYACTION_PORT",
		.max_body = options->max_body,
		.client_timeout_ms = options->client_timeout_ms,
	};
	struct http_callbacks callbacks;

	server->building = (struct building) { .metrics = &server->door_metrics,
		.function = server->function,
		.max_request = options->max_request,
		.max_response = options->max_response,
		.knative = options->knative };
	callbacks = doors_callbacks(&server->building);
	return http_start(&server->http, server->loop, &config, &callbacks, err);
}

/* A server of its own, so that pollers find it when the function's port has all the connections that it can have. */
static int start_status(struct server *server, const struct options *options, struct err *err)
{
	const struct http_config config = {
		.host = options->host,
		.port = options->status_port,
		.port_option = "--status-port, PYACTION_STATUS_PORT",
		.max_body = LIMIT_STATUS_BODY,
		.max_connections = LIMIT_STATUS_CONNECTIONS,
		.client_timeout_ms = LIMIT_STATUS_IDLE_S * 1000,
		.seldom = true,
	};
	struct http_callbacks callbacks = status_callbacks(&server->status_source);

	if (options->status_port == NULL)
		return 0;
	server->status_source.function = server->function;
	server->status_source.http = server->http;
	server->status_source.doors = &server->door_metrics;
	(void) clock_gettime(CLOCK_REALTIME, &server->status_source.started);
	server->status_source.started_ms = loop_now_ms();
	return http_start(&server->status, server->loop, &config, &callbacks, err);
}

static int serve(struct server *server, const struct options *options, struct envelope *envelope, struct err *err)
{
	const char *other_port = scf_port(options, envelope);
	int r;

	server->grace_ms = options->grace_ms;
	server->drain = options->knative;

	if ((r = check_work_dir(options->work_dir, &server->user, err)) < 0 ||
		(r = check_runner(options->runner, err)) < 0)
		return r;
	if ((r = loop_new(&server->loop, err)) < 0 || (r = logs_new(&server->logs, server->loop, err)) < 0)
		return r;
	remover_init(&server->remover, server->loop);
	server->stop_timer = (struct timer) { .on_due = on_stop_due, .context = server };
	/* Started first: the interpreter comes up while the rest does. */
	if ((r = start_function(server, options, err)) < 0 || (r = start_http(server, options, err)) < 0 ||
		(r = listen_for_scf(server, options, other_port, err)) < 0 ||
		(r = start_status(server, options, err)) < 0)
		return r;
	loop_set_on_signal(server->loop, on_signal, server);
	if (server->code != NULL)
		function_load(server->function, envelope, on_loaded, server);
	else if (options->knative)
		load_dedicated(server);
	return loop_run(server->loop, err);
}

/* When the removal of the code has to be over: a function could make it last as long as it likes. */
static uint64_t removal_end_ms(const struct server *server)
{
	uint64_t end_ms = server->stop_since_ms + STOP_REMOVED_MS;
	uint64_t least_ms = loop_now_ms() + STOP_REMOVAL_MS;

	return end_ms > least_ms ? end_ms : least_ms;
}

static void shut_down(struct server *server)
{
	if (server->function != NULL)
		function_abort(server->function);
	http_free(server->status);
	http_free(server->http);
	/* Before the code is removed: nobody is left then to write there. */
	if (server->loop != NULL)
		spawn_kill_all(server->loop);
	function_free(server->function);
	remover_finish(&server->remover, removal_end_ms(server));
	logs_free(server->logs);
	loop_free(server->loop);
}

static int open_log(const struct options *options, const struct user *user, struct err *err)
{
	int r;

	if (options->log_file == NULL)
		return 0;
	r = server_log_open(options->log_file, options->log_format, options->log_level, user, err);
	if (r < 0)
		return r;
	server_log(EVENT_SERVER_STARTED, LOG_TEXT("version", PYACTION_VERSION), LOG_NUMBER("pid", getpid()),
		LOG_TEXT("log_level", log_level_name(options->log_level)), LOG_TEXT("code", options->code),
		LOG_TEXT("handler", options->handler), LOG_TEXT("convention", options->convention),
		LOG_NUMBER(
			options->limits.timeout_ms != LIMITS_DEFAULT ? "timeout_ms" : NULL, options->limits.timeout_ms),
		LOG_NUMBER(options->limits.memory_mb != LIMITS_DEFAULT ? "memory_mb" : NULL, options->limits.memory_mb),
		LOG_TEXT("work_dir", options->work_dir), LOG_NUMBER("max_body", options->max_body),
		LOG_NUMBER("grace_ms", options->grace_ms), LOG_TEXT("knative", options->knative ? "yes" : NULL));
	return 0;
}

/* The console is told, and the log where there is one. */
static void tell_start_failure(const char *text)
{
	(void) fprintf(stderr, "pyaction: %s\n", text);
	server_log(EVENT_START_FAILED, LOG_TEXT("error", text));
}

/* Gives up for ourselves what the function's user must not get from us. notice: why it is not the one it should be. */
static int confine(const struct server *server, const char *notice, struct err *err)
{
	if (notice[0] != '\0') {
		(void) fprintf(stderr, "pyaction: %s\n", notice);
		server_log(EVENT_USER_KEPT, LOG_TEXT("error", notice));
	}
	return user_confine(&server->user, err);
}

/* Becomes the program that compiles, as the function's user: it runs what packages bring. Returns only where it
 * cannot. */
static enum exit_status compile(const struct options *options)
{
	struct server server = { 0 };
	char path[PATH_MAX], notice[ERR_TEXT_MAX];
	struct err err;
	int r;

	find_program("pycompile", path, sizeof(path));
	r = user_choose(&server.user, options->user, path, notice, &err);
	if (r == 0)
		r = confine(&server, notice, &err);
	if (r == 0 && (r = user_become(&server.user)) < 0)
		(void) err_errno(&err, r, "cannot become the user '%s'", server.user.name);
	if (r == 0) {
		(void) execl(path, path, options->compile, (char *) NULL);
		(void) err_errno(&err, -errno, "cannot start '%s'", path);
	}
	(void) fprintf(stderr, "pyaction: %s\n", err.text);
	return r == -EINVAL ? EXIT_USAGE : EXIT_SERVER;
}

/* Code that is there at the start; *ret_handler is for free(). */
static int take_code(struct server *server, const struct options *options, struct envelope *envelope,
	char **ret_handler, struct err *err)
{
	int r;

	server->code = find_code(options);
	if (server->code == NULL)
		return 0;
	r = envelope_from_path(envelope, server->code, options->handler, err);
	if (r < 0)
		return r;
	*ret_handler = strdup(envelope->handler);
	server->handler = *ret_handler;
	r = envelope->kind == CODE_FOLDER ? user_check_directory(&server->user, envelope->folder, true) : 0;
	if (r < 0)
		return err_errno(err, r,
			"the user '%s', who runs the function (--user root would be root), cannot read the folder '%s'",
			server->user.name, envelope->folder);
	return 0;
}

static void set_up_process(void)
{
	/* Large bodies come from the heap, which keeps what they took until http.c gives it back. */
	(void) mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void) mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) signal(SIGXFSZ, SIG_IGN); /* a log file at its limit of size is no reason to end */
	/* Orphans of the function come to us also when we are not PID 1, to be reaped and, at the end, killed. */
	(void) prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Serves until it is asked to stop. */
static enum exit_status run_server(const struct options *options)
{
	struct server server = { 0 };
	struct envelope envelope = { 0 };
	cleanup_free char *handler = NULL;
	char notice[ERR_TEXT_MAX];
	const char *runner;
	struct err err;
	int r;

	find_program("pyrunner", server.runner_path, sizeof(server.runner_path));
	find_program("pyunpack", server.unzip_path, sizeof(server.unzip_path));
	find_program("pyuntar", server.untar_path, sizeof(server.untar_path));
	find_program("pyprecompile", server.precompiler_path, sizeof(server.precompiler_path));
	runner = options->runner != NULL ? options->runner : server.runner_path;
	if ((r = user_choose(&server.user, options->user, runner, notice, &err)) < 0 ||
		(r = open_log(options, &server.user, &err)) < 0 || (r = confine(&server, notice, &err)) < 0) {
		tell_start_failure(err.text);
		return r == -EINVAL ? EXIT_USAGE : EXIT_SERVER;
	}
	r = take_code(&server, options, &envelope, &handler, &err);
	if (r < 0) {
		(void) err_wrap(&err, r, "--code (PYACTION_CODE)");
		tell_start_failure(err.text);
		envelope_done(&envelope);
		return EXIT_FUNCTION;
	}
	r = serve(&server, options, &envelope, &err);
	shut_down(&server);
	envelope_done(&envelope);
	if (r < 0) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, the handler has a cleanup attribute. */
		tell_start_failure(err.text);
		return EXIT_SERVER;
	}
	server_log(EVENT_SERVER_STOPPED, LOG_NUMBER("exit_status", server.exit_status));
	return server.exit_status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct err err;
	int r;

	open_standard_descriptors();
	r = options_parse(&options, argc, argv, &err);
	if (r < 0) {
		(void) fprintf(stderr, "pyaction: %s\nTry 'pyaction --help'.\n", err.text);
		return EXIT_USAGE;
	}
	if (r == OPTIONS_DONE)
		return EXIT_STOPPED;
	if (r == OPTIONS_COMPILE)
		return (int) compile(&options);
	set_up_process();
	if (r == OPTIONS_RUN)
		return (int) run_server(&options);
	if (health_check(options.host, options.port, &err) < 0) {
		(void) fprintf(stderr, "pyaction: %s\n", err.text);
		return EXIT_SERVER;
	}
	return EXIT_STOPPED;
}
