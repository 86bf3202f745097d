/*
 * The one place that forks: starts an executable with exactly the descriptors it is given.
 */
#pragma once

#include "loop.h"

struct spawn {
	const char *const *argv;        /* argv[0] is the path of the executable; NULL-terminated */
	const char *const *environment; /* NULL-terminated "NAME=VALUE" */
	const int *fds;                 /* become 0, 1, 2, … of the child; everything else is closed */
	size_t fd_count;
	bool new_group; /* lead a process group of its own, for killing it with what it started */
};

/* Starts it with the signal mask this process had at its own start, default dispositions, and SIGKILL as
 * its death signal should this process die first. Returns once exec has succeeded; its failure is ours. */
int spawn_process(const struct spawn *spawn, const struct loop *loop, pid_t *ret_pid, struct err *err) UTIL_MUST_CHECK;

/* Kills and reaps every process below this one, orphans included: they are reparented to us as PID 1 or
 * subreaper. Callbacks of child watches run as usual. */
void spawn_kill_descendants(struct loop *loop);
