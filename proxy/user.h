/*
 * The user that the function runs as: who that is, becoming it in a child, and the proxy's own work on files that
 * are the function's.
 *
 * A proxy that was started as root stays root, for it has to start, kill and clean up; everything that runs or reads
 * what a client sent is another user's: the runner, the unpackers, the compiler. Started as anybody else, all of it
 * runs as that user. SECURITY.md says what follows from it.
 */
#pragma once

#include "../common/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct user {
	bool other; /* not ourselves: uid and gid are to be taken */
	bool strip; /* takes no capabilities along */
	uid_t uid;
	gid_t gid;
	char name[64];  /* for people: that of /etc/passwd, or the number */
	char home[256]; /* "" where it is not known */
};

/*
 * Chooses it. wanted: --user, NAME or UID, with :GROUP or :GID behind it; NULL for the default, which is nobody
 * (65534) where we are root, ourselves elsewhere. "root" means root, with all that the container gives it.
 *
 * The default is given up, and ret_notice (of ERR_TEXT_MAX bytes; "" where there is nothing to tell) says why, where
 * it cannot work: no capability to change the user or to kill it then, no such user in this user namespace, or
 * program, which it has to start, not to be reached. The function then is root, without capabilities.
 *
 * What was asked for and cannot be is an error: -EINVAL where there is no such user, else -EPERM and the like.
 */
int user_choose(struct user *ret_user, const char *wanted, const char *program, char *ret_notice,
	struct err *err) UTIL_MUST_CHECK;

/* Takes from this process, for ever, and so from all that it starts, what the function must not get: rights by
 * executing a set-user-ID program (no_new_privs), supplementary groups, capabilities to be had by exec. Where the
 * function is the same user as we are, it can from now on neither trace us nor look into our memory and
 * descriptors. HOME, USER and LOGNAME become the other user's. Once, before anything is started. */
int user_confine(const struct user *user, struct err *err) UTIL_MUST_CHECK;

/* Becomes it, for good; between fork and exec: async-signal-safe. Returns 0 or -errno. NULL changes nothing. */
int user_become(const struct user *user) UTIL_MUST_CHECK;

/* What user_lend_rights() has changed beside them, for user_return_rights(). */
struct user_rights {
	bool lent;
	int dumpable, death_signal;
};

/* From here to user_return_rights() this process does to files what that user may do, and nothing else: the kernel
 * then keeps us from whatever the function leads us to. NULL changes nothing. */
void user_lend_rights(const struct user *user, struct user_rights *ret_rights);
void user_return_rights(const struct user_rights *rights);

/* -EPERM where that user could put something of its own in the place of path, or of a folder or a link on the way there:
 * we would be led to where it likes. What is not there ends the way. Always 0 for ourselves. */
int user_check_path(const struct user *user, const char *path, struct err *err) UTIL_MUST_CHECK;

/* Whether that user may search the directory and, with read, list it: 0 or -errno. Always 0 for ourselves. */
int user_check_directory(const struct user *user, const char *path, bool read);
