/* The remover, with a clock of its own: each look at it is a millisecond later. */
#include "loop_run.h"
#include "tap.h"
#include "tree.h"

static uint64_t looks;

static uint64_t look_at_clock(void)
{
	return ++looks;
}

#define loop_now_ms look_at_clock
#include "../../proxy/remover.c"
#undef loop_now_ms

static char *base;
static unsigned ends;

static void on_end(struct removal *removal)
{
	(void) removal;
	ends++;
}

static void run_shell(const char *script)
{
	char *command = NULL;

	if (asprintf(&command, "cd '%s' && set -e && %s", base, script) < 0 || system(command) != 0)
		bail_out("cannot prepare %s", base);
	free(command);
}

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static long long size_of(const char *name)
{
	struct stat file;

	return lstat(path_of(name), &file) == 0 ? (long long) file.st_size : -1;
}

/* Makes "tree", and begins its removal. */
static struct removal begin_removal(const char *script)
{
	static char path[PATH_MAX];

	run_shell(script);
	(void) snprintf(path, sizeof(path), "%s", path_of("tree"));
	ends = 0;
	return (struct removal) { .path = path, .on_end = on_end };
}

static bool log_says(const char *words)
{
	char text[4096] = "";
	FILE *log = fopen(path_of("log"), "re");

	if (log != NULL) {
		text[fread(text, 1, sizeof(text) - 1, log)] = '\0';
		(void) fclose(log);
	}
	return strstr(text, words) != NULL;
}

#define MANY "mkdir -p tree/a && cd tree/a && i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : > f$i; done"
#define FILE_OF_8_MB "head -c 8388608 /dev/zero"

/* --- the time it takes ------------------------------------------------------------------------------- */

static void test_by_and_by(void)
{
	struct loop *loop = make_loop();
	struct remover remover;
	struct removal removal = begin_removal(MANY);
	uint64_t before;
	unsigned slices = 0;

	remover_init(&remover, loop);
	before = looks;
	remover_add(&remover, &removal);
	ok(ends == 0 && size_of("tree/a") >= 0, "a large directory is not removed at once");
	ok(looks - before < AT_ONCE_MS + 10, "... for that would take longer than a moment");
	for (; remover.timer.set && slices < 1000; slices++) {
		before = looks;
		loop_timer_clear(loop, &remover.timer);
		remover.timer.on_due(remover.timer.context);
		if (looks - before > SLICE_MS + 10)
			break;
	}
	ok(ends == 1 && slices > 3, "... but by and by");
	is_int(size_of("tree"), -1, "... until it is gone");
	is_int(ends, 1, "... which is told once");
	remover_finish(&remover, 0);
	ok(!remover.timer.set, "no timer is left");
	loop_free(loop);
}

static void test_at_once(void)
{
	struct remover remover;
	struct removal removal = begin_removal("mkdir -p tree/a/b && : > tree/a/b/f");

	remover_init(&remover, NULL); /* whose timer is not needed */
	remover_add(&remover, &removal);
	ok(ends == 1 && size_of("tree") < 0, "a small one is");
	removal = begin_removal(MANY);
	remover_add(NULL, &removal);
	ok(ends == 1 && size_of("tree") < 0, "without a remover, a large one is, too");
}

static void test_end_of_time(void)
{
	struct loop *loop = make_loop();
	struct remover remover;
	struct removal removal = begin_removal(MANY);
	struct err err;

	remover_init(&remover, loop);
	remover_add(&remover, &removal);
	if (server_log_open(path_of("log"), LOG_FORMAT_TEXT, LOG_LEVEL_WARNING, NULL, &err) < 0)
		bail_out("%s", err.text);
	remover_finish(&remover, looks + 5);
	server_log_close();
	ok(ends == 1 && remover.first == NULL && !remover.timer.set, "at the end of its time it ends");
	ok(size_of("tree/a") >= 0, "... with what is left");
	ok(log_says("warning folder_left: ") && log_says(removal.path) && log_says("Directory not empty"),
		"... which the log says");
	run_shell("rm -rf tree log");
	loop_free(loop);
}

static void test_several(void)
{
	struct loop *loop = make_loop();
	struct remover remover;
	struct removal first = begin_removal(MANY), second;

	remover_init(&remover, loop);
	remover_add(&remover, &first);
	run_shell("mv tree other");
	second = begin_removal(MANY);
	remover_add(&remover, &second);
	remover_finish(&remover, UINT64_MAX);
	ok(ends == 2 && size_of("tree") < 0, "several at a time");
	ok(size_of("other") >= 0 && size_of("other/a") < 0, "... each through its descriptor");
	run_shell("rmdir other");
	loop_free(loop);
}

/* --- large files ------------------------------------------------------------------------------------- */

static void test_large_file(void)
{
	struct loop *loop = make_loop();
	struct remover remover = { 0 };
	struct removal removal = begin_removal("mkdir tree && " FILE_OF_8_MB " > tree/f && chmod 400 tree/f");
	long long left;

	begin(&removal);
	(void) proceed(&removal, looks + 6);
	left = size_of("tree/f");
	ok(left > 0 && left < 8388608, "a large file is cut in pieces");
	remover_init(&remover, loop);
	remover.first = &removal;
	remover_finish(&remover, UINT64_MAX);
	ok(ends == 1 && size_of("tree") < 0, "... until it can be removed");

	removal = begin_removal(FILE_OF_8_MB " > tree");
	begin(&removal);
	ok(!proceed(&removal, looks + 4) && size_of("tree") < 8388608, "one in the directory's place, too");
	remover.first = &removal;
	remover_finish(&remover, UINT64_MAX);
	ok(ends == 1 && size_of("tree") < 0, "... and removed");

	removal = begin_removal("mkdir tree && " FILE_OF_8_MB " > other && ln other tree/f");
	remover_add(NULL, &removal);
	ok(size_of("tree") < 0 && size_of("other") == 8388608, "one with another name is left as it is there");
	run_shell("rm other");

	removal = begin_removal("mkdir tree && " FILE_OF_8_MB " > other && ln -s ../other tree/f");
	remover_add(NULL, &removal);
	ok(size_of("tree") < 0 && size_of("other") == 8388608, "one that a link leads to, too");
	run_shell("rm other");
	loop_free(loop);
}

int main(void)
{
	int fds = count_open_fds();

	base = tree_new();
	test_by_and_by();
	test_at_once();
	test_end_of_time();
	test_several();
	test_large_file();
	tree_free(base);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
