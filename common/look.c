#include "look.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

enum {
	LOOK_US = 50,
	LOOKS_IN_VAIN = 4, /* after these, one wait in LOOK_AGAIN looks */
	LOOK_AGAIN = 64,
	YIELDED_US = 25, /* longer than the turn of somebody who is a part of what is looked for */
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

/* Lets others have the processor. Returns whether any of them took it. */
static bool has_yielded(uint64_t *now)
{
	uint64_t before = *now;

	(void) sched_yield();
	*now = now_us();
	return *now - before >= YIELDED_US;
}

int look_for(struct look *look, int (*try)(void *context), void *context)
{
	uint64_t now, end_us;
	int found;

	if (!is_worth_it(look))
		return 0;
	now = now_us();
	end_us = now + LOOK_US;
	/* On a processor that all share, what is looked for comes from the one that this lets go on. If it does not, the
	 * processor has other work: to be woken is cheap then, and comes sooner than one's next turn after a yield. */
	do {
		found = try(context);
		if (found == 0 && has_yielded(&now)) {
			found = try(context);
			break;
		}
	} while (found == 0 && now < end_us);
	look->in_vain = found != 0 ? 0 : look->in_vain + 1;
	return found;
}
