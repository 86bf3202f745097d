#include "convention.h"

#include <string.h>

static const struct {
	const char *name;
	const char *function; /* that the vendor's own examples have, and nobody else's; NULL for the rest */
	const char *reason;
} conventions[] = {
	[CONVENTION_OPENWHISK] = { "openwhisk", NULL,
		"the handler's function is called neither lambda_handler nor main_handler" },
	[CONVENTION_LAMBDA] = { "lambda", "lambda_handler", "the handler's function is called lambda_handler" },
	[CONVENTION_SCF] = { "scf", "main_handler", "the handler's function is called main_handler" },
};

const char *convention_name(enum convention convention)
{
	return conventions[convention].name;
}

int convention_choose(const char *wanted, const char *handler, enum convention *ret_convention, const char **ret_reason,
	struct err *err)
{
	const char *dot = strrchr(handler, '.');
	const char *function = dot != NULL ? dot + 1 : handler;

	for (size_t i = 0; wanted != NULL && i < ARRAY_SIZE(conventions); i++) {
		if (strcmp(wanted, conventions[i].name) == 0) {
			*ret_convention = (enum convention) i;
			*ret_reason = "PYACTION_CONVENTION says so";
			return 0;
		}
	}
	if (wanted != NULL && strcmp(wanted, "auto") != 0)
		return err_set(err, -EINVAL,
			"PYACTION_CONVENTION is '%.100s', but must be auto, openwhisk, lambda or scf", wanted);
	*ret_convention = CONVENTION_OPENWHISK;
	for (size_t i = 0; i < ARRAY_SIZE(conventions); i++)
		if (conventions[i].function != NULL && strcmp(function, conventions[i].function) == 0)
			*ret_convention = (enum convention) i;
	*ret_reason = conventions[*ret_convention].reason;
	return 0;
}
