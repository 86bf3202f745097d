#include "../../common/rfc3339.h"

#include "tap.h"

static void check(long long seconds, long nanoseconds, const char *wanted)
{
	const struct timespec when = { .tv_sec = (time_t) seconds, .tv_nsec = nanoseconds };
	char text[RFC3339_SIZE];

	rfc3339_write(text, &when);
	is_str(text, wanted, "%lld s", seconds);
}

int main(void)
{
	char text[RFC3339_SIZE], before[RFC3339_SIZE];

	(void) setenv("TZ", "Asia/Tokyo", 1); /* which must not count */
	check(0, 0, "1970-01-01T00:00:00.000Z");
	check(1795181624, 151999999, "2026-11-20T13:33:44.151Z");
	check(1709164800, 999999999, "2024-02-29T00:00:00.999Z");
	check(4102444799, 1000000, "2099-12-31T23:59:59.001Z");
	rfc3339_write_now(before);
	rfc3339_write_now(text);
	ok(strcmp(before, text) <= 0 && strcmp(text, "2024") > 0 && strlen(text) == 24, "now: %s", text);
	return done_testing();
}
