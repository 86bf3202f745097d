/* bench-client: posts prepared requests to a server of functions and times the answers.
 *
 *   bench-client [--new] [--chunked] [--wait SECONDS] PORT {PATH BODY-FILE EXPECTED-FILE COUNT}...
 *
 * Each group of four arguments is a step: COUNT times POST PATH with the bytes of BODY-FILE to 127.0.0.1, one
 * request after the other. An answer is right if its status is 200, it has a Content-Length (the OpenWhisk
 * invoker needs one) and its body equals EXPECTED-FILE byte for byte; the first that is not ends the program
 * with a message and status 1.
 *
 *   --new           one connection for each request, closed by the client after the answer, as the invoker
 * does; otherwise one connection is kept and only replaced when the server asks to close it
 *   --chunked       an answer may come in chunks (RFC 9112, 7.1) instead of having a Content-Length
 *   --wait SECONDS  the server is not there yet: print a line "waiting" just before the first try to connect,
 * try again every WAIT_INTERVAL_NS while refused, and use that connection for the first request
 *
 * Prints one JSON object: "connected_ns" (when the first connection was accepted) and for each step
 * "start_ns" and "end_ns", all three by CLOCK_MONOTONIC, "count", "connections" (how many it opened),
 * "per_second", and the latencies "min_us", "p50_us", "p90_us", "p99_us", "max_us". A latency is the time
 * from before the connect, if there is one, to the last byte of the answer; comparing the body is not part of
 * it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, strcasestr */
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ULL
#define WAIT_INTERVAL_NS 50000L
#define ANSWER_TIMEOUT_S 60
#define HEAD_LIMIT ((size_t) 16 * 1024)
#define STEP_ARGUMENTS 4

struct bytes {
	char *data;
	size_t size;
};

struct step {
	const char *path;
	struct bytes request;
	struct bytes expected;
	size_t count;
	uint64_t *latency_ns; /* one for each request; sorted once the step is done */
	uint64_t start_ns;
	uint64_t end_ns;
	unsigned connections;
};

struct connection {
	struct sockaddr_in address;
	int fd;             /* -1 while there is none */
	uint64_t wait_ns;   /* how long the next connect may be refused */
	uint64_t opened_ns; /* when the first connection was accepted, 0 before */
	bool takes_chunks;
	struct bytes inbox; /* room for the largest right answer and then some */
};

/* The head of an answer: what is needed to find its end and to judge it. */
struct head {
	long status;
	size_t size;
	size_t body_size; /* in chunks: of those that have been joined */
	size_t end;       /* of the answer; in chunks: where the next one starts, or the answer ends after the last */
	bool chunked;
	bool last_chunk_seen;
	bool close;
};

static void cleanup_file(FILE **file)
{
	if (*file)
		(void) fclose(*file);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * NS_PER_S + (uint64_t) now.tv_nsec;
}

static struct bytes bytes_new(size_t size)
{
	struct bytes bytes = { .data = malloc(size + 1), .size = size };

	if (!bytes.data)
		err(1, "%zu bytes", size);
	return bytes;
}

/* The contents of a file, a NUL behind them. Ends the program on failure; the caller frees the data. */
static struct bytes bytes_read(const char *path)
{
	__attribute__((cleanup(cleanup_file))) FILE *file = fopen(path, "rbe");
	struct stat status;

	if (!file || fstat(fileno(file), &status) < 0)
		err(1, "%s", path);

	struct bytes bytes = bytes_new((size_t) status.st_size);

	if (fread(bytes.data, 1, bytes.size, file) != bytes.size)
		errx(1, "%s: cannot be read in full", path);
	bytes.data[bytes.size] = '\0';
	return bytes;
}

/* A number of a command line, from 1 to the limit. */
static unsigned long number_parse(const char *text, unsigned long limit)
{
	char *end = NULL;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);

	if (errno || end == text || *end || number < 1 || number > limit)
		errx(2, "'%s' is not a number from 1 to %lu", text, limit);
	return number;
}

/* Head and body in one buffer: they leave in one system call, so that no server sees the head without the
 * body. */
static struct bytes request_new(const char *path, uint16_t port, const struct bytes *body)
{
	struct bytes request = bytes_new(HEAD_LIMIT + body->size);
	int head = snprintf(request.data, HEAD_LIMIT,
		"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
		"Accept: application/json\r\nAccept-Encoding: gzip,deflate\r\nConnection: Keep-Alive\r\n"
		"Content-Length: %zu\r\n\r\n",
		path, (unsigned) port, body->size);

	if (head < 0 || (size_t) head >= HEAD_LIMIT)
		errx(2, "the path is too long");
	memcpy(request.data + head, body->data, body->size);
	request.size = (size_t) head + body->size;
	return request;
}

static struct step step_new(uint16_t port, char **arguments)
{
	struct bytes body = bytes_read(arguments[1]);
	struct step step = {
		.path = arguments[0],
		.request = request_new(arguments[0], port, &body),
		.expected = bytes_read(arguments[2]),
		.count = number_parse(arguments[3], 100UL * 1000 * 1000),
	};

	free(body.data);
	step.latency_ns = calloc(step.count, sizeof(*step.latency_ns));
	if (!step.latency_ns)
		err(1, "%zu latencies", step.count);
	return step;
}

static void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		(void) close(connection->fd);
	connection->fd = -1;
}

/* Opens the connection, trying again while it is refused and the time for that is not over. */
static void connection_open(struct connection *connection)
{
	const struct timespec interval = { .tv_nsec = WAIT_INTERVAL_NS };
	const struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	const uint64_t deadline = now_ns() + connection->wait_ns;
	const int on = 1;

	for (;;) {
		connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connection->fd < 0)
			err(1, "socket");
		if (connect(connection->fd, (struct sockaddr *) &connection->address, sizeof(connection->address)) == 0)
			break;
		if (errno != ECONNREFUSED || now_ns() >= deadline)
			err(1, "connect to port %u", (unsigned) ntohs(connection->address.sin_port));
		connection_close(connection);
		(void) nanosleep(&interval, NULL);
	}
	if (!connection->opened_ns)
		connection->opened_ns = now_ns();
	connection->wait_ns = 0;
	if (setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
		setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		err(1, "setsockopt");
}

static void connection_send(struct connection *connection, const struct bytes *request)
{
	for (size_t sent = 0; sent < request->size;) {
		ssize_t size = send(connection->fd, request->data + sent, request->size - sent, MSG_NOSIGNAL);

		if (size >= 0)
			sent += (size_t) size;
		else if (errno == EPIPE || errno == ECONNRESET)
			return; /* answered before the end of the request: what it said is still to be read */
		else if (errno != EINTR)
			err(1, "send");
	}
}

/* Adds what has arrived to the inbox, after its first `filled` bytes. Returns how many there are now. */
static size_t connection_receive(struct connection *connection, size_t filled)
{
	if (filled == connection->inbox.size)
		errx(1, "the answer is longer than %zu bytes", filled);
	for (;;) {
		ssize_t size =
			recv(connection->fd, connection->inbox.data + filled, connection->inbox.size - filled, 0);

		if (size > 0)
			return filled + (size_t) size;
		if (size == 0)
			errx(1, "the connection was closed after %zu bytes of an answer", filled);
		if (errno == EAGAIN)
			errx(1, "no answer within %d s", ANSWER_TIMEOUT_S);
		if (errno != EINTR)
			err(1, "recv");
	}
}

/* Reads the head of an answer. Returns false while its end has not arrived. */
static bool head_parse(struct bytes *inbox, size_t filled, bool takes_chunks, struct head *ret_head)
{
	char *end = memmem(inbox->data, filled, "\r\n\r\n", 4);
	struct head head = { 0 };

	if (!end)
		return false;
	*end = '\0'; /* nobody reads the blank line again */
	head.size = (size_t) (end - inbox->data) + 4;

	static const char status_field[] = "HTTP/1.1 ";
	static const char length_field[] = "\r\nContent-Length:";
	const char *length = strcasestr(inbox->data, length_field);

	head.chunked = takes_chunks && strcasestr(inbox->data, "\r\nTransfer-Encoding: chunked") != NULL;

	if (strncmp(inbox->data, status_field, strlen(status_field)) != 0)
		errx(1, "this is not an HTTP/1.1 answer: %.200s", inbox->data);
	if (!length && !head.chunked)
		errx(1, "the answer has no Content-Length: %.200s", inbox->data);
	head.status = strtol(inbox->data + strlen(status_field), NULL, 10);
	if (!head.chunked)
		head.body_size = strtoul(length + strlen(length_field), NULL, 10);
	head.end = head.size + head.body_size;
	head.close = strcasestr(inbox->data, "\r\nConnection: close") != NULL;
	*ret_head = head;
	return true;
}

/* Reads the line in front of a chunk. Returns false while it has not arrived; otherwise where it ends, and the
 * size of the chunk. */
static bool chunk_parse(const struct bytes *inbox, size_t filled, size_t at, size_t *ret_data, size_t *ret_size)
{
	const char *line = inbox->data + at;
	const char *line_end = at < filled ? memmem(line, filled - at, "\r\n", 2) : NULL;
	char *end = NULL;

	if (!line_end)
		return false;
	*ret_data = (size_t) (line_end - inbox->data) + 2;
	*ret_size = strtoul(line, &end, 16);
	if (!isxdigit((unsigned char) line[0]) || end != line_end)
		errx(1, "this is not the size of a chunk: %.20s", line);
	return true;
}

/* Whether the answer has arrived to its end. */
static bool body_arrived(const struct bytes *inbox, size_t filled, struct head *head)
{
	size_t data, size;

	while (head->chunked && !head->last_chunk_seen && chunk_parse(inbox, filled, head->end, &data, &size)) {
		head->end = data + size + 2; /* a newline ends each chunk, and the answer */
		head->last_chunk_seen = size == 0;
	}
	return filled >= head->end && (!head->chunked || head->last_chunk_seen);
}

/* Moves the data of all chunks together behind the head. */
static void chunks_join(struct bytes *inbox, struct head *head)
{
	size_t data, size;

	for (size_t at = head->size; chunk_parse(inbox, head->end, at, &data, &size) && size > 0;
		at = data + size + 2) {
		memmove(inbox->data + head->size + head->body_size, inbox->data + data, size);
		head->body_size += size;
	}
}

static void answer_check(const struct step *step, const struct head *head, const char *body, size_t extra)
{
	if (head->status == 200 && extra == 0 && head->body_size == step->expected.size &&
		memcmp(body, step->expected.data, head->body_size) == 0)
		return;
	errx(1, "wrong answer to POST %s: status %ld, %zu bytes (%zu expected), %zu after its end: %.*s", step->path,
		head->status, head->body_size, step->expected.size, extra,
		(int) (head->body_size < 200 ? head->body_size : 200), body);
}

/* One request and its answer. Returns the latency in nanoseconds. */
static uint64_t exchange(struct connection *connection, struct step *step, bool new_connection)
{
	struct head head;
	size_t filled = 0;
	uint64_t start = now_ns();

	if (connection->fd < 0) {
		connection_open(connection);
		step->connections++;
	}
	connection_send(connection, &step->request);
	do
		filled = connection_receive(connection, filled);
	while (!head_parse(&connection->inbox, filled, connection->takes_chunks, &head));
	while (!body_arrived(&connection->inbox, filled, &head))
		filled = connection_receive(connection, filled);

	uint64_t latency = now_ns() - start;

	if (head.chunked)
		chunks_join(&connection->inbox, &head);
	answer_check(step, &head, connection->inbox.data + head.size, filled - head.end);
	if (new_connection || head.close)
		connection_close(connection);
	return latency;
}

static int latency_compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *) left;
	uint64_t b = *(const uint64_t *) right;

	return (a > b) - (a < b);
}

static void step_run(struct step *step, struct connection *connection, bool new_connection)
{
	step->start_ns = now_ns();
	for (size_t i = 0; i < step->count; i++)
		step->latency_ns[i] = exchange(connection, step, new_connection);
	step->end_ns = now_ns();
	qsort(step->latency_ns, step->count, sizeof(*step->latency_ns), latency_compare);
}

static double percentile_us(const struct step *step, unsigned percent)
{
	const size_t rank = (step->count - 1) * percent / 100;

	return (double) step->latency_ns[rank] / 1000.0;
}

static void step_print(const struct step *step)
{
	const double seconds = (double) (step->end_ns - step->start_ns) / (double) NS_PER_S;

	printf("{\"path\": \"%s\", \"count\": %zu, \"connections\": %u, ", step->path, step->count, step->connections);
	printf("\"start_ns\": %" PRIu64 ", \"end_ns\": %" PRIu64 ", \"per_second\": %.1f, ", step->start_ns,
		step->end_ns, (double) step->count / seconds);
	printf("\"min_us\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}",
		percentile_us(step, 0), percentile_us(step, 50), percentile_us(step, 90), percentile_us(step, 99),
		percentile_us(step, 100));
}

static struct step *steps_new(uint16_t port, char **arguments, size_t count)
{
	struct step *steps = calloc(count, sizeof(*steps));

	if (!steps)
		err(1, "%zu steps", count);
	for (size_t i = 0; i < count; i++)
		steps[i] = step_new(port, arguments + i * STEP_ARGUMENTS);
	return steps;
}

static void steps_free(struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(steps[i].request.data);
		free(steps[i].expected.data);
		free(steps[i].latency_ns);
	}
	free(steps);
}

/* Room for the longest right answer and as much again, so that a wrong one is seen as such and not as too
 * long. */
static struct bytes inbox_new(const struct step *steps, size_t count)
{
	size_t longest = 0;

	for (size_t i = 0; i < count; i++)
		longest = steps[i].expected.size > longest ? steps[i].expected.size : longest;

	struct bytes inbox = bytes_new(2 * (HEAD_LIMIT + longest));

	memset(inbox.data, 0, inbox.size); /* so that page faults of ours are not part of the first latency */
	return inbox;
}

static void steps_run(struct step *steps, size_t count, struct connection *connection, bool new_connection)
{
	/* The default slack of 50 µs would double the interval between two tries to connect. */
	(void) prctl(PR_SET_TIMERSLACK, 1UL);
	if (connection->wait_ns) {
		puts("waiting");
		(void) fflush(stdout);
	}
	for (size_t i = 0; i < count; i++)
		step_run(&steps[i], connection, new_connection);
	connection_close(connection);

	printf("{\"connected_ns\": %" PRIu64 ", \"steps\": [", connection->opened_ns);
	for (size_t i = 0; i < count; i++) {
		printf("%s", i ? ", " : "");
		step_print(&steps[i]);
	}
	puts("]}");
}

int main(int argc, char **argv)
{
	const struct option options[] = { { "new", no_argument, NULL, 'n' }, { "chunked", no_argument, NULL, 'c' },
		{ "wait", required_argument, NULL, 'w' }, { 0 } };
	struct connection connection = { .fd = -1, .address.sin_family = AF_INET };
	bool new_connection = false;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'n')
			new_connection = true;
		else if (option == 'c')
			connection.takes_chunks = true;
		else if (option == 'w')
			connection.wait_ns = number_parse(optarg, 3600) * NS_PER_S;
		else
			return 2;
	}

	int rest = argc - optind - 1;

	if (rest < STEP_ARGUMENTS || rest % STEP_ARGUMENTS != 0)
		errx(2,
			"usage: bench-client [--new] [--chunked] [--wait SECONDS] PORT {PATH BODY-FILE EXPECTED-FILE "
			"COUNT}...");

	uint16_t port = (uint16_t) number_parse(argv[optind], UINT16_MAX);
	size_t count = (size_t) rest / STEP_ARGUMENTS;
	struct step *steps = steps_new(port, argv + optind + 1, count);

	connection.address.sin_port = htons(port);
	connection.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connection.inbox = inbox_new(steps, count);
	steps_run(steps, count, &connection, new_connection);
	free(connection.inbox.data);
	steps_free(steps, count);
	return 0;
}
