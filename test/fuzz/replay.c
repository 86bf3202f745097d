/*
 * Runs a fuzz target over files, without libFuzzer: replay_NAME [FILE|DIRECTORY...], by default the target's
 * corpus. For prove(1): one result, and a crash is a failure like any other.
 */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FUZZ_CORPUS
#error "FUZZ_CORPUS must be the directory of the target's corpus"
#endif

static const char *current = "(none)";
static unsigned replayed;

static void say_current(void)
{
	(void) !write(STDERR_FILENO, "input: ", 7);
	(void) !write(STDERR_FILENO, current, strlen(current));
	(void) !write(STDERR_FILENO, "\n", 1);
}

static void on_fatal_signal(int number)
{
	say_current();
	(void) signal(number, SIG_DFL);
	(void) raise(number);
}

/* Of the sanitizers' runtime, where there is one. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "re");
	struct stat stat;
	char *data;
	size_t size;

	FUZZ_NEED(file != NULL && fstat(fileno(file), &stat) == 0, "the input");
	data = malloc(stat.st_size > 0 ? (size_t) stat.st_size : 1);
	FUZZ_NEED(data != NULL, "memory");
	size = fread(data, 1, (size_t) stat.st_size, file);
	FUZZ_NEED(size == (size_t) stat.st_size, "the whole input");
	(void) fclose(file);

	current = path;
	(void) LLVMFuzzerTestOneInput((const uint8_t *) data, size);
	current = "(none)";
	replayed++;
	free(data);
}

static void replay(const char *path);

static void replay_directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);

	FUZZ_NEED(count >= 0, "the directory of inputs");
	for (int i = 0; i < count; i++) {
		char child[4096];

		(void) snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			replay(child);
		free(entries[i]);
	}
	free(entries);
}

static void replay(const char *path)
{
	struct stat found;

	if (stat(path, &found) == 0 && S_ISDIR(found.st_mode))
		replay_directory(path);
	else
		replay_file(path);
}

/* Targets may change their working directory. */
static char *absolute(const char *path)
{
	char *resolved = realpath(path, NULL);

	FUZZ_NEED(resolved != NULL, "the input");
	return resolved;
}

int main(int argc, char **argv)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

	char **paths = calloc((size_t) argc + 1, sizeof(*paths));

	FUZZ_NEED(paths != NULL, "memory");
	paths[0] = absolute(argc > 1 ? argv[1] : FUZZ_CORPUS);
	for (int i = 2; i < argc; i++)
		paths[i - 1] = absolute(argv[i]);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		(void) signal(fatal[i], on_fatal_signal);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(say_current);
	if (LLVMFuzzerInitialize != NULL)
		(void) LLVMFuzzerInitialize(&argc, &argv);

	for (size_t i = 0; paths[i] != NULL; i++) {
		replay(paths[i]);
		free(paths[i]);
	}
	free(paths);
	(void) printf("%s 1 - %u inputs replayed\n1..1\n", replayed > 0 ? "ok" : "not ok", replayed);
	return replayed > 0 ? 0 : 1;
}
