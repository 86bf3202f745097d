#include "options.h"

#include "limits.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { GRACE_MS = 500, KNATIVE_GRACE_MS = 20000 };

enum option_id {
	OPTION_HOST,
	OPTION_PORT,
	OPTION_SCF_PORT,
	OPTION_CODE,
	OPTION_CONVENTION,
	OPTION_TIMEOUT,
	OPTION_MEMORY,
	OPTION_GRACE,
	OPTION_MAX_REQUEST,
	OPTION_MAX_RESPONSE,
	OPTION_MAX_BODY,
	OPTION_CLIENT_TIMEOUT,
	OPTION_WORK_DIR,
	OPTION_USER,
	OPTION_RUNNER,
	OPTION_STATUS_PORT,
	OPTION_LOG_FILE,
	OPTION_LOG_FORMAT,
	OPTION_LOG_LEVEL,
	OPTION_COUNT
};

static const struct {
	const char *name, *variable, *argument, *help;
} descriptions[OPTION_COUNT] = {
	[OPTION_HOST] = { "host", "PYACTION_HOST", "ADDRESS", "listen on this address (default: 0.0.0.0)" },
	[OPTION_PORT] = { "port", "PYACTION_PORT", "PORT", "listen on this port (default: 8080)" },
	[OPTION_SCF_PORT] = { "scf-port", "PYACTION_SCF_PORT", "PORT",
		"listen on this port, too; 0 for none (default: 9000 for a function of the scf convention that is\n"
		"        there at the start, else none)" },
	[OPTION_CODE] = { "code", "PYACTION_CODE", "PATH",
		"the function's folder, zip archive or Python file (default: " OPTIONS_DEFAULT_CODE
		", where a HANDLER is\n"
		"        given or something is in it; else the code comes with POST /init)" },
	[OPTION_CONVENTION] = { "convention", "PYACTION_CONVENTION", "NAME",
		"how the function is called: openwhisk (also DigitalOcean), lambda, scf, or auto, which goes by the\n"
		"        HANDLER: lambda_handler, main_handler, or another (default: auto)" },
	[OPTION_TIMEOUT] = { "timeout", "PYACTION_TIMEOUT", "SECONDS",
		"end an invocation after this time, 0 never (default: 3 through the doors of Lambda and SCF,\n"
		"        never through /run, whose caller keeps the time)" },
	[OPTION_MEMORY] = { "memory", "PYACTION_MEMORY", "MB",
		"end an invocation whose process takes more memory, 0 never (default: 128 through the doors of\n"
		"        Lambda and SCF, never through /run)" },
	[OPTION_GRACE] = { "grace", "PYACTION_GRACE", "SECONDS",
		"at SIGTERM, let what is under way go on for this time (default: 0.5; on Knative 20, with all that\n"
		"        waits)" },
	[OPTION_MAX_REQUEST] = { "max-request", "PYACTION_MAX_REQUEST", "BYTES",
		"refuse larger events at the doors of Lambda and SCF (default: 6M, Lambda's asynchronous ones 1M)" },
	[OPTION_MAX_RESPONSE] = { "max-response", "PYACTION_MAX_RESPONSE", "BYTES",
		"refuse larger results there (default: 6M; Lambda 100 bytes more)" },
	[OPTION_STATUS_PORT] = { "status-port", "PYACTION_STATUS_PORT", "PORT",
		"answer GET /status (JSON) and GET /metrics (Prometheus) on this port; 0 for none (default: 0)" },
	[OPTION_LOG_FILE] = { "log-file", "PYACTION_LOG_FILE", "PLACE",
		"write the server's own log there: a file, a named pipe, a device, or fd:N for a descriptor that is open\n"
		"        at the start (default: none)" },
	[OPTION_LOG_FORMAT] = { "log-format", "PYACTION_LOG_FORMAT", "FORMAT",
		"text, or json, an object on each line (default: text)" },
	[OPTION_LOG_LEVEL] = { "log-level", "PYACTION_LOG_LEVEL", "LEVEL",
		"how much that log says: error, warning, info or debug (default: info). Without a --log-file, info and\n"
		"        debug say on stderr which convention was chosen and why, and nothing else (default: error)" },
	[OPTION_MAX_BODY] = { "max-body", "PYACTION_MAX_BODY", "BYTES",
		"refuse request bodies over this size; K, M and G multiply (default: 80M)" },
	[OPTION_CLIENT_TIMEOUT] = { "client-timeout", "PYACTION_CLIENT_TIMEOUT", "SECONDS",
		"the time in which a client has to send a request's headers, and in each of which 64 KB of the body\n"
		"        or the rest of it, and to take as much of an answer; 0 for none (default: 120)" },
	[OPTION_WORK_DIR] = { "work-dir", "PYACTION_WORK_DIR", "DIR",
		"unpack code to a fresh directory below this one (default: $TMPDIR, or /tmp)" },
	[OPTION_USER] = { "user", "PYACTION_USER", "NAME[:GROUP]",
		"run the function as this user, a name or a number, where the server is started as root; root for root\n"
		"        itself (default: nobody, 65534:65534)" },
	[OPTION_RUNNER] = { "runner", "PYACTION_RUNNER", "FILE",
		"executable that runs the function (default: the pyrunner installed with this one)" },
};

static void print_help(void)
{
	(void) fputs(
		"Usage: pyaction [OPTION]... [HANDLER]\n"
		"Serve a Python function, through the doors of several platforms:\n"
		"  POST /init, POST /run                              OpenWhisk, DigitalOcean\n"
		"  POST /2015-03-31/functions/function/invocations    AWS Lambda\n"
		"  POST /event-invoke                                 Tencent SCF\n\n"
		"HANDLER is module.function, like lambda_function.lambda_handler (PYACTION_MAIN). Without one it\n"
		"is main of __main__.py, or the usual one of the vendor whose usual file is there (not in archives).\n\n",
		stdout);
	for (size_t i = 0; i < OPTION_COUNT; i++)
		(void) printf("  --%s=%s\n        %s\n        environment: %s\n", descriptions[i].name,
			descriptions[i].argument, descriptions[i].help, descriptions[i].variable);
	(void) fputs(
		"  --compile=MAIN, -compile MAIN\n"
		"        do not serve; read a function (zip, tar.gz or Python source) from stdin, and write to stdout a zip\n"
		"        of it that starts faster: requirements.txt installed, all modules compiled. MAIN: its handler\n"
		"  --health\n        see whether the server with this --host and --port is there: exit status 0, or 1\n"
		"  --help\n        print this and exit\n"
		"  --version\n        print the version and exit\n\n"
		"Stdout and stderr are the function's. Errors at the start go to stderr, exit status 1; a wrong\n"
		"command line is exit status 2; a function that cannot be loaded, 3; stopped by SIGTERM or SIGINT, 0.\n",
		stdout);
}

/* "80M" to bytes. */
static int parse_size(const char *text, size_t *ret_size)
{
	char *rest;
	unsigned long long number;
	unsigned shift = 0;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &rest, 10);
	if (*rest == 'K' || *rest == 'M' || *rest == 'G')
		shift = *rest == 'K' ? 10 : *rest == 'M' ? 20 : 30;
	if (shift > 0)
		rest++;
	if (errno != 0 || *rest != '\0' || number > LIMIT_BODY_MAX >> shift)
		return -EINVAL;
	*ret_size = (size_t) number << shift;
	return 0;
}

/* "3" or "0.5", seconds, to milliseconds. */
static int parse_seconds(const char *text, unsigned *ret_ms)
{
	char *rest;
	double seconds;

	if (strspn(text, "0123456789.") != strlen(text))
		return -EINVAL;
	seconds = strtod(text, &rest);
	if (rest == text || *rest != '\0' || seconds > LIMIT_TIMEOUT_S_MAX)
		return -EINVAL;
	*ret_ms = (unsigned) (seconds * 1000 + 0.5);
	if (seconds > 0 && *ret_ms == 0) /* which would be no limit */
		*ret_ms = 1;
	return 0;
}

static int parse_number(const char *text, unsigned most, unsigned *ret_number)
{
	char *rest;
	unsigned long number = strtoul(text, &rest, 10);

	if (text[0] < '0' || text[0] > '9' || *rest != '\0' || number > most)
		return -EINVAL;
	*ret_number = (unsigned) number;
	return 0;
}

static int check_port(const char *text)
{
	char *rest;
	unsigned long number = strtoul(text, &rest, 10);

	return text[0] >= '0' && text[0] <= '9' && *rest == '\0' && number >= 1 && number <= 65535 ? 0 : -EINVAL;
}

static int bad_value(enum option_id id, const char *value, const char *expected, struct err *err)
{
	return err_set(err, -EINVAL, "--%s (%s) is '%s', but must be %s", descriptions[id].name,
		descriptions[id].variable, value, expected);
}

static int interpret_log(struct options *options, const char *const values[OPTION_COUNT], struct err *err)
{
	const char *value;

	options->log_file = values[OPTION_LOG_FILE];
	options->log_level = options->log_file != NULL ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
	options->log_format = LOG_FORMAT_TEXT;
	if ((value = values[OPTION_LOG_LEVEL]) != NULL && log_level_parse(value, &options->log_level) < 0)
		return bad_value(OPTION_LOG_LEVEL, value, "error, warning, info or debug", err);
	if ((value = values[OPTION_LOG_FORMAT]) != NULL && strcmp(value, "json") == 0)
		options->log_format = LOG_FORMAT_JSON;
	else if (value != NULL && strcmp(value, "text") != 0)
		return bad_value(OPTION_LOG_FORMAT, value, "text or json", err);
	options->tell = options->log_file == NULL && options->log_level >= LOG_LEVEL_INFO;
	return 0;
}

static int interpret_limits(struct options *options, const char *const values[OPTION_COUNT], struct err *err)
{
	static const char size_text[] = "a number of bytes up to 1G, like 1048576 or 6M";
	static const char *const conventions[] = { "auto", "openwhisk", "lambda", "scf" };
	const char *value;
	bool known = false;

	if ((value = values[OPTION_TIMEOUT]) != NULL && parse_seconds(value, &options->limits.timeout_ms) < 0)
		return bad_value(OPTION_TIMEOUT, value, "a number of seconds, like 3 or 0.5, up to a day", err);
	if ((value = values[OPTION_GRACE]) != NULL && parse_seconds(value, &options->grace_ms) < 0)
		return bad_value(OPTION_GRACE, value, "a number of seconds, like 0.5, up to a day", err);
	if ((value = values[OPTION_CLIENT_TIMEOUT]) != NULL && parse_seconds(value, &options->client_timeout_ms) < 0)
		return bad_value(OPTION_CLIENT_TIMEOUT, value, "a number of seconds, like 3 or 0.5, up to a day", err);
	if ((value = values[OPTION_MEMORY]) != NULL &&
		parse_number(value, LIMIT_MEMORY_MB_MAX, &options->limits.memory_mb) < 0)
		return bad_value(OPTION_MEMORY, value, "a number of megabytes, like 128", err);
	if ((value = values[OPTION_MAX_REQUEST]) != NULL && parse_size(value, &options->max_request) < 0)
		return bad_value(OPTION_MAX_REQUEST, value, size_text, err);
	if ((value = values[OPTION_MAX_RESPONSE]) != NULL && parse_size(value, &options->max_response) < 0)
		return bad_value(OPTION_MAX_RESPONSE, value, size_text, err);
	if ((value = values[OPTION_SCF_PORT]) != NULL && strcmp(value, "0") != 0 && check_port(value) < 0)
		return bad_value(OPTION_SCF_PORT, value, "a number from 0 to 65535", err);
	for (size_t i = 0; options->convention != NULL && i < ARRAY_SIZE(conventions); i++)
		known = known || strcmp(options->convention, conventions[i]) == 0;
	if (options->convention != NULL && !known)
		return bad_value(OPTION_CONVENTION, options->convention, "auto, openwhisk, lambda or scf", err);
	if ((value = values[OPTION_STATUS_PORT]) != NULL && strcmp(value, "0") != 0 && check_port(value) < 0)
		return bad_value(OPTION_STATUS_PORT, value, "a number from 0 to 65535", err);
	return interpret_log(options, values, err);
}

static bool is_knative(void)
{
	const char *platform = getenv("__OW_RUNTIME_PLATFORM");

	return platform != NULL && strcmp(platform, "knative") == 0;
}

static int interpret(struct options *options, const char *const values[OPTION_COUNT], struct err *err)
{
	const char *port;

	options->host = values[OPTION_HOST] != NULL ? values[OPTION_HOST] : "0.0.0.0";
	options->knative = is_knative();
	options->grace_ms = options->knative ? KNATIVE_GRACE_MS : GRACE_MS;
	options->port = values[OPTION_PORT] != NULL ? values[OPTION_PORT] : "8080";
	/* Knative's contract (runtime contract, "Inbound network connectivity"). */
	port = getenv("PORT");
	if (values[OPTION_PORT] == NULL && options->knative && port != NULL)
		options->port = port;
	options->runner = values[OPTION_RUNNER];
	options->work_dir = values[OPTION_WORK_DIR] != NULL ? values[OPTION_WORK_DIR] : getenv("TMPDIR");
	if (options->work_dir == NULL || options->work_dir[0] == '\0')
		options->work_dir = "/tmp";
	options->max_body = LIMIT_BODY_DEFAULT;
	options->client_timeout_ms = LIMIT_CLIENT_TIMEOUT_S * 1000;
	options->user = values[OPTION_USER];

	options->scf_port = values[OPTION_SCF_PORT];
	if (values[OPTION_STATUS_PORT] != NULL && strcmp(values[OPTION_STATUS_PORT], "0") != 0)
		options->status_port = values[OPTION_STATUS_PORT];
	options->code = values[OPTION_CODE];
	options->convention = values[OPTION_CONVENTION];
	options->limits = (struct limits) { .timeout_ms = LIMITS_DEFAULT, .memory_mb = LIMITS_DEFAULT };
	options->max_request = options->max_response = SIZE_MAX;

	if (check_port(options->port) < 0)
		return bad_value(OPTION_PORT, options->port, "a number from 1 to 65535", err);
	if (values[OPTION_MAX_BODY] != NULL && parse_size(values[OPTION_MAX_BODY], &options->max_body) < 0)
		return bad_value(OPTION_MAX_BODY, values[OPTION_MAX_BODY],
			"a number of bytes up to 1G, like 1048576 or 80M", err);
	return interpret_limits(options, values, err);
}

/* getopt has set optopt to the character of a short option, to 0 for an unknown long one, and to the value of a
 * long one that was given an argument it does not take. */
static int bad_option(const char *argument, struct err *err)
{
	if (optopt >= ' ')
		return err_set(err, -EINVAL, "unknown option -%c", optopt);
	if (optopt > 0)
		return err_set(err, -EINVAL, "%s: this option takes no value", argument);
	return err_set(err, -EINVAL, "unknown option %s", argument);
}

int options_parse(struct options *ret_options, int argc, char **argv, struct err *err)
{
	enum { HELP = OPTION_COUNT, VERSION, HEALTH, COMPILE };
	struct option long_options[OPTION_COUNT + 5] = {
		[HELP] = { "help", no_argument, NULL, HELP },
		[VERSION] = { "version", no_argument, NULL, VERSION },
		[HEALTH] = { "health", no_argument, NULL, HEALTH },
		[COMPILE] = { "compile", required_argument, NULL, COMPILE },
	};
	enum options_result result = OPTIONS_RUN;
	const char *values[OPTION_COUNT];
	struct options options = { 0 };
	int id, r;

	for (int i = 0; i < OPTION_COUNT; i++) {
		long_options[i] = (struct option) { descriptions[i].name, required_argument, NULL, i };
		values[i] = getenv(descriptions[i].variable);
		if (values[i] != NULL && values[i][0] == '\0')
			values[i] = NULL;
	}
	opterr = 0;
	/* "only": OpenWhisk's proxy takes -compile with one hyphen. */
	while ((id = getopt_long_only(argc, argv, ":", long_options, NULL)) >= 0) {
		if (id == HELP) {
			print_help();
			return OPTIONS_DONE;
		}
		if (id == VERSION) {
			(void) puts("pyaction " PYACTION_VERSION);
			return OPTIONS_DONE;
		}
		if (id == HEALTH) {
			result = OPTIONS_HEALTH;
			continue;
		}
		if (id == COMPILE) {
			result = OPTIONS_COMPILE;
			options.compile = optarg;
			continue;
		}
		if (id == ':')
			return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (id < 0 || id >= OPTION_COUNT)
			return bad_option(argv[optind - 1], err);
		values[id] = optarg;
	}
	options.handler = optind < argc ? argv[optind++] : getenv("PYACTION_MAIN");
	if (options.handler != NULL && options.handler[0] == '\0')
		options.handler = NULL;
	if (optind < argc)
		return err_set(err, -EINVAL, "unexpected argument '%s' behind the handler", argv[optind]);
	r = interpret(&options, values, err);
	if (r < 0)
		return r;
	*ret_options = options;
	return (int) result;
}
