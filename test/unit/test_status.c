#include "../../proxy/status.h"

#include "tap.h"

#include <cjson/cJSON.h>

/* A server in the middle of everything. */
static struct status make_status(struct function_metrics *function, struct http_metrics *http)
{
	function->runs[OUTCOME_SUCCESS] = 7;
	function->runs[OUTCOME_EXITED] = 2;
	function->inits[OUTCOME_INITIALIZED] = 1;
	function->runner_starts = 4;
	function->runner_exits[3] = 1;
	function->runner_signals[SIGSEGV] = 1;
	function->runner_signals[SIGRTMIN + 1] = 1;
	http->answers[200] = 8;
	http->answers[404] = 1;
	http->gone_late = 5;
	histogram_record(&function->run, 100);
	histogram_record(&function->run, 2000000);
	return (struct status) {
		.started = { .tv_sec = 1700000000, .tv_nsec = 250000000 },
		.uptime_s = 12.5,
		.cpu_s = 0.25,
		.function = { .state = FUNCTION_RUNNING,
			.convention = "lambda",
			.in_flight = 1,
			.waiting = 3,
			.runner = 42,
			.metrics = function },
		.http = { .connections = 6, .max_connections = 100, .pending = 4, .metrics = http },
		.proxy = { .resident = 5 << 20, .peak = 6 << 20 },
		.runner = { .resident = 9 << 20, .peak = 10 << 20 },
		.open_files = 20,
		.max_files = 1024,
		.log_lines_lost = 2,
		.doors = { .results_too_large = 6 },
	};
}

/* The value at "a.b.c". */
static const cJSON *at(const cJSON *document, const char *path)
{
	char copy[100], *rest = copy;

	(void) snprintf(copy, sizeof(copy), "%s", path);
	while (rest != NULL)
		document = cJSON_GetObjectItemCaseSensitive(document, strsep(&rest, "."));
	return document;
}

static void check_number(const cJSON *document, const char *path, double wanted)
{
	const cJSON *value = at(document, path);

	if (cJSON_IsNumber(value) && value->valuedouble != wanted)
		diag("%f", value->valuedouble);
	ok(cJSON_IsNumber(value) && value->valuedouble == wanted, "%s is %g", path, wanted);
}

static void check_text(const cJSON *document, const char *path, const char *wanted)
{
	is_str(cJSON_GetStringValue(at(document, path)), wanted, "%s", path);
}

static void test_json(void)
{
	struct function_metrics function = { 0 };
	struct http_metrics http = { 0 };
	struct status status = make_status(&function, &http);
	size_t length;
	char *text = status_make_json(&status, &length);
	cJSON *document = cJSON_Parse(text);

	ok(document != NULL && strlen(text) == length && text[length - 1] == '\n', "it is JSON, on a line");
	check_text(document, "version", PYACTION_VERSION);
	check_number(document, "uptime_seconds", 12.5);
	check_text(document, "state", "running");
	check_text(document, "convention", "lambda");
	check_number(document, "activations.total", 9);
	check_number(document, "activations.in_flight", 1);
	check_number(document, "activations.waiting", 3);
	check_number(document, "activations.outcomes.success", 7);
	check_number(document, "activations.outcomes.exited", 2);
	check_number(document, "activations.outcomes.timed_out", 0);
	check_number(document, "inits.total", 1);
	check_number(document, "inits.outcomes.initialized", 1);
	check_number(document, "latency_seconds.run.count", 2);
	check_number(document, "latency_seconds.run.sum", 2.0001);
	check_number(document, "latency_seconds.run.max", 2);
	check_number(document, "latency_seconds.run.p999", 2);
	ok(at(document, "latency_seconds.run.p50")->valuedouble <= 0.0001 * 33 / 32, "the median is the lower one");
	check_number(document, "latency_seconds.queue.max", 0);
	check_number(document, "runner.pid", 42);
	check_number(document, "runner.starts", 4);
	check_number(document, "runner.restarts", 3);
	check_number(document, "runner.exits.3", 1);
	check_number(document, "runner.signals.SIGSEGV", 1);
	is_int(cJSON_GetArraySize(at(document, "runner.signals")), 2, "a signal without a name has its number");
	check_number(document, "runner.peak_bytes", 10 << 20);
	check_number(document, "http.answers.404", 1);
	check_number(document, "http.clients_gone.answer", 5);
	check_number(document, "http.pending", 4);
	check_number(document, "proxy.resident_bytes", 5 << 20);
	check_number(document, "proxy.open_files", 20);
	check_number(document, "log_lines_lost", 2);
	check_number(document, "results_too_large", 6);
	cJSON_Delete(document);
	free(text);
	status.function.convention = NULL;
	text = status_make_json(&status, &length);
	document = cJSON_Parse(text);
	ok(cJSON_IsNull(at(document, "convention")), "without code there is no convention");
	cJSON_Delete(document);
	free(text);
}

static void check_line(const char *text, const char *line)
{
	cleanup_free char *wanted = NULL;

	if (asprintf(&wanted, "\n%s\n", line) < 0)
		bail_out("no memory");
	ok(strstr(text, wanted) != NULL, "%s", line);
}

static void test_metrics(void)
{
	static const char *const lines[] = { "pyaction_build_info{version=\"" PYACTION_VERSION "\"} 1",
		"# TYPE pyaction_activations_total counter", "pyaction_activations_total{outcome=\"success\"} 7",
		"pyaction_activations_total{outcome=\"timed_out\"} 0",
		"pyaction_inits_total{outcome=\"initialized\"} 1", "pyaction_state{state=\"running\"} 1",
		"pyaction_state{state=\"ready\"} 0", "pyaction_activations_waiting 3",
		"# TYPE pyaction_run_duration_seconds histogram",
		"pyaction_run_duration_seconds_bucket{le=\"0.0001\"} 1",
		"pyaction_run_duration_seconds_bucket{le=\"1\"} 1",
		"pyaction_run_duration_seconds_bucket{le=\"2.5\"} 2",
		"pyaction_run_duration_seconds_bucket{le=\"+Inf\"} 2", "pyaction_run_duration_seconds_sum 2.000100",
		"pyaction_run_duration_seconds_count 2", "pyaction_runner_exits_total{status=\"3\"} 1",
		"pyaction_runner_signals_total{signal=\"SIGSEGV\"} 1", "pyaction_http_answers_total{code=\"404\"} 1",
		"pyaction_http_clients_gone_total{before=\"answer\"} 5", "pyaction_log_lines_lost_total 2",
		"pyaction_results_too_large_total 6", "process_start_time_seconds 1700000000.250",
		"process_resident_memory_bytes 5242880", "pyaction_runner_peak_memory_bytes 10485760",
		"process_max_fds 1024" };
	struct function_metrics function = { 0 };
	struct http_metrics http = { 0 };
	struct status status = make_status(&function, &http);
	size_t length;
	cleanup_free char *text = status_make_metrics(&status, &length);

	ok(text[length - 1] == '\n' && strlen(text) == length, "the last line is ended, too");
	ok(strstr(text, "\n\n") == NULL, "no line is empty");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		check_line(text, lines[i]);
}

/* A name that is missing would end the server when it is asked for. */
static void test_names(void)
{
	bool all = true;

	for (int i = 0; i < OUTCOME_KIND_COUNT; i++)
		all = all && outcome_name((enum outcome_kind) i) != NULL;
	ok(all, "each outcome has a name");
	all = true;
	for (int i = 0; i < FUNCTION_STATE_COUNT; i++)
		all = all && function_state_name((enum function_state) i) != NULL;
	ok(all, "each state has a name");
}

int main(void)
{
	test_json();
	test_metrics();
	test_names();
	return done_testing();
}
