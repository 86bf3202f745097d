#include "../../proxy/convention.h"

#include "tap.h"

/* wanted NULL: nobody says it. */
static void check_chosen(const char *wanted, const char *handler, enum convention convention, const char *reason)
{
	enum convention chosen = (enum convention) 4711;
	const char *said = "untouched";
	struct err err = { .text = "" };
	int r = convention_choose(wanted, handler, &chosen, &said, &err);

	ok(tap_is_int(r, 0) && tap_is_int(chosen, convention) && tap_is_str(said, reason), "%s for %s: %s, because %s",
		wanted != NULL ? wanted : "nothing", handler, convention_name(convention), reason);
}

static void test_names(void)
{
	is_str(convention_name(CONVENTION_OPENWHISK), "openwhisk", "the name of OpenWhisk's");
	is_str(convention_name(CONVENTION_LAMBDA), "lambda", "the name of Lambda's");
	is_str(convention_name(CONVENTION_SCF), "scf", "the name of SCF's");
}

static void test_by_handler(void)
{
	static const char *const wanted[] = { NULL, "auto" };
	static const char *const others[] = { "main", "", ".", "__main__.main", "handler", "app.handler",
		"lambda_handler.main", "main_handler.handler", "lambda_handler.", "lambda_handlers",
		"my_lambda_handler", "Lambda_handler", "lambda_handler.main_handle", "main_handler ", "package/main" };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		check_chosen(wanted[i], "lambda_function.lambda_handler", CONVENTION_LAMBDA,
			"the handler's function is called lambda_handler");
		check_chosen(wanted[i], "lambda_handler", CONVENTION_LAMBDA,
			"the handler's function is called lambda_handler");
		check_chosen(wanted[i], "a/b.main_handler.lambda_handler", CONVENTION_LAMBDA,
			"the handler's function is called lambda_handler");
		check_chosen(wanted[i], ".lambda_handler", CONVENTION_LAMBDA,
			"the handler's function is called lambda_handler");
		check_chosen(wanted[i], "index.main_handler", CONVENTION_SCF,
			"the handler's function is called main_handler");
		check_chosen(
			wanted[i], "main_handler", CONVENTION_SCF, "the handler's function is called main_handler");
		for (size_t j = 0; j < ARRAY_SIZE(others); j++)
			check_chosen(wanted[i], others[j], CONVENTION_OPENWHISK,
				"the handler's function is called neither lambda_handler nor main_handler");
	}
}

static void test_by_name(void)
{
	static const char *const handlers[] = { "main", "x.lambda_handler", "index.main_handler" };

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		check_chosen("openwhisk", handlers[i], CONVENTION_OPENWHISK, "PYACTION_CONVENTION says so");
		check_chosen("lambda", handlers[i], CONVENTION_LAMBDA, "PYACTION_CONVENTION says so");
		check_chosen("scf", handlers[i], CONVENTION_SCF, "PYACTION_CONVENTION says so");
	}
}

static void test_unknown(void)
{
	static const char *const unknown[] = { "", "aws", "Lambda", "lambda ", "openwhisk,scf", "AUTO", "100%s" };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		enum convention chosen = CONVENTION_SCF;
		const char *reason = "untouched";
		struct err err = { .text = "" };
		char sentence[300];

		(void) snprintf(sentence, sizeof(sentence),
			"PYACTION_CONVENTION is '%s', but must be auto, openwhisk, lambda or scf", unknown[i]);
		ok(convention_choose(unknown[i], "main", &chosen, &reason, &err) == -EINVAL &&
				tap_is_str(err.text, sentence) && chosen == CONVENTION_SCF &&
				tap_is_str(reason, "untouched"),
			"'%s' is none", unknown[i]);
	}
}

int main(void)
{
	test_names();
	test_by_handler();
	test_by_name();
	test_unknown();
	return done_testing();
}
