/*
 * Arbitrary bytes in arbitrary pieces as what a client sends to the HTTP server, over the loopback: each request is
 * handed over once and answered once, in order and with its own answer, nothing else comes back but refusals, the
 * connection ends when the client ends it, and another client is served afterwards.
 *
 * The input is the stream; 0xff and the byte behind it stand for an event in it (enum event).
 */
#include "../../proxy/http.h"
#include "../../proxy/mhd_compat.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum event {
	EVENT_BYTE_FF,
	EVENT_TURN,     /* the server gets a turn */
	EVENT_TURNS,    /* several */
	EVENT_ANSWER,   /* the oldest request that waits is answered */
	EVENT_FILLER,   /* FILLER bytes */
	EVENT_SHUTDOWN, /* the client sends no more, and reads on */
	EVENT_RESET,    /* the client is gone */
	EVENT_KINDS,
};

enum {
	FILLER = 8192,
	MAX_BODY = 70000, /* above LIMIT_REFUSED_BODY: both ways of refusing are reached */
	REQUESTS_MAX = 4096,
	REPLIES_MAX = 16 << 20,
	PATIENCE_S = 20,
	SEVERAL_TURNS = 5,
};

/* A request that the server has shown, in the order of their headers. */
struct record {
	struct http_request *request; /* NULL once it has been answered */
	char method[16];
	bool handed, refused, waits;
	enum http_status status; /* of the answer, and its body */
	char *body;
	size_t length;
};

struct client {
	int fd;
	struct fuzz_script script;
	char *pending; /* to be sent before the script goes on */
	size_t pending_length, pending_sent;
	unsigned turns_to_wait;
	bool shut, broken, ended; /* by the client; by an error; by the server */
	bool folded;              /* a line of what it sends may go on with the next one */
	bool has_null;
	char *replies;
	size_t replies_length;
};

static struct {
	struct loop *loop;
	struct http_server *server;
	struct watch always; /* ready in every turn of the loop */
	uint16_t port;
	struct client client;
	struct record records[REQUESTS_MAX];
	size_t record_count;
	bool second; /* the other client's turn */
	struct timespec started;
} run;

FUZZ_COUNTERS(seen, 1024);

static void see(unsigned what, unsigned detail)
{
	seen[(what * 131 + detail) % sizeof(seen)] = 1;
}

/* --- the server's owner ------------------------------------------------------------------------------- */

static char *format_answer(const struct record *record, size_t number, const char *body, size_t length, size_t *ret)
{
	char *answer = malloc(length + 64);
	int used;

	FUZZ_NEED(answer != NULL, "memory");
	used = snprintf(answer, 64, "%zu %s %zu\n", number, record->method, length);
	memcpy(answer + used, body, length);
	*ret = (size_t) used + length;
	return answer;
}

static void answer(struct record *record)
{
	struct http_request *request = record->request;
	struct http_body body = { .data = fuzz_copy(record->body, record->length), .length = record->length };

	record->request = NULL;
	record->waits = false;
	if (record->length == 0) {
		free(body.data);
		body.data = NULL;
	}
	http_answer(request, record->status, body);
}

/* Nobody in front of the server can have taken the body for longer or shorter than it does (RFC 9112, 6.3). */
static void check_framing(const struct http_request *request)
{
	const char *coding = http_header(request, "Transfer-Encoding");

	FUZZ_CHECK(coding == NULL || strcasecmp(coding, "chunked") == 0, "transfer encoding %s", coding);
	FUZZ_CHECK(coding == NULL || http_header(request, "Content-Length") == NULL, "chunked, and a length");
}

static void check_header(void *context, const char *name, const char *value)
{
	size_t *count = context;

	FUZZ_CHECK(name != NULL && value != NULL && strchr(name, '\n') == NULL, "a header");
	(*count)++;
}

/* The query goes into a string of JSON as it is. */
static void check_query(const struct http_request *request)
{
	char *query = http_make_query(request);
	size_t count = 0;

	FUZZ_NEED(query != NULL, "memory");
	for (const char *at = query; *at != '\0'; at++)
		FUZZ_CHECK((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') ||
				strchr("-._~%&=", *at) != NULL,
			"%s", query);
	free(query);
	http_each_header(request, check_header, &count);
	FUZZ_CHECK((count == 0) == (http_header(request, "Host") == NULL) || count > 0, "%zu headers", count);
}

static void on_headers(void *context, struct http_request *request)
{
	struct record *record = &run.records[run.record_count++];
	const char *path = http_path(request);

	FUZZ_CHECK(context == &run, "context");
	FUZZ_NEED(run.record_count <= REQUESTS_MAX, "room for requests");
	*record = (struct record) { .request = request };
	(void) snprintf(record->method, sizeof(record->method), "%s", http_method(request));
	check_framing(request);
	check_query(request);
	/* No front door takes CONNECT, and 200 to it would be something else (RFC 9110, 9.3.6). */
	if (strncmp(path, "/refuse", 7) != 0 && strcmp(record->method, "CONNECT") != 0)
		return;
	record->refused = true;
	record->status = HTTP_NOT_FOUND;
	record->request = NULL;
	http_answer_error(request, HTTP_NOT_FOUND, "nothing at %.100s", path);
}

static void set_headers(struct http_request *request, const char *body)
{
	if (strstr(http_path(request), "header") == NULL)
		return;
	http_set_header(request, "X-Path", http_path(request));
	http_set_header(request, "X-Body", body);
	http_set_header(request, "Content-Type", body);
	for (int i = 0; i < 10; i++) /* more than there can be */
		http_set_header(request, "X-More", "more");
}

/* The doors answer with statuses between these. */
static enum http_status status_in(const char *body)
{
	long status = strtol(body, NULL, 10);

	return (enum http_status)(status >= 200 && status <= 599 ? status : HTTP_BAD_GATEWAY);
}

static void on_request(void *context, struct http_request *request)
{
	size_t number = run.record_count - 1, length = SIZE_MAX, stolen_length;
	struct record *record = &run.records[number];
	const char *path = http_path(request);
	char *body = http_request_body(request, &length), *stolen;

	FUZZ_CHECK(context == &run, "context");
	FUZZ_CHECK(run.record_count > 0 && record->request == request, "a request whose headers were not shown");
	FUZZ_CHECK(!record->handed && !record->refused, "a request that was handed over already");
	FUZZ_CHECK(!http_is_idle(run.server), "idle with a request");
	FUZZ_CHECK(body != NULL && length <= MAX_BODY, "%zu bytes", length);
	FUZZ_CHECK(strlen(body) <= length && body[length] == '\0', "the body has no end");
	record->handed = true;
	record->status = strstr(path, "status") != NULL ? status_in(body) : HTTP_OK;
	see(2, length < 16 ? (unsigned) length : 16 + (unsigned) (length / 4096));
	set_headers(request, body);
	if (strstr(path, "empty") == NULL)
		record->body = format_answer(record, number, body, length, &record->length);
	if (strstr(path, "steal") != NULL) {
		stolen = http_steal_body(request, &stolen_length);
		FUZZ_CHECK(stolen == body && stolen_length == length, "another body");
		stolen[length] = '\n'; /* as for a runner */
		free(stolen);
	}
	record->waits = strstr(path, "later") != NULL;
	if (!record->waits)
		answer(record);
}

/* True if there was one. Connections are served one after the other, so the last record is the only candidate. */
static bool answer_waiting(void)
{
	for (size_t i = 0; i < run.record_count; i++) {
		if (run.records[i].waits) {
			answer(&run.records[i]);
			return true;
		}
	}
	return false;
}

/* --- what came back ----------------------------------------------------------------------------------- */

struct reply {
	unsigned status;
	const char *headers, *body;
	size_t headers_length, content_length;
	bool has_length, is_ours; /* of the code under test, not of libmicrohttpd */
};

/* The value of a header, NULL when there is none. */
static const char *find_header(const struct reply *reply, const char *name)
{
	size_t length = strlen(name);
	const char *at = reply->headers, *end = at + reply->headers_length;

	while (at < end) {
		const char *line_end = memmem(at, (size_t) (end - at), "\r\n", 2);

		if ((size_t) (end - at) > length + 1 && strncasecmp(at, name, length) == 0 && at[length] == ':')
			return at + length + 1;
		at = line_end != NULL ? line_end + 2 : end;
	}
	return NULL;
}

/* Every line of the head is what HTTP allows: the values of headers come from outside, too. */
static void check_head(const struct reply *reply)
{
	for (size_t i = 0; i + 1 < reply->headers_length; i++) {
		char byte = reply->headers[i];

		FUZZ_CHECK(byte != '\0', "a NUL in the head");
		FUZZ_CHECK(byte != '\n' || reply->headers[i - 1] == '\r', "a bare line feed in the head");
		FUZZ_CHECK(byte != '\r' || reply->headers[i + 1] == '\n', "a bare carriage return in the head");
	}
}

/* Reads the head at *at and moves *at behind it; false when it is not there as a whole. */
static bool read_head(const char **at, const char *end, struct reply *reply)
{
	const char *head_end = memmem(*at, (size_t) (end - *at), "\r\n\r\n", 4);
	const char *line_end, *value;
	char version;

	if (head_end == NULL)
		return false;
	FUZZ_CHECK(sscanf(*at, "HTTP/1.%c %3u ", &version, &reply->status) == 2, "%.40s", *at);
	FUZZ_CHECK((version == '0' || version == '1') && reply->status >= 100 && reply->status < 600, "%.40s", *at);
	line_end = memmem(*at, (size_t) (end - *at), "\r\n", 2);
	reply->headers = line_end + 2;
	reply->headers_length = line_end < head_end ? (size_t) (head_end + 2 - reply->headers) : 0;
	reply->body = *at = head_end + 4;
	check_head(reply);
	value = find_header(reply, "Content-Length");
	reply->has_length = value != NULL;
	reply->content_length = value != NULL ? strtoul(value, NULL, 10) : 0;
	value = find_header(reply, "Content-Type");
	reply->is_ours = value != NULL && strncmp(value, " application/json", 17) == 0;
	return true;
}

static bool is_without_body(unsigned status)
{
	return status == HTTP_NO_CONTENT || status == 304;
}

static bool has_body(const struct reply *reply, const struct record *record)
{
	return !is_without_body(reply->status) && (record == NULL || strcmp(record->method, "HEAD") != 0);
}

/* True if the reply is the record's. */
static bool is_answer_to(const struct reply *reply, const struct record *record)
{
	return reply->status == record->status &&
		(record->refused ? reply->is_ours
				 : reply->content_length == record->length || is_without_body(reply->status));
}

/* Up to 0.9.77 libmicrohttpd sends the head of its answer to a wrong Content-Length twice, and closes the connection:
 * 1.0 checks in MHD_connection_handle_idle() whether there is an answer already. Nothing that http.c can prevent. */
static const char *skip_second_head(const char *head, const char *body, const char *end)
{
	size_t length = (size_t) (body - head);

	if (MHD_VERSION < 0x01000000 && (size_t) (end - body) >= length && memcmp(head, body, length) == 0)
		return body + length;
	return body;
}

/* libmicrohttpd 0.9.72 takes a request without a version for one of HTTP/0.9, which has only a body for an answer. */
static bool take_bare_body(const char **at, const char *end, const struct record *record)
{
	size_t length = (size_t) (end - *at);

	if (MHD_VERSION >= 0x00097500 || record == NULL || strncmp(*at, "HTTP/", 5) == 0)
		return false;
	if (record->refused ? (*at)[0] != '{'
			    : length < record->length || memcmp(*at, record->body, record->length) != 0)
		return false;
	*at = record->refused ? end : *at + record->length;
	return true;
}

/* Takes one reply off the stream for *next, the record whose turn it is; false where the stream is cut off. */
static bool take_reply(const char **at, const char *end, size_t *next, bool *last)
{
	struct reply reply = { 0 };
	const char *head = *at;
	const struct record *record = *next < run.record_count ? &run.records[*next] : NULL;
	size_t sent;

	if (take_bare_body(at, end, record)) {
		*last = true;
		(*next)++;
		return true;
	}
	if (!read_head(at, end, &reply))
		return false;
	see(3, reply.status);
	if (reply.status == 100)
		return true;
	FUZZ_CHECK(!*last, "a reply behind the last one: %u", reply.status);
	/* libmicrohttpd 0.9.72 answers CONNECT without a length, whatever the status, and closes the connection. */
	if (!reply.has_length && record != NULL && strcmp(record->method, "CONNECT") == 0)
		reply.content_length = (size_t) (end - *at);
	else
		FUZZ_CHECK(reply.has_length || is_without_body(reply.status), "no length: %u", reply.status);
	sent = has_body(&reply, record) ? reply.content_length : 0;
	/* "HEAD" and a NUL is HEAD only for whom it is a C string. */
	if (sent == 0 && run.client.has_null && *at < end && strncmp(*at, "HTTP/", 5) != 0)
		sent = reply.content_length;
	if (record != NULL && (record->handed || record->refused)) {
		FUZZ_CHECK(is_answer_to(&reply, record), "%u of %zu bytes is not the answer to request %zu: %u, %zu",
			reply.status, reply.content_length, *next, record->status, record->length);
		if ((size_t) (end - *at) < sent)
			return false;
		FUZZ_CHECK(record->refused || sent == 0 || memcmp(reply.body, record->body, sent) == 0, "its body");
		(*next)++;
	} else if (reply.is_ours) {
		/* A refusal by http.c: of a body that turned out too long when its headers had been shown, or before. */
		FUZZ_CHECK(reply.status >= 400, "a reply to nothing: %u", reply.status);
		*next += record != NULL ? 1 : 0;
	} else {
		/* libmicrohttpd's, of what it cannot read: there is nothing to go on with. 1.0 answers a blank in the
		 * path with 301. */
		FUZZ_CHECK(reply.status >= 400 || reply.status == 301, "a reply to nothing: %u", reply.status);
		*last = true;
		*at = skip_second_head(head, *at, end);
		sent = (size_t) (end - *at) < sent ? 0 : sent; /* to HEAD, which nobody has shown us */
	}
	if ((size_t) (end - *at) < sent)
		return false;
	*at += sent;
	return true;
}

/* libmicrohttpd puts the end of a folded header where the memory for the head of the answer is; when there is much
 * behind the request, too, it closes the connection after its handler has answered (0.9.75, process_broken_line()). */
static bool is_answer_lost(const struct client *client, size_t number)
{
	if (number < run.record_count - 1)
		return false;
	/* An empty body, and nothing around it: see take_bare_body(). */
	if (MHD_VERSION < 0x00097500 && run.records[number].length == 0)
		return true;
	return MHD_VERSION < 0x01000000 && client->folded;
}

static void check_replies(const struct client *client)
{
	const char *at = client->replies, *end = at + client->replies_length;
	size_t next = 0;
	bool last = false;

	while (at < end && take_reply(&at, end, &next, &last))
		;
	FUZZ_CHECK(at == end || client->broken, "%zu bytes that are no reply: %s", (size_t) (end - at), at);
	for (; next < run.record_count && !client->broken && !is_answer_lost(client, next); next++)
		FUZZ_CHECK(!run.records[next].handed, "request %zu has no answer", next);
	see(4, run.record_count < 64 ? (unsigned) run.record_count : 64);
}

/* --- the client --------------------------------------------------------------------------------------- */

static void client_close(struct client *client)
{
	const struct linger at_once = { .l_onoff = 1 };

	if (client->fd < 0)
		return;
	/* No TIME_WAIT, which would use up the ports. */
	(void) setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	fd_closep(&client->fd);
}

/* A loopback address of its own for each connection: the kernel remembers ended ones for a minute, and drops the first
 * packet of one that seems to be the same. */
static void bind_somewhere(int fd)
{
	static uint32_t connections;
	struct sockaddr_in address = { .sin_family = AF_INET };
	const int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + connections++ % 0xffff00);
	(void) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	FUZZ_NEED(bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0, "bind");
}

/* A connected socket, or -1 when the kernel takes its time. */
static int try_connect(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = run.port };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd connected = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t length = sizeof(error);

	FUZZ_NEED(fd >= 0, "socket");
	bind_somewhere(fd);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		FUZZ_NEED(errno == EINPROGRESS, "connect");
	/* Interrupted by libFuzzer's timer it is tried anew, too. */
	if (poll(&connected, 1, 1000) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error != 0)
		return -1;
	return steal_fd(&fd);
}

static void client_open(struct client *client, const uint8_t *data, size_t size)
{
	client->script = (struct fuzz_script) { .at = data, .end = data + size };
	client->has_null = memchr(data, '\0', size) != NULL;
	client->folded = memmem(data, size, "\n ", 2) != NULL || memmem(data, size, "\n\t", 2) != NULL;
	client->fd = -1;
	for (int i = 0; i < 10 && client->fd < 0; i++)
		client->fd = try_connect();
	FUZZ_NEED(client->fd >= 0, "a connection");
}

static void client_free(struct client *client)
{
	client_close(client);
	free(client->pending);
	free(client->replies);
	*client = (struct client) { .fd = -1 };
}

static void append(struct client *client, const void *data, size_t length)
{
	client->pending = realloc(client->pending, client->pending_length + length + 1);
	FUZZ_NEED(client->pending != NULL, "memory");
	memcpy(client->pending + client->pending_length, data, length);
	client->pending_length += length;
}

static void handle_event(struct client *client, enum event event)
{
	static const char filler[FILLER];

	if (event == EVENT_BYTE_FF)
		append(client, "\xff", 1);
	else if (event == EVENT_TURN || event == EVENT_TURNS)
		client->turns_to_wait = event == EVENT_TURN ? 1 : SEVERAL_TURNS;
	else if (event == EVENT_ANSWER)
		(void) answer_waiting();
	else if (event == EVENT_FILLER)
		append(client, filler, FILLER);
	else if (event == EVENT_SHUTDOWN)
		client->shut = true;
	else
		client->broken = true;
}

/* Up to the next event that is not only bytes. */
static void read_script(struct client *client)
{
	struct fuzz_script *script = &client->script;

	while (fuzz_left(script) > 0 && client->turns_to_wait == 0 && !client->shut && !client->broken) {
		const uint8_t *mark = memchr(script->at, 0xff, fuzz_left(script));
		size_t length;
		const uint8_t *bytes =
			fuzz_take(script, (size_t) ((mark != NULL ? mark : script->end) - script->at), &length);

		append(client, bytes, length);
		if (mark != NULL) {
			script->at++;
			handle_event(client, fuzz_byte(script) % EVENT_KINDS);
		}
	}
}

static void client_send(struct client *client)
{
	while (client->pending_sent < client->pending_length && !client->broken) {
		ssize_t count = send(client->fd, client->pending + client->pending_sent,
			client->pending_length - client->pending_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (count < 0 && errno == EAGAIN)
			return;
		if (count < 0)
			client->broken = true;
		else
			client->pending_sent += (size_t) count;
	}
	client->pending_length = client->pending_sent = 0;
}

static void client_receive(struct client *client)
{
	for (;;) {
		int waiting = 0;
		ssize_t count;

		(void) ioctl(client->fd, FIONREAD, &waiting);
		client->replies = realloc(client->replies, client->replies_length + (size_t) waiting + 2);
		FUZZ_NEED(client->replies != NULL, "memory");
		FUZZ_CHECK(client->replies_length < REPLIES_MAX, "endless replies");
		count = recv(client->fd, client->replies + client->replies_length, (size_t) waiting + 1, MSG_DONTWAIT);
		if (count < 0 && errno != EAGAIN)
			client->broken = true;
		client->ended = count == 0 || (count < 0 && errno != EAGAIN);
		if (count <= 0)
			return;
		client->replies_length += (size_t) count;
		client->replies[client->replies_length] = '\0';
	}
}

/* One turn; false when the connection is over and every request has been answered. */
static bool client_turn(struct client *client)
{
	bool reset = client->broken && !client->ended;

	if (!client->ended && !reset)
		client_receive(client);
	if (client->turns_to_wait > 0) {
		client->turns_to_wait--;
		return true;
	}
	if (!client->ended && !reset && client->pending_length == 0)
		read_script(client);
	if (!client->ended && client->fd >= 0 && client->pending_length > 0)
		client_send(client);
	if (client->pending_length == 0 && (client->shut || fuzz_left(&client->script) == 0) && client->fd >= 0 &&
		!client->broken)
		(void) shutdown(client->fd, SHUT_WR);
	if (client->broken || client->ended)
		client_close(client);
	/* Those that wait are answered when nothing else is going to happen. */
	if (client->fd < 0 || client->pending_length == 0)
		(void) answer_waiting();
	return client->fd >= 0 || !http_is_idle(run.server);
}

/* --- the loop ----------------------------------------------------------------------------------------- */

static void forget_records(void)
{
	for (size_t i = 0; i < run.record_count; i++)
		free(run.records[i].body);
	run.record_count = 0;
}

static void start_second_client(void)
{
	static const char good[] = "POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

	check_replies(&run.client);
	client_free(&run.client);
	forget_records();
	run.second = true;
	client_open(&run.client, (const uint8_t *) good, strlen(good));
}

static void end_second_client(void)
{
	FUZZ_CHECK(run.record_count == 1 && run.records[0].handed && !run.client.broken, "a good request afterwards");
	check_replies(&run.client);
	FUZZ_CHECK(memmem(run.client.replies, run.client.replies_length, "0 POST 5\nhello", 14) != NULL, "its answer");
	client_free(&run.client);
	forget_records();
	loop_stop(run.loop);
}

static void on_turn(void *context, uint32_t events)
{
	struct timespec now;

	(void) context;
	(void) events;
	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	FUZZ_CHECK(now.tv_sec - run.started.tv_sec < PATIENCE_S, "the server does not end the connection");
	if (client_turn(&run.client))
		return;
	if (run.second)
		end_second_client();
	else
		start_second_client();
}

/* The port of the listening socket, which nobody tells. */
static uint16_t find_port(void)
{
	for (int fd = 3; fd < 100; fd++) {
		struct sockaddr_in address;
		socklen_t length = sizeof(address), option_length = sizeof(int);
		int listens = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &option_length) == 0 && listens != 0 &&
			getsockname(fd, (struct sockaddr *) &address, &length) == 0)
			return address.sin_port;
	}
	return 0;
}

static void start_server(void)
{
	const struct http_callbacks callbacks = { .on_headers = on_headers, .on_request = on_request, .context = &run };
	const struct http_config config = { .host = "127.0.0.1", .port = "0", .max_body = MAX_BODY };
	sigset_t mask;
	struct err err;

	(void) sigprocmask(SIG_SETMASK, NULL, &mask);
	FUZZ_CHECK(loop_new(&run.loop, &err) == 0, "%s", err.text);
	(void) sigprocmask(SIG_SETMASK, &mask, NULL); /* libFuzzer's signals are its own */
	FUZZ_CHECK(http_start(&run.server, run.loop, &config, &callbacks, &err) == 0, "%s", err.text);
	run.port = find_port();
	FUZZ_NEED(run.port != 0, "a port");
	run.always = (struct watch) { .fd = eventfd(1, EFD_CLOEXEC), .on_ready = on_turn };
	FUZZ_CHECK(loop_watch(run.loop, &run.always, EPOLLIN, &err) == 0, "%s", err.text);
}

static int lowest_free_fd(void)
{
	int fd = dup(0);

	fd_close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int free_fd = lowest_free_fd();
	struct err err;

	run.second = false;
	(void) clock_gettime(CLOCK_MONOTONIC, &run.started);
	start_server();
	client_open(&run.client, data, size);
	FUZZ_CHECK(loop_run(run.loop, &err) == 0, "%s", err.text);
	FUZZ_CHECK(http_is_idle(run.server), "not idle");
	http_free(run.server);
	loop_unwatch(run.loop, &run.always);
	fd_close(run.always.fd);
	loop_free(run.loop);
	FUZZ_CHECK(lowest_free_fd() == free_fd, "a descriptor is left open");
	return 0;
}
