#include "fail_calls.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

static struct state {
	enum fail_mode mode;
	unsigned n, count;
	const char *failed;
	bool held;
} before_the_first, *state = &before_the_first;

/* Children share it. */
static void make_state(void)
{
	state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (state == MAP_FAILED)
		abort();
}

void fail_calls_begin(enum fail_mode mode, unsigned n)
{
	if (state == &before_the_first)
		make_state();
	*state = (struct state) { .mode = mode, .n = n };
}

const char *fail_calls_end(void)
{
	const char *failed = state->failed;

	*state = (struct state) { .n = 0 };
	return failed;
}

void fail_calls_hold(bool held)
{
	state->held = held;
}

/* Whether this call is to fail. */
static bool hit(const char *name, bool is_memory)
{
	if (state->n == 0 || state->held || (state->mode == FAIL_ALL_MEMORY && !is_memory))
		return false;
	state->count++;
	if (state->count != state->n && (state->mode == FAIL_ONE || state->count < state->n))
		return false;
	if (state->failed == NULL)
		state->failed = name;
	return true;
}

/*
 * The linker makes __wrap_NAME of NAME, and NAME of __real_NAME (ld(1), --wrap). The Makefile takes the names from
 * the lines that begin with WRAP.
 */
#define DEFINE(is_memory, type, name, parameters, arguments, code, failure)                                            \
	type __real_##name parameters;                                                                                 \
	type __wrap_##name parameters;                                                                                 \
	type __wrap_##name parameters                                                                                  \
	{                                                                                                              \
		if (hit(#name, is_memory)) {                                                                           \
			errno = code;                                                                                  \
			return failure;                                                                                \
		}                                                                                                      \
		return __real_##name arguments;                                                                        \
	}
#define WRAP(name, type, ...) DEFINE(false, type, name, __VA_ARGS__)
#define WRAP_MEMORY(name, type, ...) DEFINE(true, type, name, __VA_ARGS__)

/* clang-format off */

/* --- memory */

WRAP_MEMORY(malloc, void *, (size_t size), (size), ENOMEM, NULL)
WRAP_MEMORY(calloc, void *, (size_t count, size_t size), (count, size), ENOMEM, NULL)
WRAP_MEMORY(realloc, void *, (void *old, size_t size), (old, size), ENOMEM, NULL)
WRAP_MEMORY(strdup, char *, (const char *text), (text), ENOMEM, NULL)
WRAP_MEMORY(strndup, char *, (const char *text, size_t most), (text, most), ENOMEM, NULL)
WRAP_MEMORY(realpath, char *, (const char *path, char *to), (path, to), ENOMEM, NULL)
WRAP_MEMORY(fopencookie, FILE *, (void *cookie, const char *mode, cookie_io_functions_t functions), (cookie, mode, functions), ENOMEM, NULL)
WRAP_MEMORY(vasprintf, int, (char **text, const char *format, va_list args), (text, format, args), ENOMEM, -1)
WRAP_MEMORY(__vasprintf_chk, int, (char **text, int flag, const char *format, va_list args), (text, flag, format, args), ENOMEM, -1)
WRAP_MEMORY(cJSON_ParseWithLengthOpts, cJSON *, (const char *text, size_t length, const char **stop, cJSON_bool whole), (text, length, stop, whole), ENOMEM, NULL)
WRAP_MEMORY(cJSON_ParseWithLength, cJSON *, (const char *text, size_t length), (text, length), ENOMEM, NULL)
WRAP_MEMORY(cJSON_PrintUnformatted, char *, (const cJSON *item), (item), ENOMEM, NULL)
WRAP_MEMORY(cJSON_CreateObject, cJSON *, (void), (), ENOMEM, NULL)
WRAP_MEMORY(cJSON_AddStringToObject, cJSON *, (cJSON *object, const char *name, const char *text), (object, name, text), ENOMEM, NULL)
WRAP_MEMORY(MHD_create_response_from_buffer, struct MHD_Response *, (size_t size, void *data, enum MHD_ResponseMemoryMode mode), (size, data, mode), ENOMEM, NULL)
WRAP_MEMORY(MHD_create_response_from_buffer_with_free_callback, struct MHD_Response *, (size_t size, void *data, MHD_ContentReaderFreeCallback release), (size, data, release), ENOMEM, NULL)
WRAP_MEMORY(MHD_queue_response, enum MHD_Result, (struct MHD_Connection *connection, unsigned status, struct MHD_Response *response), (connection, status, response), ENOMEM, MHD_NO)

/* --- descriptors */

WRAP(pipe2, int, (int fds[2], int flags), (fds, flags), EMFILE, -1)
WRAP(dup2, int, (int from, int to), (from, to), EMFILE, -1)
WRAP(dup3, int, (int from, int to, int flags), (from, to, flags), EMFILE, -1)
WRAP(epoll_create1, int, (int flags), (flags), EMFILE, -1)
WRAP(epoll_ctl, int, (int epoll, int what, int fd, struct epoll_event *event), (epoll, what, fd, event), ENOSPC, -1)
WRAP(signalfd, int, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), EMFILE, -1)
WRAP(memfd_create, int, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
WRAP(mmap, void *, (void *at, size_t size, int access, int flags, int fd, off_t offset), (at, size, access, flags, fd, offset), ENOMEM, MAP_FAILED)
WRAP(socket, int, (int family, int type, int protocol), (family, type, protocol), EMFILE, -1)
WRAP(bind, int, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), EADDRINUSE, -1)
WRAP(listen, int, (int fd, int most), (fd, most), EADDRINUSE, -1)
WRAP(accept4, int, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags), EMFILE, -1)
WRAP(setsockopt, int, (int fd, int level, int name, const void *value, socklen_t size), (fd, level, name, value, size), ENOPROTOOPT, -1)
WRAP(getsockopt, int, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size), ENOPROTOOPT, -1)
WRAP(connect, int, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), ENETUNREACH, -1)
WRAP(getaddrinfo, int, (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found), (host, port, hints, found), ENOMEM, EAI_MEMORY)
WRAP(MHD_get_connection_info, const union MHD_ConnectionInfo *, (struct MHD_Connection *connection, enum MHD_ConnectionInfoType what, ...), (connection, what), ENOMEM, NULL)

/* --- files */

WRAP(fopen, FILE *, (const char *path, const char *mode), (path, mode), EMFILE, NULL)
WRAP(opendir, DIR *, (const char *path), (path), EMFILE, NULL)
WRAP(fdopendir, DIR *, (int fd), (fd), ENOMEM, NULL)
WRAP(readdir, struct dirent *, (DIR *directory), (directory), EIO, NULL)
WRAP(mkdtemp, char *, (char *pattern), (pattern), EACCES, NULL)
WRAP(mkdirat, int, (int fd, const char *path, mode_t mode), (fd, path, mode), ENOSPC, -1)
WRAP(symlinkat, int, (const char *target, int fd, const char *path), (target, fd, path), ENOSPC, -1)
WRAP(renameat, int, (int from_fd, const char *from, int to_fd, const char *to), (from_fd, from, to_fd, to), ENOSPC, -1)
WRAP(fchmod, int, (int fd, mode_t mode), (fd, mode), EPERM, -1)
WRAP(fstat, int, (int fd, struct stat *file), (fd, file), EIO, -1)
WRAP(stat, int, (const char *path, struct stat *file), (path, file), EIO, -1)
WRAP(read, ssize_t, (int fd, void *to, size_t size), (fd, to, size), EIO, -1)
WRAP(pread, ssize_t, (int fd, void *to, size_t size, off_t offset), (fd, to, size, offset), EIO, -1)
WRAP(write, ssize_t, (int fd, const void *from, size_t size), (fd, from, size), ENOSPC, -1)
WRAP(zip_source_buffer_create, zip_source_t *, (const void *data, zip_uint64_t length, int release, zip_error_t *error), (data, length, release, error), ENOMEM, NULL)
WRAP(zip_open_from_source, zip_t *, (zip_source_t *source, int flags, zip_error_t *error), (source, flags, error), ENOMEM, NULL)
WRAP(zip_stat_index, int, (zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_stat_t *entry), (archive, index, flags, entry), ENOMEM, -1)
WRAP(zip_fopen_index, zip_file_t *, (zip_t *archive, zip_uint64_t index, zip_flags_t flags), (archive, index, flags), ENOMEM, NULL)
WRAP(zip_fread, zip_int64_t, (zip_file_t *file, void *to, zip_uint64_t size), (file, to, size), EIO, -1)

/* --- processes */

WRAP(fork, pid_t, (void), (), EAGAIN, -1)
WRAP(sigprocmask, int, (int how, const sigset_t *set, sigset_t *old), (how, set, old), EINVAL, -1)
WRAP(sched_getaffinity, int, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set), EINVAL, -1)
WRAP(getrlimit, int, (int what, struct rlimit *limit), (what, limit), EINVAL, -1)

/* clang-format on */

/* --- with arguments that the macro cannot pass on */

int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = __wrap_vasprintf(text, format, args);
	va_end(args);
	return length;
}

int __wrap___asprintf_chk(char **text, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));
int __wrap___asprintf_chk(char **text, int flag, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = __wrap___vasprintf_chk(text, flag, format, args);
	va_end(args);
	return length;
}

/* With the mode, whether it was given or not: without O_CREAT nobody reads it. */
#define VARIADIC_MODE(last, mode)                                                                                      \
	va_list args;                                                                                                  \
	mode_t mode;                                                                                                   \
	va_start(args, last);                                                                                          \
	mode = (last & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;                                                       \
	va_end(args)

int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	VARIADIC_MODE(flags, mode);

	if (hit("open", false)) {
		errno = EMFILE;
		return -1;
	}
	return __real_open(path, flags, mode);
}

int __real_openat(int fd, const char *path, int flags, mode_t mode);
int __wrap_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...)
{
	VARIADIC_MODE(flags, mode);

	if (hit("openat", false)) {
		errno = EMFILE;
		return -1;
	}
	return __real_openat(fd, path, flags, mode);
}

int __real_fcntl(int fd, int what, long argument);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...)
{
	va_list args;
	long argument;

	va_start(args, what);
	argument = va_arg(args, long); /* all that are used here have one */
	va_end(args);
	if (hit("fcntl", false)) {
		errno = EMFILE;
		return -1;
	}
	return __real_fcntl(fd, what, argument);
}

int __real_ioctl(int fd, unsigned long what, void *argument);
int __wrap_ioctl(int fd, unsigned long what, ...);
int __wrap_ioctl(int fd, unsigned long what, ...)
{
	va_list args;
	void *argument;

	va_start(args, what);
	argument = va_arg(args, void *);
	va_end(args);
	if (hit("ioctl", false)) {
		errno = EINVAL;
		return -1;
	}
	return __real_ioctl(fd, what, argument);
}
