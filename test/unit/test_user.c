#include "../../proxy/user.h"

#include "tap.h"
#include "tree.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char *base; /* a directory that others may enter */
static const struct user other = { .other = true, .strip = true, .uid = 4711, .gid = 4712, .name = "4711" };

/* Each in a process of its own, for what is changed stays changed. */
static void in_child(void (*body)(void), const char *what)
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		tap.failed = 0;
		body();
		_exit(tap.failed == 0 ? 0 : 1);
	}
	(void) waitpid(pid, &wait_status, 0);
	is_int(wait_status, 0, "%s", what);
}

/* In place of ok(), which would count in the child alone. */
static void must(bool holds, const char *what)
{
	if (!holds) {
		tap.failed++;
		diag("not so: %s (%s)", what, strerror(errno));
	}
}

/* --- choosing ---------------------------------------------------------------------------------------- */

static void check_refused(const char *wanted, const char *sentence)
{
	char notice[ERR_TEXT_MAX];
	struct user user = { .uid = 77 };
	struct err err = { .text = "" };

	is_int(user_choose(&user, wanted, "/", notice, &err), -EINVAL, "--user '%s'", wanted);
	is_str(err.text, sentence, "... is refused");
	is_int((long long) user.uid, 77, "... and nothing returned");
}

static void test_refused(void)
{
	char long_name[100];

	check_refused("", "--user (PYACTION_USER) is '', but must be a user, like nobody, 1000 or 1000:1000");
	check_refused(":1", "--user (PYACTION_USER) is ':1', but must be a user, like nobody, 1000 or 1000:1000");
	check_refused("no-such-user", "--user (PYACTION_USER): there is no user 'no-such-user'");
	check_refused("1a", "--user (PYACTION_USER): there is no user '1a'");
	check_refused("-1", "--user (PYACTION_USER): there is no user '-1'");
	/* Which is "unchanged" to the system calls. */
	check_refused("4294967295", "--user (PYACTION_USER): there is no user '4294967295'");
	check_refused("99999999999999999999", "--user (PYACTION_USER): there is no user '99999999999999999999'");
	check_refused("4711:", "--user (PYACTION_USER): there is no group ''");
	check_refused("4711:no-such-group", "--user (PYACTION_USER): there is no group 'no-such-group'");
	check_refused("4711:4294967295", "--user (PYACTION_USER): there is no group '4294967295'");
	memset(long_name, 'x', 64);
	long_name[64] = '\0';
	is_int(user_choose(&(struct user) { 0 }, long_name, "/", (char[ERR_TEXT_MAX]) { "" }, &(struct err) { "" }),
		-EINVAL, "a name of 64 characters");
}

static void check_chosen(const char *wanted, uid_t uid, gid_t gid, const char *name, const char *home)
{
	char notice[ERR_TEXT_MAX] = "not emptied";
	struct user user;
	struct err err = { .text = "" };
	int r = user_choose(&user, wanted, "/", notice, &err);

	ok(tap_is_int(r, 0) && tap_is_str(notice, "") && tap_is_int(user.uid, uid) && tap_is_int(user.gid, gid) &&
			tap_is_str(user.name, name) && tap_is_str(user.home, home) && user.other && user.strip,
		"--user '%s' is %u:%u %s", wanted != NULL ? wanted : "(none)", uid, gid, name);
}

static void test_chosen(void)
{
	const struct passwd *daemon = getpwuid(1);
	gid_t gid = daemon != NULL ? daemon->pw_gid : 1;
	const char *name = daemon != NULL ? daemon->pw_name : "1", *home = daemon != NULL ? daemon->pw_dir : "";

	check_chosen(NULL, 65534, 65534, "nobody", "");
	check_chosen("4294967294", 4294967294, 4294967294, "4294967294", "");
	check_chosen("3999999", 3999999, 3999999, "3999999", "");
	check_chosen("3999999:12", 3999999, 12, "3999999", "");
	check_chosen("1", 1, gid, name, home);
	check_chosen("1:root", 1, 0, name, home);
	if (daemon != NULL)
		check_chosen(daemon->pw_name, 1, gid, name, home);
}

static void check_root_is_ourselves(void)
{
	static const char *const roots[] = { "root", "0", "0:0", "root:root" };
	char notice[ERR_TEXT_MAX];
	struct user user;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		must(user_choose(&user, roots[i], "/", notice, &err) == 0 && !user.other && !user.strip, roots[i]);
	must(user_choose(&user, "0:12", "/", notice, &err) == 0 && user.other && user.strip, "root of another group");
}

static void check_ordinary_user(void)
{
	char notice[ERR_TEXT_MAX];
	struct user user;
	struct err err;

	must(setresgid(4712, 4712, 4712) == 0 && setresuid(4711, 4711, 4711) == 0, "we are an ordinary user");
	must(user_choose(&user, NULL, "/", notice, &err) == 0 && !user.other && !user.strip,
		"the default is ourselves");
	must(user_choose(&user, "4711:4712", "/", notice, &err) == 0 && !user.other, "we can ask for ourselves");
	must(user_choose(&user, "4711", "/", notice, &err) == -EPERM, "not with another group");
	must(strcmp(err.text,
		     "cannot run the function as the user '4711' (--user (PYACTION_USER)): pyaction was not "
		     "started as root") == 0,
		err.text);
	must(user_choose(&user, "0", "/", notice, &err) == -EPERM, "not for root");
}

static void drop_capability(unsigned number)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	must(syscall(SYS_capget, &header, data) == 0, "our capabilities");
	data[0].effective &= ~(1U << number);
	must(syscall(SYS_capset, &header, data) == 0, "... less one");
}

static void check_given_up(void)
{
	char notice[ERR_TEXT_MAX];
	struct user user;
	struct err err;

	drop_capability(CAP_KILL);
	must(user_choose(&user, NULL, "/", notice, &err) == 0 && !user.other && user.strip,
		"root without capabilities");
	must(strcmp(notice,
		     "the function runs as root, without capabilities, not as nobody: that takes CAP_KILL, which "
		     "pyaction has not got (--user (PYACTION_USER))") == 0,
		notice);
	must(user_choose(&user, "4711", "/", notice, &err) == -EPERM && notice[0] == '\0', "what was asked for is not");
}

static void check_unreachable(void)
{
	char path[PATH_MAX], notice[ERR_TEXT_MAX], sentence[PATH_MAX + 200];
	struct user user;
	struct err err;

	(void) snprintf(path, sizeof(path), "%s/closed/program", base);
	must(user_choose(&user, NULL, path, notice, &err) == 0 && !user.other && user.strip, "a program out of reach");
	(void) snprintf(sentence, sizeof(sentence),
		"the function runs as root, without capabilities, not as nobody: it cannot reach '%s': Permission "
		"denied (--user (PYACTION_USER))",
		path);
	must(strcmp(notice, sentence) == 0, notice);
	(void) snprintf(path, sizeof(path), "%s/missing", base);
	must(user_choose(&user, NULL, path, notice, &err) == 0 && user.other, "a missing one is another matter");
}

/* --- rights ------------------------------------------------------------------------------------------ */

static bool is_made_by(const char *name, uid_t uid, gid_t gid)
{
	char path[PATH_MAX];
	struct stat file;

	(void) snprintf(path, sizeof(path), "%s/%s", base, name);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	return stat(path, &file) == 0 && file.st_uid == uid && file.st_gid == gid;
}

static void check_rights(void)
{
	char path[PATH_MAX];
	struct user_rights rights;
	int death_signal = 0;

	(void) snprintf(path, sizeof(path), "%s/closed/program", base);
	must(access(path, F_OK) == 0, "root may look there");
	(void) prctl(PR_SET_PDEATHSIG, SIGUSR1);
	(void) prctl(PR_SET_DUMPABLE, 1);
	user_lend_rights(&other, &rights);
	must(open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES, "with the other's rights we may not");
	must(is_made_by("other's", 4711, 4712), "what is made is the other's");
	must(getuid() == 0 && geteuid() == 0, "nobody else can signal or trace us");
	errno = ELOOP;
	user_return_rights(&rights);
	must(errno == ELOOP, "errno stays");
	must(open(path, O_RDONLY | O_CLOEXEC) >= 0, "we may again");
	must(is_made_by("ours", 0, 0), "what is made is ours");
	(void) prctl(PR_GET_PDEATHSIG, &death_signal);
	must(death_signal == SIGUSR1 && prctl(PR_GET_DUMPABLE) == 1, "the kernel's side effects are undone");

	user_lend_rights(NULL, &rights);
	must(open(path, O_RDONLY | O_CLOEXEC) >= 0, "nobody's are ours");
	user_return_rights(&rights);
	user_lend_rights(&(struct user) { .uid = 4711 }, &rights);
	must(open(path, O_RDONLY | O_CLOEXEC) >= 0, "... and so are those of who is not other");
	user_return_rights(&rights);
}

static void check_directories(void)
{
	static const struct user ourselves = { .uid = 4711 };
	char path[PATH_MAX];

	must(user_check_directory(&other, base, true) == 0, "one that may be entered and listed");
	(void) snprintf(path, sizeof(path), "%s/closed", base);
	must(user_check_directory(&other, path, false) == -EACCES, "one that may not be entered");
	must(user_check_directory(&ourselves, path, true) == 0, "by ourselves it may");
	must(chmod(path, 0711) == 0 && user_check_directory(&other, path, false) == 0, "one that may only be entered");
	must(user_check_directory(&other, path, true) == -EACCES, "... may not be listed");
	must(chmod(path, 0744) == 0 && user_check_directory(&other, path, true) == -EACCES, "nor one only listed");
	(void) chmod(path, 0700);
	(void) snprintf(path, sizeof(path), "%s/missing", base);
	must(user_check_directory(&other, path, false) == -ENOENT, "one that is not there");
	(void) snprintf(path, sizeof(path), "%s/closed/program", base);
	must(user_check_directory(&other, path, false) == -EACCES, "a file out of reach");
	must(user_check_directory(&other, "/etc/passwd", false) == -ENOTDIR, "a file");
}

/* --- becoming ---------------------------------------------------------------------------------------- */

static bool has_no_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = 1 } };

	return syscall(SYS_capget, &header, data) == 0 && data[0].effective == 0 && data[0].permitted == 0 &&
		data[0].inheritable == 0 && data[1].effective == 0 && data[1].permitted == 0;
}

static void check_become(void)
{
	struct err err;
	uid_t real, effective, saved;

	must(setenv("HOME", "/", 1) == 0 && unsetenv("USER") == 0 && setenv("LOGNAME", "root", 1) == 0, "variables");
	must(user_confine(&other, &err) == 0, "confined");
	must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no set-user-ID program works any more");
	must(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 0, "no capability comes with exec");
	must(prctl(PR_CAPBSET_READ, CAP_AUDIT_READ, 0, 0, 0) == 0, "... nor a later one");
	must(prctl(PR_GET_DUMPABLE) == 1, "another user is kept from us anyway");
	must(strcmp(getenv("LOGNAME"), "4711") == 0 && getenv("USER") == NULL, "the name where there was one");
	must(strcmp(getenv("HOME"), "/") == 0, "a HOME that can be entered stays");
	must(user_become(NULL) == 0 && geteuid() == 0, "nobody: nothing changes");
	must(user_become(&other) == 0, "becoming");
	must(getresuid(&real, &effective, &saved) == 0 && real == 4711 && effective == 4711 && saved == 4711, "ids");
	must(getresgid(&real, &effective, &saved) == 0 && real == 4712 && effective == 4712 && saved == 4712, "groups");
	must(has_no_capabilities(), "capabilities");
	must(user_become(&(struct user) { .other = true, .uid = 4713, .gid = 4712 }) == -EPERM, "no way to another");
	must(user_become(&(struct user) { .other = true, .uid = 4711, .gid = 4713 }) == -EPERM, "... nor to its group");
}

static void check_stripped_root(void)
{
	static const struct user stripped = { .strip = true };
	struct err err;

	must(user_confine(&stripped, &err) == 0 && user_become(&stripped) == 0, "stripped");
	must(geteuid() == 0 && has_no_capabilities() && prctl(PR_GET_DUMPABLE) == 0, "root in name only");
}

static void check_root_as_it_is(void)
{
	static const struct user root;
	struct err err;

	must(user_confine(&root, &err) == 0 && user_become(&root) == 0, "root that was asked for");
	must(geteuid() == 0 && !has_no_capabilities(), "is root");
	must(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 1, "... and what it starts");
	must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "... without more than that");
}

static void check_home(void)
{
	char closed[PATH_MAX];
	struct user user = other;
	struct err err;

	(void) snprintf(closed, sizeof(closed), "%s/closed", base);
	(void) setenv("HOME", closed, 1);
	(void) setenv("TMPDIR", base, 1);
	must(user_confine(&user, &err) == 0 && strcmp(getenv("HOME"), base) == 0, "TMPDIR for one out of reach");
	(void) setenv("HOME", closed, 1);
	(void) setenv("TMPDIR", "", 1);
	must(user_confine(&user, &err) == 0 && strcmp(getenv("HOME"), "/tmp") == 0, "... or /tmp");
	(void) setenv("HOME", closed, 1);
	(void) snprintf(user.home, sizeof(user.home), "/usr");
	must(user_confine(&user, &err) == 0 && strcmp(getenv("HOME"), "/usr") == 0, "... or that of /etc/passwd");
	(void) setenv("HOME", closed, 1);
	(void) snprintf(user.home, sizeof(user.home), "/nonexistent-home");
	must(user_confine(&user, &err) == 0 && strcmp(getenv("HOME"), "/tmp") == 0, "... where that is there");
	(void) setenv("HOME", "/nonexistent-home", 1);
	must(user_confine(&user, &err) == 0 && strcmp(getenv("HOME"), "/nonexistent-home") == 0, "a missing one stays");
	(void) unsetenv("HOME");
	must(user_confine(&user, &err) == 0 && getenv("HOME") == NULL, "none stays none");
}

int main(void)
{
	char path[PATH_MAX];

	test_refused();
	if (geteuid() != 0) {
		ok(true, "other users # SKIP only root can become one");
		return done_testing();
	}
	base = tree_new();
	(void) chmod(base, 0777);
	(void) snprintf(path, sizeof(path), "%s/closed", base);
	(void) mkdir(path, 0700);
	(void) snprintf(path, sizeof(path), "%s/closed/program", base);
	(void) close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));

	test_chosen();
	in_child(check_root_is_ourselves, "root is root");
	in_child(check_ordinary_user, "an ordinary user is itself");
	in_child(check_given_up, "without a capability the default is given up");
	in_child(check_unreachable, "with a program out of reach as well");
	in_child(check_rights, "rights are lent and come back");
	in_child(check_directories, "directories are looked at with the other's rights");
	in_child(check_become, "becoming another user, for good");
	in_child(check_stripped_root, "root without capabilities");
	in_child(check_root_as_it_is, "root with its capabilities");
	in_child(check_home, "a HOME of use");
	tree_free(base);
	return done_testing();
}
