/*
 * Linked into everything that make coverage builds: writes gcov's counters out where exit() would not.
 *
 * gcov writes them at exit() and before exec. Much of this project ends otherwise: a runner is killed between two
 * activations, a function calls os._exit(), a child of a test ends with _exit(). So they are written at _exit(), and
 * by a runner whenever it is about to wait for a message; what it did after that and before a SIGKILL is not counted.
 * Where it looks for one, not where it reads: a signal that came between would not be seen by who waits in read().
 */
struct channel;

void __gcov_dump(void);
void __gcov_reset(void);

_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
/* Not in every program. */
void __real_channel_look(struct channel *channel) __attribute__((weak));
void __wrap_channel_look(struct channel *channel);

/* A dump does not begin again by itself, and adds to what is in the files. */
static void dump(void)
{
	__gcov_dump();
	__gcov_reset();
}

void __wrap__exit(int status)
{
	dump();
	__real__exit(status);
}

void __wrap_channel_look(struct channel *channel)
{
	dump();
	__real_channel_look(channel);
}
