/*
 * The one place that forks: starts an executable with exactly the descriptors it is given.
 */
#pragma once

#include "loop.h"
#include "user.h"

struct spawn {
	const char *const *argv;        /* argv[0] is the path of the executable; NULL-terminated */
	const char *const *environment; /* NULL-terminated "NAME=VALUE" */
	const int *fds;                 /* become 0, 1, 2, … of the child; everything else is closed */
	size_t fd_count;
	const struct user *user; /* who it is; NULL for who we are */
};

/* Starts it, as the leader of a session and process group of its own, with the signal mask this process had at its own start, default dispositions, and SIGKILL as
 * its death signal should this process die first. Returns once exec has succeeded; its failure is ours. */
int spawn_process(const struct spawn *spawn, const struct loop *loop, pid_t *ret_pid, struct err *err) UTIL_MUST_CHECK;

/* Kills a child that is watched, unless it has ended, and forgets it: its callback is not called. Returns when it is
 * gone; or after a second, for another process of the same user may hold on to it (ptrace(2)). */
void spawn_kill(struct loop *loop, struct child_watch *child);

/* Kills and reaps every process below this one, orphans included: they are reparented to us as PID 1 or
 * subreaper. Callbacks of child watches run as usual. Takes a second at most, then some may be left. */
void spawn_kill_descendants(struct loop *loop);

/* The same at the end of this process. As PID 1 it kills everything that the container has, what was started from
 * outside as well: the kernel does that next anyway. */
void spawn_kill_all(struct loop *loop);
