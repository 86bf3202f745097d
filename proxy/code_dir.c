#include "code_dir.h"

#include "limits.h"
#include "spawn.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

/* A run of the unpacker. */
struct unpacking {
	struct loop *loop;
	struct child_watch child;
	int message_fd; /* what it says on its stdout */
	void (*on_done)(void *context, const char *problem);
	void *context;
};

struct code_dir {
	struct removal removal; /* first: on_removed() takes the directory from there */
	struct remover *remover;
	char *path;
	const struct user *user;
	struct unpacking unpacking;
};

/* --- removing ---------------------------------------------------------------------------------------- */

static void on_removed(struct removal *removal)
{
	struct code_dir *dir = (struct code_dir *) removal;

	free(dir->path);
	free(dir);
}

void code_dir_free(struct code_dir *dir)
{
	if (dir == NULL)
		return;
	spawn_kill(dir->unpacking.loop, &dir->unpacking.child);
	fd_close(dir->unpacking.message_fd);
	dir->removal = (struct removal) { .path = dir->path, .user = dir->user, .on_end = on_removed };
	if (dir->path != NULL)
		remover_add(dir->remover, &dir->removal);
	else
		on_removed(&dir->removal);
}

static void code_dir_freep(struct code_dir **dir)
{
	code_dir_free(*dir);
}

/* --- making and filling ------------------------------------------------------------------------------ */

/* Through a descriptor: below a directory that anybody writes to, the name may be another's by now. */
static int give_to(const struct user *user, const char *path)
{
	cleanup_fd int fd = -1;
	struct stat directory;

	if (user == NULL || !user->other)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &directory) < 0)
		return -errno;
	if (directory.st_uid != geteuid())
		return -EPERM;
	return fchown(fd, user->uid, user->gid) < 0 ? -errno : 0;
}

int code_dir_new(struct code_dir **ret_dir, const char *parent, const struct user *user, struct remover *remover,
	struct err *err)
{
	__attribute__((cleanup(code_dir_freep))) struct code_dir *dir = calloc(1, sizeof(*dir));
	cleanup_free char *path = NULL;
	const char *absolute;
	int r;

	if (dir == NULL)
		return err_errno(err, -ENOMEM, "cannot make a directory for the code");
	dir->user = user;
	dir->remover = remover;
	dir->unpacking.message_fd = -1;
	if (asprintf(&path, "%s/pyaction-XXXXXX", parent) < 0)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
		return err_errno(err, -ENOMEM, "cannot make a directory for the code");
	if (mkdtemp(path) == NULL)
		return err_errno(err, -errno,
			"cannot make a directory for the code in '%s' (--work-dir, PYACTION_WORK_DIR)", parent);
	dir->path = steal_ptr(&path);

	/* The runner changes into it, and sees the name that the system has for it. */
	absolute = realpath(dir->path, NULL);
	if (absolute == NULL)
		return err_errno(err, -errno, "cannot use the directory '%s'", dir->path);
	free(dir->path);
	dir->path = (char *) absolute;
	r = give_to(user, dir->path);
	if (r < 0)
		return err_errno(err, r, "cannot give the directory '%s' to the user '%s'", dir->path, user->name);
	*ret_dir = steal_ptr(&dir);
	return 0;
}

const char *code_dir_path(const struct code_dir *dir)
{
	return dir->path;
}

int code_dir_write(struct code_dir *dir, const char *name, const char *data, size_t length, struct err *err)
{
	cleanup_free char *path = NULL;
	struct user_rights rights;
	cleanup_fd int fd = -1;
	int r;

	if (asprintf(&path, "%s/%s", dir->path, name) < 0)
		return err_errno(err, -ENOMEM, "cannot write the code");
	user_lend_rights(dir->user, &rights);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	user_return_rights(&rights);
	if (fd < 0)
		return err_errno(err, -errno, "cannot write '%s'", path);
	r = fd_write_all(fd, data, length);
	if (r < 0)
		return err_errno(err, r, "cannot write '%s'", path);
	return 0;
}

/* --- unpacking --------------------------------------------------------------------------------------- */

static void on_unpacker_end(void *context, int wait_status)
{
	struct code_dir *dir = context;
	struct unpacking *unpacking = &dir->unpacking;
	char message[ERR_TEXT_MAX];
	ssize_t count = read(unpacking->message_fd, message, sizeof(message) - 1);

	message[count > 0 ? count : 0] = '\0';
	message[strcspn(message, "\n")] = '\0';
	if (message[0] == '\0' && wait_status != 0)
		(void) snprintf(message, sizeof(message), "the unpacker ended with %s %d",
			WIFEXITED(wait_status) ? "exit status" : "signal",
			WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : WTERMSIG(wait_status));
	fd_closep(&unpacking->message_fd);
	unpacking->on_done(unpacking->context, wait_status == 0 ? NULL : message);
}

/* The archive as a file that the unpacker can map: anonymous memory with a descriptor. */
static int make_archive_fd(const char *archive, size_t length, int *ret_fd, struct err *err)
{
	cleanup_fd int fd = memfd_create("archive", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "cannot hand the archive to the unpacker");
	r = fd_write_all(fd, archive, length);
	if (r < 0)
		return err_errno(err, r, "cannot hand the archive to the unpacker");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int code_dir_unpack(struct code_dir *dir, struct loop *loop, const char *unpacker, const char *archive, size_t length,
	void (*on_done)(void *context, const char *problem), void *context, struct err *err)
{
	const char *const argv[] = { unpacker, dir->path, NULL };
	cleanup_fd int archive_fd = -1;
	cleanup_fd int message_write = -1;
	int pipe_fds[2], r;

	r = make_archive_fd(archive, length, &archive_fd, err);
	if (r < 0)
		return r;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot make a pipe for the unpacker");
	dir->unpacking.message_fd = pipe_fds[0];
	message_write = pipe_fds[1];

	const int fds[] = { archive_fd, message_write, message_write };
	const struct spawn spawn = { .argv = argv,
		.environment = (const char *const *) environ,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.user = dir->user };
	r = spawn_process(&spawn, loop, &dir->unpacking.child.pid, err);
	if (r < 0)
		return r;
	dir->unpacking.loop = loop;
	dir->unpacking.on_done = on_done;
	dir->unpacking.context = context;
	dir->unpacking.child.on_end = on_unpacker_end;
	dir->unpacking.child.context = dir;
	loop_child_watch(loop, &dir->unpacking.child);
	return 0;
}
