/*
 * Linked into the runner of make asan, which would never be asked for its leaks: it ends by SIGKILL or _exit(). It is
 * asked before it answers, so that a leak is reported in the log of the activation in which it happened.
 *
 * There is nothing to suppress. The garbage collector knows all containers, so one that is left behind counts as in
 * use, with what is in it: for those there is make refcount.
 */
#include "python_malloc.h"

#include <sanitizer/lsan_interface.h>
#include <stdbool.h>
#include <string.h>

/* Each takes 8 ms, more with a large heap; a test may send 20,000 messages. */
#define CHECK_ALL 30

struct channel;

int __real_channel_write(const struct channel *channel, const char *data, size_t length);
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length);

static bool is_wanted;

__attribute__((constructor)) static void begin(void)
{
	const char *wish = getenv("PYACTION_LEAK_CHECK"); /* the harness of the tests has it */

	is_wanted = wish == NULL || strcmp(wish, "0") != 0;
	python_malloc_use();
}

/* After the first ones only the 32nd, the 64th, the 128th ... */
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length)
{
	static unsigned long count;

	count++;
	if (is_wanted && (count <= CHECK_ALL || (count & (count - 1)) == 0))
		(void) __lsan_do_recoverable_leak_check();
	return __real_channel_write(channel, data, length);
}
