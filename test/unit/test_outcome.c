#include "../../proxy/outcome.h"

#include "tap.h"

static void test_names(void)
{
	bool all = true;

	for (int i = 0; i < OUTCOME_KIND_COUNT; i++)
		for (int j = 0; j < i; j++)
			all = all &&
				strcmp(outcome_name((enum outcome_kind) i), outcome_name((enum outcome_kind) j)) != 0;
	ok(all, "each kind has a name of its own");
	is_str(outcome_name(OUTCOME_TIMED_OUT), "timed_out", "... its own");
}

static void check_status(const char *line, enum outcome_kind kind, bool markers, long peak_kb)
{
	long found_kb = -1;
	const struct outcome_status *status = outcome_parse_status(line, &found_kb);

	ok(status != NULL && status->kind == kind && status->markers == markers, "%s", line);
	is_int(found_kb, peak_kb, "... peak_kb");
}

static void check_unknown(const char *line)
{
	long peak_kb = -1;

	ok(outcome_parse_status(line, &peak_kb) == NULL && peak_kb >= 0, "unknown: %s", line);
}

int main(void)
{
	test_names();
	check_status("{\"status\":\"success\",\"peak_kb\":1234}", OUTCOME_SUCCESS, true, 1234);
	check_status("{\"status\":\"success_bytes\"}", OUTCOME_SUCCESS_BYTES, true, 0);
	check_status("{\"status\":\"application_error\"}", OUTCOME_APPLICATION_ERROR, true, 0);
	check_status("{ \"peak_kb\" : 7 , \"status\" : \"function_error\" }", OUTCOME_FUNCTION_ERROR, true, 7);
	check_status("{\"status\":\"bad_request\"}", OUTCOME_BAD_REQUEST, false, 0);
	check_status("{\"status\":\"initialized\"}", OUTCOME_INITIALIZED, false, 0);
	check_status("{\"status\":\"init_failed\"}", OUTCOME_INIT_FAILED, true, 0);
	check_unknown("");
	check_unknown("success");
	check_unknown("{}");
	check_unknown("{\"status\":1}");
	check_unknown("{\"status\":\"\"}");
	check_unknown("{\"status\":\"succes\"}");
	check_unknown("{\"status\":\"successful\"}");
	check_unknown("{\"status\":\"timed_out\"}");
	return done_testing();
}
