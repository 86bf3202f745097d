/*
 * A clock that a test sets forward, in place of the C library's: for what takes minutes. Waits take as long as they
 * always do, and end then.
 */
#pragma once

#include "tap.h"

#include <sys/syscall.h>
#include <time.h>

static uint64_t clock_ahead_ms;

int clock_gettime(clockid_t clock_id, struct timespec *now)
{
	int r = (int) syscall(SYS_clock_gettime, clock_id, now);

	now->tv_sec += (time_t) (clock_ahead_ms / 1000);
	now->tv_nsec += (long) (clock_ahead_ms % 1000) * 1000000;
	if (now->tv_nsec >= 1000000000) {
		now->tv_nsec -= 1000000000;
		now->tv_sec++;
	}
	return r;
}

TAP_UNUSED static void advance_clock(uint64_t ms)
{
	clock_ahead_ms += ms;
}
