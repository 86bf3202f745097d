#include "../../common/look.h"

#include "tap.h"

#include <limits.h>

struct tries {
	unsigned count;   /* that have been */
	unsigned in_vain; /* of those, before something is found */
	int found;
};

static int try_it(void *context)
{
	struct tries *tries = context;

	return tries->count++ < tries->in_vain ? 0 : tries->found;
}

/* Whether a wait looks at all, for what does not come. */
static bool looks_in_vain(struct look *look)
{
	struct tries tries = { .in_vain = UINT_MAX };

	(void) look_for(look, try_it, &tries);
	return tries.count > 0;
}

/* Looks for what comes with the third try. The moments may be over before that where the processor is somebody else's
 * or valgrind's. */
static bool finds_third(void)
{
	struct look look = { 0 };
	struct tries third = { .in_vain = 2, .found = 7 };

	return look_for(&look, try_it, &third) == 7 && third.count == 3;
}

static void test_finds(void)
{
	struct look look = { 0 };
	struct tries failure = { .found = -1 };
	int times = 1;

	while (!finds_third() && times < 1000)
		times++;
	ok(times < 1000, "what is found is returned");
	ok(look_for(&look, try_it, &failure) == -1 && failure.count == 1, "so is a failure, at once");
}

static void test_gives_up(void)
{
	struct look look = { 0 };
	struct tries never = { .in_vain = UINT_MAX };
	unsigned looks = 0;

	ok(look_for(&look, try_it, &never) == 0 && never.count > 0, "what does not come is looked for, and not found");
	while (looks_in_vain(&look))
		looks++;
	ok(looks == 3, "after 4 looks in vain there is none: %u", looks + 1);
	looks = 0;
	for (int i = 0; i < 640; i++)
		looks += looks_in_vain(&look);
	ok(looks == 10, "but for one wait in 64: %u of 640", looks);
}

static void test_begins_again(void)
{
	struct look look = { 0 };
	struct tries one = { .found = 1 };

	while (looks_in_vain(&look))
		;
	while (one.count == 0)
		(void) look_for(&look, try_it, &one);
	ok(looks_in_vain(&look) && looks_in_vain(&look), "once one has found something, looks go on");
}

int main(void)
{
	test_finds();
	test_gives_up();
	test_begins_again();
	return done_testing();
}
