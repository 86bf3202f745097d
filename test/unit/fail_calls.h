/*
 * Makes one call of the system or of a library fail, the nth of all that an operation makes: first, second, third
 * and so on, until the operation ends without having met it. So every error path behind them runs, those for lack
 * of memory too, and what an operation has taken until then must have been given back.
 *
 * Links into tests that include this; which calls, and with what they fail, is in fail_calls.c. They are counted in
 * children too, until exec.
 */
#pragma once

#include <stdbool.h>

enum fail_mode {
	FAIL_ONE,        /* that call */
	FAIL_ALL_MEMORY, /* memory can no more be had from the nth request for it on; nothing else fails */
};

/* From now on; n counts from 1. 0: none fails. */
void fail_calls_begin(enum fail_mode mode, unsigned n);
/* No call fails any more. Returns the name of the one that did, the first one, or NULL if there were fewer. */
const char *fail_calls_end(void);
/* Whether calls count: what a test itself does meanwhile should not. */
void fail_calls_hold(bool held);
