/*
 * Running a loop for as long as a test wants, and no longer than is sensible.
 */
#pragma once

#include "../../proxy/loop.h"

#include "tap.h"

#include <setjmp.h>

enum { RUN_LIMIT_MS = 20000 };

static struct {
	jmp_buf leave;
	const bool *until;
	bool too_long;
} running;

TAP_UNUSED static struct loop *make_loop(void)
{
	struct loop *loop;
	struct err err;

	if (loop_new(&loop, &err) < 0)
		bail_out("%s", err.text);
	return loop;
}

/* loop_stop() is for good. Between two turns the loop has nothing on the stack that would be lost, so a test
 * leaves it there and can come back. */
static int leave_loop_if_done(void *context)
{
	(void) context;
	if (running.too_long || *running.until)
		longjmp(running.leave, 1);
	return -1;
}

static void set_true(void *context)
{
	bool *flag = context;

	*flag = true;
}

/* Runs until *until is true between two turns, but no longer than limit_ms. Returns *until. Uses the loop's
 * before_wait. */
TAP_UNUSED static bool run_for(struct loop *loop, const bool *until, uint64_t limit_ms)
{
	static struct timer limit = { .on_due = set_true, .context = &running.too_long };
	struct err err;

	running.until = until;
	running.too_long = false;
	loop_set_before_wait(loop, leave_loop_if_done, NULL);
	loop_timer_set(loop, &limit, loop_now_ms() + limit_ms);
	if (setjmp(running.leave) == 0) {
		if (loop_run(loop, &err) < 0)
			bail_out("%s", err.text);
		bail_out("the loop has ended by itself");
	}
	loop_timer_clear(loop, &limit);
	loop_set_before_wait(loop, NULL, NULL);
	return *until;
}

TAP_UNUSED static bool run_until(struct loop *loop, const bool *until)
{
	return run_for(loop, until, RUN_LIMIT_MS);
}

/* For what must not happen. */
TAP_UNUSED static void run_ms(struct loop *loop, uint64_t limit_ms)
{
	static const bool never = false;

	(void) run_for(loop, &never, limit_ms);
}
