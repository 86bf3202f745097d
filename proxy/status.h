/*
 * The status of the server, for who operates it: GET /status as JSON, GET /metrics as Prometheus has it (text exposition
 * format 0.0.4, which OpenMetrics readers take, too).
 *
 * The proxy answers alone, from what it has counted and from /proc: neither the runner nor the function is asked, in
 * whatever state they are. It tells numbers and names of the server's own, nothing of payloads; the paths are open on
 * the status port only.
 */
#pragma once

#include "door.h"

#include <time.h>

/* Of a process, in bytes; 0 where it could not be read. */
struct status_memory {
	uint64_t resident, peak;
};

/* All that is told, at one time. */
struct status {
	struct timespec started; /* CLOCK_REALTIME; the uptime is by another clock, which nobody sets */
	double uptime_s, cpu_s;
	struct function_status function;
	struct http_description http;
	struct status_memory proxy, runner;
	struct door_metrics doors;
	unsigned open_files, max_files;
	uint64_t log_lines_lost;
};

/* The documents, for free(); NULL when out of memory. */
char *status_make_json(const struct status *status, size_t *ret_length) UTIL_MUST_CHECK;
char *status_make_metrics(const struct status *status, size_t *ret_length) UTIL_MUST_CHECK;

/* What it is about: its fields outlive the server that has the callbacks. */
struct status_source {
	const struct function *function;
	const struct http_server *http; /* that of the function's port */
	const struct door_metrics *doors;
	struct timespec started; /* CLOCK_REALTIME, and */
	uint64_t started_ms;     /* loop_now_ms() */
};

/* For the server of the status port. */
struct http_callbacks status_callbacks(struct status_source *source);
