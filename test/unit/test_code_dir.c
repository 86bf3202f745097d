#include "../../proxy/code_dir.h"

#include "loop_run.h"
#include "tap.h"
#include "tree.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char self[PATH_MAX];

/* --- the unpacker: this program again, with a directory as its argument ------------------------------ */

/* What the archive says is what it does. */
static int be_unpacker(const char *directory)
{
	char archive[100] = "", path[PATH_MAX];
	FILE *file;

	archive[pread(STDIN_FILENO, archive, sizeof(archive) - 1, 0)] = '\0';
	(void) snprintf(path, sizeof(path), "%s/unpacked", directory);
	file = fopen(path, "we");
	(void) fputs(archive, file);
	(void) fclose(file);
	if (strcmp(archive, "complain") == 0) {
		(void) puts("the archive is odd\nand more");
		return 1;
	}
	if (strcmp(archive, "fail") == 0)
		return 3;
	if (strcmp(archive, "stderr") == 0)
		return fputs("on stderr\n", stderr) < 0 ? 9 : 1;
	if (strcmp(archive, "die") == 0)
		(void) kill(getpid(), SIGKILL);
	while (strcmp(archive, "hang") == 0)
		(void) pause();
	if (strcmp(archive, "chatter") == 0)
		(void) puts("all is well");
	return 0;
}

/* --- making and writing ------------------------------------------------------------------------------ */

static char *base;

static struct code_dir *make_dir(void)
{
	struct code_dir *dir = NULL;
	struct err err;

	if (code_dir_new(&dir, base, NULL, NULL, &err) < 0)
		bail_out("%s", err.text);
	return dir;
}

static void test_new(void)
{
	struct code_dir *dir = make_dir(), *other = make_dir(), *untouched = NULL;
	char sentence[PATH_MAX + 200], none[PATH_MAX + 8];
	struct stat stat;
	struct err err;
	char *tree;

	ok(strncmp(code_dir_path(dir), base, strlen(base)) == 0 &&
			strcmp(code_dir_path(dir), code_dir_path(other)) != 0,
		"two directories below the given one");
	ok(lstat(code_dir_path(dir), &stat) == 0 && (stat.st_mode & 07777U) == 0700, "mode 0700");
	code_dir_free(dir);
	code_dir_free(other);
	code_dir_free(NULL);
	tree = tree_show(base);
	is_str(tree, "", "they are gone when they are freed");
	free(tree);

	(void) snprintf(none, sizeof(none), "%s/none", base);
	is_int(code_dir_new(&untouched, none, NULL, NULL, &err), -ENOENT, "below a directory that is not there");
	(void) snprintf(sentence, sizeof(sentence),
		"cannot make a directory for the code in '%s' (--work-dir, PYACTION_WORK_DIR): No such file or directory",
		none);
	is_str(err.text, sentence, "... which is said");
	ok(untouched == NULL, "... and nothing returned");
	is_int(code_dir_new(&untouched, self, NULL, NULL, &err), -ENOTDIR, "below a file");
	(void) snprintf(sentence, sizeof(sentence),
		"cannot make a directory for the code in '%s' (--work-dir, PYACTION_WORK_DIR): Not a directory", self);
	is_str(err.text, sentence, "... which is said");
}

/* The runner will change into it and compare: no link may be left in the path, and no relative one. */
static void test_real_path(void)
{
	char link[PATH_MAX], *before = get_current_dir_name();
	struct code_dir *dir = NULL;
	struct err err;
	char *tree;

	(void) snprintf(link, sizeof(link), "%s/link", base);
	if (symlink(base, link) < 0 || code_dir_new(&dir, link, NULL, NULL, &err) < 0)
		bail_out("cannot make a link");
	ok(strstr(code_dir_path(dir), "/link/") == NULL && code_dir_path(dir)[0] == '/',
		"a link in the path is resolved");
	code_dir_free(dir);
	if (chdir(base) < 0 || code_dir_new(&dir, ".", NULL, NULL, &err) < 0)
		bail_out("cannot use a relative path");
	ok(strncmp(code_dir_path(dir), base, strlen(base)) == 0, "a relative path becomes absolute");
	if (chdir(before) < 0)
		bail_out("cannot go back");
	code_dir_free(dir);
	(void) unlink(link);
	tree = tree_show(base);
	is_str(tree, "", "both are gone, from another working directory, too");
	free(tree);
	free(before);
}

static void test_write(void)
{
	enum { SIZE = 3 << 20 };
	struct code_dir *dir = make_dir();
	char *big = calloc(1, SIZE), *tree, sentence[PATH_MAX + 200];
	mode_t before = umask(022);
	struct err err;

	is_int(code_dir_write(dir, "__main__.py", "a\0b", 3, &err), 0, "a file is written");
	is_int(code_dir_write(dir, "empty", "", 0, &err), 0, "an empty one");
	is_int(code_dir_write(dir, "big", big, SIZE, &err), 0, "a big one");
	tree = tree_show(code_dir_path(dir));
	is_str(tree, "__main__.py 644 'a\\x00b'\nbig 644 3145728 bytes\nempty 644 ''\n", "... with its bytes and mode");
	free(tree);
	is_int(code_dir_write(dir, "empty", "x", 1, &err), -EEXIST, "one that is there is not written over");
	(void) snprintf(sentence, sizeof(sentence), "cannot write '%s/empty': File exists", code_dir_path(dir));
	is_str(err.text, sentence, "... which is said");
	code_dir_free(dir);
	(void) umask(before);
	free(big);
}

/* --- removing ---------------------------------------------------------------------------------------- */

static void run_shell(const char *directory, const char *script)
{
	char *command = NULL;

	if (asprintf(&command, "cd '%s' && set -e && %s", directory, script) < 0 || system(command) != 0)
		bail_out("cannot prepare %s", directory);
	free(command);
}

/* All that a function can leave behind, if it is not root. Returns an exit status. */
static int remove_hostile_tree(const char *script)
{
	struct code_dir *dir = make_dir();
	char *before, *after;
	bool same;

	before = tree_show(base);
	code_dir_free(dir);
	free(before);
	run_shell(base, "mkdir -p outside/directory && echo precious > outside/file && chmod 755 outside");
	before = tree_show(base);
	dir = make_dir();
	run_shell(code_dir_path(dir), script);
	code_dir_free(dir);
	after = tree_show(base);
	same = tap_is_str(after, before);
	run_shell(base, "rm -rf outside");
	free(before);
	free(after);
	return same ? 0 : 1;
}

/* As root, and as somebody whom modes hold up. */
static void check_removal(const char *script, const char *what)
{
	pid_t pid;
	int wait_status = -1;

	ok(remove_hostile_tree(script) == 0, "%s", what);
	if (geteuid() != 0)
		return;
	(void) fflush(tap.out);
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(2);
		_exit(remove_hostile_tree(script));
	}
	(void) waitpid(pid, &wait_status, 0);
	is_int(WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1, 0, "... not as root");
}

static void test_removal(void)
{
	if (chmod(base, 0777) < 0)
		bail_out("cannot open %s", base);
	check_removal(":", "an empty directory is removed");
	check_removal("mkdir -p a/b/c && touch a/f a/b/g a/b/c/h .hidden '...' 'a b' && mkfifo p && chmod 444 a/f",
		"directories, files, a pipe, hidden ones");
	check_removal("mkdir -p a/b && touch a/b/f && chmod 000 a/b && chmod 000 a", "directories of mode 000");
	check_removal(
		"mkdir -p a/b && touch a/b/f && chmod 500 a/b && chmod 111 a", "read-only and search-only directories");
	check_removal("touch f && chmod 000 . ", "mode 000 of the directory itself");
	check_removal("ln -s ../outside l && ln -s ../outside/file m && ln -s /nowhere n && ln -s . self && mkdir d && "
		      "ln -s ../../outside d/l && ln -s .. d/up",
		"links are removed, not what they lead to");
	check_removal("ln -s ../outside l && chmod 000 .", "... in a directory of mode 000");
	check_removal("ln ../outside/file hard && chmod 644 hard", "a hard link, not the file");
	check_removal("i=0; while [ $i -lt 500 ]; do i=$((i+1)); : > f$i; mkdir d$i; done", "a thousand entries");
	check_removal("rm -rf \"$PWD\"", "one that is gone already");
	check_removal("d=$PWD && cd .. && rmdir \"$d\" && ln -s outside \"$d\"", "a link in its own place");
	if (chmod(base, 0700) < 0)
		bail_out("cannot close %s", base);
}

/* Deeper than descriptors may be open, and than a path may be long. */
static void test_deep(void)
{
	enum { DEPTH = 3000 };
	const struct rlimit few = { .rlim_cur = 256, .rlim_max = 4096 };
	struct code_dir *dir = make_dir();
	char *path = strdup(code_dir_path(dir));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rlimit before;

	for (int i = 0; i < DEPTH && fd >= 0; i++) {
		int next;

		if (mkdirat(fd, "directory", 0755) < 0)
			bail_out("cannot go %d deep", i);
		next = openat(fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd_close(fd);
		fd = next;
	}
	fd_close(fd);
	(void) getrlimit(RLIMIT_NOFILE, &before);
	(void) setrlimit(RLIMIT_NOFILE, &few);
	code_dir_free(dir);
	(void) setrlimit(RLIMIT_NOFILE, &before);
	ok(access(path, F_OK) < 0, "%d nested directories are removed, with 256 descriptors", DEPTH);
	free(path);
	run_shell(base, "rm -rf pyaction-*");
}

/* --- unpacking --------------------------------------------------------------------------------------- */

struct unpacking {
	bool done;
	int calls;
	char problem[ERR_TEXT_MAX];
	struct code_dir *to_free;
};

static void on_done(void *context, const char *problem)
{
	struct unpacking *unpacking = context;

	unpacking->calls++;
	(void) snprintf(unpacking->problem, sizeof(unpacking->problem), "%s", problem != NULL ? problem : "none");
	unpacking->done = true;
	code_dir_free(unpacking->to_free); /* as function.c does; problem must have been good until here */
}

static void check_unpacking(const char *archive, const char *problem)
{
	struct loop *loop = make_loop();
	struct code_dir *dir = make_dir();
	struct unpacking unpacking = { 0 };
	char wanted[200], *copy = strdup(archive), *tree;
	struct err err;
	int r = code_dir_unpack(dir, loop, self, copy, strlen(copy), on_done, &unpacking, &err);

	memset(copy, 'x', strlen(copy)); /* it has been copied */
	free(copy);
	ok(tap_is_int(r, 0) && unpacking.calls == 0 && run_until(loop, &unpacking.done) &&
			tap_is_str(unpacking.problem, problem),
		"of '%s' comes: %s", archive, problem);
	tree = tree_show(code_dir_path(dir));
	(void) snprintf(wanted, sizeof(wanted), "unpacked 644 '%s'\n", archive);
	is_str(tree, wanted, "... and the archive, in the directory");
	free(tree);
	code_dir_free(dir);
	is_int(unpacking.calls, 1, "... once");
	loop_free(loop);
}

static void test_unpack(void)
{
	check_unpacking("PK", "none");
	check_unpacking("chatter", "none");
	check_unpacking("complain", "the archive is odd");
	check_unpacking("fail", "the unpacker ended with exit status 3");
	check_unpacking("die", "the unpacker ended with signal 9");
}

static void test_unpack_big(void)
{
	enum { SIZE = 20 << 20 };
	struct loop *loop = make_loop();
	struct code_dir *dir = make_dir();
	struct unpacking unpacking = { 0 };
	char *archive = calloc(1, SIZE);
	struct err err;

	is_int(code_dir_unpack(dir, loop, self, archive, SIZE, on_done, &unpacking, &err), 0,
		"an archive larger than a pipe");
	free(archive);
	ok(run_until(loop, &unpacking.done) && strcmp(unpacking.problem, "none") == 0,
		"... is handed over without waiting");
	code_dir_free(dir);
	loop_free(loop);
}

static void test_unpack_ends(void)
{
	struct loop *loop = make_loop();
	struct code_dir *dir = make_dir();
	struct unpacking unpacking = { .to_free = dir };
	struct err err;
	char *tree;

	is_int(code_dir_unpack(dir, loop, self, "complain", 8, on_done, &unpacking, &err), 0, "one that will be freed");
	ok(run_until(loop, &unpacking.done) && strcmp(unpacking.problem, "the archive is odd") == 0,
		"... in its own callback");

	dir = make_dir();
	unpacking = (struct unpacking) { 0 };
	is_int(code_dir_unpack(dir, loop, self, "hang", 4, on_done, &unpacking, &err), 0, "an unpacker that hangs");
	run_ms(loop, 20);
	code_dir_free(dir);
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "... ends with its directory, and is reaped");
	run_ms(loop, 20);
	is_int(unpacking.calls, 0, "... without a call");

	dir = make_dir();
	unpacking = (struct unpacking) { 0 };
	is_int(code_dir_unpack(dir, loop, "/nonexistent/pyunpack", "PK", 2, on_done, &unpacking, &err), -ENOENT,
		"an unpacker that is not there");
	is_str(err.text, "cannot start '/nonexistent/pyunpack': No such file or directory", "... which is said");
	code_dir_free(dir);
	is_int(unpacking.calls, 0, "... without a call");
	tree = tree_show(base);
	is_str(tree, "", "nothing is left of any");
	free(tree);
	loop_free(loop);
}

int main(int argc, char **argv)
{
	(void) umask(022); /* what modes the files have */
	int fds = count_open_fds();
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 1)
		return be_unpacker(argv[1]);
	self[length] = '\0';
	base = tree_new();
	test_new();
	test_real_path();
	test_write();
	test_removal();
	test_deep();
	test_unpack();
	test_unpack_big();
	test_unpack_ends();
	tree_free(base);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
