/*
 * Linked into the runner of make asan, which would never be asked for its leaks: it ends by SIGKILL or _exit(). It is
 * asked before it answers, so that a leak is reported in the log of the activation in which it happened.
 *
 * There is nothing to suppress. The garbage collector knows all containers, so one that is left behind counts as in
 * use, with what is in it: for those there is make refcount.
 */
#include "python_malloc.h"

#include <fcntl.h>
#include <sanitizer/lsan_interface.h>
#include <stdbool.h>
#include <unistd.h>

/* Each check takes 8 ms, more with a large heap; a test may send 20,000 messages. */
#define CHECK_ALL 30

struct channel;

int __real_channel_write(const struct channel *channel, const char *data, size_t length);
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length);

static pid_t runner;

__attribute__((constructor)) static void begin(void)
{
	runner = getpid();
	python_malloc_use();
}

/* Asked by the sanitizer, also at exit(): not in a child that one of the function's threads has forked, for it lacks the
 * stacks of the others. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return getpid() != runner;
}

/* Not where the function has used up all descriptors: the sanitizer would end the process. */
static bool can_check(void)
{
	int fd = open("/proc/self/task", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	(void) close(fd);
	return true;
}

/* After the first ones only the 32nd, the 64th, the 128th ... */
int __wrap_channel_write(const struct channel *channel, const char *data, size_t length)
{
	static unsigned long count;

	count++;
	if ((count <= CHECK_ALL || (count & (count - 1)) == 0) && can_check())
		(void) __lsan_do_recoverable_leak_check();
	return __real_channel_write(channel, data, length);
}
