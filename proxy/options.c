#include "options.h"

#include "limits.h"

#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum option_id { OPTION_HOST, OPTION_PORT, OPTION_MAX_BODY, OPTION_WORK_DIR, OPTION_RUNNER, OPTION_COUNT };

static const struct {
	const char *name, *variable, *argument, *help;
} descriptions[OPTION_COUNT] = {
	[OPTION_HOST] = { "host", "PYACTION_HOST", "ADDRESS", "listen on this address (default: 0.0.0.0)" },
	[OPTION_PORT] = { "port", "PYACTION_PORT", "PORT", "listen on this port (default: 8080)" },
	[OPTION_MAX_BODY] = { "max-body", "PYACTION_MAX_BODY", "BYTES",
		"refuse request bodies over this size; K, M and G multiply (default: 80M)" },
	[OPTION_WORK_DIR] = { "work-dir", "PYACTION_WORK_DIR", "DIR",
		"unpack code to a fresh directory below this one (default: $TMPDIR, or /tmp)" },
	[OPTION_RUNNER] = { "runner", "PYACTION_RUNNER", "FILE",
		"executable that runs the function (default: the pyrunner installed with this one)" },
};

static void print_help(void)
{
	(void) fputs("Usage: pyaction [OPTION]...\n"
		     "Serve a Python function: takes its code at POST /init, runs it at POST /run.\n\n",
		stdout);
	for (size_t i = 0; i < OPTION_COUNT; i++)
		(void) printf("  --%s=%s\n        %s\n        environment: %s\n", descriptions[i].name,
			descriptions[i].argument, descriptions[i].help, descriptions[i].variable);
	(void) fputs("  --help\n        print this and exit\n"
		     "  --version\n        print the version and exit\n\n"
		     "Stdout and stderr are the function's. Errors at the start go to stderr, exit status 1; a wrong\n"
		     "command line is exit status 2; stopped by SIGTERM or SIGINT, exit status 0.\n",
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

static int interpret(struct options *options, const char *const values[OPTION_COUNT], struct err *err)
{
	options->host = values[OPTION_HOST] != NULL ? values[OPTION_HOST] : "0.0.0.0";
	options->port = values[OPTION_PORT] != NULL ? values[OPTION_PORT] : "8080";
	options->runner = values[OPTION_RUNNER];
	options->work_dir = values[OPTION_WORK_DIR] != NULL ? values[OPTION_WORK_DIR] : getenv("TMPDIR");
	if (options->work_dir == NULL || options->work_dir[0] == '\0')
		options->work_dir = "/tmp";
	options->max_body = LIMIT_BODY_DEFAULT;

	if (check_port(options->port) < 0)
		return bad_value(OPTION_PORT, options->port, "a number from 1 to 65535", err);
	if (values[OPTION_MAX_BODY] != NULL && parse_size(values[OPTION_MAX_BODY], &options->max_body) < 0)
		return bad_value(OPTION_MAX_BODY, values[OPTION_MAX_BODY],
			"a number of bytes up to 1G, like 1048576 or 80M", err);
	return 0;
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
	enum { HELP = OPTION_COUNT, VERSION };
	struct option long_options[OPTION_COUNT + 3] = {
		[HELP] = { "help", no_argument, NULL, HELP }, [VERSION] = { "version", no_argument, NULL, VERSION }
	};
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
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) >= 0) {
		if (id == HELP) {
			print_help();
			return OPTIONS_DONE;
		}
		if (id == VERSION) {
			(void) puts("pyaction " PYACTION_VERSION);
			return OPTIONS_DONE;
		}
		if (id == ':')
			return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (id < 0 || id >= OPTION_COUNT)
			return bad_option(argv[optind - 1], err);
		values[id] = optarg;
	}
	if (optind < argc)
		return err_set(err, -EINVAL, "unexpected argument '%s'", argv[optind]);
	r = interpret(&options, values, err);
	if (r < 0)
		return r;
	*ret_options = options;
	return OPTIONS_RUN;
}
