#include "remover.h"

#include "server_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	AT_ONCE_MS = 50, /* enough for what is not hostile */
	SLICE_MS = 5,    /* that others wait for it */
	PAUSE_MS = 5,    /* that it waits for others */
	SMALL_FILE =
		4 << 20, /* bytes on the disk that are given back in one call: 0.1 s in the worst case (measured) */
	FIRST_PIECE = 1 << 20, /* of a larger file; then as much as takes between these two times */
	PIECE_LEAST_MS = 5,
	PIECE_MOST_MS = 20,
};

/* --- a step ------------------------------------------------------------------------------------------ */

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

static void close_entries(DIR **directory)
{
	if (*directory != NULL)
		(void) closedir(*directory);
	*directory = NULL;
}

/* The system frees all that a file holds in one call, which takes seconds where that is in many pieces. So a large one is
 * cut first, from its end. Not one that has other names: it is freed elsewhere, or not at all. Returns false if the time
 * is over before it is small. */
static bool cut_file(struct removal *removal, int directory_fd, const char *name, uint64_t until_ms)
{
	enum { BLOCK = 512 };
	off_t piece = FIRST_PIECE;
	cleanup_fd int fd = -1;
	struct stat file;

	if (fstatat(directory_fd, name, &file, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(file.st_mode) ||
		file.st_nlink > 1 || file.st_blocks <= SMALL_FILE / BLOCK)
		return true;
	(void) !fchmodat(directory_fd, name, 0600, 0);
	fd = openat(directory_fd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	while (fd >= 0 && file.st_size > 0) {
		uint64_t begin_ms = loop_now_ms(), took_ms;

		if (begin_ms >= until_ms) {
			removal->progress = true; /* it is worth another look */
			return false;
		}
		file.st_size -= piece < file.st_size ? piece : file.st_size;
		if (ftruncate(fd, file.st_size) < 0)
			return true;
		took_ms = loop_now_ms() - begin_ms;
		if (took_ms < PIECE_LEAST_MS && piece < file.st_size)
			piece *= 2;
		else if (took_ms > PIECE_MOST_MS && piece > FIRST_PIECE)
			piece /= 2;
	}
	return true;
}

/* Removes a file or an empty directory. */
static bool remove_entry(struct removal *removal, int directory_fd, const struct dirent *entry, uint64_t until_ms)
{
	if (entry->d_type != DT_DIR && !cut_file(removal, directory_fd, entry->d_name, until_ms))
		return true; /* it comes up again */
	if (unlinkat(directory_fd, entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0) < 0 &&
		unlinkat(directory_fd, entry->d_name, entry->d_type == DT_DIR ? 0 : AT_REMOVEDIR) < 0)
		return false;
	removal->progress = true;
	return true;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The next entry of the directory that is being emptied. A directory in it is moved up to the root instead of being
 * descended to: a tree may be nested deeper than there are descriptors, or stack. */
static void step_inner(struct removal *removal, uint64_t until_ms)
{
	const struct dirent *entry = readdir(removal->inner);
	int inner_fd = dirfd(removal->inner), root_fd = dirfd(removal->root);
	char name[32];

	if (entry == NULL) {
		close_entries(&removal->inner);
		if (unlinkat(root_fd, removal->inner_name, AT_REMOVEDIR) == 0)
			removal->progress = true;
	} else if (!is_dot(entry->d_name) && !remove_entry(removal, inner_fd, entry, until_ms)) {
		fd_close(open_for_removal(inner_fd, entry->d_name)); /* a move needs to write to it */
		(void) snprintf(name, sizeof(name), ".removed-%u", removal->moved++);
		if (renameat(inner_fd, entry->d_name, root_fd, name) == 0)
			removal->progress = true;
	}
}

/* gcc 12's analyzer does not see that there is no inner directory here. */
#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
/* The next entry of the root. Returns false when nothing is left in it that could be removed. */
static bool step_root(struct removal *removal, uint64_t until_ms)
{
	const struct dirent *entry = readdir(removal->root);
	int root_fd = dirfd(removal->root);

	if (entry == NULL) {
		if (!removal->progress)
			return false;
		removal->progress = false;
		rewinddir(removal->root);
	} else if (!is_dot(entry->d_name) && !remove_entry(removal, root_fd, entry, until_ms)) {
		(void) snprintf(removal->inner_name, sizeof(removal->inner_name), "%s", entry->d_name);
		removal->inner = open_entries(open_for_removal(root_fd, entry->d_name));
	}
	return true;
}
#pragma GCC diagnostic pop

/* --- a removal --------------------------------------------------------------------------------------- */

static void begin(struct removal *removal)
{
	struct user_rights rights;

	removal->root = removal->inner = NULL;
	removal->moved = 0;
	removal->progress = false;
	user_lend_rights(removal->user, &rights);
	removal->root = open_entries(open_for_removal(AT_FDCWD, removal->path));
	user_return_rights(&rights);
}

/* Goes on until until_ms. Returns true when it can be ended. */
static bool proceed(struct removal *removal, uint64_t until_ms)
{
	enum { STEPS = 16 }; /* between two looks at the clock */
	struct user_rights rights;
	bool more = true;

	user_lend_rights(removal->user, &rights);
	if (removal->root == NULL) /* the function has put something else in its place */
		more = !cut_file(removal, AT_FDCWD, removal->path, until_ms);
	while (more && removal->root != NULL && loop_now_ms() < until_ms) {
		for (int i = 0; i < STEPS && more; i++) {
			if (removal->inner != NULL)
				step_inner(removal, until_ms);
			else
				more = step_root(removal, until_ms);
		}
	}
	user_return_rights(&rights);
	return !more;
}

/* As ourselves, for the directory that it is in may be ours alone. */
static void end(struct removal *removal)
{
	close_entries(&removal->inner);
	close_entries(&removal->root);
	if (rmdir(removal->path) < 0 && errno != ENOENT && (errno != ENOTDIR || unlink(removal->path) < 0))
		server_log(EVENT_FOLDER_LEFT, LOG_TEXT("folder", removal->path), LOG_TEXT("error", strerror(errno)));
	removal->on_end(removal);
}

/* --- all of them ------------------------------------------------------------------------------------- */

static void proceed_with_all(struct remover *remover, uint64_t until_ms)
{
	while (remover->first != NULL && proceed(remover->first, until_ms)) {
		struct removal *removal = remover->first;

		remover->first = removal->next;
		end(removal);
	}
}

static void on_timer(void *context)
{
	struct remover *remover = context;

	proceed_with_all(remover, loop_now_ms() + SLICE_MS);
	if (remover->first != NULL)
		loop_timer_set(remover->loop, &remover->timer, loop_now_ms() + PAUSE_MS);
}

void remover_init(struct remover *remover, struct loop *loop)
{
	*remover = (struct remover) { .loop = loop, .timer = { .on_due = on_timer, .context = remover } };
}

void remover_add(struct remover *remover, struct removal *removal)
{
	begin(removal);
	if (proceed(removal, remover != NULL ? loop_now_ms() + AT_ONCE_MS : UINT64_MAX) || remover == NULL) {
		end(removal);
		return;
	}
	removal->next = remover->first;
	remover->first = removal;
	loop_timer_set(remover->loop, &remover->timer, loop_now_ms() + PAUSE_MS);
}

void remover_finish(struct remover *remover, uint64_t until_ms)
{
	proceed_with_all(remover, until_ms);
	while (remover->first != NULL) {
		struct removal *removal = remover->first;

		remover->first = removal->next;
		end(removal);
	}
	if (remover->loop != NULL)
		loop_timer_clear(remover->loop, &remover->timer);
}
