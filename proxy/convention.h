/*
 * Which vendor's functions a function is like: how its handler is found and called, and what its results and
 * errors look like. The runner implements them (pyrunner/pyaction_bootstrap); any of them runs behind any door.
 */
#pragma once

#include "../common/err.h"

enum convention {
	CONVENTION_OPENWHISK, /* main(event, context): OpenWhisk, DigitalOcean */
	CONVENTION_LAMBDA,    /* lambda_function.lambda_handler: AWS Lambda */
	CONVENTION_SCF,       /* index.main_handler: Tencent SCF */
};

/* The name, as in PYACTION_CONVENTION and in the message to the runner. */
const char *convention_name(enum convention convention);

/*
 * Decides for a function. wanted: what PYACTION_CONVENTION says, NULL where it is not set; "auto" goes by the name of
 * the handler's function. ret_reason is a literal that completes "because …".
 *
 * Returns 0, or -EINVAL for a name that is none.
 */
int convention_choose(const char *wanted, const char *handler, enum convention *ret_convention, const char **ret_reason,
	struct err *err) UTIL_MUST_CHECK;
