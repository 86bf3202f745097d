#include "archive.h"

#include "limits.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

enum { COPY_SIZE = 65536 };

static void discardp(zip_t **archive)
{
	if (*archive != NULL)
		zip_discard(*archive);
}

static void zip_fclosep(zip_file_t **file)
{
	if (*file != NULL)
		(void) zip_fclose(*file);
}

/* One entry, and the place in the tree it goes to. */
struct entry {
	zip_uint64_t index;
	const char *name; /* belongs to libzip */
	mode_t mode;
	zip_uint64_t size;
};

struct unpacking {
	zip_t *archive;
	int root_fd;
	size_t bytes_left, folders_left;
	const struct archive_limits *limits;
	char *buffer; /* COPY_SIZE */
	/* Where the entry before went, for most go there, too. It stays what it is: nothing takes a directory's place. */
	int parent_fd;
	const char *parent; /* the start of that entry's name, NULL when it is not known; belongs to libzip */
	size_t parent_length;
};

/* --- names ------------------------------------------------------------------------------------------- */

/* Opens the directory name below parent_fd, making it if need be. O_NOFOLLOW: a link that an earlier entry
 * made must not lead out. */
static int enter_directory(struct unpacking *unpacking, int parent_fd, const char *name, int *ret_fd)
{
	int fd;

	if (mkdirat(parent_fd, name, 0755) < 0) {
		if (errno != EEXIST)
			return -errno;
	} else if (unpacking->folders_left-- == 0) {
		/* One name may have thousands of them. */
		return -EFBIG;
	}
	fd = openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* Cuts the first component off *path into component (NAME_MAX + 1 bytes). Empty ones and "." are skipped; an
 * empty component at the end of the path. */
static int next_component(const char **path, char *component)
{
	size_t length;

	do {
		*path += strspn(*path, "/");
		length = strcspn(*path, "/");
		if (length > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(component, *path, length);
		component[length] = '\0';
		*path += length;
	} while (strcmp(component, ".") == 0);
	return strcmp(component, "..") == 0 ? -EPERM : 0;
}

static int too_many_folders(const struct unpacking *unpacking, struct err *err)
{
	return err_set(err, -EFBIG, "the archive has more than %zu folders", unpacking->limits->entries);
}

/* Opens the directory an entry goes to and gives its last component, "" for the root itself. */
static int open_parent(struct unpacking *unpacking, const struct entry *entry, int *ret_fd, char *last, struct err *err)
{
	cleanup_fd int parent_fd = fcntl(unpacking->root_fd, F_DUPFD_CLOEXEC, 0);
	const char *rest = entry->name;
	char next[NAME_MAX + 1] = "";
	int r;

	if (parent_fd < 0)
		return err_errno(err, -errno, "cannot unpack '%s'", entry->name);
	if (entry->name[0] == '/')
		return err_set(err, -EPERM, "entry '%s' has an absolute name", entry->name);
	r = next_component(&rest, last);
	while (r == 0 && last[0] != '\0') {
		int fd = -1;

		r = next_component(&rest, next);
		if (r < 0 || next[0] == '\0')
			break;
		r = enter_directory(unpacking, parent_fd, last, &fd);
		fd_close(parent_fd);
		parent_fd = fd;
		memcpy(last, next, sizeof(next));
	}
	if (r == -EPERM)
		return err_set(err, r, "entry '%s' leads outside of the archive", entry->name);
	if (r == -EFBIG)
		return too_many_folders(unpacking, err);
	if (r == -ENOTDIR || r == -ELOOP)
		return err_set(err, r, "entry '%s' goes through a file or a symbolic link", entry->name);
	if (r < 0)
		return err_errno(err, r, "cannot unpack '%s'", entry->name);
	*ret_fd = steal_fd(&parent_fd);
	return 0;
}

/* Whether an entry goes where the one before went; gives its last component then. */
static bool is_beside(const struct unpacking *unpacking, const struct entry *entry, char *last)
{
	const char *name = entry->name + unpacking->parent_length;

	if (unpacking->parent == NULL || strncmp(entry->name, unpacking->parent, unpacking->parent_length) != 0)
		return false;
	if (name[0] == '\0' || name[strcspn(name, "/")] == '/' || strlen(name) > NAME_MAX || strcmp(name, ".") == 0 ||
		strcmp(name, "..") == 0)
		return false;
	memcpy(last, name, strlen(name) + 1);
	return true;
}

/* Opens parent_fd, the directory an entry goes to, and gives its last component as open_parent() does. */
static int enter_parent(struct unpacking *unpacking, const struct entry *entry, char *last, struct err *err)
{
	const char *slash = strrchr(entry->name, '/');
	const char *name = slash != NULL ? slash + 1 : entry->name;
	int fd = -1, r;

	if (is_beside(unpacking, entry, last))
		return 0;
	r = open_parent(unpacking, entry, &fd, last, err);
	if (r < 0)
		return r;
	fd_close(unpacking->parent_fd);
	unpacking->parent_fd = fd;
	/* Not for a name that ends in "/" or "/.": its last component stands elsewhere. */
	unpacking->parent = strcmp(name, last) == 0 ? entry->name : NULL;
	unpacking->parent_length = (size_t) (name - entry->name);
	return 0;
}

/* --- contents ---------------------------------------------------------------------------------------- */

static int open_entry(struct unpacking *unpacking, const struct entry *entry, zip_file_t **ret_file, struct err *err)
{
	*ret_file = zip_fopen_index(unpacking->archive, entry->index, 0);
	if (*ret_file == NULL)
		return err_set(
			err, -EBADMSG, "cannot read entry '%s': %s", entry->name, zip_strerror(unpacking->archive));
	return 0;
}

/* The declared sizes may lie: what counts is what comes out. */
static int copy_contents(struct unpacking *unpacking, const struct entry *entry, int fd, struct err *err)
{
	__attribute__((cleanup(zip_fclosep))) zip_file_t *file = NULL;
	int r = open_entry(unpacking, entry, &file, err);

	if (r < 0)
		return r;
	for (;;) {
		zip_int64_t count = zip_fread(file, unpacking->buffer, COPY_SIZE);

		if (count < 0)
			return err_set(
				err, -EBADMSG, "entry '%s' is damaged: %s", entry->name, zip_file_strerror(file));
		if (count == 0)
			return 0;
		if ((size_t) count > unpacking->bytes_left)
			return err_set(
				err, -EFBIG, "the archive unpacks to more than %zu bytes", unpacking->limits->bytes);
		unpacking->bytes_left -= (size_t) count;
		r = fd_write_all(fd, unpacking->buffer, (size_t) count);
		if (r < 0)
			return err_errno(err, r, "cannot write '%s'", entry->name);
	}
}

/* Of two entries with one name the later stays. */
static int make_way(int parent_fd, const char *last, const struct entry *entry, struct err *err)
{
	if (last[0] == '\0')
		return err_set(err, -EINVAL, "entry '%s' has no name", entry->name);
	if (unlinkat(parent_fd, last, 0) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, -EEXIST, "entry '%s' is a directory elsewhere in the archive", entry->name);
}

static int unpack_file(struct unpacking *unpacking, const struct entry *entry, const char *last, struct err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	const mode_t mode = (entry->mode & 0777) | 0600; /* set-uid bits it must not give */
	cleanup_fd int fd = openat(unpacking->parent_fd, last, flags, mode);
	int r;

	if (fd < 0) {
		r = make_way(unpacking->parent_fd, last, entry, err);
		if (r < 0)
			return r;
		fd = openat(unpacking->parent_fd, last, flags, mode);
	}
	if (fd < 0)
		return err_errno(err, -errno, "cannot write '%s'", entry->name);
	return copy_contents(unpacking, entry, fd, err);
}

static int unpack_link(struct unpacking *unpacking, const struct entry *entry, const char *last, struct err *err)
{
	__attribute__((cleanup(zip_fclosep))) zip_file_t *file = NULL;
	char target[LIMIT_LINK_TARGET + 1], more;
	zip_int64_t length;
	int r = open_entry(unpacking, entry, &file, err);

	if (r < 0)
		return r;
	length = zip_fread(file, target, sizeof(target));
	/* The checksum is looked at when there is nothing more to read. */
	if (length <= 0 || length > LIMIT_LINK_TARGET || zip_fread(file, &more, 1) != 0 ||
		memchr(target, '\0', (size_t) length) != NULL)
		return err_set(err, -EBADMSG, "entry '%s' is a damaged symbolic link", entry->name);
	target[length] = '\0';
	r = make_way(unpacking->parent_fd, last, entry, err);
	if (r < 0)
		return r;
	if (symlinkat(target, unpacking->parent_fd, last) < 0)
		return err_errno(err, -errno, "cannot make the link '%s'", entry->name);
	return 0;
}

static int unpack_directory(struct unpacking *unpacking, const struct entry *entry, const char *last, struct err *err)
{
	int fd = -1, r;

	if (last[0] == '\0') /* "./" */
		return 0;
	r = enter_directory(unpacking, unpacking->parent_fd, last, &fd);
	if (r == -EFBIG)
		return too_many_folders(unpacking, err);
	if (r < 0)
		return err_set(err, r, "entry '%s' is a file or a symbolic link elsewhere in the archive", entry->name);
	fd_close(fd);
	return 0;
}

/* --- entries ----------------------------------------------------------------------------------------- */

static bool ends_in_slash(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && name[length - 1] == '/';
}

/* The file type and permissions; sensible ones where the archive comes from a system without them, as
 * those that Java tools write. */
static mode_t entry_mode(zip_t *archive, const struct entry *entry)
{
	zip_uint8_t system = ZIP_OPSYS_DOS;
	zip_uint32_t attributes = 0;
	mode_t mode = 0;

	if (zip_file_get_external_attributes(archive, entry->index, 0, &system, &attributes) == 0 &&
		(system == ZIP_OPSYS_UNIX || system == ZIP_OPSYS_OS_X))
		mode = (mode_t) (attributes >> 16);
	if (ends_in_slash(entry->name))
		return S_IFDIR | 0755;
	if ((mode & S_IFMT) == 0)
		mode |= S_IFREG;
	if ((mode & 0777) == 0)
		mode |= 0644;
	return mode;
}

static int describe_entry(struct unpacking *unpacking, zip_uint64_t index, struct entry *ret_entry, struct err *err)
{
	struct entry entry = { .index = index };
	zip_stat_t stat;

	/* A name that is valid UTF-8 is taken as that, any other as code page 437, and becomes UTF-8. */
	if (zip_stat_index(unpacking->archive, index, ZIP_FL_ENC_GUESS, &stat) < 0 || (stat.valid & ZIP_STAT_NAME) == 0)
		return err_set(err, -EBADMSG, "the archive is damaged: %s", zip_strerror(unpacking->archive));
	entry.name = stat.name;
	if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat.encryption_method != ZIP_EM_NONE)
		return err_set(err, -EACCES, "entry '%s' is encrypted", entry.name);
	entry.size = (stat.valid & ZIP_STAT_SIZE) != 0 ? stat.size : 0;
	if (entry.size > unpacking->bytes_left)
		return err_set(err, -EFBIG, "the archive unpacks to more than %zu bytes", unpacking->limits->bytes);
	entry.mode = entry_mode(unpacking->archive, &entry);
	*ret_entry = entry;
	return 0;
}

static int unpack_entry(struct unpacking *unpacking, zip_uint64_t index, struct err *err)
{
	char last[NAME_MAX + 1] = "";
	struct entry entry = { .name = "" };
	int r = describe_entry(unpacking, index, &entry, err);

	if (r < 0)
		return r;
	r = enter_parent(unpacking, &entry, last, err);
	if (r < 0)
		return r;
	if (S_ISDIR(entry.mode))
		return unpack_directory(unpacking, &entry, last, err);
	if (S_ISLNK(entry.mode))
		return unpack_link(unpacking, &entry, last, err);
	if (S_ISREG(entry.mode))
		return unpack_file(unpacking, &entry, last, err);
	return err_set(err, -EPERM, "entry '%s' is neither a file nor a directory nor a symbolic link", entry.name);
}

static int open_archive(const void *data, size_t length, zip_t **ret_archive, struct err *err)
{
	zip_error_t error;
	zip_source_t *source;
	zip_t *archive;
	int r = 0;

	zip_error_init(&error);
	source = zip_source_buffer_create(data, length, 0, &error);
	archive = source == NULL ? NULL : zip_open_from_source(source, ZIP_RDONLY, &error);
	if (archive == NULL) {
		r = err_set(err, -EBADMSG, "not a valid zip archive: %s", zip_error_strerror(&error));
		if (source != NULL)
			zip_source_free(source);
	}
	zip_error_fini(&error);
	*ret_archive = archive;
	return r;
}

static int unpack_entries(struct unpacking *unpacking, struct err *err)
{
	zip_int64_t count = zip_get_num_entries(unpacking->archive, 0);
	int r = 0;

	if (count < 0 || (size_t) count > unpacking->limits->entries)
		return err_set(err, -EFBIG, "the archive has more than %zu entries", unpacking->limits->entries);
	for (zip_int64_t index = 0; index < count && r == 0; index++)
		r = unpack_entry(unpacking, (zip_uint64_t) index, err);
	fd_close(unpacking->parent_fd);
	return r;
}

int archive_unpack(
	const void *data, size_t length, int directory_fd, const struct archive_limits *limits, struct err *err)
{
	__attribute__((cleanup(discardp))) zip_t *archive = NULL;
	cleanup_free char *buffer = malloc(COPY_SIZE);
	struct unpacking unpacking = { .root_fd = directory_fd,
		.bytes_left = limits->bytes,
		.folders_left = limits->entries,
		.limits = limits,
		.buffer = buffer,
		.parent_fd = -1 };
	mode_t umask_before;
	int r;

	if (buffer == NULL)
		return err_errno(err, -ENOMEM, "cannot unpack the archive");
	r = open_archive(data, length, &archive, err);
	if (r < 0)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
		return r;
	unpacking.archive = archive;
	umask_before = umask(0); /* it must not take what the archive gives */
	r = unpack_entries(&unpacking, err);
	(void) umask(umask_before);
	return r;
}
