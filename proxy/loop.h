/*
 * The event loop: one thread, one epoll descriptor, level-triggered; signals through a signalfd; timers.
 *
 * Watches, timers and child watches are embedded in their users' structs and belong to them. A callback may
 * add and remove any of them, its own included: the loop looks again before each call. Nothing here knows
 * HTTP or runners.
 */
#pragma once

#include "../common/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

/* A descriptor to wait for. Fill fd, on_ready and context, then loop_watch(). events are EPOLLIN and the
 * like; 0 means not watched. */
struct watch {
	int fd;
	uint32_t events;
	void (*on_ready)(void *context, uint32_t events);
	void *context;
};

/* Called once, at due_ms of loop_now_ms(). Fill on_due and context, then loop_timer_set(). */
struct timer {
	void (*on_due)(void *context);
	void *context;
	uint64_t due_ms;
	struct timer *next;
	bool set;
};

/* Called once with the wait status when the process pid has ended and been reaped; peak_kb then is the most memory
 * that it, or a child it waited for, had at a time. */
struct child_watch {
	pid_t pid;
	long peak_kb;
	void (*on_end)(void *context, int wait_status);
	void *context;
	struct child_watch *next;
};

/* Runs before each wait; returns the longest time to wait in ms, or -1 for no limit of its own. */
typedef int (*loop_before_wait)(void *context);
typedef void (*loop_on_signal)(void *context, int signal_number);

/* Blocks every signal but synchronous faults, for the whole process, and starts reading SIGCHLD, SIGTERM,
 * SIGINT, SIGHUP and SIGQUIT from a signalfd. The mask that was in force before is kept for children. */
int loop_new(struct loop **ret_loop, struct err *err) UTIL_MUST_CHECK;
void loop_free(struct loop *loop);

/* The signal mask this process was started with, for restoring in a child before exec. */
const sigset_t *loop_original_mask(const struct loop *loop);

void loop_set_before_wait(struct loop *loop, loop_before_wait callback, void *context);
void loop_set_on_signal(struct loop *loop, loop_on_signal callback, void *context);

/* Starts, changes or (events 0) ends watching watch->fd. To be ended before the fd is closed. */
int loop_watch(struct loop *loop, struct watch *watch, uint32_t events, struct err *err);
void loop_unwatch(struct loop *loop, struct watch *watch);

uint64_t loop_now_ms(void);
void loop_timer_set(struct loop *loop, struct timer *timer, uint64_t due_ms);
void loop_timer_clear(struct loop *loop, struct timer *timer);

void loop_child_watch(struct loop *loop, struct child_watch *child);
void loop_child_unwatch(struct loop *loop, struct child_watch *child);

/* Says whether the next wait is for an answer to something that was sent. Waits for answers and all others are
 * told apart in predicting how long they take (common/look.h). */
void loop_expect_answer(struct loop *loop, bool expected);

/* Looks at once for the answer that the next wait would look for, on one descriptor, which can be read then: true. False
 * where none has come within the time that such answers use to take; the wait then sleeps at once. */
bool loop_look_for_answer(struct loop *loop, int fd);

/* Waits, timeout_ms at most, for a child to end, and reaps all that have, without running anything but their
 * callbacks. */
void loop_reap_children(struct loop *loop, int timeout_ms);

/* Runs until loop_stop(). Returns 0, or -errno if waiting itself failed. */
int loop_run(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop);
