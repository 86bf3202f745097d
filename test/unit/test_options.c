#include "../../proxy/limits.h"
#include "../../proxy/options.h"

#include "tap.h"

#include <sys/wait.h>

enum { MOST_WORDS = 32 };

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

static void tell_text(const char *name, const char *text)
{
	if (text != NULL)
		(void) printf(", %s %s", name, text);
}

static void tell_number(const char *name, size_t number, size_t left_out)
{
	if (number != left_out)
		(void) printf(", %s %zu", name, number);
}

/* The options that say nothing when nobody gave them only where somebody did. */
static void tell(const struct options *options)
{
	(void) printf("host %s, port %s, runner %s, work_dir %s, max_body %zu", options->host, options->port,
		options->runner != NULL ? options->runner : "NULL", options->work_dir, options->max_body);
	tell_text("handler", options->handler);
	tell_text("code", options->code);
	tell_text("convention", options->convention);
	tell_text("scf_port", options->scf_port);
	tell_number("timeout_ms", options->limits.timeout_ms, LIMITS_DEFAULT);
	tell_number("memory_mb", options->limits.memory_mb, LIMITS_DEFAULT);
	tell_number("max_request", options->max_request, SIZE_MAX);
	tell_number("max_response", options->max_response, SIZE_MAX);
	tell_number("grace_ms", options->grace_ms, 500);
	tell_text("knative", options->knative ? "yes" : NULL);
	tell_text("status_port", options->status_port);
	tell_text("log_file", options->log_file);
	tell_text("log_level", options->log_level != LOG_LEVEL_ERROR ? log_level_name(options->log_level) : NULL);
	tell_text("log_format", options->log_format == LOG_FORMAT_JSON ? "json" : NULL);
	tell_text("tell", options->tell ? "yes" : NULL);
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
	if (r == OPTIONS_RUN || r == OPTIONS_HEALTH || r == OPTIONS_COMPILE)
		tell(&options);
	if (r == OPTIONS_HEALTH)
		(void) printf(", health");
	else if (r == OPTIONS_COMPILE)
		tell_text("compile", options.compile);
	else if (r == OPTIONS_DONE)
		(void) printf("done");
	else if (r != OPTIONS_RUN)
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
		      "PYACTION_CODE=", "PYACTION_CONVENTION=", "PYACTION_SCF_PORT=", "PYACTION_TIMEOUT=",
		      "PYACTION_MEMORY=", "PYACTION_MAX_REQUEST=", "PYACTION_MAX_RESPONSE=", "PYACTION_GRACE=",
		      "PYACTION_LOG_LEVEL=", "PYACTION_LOG_FILE=", "PYACTION_LOG_FORMAT=", "PYACTION_STATUS_PORT=",
		      "__OW_RUNTIME_PLATFORM=", "TMPDIR="),
		NOTHING, DEFAULTS, "empty variables are none");
	check(WORDS("TMPDIR=/t"), NOTHING, "host 0.0.0.0, port 8080, runner NULL, work_dir /t, max_body 83886080",
		"TMPDIR");
	check(WORDS("PORT=1", "HOST=h"), NOTHING, DEFAULTS, "variables of other names");
	check(NOTHING, WORDS("--"), DEFAULTS, "the end of the options");
}

#define EVERYTHING                                                                                                     \
	"host h, port 1, runner /r, work_dir /w, max_body 2, handler a.b, code /c, convention scf, scf_port 3, "       \
	"timeout_ms 4500, memory_mb 5, max_request 6, max_response 7168, grace_ms 8000, log_level info, tell yes"

static void test_every_option(void)
{
	check(NOTHING,
		WORDS("--host=h", "--port=1", "--max-body=2", "--work-dir=/w", "--runner=/r", "--code=/c",
			"--convention=scf", "--scf-port=3", "--timeout=4.5", "--memory=5", "--max-request=6",
			"--max-response=7K", "--grace=8", "--log-level=info", "a.b"),
		EVERYTHING, "every option, with =");
	check(NOTHING,
		WORDS("--host", "h", "--port", "1", "--work-dir", "/w", "--runner", "/r", "--max-body", "2", "a.b"),
		"host h, port 1, runner /r, work_dir /w, max_body 2, handler a.b", "options as two words");
	check(NOTHING,
		WORDS("a.b", "--code", "/c", "--convention", "scf", "--scf-port", "3", "--timeout", "4.5", "--memory",
			"5", "--max-request", "6", "--max-response", "7K", "--grace", "8", "--log-level", "info"),
		DEFAULTS
		", handler a.b, code /c, convention scf, scf_port 3, timeout_ms 4500, memory_mb 5, max_request 6, "
		"max_response 7168, grace_ms 8000, log_level info, tell yes",
		"... the others");
	check(WORDS("PYACTION_HOST=h", "PYACTION_PORT=1", "PYACTION_MAX_BODY=2", "PYACTION_WORK_DIR=/w",
		      "PYACTION_RUNNER=/r", "PYACTION_CODE=/c", "PYACTION_CONVENTION=scf", "PYACTION_SCF_PORT=3",
		      "PYACTION_TIMEOUT=4.5", "PYACTION_MEMORY=5", "PYACTION_MAX_REQUEST=6", "PYACTION_MAX_RESPONSE=7K",
		      "PYACTION_GRACE=8", "PYACTION_LOG_LEVEL=info", "PYACTION_MAIN=a.b"),
		NOTHING, EVERYTHING, "every variable");
}

static void test_handler(void)
{
	check(NOTHING, WORDS("a.b"), DEFAULTS ", handler a.b", "a handler");
	check(NOTHING, WORDS("a.b", "--port=8080"), DEFAULTS ", handler a.b", "... in front of an option");
	check(NOTHING, WORDS("--port", "8080", "a.b"), DEFAULTS ", handler a.b", "... behind one");
	check(NOTHING, WORDS("--", "--port"), DEFAULTS ", handler --port", "... behind the end of the options");
	check(WORDS("PYACTION_MAIN=c.d"), NOTHING, DEFAULTS ", handler c.d", "PYACTION_MAIN");
	check(WORDS("PYACTION_MAIN=c.d"), WORDS("a.b"), DEFAULTS ", handler a.b", "the command line wins over it");
	check(WORDS("PYACTION_MAIN="), NOTHING, DEFAULTS, "an empty one is none");
	check(NOTHING, WORDS(""), DEFAULTS, "an empty handler is none");
}

static void test_precedence(void)
{
	check(WORDS("PYACTION_HOST=eh", "PYACTION_PORT=2", "PYACTION_MAX_BODY=2", "PYACTION_WORK_DIR=/e",
		      "PYACTION_RUNNER=/e", "TMPDIR=/t"),
		WORDS("--host=h", "--port=1", "--max-body=1", "--work-dir=/w", "--runner=/r"),
		"host h, port 1, runner /r, work_dir /w, max_body 1", "the command line wins over the environment");
	check(WORDS("PYACTION_CODE=/e", "PYACTION_CONVENTION=lambda", "PYACTION_SCF_PORT=9", "PYACTION_TIMEOUT=9",
		      "PYACTION_MEMORY=9", "PYACTION_MAX_REQUEST=9", "PYACTION_MAX_RESPONSE=9", "PYACTION_GRACE=9",
		      "PYACTION_LOG_LEVEL=info"),
		WORDS("--code=/c", "--convention=auto", "--scf-port=0", "--timeout=0", "--memory=0", "--max-request=0",
			"--max-response=0", "--grace=0", "--log-level=error"),
		DEFAULTS ", code /c, convention auto, scf_port 0, timeout_ms 0, memory_mb 0, max_request 0, "
			 "max_response 0, grace_ms 0",
		"... of the others, too");
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

/* wanted NULL: refused, because it is not what is expected. */
static void check_value(
	const char *name, const char *variable, const char *value, const char *wanted, const char *expected)
{
	char option[100], assignment[100], sentence[300];

	(void) snprintf(option, sizeof(option), "--%s=%s", name, value);
	(void) snprintf(assignment, sizeof(assignment), "%s=%s", variable, value);
	if (wanted != NULL)
		(void) snprintf(sentence, sizeof(sentence), DEFAULTS "%s", wanted);
	else
		(void) snprintf(sentence, sizeof(sentence), "-22 --%s (%s) is '%s', but must be %s", name, variable,
			value, expected);
	check(NOTHING, WORDS(option), sentence, option);
	if (value[0] != '\0')
		check(WORDS(assignment), NOTHING, sentence, assignment);
}

static void test_seconds(void)
{
	static const struct {
		const char *value;
		unsigned ms;
	} good[] = { { "0", 0 }, { "0.0", 0 }, { "3", 3000 }, { "3.", 3000 }, { "0.5", 500 }, { ".5", 500 },
		{ "1.2345", 1235 }, { "0.0001", 1 }, { "900", 900000 }, { "86400", 86400000 }, { "007", 7000 } };
	static const char *const bad[] = { "", ".", "-1", "+1", " 1", "1 ", "1s", "1e3", "1.2.3", "0x1", "inf", "nan",
		"1,5", "86401", "86400.1", "99999999999999999999" };
	char wanted[50];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		(void) snprintf(wanted, sizeof(wanted), ", timeout_ms %u", good[i].ms);
		check_value("timeout", "PYACTION_TIMEOUT", good[i].value, wanted, NULL);
		(void) snprintf(wanted, sizeof(wanted), good[i].ms != 500 ? ", grace_ms %u" : "", good[i].ms);
		check_value("grace", "PYACTION_GRACE", good[i].value, wanted, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_value(
			"timeout", "PYACTION_TIMEOUT", bad[i], NULL, "a number of seconds, like 3 or 0.5, up to a day");
		check_value("grace", "PYACTION_GRACE", bad[i], NULL, "a number of seconds, like 0.5, up to a day");
	}
}

static void test_memory(void)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "128M", "1.5", "0x10", "4000001",
		"18446744073709551617", "99999999999999999999" };

	check_value("memory", "PYACTION_MEMORY", "0", ", memory_mb 0", NULL);
	check_value("memory", "PYACTION_MEMORY", "128", ", memory_mb 128", NULL);
	check_value("memory", "PYACTION_MEMORY", "4000000", ", memory_mb 4000000", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_value("memory", "PYACTION_MEMORY", bad[i], NULL, "a number of megabytes, like 128");
}

static void test_max_sizes(void)
{
	static const char expected[] = "a number of bytes up to 1G, like 1048576 or 6M";
	static const char *const bad[] = { "", "x", "-1", "6MB", "1.5M", "2G", "1073741825" };

	check_value("max-request", "PYACTION_MAX_REQUEST", "0", ", max_request 0", NULL);
	check_value("max-request", "PYACTION_MAX_REQUEST", "6M", ", max_request 6291456", NULL);
	check_value("max-response", "PYACTION_MAX_RESPONSE", "0", ", max_response 0", NULL);
	check_value("max-response", "PYACTION_MAX_RESPONSE", "1G", ", max_response 1073741824", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_value("max-request", "PYACTION_MAX_REQUEST", bad[i], NULL, expected);
		check_value("max-response", "PYACTION_MAX_RESPONSE", bad[i], NULL, expected);
	}
}

static void test_scf_port(void)
{
	static const char *const bad[] = { "", "-1", "65536", "9000x", " 9", "none" };

	check_value("scf-port", "PYACTION_SCF_PORT", "0", ", scf_port 0", NULL);
	check_value("scf-port", "PYACTION_SCF_PORT", "1", ", scf_port 1", NULL);
	check_value("scf-port", "PYACTION_SCF_PORT", "65535", ", scf_port 65535", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_value("scf-port", "PYACTION_SCF_PORT", bad[i], NULL, "a number from 0 to 65535");
}

static void test_choices(void)
{
	static const char *const conventions[] = { "auto", "openwhisk", "lambda", "scf" };
	static const char *const no_conventions[] = { "", "Auto", "aws", "lambda ", "openwhis" };
	static const char *const no_levels[] = { "", "warn", "INFO", "infos", "0" };
	char wanted[50];

	for (size_t i = 0; i < ARRAY_SIZE(conventions); i++) {
		(void) snprintf(wanted, sizeof(wanted), ", convention %s", conventions[i]);
		check_value("convention", "PYACTION_CONVENTION", conventions[i], wanted, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_conventions); i++)
		check_value(
			"convention", "PYACTION_CONVENTION", no_conventions[i], NULL, "auto, openwhisk, lambda or scf");
	check_value("log-level", "PYACTION_LOG_LEVEL", "debug", ", log_level debug, tell yes", NULL);
	check_value("log-level", "PYACTION_LOG_LEVEL", "info", ", log_level info, tell yes", NULL);
	check_value("log-level", "PYACTION_LOG_LEVEL", "warning", ", log_level warning", NULL);
	check_value("log-level", "PYACTION_LOG_LEVEL", "error", "", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(no_levels); i++)
		check_value("log-level", "PYACTION_LOG_LEVEL", no_levels[i], NULL, "error, warning, info or debug");
	check_value("log-format", "PYACTION_LOG_FORMAT", "json", ", log_format json", NULL);
	check_value("log-format", "PYACTION_LOG_FORMAT", "text", "", NULL);
	check_value("log-format", "PYACTION_LOG_FORMAT", "JSON", NULL, "text or json");
}

/* A log with a place of its own says more, and nothing on stderr. */
static void test_log_file(void)
{
	check_value("log-file", "PYACTION_LOG_FILE", "/l", ", log_file /l, log_level info", NULL);
	check(NOTHING, WORDS("--log-file=fd:7", "--log-level=error"), DEFAULTS ", log_file fd:7", "a level of its own");
	check(NOTHING, WORDS("--log-level=debug", "--log-file=l"), DEFAULTS ", log_file l, log_level debug",
		"... in another order");
}

static void test_status_port(void)
{
	static const char *const bad[] = { "", "-1", "65536", "9000x", " 9", "none" };

	check_value("status-port", "PYACTION_STATUS_PORT", "0", "", NULL);
	check_value("status-port", "PYACTION_STATUS_PORT", "65535", ", status_port 65535", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_value("status-port", "PYACTION_STATUS_PORT", bad[i], NULL, "a number from 0 to 65535");
}

static void test_knative(void)
{
	static const char knative[] = "__OW_RUNTIME_PLATFORM=knative";

	check(WORDS(knative), NOTHING, DEFAULTS ", grace_ms 20000, knative yes", "on Knative");
	check(WORDS(knative, "PORT=81"), NOTHING,
		"host 0.0.0.0, port 81, runner NULL, work_dir /tmp, max_body 83886080, grace_ms 20000, knative yes",
		"... PORT counts");
	check(WORDS(knative, "PORT=81", "PYACTION_PORT=82"), NOTHING,
		"host 0.0.0.0, port 82, runner NULL, work_dir /tmp, max_body 83886080, grace_ms 20000, knative yes",
		"... less than ours");
	check(WORDS(knative, "PYACTION_GRACE=1"), NOTHING, DEFAULTS ", grace_ms 1000, knative yes",
		"... and so the grace");
	check(WORDS("__OW_RUNTIME_PLATFORM=openwhisk", "PORT=81"), NOTHING, DEFAULTS, "another platform is not it");
}

static void test_health(void)
{
	check(NOTHING, WORDS("--health"), DEFAULTS ", health", "--health");
	check(WORDS("PYACTION_PORT=81"), WORDS("--health", "--host=h"),
		"host h, port 81, runner NULL, work_dir /tmp, max_body 83886080, health",
		"... of the server with these options");
	check(NOTHING, WORDS("--health", "--port=x"),
		"-22 --port (PYACTION_PORT) is 'x', but must be a number from 1 to 65535", "... which must be right");
	check(NOTHING, WORDS("--health=1"), "-22 --health=1: this option takes no value", "... and takes no value");
}

static void test_compile(void)
{
	check(NOTHING, WORDS("--compile=a.b"), DEFAULTS ", compile a.b", "--compile");
	check(NOTHING, WORDS("--compile", "a.b"), DEFAULTS ", compile a.b", "... as two words");
	check(NOTHING, WORDS("-compile", "main"), DEFAULTS ", compile main", "... with one hyphen");
	check(NOTHING, WORDS("-compile=main"), DEFAULTS ", compile main", "... and =");
	check(NOTHING, WORDS("--compile"), "-22 --compile needs a value", "... without a handler");
	check(NOTHING, WORDS("-compile"), "-22 -compile needs a value", "... and with one hyphen");
}

static void test_wrong_lines(void)
{
	check(NOTHING, WORDS("--nonsense"), "-22 unknown option --nonsense", "an unknown option");
	check(NOTHING, WORDS("--nonsense=1", "--port=1"), "-22 unknown option --nonsense=1", "... with a value");
	check(NOTHING, WORDS("--port=1", "-x"), "-22 unknown option -x", "a short one");
	check(NOTHING, WORDS("-xy"), "-22 unknown option -xy", "several in one");
	check(NOTHING, WORDS("--host=h", "-xy", "--port=1"), "-22 unknown option -xy", "... between others");
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
		"--version", "--health", "--compile", "--scf-port", "--code", "--convention", "--timeout", "--memory",
		"--grace", "--max-request", "--max-response", "--log-level", "[HANDLER]", "PYACTION_HOST",
		"PYACTION_PORT", "PYACTION_MAX_BODY", "PYACTION_WORK_DIR", "PYACTION_RUNNER", "PYACTION_SCF_PORT",
		"PYACTION_CODE", "PYACTION_CONVENTION", "PYACTION_TIMEOUT", "PYACTION_MEMORY", "PYACTION_GRACE",
		"PYACTION_MAX_REQUEST", "PYACTION_MAX_RESPONSE", "PYACTION_LOG_LEVEL", "PYACTION_MAIN", "--log-file",
		"--log-format", "--status-port", "PYACTION_LOG_FILE", "PYACTION_LOG_FORMAT", "PYACTION_STATUS_PORT" };
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
	test_handler();
	test_precedence();
	test_ports();
	test_sizes();
	test_seconds();
	test_memory();
	test_max_sizes();
	test_scf_port();
	test_choices();
	test_log_file();
	test_status_port();
	test_knative();
	test_health();
	test_compile();
	test_wrong_lines();
	test_help_and_version();
	return done_testing();
}
