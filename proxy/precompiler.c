#include "precompiler.h"

#include "spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>

extern char **environ;

struct precompiler {
	struct loop *loop;
	struct child_watch child; /* pid is 0 when it has ended */
	int state_fd;             /* its stdin: a byte when it is to begin, the end when it is to stop */
};

static bool is_of_use(void)
{
	static const char *const variables[] = { "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONOPTIMIZE" };
	cpu_set_t processors;

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *value = getenv(variables[i]);

		if (value != NULL && value[0] != '\0')
			return false;
	}
	/* Fails on a machine with more than fit into the set. */
	return sched_getaffinity(0, sizeof(processors), &processors) < 0 || CPU_COUNT(&processors) > 1;
}

/* When it ends makes no difference. */
static void on_end(void *context UTIL_UNUSED, int wait_status UTIL_UNUSED)
{
}

static int spawn_precompiler(
	struct precompiler *precompiler, const char *const *argv, const struct user *user, struct err *err)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_fd int state_read = -1;
	int pipe_fds[2];

	if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot start '%s'", argv[0]);
	state_read = pipe_fds[0];
	precompiler->state_fd = pipe_fds[1];

	const int fds[] = { state_read, null_fd, null_fd };
	const struct spawn spawn = { .argv = argv,
		.environment = (const char *const *) environ,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.user = user };
	return spawn_process(&spawn, precompiler->loop, &precompiler->child.pid, err);
}

int precompiler_start(struct precompiler **ret_precompiler, struct loop *loop, const char *program,
	const struct user *user, const char *directory, const char *handler, struct err *err)
{
	const char *const argv[] = { program, directory, handler, NULL };
	struct precompiler *precompiler;
	int r;

	if (!is_of_use())
		return err_set(err, -ENOTSUP, "compiling beside the import is of no use here");
	precompiler = calloc(1, sizeof(*precompiler));
	if (precompiler == NULL)
		return err_errno(err, -ENOMEM, "cannot start '%s'", program);
	precompiler->loop = loop;
	precompiler->state_fd = -1;
	r = spawn_precompiler(precompiler, argv, user, err);
	if (r < 0) {
		fd_close(precompiler->state_fd);
		free(precompiler);
		return r;
	}
	precompiler->child.on_end = on_end;
	precompiler->child.context = precompiler;
	loop_child_watch(loop, &precompiler->child);
	*ret_precompiler = precompiler;
	return 0;
}

void precompiler_begin(struct precompiler *precompiler)
{
	/* EPIPE when it has ended already, which does no harm; SIGPIPE is ignored. */
	(void) !write(precompiler->state_fd, "\n", 1);
}

void precompiler_stop(struct precompiler *precompiler)
{
	fd_closep(&precompiler->state_fd);
}

void precompiler_free(struct precompiler *precompiler)
{
	if (precompiler == NULL)
		return;
	precompiler_stop(precompiler);
	spawn_kill(precompiler->loop, &precompiler->child);
	free(precompiler);
}
