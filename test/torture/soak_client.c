/* soak-client: activations of every size and outcome, one after the other, each answer checked byte for byte.
 *
 *   soak-client PORT ACTIVATIONS STEPS SEED
 *
 * Sends ACTIVATIONS requests in STEPS equal parts to the server of soak_function.py at 127.0.0.1:PORT. After each
 * part it prints one JSON object: how many requests of each kind there were, bytes of bodies sent, and the latencies in
 * microseconds of the small ones; and goes on when it gets a line on stdin. The first answer that is not the expected
 * one ends it with a message and status 1. The kinds and how often they come are in the table below; what ends the
 * process of the function comes in the sixth tenth only, so that a process of it lives for hundreds of thousands of
 * activations before and after. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	SIZE_MAX_BITS = 24,
	LARGEST = 10 << 20, /* bytes of an event's padding */
	HEAD_MAX = 4096,
	ANSWER_TIMEOUT_S = 60,
	PER_CONNECTION = 1000, /* requests, then it is replaced by a new one */
	MILLION = 1000000,
};

/* A kind of request: how many of a million; the event's `do`; the padding's size, from 2^low_bits - 1 to 2^high_bits;
 * the answer's status and, where that is not 200, its body, in which %u is the request's number. */
static const struct kind {
	const char *name;
	unsigned per_million;
	const char *act;
	unsigned low_bits, high_bits;
	int status;
	const char *error;
	const char *path, *body; /* NULL for /run and an event */
} kinds[] = {
	{ "small", 978000, "echo", 0, 12, 200, NULL, NULL, NULL },
	{ "medium", 10000, "echo", 12, 17, 200, NULL, NULL, NULL },
	{ "large", 1500, "echo", 17, 20, 200, NULL, NULL, NULL },
	{ "huge", 200, "echo", 20, SIZE_MAX_BITS, 200, NULL, NULL, NULL },
	{ "exception", 5000, "raise", 0, 10, 502, "{\"error\": \"on purpose %u\"}", NULL, NULL },
	{ "bad_result", 2000, "bad", 0, 10, 502,
		"{\"error\": \"The result cannot be converted to JSON: result['bad'] is of type set\"}", NULL, NULL },
	{ "not_json", 1500, NULL, 0, 0, 400, "{\"error\": \"The request body is not JSON", "/run", "{\"value\":" },
	{ "not_an_object", 500, NULL, 0, 0, 400, "{\"error\": \"The request body is not a JSON object.\"}", "/run",
		"[1]" },
	{ "unknown_path", 1300, NULL, 0, 0, 404, "{\"error\":", "/nowhere", "{}" },
	{ "exit", 0, "exit", 0, 10, 400, "{\"error\":\"command exited (exit status 3)\"}\n", NULL, NULL },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), EXIT_KIND = KINDS - 1, EXITS_PER_MILLION = 500 };

struct client {
	struct sockaddr_in address;
	int fd; /* -1 while there is none */
	unsigned used;
	uint64_t random;
	char *padding; /* LARGEST bytes */
	char *inbox;   /* LARGEST + 2 * HEAD_MAX bytes */
	uint64_t bytes;
	unsigned counts[KINDS];
	double *latencies_us; /* of the small ones of this step */
	size_t latency_count;
};

static double now_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

/* xorshift64*: the same choices for the same seed everywhere. */
static uint64_t random_next(struct client *client)
{
	client->random ^= client->random >> 12;
	client->random ^= client->random << 25;
	client->random ^= client->random >> 27;
	return (client->random * 2685821657736338717ULL) >> 16;
}

static unsigned long number_parse(const char *text)
{
	char *end = NULL;
	unsigned long number = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || number == 0)
		errx(2, "'%s' is not a number above 0", text);
	return number;
}

static void connection_open(struct client *client)
{
	const struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	const int on = 1;

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *) &client->address, sizeof(client->address)) < 0 ||
		setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
		setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		err(1, "connection to port %u", (unsigned) ntohs(client->address.sin_port));
	client->used = 0;
}

static void connection_close(struct client *client)
{
	(void) close(client->fd);
	client->fd = -1;
}

static void send_parts(const struct client *client, struct iovec *parts, int count)
{
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t) count };

	while (message.msg_iovlen > 0) {
		ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			err(1, "send");
		while (sent > 0 || (message.msg_iovlen > 0 && message.msg_iov->iov_len == 0)) {
			size_t taken =
				(size_t) sent < message.msg_iov->iov_len ? (size_t) sent : message.msg_iov->iov_len;

			message.msg_iov->iov_base = (char *) message.msg_iov->iov_base + taken;
			message.msg_iov->iov_len -= taken;
			sent -= (ssize_t) taken;
			if (message.msg_iov->iov_len > 0)
				break;
			message.msg_iov++;
			message.msg_iovlen--;
		}
	}
}

/* Reads an answer. Returns its status, and the body in the inbox. */
static int receive_answer(struct client *client, const char **ret_body, size_t *ret_length)
{
	const size_t room = LARGEST + 2 * (size_t) HEAD_MAX;
	const char *end = NULL, *field = NULL;
	size_t filled = 0, head = 0, length = 0;

	while (end == NULL || filled < head + length) {
		ssize_t count = recv(client->fd, client->inbox + filled, room - filled, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			err(1, "no answer: %s", count == 0 ? "closed" : "failed");
		filled += (size_t) count;
		if (end != NULL)
			continue;
		end = memmem(client->inbox, filled, "\r\n\r\n", 4);
		if (end == NULL)
			continue;
		head = (size_t) (end - client->inbox) + 4;
		field = memmem(client->inbox, head, "Content-Length: ", 16);
		if (field == NULL || strncmp(client->inbox, "HTTP/1.1 ", 9) != 0)
			errx(1, "this is no answer: %.300s", client->inbox);
		length = strtoul(field + 16, NULL, 10);
		if (head + length > room)
			errx(1, "an answer of %zu bytes", length);
	}
	if (filled != head + length)
		errx(1, "%zu bytes behind an answer", filled - head - length);
	if (memmem(client->inbox, head, "Connection: close", 17) != NULL)
		connection_close(client);
	*ret_body = client->inbox + head;
	*ret_length = length;
	return (int) strtol(client->inbox + 9, NULL, 10);
}

static bool is_echo(const struct client *client, unsigned number, size_t size, const char *body, size_t length)
{
	char front[128];
	int count = snprintf(front, sizeof(front), "{\"n\": %u, \"do\": \"echo\", \"data\": \"", number);

	return length == (size_t) count + size + 2 && memcmp(body, front, (size_t) count) == 0 &&
		memcmp(body + count, client->padding, size) == 0 && memcmp(body + count + size, "\"}", 2) == 0;
}

static bool is_expected(const struct client *client, const struct kind *kind, unsigned number, size_t size,
	const char *body, size_t length)
{
	char text[256];
	int count;

	if (kind->error == NULL)
		return is_echo(client, number, size, body, length);
	/* Some say more behind that than can be known here: line and column, the path. */
	count = snprintf(text, sizeof(text), "%.*s", (int) (sizeof(text) - 1), kind->error);
	if (strstr(kind->error, "%u") != NULL)
		count = snprintf(text, sizeof(text), "{\"error\": \"on purpose %u\"}", number);
	return (strchr(text, '}') != NULL ? length == (size_t) count : length >= (size_t) count) &&
		memcmp(body, text, (size_t) count) == 0;
}

static size_t choose_size(struct client *client, const struct kind *kind)
{
	unsigned bits = kind->low_bits;
	size_t size;

	if (kind->high_bits > kind->low_bits)
		bits += (unsigned) (random_next(client) % (kind->high_bits - kind->low_bits));
	size = ((size_t) 1 << bits) - 1 + random_next(client) % ((size_t) 1 << bits);
	return size < LARGEST ? size : LARGEST;
}

static void exchange(struct client *client, const struct kind *kind, unsigned number)
{
	size_t size = kind->body == NULL ? choose_size(client, kind) : 0;
	char front[256], head[512];
	const char *body = NULL;
	size_t length = 0;
	int front_length, status;
	double begin;

	if (kind->body == NULL)
		front_length = snprintf(
			front, sizeof(front), "{\"value\":{\"n\":%u,\"do\":\"%s\",\"data\":\"", number, kind->act);
	else
		front_length = snprintf(front, sizeof(front), "%s", kind->body);

	const char *tail = kind->body == NULL ? "\"},\"activation_id\":\"soak\"}" : "";
	size_t total = (size_t) front_length + size + strlen(tail);
	int head_length =
		snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %zu\r\n\r\n",
			kind->path != NULL ? kind->path : "/run", total);
	struct iovec parts[] = { { head, (size_t) head_length }, { front, (size_t) front_length },
		{ client->padding, size }, { (void *) (uintptr_t) tail, strlen(tail) } };

	begin = now_us();
	if (client->fd >= 0 && ++client->used > PER_CONNECTION)
		connection_close(client);
	if (client->fd < 0)
		connection_open(client);
	send_parts(client, parts, sizeof(parts) / sizeof(parts[0]));
	status = receive_answer(client, &body, &length);
	if (kind == &kinds[0])
		client->latencies_us[client->latency_count++] = now_us() - begin;
	if (status != kind->status || !is_expected(client, kind, number, size, body, length))
		errx(1, "request %u, %s of %zu bytes, was answered %d: %.*s", number, kind->name, size, status,
			(int) (length < 300 ? length : 300), body);
	client->bytes += total;
}

static size_t choose_kind(struct client *client, bool with_exits)
{
	unsigned drawn = (unsigned) (random_next(client) % MILLION);

	if (with_exits && random_next(client) % MILLION < EXITS_PER_MILLION)
		return EXIT_KIND;
	for (size_t i = 0; i < KINDS; i++) {
		if (drawn < kinds[i].per_million)
			return i;
		drawn -= kinds[i].per_million;
	}
	return 0;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *) left, b = *(const double *) right;

	return (a > b) - (a < b);
}

static void print_step(struct client *client, double seconds)
{
	static const struct {
		const char *name;
		size_t percent;
	} percentiles[] = { { "p50_us", 50 }, { "p90_us", 90 }, { "p99_us", 99 }, { "max_us", 100 } };

	qsort(client->latencies_us, client->latency_count, sizeof(*client->latencies_us), compare);
	printf("{\"seconds\": %.3f, \"bytes\": %" PRIu64, seconds, client->bytes);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		printf(", \"%s\": %.1f", percentiles[i].name,
			client->latency_count > 0
				? client->latencies_us[(client->latency_count - 1) * percentiles[i].percent / 100]
				: 0);
	for (size_t i = 0; i < KINDS; i++)
		printf(", \"%s\": %u", kinds[i].name, client->counts[i]);
	puts("}");
	(void) fflush(stdout);
	memset(client->counts, 0, sizeof(client->counts));
	client->bytes = 0;
	client->latency_count = 0;
}

int main(int argc, char **argv)
{
	struct client client = { .fd = -1 };
	char line[16];

	if (argc != 5)
		errx(2, "usage: soak-client PORT ACTIVATIONS STEPS SEED");
	unsigned long activations = number_parse(argv[2]), steps = number_parse(argv[3]);
	unsigned number = 0;

	client.address = (struct sockaddr_in) { .sin_family = AF_INET,
		.sin_port = htons((uint16_t) number_parse(argv[1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	client.random = number_parse(argv[4]) * 0x9E3779B97F4A7C15ULL;
	client.padding = malloc(LARGEST);
	client.inbox = calloc(1, LARGEST + 2 * (size_t) HEAD_MAX);
	client.latencies_us = calloc(activations / steps + 1, sizeof(*client.latencies_us));
	if (client.padding == NULL || client.inbox == NULL || client.latencies_us == NULL)
		err(1, "memory");
	for (size_t i = 0; i < LARGEST; i++)
		client.padding[i] = (char) ('a' + i * 7 % 26);
	for (unsigned long step = 0; step < steps; step++) {
		double begin = now_us();

		for (unsigned long i = 0; i < activations / steps; i++) {
			size_t kind = choose_kind(&client, step * 10 / steps == 5);

			client.counts[kind]++;
			exchange(&client, &kinds[kind], number++);
		}
		print_step(&client, (now_us() - begin) / 1e6);
		if (fgets(line, sizeof(line), stdin) == NULL)
			break;
	}
	free(client.padding);
	free(client.inbox);
	free(client.latencies_us);
	return 0;
}
