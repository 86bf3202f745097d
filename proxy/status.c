#include "status.h"

#include "../common/process.h"
#include "server_log.h"
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
	const char *name;
	unsigned per_mille;
} quantiles[] = { { "p50", 500 }, { "p90", 900 }, { "p99", 990 }, { "p999", 999 } };

/* How an activation can end, and an init. The others cannot become of it. */
static const enum outcome_kind run_outcomes[] = { OUTCOME_SUCCESS, OUTCOME_SUCCESS_BYTES, OUTCOME_APPLICATION_ERROR,
	OUTCOME_FUNCTION_ERROR, OUTCOME_EXITED, OUTCOME_TIMED_OUT, OUTCOME_OUT_OF_MEMORY, OUTCOME_INIT_FAILED,
	OUTCOME_INIT_EXITED, OUTCOME_BAD_REQUEST, OUTCOME_NOT_INITIALIZED, OUTCOME_QUEUE_FULL, OUTCOME_STOPPING,
	OUTCOME_INTERNAL_ERROR };
static const enum outcome_kind init_outcomes[] = { OUTCOME_INITIALIZED, OUTCOME_INIT_FAILED, OUTCOME_INIT_EXITED,
	OUTCOME_TIMED_OUT, OUTCOME_OUT_OF_MEMORY, OUTCOME_BAD_REQUEST, OUTCOME_NO_CODE_GIVEN,
	OUTCOME_ALREADY_INITIALIZED, OUTCOME_QUEUE_FULL, OUTCOME_STOPPING, OUTCOME_INTERNAL_ERROR };

static uint64_t sum(const uint64_t *counts, size_t count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += counts[i];
	return total;
}

static double seconds(uint64_t us)
{
	return (double) us / 1e6;
}

/* strsignal() without its words: SIGKILL, SIGSEGV. sigabbrev_np() is not in glibc 2.31. */
static void name_signal(int number, char *name, size_t size)
{
	static const struct {
		int number;
		const char *name;
	} names[] = { { SIGHUP, "SIGHUP" }, { SIGINT, "SIGINT" }, { SIGQUIT, "SIGQUIT" }, { SIGILL, "SIGILL" },
		{ SIGTRAP, "SIGTRAP" }, { SIGABRT, "SIGABRT" }, { SIGBUS, "SIGBUS" }, { SIGFPE, "SIGFPE" },
		{ SIGKILL, "SIGKILL" }, { SIGUSR1, "SIGUSR1" }, { SIGSEGV, "SIGSEGV" }, { SIGUSR2, "SIGUSR2" },
		{ SIGPIPE, "SIGPIPE" }, { SIGALRM, "SIGALRM" }, { SIGTERM, "SIGTERM" }, { SIGXCPU, "SIGXCPU" },
		{ SIGXFSZ, "SIGXFSZ" }, { SIGSYS, "SIGSYS" } };

	(void) snprintf(name, size, "%d", number);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == number)
			(void) snprintf(name, size, "%s", names[i].name);
}

/* Processes that were started again: all but the first. */
static uint64_t count_restarts(const struct function_metrics *metrics)
{
	return metrics->runner_starts > 0 ? metrics->runner_starts - 1 : 0;
}

/* --- JSON -------------------------------------------------------------------------------------------- */

static void write_outcomes(FILE *out, const uint64_t *counts, const enum outcome_kind *kinds, size_t count)
{
	(void) fputs("\"outcomes\":{", out);
	for (size_t i = 0; i < count; i++)
		(void) fprintf(out, "%s\"%s\":%llu", i > 0 ? "," : "", outcome_name(kinds[i]),
			(unsigned long long) counts[kinds[i]]);
	(void) fputc('}', out);
}

static void write_latency(FILE *out, const char *name, const struct histogram *histogram)
{
	(void) fprintf(out, "\"%s\":{\"count\":%llu,\"sum\":%.6f", name, (unsigned long long) histogram->count,
		seconds(histogram->sum_us));
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		(void) fprintf(out, ",\"%s\":%.6f", quantiles[i].name,
			seconds(histogram_quantile_us(histogram, quantiles[i].per_mille)));
	(void) fprintf(out, ",\"max\":%.6f}", seconds(histogram->max_us));
}

/* The members of an object that counts, by number or by name; those that are 0 are left out. */
static void write_counts(
	FILE *out, const uint64_t *counts, int count, void (*name)(int number, char *text, size_t size))
{
	const char *comma = "";

	for (int i = 0; i < count; i++) {
		char text[16];

		if (counts[i] == 0)
			continue;
		(void) snprintf(text, sizeof(text), "%d", i);
		if (name != NULL)
			name(i, text, sizeof(text));
		(void) fprintf(out, "%s\"%s\":%llu", comma, text, (unsigned long long) counts[i]);
		comma = ",";
	}
}

static void write_runner(FILE *out, const struct status *status)
{
	const struct function_metrics *metrics = status->function.metrics;

	(void) fprintf(out, "\"runner\":{\"pid\":%d,\"starts\":%llu,\"restarts\":%llu,\"exits\":{",
		(int) status->function.runner, (unsigned long long) metrics->runner_starts,
		(unsigned long long) count_restarts(metrics));
	write_counts(out, metrics->runner_exits, FUNCTION_EXIT_STATUSES, NULL);
	(void) fputs("},\"signals\":{", out);
	write_counts(out, metrics->runner_signals, FUNCTION_SIGNALS, name_signal);
	(void) fprintf(out, "},\"resident_bytes\":%llu,\"peak_bytes\":%llu},",
		(unsigned long long) status->runner.resident, (unsigned long long) status->runner.peak);
}

static void write_http(FILE *out, const struct http_description *http)
{
	(void) fprintf(out, "\"http\":{\"connections\":%u,\"max_connections\":%u,\"pending\":%zu,\"answers\":{",
		http->connections, http->max_connections, http->pending);
	write_counts(out, http->metrics->answers, HTTP_STATUSES, NULL);
	(void) fprintf(out, "},\"clients_gone\":{\"request\":%llu,\"answer\":%llu}},",
		(unsigned long long) http->metrics->gone_early, (unsigned long long) http->metrics->gone_late);
}

char *status_make_json(const struct status *status, size_t *ret_length)
{
	const struct function_status *function = &status->function;
	const struct function_metrics *metrics = function->metrics;
	bool has_code = function->convention != NULL;
	struct text text;
	FILE *out = text_open(&text);

	if (out == NULL)
		return NULL;
	(void) fprintf(out, "{\"version\":\"%s\",\"uptime_seconds\":%.3f,\"state\":\"%s\",\"convention\":%s%s%s,",
		PYACTION_VERSION, status->uptime_s, function_state_name(function->state), has_code ? "\"" : "",
		has_code ? function->convention : "null", has_code ? "\"" : "");
	(void) fprintf(out, "\"activations\":{\"total\":%llu,\"in_flight\":%u,\"waiting\":%zu,",
		(unsigned long long) sum(metrics->runs, OUTCOME_KIND_COUNT), function->in_flight, function->waiting);
	write_outcomes(out, metrics->runs, run_outcomes, ARRAY_SIZE(run_outcomes));
	(void) fprintf(
		out, "},\"inits\":{\"total\":%llu,", (unsigned long long) sum(metrics->inits, OUTCOME_KIND_COUNT));
	write_outcomes(out, metrics->inits, init_outcomes, ARRAY_SIZE(init_outcomes));
	(void) fprintf(out, "},\"results_too_large\":%llu,\"latency_seconds\":{",
		(unsigned long long) status->doors.results_too_large);
	write_latency(out, "queue", &metrics->queue);
	(void) fputc(',', out);
	write_latency(out, "run", &metrics->run);
	(void) fputc(',', out);
	write_latency(out, "loading", &metrics->loading);
	(void) fputs("},", out);
	write_runner(out, status);
	write_http(out, &status->http);
	(void) fprintf(out,
		"\"proxy\":{\"pid\":%d,\"cpu_seconds\":%.3f,\"resident_bytes\":%llu,\"peak_bytes\":%llu,"
		"\"open_files\":%u,\"max_files\":%u},\"log_lines_lost\":%llu}\n",
		(int) getpid(), status->cpu_s, (unsigned long long) status->proxy.resident,
		(unsigned long long) status->proxy.peak, status->open_files, status->max_files,
		(unsigned long long) status->log_lines_lost);
	return text_close(&text, ret_length);
}

/* --- Prometheus -------------------------------------------------------------------------------------- */

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	(void) fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	write_head(out, name, type, help);
	(void) fprintf(out, "%s %llu\n", name, (unsigned long long) value);
}

static void write_real(FILE *out, const char *name, const char *type, const char *help, double value)
{
	write_head(out, name, type, help);
	(void) fprintf(out, "%s %.3f\n", name, value);
}

static void write_labelled(FILE *out, const char *name, const char *label, const char *text, uint64_t value)
{
	(void) fprintf(out, "%s{%s=\"%s\"} %llu\n", name, label, text, (unsigned long long) value);
}

static void write_histogram(FILE *out, const char *name, const char *help, const struct histogram *histogram)
{
	uint64_t up_to = 0;

	write_head(out, name, "histogram", help);
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		up_to += histogram->buckets[i];
		(void) fprintf(out, "%s_bucket{le=\"%g\"} %llu\n", name, seconds(histogram_bounds_us[i]),
			(unsigned long long) up_to);
	}
	(void) fprintf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name,
		(unsigned long long) histogram->count, name, seconds(histogram->sum_us), name,
		(unsigned long long) histogram->count);
}

static void write_function_metrics(FILE *out, const struct function_status *function)
{
	const struct function_metrics *metrics = function->metrics;

	write_head(out, "pyaction_state", "gauge", "What the function is doing: 1 for the state it is in.");
	for (int i = 0; i < FUNCTION_STATE_COUNT; i++)
		write_labelled(out, "pyaction_state", "state", function_state_name((enum function_state) i),
			function->state == (enum function_state) i);
	write_head(out, "pyaction_activations_total", "counter", "Activations that have ended, by outcome.");
	for (size_t i = 0; i < ARRAY_SIZE(run_outcomes); i++)
		write_labelled(out, "pyaction_activations_total", "outcome", outcome_name(run_outcomes[i]),
			metrics->runs[run_outcomes[i]]);
	write_head(out, "pyaction_inits_total", "counter", "Requests to load code that have ended, by outcome.");
	for (size_t i = 0; i < ARRAY_SIZE(init_outcomes); i++)
		write_labelled(out, "pyaction_inits_total", "outcome", outcome_name(init_outcomes[i]),
			metrics->inits[init_outcomes[i]]);
	write_metric(out, "pyaction_activations_in_flight", "gauge", "What is under way: an activation or an init.",
		function->in_flight);
	write_metric(out, "pyaction_activations_waiting", "gauge", "What waits behind it.", function->waiting);
	write_histogram(
		out, "pyaction_queue_duration_seconds", "How long activations waited for their turn.", &metrics->queue);
	write_histogram(out, "pyaction_run_duration_seconds", "How long activations ran.", &metrics->run);
	write_histogram(out, "pyaction_loading_duration_seconds", "How long the code took to import, each time.",
		&metrics->loading);
}

static void write_runner_metrics(FILE *out, const struct status *status)
{
	const struct function_metrics *metrics = status->function.metrics;
	char text[16];

	write_metric(out, "pyaction_runner_starts_total", "counter", "Processes for the function that were started.",
		metrics->runner_starts);
	write_head(out, "pyaction_runner_exits_total", "counter", "Those that ended by themselves, by exit status.");
	for (int i = 0; i < FUNCTION_EXIT_STATUSES; i++) {
		(void) snprintf(text, sizeof(text), "%d", i);
		if (metrics->runner_exits[i] > 0)
			write_labelled(out, "pyaction_runner_exits_total", "status", text, metrics->runner_exits[i]);
	}
	write_head(out, "pyaction_runner_signals_total", "counter",
		"Those that ended by a signal, that of a passed limit (SIGKILL) included.");
	for (int i = 0; i < FUNCTION_SIGNALS; i++) {
		name_signal(i, text, sizeof(text));
		if (metrics->runner_signals[i] > 0)
			write_labelled(
				out, "pyaction_runner_signals_total", "signal", text, metrics->runner_signals[i]);
	}
	write_metric(out, "pyaction_runner_resident_memory_bytes", "gauge",
		"Memory of the process of the function, 0 where there is none.", status->runner.resident);
	write_metric(out, "pyaction_runner_peak_memory_bytes", "gauge", "The most memory it has had at a time.",
		status->runner.peak);
}

static void write_http_metrics(FILE *out, const struct http_description *http)
{
	static const char answers[] = "pyaction_http_answers_total", gone[] = "pyaction_http_clients_gone_total";
	char text[16];

	write_head(out, answers, "counter", "Answers, by HTTP status.");
	for (int i = 0; i < HTTP_STATUSES; i++) {
		(void) snprintf(text, sizeof(text), "%d", i);
		if (http->metrics->answers[i] > 0)
			write_labelled(out, answers, "code", text, http->metrics->answers[i]);
	}
	write_head(out, gone, "counter", "Clients that went away before the end of their request, or of its answer.");
	write_labelled(out, gone, "before", "request", http->metrics->gone_early);
	write_labelled(out, gone, "before", "answer", http->metrics->gone_late);
	write_metric(out, "pyaction_http_connections", "gauge", "Open connections.", http->connections);
	write_metric(out, "pyaction_http_max_connections", "gauge", "How many there can be.", http->max_connections);
	write_metric(
		out, "pyaction_http_requests_pending", "gauge", "Requests that wait for their answers.", http->pending);
}

char *status_make_metrics(const struct status *status, size_t *ret_length)
{
	struct text text;
	FILE *out = text_open(&text);

	if (out == NULL)
		return NULL;
	write_head(out, "pyaction_build_info", "gauge", "1, with the version as its label.");
	write_labelled(out, "pyaction_build_info", "version", PYACTION_VERSION, 1);
	write_function_metrics(out, &status->function);
	write_runner_metrics(out, status);
	write_http_metrics(out, &status->http);
	write_metric(out, "pyaction_results_too_large_total", "counter",
		"Results that the doors of Lambda and SCF did not pass on for their size.",
		status->doors.results_too_large);
	write_metric(out, "pyaction_log_lines_lost_total", "counter",
		"Lines of the server's own log that could not be written.", status->log_lines_lost);
	/* Of the proxy alone, under the names that Prometheus's own libraries have. */
	write_real(out, "process_start_time_seconds", "gauge", "When the server started, in seconds since 1970.",
		(double) status->started.tv_sec + (double) status->started.tv_nsec / 1e9);
	write_real(out, "process_cpu_seconds_total", "counter", "CPU time of the server without the function.",
		status->cpu_s);
	write_metric(out, "process_resident_memory_bytes", "gauge", "Memory of the server without the function.",
		status->proxy.resident);
	write_metric(out, "pyaction_peak_memory_bytes", "gauge", "The most memory it has had at a time.",
		status->proxy.peak);
	write_metric(out, "process_open_fds", "gauge", "Its open files.", status->open_files);
	write_metric(out, "process_max_fds", "gauge", "How many there can be.", status->max_files);
	return text_close(&text, ret_length);
}

/* --- requests ---------------------------------------------------------------------------------------- */

/* pid 0 is this process; -1 none. */
static struct status_memory measure_memory(pid_t pid)
{
	if (pid < 0)
		return (struct status_memory) { 0 };
	return (struct status_memory) { .resident = (uint64_t) process_resident_kb(pid) * 1024,
		.peak = (uint64_t) process_peak_kb(pid) * 1024 };
}

static double cpu_seconds(void)
{
	struct rusage usage = { 0 };

	(void) getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static unsigned file_limit(void)
{
	struct rlimit files = { 0 };

	(void) getrlimit(RLIMIT_NOFILE, &files);
	return files.rlim_cur > UINT_MAX ? UINT_MAX : (unsigned) files.rlim_cur;
}

static void take_status(const struct status_source *source, struct status *status)
{
	*status = (struct status) {
		.started = source->started,
		.uptime_s = (double) (loop_now_ms() - source->started_ms) / 1000,
		.cpu_s = cpu_seconds(),
		.proxy = measure_memory(0),
		.open_files = process_open_files(),
		.max_files = file_limit(),
		.doors = *source->doors,
		.log_lines_lost = server_log_lost(),
	};
	function_describe(source->function, &status->function);
	http_describe(source->http, &status->http);
	status->runner = measure_memory(status->function.runner > 0 ? status->function.runner : -1);
}

/* What makes the document that is at this path; NULL when there is none. */
typedef char *(*make_document)(const struct status *status, size_t *ret_length);

static make_document find_document(const char *path)
{
	if (strcmp(path, "/status") == 0)
		return status_make_json;
	return strcmp(path, "/metrics") == 0 ? status_make_metrics : NULL;
}

static void on_headers(void *context UTIL_UNUSED, struct http_request *request)
{
	if (find_document(http_path(request)) == NULL) {
		http_answer_error(request, HTTP_NOT_FOUND,
			"There is nothing at %.200s: this is the status port, with GET /status and GET /metrics.",
			http_path(request));
	} else if (strcmp(http_method(request), "GET") != 0 && strcmp(http_method(request), "HEAD") != 0) {
		http_set_header(request, "Allow", "GET, HEAD");
		http_answer_error(request, HTTP_METHOD_NOT_ALLOWED, "%s takes GET, not %.20s.", http_path(request),
			http_method(request));
	}
}

static void on_request(void *context, struct http_request *request)
{
	make_document make = find_document(http_path(request));
	struct http_body body = { 0 };
	struct status status;

	take_status(context, &status);
	body.data = make(&status, &body.length);
	if (body.data == NULL) {
		http_answer_error(request, HTTP_INTERNAL_SERVER_ERROR, "Out of memory for the status.");
		return;
	}
	http_set_header(request, "Cache-Control", "no-store");
	if (make == status_make_metrics)
		http_set_header(request, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	http_answer(request, HTTP_OK, body);
}

struct http_callbacks status_callbacks(struct status_source *source)
{
	return (struct http_callbacks) { .on_headers = on_headers, .on_request = on_request, .context = source };
}
