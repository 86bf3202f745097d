#include "loop.h"

#include "../common/look.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum {
	EVENTS_AT_ONCE = 16,
};

struct loop {
	int epoll_fd;
	struct watch signals;
	sigset_t original_mask;
	struct epoll_event ready[EVENTS_AT_ONCE];
	int ready_count;
	struct timer *timers; /* sorted by due_ms */
	struct child_watch *children;
	loop_before_wait before_wait;
	void *before_wait_context;
	loop_on_signal on_signal;
	void *on_signal_context;
	bool may_look; /* there is a second processor to run what is waited for */
	struct look looks[2];
	struct look *look; /* of the present kind of wait */
	bool has_looked;   /* in vain, for what the next wait is for */
	bool stopping;
};

uint64_t loop_now_ms(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* Reaps one child and tells its watch. Returns false when none has ended. */
static bool reap_one(struct loop *loop)
{
	struct child_watch **link = &loop->children;
	struct child_watch *child;
	struct rusage usage;
	int wait_status;
	pid_t pid = wait4(-1, &wait_status, WNOHANG, &usage);

	if (pid <= 0)
		return false;
	while (*link != NULL && (*link)->pid != pid)
		link = &(*link)->next;
	child = *link;
	if (child != NULL) {
		*link = child->next;
		child->pid = 0;
		child->peak_kb = usage.ru_maxrss;
		child->on_end(child->context, wait_status);
	}
	return true;
}

void loop_reap_children(struct loop *loop, int timeout_ms)
{
	uint64_t now_ms = loop_now_ms(), end_ms = now_ms + (uint64_t) timeout_ms;
	bool reaped = false;
	sigset_t child_signal;

	sigemptyset(&child_signal);
	sigaddset(&child_signal, SIGCHLD);
	for (;;) {
		uint64_t rest_ms = end_ms > now_ms ? end_ms - now_ms : 0;
		const struct timespec rest = { .tv_sec = (time_t) (rest_ms / 1000),
			.tv_nsec = (long) (rest_ms % 1000) * 1000000 };

		while (reap_one(loop))
			reaped = true;
		if (reaped || rest_ms == 0)
			return;
		/* It is blocked for the signalfd's sake. The other signals stay there. */
		(void) sigtimedwait(&child_signal, NULL, &rest);
		now_ms = loop_now_ms();
	}
}

static void on_signals_ready(void *context, uint32_t events UTIL_UNUSED)
{
	struct loop *loop = context;
	struct signalfd_siginfo info;

	while (read(loop->signals.fd, &info, sizeof(info)) == (ssize_t) sizeof(info)) {
		/* SIGCHLD does not queue: one may stand for many, of orphans too. */
		if (info.ssi_signo == SIGCHLD)
			while (reap_one(loop))
				;
		else if (loop->on_signal != NULL)
			loop->on_signal(loop->on_signal_context, (int) info.ssi_signo);
	}
}

static int open_signals(struct loop *loop, struct err *err)
{
	static const int synchronous[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
	static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	static const uint64_t glibc_own = 1ULL << (32 - 1) | 1ULL << (33 - 1);
	sigset_t blocked, wanted;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(synchronous); i++)
		sigdelset(&blocked, synchronous[i]);
	sigemptyset(&wanted);
	for (size_t i = 0; i < ARRAY_SIZE(handled); i++)
		sigaddset(&wanted, handled[i]);

	if (sigprocmask(SIG_SETMASK, &blocked, &loop->original_mask) < 0)
		return err_errno(err, -errno, "cannot block signals");
	/* glibc keeps two out of every set, for itself, and a stray one would end us. The kernel's mask of 64 bits. */
	(void) syscall(SYS_rt_sigprocmask, SIG_BLOCK, &glibc_own, NULL, sizeof(glibc_own));
	/* An ignored SIGCHLD, which a parent may hand down, would make waitpid() lose exit statuses. */
	(void) signal(SIGCHLD, SIG_DFL);

	loop->signals.fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signals.fd < 0)
		return err_errno(err, -errno, "cannot open a signal descriptor");
	loop->signals.on_ready = on_signals_ready;
	loop->signals.context = loop;
	return loop_watch(loop, &loop->signals, EPOLLIN, err);
}

static void loop_freep(struct loop **loop)
{
	loop_free(*loop);
}

int loop_new(struct loop **ret_loop, struct err *err)
{
	__attribute__((cleanup(loop_freep))) struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (loop == NULL)
		return err_errno(err, -ENOMEM, "cannot make the event loop");
	loop->signals.fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
		return err_errno(err, -errno, "cannot make the event loop");

	loop->may_look = look_is_possible();
	loop_expect_answer(loop, false);
	r = open_signals(loop, err);
	if (r < 0)
		return r;

	*ret_loop = steal_ptr(&loop);
	return 0;
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	fd_close(loop->signals.fd);
	fd_close(loop->epoll_fd);
	free(loop);
}

const sigset_t *loop_original_mask(const struct loop *loop)
{
	return &loop->original_mask;
}

void loop_set_before_wait(struct loop *loop, loop_before_wait callback, void *context)
{
	loop->before_wait = callback;
	loop->before_wait_context = context;
}

void loop_set_on_signal(struct loop *loop, loop_on_signal callback, void *context)
{
	loop->on_signal = callback;
	loop->on_signal_context = context;
}

int loop_watch(struct loop *loop, struct watch *watch, uint32_t events, struct err *err)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	int operation = watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (watch->events == events)
		return 0;
	if (events == 0) {
		loop_unwatch(loop, watch);
		return 0;
	}
	if (epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) < 0)
		return err_errno(err, -errno, "cannot watch descriptor %d", watch->fd);
	watch->events = events;
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
	if (watch->events == 0)
		return;
	(void) epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->events = 0;
	/* It may be in the batch that is being dispatched, and its owner may be gone by then. */
	for (int i = 0; i < loop->ready_count; i++)
		if (loop->ready[i].data.ptr == watch)
			loop->ready[i].data.ptr = NULL;
}

void loop_timer_set(struct loop *loop, struct timer *timer, uint64_t due_ms)
{
	struct timer **link = &loop->timers;

	loop_timer_clear(loop, timer);
	while (*link != NULL && (*link)->due_ms <= due_ms)
		link = &(*link)->next;
	timer->due_ms = due_ms;
	timer->next = *link;
	timer->set = true;
	*link = timer;
}

void loop_timer_clear(struct loop *loop, struct timer *timer)
{
	if (!timer->set)
		return;
	for (struct timer **link = &loop->timers; *link != NULL; link = &(*link)->next) {
		if (*link == timer) {
			*link = timer->next;
			break;
		}
	}
	timer->set = false;
}

void loop_child_watch(struct loop *loop, struct child_watch *child)
{
	child->next = loop->children;
	loop->children = child;
}

void loop_child_unwatch(struct loop *loop, struct child_watch *child)
{
	for (struct child_watch **link = &loop->children; *link != NULL; link = &(*link)->next) {
		if (*link == child) {
			*link = child->next;
			return;
		}
	}
}

static void run_due_timers(struct loop *loop)
{
	enum { AT_ONCE = 64 }; /* a timer that sets itself anew must not keep descriptors waiting */

	for (int i = 0; i < AT_ONCE && loop->timers != NULL && loop->timers->due_ms <= loop_now_ms(); i++) {
		struct timer *timer = loop->timers;

		loop_timer_clear(loop, timer);
		timer->on_due(timer->context);
	}
}

static int wait_ms(struct loop *loop)
{
	int limit = loop->before_wait != NULL ? loop->before_wait(loop->before_wait_context) : -1;
	uint64_t now;

	if (loop->stopping)
		return 0;
	if (loop->timers == NULL)
		return limit;
	now = loop_now_ms();
	if (loop->timers->due_ms <= now)
		return 0;
	/* One more than the difference: the clock is cut to whole ms, and waking early would spin. */
	if (limit < 0 || loop->timers->due_ms - now < (uint64_t) limit)
		limit = loop->timers->due_ms - now > 60000 ? 60000 : (int) (loop->timers->due_ms - now) + 1;
	return limit;
}

static int try_all(void *context)
{
	struct loop *loop = context;

	return epoll_wait(loop->epoll_fd, loop->ready, EVENTS_AT_ONCE, 0);
}

static int try_one(void *context)
{
	return poll(context, 1, 0);
}

bool loop_look_for_answer(struct loop *loop, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	bool found = loop->may_look && look_for(loop->look, try_one, &poll_fd) > 0;

	loop->has_looked = !found;
	return found;
}

static int wait_for_events(struct loop *loop, int timeout_ms)
{
	bool should_look = loop->may_look && timeout_ms != 0 && !loop->has_looked;
	int count = should_look ? look_for(loop->look, try_all, loop) : 0;

	loop->has_looked = false;
	return count != 0 ? count : epoll_wait(loop->epoll_fd, loop->ready, EVENTS_AT_ONCE, timeout_ms);
}

int loop_run(struct loop *loop, struct err *err)
{
	while (!loop->stopping) {
		int timeout_ms = wait_ms(loop);

		loop->ready_count = wait_for_events(loop, timeout_ms);
		if (loop->ready_count < 0) {
			loop->ready_count = 0;
			if (errno != EINTR)
				return err_errno(err, -errno, "cannot wait for events");
		}
		for (int i = 0; i < loop->ready_count; i++) {
			struct watch *watch = loop->ready[i].data.ptr;

			if (watch != NULL && (loop->ready[i].events & (watch->events | EPOLLHUP | EPOLLERR)) != 0)
				watch->on_ready(watch->context, loop->ready[i].events);
		}
		loop->ready_count = 0;
		run_due_timers(loop);
	}
	return 0;
}

void loop_expect_answer(struct loop *loop, bool expected)
{
	loop->look = &loop->looks[expected ? 1 : 0];
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}
