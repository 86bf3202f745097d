/*
 * Linked into the runner of make asan, which would never be asked for its leaks: it ends by SIGKILL or _exit(). It is
 * asked before it answers, so that a leak is reported in the log of the activation in which it happened.
 *
 * There is nothing to suppress. The garbage collector knows all containers, so one that is left behind counts as in
 * use, with what is in it: for those there is make refcount.
 */
#include "../../common/process.h"
#include "python_malloc.h"

#include <sanitizer/lsan_interface.h>

enum {
	/* Each check takes 8 ms, more with a large heap; a test may send 20,000 messages. */
	CHECK_ALL = 30,
	/* Who looks is a process that shares the memory, and so counts as one of the function's: it doubles what the
	 * proxy compares with the limit, by default 128 MB. */
	CHECK_MOST_KB = 50 << 10,
};

struct channel;

int __real_channel_write(const struct channel *channel, const char *data, size_t length);
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length);

__attribute__((constructor)) static void begin(void)
{
	python_malloc_use();
}

/* After the first ones only the 32nd, the 64th, the 128th ... */
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length)
{
	static unsigned long count;

	count++;
	if ((count <= CHECK_ALL || (count & (count - 1)) == 0) && process_resident_kb(0) < CHECK_MOST_KB)
		(void) __lsan_do_recoverable_leak_check();
	return __real_channel_write(channel, data, length);
}
