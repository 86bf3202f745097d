#include "../../proxy/limits.h"
#include "../../proxy/server_log.h"

#include "tap.h"
#include "tree.h"

#include <cjson/cJSON.h>
#include <regex.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

static struct {
	char *directory;
	char path[PATH_MAX];
	time_t ahead_s;
} test;

/* In place of the C library's: a moved file is noticed in another second than the last look. */
int clock_gettime(clockid_t clock_id, struct timespec *now)
{
	int r = (int) syscall(SYS_clock_gettime, clock_id, now);

	now->tv_sec += test.ahead_s;
	return r;
}

static void open_log(const char *place, enum log_format format, enum log_level level)
{
	struct err err;

	server_log_close();
	if (server_log_open(place, format, level, NULL, &err) < 0)
		bail_out("%s", err.text);
}

/* A fresh file. */
static void open_file(enum log_format format, enum log_level level)
{
	(void) unlink(test.path);
	open_log(test.path, format, level);
}

static const char *read_path(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	size_t length = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file != NULL)
		(void) fclose(file);
	text[length] = '\0';
	return text;
}

static const char *content(void)
{
	return read_path(test.path);
}

static size_t count_lines(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t regex;
	bool found;

	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		bail_out("bad pattern %s", pattern);
	found = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	if (!found)
		diag("%s", text);
	return found;
}

#define TIME "20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"

static void test_lines(void)
{
	open_file(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	server_log(EVENT_RUNNER_STARTED, LOG_NUMBER("pid", 17), LOG_TEXT("path", "/a b"), LOG_TEXT("none", NULL),
		LOG_TEXT("empty", ""), LOG_MS("run_ms", 1234), LOG_NUMBER(NULL, 1), LOG_MS("zero_ms", 0));
	ok(matches(content(),
		   "^" TIME " info runner_started: a process for the function has started pid=17 "
		   "path=\"/a b\" run_ms=1.234 zero_ms=0.000\n$"),
		"a line of text");
	open_file(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	server_log(EVENT_RUNNER_STARTED, LOG_NUMBER("pid", 17), LOG_TEXT("path", "/a b"), LOG_MS("run_ms", 1034));
	ok(matches(content(),
		   "^\\{\"time\":\"" TIME "\",\"level\":\"info\",\"event\":\"runner_started\",\"message\":"
		   "\"a process for the function has started\",\"pid\":17,\"path\":\"/a b\","
		   "\"run_ms\":1.034\\}\n$"),
		"a line of JSON");
	server_log(EVENT_SERVER_STOPPED);
	ok(matches(content(), "\"the server has stopped\"\\}\n$"), "... without fields");
}

static void test_levels(void)
{
	static const char *const levels[] = { "error", "warning", "info", "debug" };
	static const enum log_event events[] = { EVENT_INTERNAL_ERROR, EVENT_QUEUE_FULL, EVENT_LISTENING,
		EVENT_ACTIVATION_STARTED };

	server_log_close();
	ok(!server_log_wants(EVENT_INTERNAL_ERROR), "a closed log wants nothing");
	server_log(EVENT_INTERNAL_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		enum log_level level = LOG_LEVEL_COUNT;

		ok(log_level_parse(levels[i], &level) == 0 && level == (enum log_level) i &&
				strcmp(log_level_name(level), levels[i]) == 0,
			"level %s", levels[i]);
		open_file(LOG_FORMAT_TEXT, level);
		for (size_t j = 0; j < ARRAY_SIZE(events); j++)
			server_log(events[j]);
		is_int(count_lines(content()), i + 1, "... has the events of the levels before, and its own");
	}
	open_file(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
	server_log(EVENT_LISTENING, LOG_TEXT("field", (bail_out("evaluated"), "")));
	ok(true, "fields are not evaluated where nobody wants them");
}

/* The member "error" of the last line. */
static char *told_error(void)
{
	const char *text = content();
	const char *line = strrchr(text, '{');
	cJSON *object = line != NULL ? cJSON_Parse(line) : NULL;
	const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "error"));
	char *copy = error != NULL ? strdup(error) : NULL;

	cJSON_Delete(object);
	return copy;
}

static void test_injection(void)
{
	static const char hostile[] = "a\nb\r\t\"\\\x1b[31m\x7f\xc2\x9b"
				      "31m\xe2\x82\xac\xff";
	char *told;

	open_file(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	server_log(EVENT_INTERNAL_ERROR, LOG_TEXT("error", hostile));
	is_int(count_lines(content()), 1, "a text cannot begin a line");
	ok(strpbrk(content(), "\r\t\x1b\x7f") == NULL && strstr(content(), "\xc2\x9b") == NULL,
		"... and holds no control character");
	told = told_error();
	is_str(told,
		"a\nb\r\t\"\\\x1b[31m\x7f\xc2\x9b"
		"31m\xe2\x82\xac\xef\xbf\xbd",
		"... but says all");
	free(told);
	open_file(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	server_log(EVENT_INTERNAL_ERROR, LOG_TEXT("error", hostile));
	ok(count_lines(content()) == 1 && strpbrk(content(), "\r\t\x1b\x7f") == NULL, "likewise in text");
}

static void test_long_lines(void)
{
	static char text[3 * LIMIT_LOG_LINE];
	size_t longest = 0;
	bool all = true;
	char *told;

	memset(text, 'x', sizeof(text) - 1);
	open_file(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	server_log(EVENT_INTERNAL_ERROR, LOG_TEXT("error", text), LOG_TEXT("other", text), LOG_NUMBER("pid", 1));
	ok(strlen(content()) <= LIMIT_LOG_LINE && strlen(content()) > LIMIT_LOG_LINE - 64, "a long line is cut");
	told = told_error();
	ok(told != NULL && strlen(told) > LIMIT_LOG_LINE - 300, "... and is JSON still");
	free(told);
	/* Every place in which a cut can fall, among characters of every length. */
	for (size_t i = 0; i < 300; i++) {
		size_t used = 0;

		while (used < LIMIT_LOG_LINE - 300 + i)
			text[used++] = 'x';
		while (used < sizeof(text) - 8)
			used += (size_t) sprintf(text + used, "%s",
				(const char *[]) { "\n", "\xe2\x82\xac", "\"", "\xff", "\xc2\x9b" }[random_below(5)]);
		open_file(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
		server_log(EVENT_INTERNAL_ERROR, LOG_TEXT("error", text), LOG_TEXT("more", text), LOG_NUMBER("pid", i));
		longest = strlen(content()) > longest ? strlen(content()) : longest;
		told = told_error();
		all = all && told != NULL && count_lines(content()) == 1;
		free(told);
	}
	ok(all, "... wherever the cut is");
	ok(longest <= LIMIT_LOG_LINE, "no line is longer than %d", LIMIT_LOG_LINE);
}

static void test_moved_file(void)
{
	char moved[PATH_MAX + 8];

	(void) snprintf(moved, sizeof(moved), "%s.1", test.path);
	open_file(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	server_log(EVENT_SERVER_STARTED);
	(void) rename(test.path, moved);
	test.ahead_s++;
	server_log(EVENT_LISTENING);
	ok(matches(content(), "^" TIME " info log_reopened: [^\n]*\n" TIME " info listening: [^\n]*\n$"),
		"a file that was moved is made anew");
	ok(matches(read_path(moved), "^" TIME " info server_started: [^\n]*\n$"), "... and the old one left alone");
	(void) unlink(test.path);
	test.ahead_s++;
	server_log(EVENT_LISTENING);
	is_int(count_lines(content()), 2, "one that was removed is, too");
	(void) !truncate(test.path, 0);
	test.ahead_s++;
	server_log(EVENT_LISTENING);
	ok(matches(content(), "^" TIME " info listening"), "one that was cut goes on at its end");
	(void) unlink(test.path);
	(void) mkdir(test.path, 0700);
	test.ahead_s++;
	server_log(EVENT_LISTENING);
	is_int(server_log_lost(), 0, "where the path is no file any more, the old one goes on");
	(void) rmdir(test.path);
	test.ahead_s++;
	server_log(EVENT_LISTENING);
	is_int(count_lines(content()), 2, "... until it is one again");
}

/* A named pipe, its reader or -1 for none. */
static int open_pipe(bool read_it)
{
	int fd = -1;

	(void) unlink(test.path);
	if (mkfifo(test.path, 0600) < 0)
		bail_out("no named pipe");
	if (read_it)
		fd = open(test.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	open_log(test.path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	return fd;
}

static size_t drain(int fd, char *text, size_t size)
{
	ssize_t count = read(fd, text, size - 1);

	text[count > 0 ? count : 0] = '\0';
	return count > 0 ? (size_t) count : 0;
}

static void test_pipe_that_nobody_reads(void)
{
	uint64_t before = server_log_lost(), lost;
	static char text[1 << 21];
	char said[64];
	int fd = open_pipe(true);

	while (server_log_lost() == before)
		server_log(EVENT_LISTENING);
	server_log(EVENT_LISTENING);
	server_log(EVENT_LISTENING);
	lost = server_log_lost() - before;
	is_int(lost, 3, "a full pipe loses lines, without waiting");
	(void) drain(fd, text, sizeof(text));
	ok(text[strlen(text) - 1] == '\n', "... whole ones");
	server_log(EVENT_SERVER_STOPPED);
	(void) drain(fd, text, sizeof(text));
	(void) snprintf(said, sizeof(said), "log_lines_lost: [^\n]* lines=%u\n[^\n]*server_stopped", (unsigned) lost);
	ok(matches(text, said), "... and says how many when there is room again");
	server_log(EVENT_SERVER_STOPPED);
	(void) drain(fd, text, sizeof(text));
	is_int(count_lines(text), 1, "... once");
	(void) close(fd);
	server_log(EVENT_LISTENING);
	ok(true, "a reader that goes away does no harm");
	fd = open(test.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	server_log(EVENT_SERVER_STOPPED);
	(void) drain(fd, text, sizeof(text));
	ok(matches(text, "server_stopped"), "... and another one can come");
	(void) close(fd);

	(void) open_pipe(false);
	server_log(EVENT_LISTENING);
	fd = open(test.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	(void) drain(fd, text, sizeof(text));
	ok(matches(text, "listening"), "a named pipe need not have a reader yet");
	(void) close(fd);
}

static void test_full_disk(void)
{
	uint64_t before = server_log_lost();

	open_log("/dev/full", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	server_log(EVENT_LISTENING);
	server_log(EVENT_LISTENING);
	is_int(server_log_lost() - before, 2, "a full disk loses lines");
}

static void test_descriptors(void)
{
	uint64_t before = server_log_lost();
	char place[32], text[4096];
	struct err err;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		bail_out("no sockets");
	(void) snprintf(place, sizeof(place), "fd:%d", fds[1]);
	open_log(place, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	server_log(EVENT_LISTENING);
	(void) drain(fds[0], text, sizeof(text));
	ok(matches(text, "^" TIME " info listening: [^\n]*\n$"), "a descriptor that is a socket");
	ok((fcntl(fds[1], F_GETFD) & FD_CLOEXEC) != 0, "... which no other program gets");
	is_int(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0, "... whose flags are left as they are");
	while (server_log_lost() == before)
		server_log(EVENT_LISTENING);
	ok(true, "... does not block when it is full");
	(void) close(fds[0]);
	server_log(EVENT_LISTENING);
	ok(true, "... and does not kill when its other end is closed");
	(void) close(fds[1]);
	if (pipe(fds) < 0)
		bail_out("no pipe");
	(void) snprintf(place, sizeof(place), "fd:%d", fds[1]);
	open_log(place, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	before = server_log_lost();
	while (server_log_lost() == before)
		server_log(EVENT_LISTENING);
	ok(true, "a descriptor that is a pipe does not block when it is full");
	server_log_close();
	ok(fcntl(fds[1], F_GETFD) >= 0, "it is left open");
	(void) snprintf(place, sizeof(place), "fd:%d", fds[0]);
	ok(server_log_open(place, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL, &err) == -EBADF, "one for reading is refused");
	ok(matches(err.text, "^--log-file \\(PYACTION_LOG_FILE\\) 'fd:[0-9]+' is open for reading only$"),
		"... by name");
	(void) close(fds[0]);
	(void) close(fds[1]);
	is_int(server_log_open("fd:9999", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL, &err), -EBADF,
		"one that is not there");
	is_str(err.text, "cannot write to --log-file (PYACTION_LOG_FILE) 'fd:9999': Bad file descriptor",
		"... by name");
}

static void test_bad_places(void)
{
	struct err err;

	is_int(server_log_open("/", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL, &err), -EISDIR, "a folder");
	is_str(err.text, "cannot open --log-file (PYACTION_LOG_FILE) '/': Is a directory", "... by name");
	is_int(server_log_open("/nowhere/log", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL, &err), -ENOENT, "no folder");
	ok(!server_log_wants(EVENT_INTERNAL_ERROR), "... nothing is open then");
	if (chdir(test.directory) < 0)
		bail_out("no directory");
	open_log("fd:x", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	ok(access("fd:x", F_OK) == 0, "what is no descriptor is a path");
	(void) !chdir("/");
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	test.directory = tree_new();
	(void) snprintf(test.path, sizeof(test.path), "%s/log", test.directory);
	test_lines();
	test_levels();
	test_injection();
	test_long_lines();
	test_moved_file();
	test_pipe_that_nobody_reads();
	test_full_disk();
	test_descriptors();
	test_bad_places();
	server_log_close();
	tree_free(test.directory);
	return done_testing();
}
