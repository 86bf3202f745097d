#include "look.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

enum {
	LOOK_US = 50,
	LOOKS_IN_VAIN = 4, /* after these, one wait in LOOK_AGAIN looks */
	LOOK_AGAIN = 64,
};

bool look_is_possible(void)
{
	cpu_set_t processors;

	return sched_getaffinity(0, sizeof(processors), &processors) == 0 && CPU_COUNT(&processors) > 1;
}

static bool is_worth_it(struct look *look)
{
	return look->in_vain < LOOKS_IN_VAIN || ++look->slept % LOOK_AGAIN == 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

int look_for(struct look *look, int (*try)(void *context), void *context)
{
	uint64_t end_us;

	if (!is_worth_it(look))
		return 0;
	end_us = now_us() + LOOK_US;
	do {
		int found = try(context);

		if (found != 0) {
			look->in_vain = 0;
			return found;
		}
		/* On a processor that all share, what is looked for comes from the one that this lets go on. */
		(void) sched_yield();
	} while (now_us() < end_us);
	look->in_vain++;
	return 0;
}
