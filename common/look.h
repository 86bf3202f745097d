/*
 * Looking for what is about to come, for moments, before sleeping until it does.
 *
 * To fall asleep and be woken costs two processors about 30 us where they are virtual and otherwise idle: more than a
 * small activation. So where a wait has lately been over within microseconds, it looks a while first; where looks have
 * been in vain it sleeps at once, but for one wait in many. Whoever else wants the processor gets it meanwhile; where
 * that is somebody with work of his own, the look is over, for to be woken is cheap on a busy processor. With a single
 * processor there is nobody to wait for that is not kept from it, so there is no looking at all.
 */
#pragma once

#include <stdbool.h>

/* One kind of wait. Zeroed at the start. */
struct look {
	unsigned in_vain; /* looks in a row */
	unsigned slept;   /* waits since the last look */
};

/* Whether this process may run on a second processor: to be asked once, at its start. */
bool look_is_possible(void);

/* Calls try(context) until it returns something else than 0, which is returned, or the moments are over: 0. Returns 0 at
 * once where looking has not been worth it. */
int look_for(struct look *look, int (*try)(void *context), void *context);
