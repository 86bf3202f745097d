#include "../../proxy/limits.h"
#include "../../proxy/options.h"

#include "tap.h"

#include <sys/wait.h>

enum { MOST_WORDS = 10 };

/* What a command line and an environment are given as: words, the end marked by NULL. */
typedef const char *const words[MOST_WORDS];

static char **copy_words(words given, const char *first)
{
	char **copy = calloc(MOST_WORDS + 2, sizeof(*copy));
	size_t count = 0;

	if (first != NULL)
		copy[count++] = strdup(first);
	for (size_t i = 0; i < MOST_WORDS && given[i] != NULL; i++)
		copy[count++] = strdup(given[i]);
	return copy;
}

static size_t count_words(char **given)
{
	size_t count = 0;

	while (given[count] != NULL)
		count++;
	return count;
}

/* In a process of its own: getopt has state. Writes the result, or the error, to stdout. */
static _Noreturn void parse_and_tell(words environment, words line)
{
	char **variables = copy_words(environment, NULL), **argv = copy_words(line, "pyaction");
	struct options options = { .host = "untouched" };
	struct err err = { .text = "" };
	int r;

	(void) clearenv();
	for (size_t i = 0; variables[i] != NULL; i++)
		(void) putenv(variables[i]);
	r = options_parse(&options, (int) count_words(argv), argv, &err);
	if (r == OPTIONS_RUN)
		(void) printf("host %s, port %s, runner %s, work_dir %s, max_body %zu", options.host, options.port,
			options.runner != NULL ? options.runner : "NULL", options.work_dir, options.max_body);
	else if (r == OPTIONS_DONE)
		(void) printf("done");
	else
		(void) printf("%d %s%s", r, err.text,
			strcmp(options.host, "untouched") == 0 ? "" : ", but the options are filled");
	(void) fflush(stdout);
	_exit(0);
}

/* What is written to stdout and stderr, in static memory. */
static const char *outcome_of(words environment, words line)
{
	static char text[8192];
	int fds[2], wait_status;
	size_t length = 0;
	ssize_t count;
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0)
		bail_out("no process");
	if (pid == 0) {
		(void) dup2(fds[1], 1);
		(void) dup2(fds[1], 2);
		parse_and_tell(environment, line);
	}
	(void) close(fds[1]);
	while ((count = read(fds[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t) count;
	(void) close(fds[0]);
	(void) waitpid(pid, &wait_status, 0);
	text[length] = '\0';
	if (wait_status != 0)
		(void) snprintf(text, sizeof(text), "wait status %d", wait_status);
	return text;
}

static void check(words environment, words line, const char *wanted, const char *what)
{
	is_str(outcome_of(environment, line), wanted, "%s", what);
}

#define NOTHING ((words) { NULL })
#define WORDS(...) ((words) { __VA_ARGS__, NULL })
#define DEFAULTS "host 0.0.0.0, port 8080, runner NULL, work_dir /tmp, max_body 83886080"

static void test_defaults(void)
{
	check(NOTHING, NOTHING, DEFAULTS, "nothing given");
	check(WORDS("PYACTION_HOST=", "PYACTION_PORT=", "PYACTION_RUNNER=", "PYACTION_WORK_DIR=", "PYACTION_MAX_BODY=",
		      "TMPDIR="),
		NOTHING, DEFAULTS, "empty variables are none");
	check(WORDS("TMPDIR=/t"), NOTHING, "host 0.0.0.0, port 8080, runner NULL, work_dir /t, max_body 83886080",
		"TMPDIR");
	check(WORDS("PORT=1", "HOST=h"), NOTHING, DEFAULTS, "variables of other names");
	check(NOTHING, WORDS("--"), DEFAULTS, "the end of the options");
}

static void test_every_option(void)
{
	check(NOTHING, WORDS("--host=h", "--port=1", "--max-body=2", "--work-dir=/w", "--runner=/r"),
		"host h, port 1, runner /r, work_dir /w, max_body 2", "every option, with =");
	check(NOTHING, WORDS("--host", "h", "--port", "65535", "--work-dir", "/w", "--runner", "/r"),
		"host h, port 65535, runner /r, work_dir /w, max_body 83886080", "every option, as two words");
	check(WORDS("PYACTION_HOST=h", "PYACTION_PORT=1", "PYACTION_MAX_BODY=2", "PYACTION_WORK_DIR=/w",
		      "PYACTION_RUNNER=/r"),
		NOTHING, "host h, port 1, runner /r, work_dir /w, max_body 2", "every variable");
}

static void test_precedence(void)
{
	check(WORDS("PYACTION_HOST=eh", "PYACTION_PORT=2", "PYACTION_MAX_BODY=2", "PYACTION_WORK_DIR=/e",
		      "PYACTION_RUNNER=/e", "TMPDIR=/t"),
		WORDS("--host=h", "--port=1", "--max-body=1", "--work-dir=/w", "--runner=/r"),
		"host h, port 1, runner /r, work_dir /w, max_body 1", "the command line wins over the environment");
	check(WORDS("PYACTION_WORK_DIR=/e", "TMPDIR=/t"), NOTHING,
		"host 0.0.0.0, port 8080, runner NULL, work_dir /e, max_body 83886080",
		"PYACTION_WORK_DIR wins over TMPDIR");
	check(WORDS("PYACTION_PORT=nonsense"), WORDS("--port=1"),
		"host 0.0.0.0, port 1, runner NULL, work_dir /tmp, max_body 83886080",
		"a bad variable that the command line overrides is not looked at");
	check(NOTHING, WORDS("--port=1", "--port=2"),
		"host 0.0.0.0, port 2, runner NULL, work_dir /tmp, max_body 83886080", "of two the last");
}

static void check_port(const char *value, bool good)
{
	char option[100], variable[100], wanted[300];

	(void) snprintf(option, sizeof(option), "--port=%s", value);
	(void) snprintf(variable, sizeof(variable), "PYACTION_PORT=%s", value);
	if (good)
		(void) snprintf(wanted, sizeof(wanted),
			"host 0.0.0.0, port %s, runner NULL, work_dir /tmp, max_body 83886080", value);
	else
		(void) snprintf(wanted, sizeof(wanted),
			"-22 --port (PYACTION_PORT) is '%s', but must be a number from 1 to 65535", value);
	check(NOTHING, WORDS(option), wanted, option);
	if (value[0] != '\0')
		check(WORDS(variable), NOTHING, wanted, variable);
}

static void test_ports(void)
{
	static const char *const bad[] = { "", "0", "65536", "-1", "+1", " 1", "1 ", "1.0", "http", "0x50", "8080x",
		"18446744073709551617" };

	check_port("1", true);
	check_port("65535", true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_port(bad[i], false);
}

static void check_size(const char *value, size_t wanted_size)
{
	char option[100], wanted[300];

	(void) snprintf(option, sizeof(option), "--max-body=%s", value);
	if (wanted_size != SIZE_MAX)
		(void) snprintf(wanted, sizeof(wanted),
			"host 0.0.0.0, port 8080, runner NULL, work_dir /tmp, max_body %zu", wanted_size);
	else
		(void) snprintf(wanted, sizeof(wanted),
			"-22 --max-body (PYACTION_MAX_BODY) is '%s', but must be a number of bytes up to 1G, like 1048576 or 80M",
			value);
	check(NOTHING, WORDS(option), wanted, option);
}

static void test_sizes(void)
{
	static const char *const bad[] = { "", "M", "-1", "+1", " 1", "1 ", "1MB", "1KK", "1m", "1.5M", "2G", "1025M",
		"1048577K", "1073741825", "18446744073709551616", "17179869184G", "0x10" };

	check_size("1", 1);
	check_size("1048576", 1048576);
	check_size("3K", 3072);
	check_size("80M", 83886080);
	check_size("1G", 1073741824);
	check_size("1024M", 1073741824);
	check_size("1073741824", LIMIT_BODY_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_size(bad[i], SIZE_MAX);
}

static void test_wrong_lines(void)
{
	check(NOTHING, WORDS("--nonsense"), "-22 unknown option --nonsense", "an unknown option");
	check(NOTHING, WORDS("--nonsense=1", "--port=1"), "-22 unknown option --nonsense=1", "... with a value");
	check(NOTHING, WORDS("--port=1", "-x"), "-22 unknown option -x", "a short one");
	check(NOTHING, WORDS("-xy"), "-22 unknown option -x", "several in one");
	check(NOTHING, WORDS("--host=h", "-xy", "--port=1"), "-22 unknown option -x", "... between others");
	check(NOTHING, WORDS("--port"), "-22 --port needs a value", "an option without its value");
	check(NOTHING, WORDS("--host=h", "--runner"), "-22 --runner needs a value", "... after another");
	check(NOTHING, WORDS("--help=x"), "-22 --help=x: this option takes no value",
		"a value for one that takes none");
	check(NOTHING, WORDS("--port=1", "word", "other"), "-22 unexpected argument 'other' behind the handler",
		"a second argument");
	check(NOTHING, WORDS("a.b", "--", "--port=1"), "-22 unexpected argument '--port=1' behind the handler",
		"... after the end of the options");
}

static void test_help_and_version(void)
{
	static const char *const names[] = { "--host", "--port", "--max-body", "--work-dir", "--runner", "--help",
		"--version", "PYACTION_HOST", "PYACTION_PORT", "PYACTION_MAX_BODY", "PYACTION_WORK_DIR",
		"PYACTION_RUNNER" };
	const char *help;
	bool all = true;

	check(NOTHING, WORDS("--version"), "pyaction " PYACTION_VERSION "\ndone", "--version");
	check(WORDS("PYACTION_PORT=nonsense"), WORDS("--version", "word"), "pyaction " PYACTION_VERSION "\ndone",
		"... whatever else is wrong");
	help = outcome_of(NOTHING, WORDS("--help"));
	ok(strncmp(help, "Usage: pyaction ", 16) == 0 && strcmp(help + strlen(help) - 5, "\ndone") == 0, "--help");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strstr(help, names[i]) == NULL)
			diag("it does not name %s", names[i]);
		all = all && strstr(help, names[i]) != NULL;
	}
	ok(all, "... names every option and variable");
	ok(strncmp(outcome_of(NOTHING, WORDS("--port=1", "--help", "--nonsense")), "Usage:", 6) == 0,
		"... before what is wrong");
}

int main(void)
{
	test_defaults();
	test_every_option();
	test_precedence();
	test_ports();
	test_sizes();
	test_wrong_lines();
	test_help_and_version();
	return done_testing();
}
