#include "../../pyrunner/channel.h"

#include "tap.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The other ends of the pipes that the channel has taken over as fds 3 and 4. */
static int messages_write = -1, replies_read = -1;

/* Makes fds 3 and 4 as the proxy gives them. */
static void make_pipes(void)
{
	int messages[2], replies[2];

	if (pipe(messages) < 0 || pipe(replies) < 0)
		bail_out("no pipe");
	messages_write = fcntl(messages[1], F_DUPFD_CLOEXEC, 50);
	replies_read = fcntl(replies[0], F_DUPFD_CLOEXEC, 50);
	messages[0] = fcntl(messages[0], F_DUPFD_CLOEXEC, 50);
	replies[1] = fcntl(replies[1], F_DUPFD_CLOEXEC, 50);
	if (dup2(messages[0], 3) < 0 || dup2(replies[1], 4) < 0)
		bail_out("no fds 3 and 4");
	for (int fd = 5; fd < 50; fd++)
		(void) close(fd);
	(void) close(messages[0]);
	(void) close(replies[1]);
}

/* Each test in a process of its own: there is one channel for each. */
static void in_child(void (*test)(struct channel *channel), const char *name)
{
	int wait_status = -1;
	pid_t pid;

	(void) fflush(tap.out);
	pid = fork();
	if (pid == 0) {
		struct channel channel;
		struct err err = { .text = "" };

		make_pipes();
		tap.count = tap.failed = 0;
		if (channel_open(&channel, &err) < 0)
			bail_out("%s", err.text);
		test(&channel);
		free(channel.data);
		_exit(tap.failed == 0 ? 0 : 1);
	}
	(void) waitpid(pid, &wait_status, 0);
	is_int(wait_status, 0, "%s", name);
}

/* In such a process: results are only counted, what fails is told. */
#define expect(holds)                                                                                                  \
	do {                                                                                                           \
		if (!(holds)) {                                                                                        \
			diag("%s:%d: %s", __FILE__, __LINE__, #holds);                                                 \
			tap.failed++;                                                                                  \
		}                                                                                                      \
	} while (0)

static void put(const char *data, size_t length)
{
	while (length > 0) {
		ssize_t count = write(messages_write, data, length);

		if (count < 0)
			bail_out("cannot write to the channel");
		data += count;
		length -= (size_t) count;
	}
}

static void put_text(const char *text)
{
	put(text, strlen(text));
}

static bool reads(struct channel *channel, const char *wanted)
{
	char *line = NULL;
	size_t length = 0;
	int r = channel_read_line(channel, &line, &length);

	return tap_is_int(r, 1) && tap_is_mem(line, length, wanted, strlen(wanted));
}

static bool ends(struct channel *channel)
{
	char untouched[] = "untouched", *line = untouched;
	size_t length = 9;

	return tap_is_int(channel_read_line(channel, &line, &length), 0) && tap_is_mem(line, length, "untouched", 9);
}

/* --- descriptors ------------------------------------------------------------------------------------- */

static void test_descriptors(struct channel *channel)
{
	expect(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
	expect(channel->messages_fd >= 1000 && channel->replies_fd >= 1000);
	expect((fcntl(channel->messages_fd, F_GETFD) & FD_CLOEXEC) != 0);
	expect((fcntl(channel->replies_fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* What the function forks must neither answer nor take messages. */
static void test_fork(struct channel *channel)
{
	int messages_fd = channel->messages_fd, replies_fd = channel->replies_fd, wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		bool closed = fcntl(messages_fd, F_GETFD) < 0 && fcntl(replies_fd, F_GETFD) < 0 &&
			channel->messages_fd < 0 && channel->replies_fd < 0 && channel_write(channel, "x", 1) < 0;

		_exit(closed ? 0 : 1);
	}
	(void) waitpid(pid, &wait_status, 0);
	expect(wait_status == 0);
	put_text("still ours\n");
	expect(reads(channel, "still ours"));
	expect(channel_write(channel, "x", 1) == 0);
}

/* A limit of descriptors that leaves no high numbers. */
static int open_with_limit(rlim_t limit)
{
	const struct rlimit files = { .rlim_cur = limit, .rlim_max = limit };
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct channel channel;
		struct err err;

		make_pipes();
		if (setrlimit(RLIMIT_NOFILE, &files) < 0 || channel_open(&channel, &err) < 0)
			_exit(1);
		put_text("line\n");
		_exit(reads(&channel, "line") && channel.messages_fd < (int) limit && channel.messages_fd > 4 ? 0 : 2);
	}
	(void) waitpid(pid, &wait_status, 0);
	return wait_status;
}

static void test_no_pipes(void)
{
	int wait_status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct channel channel;
		struct err err = { .text = "" };

		(void) close(3);
		(void) close(4);
		_exit(channel_open(&channel, &err) == -EBADF && strstr(err.text, "fds 3 and 4") != NULL ? 0 : 1);
	}
	(void) waitpid(pid, &wait_status, 0);
	is_int(wait_status, 0, "without the pipes it says what they are");
}

/* --- lines ------------------------------------------------------------------------------------------- */

static void test_lines(struct channel *channel)
{
	char *line;
	size_t length;

	put_text("one\ntwo\n\nfour\n"); /* all of them come with one read */
	expect(reads(channel, "one"));
	expect(reads(channel, "two"));
	expect(reads(channel, ""));
	expect(reads(channel, "four"));
	put("a\0b\n", 4);
	expect(channel_read_line(channel, &line, &length) == 1 && tap_is_mem(line, length, "a\0b", 3));
	put_text("and ");
	put_text("a half\nthe rest");
	expect(reads(channel, "and a half"));
	put_text(" of it\n");
	expect(reads(channel, "the rest of it"));
}

static void test_end(struct channel *channel)
{
	put_text("line\nhalf a li");
	(void) close(messages_write);
	expect(reads(channel, "line"));
	expect(ends(channel));
	expect(ends(channel));
}

static void test_end_at_once(struct channel *channel)
{
	(void) close(messages_write);
	expect(ends(channel));
}

/* Writes its argument in pieces that a pipe may cut as it likes. */
struct writing {
	const char *data;
	size_t length;
	bool byte_by_byte;
};

static void *write_all(void *context)
{
	const struct writing *writing = context;

	for (size_t i = 0; writing->byte_by_byte && i < writing->length; i++)
		put(writing->data + i, 1);
	if (!writing->byte_by_byte)
		put(writing->data, writing->length);
	return NULL;
}

static void test_byte_by_byte(struct channel *channel)
{
	static const char text[] = "first\n\nthe third line\n";
	struct writing writing = { .data = text, .length = strlen(text), .byte_by_byte = true };
	pthread_t writer;

	expect(pthread_create(&writer, NULL, write_all, &writing) == 0);
	expect(reads(channel, "first"));
	expect(reads(channel, ""));
	expect(reads(channel, "the third line"));
	(void) pthread_join(writer, NULL);
}

/* Lines of any length, around those of its buffer, larger than a pipe. */
static void test_lengths(struct channel *channel)
{
	static const size_t lengths[] = { 0, 1, 16382, 16383, 16384, 16385, 0, 32767, 32768, 65535, 65536, 5, 262143,
		262144, 262145, 3000000, 7, 0, 100000 };
	size_t total = 0, at = 0;
	struct writing writing = { .byte_by_byte = false };
	pthread_t writer;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		total += lengths[i] + 1;
	writing.data = text = malloc(total);
	writing.length = total;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (size_t j = 0; j < lengths[i]; j++)
			text[at++] = (char) (11 + random_below(200));
		text[at++] = '\n';
	}
	expect(pthread_create(&writer, NULL, write_all, &writing) == 0);
	at = 0;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		char *line = NULL;
		size_t length = 0;

		expect(channel_read_line(channel, &line, &length) == 1 &&
			tap_is_mem(line, length, text + at, lengths[i]));
		at += lengths[i] + 1;
		if (random_below(2) == 0)
			channel_trim(channel);
	}
	(void) pthread_join(writer, NULL);
	free(text);
}

static void test_trim(struct channel *channel)
{
	char *text = malloc(400001);
	struct writing writing = { .data = text, .length = 400001, .byte_by_byte = false };
	pthread_t writer;

	memset(text, 't', 400000);
	text[400000] = '\n';
	expect(pthread_create(&writer, NULL, write_all, &writing) == 0);
	expect(channel_read_line(channel, &(char *) { NULL }, &(size_t) { 0 }) == 1);
	(void) pthread_join(writer, NULL);
	expect(channel->capacity > 400000);
	channel_trim(channel);
	expect(channel->data == NULL && channel->capacity == 0 && channel->filled == 0);
	channel_trim(channel);
	put_text("one\ntwo\n");
	expect(reads(channel, "one"));
	channel_trim(channel); /* must not take the line that has been read ahead */
	expect(reads(channel, "two"));
	free(text);
}

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	(void) number;
	signals++;
}

/* A signal in the middle of a wait, with half a line there: it is told, and nothing is lost. */
static void test_interrupted(struct channel *channel)
{
	const struct sigaction action = { .sa_handler = on_signal };
	char *line;
	size_t length;
	pid_t reader = getpid(), pid;
	int interruptions = 0, r;

	(void) sigaction(SIGUSR1, &action, NULL);
	put_text("half ");
	pid = fork();
	if (pid == 0) { /* until it is read; a signal between two waits must not be the last */
		for (int i = 0; i < 50; i++) {
			(void) kill(reader, SIGUSR1);
			(void) usleep(1000);
		}
		put_text("whole\n");
		_exit(0);
	}
	while ((r = channel_read_line(channel, &line, &length)) == -EINTR)
		interruptions++;
	expect(r == 1 && tap_is_mem(line, length, "half whole", 10));
	expect(interruptions > 0 && signals > 0);
	(void) waitpid(pid, NULL, 0);
}

/* --- writing ----------------------------------------------------------------------------------------- */

static void *read_all(void *context)
{
	char *to = context;
	size_t length = 0;
	ssize_t count;

	while (length < 3000000 && (count = read(replies_read, to + length, 3000000 - length)) > 0)
		length += (size_t) count;
	return NULL;
}

static void test_write(struct channel *channel)
{
	char *text = malloc(3000000), *got = calloc(1, 3000000);
	pthread_t reader;

	random_bytes(text, 3000000);
	expect(pthread_create(&reader, NULL, read_all, got) == 0);
	expect(channel_write(channel, text, 0) == 0);
	expect(channel_write(channel, text, 1) == 0);
	expect(channel_write(channel, text + 1, 2999999) == 0);
	(void) pthread_join(reader, NULL);
	expect(memcmp(text, got, 3000000) == 0);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) close(replies_read);
	expect(channel_write(channel, "x", 1) == -EPIPE);
	free(text);
	free(got);
}

int main(void)
{
	in_child(test_descriptors, "fds 3 and 4 become high numbers, closed on exec");
	in_child(test_fork, "a forked process has none of them, its parent still has");
	/* valgrind keeps the highest numbers for itself, and tells a limit without them. */
	if (getenv("PYACTION_VALGRIND") == NULL) {
		is_int(open_with_limit(64), 0, "a limit of 64 descriptors");
		is_int(open_with_limit(1001), 0, "a limit just below the numbers it prefers");
	}
	test_no_pipes();
	in_child(test_lines, "lines, several in one read, and split ones");
	in_child(test_end, "the end in the middle of a line");
	in_child(test_end_at_once, "the end before any line");
	in_child(test_byte_by_byte, "a byte at a time");
	in_child(test_lengths, "lines of lengths around those of its buffer");
	in_child(test_trim, "what a long line took is given back");
	in_child(test_interrupted, "a signal interrupts a wait, and nothing is lost");
	in_child(test_write, "all of a reply is written, whatever its size");
	return done_testing();
}
