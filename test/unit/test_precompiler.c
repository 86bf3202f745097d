#include "../../proxy/precompiler.h"

#include "loop_run.h"
#include "tap.h"
#include "tree.h"

#include <sched.h>
#include <sys/wait.h>

static char self[PATH_MAX];
static char *base; /* and working directory */

/* --- the program: this one again, with a directory and a handler as its arguments -------------------- */

static void note(const char *directory, const char *name)
{
	char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", directory, name);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

/* Leaves a file for each thing it has seen. */
static int be_program(const char *directory, const char *handler)
{
	char byte, target[100] = "";

	note(directory, handler);
	if (readlink("/proc/self/fd/1", target, sizeof(target) - 1) > 0 && strcmp(target, "/dev/null") == 0 &&
		readlink("/proc/self/fd/2", target, sizeof(target) - 1) > 0 && strcmp(target, "/dev/null") == 0)
		note(directory, "silent");
	if (strcmp(handler, "exit") == 0)
		return 1;
	note(directory, read(STDIN_FILENO, &byte, 1) == 1 ? "begun" : "ended");
	if (strcmp(handler, "hang") == 0)
		for (;;)
			(void) pause();
	note(directory, read(STDIN_FILENO, &byte, 1) == 1 ? "confused" : "stopped");
	return 0;
}

/* --- tests ------------------------------------------------------------------------------------------- */

static struct precompiler *start(struct loop *loop, const char *handler)
{
	struct precompiler *precompiler = NULL;
	struct err err;

	if (precompiler_start(&precompiler, loop, self, NULL, base, handler, &err) < 0)
		bail_out("%s", err.text);
	return precompiler;
}

/* Waits until there is that file, which is removed. */
static bool has_noted(struct loop *loop, const char *name)
{
	char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", base, name);
	for (int i = 0; i < 5000 && access(path, F_OK) < 0; i++)
		run_ms(loop, 2);
	return unlink(path) == 0;
}

static bool has_nothing_noted(void)
{
	char *tree = tree_show(base);
	bool same = tap_is_str(tree, "");

	free(tree);
	return same;
}

static bool has_no_children(struct loop *loop)
{
	for (int i = 0; i < 5000 && waitid(P_ALL, 0, &(siginfo_t) { 0 }, WEXITED | WNOHANG | WNOWAIT) == 0; i++)
		run_ms(loop, 2);
	return waitid(P_ALL, 0, &(siginfo_t) { 0 }, WEXITED | WNOHANG | WNOWAIT) < 0;
}

static void test_course(struct loop *loop)
{
	struct precompiler *precompiler = start(loop, "main");

	ok(has_noted(loop, "main"), "it gets the directory and the handler");
	ok(has_noted(loop, "silent"), "what it says goes nowhere");
	run_ms(loop, 20);
	ok(has_nothing_noted(), "... and waits");
	precompiler_begin(precompiler);
	ok(has_noted(loop, "begun"), "it is told to begin");
	run_ms(loop, 20);
	ok(has_nothing_noted(), "... and goes on");
	precompiler_stop(precompiler);
	precompiler_stop(precompiler);
	ok(has_noted(loop, "stopped"), "it is told to stop");
	ok(has_no_children(loop), "... and reaped by the loop");
	precompiler_free(precompiler);
	precompiler_free(NULL);
}

static void test_free(struct loop *loop)
{
	struct precompiler *precompiler = start(loop, "hang");

	precompiler_begin(precompiler);
	ok(has_noted(loop, "hang") && has_noted(loop, "silent") && has_noted(loop, "begun"), "one that hangs");
	precompiler_free(precompiler);
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "... is gone when it is freed");

	precompiler = start(loop, "main");
	ok(has_noted(loop, "main") && has_noted(loop, "silent"), "one that never began");
	precompiler_free(precompiler);
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "... likewise");
	ok(access("begun", F_OK) < 0, "... and was not told to");
	(void) unlink("ended"); /* it may have come so far before it was killed */
	(void) unlink("stopped");
}

static void test_early_end(struct loop *loop)
{
	struct precompiler *precompiler = start(loop, "exit");

	ok(has_no_children(loop), "one that ends at once");
	precompiler_begin(precompiler);
	precompiler_stop(precompiler);
	precompiler_free(precompiler);
	ok(has_noted(loop, "exit") && has_noted(loop, "silent") && has_nothing_noted(), "... does no harm");
}

static void check_refusal(struct loop *loop, const char *program, int code, const char *why)
{
	struct precompiler *precompiler = NULL;
	struct err err;

	is_int(precompiler_start(&precompiler, loop, program, NULL, base, "main", &err), code, "%s", why);
	ok(precompiler == NULL && has_no_children(loop), "... and nothing started");
}

static bool has_two_processors(void)
{
	cpu_set_t processors;

	return sched_getaffinity(0, sizeof(processors), &processors) < 0 || CPU_COUNT(&processors) > 1;
}

static void test_refusal(struct loop *loop)
{
	static const char *const variables[] = { "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONOPTIMIZE" };
	cpu_set_t before, one;

	if (has_two_processors())
		check_refusal(loop, "/nonexistent/pyprecompile", -ENOENT, "a program that is not there");
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		(void) setenv(variables[i], "1", 1);
		check_refusal(loop, self, -ENOTSUP, variables[i]);
		(void) unsetenv(variables[i]);
	}
	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		bail_out("no processors");
	CPU_ZERO(&one);
	for (int i = 0; CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &before))
			CPU_SET(i, &one);
	(void) sched_setaffinity(0, sizeof(one), &one);
	check_refusal(loop, self, -ENOTSUP, "one processor");
	(void) sched_setaffinity(0, sizeof(before), &before);
}

int main(int argc, char **argv)
{
	int fds = count_open_fds();
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct loop *loop;

	if (argc > 2)
		return be_program(argv[1], argv[2]);
	self[length] = '\0';
	/* What the shell that runs the tests has; empty is as good as unset. */
	(void) setenv("PYTHONDONTWRITEBYTECODE", "", 1);
	(void) signal(SIGPIPE, SIG_IGN);
	base = tree_new();
	if (chdir(base) < 0)
		bail_out("cannot enter %s", base);
	loop = make_loop();
	test_refusal(loop);
	if (has_two_processors()) {
		test_course(loop);
		test_free(loop);
		test_early_end(loop);
	}
	loop_free(loop);
	tree_free(base);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
