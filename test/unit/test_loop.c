#include "../../proxy/loop.h"

#include "loop_run.h"
#include "tap.h"
#include "tree.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A watched pipe. */
struct source {
	struct loop *loop;
	struct watch watch;
	int write_end;
	int calls;
	uint32_t last_events;
	struct source *other;
	bool *done;
};

static void on_source(void *context, uint32_t events)
{
	struct source *source = context;
	char byte;

	source->calls++;
	source->last_events = events;
	if (read(source->watch.fd, &byte, 1) <= 0)
		loop_unwatch(source->loop, &source->watch);
	if (source->done != NULL)
		*source->done = true;
}

static struct source *source_new(struct loop *loop, void (*on_ready)(void *, uint32_t), bool *done)
{
	struct source *source = calloc(1, sizeof(*source));
	struct err err;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		bail_out("no pipe");
	*source = (struct source) { .loop = loop, .write_end = fds[1], .done = done };
	source->watch = (struct watch) { .fd = fds[0], .on_ready = on_ready, .context = source };
	if (loop_watch(loop, &source->watch, EPOLLIN, &err) < 0)
		bail_out("%s", err.text);
	return source;
}

static void source_free(struct source *source)
{
	loop_unwatch(source->loop, &source->watch);
	fd_close(source->watch.fd);
	fd_close(source->write_end);
	free(source);
}

static void put_byte(const struct source *source)
{
	if (write(source->write_end, "x", 1) != 1)
		bail_out("cannot write to a pipe");
}

static void test_watch(void)
{
	struct loop *loop = make_loop();
	bool done = false;
	struct source *source = source_new(loop, on_source, &done);
	struct err err;

	run_ms(loop, 5);
	is_int(source->calls, 0, "a silent pipe calls nobody");
	put_byte(source);
	put_byte(source);
	ok(run_until(loop, &done), "a byte calls");
	is_int(source->last_events, EPOLLIN, "... with the event");
	done = false;
	ok(run_until(loop, &done), "what is left calls again");

	is_int(loop_watch(loop, &source->watch, 0, &err), 0, "events 0 end it");
	is_int(source->watch.events, 0, "... which the watch shows");
	put_byte(source);
	run_ms(loop, 5);
	is_int(source->calls, 2, "... and nothing calls any more");
	loop_unwatch(loop, &source->watch);

	done = false;
	is_int(loop_watch(loop, &source->watch, EPOLLIN, &err), 0, "it can be watched again");
	ok(run_until(loop, &done), "... and calls");

	fd_closep(&source->write_end);
	done = false;
	ok(run_until(loop, &done), "a hang-up calls");
	ok((source->last_events & EPOLLHUP) != 0, "... with that event");
	run_ms(loop, 5);
	is_int(source->calls, 4, "unwatched in its own callback, it is not called again");
	source_free(source);
	loop_free(loop);
}

static void test_watch_errors(void)
{
	struct loop *loop = make_loop();
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct watch watch = { .fd = fd };
	char sentence[100];
	struct err err;

	(void) snprintf(sentence, sizeof(sentence), "cannot watch descriptor %d: Operation not permitted", fd);
	is_int(loop_watch(loop, &watch, EPOLLIN, &err), -EPERM, "a regular file cannot be watched");
	is_str(err.text, sentence, "... which is said");
	is_int(watch.events, 0, "... and it is not watched");
	loop_unwatch(loop, &watch);
	fd_close(fd);
	is_int(loop_watch(loop, &watch, EPOLLIN, &err), -EBADF, "nor can a closed descriptor");
	loop_free(loop);
}

static struct source *survivor;
static int drop_calls;

static void on_source_drop_other(void *context, uint32_t events)
{
	struct source *source = context;

	(void) events;
	survivor = source;
	drop_calls++;
	if (source->other != NULL) {
		source->other->other = NULL;
		source_free(source->other); /* a later call of its callback would be a use after free */
		source->other = NULL;
	}
	loop_unwatch(source->loop, &source->watch);
}

static void on_source_disarm_other(void *context, uint32_t events)
{
	struct source *source = context;
	struct err err;

	(void) events;
	source->calls++;
	(void) loop_watch(source->loop, &source->other->watch, EPOLLOUT, &err); /* never true of a read end */
	loop_unwatch(source->loop, &source->watch);
}

/* Of two that are ready in one turn, the first called takes the other away. */
static void test_removal_in_a_batch(void)
{
	struct loop *loop = make_loop();
	struct source *a = source_new(loop, on_source_drop_other, NULL),
		      *b = source_new(loop, on_source_drop_other, NULL);

	a->other = b;
	b->other = a;
	put_byte(a);
	put_byte(b);
	run_ms(loop, 5);
	is_int(drop_calls, 1, "of two ready ones, the first called freed the other, which is not called");
	source_free(survivor);
	loop_free(loop);
}

static void test_change_in_a_batch(void)
{
	struct loop *loop = make_loop();
	struct source *a = source_new(loop, on_source_disarm_other, NULL),
		      *b = source_new(loop, on_source_disarm_other, NULL);

	a->other = b;
	b->other = a;
	put_byte(a);
	put_byte(b);
	run_ms(loop, 5);
	is_int(a->calls + b->calls, 1, "of two ready ones, the first called changed what the other waits for");
	source_free(a);
	source_free(b);
	loop_free(loop);
}

static int reused_calls;

static void on_reused(void *context, uint32_t events)
{
	(void) context;
	(void) events;
	reused_calls++;
}

/* The other's watch becomes that of a descriptor on which nothing happens. */
static void on_source_reuse_other(void *context, uint32_t events)
{
	struct source *source = context, *other = source->other;
	struct err err;
	int fds[2];

	(void) events;
	loop_unwatch(source->loop, &source->watch);
	loop_unwatch(source->loop, &other->watch);
	fd_close(other->watch.fd);
	fd_close(other->write_end);
	if (pipe2(fds, O_CLOEXEC) < 0)
		bail_out("no pipe");
	other->write_end = fds[1];
	other->watch = (struct watch) { .fd = fds[0], .on_ready = on_reused };
	(void) loop_watch(source->loop, &other->watch, EPOLLIN, &err);
}

static void test_reuse_in_a_batch(void)
{
	struct loop *loop = make_loop();
	struct source *a = source_new(loop, on_source_reuse_other, NULL),
		      *b = source_new(loop, on_source_reuse_other, NULL);

	a->other = b;
	b->other = a;
	put_byte(a);
	put_byte(b);
	run_ms(loop, 5);
	is_int(reused_calls, 0, "of two ready ones, the first called gave the other's watch to a silent descriptor");
	source_free(a);
	source_free(b);
	loop_free(loop);
}

static struct source *added;

static void on_source_add(void *context, uint32_t events)
{
	struct source *source = context;

	(void) events;
	loop_unwatch(source->loop, &source->watch);
	added = source_new(source->loop, on_source, source->done);
	put_byte(added);
}

static void test_addition_in_a_callback(void)
{
	struct loop *loop = make_loop();
	bool done = false;
	struct source *source = source_new(loop, on_source_add, &done);

	put_byte(source);
	ok(run_until(loop, &done) && added->calls == 1, "one that is added in a callback is watched");
	source_free(added);
	source_free(source);
	loop_free(loop);
}

/* More than the loop takes at once. */
static void test_many(void)
{
	enum { MANY = 100 };
	struct loop *loop = make_loop();
	struct source *sources[MANY];
	int calls = 0;

	for (int i = 0; i < MANY; i++) {
		sources[i] = source_new(loop, on_source, NULL);
		put_byte(sources[i]);
	}
	for (int i = 0; i < 1000 && calls < MANY; i++) {
		run_ms(loop, 1);
		calls = 0;
		for (int j = 0; j < MANY; j++)
			calls += sources[j]->calls == 1;
	}
	for (int i = 0; i < MANY; i++)
		source_free(sources[i]);
	is_int(calls, MANY, "each of many is called once");
	loop_free(loop);
}

/* --- timers ------------------------------------------------------------------------------------------ */

struct alarm {
	struct timer timer;
	struct loop *loop;
	char letter;
	uint64_t called_ms;
	struct alarm *victim;
	bool *done;
};

static char order[32];

static void on_alarm(void *context)
{
	struct alarm *alarm = context;

	order[strlen(order)] = alarm->letter;
	alarm->called_ms = loop_now_ms();
	if (alarm->victim != NULL)
		loop_timer_clear(alarm->loop, &alarm->victim->timer);
	if (alarm->done != NULL)
		*alarm->done = true;
}

static void alarms_init(struct alarm *alarms, size_t count, struct loop *loop)
{
	memset(order, 0, sizeof(order));
	for (size_t i = 0; i < count; i++) {
		alarms[i] = (struct alarm) { .loop = loop, .letter = (char) ('a' + i) };
		alarms[i].timer = (struct timer) { .on_due = on_alarm, .context = &alarms[i] };
	}
}

static void test_timer_order(void)
{
	static const uint64_t delays_ms[] = { 12, 4, 8, 4, 16, 0, 4 };
	enum { COUNT = ARRAY_SIZE(delays_ms) };
	struct loop *loop = make_loop();
	uint64_t start_ms = loop_now_ms();
	struct alarm alarms[COUNT];
	bool done = false, early = false;

	alarms_init(alarms, COUNT, loop);
	for (size_t i = 0; i < COUNT; i++)
		loop_timer_set(loop, &alarms[i].timer, start_ms + delays_ms[i]);
	alarms[4].done = &done; /* the latest */
	ok(run_until(loop, &done), "all timers come");
	is_str(order, "fbdgcae", "... in the order of their times, equal ones as they were set");
	for (size_t i = 0; i < COUNT; i++) {
		early = early || alarms[i].called_ms < start_ms + delays_ms[i];
		done = done && !alarms[i].timer.set;
	}
	ok(!early, "none too early");
	ok(done, "none is set any longer");
	loop_free(loop);
}

static void test_timer_changes(void)
{
	struct loop *loop = make_loop();
	uint64_t now_ms = loop_now_ms();
	struct alarm alarms[5];
	bool done = false;

	alarms_init(alarms, 5, loop);
	for (size_t i = 0; i < 5; i++)
		loop_timer_set(loop, &alarms[i].timer, now_ms + 2 * i + 2);
	loop_timer_set(loop, &alarms[0].timer, now_ms + 15); /* moved to the end */
	loop_timer_clear(loop, &alarms[2].timer);
	loop_timer_clear(loop, &alarms[2].timer);
	alarms[1].victim = &alarms[3];
	alarms[0].done = &done;
	ok(run_until(loop, &done), "the last timer comes");
	is_str(order, "bea", "moved, cleared, and cleared in a callback");

	done = false;
	alarms[1].done = &done;
	alarms[1].victim = &alarms[1];
	loop_timer_set(loop, &alarms[1].timer, loop_now_ms());
	ok(run_until(loop, &done), "one that is cleared in its own callback");
	done = false;
	loop_timer_set(loop, &alarms[1].timer, 0);
	ok(run_until(loop, &done), "one that was due long ago");
	loop_free(loop);
}

static void on_alarm_again(void *context)
{
	struct alarm *alarm = context;

	order[strlen(order)] = alarm->letter;
	if (strlen(order) < 4)
		loop_timer_set(alarm->loop, &alarm->timer, loop_now_ms() + 1);
	else
		*alarm->done = true;
}

static void test_timer_set_in_its_callback(void)
{
	struct loop *loop = make_loop();
	struct alarm alarm;
	bool done = false;

	alarms_init(&alarm, 1, loop);
	alarm.timer.on_due = on_alarm_again;
	loop_timer_set(loop, &alarm.timer, loop_now_ms());
	alarm.done = &done;
	ok(run_until(loop, &done), "a timer that sets itself in its callback");
	run_ms(loop, 5);
	is_str(order, "aaaa", "... comes again, until it does not");
	loop_free(loop);
}

/* --- waiting and stopping ---------------------------------------------------------------------------- */

struct turns {
	struct loop *loop;
	int count, stop_at, answer;
};

static int count_turn(void *context)
{
	struct turns *turns = context;

	if (++turns->count == turns->stop_at)
		loop_stop(turns->loop);
	return turns->answer;
}

/* Stopped before a wait that has no limit: it must not wait. */
static void test_stop_before_wait(void)
{
	struct turns turns = { .loop = make_loop(), .stop_at = 1, .answer = -1 };
	struct alarm rescue = { .loop = turns.loop };
	uint64_t start_ms = loop_now_ms();
	struct err err;

	rescue.timer = (struct timer) { .on_due = on_alarm, .context = &rescue };
	loop_timer_set(turns.loop, &rescue.timer, start_ms + 2000);
	loop_set_before_wait(turns.loop, count_turn, &turns);
	(void) loop_run(turns.loop, &err);
	ok(loop_now_ms() - start_ms < 1000, "stopped in before_wait, it does not wait");
	loop_free(turns.loop);
}

static void on_source_stop(void *context, uint32_t events)
{
	struct source *source = context;

	(void) events;
	source->calls++;
	loop_stop(source->loop);
}

static void test_before_wait_and_stop(void)
{
	struct turns turns = { .loop = make_loop(), .stop_at = 10, .answer = 0 };
	struct source *source;
	uint64_t start_ms = loop_now_ms();
	struct err err;

	loop_set_before_wait(turns.loop, count_turn, &turns);
	is_int(loop_run(turns.loop, &err), 0, "a stopped loop ends without error");
	is_int(turns.count, 10, "before_wait runs in every turn; its 0 means no wait");
	is_int(loop_run(turns.loop, &err), 0, "it stays stopped");
	is_int(turns.count, 10, "... at once");
	loop_free(turns.loop);

	turns = (struct turns) { .loop = make_loop(), .stop_at = 4, .answer = 5 };
	loop_set_before_wait(turns.loop, count_turn, &turns);
	(void) loop_run(turns.loop, &err);
	ok(loop_now_ms() - start_ms >= 14, "its 5 are three waits of 5 ms");
	loop_free(turns.loop);

	turns = (struct turns) { .loop = make_loop(), .answer = 100000 };
	loop_set_before_wait(turns.loop, count_turn, &turns);
	source = source_new(turns.loop, on_source_stop, NULL);
	put_byte(source);
	is_int(loop_run(turns.loop, &err), 0, "an event ends the wait, and loop_stop the loop");
	is_int(source->calls, 1, "... after its callback");
	source_free(source);
	loop_free(turns.loop);
}

/* --- children ---------------------------------------------------------------------------------------- */

struct child {
	struct child_watch watch;
	int calls, wait_status;
	bool done;
	struct child *other;
	struct loop *loop;
};

static void on_child_end(void *context, int wait_status)
{
	struct child *child = context;

	child->calls++;
	child->wait_status = wait_status;
	child->done = true;
	if (child->other != NULL)
		loop_child_unwatch(child->loop, &child->other->watch);
}

/* A child that waits until gate is closed, then exits with status; gate -1: at once. */
static pid_t start_child(int gate, int status)
{
	pid_t pid = fork();
	char byte;

	if (pid == 0) {
		if (gate >= 0)
			(void) !read(gate, &byte, 1);
		_exit(status);
	}
	return pid;
}

static void child_init(struct child *child, struct loop *loop, pid_t pid)
{
	*child = (struct child) { .loop = loop };
	child->watch = (struct child_watch) { .pid = pid, .on_end = on_child_end, .context = child };
	loop_child_watch(loop, &child->watch);
}

static bool has_no_children(void)
{
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void test_children(void)
{
	struct loop *loop = make_loop();
	struct child child, another;

	child_init(&child, loop, start_child(-1, 3));
	ok(run_until(loop, &child.done), "the end of a child is told");
	ok(WIFEXITED(child.wait_status) && WEXITSTATUS(child.wait_status) == 3, "... with its exit status");
	is_int(child.watch.pid, 0, "... and its pid is forgotten");

	child_init(&child, loop, fork());
	while (child.watch.pid == 0)
		(void) pause();
	(void) kill(child.watch.pid, SIGKILL);
	ok(run_until(loop, &child.done), "one that is killed");
	ok(WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGKILL, "... with the signal");

	child_init(&another, loop, start_child(-1, 4));
	loop_child_unwatch(loop, &another.watch);
	loop_child_unwatch(loop, &another.watch);
	child_init(&child, loop, start_child(-1, 5));
	ok(run_until(loop, &child.done), "one beside another");
	run_ms(loop, 20);
	is_int(another.calls, 0, "an unwatched child is not told");
	ok(has_no_children(), "... but reaped");

	child_init(&child, loop, start_child(-1, 6));
	loop_reap_children(loop, 20000);
	ok(child.done && WEXITSTATUS(child.wait_status) == 6, "loop_reap_children waits for one, and tells");
	loop_free(loop);
}

/* A child that has had so many MB for a moment, itself or in a child of its own. */
static pid_t start_large_child(size_t megabytes, bool in_its_child)
{
	pid_t pid = fork();
	void *memory;

	if (pid != 0)
		return pid;
	if (in_its_child) {
		pid = start_large_child(megabytes, false);
		_exit(waitpid(pid, NULL, 0) == pid ? 0 : 1);
	}
	memory = mmap(NULL, megabytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	_exit(memory == MAP_FAILED || munmap(memory, megabytes << 20) < 0 ? 1 : 0);
}

static long peak_kb_of(struct loop *loop, pid_t pid)
{
	struct child child;

	child_init(&child, loop, pid);
	if (!run_until(loop, &child.done) || child.wait_status != 0)
		bail_out("a child has failed");
	return child.watch.peak_kb;
}

static void test_peak_memory(void)
{
	enum { LARGE_MB = 200 };
	struct loop *loop = make_loop();
	long small_kb = peak_kb_of(loop, start_child(-1, 0)),
	     large_kb = peak_kb_of(loop, start_large_child(LARGE_MB, false));

	ok(small_kb > 0 && small_kb < LARGE_MB * 1024, "a child that takes nothing has had %ld KB", small_kb);
	ok(large_kb >= LARGE_MB * 1024 && large_kb <= LARGE_MB * 1024 + small_kb + 10240, "one that took %d MB: %ld KB",
		LARGE_MB, large_kb);
	large_kb = peak_kb_of(loop, start_large_child(LARGE_MB, true));
	ok(large_kb >= LARGE_MB * 1024, "one whose child took them: %ld KB", large_kb);
	small_kb = peak_kb_of(loop, start_child(-1, 0));
	ok(small_kb > 0 && small_kb < LARGE_MB * 1024, "the next has its own again: %ld KB", small_kb);
	loop_free(loop);
}

/* SIGCHLD does not queue: many ends, one signal. */
static void test_many_children(void)
{
	enum { MANY = 20 };
	struct loop *loop = make_loop();
	struct child children[MANY];
	int gate[2], right = 0;

	if (pipe2(gate, O_CLOEXEC) < 0)
		bail_out("no pipe");
	for (int i = 0; i < MANY; i++) {
		pid_t pid = fork();
		char byte;

		if (pid == 0) {
			fd_close(gate[1]);
			(void) !read(gate[0], &byte, 1);
			_exit(i);
		}
		child_init(&children[i], loop, pid);
	}
	fd_close(gate[0]);
	fd_close(gate[1]);
	for (int i = 0; i < MANY; i++)
		right += run_until(loop, &children[i].done) && WEXITSTATUS(children[i].wait_status) == i &&
			children[i].calls == 1;
	is_int(right, MANY, "of many that end together each is told its own status, once");
	loop_free(loop);
}

static void test_unwatch_another_child(void)
{
	struct loop *loop = make_loop();
	struct child a, b;

	child_init(&a, loop, start_child(-1, 0));
	child_init(&b, loop, start_child(-1, 0));
	a.other = &b;
	b.other = &a;
	/* Both must have ended before the loop looks, without being reaped. */
	(void) waitid(P_PID, (id_t) a.watch.pid, &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
	(void) waitid(P_PID, (id_t) b.watch.pid, &(siginfo_t) { 0 }, WEXITED | WNOWAIT);
	run_ms(loop, 20);
	is_int(a.calls + b.calls, 1, "of two that have ended, the first told unwatched the other");
	ok(has_no_children(), "both are reaped");
	loop_free(loop);
}

static void test_orphans(void)
{
	struct loop *loop = make_loop();
	struct child child;
	int report[2];
	pid_t orphan = 0;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || pipe2(report, O_CLOEXEC) < 0)
		bail_out("cannot become a subreaper");
	child_init(&child, loop, fork());
	if (child.watch.pid == 0) {
		pid_t pid = fork();

		while (pid == 0)
			(void) pause();
		(void) !write(report[1], &pid, sizeof(pid));
		_exit(0);
	}
	(void) !read(report[0], &orphan, sizeof(orphan));
	ok(run_until(loop, &child.done), "a child with a child ends");
	(void) kill(orphan, SIGKILL);
	for (int i = 0; i < 100 && !has_no_children(); i++)
		run_ms(loop, 10);
	ok(has_no_children() && kill(orphan, 0) < 0 && errno == ESRCH, "its orphan is reaped, too");
	(void) prctl(PR_SET_CHILD_SUBREAPER, 0);
	fd_close(report[0]);
	fd_close(report[1]);
	loop_free(loop);
}

/* --- signals ----------------------------------------------------------------------------------------- */

static int signals_seen[8];
static size_t signal_count;

static void on_signal(void *context, int number)
{
	bool *done = context;

	if (signal_count < ARRAY_SIZE(signals_seen))
		signals_seen[signal_count++] = number;
	*done = true;
}

static void test_signals(void)
{
	static const int told[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	static const int blocked[] = { SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTSTP, SIGWINCH };
	struct loop *loop = make_loop();
	bool done = false;
	sigset_t pending;

	(void) kill(getpid(), SIGTERM); /* nobody listens: must not end us */
	run_ms(loop, 5);
	loop_set_on_signal(loop, on_signal, &done);
	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		done = false;
		signal_count = 0;
		(void) kill(getpid(), told[i]);
		ok(run_until(loop, &done) && signal_count == 1 && signals_seen[0] == told[i], "%s is told",
			strsignal(told[i]));
	}
	signal_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(blocked); i++)
		(void) kill(getpid(), blocked[i]);
	run_ms(loop, 5);
	is_int(signal_count, 0, "other signals are not");
	sigpending(&pending);
	done = true;
	for (size_t i = 0; i < ARRAY_SIZE(blocked); i++) {
		done = done && sigismember(&pending, blocked[i]);
		(void) signal(blocked[i], SIG_IGN); /* takes the pending one away */
		(void) signal(blocked[i], SIG_DFL);
	}
	ok(done, "... but blocked");
	loop_free(loop);
}

/* In a child, for what loop_new() does to a process cannot be undone. Returns its exit status. */
static int in_child(void (*body)(void))
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		body();
		_exit(0);
	}
	(void) waitpid(pid, &wait_status, 0);
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1000 + WTERMSIG(wait_status);
}

static void check_masks(void)
{
	static const unsigned long by_default[16]; /* the kernel's struct sigaction */
	sigset_t mine, now;
	struct loop *loop;

	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mine, NULL);
	loop = make_loop();
	for (int number = 1; number < NSIG; number++)
		if (sigismember(loop_original_mask(loop), number) == 1 && number != SIGUSR2)
			_exit(1);
	if (!sigismember(loop_original_mask(loop), SIGUSR2))
		_exit(2);
	sigprocmask(SIG_SETMASK, NULL, &now);
	if (!sigismember(&now, SIGUSR1) || !sigismember(&now, SIGTERM) || !sigismember(&now, SIGCHLD) ||
		!sigismember(&now, SIGPIPE) || !sigismember(&now, SIGRTMIN))
		_exit(3);
	if (sigismember(&now, SIGSEGV) || sigismember(&now, SIGBUS) || sigismember(&now, SIGFPE) ||
		sigismember(&now, SIGILL) || sigismember(&now, SIGABRT))
		_exit(4);
	/* glibc's own two are in no set; without the mask they would end us, unless a parent ignores them. */
	for (int number = 32; number <= 33; number++) {
		(void) syscall(SYS_rt_sigaction, number, by_default, NULL, (size_t) NSIG / 8);
		(void) kill(getpid(), number);
	}
}

static void check_ignored_sigchld(void)
{
	struct child child;
	struct loop *loop;

	(void) signal(SIGCHLD, SIG_IGN);
	loop = make_loop();
	child_init(&child, loop, start_child(-1, 9));
	if (!run_for(loop, &child.done, 3000))
		_exit(1);
	_exit(WEXITSTATUS(child.wait_status) == 9 ? 0 : 2);
}

int main(void)
{
	int fds = count_open_fds();

	is_int(in_child(check_masks), 0, "all signals but faults are blocked; the mask before is kept");
	is_int(in_child(check_ignored_sigchld), 0, "an ignored SIGCHLD, handed down by a parent, loses no exit status");
	test_watch();
	test_watch_errors();
	test_removal_in_a_batch();
	test_change_in_a_batch();
	test_reuse_in_a_batch();
	test_addition_in_a_callback();
	test_many();
	test_timer_order();
	test_timer_changes();
	test_timer_set_in_its_callback();
	test_before_wait_and_stop();
	test_stop_before_wait();
	test_children();
	test_peak_memory();
	test_many_children();
	test_unwatch_another_child();
	test_orphans();
	test_signals();
	loop_free(NULL);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
