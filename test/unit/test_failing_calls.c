/* Every call of the system and of libraries fails once, in turn (fail_calls.h): what follows is an error with a
 * sentence, or an answer all the same; nothing stays open, and under a sanitizer nothing stays allocated. */
#include "../../proxy/archive.h"
#include "../../proxy/base64.h"
#include "../../proxy/code_dir.h"
#include "../../proxy/door.h"
#include "../../proxy/health.h"
#include "../../proxy/json.h"
#include "../../proxy/options.h"
#include "../../proxy/precompiler.h"
#include "../../proxy/reply.h"
#include "../../proxy/spawn.h"

#include "fail_calls.h"
#include "runner_double.h"
#include "tap.h"
#include "tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <zip.h>

static char self[PATH_MAX];
static char *folder; /* for files that a test makes itself, and the work directory below it */
static char work_dir[PATH_MAX];

/* --- the walk ---------------------------------------------------------------------------------------- */

/* What an operation came to: 0, or the negative errno of a failure with a sentence in err. */
typedef int (*operation)(struct err *err);

/* So that no walk goes on for ever: none has half as many calls. */
enum { CALLS_MAX = 5000 };

static bool check_step(int r, const struct err *err, const char *failed, int fds)
{
	bool fine = true;
	int open_fds = count_open_fds();

	if (open_fds != fds) {
		diag("%s fails: %d descriptors are open, %d were", failed, open_fds, fds);
		fine = false;
	}
	if (r < 0 && err->text[0] == '\0') {
		diag("%s fails: no sentence", failed);
		fine = false;
	}
	if (r > 0) {
		diag("%s fails: %s", failed, err->text);
		fine = false;
	}
	return fine;
}

static void walk_mode(const char *what, operation operate, enum fail_mode mode)
{
	int fds = count_open_fds(), r = -1;
	const char *failed = "";
	bool fine = true;
	unsigned n = 0;

	while (failed != NULL && n < CALLS_MAX) {
		struct err err = { .text = "" };

		fail_calls_begin(mode, ++n);
		r = operate(&err);
		failed = fail_calls_end();
		if (!check_step(r, &err, failed != NULL ? failed : "none", fds)) {
			diag("... in step %u", n);
			fine = false;
		}
		if (failed == NULL && r < 0)
			diag("nothing fails, and yet: %s", err.text);
	}
	ok(fine && (n > 1 || mode != FAIL_ONE), "%s: each of %u calls fails%s", what, n - 1,
		mode == FAIL_ONE ? "" : ", and all behind it");
	ok(r == 0 && failed == NULL, "... and it works when none does");
}

static void walk(const char *what, operation operate)
{
	walk_mode(what, operate, FAIL_ONE);
	walk_mode(what, operate, FAIL_ALL_MEMORY);
}

/* A failure that the operation has to have a sentence for. Positive: it does not hold what it promises. */
static int broken(struct err *err, const char *what)
{
	return err_set(err, 1, "%s", what);
}

/* --- memory ------------------------------------------------------------------------------------------ */

static int encode(struct err *err)
{
	size_t length = 0;
	cleanup_free char *text = base64_encode("abc", 3, &length);

	if (text == NULL)
		return err_set(err, -ENOMEM, "none");
	return length == 4 && strcmp(text, "YWJj") == 0 ? 0 : broken(err, text);
}

static int make_document(struct err *err)
{
	size_t length = 0;
	cleanup_free char *text = json_error_document("\"", &length);

	if (text == NULL)
		return err_set(err, -ENOMEM, "none");
	return strcmp(text, "{\"error\":\"\\\"\"}\n") == 0 && length == strlen(text) ? 0 : broken(err, text);
}

static int read_reply(struct err *err)
{
	static const char start[] = "{\"status\":\"success\"}\n\"";
	static char long_part[100000];
	struct reply reply = { 0 };
	size_t size = 0;
	char *space;
	int r = reply_feed(&reply, start, strlen(start), SIZE_MAX, err);

	memset(long_part, 'x', sizeof(long_part));
	space = r == 0 ? reply_direct_space(&reply, &size) : NULL;
	if (space != NULL) {
		memset(space, 'y', size);
		r = reply_direct_commit(&reply, size, SIZE_MAX, err);
	}
	if (r == 0)
		r = reply_feed(&reply, long_part, sizeof(long_part), SIZE_MAX, err);
	if (r == 0)
		r = reply_feed(&reply, "\"\n", 2, SIZE_MAX, err);
	if (r == 0 && (!reply.complete || reply.payload_length != size + sizeof(long_part) + 2))
		r = broken(err, "the reply is not complete");
	reply_reset(&reply);
	return r;
}

#define START_VARIABLES "\"LANG\":\"de\",\"MALLOC_ARENA_MAX\":1,\"OTHER\":\"x\",\"PYACTION_CONVENTION\":\"openwhisk\""

static int parse_envelope(struct err *err)
{
	static const char text[] =
		"{\"value\":{\"main\":\"f\",\"code\":\"YWJj\",\"binary\":true,\"env\":{" START_VARIABLES "}}}";
	struct envelope envelope = { 0 };
	int r = envelope_parse(&envelope, text, strlen(text), err);

	if (r == 0 &&
		(strcmp(envelope.code, "abc") != 0 || strcmp(envelope.handler, "f") != 0 ||
			envelope.start_variables[0] == NULL || envelope.start_variables[1] == NULL))
		r = broken(err, "the envelope is not complete");
	envelope_done(&envelope);
	return r;
}

/* --- files ------------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text, size_t length)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, length) != (ssize_t) length)
		bail_out("cannot write %s", path_of(name));
	(void) close(fd);
}

static int take_from(const char *name, const char *handler, enum code_kind kind, struct err *err)
{
	struct envelope envelope = { 0 };
	int r = envelope_from_path(&envelope, path_of(name), handler, err);

	if (r == 0 &&
		(envelope.kind != kind || envelope.handler == NULL || envelope.environment == NULL ||
			(envelope.folder == NULL) == (envelope.code == NULL)))
		r = broken(err, "the envelope is not complete");
	envelope_done(&envelope);
	return r;
}

static int take_folder(struct err *err)
{
	return take_from("", NULL, CODE_FOLDER, err);
}

static int take_source(struct err *err)
{
	int r = take_from("source.py", NULL, CODE_FOLDER, err);

	return r == 0 ? take_from("source.py", "source.f", CODE_FOLDER, err) : r;
}

static int take_archive(struct err *err)
{
	return take_from("archive.zip", NULL, CODE_ZIP, err);
}

/* A directory, a file in it, a link; read back as bytes. */
static void make_zip(void)
{
	const zip_uint32_t link = 0120777U << 16;
	zip_t *zip = zip_open(path_of("archive.zip"), ZIP_CREATE | ZIP_TRUNCATE, NULL);

	if (zip == NULL || zip_dir_add(zip, "d", 0) < 0 ||
		zip_file_add(zip, "d/__main__.py", zip_source_buffer(zip, "x = 1\n", 6, 0), 0) < 0 ||
		zip_file_add(zip, "link", zip_source_buffer(zip, "d", 1, 0), 0) < 0 ||
		zip_file_set_external_attributes(zip, 2, 0, ZIP_OPSYS_UNIX, link) < 0 || zip_close(zip) < 0)
		bail_out("cannot make a zip");
}

static size_t read_zip(char *to, size_t size)
{
	int fd = open(path_of("archive.zip"), O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, to, size);

	fd_close(fd);
	if (length <= 0)
		bail_out("cannot read the zip");
	return (size_t) length;
}

static int unpack(struct err *err)
{
	const struct archive_limits limits = { .bytes = 1000, .entries = 10 };
	static char zip[2000];
	static size_t length;
	char *to;
	int fd, r;

	fail_calls_hold(true);
	length = read_zip(zip, sizeof(zip));
	to = tree_new();
	fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fail_calls_hold(false);
	r = archive_unpack(zip, length, fd, &limits, err);
	fail_calls_hold(true);
	if (r == 0) {
		cleanup_free char *shown = tree_show(to);

		if (strcmp(shown, "d/ 755\nd/__main__.py 666 'x = 1\\x0a'\nlink -> d\n") != 0)
			r = broken(err, shown);
	}
	fd_close(fd);
	tree_free(to);
	fail_calls_hold(false);
	return r;
}

/* What makes one of the calls that remove a tree fail must not keep it from being removed the next time. */
static bool work_dir_is_empty(void)
{
	cleanup_free char *shown = tree_show(work_dir);

	return shown[0] == '\0';
}

static int fill_code_dir(struct err *err)
{
	struct code_dir *dir = NULL;
	char to[PATH_MAX] = "", below[PATH_MAX + 8];
	int r = code_dir_new(&dir, work_dir, NULL, NULL, err);

	if (r == 0)
		r = code_dir_write(dir, "__main__.py", "x = 1\n", 6, err);
	if (r == 0) {
		fail_calls_hold(true);
		(void) mkdir(path_of("work/tree"), 0755);
		(void) mkdir(path_of("work/tree/below"), 0755);
		write_file("work/tree/below/file", "", 0);
		(void) chmod(path_of("work/tree/below"), 0);
		(void) snprintf(to, sizeof(to), "%s/tree", code_dir_path(dir));
		(void) rename(path_of("work/tree"), to);
		fail_calls_hold(false);
	}
	code_dir_free(dir);
	fail_calls_hold(true);
	/* Removing it is as far as that is possible: what is left of a failure is not this one's fault. */
	(void) chmod(path_of("work"), 0700);
	(void) snprintf(below, sizeof(below), "%s/below", to);
	(void) chmod(below, 0700);
	(void) chmod(path_of("work/tree/below"), 0700);
	tree_empty(work_dir);
	if (!work_dir_is_empty())
		r = broken(err, "the work directory is not empty");
	fail_calls_hold(false);
	return r;
}

/* --- a loop, and what is started in it --------------------------------------------------------------- */

static int make_loop(struct err *err)
{
	struct loop *loop = NULL;
	int r = loop_new(&loop, err);

	loop_free(loop);
	return r;
}

static void stop_loop(void *context)
{
	loop_stop(context);
}

static void on_limit(void *context)
{
	bool *too_long = context;

	*too_long = true;
}

/* Runs the loop until somebody stops it. */
static int run_loop(struct loop *loop, struct err *err)
{
	enum { LIMIT_MS = 10000 };
	bool too_long = false;
	struct timer limit = { .on_due = on_limit, .context = &too_long };
	struct timer end = { .on_due = stop_loop, .context = loop };
	int r;

	loop_timer_set(loop, &limit, loop_now_ms() + LIMIT_MS);
	loop_timer_set(loop, &end, loop_now_ms() + LIMIT_MS);
	r = loop_run(loop, err);
	loop_timer_clear(loop, &limit);
	loop_timer_clear(loop, &end);
	return too_long ? broken(err, "it never comes to an end") : r;
}

static int write_logs(struct err *err)
{
	struct loop *loop = NULL;
	struct logs *logs = NULL;
	int r = loop_new(&loop, err);

	if (r == 0)
		r = logs_new(&logs, loop, err);
	if (r == 0) {
		size_t length = 0;

		logs_begin_activation(logs, "START\n", true);
		fail_calls_hold(true);
		(void) !write(logs_stdout_fd(logs), "out", 3);
		fail_calls_hold(false);
		logs_write_stderr(logs, "a line");
		logs_write_stdout(logs, "END\n");
		logs_end_activation(logs, true, stop_loop, loop);
		r = run_loop(loop, err);
		free(logs_steal_tail(logs, &length));
	}
	logs_free(logs);
	loop_free(loop);
	return r;
}

static int precompile(struct err *err)
{
	struct precompiler *precompiler = NULL;
	struct loop *loop = NULL;
	int r = loop_new(&loop, err);

	if (r == 0)
		r = precompiler_start(&precompiler, loop, self, NULL, "precompiler", "main", err);
	if (r == 0) {
		precompiler_begin(precompiler);
		precompiler_stop(precompiler);
	}
	precompiler_free(precompiler);
	loop_free(loop);
	return r == -ENOTSUP ? 0 : r; /* one processor */
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in address = { 0 };
	socklen_t length = sizeof(address);

	return getsockname(fd, (struct sockaddr *) &address, &length) == 0 ? address.sin_port : 0;
}

static int check_health(struct err *err)
{
	const struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char port[8];
	int fd, r;

	fail_calls_hold(true);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (const struct sockaddr *) &any, sizeof(any)) < 0 || listen(fd, 5) < 0)
		bail_out("cannot listen");
	(void) snprintf(port, sizeof(port), "%u", ntohs(port_of(fd)));
	fail_calls_hold(false);
	r = health_check("0.0.0.0", port, err);
	fd_close(fd);
	return r;
}

/* --- all of it: a server and its requests ------------------------------------------------------------ */

struct exchange {
	const char *path, *headers, *body;
	int status; /* that it has when nothing fails */
};

#define SOURCE "{\"value\":{\"code\":\"x\",\"env\":{\"LANG\":\"C\"}}}"
#define ARCHIVE "{\"value\":{\"code\":\"UEtnb29k\",\"binary\":true}}"
#define LAMBDA "/2015-03-31/functions/function/invocations"
#define TAIL "X-Amz-Log-Type: Tail\r\nX-Amz-Client-Context: e30=\r\n"
#define BIG "{\"value\":\"<big 300000>\"}"

static const struct exchange with_source[] = {
	{ "/run", "", "{}", 500 },
	{ "/init", "", SOURCE, 200 },
	{ "/run", "", "{\"value\":{\"a\":1}}", 200 },
	{ "/run", "", "{\"value\":\"<out a~;err b~;reply application_error>\"}", 200 },
	{ LAMBDA, TAIL, "{\"a\":\"<out line~;reply success>\"}", 200 },
	{ LAMBDA, "", "no JSON", 200 },
	{ LAMBDA, "X-Amz-Invocation-Type: Event\r\n", "1", 202 },
	{ LAMBDA, "X-Amz-Invocation-Type: None\r\n", "1", 400 },
	{ "/event-invoke", "X-Scf-Request-Id: a\r\n", "{}", 200 },
	{ "/run", "", BIG, 200 },
	{ "/run", "", "{\"value\":\"<exit 3>\"}", 400 },
	{ "/run", "", "{}", 200 },
	{ "/nowhere", "", "", 404 },
};

static const struct exchange with_archive[] = {
	{ "/init", "", ARCHIVE, 200 },
	{ "/run", "", "{}", 200 },
};

static const struct exchange knative[] = {
	{ "/?a=b&c", "", "{\"init\":{\"code\":\"x\"},\"value\":{}}", 200 },
	{ "/?a=b&c", "X-A: b\r\n", "{\"value\":{\"a\":1}}", 200 },
};

static struct {
	struct loop *loop;
	struct logs *logs;
	struct function *function;
	struct http_server *http;
	struct building building;
	struct timer tick;
	struct watch client;
	const struct exchange *exchanges;
	size_t count, at;
	bool asked; /* the one at has been sent */
	uint16_t port;
	char answer[4096];
	size_t length;
	bool all_answered, statuses_right;
	char wrong_answer[200]; /* the first one */
} run;

static uint16_t find_port(void)
{
	for (int fd = 3; fd < 100; fd++) {
		socklen_t length = sizeof(int);
		int listens = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0)
			return port_of(fd);
	}
	return 0;
}

static void send_request(const struct exchange *exchange)
{
	const struct sockaddr_in server = {
		.sin_family = AF_INET, .sin_port = run.port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	char request[2000];
	struct err err;
	int length = snprintf(request, sizeof(request),
		"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", exchange->path,
		strlen(exchange->body), exchange->headers, exchange->body);

	run.length = 0;
	run.asked = true;
	run.client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (run.client.fd < 0 || connect(run.client.fd, (const struct sockaddr *) &server, sizeof(server)) < 0 ||
		send(run.client.fd, request, (size_t) length, MSG_NOSIGNAL) != length ||
		loop_watch(run.loop, &run.client, EPOLLIN, &err) < 0)
		bail_out("cannot send a request");
}

/* Whether the server has closed the connection. What does not fit is dropped. */
static bool receive(void)
{
	for (;;) {
		char rest[65536];
		ssize_t count = recv(run.client.fd, rest, sizeof(rest), MSG_DONTWAIT);
		size_t space = sizeof(run.answer) - 1 - run.length;

		if (count < 0 && errno == EAGAIN)
			return false;
		if (count <= 0)
			return true;
		memcpy(run.answer + run.length, rest, (size_t) count < space ? (size_t) count : space);
		run.length += (size_t) count < space ? (size_t) count : space;
	}
}

/* A client that gets no answer is told by the end of its connection. */
static void end_exchange(void)
{
	int status = 0;

	run.answer[run.length] = '\0';
	(void) sscanf(run.answer, "HTTP/1.1 %d", &status);
	if (run.statuses_right && status != run.exchanges[run.at].status)
		(void) snprintf(run.wrong_answer, sizeof(run.wrong_answer), "%s %.50s was answered %.120s",
			run.exchanges[run.at].path, run.exchanges[run.at].body, run.answer);
	run.statuses_right = run.statuses_right && status == run.exchanges[run.at].status;
	loop_unwatch(run.loop, &run.client);
	fd_closep(&run.client.fd);
	run.asked = false;
	run.at++;
}

static void client_turn(void)
{
	fail_calls_hold(true);
	if (run.asked && receive())
		end_exchange();
	if (!run.asked && run.at < run.count)
		send_request(&run.exchanges[run.at]);
	run.all_answered = run.at == run.count;
	fail_calls_hold(false);
}

static void on_client_ready(void *context, uint32_t events)
{
	(void) context;
	(void) events;
	client_turn();
}

static void on_tick(void *context)
{
	enum { TICK_MS = 2 };

	(void) context;
	client_turn();
	/* An asynchronous call may still be under way. */
	if (run.all_answered && function_is_idle(run.function))
		loop_stop(run.loop);
	else
		loop_timer_set(run.loop, &run.tick, loop_now_ms() + TICK_MS);
}

static int start_server(struct err *err)
{
	const struct function_config function_config = { .runner_path = self,
		.unzip_path = self,
		.untar_path = self,
		.precompiler_path = self,
		.work_dir = work_dir,
		.limits = { .timeout_ms = 5000, .memory_mb = LIMITS_DEFAULT },
		.tell = true };
	const struct http_config http_config = { .host = "127.0.0.1", .port = "0", .max_body = 1000000 };
	struct http_callbacks callbacks;
	int r;

	if ((r = loop_new(&run.loop, err)) < 0 || (r = logs_new(&run.logs, run.loop, err)) < 0 ||
		(r = function_new(&run.function, run.loop, run.logs, &function_config, err)) < 0)
		return r;
	run.building.function = run.function;
	callbacks = doors_callbacks(&run.building);
	r = http_start(&run.http, run.loop, &http_config, &callbacks, err);
	return r < 0 ? r : http_listen_also(run.http, "127.0.0.1", "0", "--scf-port", err);
}

/* As main.c has it. */
static void stop_server(void)
{
	if (run.function != NULL)
		function_abort(run.function);
	http_free(run.http);
	if (run.loop != NULL)
		spawn_kill_descendants(run.loop);
	function_free(run.function);
	logs_free(run.logs);
	loop_free(run.loop);
}

static int serve(struct err *err)
{
	int r;

	if ((r = start_server(err)) < 0)
		return r;
	fail_calls_hold(true);
	run.port = find_port();
	fail_calls_hold(false);
	run.tick = (struct timer) { .on_due = on_tick };
	loop_timer_set(run.loop, &run.tick, 0);
	r = run_loop(run.loop, err);
	if (r == 0 && !run.all_answered)
		r = broken(err, "not all requests have been answered");
	if (r == 0)
		http_stop_listening(run.http);
	return r;
}

static int serve_all(const struct exchange *exchanges, size_t count, bool is_knative, struct err *err)
{
	int r;

	memset(&run, 0, sizeof(run));
	run.building.max_request = run.building.max_response = SIZE_MAX;
	run.building.knative = is_knative;
	run.exchanges = exchanges;
	run.count = count;
	run.client = (struct watch) { .fd = -1, .on_ready = on_client_ready };
	run.statuses_right = true;
	r = serve(err);
	if (r > 0 && run.at < run.count)
		diag("%s %s", run.exchanges[run.at].path, run.exchanges[run.at].body);
	stop_server();
	fail_calls_hold(true);
	fd_close(run.client.fd);
	tree_empty(work_dir);
	fail_calls_hold(false);
	if (r == 0 && !run.statuses_right)
		r = err_set(err, -EIO, "%s", run.wrong_answer);
	return r;
}

static int serve_source(struct err *err)
{
	return serve_all(with_source, ARRAY_SIZE(with_source), false, err);
}

static int serve_archive(struct err *err)
{
	return serve_all(with_archive, ARRAY_SIZE(with_archive), false, err);
}

static int serve_knative(struct err *err)
{
	return serve_all(knative, ARRAY_SIZE(knative), true, err);
}

/* ----------------------------------------------------------------------------------------------------- */

/* Of a sanitizer's runtime, where there is one. */
void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

static void set_up(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (__sanitizer_set_report_fd != NULL)
		__sanitizer_set_report_fd((void *) (intptr_t) fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100));
	(void) signal(SIGPIPE, SIG_IGN);
	(void) setenv("RUNNER_DOUBLE", "script", 1);
	/* The function's output. */
	(void) dup2(null_fd, STDOUT_FILENO);
	(void) dup2(null_fd, STDERR_FILENO);
	fd_close(null_fd);
	folder = tree_new();
	(void) snprintf(work_dir, sizeof(work_dir), "%s/work", folder);
	(void) mkdir(work_dir, 0700);
	write_file("source.py", "", 0);
	write_file("index.py", "", 0);
	make_zip();
}

int main(int argc, char **argv)
{
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void) argv;
	if (argc > 1) /* an unpacker, or a precompiler */
		return 0;
	become_runner_double();
	self[length] = '\0';
	set_up();
	walk("base64", encode);
	walk("an error document", make_document);
	walk("a reply", read_reply);
	walk("an envelope", parse_envelope);
	walk("a folder as code", take_folder);
	walk("a source as code", take_source);
	walk("an archive as code", take_archive);
	walk("unpacking", unpack);
	walk("a directory for code", fill_code_dir);
	walk("a loop", make_loop);
	walk("the log relay", write_logs);
	walk("the precompiler", precompile);
	walk("--health", check_health);
	walk("a server", serve_source);
	walk("a server with an archive", serve_archive);
	walk("a server on Knative", serve_knative);
	tree_free(folder);
	return done_testing();
}
