#include "user.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { NOBODY = 65534 };

static const char option[] = "--user (PYACTION_USER)";

/* --- file system rights ------------------------------------------------------------------------------ */

void user_lend_rights(const struct user *user, struct user_rights *ret_rights)
{
	*ret_rights = (struct user_rights) { .lent = user != NULL && user->other };
	if (!ret_rights->lent)
		return;
	/* The change takes these two from us (commit_creds() in the kernel). */
	ret_rights->dumpable = prctl(PR_GET_DUMPABLE);
	(void) prctl(PR_GET_PDEATHSIG, &ret_rights->death_signal);
	(void) setfsgid(user->gid);
	/* With it go the capabilities that are about files (capabilities(7)), until the way back. */
	(void) setfsuid(user->uid);
}

void user_return_rights(const struct user_rights *rights)
{
	int saved = errno;

	if (!rights->lent)
		return;
	(void) setfsuid(geteuid());
	(void) setfsgid(getegid());
	(void) prctl(PR_SET_DUMPABLE, rights->dumpable);
	(void) prctl(PR_SET_PDEATHSIG, rights->death_signal);
	errno = saved;
}

int user_check_directory(const struct user *user, const char *path, bool read)
{
	struct user_rights rights;
	cleanup_fd int search_fd = -1;
	cleanup_fd int fd = -1;
	int r = 0;

	if (!user->other)
		return 0;
	user_lend_rights(user, &rights);
	fd = open(path, (read ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);
	search_fd = fd >= 0 ? openat(fd, ".", O_PATH | O_CLOEXEC) : -1;
	if (search_fd < 0)
		r = -errno;
	user_return_rights(&rights);
	return r;
}

/* Whether the user could put something else in the place of name, which entry describes (NULL: there is none), in the
 * folder. By its mode: lists of access rights are not looked at. */
static bool may_replace(const struct user *user, const struct stat *folder, const struct stat *entry)
{
	if (folder->st_uid == user->uid)
		return true;
	if ((folder->st_mode & S_IWOTH) == 0 && ((folder->st_mode & S_IWGRP) == 0 || folder->st_gid != user->gid))
		return false;
	/* In /tmp and the like, who made an entry may replace it. */
	return (folder->st_mode & S_ISVTX) == 0 || (entry != NULL && entry->st_uid == user->uid);
}

static int tell_folder(const struct user *user, int folder_fd, const char *path, struct err *err)
{
	char link[64], folder[PATH_MAX] = "";

	(void) snprintf(link, sizeof(link), "/proc/self/fd/%d", folder_fd);
	(void) !readlink(link, folder, sizeof(folder) - 1);
	return err_set(err, -EPERM,
		"the user '%s', who runs the function, could replace '%.200s': it may write to '%.200s'", user->name,
		path, folder);
}

/* The path from the root on; a symbolic link's target, with what follows the link. */
static bool join(char *path, size_t size, const char *begin, const char *rest)
{
	char joined[PATH_MAX];
	int length = snprintf(joined, sizeof(joined), "%s/%s", begin, rest);

	if (length < 0 || (size_t) length >= sizeof(joined))
		return false;
	(void) snprintf(path, size, "%s", joined);
	return true;
}

/* Enters what name is in the folder *fd, as the kernel would: a folder, or what a link leads to, which then stands in
 * front of *rest, in buffer. Returns false where the way ends. */
static bool enter(int *fd, const char *name, const struct stat *entry, char buffer[PATH_MAX], const char **rest)
{
	char target[PATH_MAX] = "";
	int next;

	if (S_ISLNK(entry->st_mode)) {
		ssize_t length = readlinkat(*fd, name, target, sizeof(target) - 1);

		if (length <= 0 || !join(buffer, PATH_MAX, target, *rest))
			return false;
		*rest = buffer;
		if (target[0] != '/')
			return true;
		next = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		next = openat(*fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	fd_close(*fd);
	*fd = next;
	return next >= 0;
}

int user_check_path(const struct user *user, const char *path, struct err *err)
{
	enum { STEPS = 1000 }; /* more than a path has, with the links that the kernel follows */
	char buffer[PATH_MAX] = "", name[NAME_MAX + 1];
	const char *rest = buffer;
	cleanup_fd int fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!user->other)
		return 0;
	if (path[0] != '/' && getcwd(buffer, sizeof(buffer)) != NULL) {
		fd_close(fd);
		fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (!join(buffer, sizeof(buffer), buffer, path))
		return err_errno(err, -ENAMETOOLONG, "cannot follow '%.200s'", path);
	for (int step = 0; step < STEPS && fd >= 0; step++) {
		const char *begin = rest + strspn(rest, "/");
		size_t length = strcspn(begin, "/");
		struct stat folder, entry;
		bool exists;

		if (length == 0 || length >= sizeof(name) || fstat(fd, &folder) < 0)
			return 0;
		(void) snprintf(name, sizeof(name), "%.*s", (int) length, begin);
		exists = fstatat(fd, name, &entry, AT_SYMLINK_NOFOLLOW) == 0;
		if (strcmp(name, "..") != 0 && strcmp(name, ".") != 0 &&
			may_replace(user, &folder, exists ? &entry : NULL))
			return tell_folder(user, fd, path, err);
		rest = begin + length;
		if (!exists || !enter(&fd, name, &entry, buffer, &rest))
			return 0;
	}
	return 0;
}

/* --- choosing ---------------------------------------------------------------------------------------- */

static int parse_id(const char *text, id_t *ret_id)
{
	char *rest;
	unsigned long number = strtoul(text, &rest, 10);

	/* The last number is "unchanged" to the system calls. */
	if (text[0] < '0' || text[0] > '9' || *rest != '\0' || number >= (id_t) -1)
		return -EINVAL;
	*ret_id = (id_t) number;
	return 0;
}

static int find_group(const char *name, gid_t *ret_gid, struct err *err)
{
	const struct group *group;

	if (parse_id(name, ret_gid) == 0)
		return 0;
	group = getgrnam(name);
	if (group == NULL)
		return err_set(err, -EINVAL, "%s: there is no group '%s'", option, name);
	*ret_gid = group->gr_gid;
	return 0;
}

/* "NAME", "UID", "NAME:GROUP", …. A number that is no known user's has the group of the same number. */
static int find_user(struct user *user, const char *wanted, struct err *err)
{
	size_t length = strcspn(wanted, ":");
	const struct passwd *entry;

	if (length == 0 || length >= sizeof(user->name))
		return err_set(
			err, -EINVAL, "%s is '%s', but must be a user, like nobody, 1000 or 1000:1000", option, wanted);
	(void) snprintf(user->name, sizeof(user->name), "%.*s", (int) length, wanted);
	if (parse_id(user->name, &user->uid) == 0)
		entry = getpwuid(user->uid);
	else if ((entry = getpwnam(user->name)) == NULL)
		return err_set(err, -EINVAL, "%s: there is no user '%s'", option, user->name);
	user->gid = user->uid;
	if (entry != NULL) {
		user->uid = entry->pw_uid;
		user->gid = entry->pw_gid;
		(void) snprintf(user->name, sizeof(user->name), "%s", entry->pw_name);
		(void) snprintf(user->home, sizeof(user->home), "%s", entry->pw_dir);
	}
	return wanted[length] == ':' ? find_group(wanted + length + 1, &user->gid, err) : 0;
}

/* The capabilities that we need for a child of another user: to make it one, to kill it, to give it a directory. */
static int check_capabilities(struct err *err)
{
	static const struct {
		unsigned number;
		const char *name;
	} needed[] = { { CAP_SETUID, "CAP_SETUID" }, { CAP_SETGID, "CAP_SETGID" }, { CAP_KILL, "CAP_KILL" },
		{ CAP_CHOWN, "CAP_CHOWN" } };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return err_errno(err, -errno, "cannot read our capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if ((data[0].effective & 1U << needed[i].number) == 0)
			return err_set(err, -EPERM, "that takes %s, which pyaction has not got", needed[i].name);
	return 0;
}

/* Whether there is such a user in our user namespace, and whether it reaches the program: by being it, as far as
 * files go. */
static int check_identity(const struct user *user, const char *program, struct err *err)
{
	struct user_rights rights;
	int fd, code;
	bool exists;

	user_lend_rights(user, &rights);
	/* These return what they find, and cannot change it to -1. */
	exists = (uid_t) setfsuid((uid_t) -1) == user->uid && (gid_t) setfsgid((gid_t) -1) == user->gid;
	fd = open(program, O_PATH | O_CLOEXEC);
	code = fd < 0 ? -errno : 0;
	fd_close(fd);
	user_return_rights(&rights);
	if (!exists)
		return err_set(err, -EINVAL, "there is no such user in this user namespace");
	if (code == -EACCES)
		return err_errno(err, code, "it cannot reach '%s'", program);
	return 0; /* should the program be missing, its start says so */
}

static int check_groups(struct err *err)
{
	if (getgroups(0, NULL) > 0 && setgroups(0, NULL) < 0)
		return err_errno(err, -errno, "its supplementary groups cannot be dropped");
	return 0;
}

static int check_change(const struct user *user, const char *program, struct err *err)
{
	int r;

	if (geteuid() != 0)
		return err_set(err, -EPERM, "pyaction was not started as root");
	if ((r = check_capabilities(err)) < 0 || (r = check_identity(user, program, err)) < 0)
		return r;
	return check_groups(err);
}

int user_choose(struct user *ret_user, const char *wanted, const char *program, char *ret_notice, struct err *err)
{
	struct user user = { .uid = geteuid(), .gid = getegid(), .name = "nobody" };
	bool by_default = wanted == NULL;
	struct err reason;
	int r;

	ret_notice[0] = '\0';
	if (!by_default && (r = find_user(&user, wanted, err)) < 0)
		return r;
	if (by_default && geteuid() == 0)
		user.uid = user.gid = NOBODY;
	user.other = user.uid != geteuid() || user.gid != getegid();
	/* Root that was asked for is root; root that nobody asked for is one in name only. */
	user.strip = user.other;
	r = user.other ? check_change(&user, program, &reason) : 0;
	if (r < 0 && !by_default)
		return err_set(
			err, r, "cannot run the function as the user '%s' (%s): %s", wanted, option, reason.text);
	if (r < 0) {
		(void) snprintf(ret_notice, ERR_TEXT_MAX,
			"the function runs as root, without capabilities, not as nobody: %.300s (%s)", reason.text,
			option);
		user.other = false;
	}
	*ret_user = user;
	return 0;
}

/* --- becoming ---------------------------------------------------------------------------------------- */

/* A HOME that it may not enter, such as root's own, which container engines set, is of no use to it. */
static int adjust_environment(const struct user *user)
{
	static const char *const names[] = { "USER", "LOGNAME" };
	const char *home = getenv("HOME");
	const char *temporary = getenv("TMPDIR");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (getenv(names[i]) != NULL && setenv(names[i], user->name, 1) < 0)
			return -errno;
	if (home == NULL || user_check_directory(user, home, false) != -EACCES)
		return 0;
	home = temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp";
	if (user->home[0] != '\0' && user_check_directory(user, user->home, false) == 0)
		home = user->home;
	return setenv("HOME", home, 1) < 0 ? -errno : 0;
}

int user_confine(const struct user *user, struct err *err)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, -errno, "cannot set no_new_privs");
	/* Fails at the first where we may not, and at the end of those that the kernel knows. */
	for (unsigned long capability = 0; user->strip && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;)
		capability++;
	if (user->strip)
		(void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Of a process that is not dumpable the other processes of the same user get nothing (ptrace(2)). */
	if (!user->other && (user->strip || geteuid() != 0))
		(void) prctl(PR_SET_DUMPABLE, 0);
	r = user->other ? adjust_environment(user) : 0;
	return r == 0 ? 0 : err_errno(err, r, "cannot set the environment");
}

int user_become(const struct user *user)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	static const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	if (user == NULL)
		return 0;
	if (user->other && setresgid(user->gid, user->gid, user->gid) < 0)
		return -errno;
	if (user->other && setresuid(user->uid, user->uid, user->uid) < 0)
		return -errno;
	if (user->strip && syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return 0;
}
