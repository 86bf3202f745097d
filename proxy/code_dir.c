#include "code_dir.h"

#include "limits.h"
#include "spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
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
	char *path;
	const struct user *user;
	struct unpacking unpacking;
};

/* --- removing ---------------------------------------------------------------------------------------- */

static void closedirp(DIR **directory)
{
	if (*directory != NULL)
		(void) closedir(*directory);
}

/* Opens a directory of a hostile tree for emptying it; -1 when name is none. */
static int open_for_removal(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	/* EACCES says that it is a directory: of a link or a file the open fails otherwise. */
	if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name, 0700, 0) == 0)
		fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		(void) fchmod(fd, 0700);
	return fd;
}

/* As fdopendir(), which takes the descriptor over only where it succeeds; this closes it otherwise. */
static DIR *open_entries(int fd)
{
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;

	if (directory == NULL)
		fd_close(fd);
	return directory;
}

/* Removes what is in the directory. Its subdirectories are moved up to the root instead of being descended
 * to: a tree may be nested deeper than there are descriptors, or stack. */
static void empty_directory(int root_fd, int directory_fd, unsigned *moved)
{
	__attribute__((cleanup(closedirp))) DIR *directory = open_entries(directory_fd);

	if (directory == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		char name[32];
		int fd;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(directory_fd, entry->d_name, 0) == 0 ||
			unlinkat(directory_fd, entry->d_name, AT_REMOVEDIR) == 0)
			continue;
		fd = open_for_removal(directory_fd, entry->d_name); /* a move needs to write to it */
		fd_close(fd);
		(void) snprintf(name, sizeof(name), ".removed-%u", (*moved)++);
		(void) renameat(directory_fd, entry->d_name, root_fd, name);
	}
}

/* One pass over the root: empties and removes the directories in it. Returns how many entries it removed. */
static size_t remove_entries(int root_fd, unsigned *moved)
{
	__attribute__((cleanup(closedirp))) DIR *root = open_entries(fcntl(root_fd, F_DUPFD_CLOEXEC, 0));
	size_t removed = 0;

	if (root == NULL)
		return 0;
	rewinddir(root);
	for (struct dirent *entry; (entry = readdir(root)) != NULL;) {
		int fd;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(root_fd, entry->d_name, 0) == 0) {
			removed++;
			continue;
		}
		fd = open_for_removal(root_fd, entry->d_name);
		if (fd >= 0)
			empty_directory(root_fd, fd, moved);
		removed += unlinkat(root_fd, entry->d_name, AT_REMOVEDIR) == 0 ? 1 : 0;
	}
	return removed;
}

static void remove_tree(const char *path, const struct user *user)
{
	cleanup_fd int root_fd = -1;
	struct user_rights rights;
	unsigned moved = 0;

	if (unlink(path) == 0) /* the function has put something else in its place */
		return;
	user_lend_rights(user, &rights);
	root_fd = open_for_removal(AT_FDCWD, path);
	while (root_fd >= 0 && remove_entries(root_fd, &moved) > 0)
		;
	user_return_rights(&rights);
	(void) rmdir(path); /* whose parent may be ours alone */
}

void code_dir_free(struct code_dir *dir)
{
	if (dir == NULL)
		return;
	spawn_kill(dir->unpacking.loop, &dir->unpacking.child);
	fd_close(dir->unpacking.message_fd);
	if (dir->path != NULL)
		remove_tree(dir->path, dir->user);
	free(dir->path);
	free(dir);
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

int code_dir_new(struct code_dir **ret_dir, const char *parent, const struct user *user, struct err *err)
{
	__attribute__((cleanup(code_dir_freep))) struct code_dir *dir = calloc(1, sizeof(*dir));
	cleanup_free char *path = NULL;
	const char *absolute;
	int r;

	if (dir == NULL)
		return err_errno(err, -ENOMEM, "cannot make a directory for the code");
	dir->user = user;
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
