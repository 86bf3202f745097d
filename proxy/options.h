/* The command line, and the environment variable that goes with each option. */
#pragma once

#include "function.h"
#include "server_log.h"

/* Where an image has its function. */
#define OPTIONS_DEFAULT_CODE "/function"

struct options {
	const char *host;
	const char *port;
	const char *runner; /* NULL: the one that belongs to this executable */
	const char *work_dir;
	const char *user; /* NULL where nobody gave it */
	size_t max_body;  /* bytes */
	unsigned client_timeout_ms;
	/* These are NULL where nobody gave them. */
	const char *handler;
	const char *code;
	const char *convention;
	const char *scf_port;    /* "0": none */
	const char *status_port; /* of the status; NULL, too, where it is to have none */
	const char *log_file;    /* of the server's own log */
	const char *compile;     /* the handler of a function that is to be compiled instead of served */
	struct limits limits;    /* LIMITS_DEFAULT where nobody gave them */
	size_t max_request;      /* bytes; SIZE_MAX: the platform's */
	size_t max_response;
	enum log_level log_level;
	enum log_format log_format;
	bool tell;         /* say on stderr which convention was chosen: the log has no place of its own */
	bool knative;      /* __OW_RUNTIME_PLATFORM says so */
	unsigned grace_ms; /* for what is under way at SIGTERM */
};

enum options_result {
	OPTIONS_RUN,     /* serve */
	OPTIONS_DONE,    /* --help or --version: said on stdout */
	OPTIONS_COMPILE, /* become the program that compiles */
	OPTIONS_HEALTH,  /* ask the server that has these options whether it is there */
};

/* The command line wins over the environment, which wins over the default. Strings belong to argv, the
 * environment or the program. Returns an enum options_result, or -EINVAL with a sentence that names the
 * option. */
int options_parse(struct options *ret_options, int argc, char **argv, struct err *err) UTIL_MUST_CHECK;
