#include "http.h"

#include "addresses.h"
#include "clients.h"
#include "json.h"
#include "limits.h"
#include "mhd_compat.h"
#include "server_log.h"
#include "text.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	LARGE_BODY = 256 << 10,
	CROWD = 64, /* connections, whose memory is worth giving back: 2 MB */
	TRIM_AFTER_MS = 100,
};

struct http_connection;

struct http_server {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct watch mhd_events;       /* its epoll descriptor */
	struct http_connection *ended; /* whose client sends no more, which MHD has not seen */
	struct http_callbacks callbacks;
	size_t max_body;
	size_t held, max_held; /* bytes of bodies and answers, of all requests */
	struct clients clients;
	uint64_t turning_ms; /* since when each turn of MHD wanted another at once; 0: it does not */
	size_t pending;      /* requests that have been handed to the owner and are not completed */
	bool listening;
	uint64_t stopped_ms;           /* when that ended */
	bool closed_one;               /* a connection has been closed in this turn of MHD_run() */
	struct watch other_port;       /* of http_listen_also(), fd -1 when there is none */
	struct timer other_port_pause; /* set while it cannot be accepted from */
	bool seldom;                   /* has turns of its own, instead of one in each of the loop's: */
	struct timer turn;
	unsigned max_connections, idle_s;
	struct http_metrics metrics;
	size_t connections;
	bool crowded;      /* there have been more than CROWD of them since the last trim */
	struct timer trim; /* set for a while after a large request, and when one of a crowd has left */
};

/* A connection, watched for the end of what its client sends. */
struct http_connection {
	struct client client; /* first: on_late() takes it from there */
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct watch end;
	struct http_connection *next_ended;
	bool chunked;       /* the request that is arriving */
	bool answered;      /* there has been a request */
	bool given_up;      /* by us; what it has sent and MHD has not seen yet is not run */
	uint64_t delivered; /* bytes that have been shown by MHD: header blocks and bodies */
};

enum request_state {
	REQUEST_READING,   /* header block or body are arriving */
	REQUEST_HANDED,    /* on_request is running, inside MHD's callback */
	REQUEST_SUSPENDED, /* waits for its answer */
	REQUEST_ANSWERED,  /* status and answer are set; MHD calls back to have them queued */
};

struct http_request {
	struct http_server *server;
	struct MHD_Connection *connection;
	struct http_connection *peer; /* NULL when there was no memory for it */
	const char *method;
	char *path;
	enum request_state state;
	bool headers_checked;
	bool handed;
	char *body;
	size_t body_length;
	size_t body_capacity;
	size_t discarded; /* bytes of a body over a limit */
	bool no_room;     /* ... the limit of all bodies */
	size_t held;      /* its share of the server's */
	struct {
		char *name, *value;
	} headers[HTTP_HEADERS_MAX];
	size_t header_count;
	enum http_status status;
	struct http_body answer;
	struct MHD_Response *response; /* made of the answer, while MHD has not taken it */
	bool refused;                  /* MHD did not take it when it was offered first */
	bool large;                    /* the body, or the answer's */
};

/* --- clients that are given up ----------------------------------------------------------------------- */

/* An answer to a request that MHD is still reading, and takes none to; written where it writes nothing then. */
static void send_refusal(int fd, enum http_status status, const char *text)
{
	char answer[ERR_TEXT_MAX + 256];
	size_t length;
	cleanup_free char *body = json_error_document(text, &length);
	int used = snprintf(answer, sizeof(answer),
		"HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		(unsigned) status, MHD_get_reason_phrase_for(status), body != NULL ? length : 0,
		body != NULL ? body : "");

	(void) send(fd, answer, (size_t) used, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* An answer for which there is no struct http_request. */
static void note_refusal(struct http_server *server, unsigned status, const char *text)
{
	if (status < HTTP_STATUSES)
		server->metrics.answers[status]++;
	server_log(EVENT_REQUEST_REFUSED, LOG_NUMBER("status", status), LOG_TEXT("error", text));
}

/* Ends a connection on which no answer is under way, or whose client does not take its answer. MHD sees the end of the
 * stream, and where it does not read, closes it a second later. */
static void drop(struct http_connection *connection)
{
	clients_remove(&connection->server->clients, &connection->client);
	connection->given_up = true;
	(void) shutdown(connection->client.fd, SHUT_RDWR);
	(void) MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1U);
}

static void refuse(struct http_connection *connection, enum http_status status, const char *text)
{
	note_refusal(connection->server, status, text); /* first: who has the answer may look for it */
	send_refusal(connection->client.fd, status, text);
	drop(connection);
}

static void on_late(void *context UTIL_UNUSED, struct client *client, enum client_phase phase)
{
	struct http_connection *connection = (struct http_connection *) client;
	uint64_t received = 0, taken;
	/* Behind an answer, nothing tells the begin of a request from nothing. */
	bool has_begun = phase == CLIENT_SENDING ||
		(phase == CLIENT_IDLE && !connection->answered && client_count_bytes(client, &received, &taken) &&
			received > 0);

	if (has_begun)
		refuse(connection, HTTP_REQUEST_TIMEOUT,
			"The request did not arrive in time (--client-timeout, PYACTION_CLIENT_TIMEOUT).");
	else
		drop(connection);
}

/* Where answers that are not taken fill it. The memory is free when MHD has seen it. */
static void make_room(struct http_server *server)
{
	struct client *client = clients_oldest(&server->clients, CLIENT_RECEIVING);

	if (server->held > server->max_held && client != NULL)
		drop((struct http_connection *) client);
}

/* --- the request's side ------------------------------------------------------------------------------ */

const char *http_method(const struct http_request *request)
{
	return request->method;
}

const char *http_path(const struct http_request *request)
{
	return request->path;
}

const char *http_header(const struct http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

struct header_visit {
	void (*visit)(void *context, const char *name, const char *value);
	void *context;
};

static enum MHD_Result on_header(
	void *context, enum MHD_ValueKind kind UTIL_UNUSED, const char *name, const char *value)
{
	const struct header_visit *visit = context;

	visit->visit(visit->context, name, value != NULL ? value : "");
	return MHD_YES;
}

void http_each_header(const struct http_request *request,
	void (*visit)(void *context, const char *name, const char *value), void *context)
{
	struct header_visit header_visit = { visit, context };

	(void) MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_header, &header_visit);
}

/* Percent-encodes all but what RFC 3986 calls unreserved. */
static void write_encoded(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *text) != NULL)
			(void) fputc(*text, out);
		else
			(void) fprintf(out, "%%%02X", (unsigned char) *text);
	}
}

static enum MHD_Result on_argument(
	void *context, enum MHD_ValueKind kind UTIL_UNUSED, const char *name, const char *value)
{
	FILE *out = context;

	if (ftell(out) > 0)
		(void) fputc('&', out);
	write_encoded(out, name);
	if (value != NULL) {
		(void) fputc('=', out);
		write_encoded(out, value);
	}
	return MHD_YES;
}

char *http_make_query(const struct http_request *request)
{
	struct text query;
	FILE *out = text_open(&query);

	if (out == NULL)
		return NULL;
	(void) MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, on_argument, out);
	return text_close(&query, NULL);
}

char *http_request_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = request->body_length;
	return request->body;
}

char *http_steal_body(struct http_request *request, size_t *ret_length)
{
	*ret_length = request->body_length;
	request->body_length = 0;
	request->body_capacity = 0;
	return steal_ptr(&request->body);
}

void http_set_header(struct http_request *request, const char *name, const char *value)
{
	cleanup_free char *name_copy = request->header_count < HTTP_HEADERS_MAX ? strdup(name) : NULL;
	char *value_copy = name_copy != NULL ? strdup(value) : NULL;

	if (value_copy == NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not lost, it has a cleanup attribute. */
		return;
	request->headers[request->header_count].name = steal_ptr(&name_copy);
	request->headers[request->header_count++].value = value_copy;
}

static void hold(struct http_request *request, size_t length)
{
	request->held += length;
	request->server->held += length;
}

static void enter_phase(struct http_request *request, enum client_phase phase)
{
	if (request->peer != NULL)
		clients_enter(&request->server->clients, &request->peer->client, phase);
}

void http_answer(struct http_request *request, enum http_status status, struct http_body body)
{
	bool suspended = request->state == REQUEST_SUSPENDED;

	if ((unsigned) status < HTTP_STATUSES)
		request->server->metrics.answers[status]++;
	if (!request->handed)
		server_log(EVENT_REQUEST_REFUSED, LOG_NUMBER("status", status), LOG_TEXT("method", request->method),
			LOG_TEXT("path", request->path));
	hold(request, body.length);
	make_room(request->server);
	enter_phase(request, CLIENT_RECEIVING);
	request->status = status;
	request->answer = body;
	request->large = request->large || body.length > LARGE_BODY;
	request->state = REQUEST_ANSWERED;
	/* MHD takes a response only inside its access handler: it is resumed and calls that again. */
	if (suspended)
		MHD_resume_connection(request->connection);
}

void http_answer_error(struct http_request *request, enum http_status status, const char *format, ...)
{
	struct http_body body = { 0 };
	char text[ERR_TEXT_MAX + 256];
	va_list args;

	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	body.data = json_error_document(text, &body.length);
	http_answer(request, body.data == NULL ? HTTP_INTERNAL_SERVER_ERROR : status, body);
}

static void request_free(struct http_request *request)
{
	if (request->handed)
		request->server->pending--;
	request->server->held -= request->held;
	for (size_t i = 0; i < request->header_count; i++) {
		free(request->headers[i].name);
		free(request->headers[i].value);
	}
	free(request->path);
	free(request->body);
	free(request->answer.data);
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	if (request->large)
		loop_timer_set(request->server->loop, &request->server->trim, loop_now_ms() + TRIM_AFTER_MS);
	free(request);
}

/* NULL where there was no memory for one. */
static struct http_connection *peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? info->socket_context : NULL;
}

static struct http_request *request_new(
	struct http_server *server, struct MHD_Connection *connection, const char *path, const char *method)
{
	struct http_request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return NULL;
	request->server = server;
	request->connection = connection;
	request->peer = peer_of(connection);
	request->method = method;
	request->path = strdup(path);
	if (request->path == NULL) {
		request_free(request);
		return NULL;
	}
	return request;
}

/* --- reading a body ---------------------------------------------------------------------------------- */

/* Makes room for length more bytes and two to spare: a NUL, and the newline a runner wants. */
static int body_reserve(struct http_request *request, size_t length)
{
	size_t needed = request->body_length + length + 2;
	size_t capacity = request->body_capacity;
	char *grown;

	if (needed <= capacity)
		return 0;
	if (capacity > 0)
		needed = needed > 2 * capacity ? needed : 2 * capacity;
	grown = realloc(request->body, needed);
	if (grown == NULL)
		return -ENOMEM;
	request->body = grown;
	request->body_capacity = needed;
	request->large = request->large || needed > LARGE_BODY;
	return 0;
}

static bool has_room(const struct http_request *request, size_t length)
{
	const struct http_server *server = request->server;

	return request->body_length + length <= LIMIT_REFUSED_BODY || server->held + length <= server->max_held;
}

static int body_append(struct http_request *request, const char *data, size_t length)
{
	if (request->peer != NULL) {
		request->peer->client.moved += length;
		request->peer->delivered += length;
	}
	request->no_room = request->no_room || (request->discarded == 0 && !has_room(request, length));
	if (request->no_room || request->discarded > 0 || length > request->server->max_body - request->body_length) {
		request->server->held -= request->held;
		request->held = 0;
		/* MHD takes no answer in the middle of a body: the rest is read and dropped. */
		free(request->body);
		request->body = NULL;
		request->body_capacity = 0;
		request->body_length = 0;
		request->discarded += length;
		return request->discarded / LIMIT_DISCARD_FACTOR > request->server->max_body ? -EFBIG : 0;
	}
	if (body_reserve(request, length) < 0)
		return -ENOMEM;
	hold(request, length);
	memcpy(request->body + request->body_length, data, length);
	request->body_length += length;
	request->body[request->body_length] = '\0';
	return 0;
}

/* Asks the owner, once, whether it wants the request. */
static void check_headers(struct http_request *request)
{
	if (!request->headers_checked)
		request->server->callbacks.on_headers(request->server->callbacks.context, request);
	request->headers_checked = true;
}

static void answer_too_large(struct http_request *request)
{
	http_answer_error(request, HTTP_CONTENT_TOO_LARGE,
		"The request body is larger than %zu bytes (--max-body, PYACTION_MAX_BODY).",
		request->server->max_body);
}

static void answer_no_room(struct http_request *request)
{
	http_answer_error(request, HTTP_SERVICE_UNAVAILABLE,
		"There is no room for the request body: all that are under way have %zu bytes.",
		request->server->max_held);
}

/* What says how long the body is, and what makes that unclear. */
struct framing {
	size_t lengths, codings;
	bool chunked;
	bool malformed;
};

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text)
{
	static const bool in_tokens[256] = { ['0' ... '9'] = true,
		['A' ... 'Z'] = true,
		['a' ... 'z'] = true,
		['!'] = true,
		['#' ... '\''] = true,
		['*'] = true,
		['+'] = true,
		['-'] = true,
		['.'] = true,
		['^' ... '`'] = true,
		['|'] = true,
		['~'] = true };

	if (*text == '\0')
		return false;
	while (in_tokens[(unsigned char) *text])
		text++;
	return *text == '\0';
}

static bool begins_with(const char *name, const char *other)
{
	return strncasecmp(name, other, strlen(other)) == 0;
}

static enum MHD_Result check_header(
	void *context, enum MHD_ValueKind kind UTIL_UNUSED, const char *name, const char *value)
{
	struct framing *framing = context;

	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		framing->lengths++;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		framing->codings++;
		framing->chunked = value != NULL && strcasecmp(value, "chunked") == 0;
	} else if (begins_with(name, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
		begins_with(name, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
		/* One of them with a blank before its colon, or folded: MHD 0.9 puts the next line behind the name. */
		framing->malformed = true;
	}
	if (!is_token(name) || (value != NULL && strpbrk(value, "\r\n") != NULL))
		framing->malformed = true;
	return MHD_YES;
}

/* libmicrohttpd takes the first of several lengths, the chunks before a length, and a coding that it does not know
 * for a body up to the end of the connection, which is never answered; to 0.9 a line that is folded, or has a blank
 * before its colon, is another header. Somebody in front of us may read the same headers in another way: RFC 9112, 5.1,
 * 5.2, 6.3. Returns what is wrong, NULL for nothing. */
static const char *find_unclear_header(const struct http_request *request)
{
	struct framing framing = { 0 };

	(void) MHD_get_connection_values(request->connection, MHD_HEADER_KIND, check_header, &framing);
	if (framing.malformed)
		return "A header is malformed: each stands on one line, and its name has no blanks.";
	if (framing.lengths + framing.codings > 1 || framing.chunked != (framing.codings > 0))
		return "The length of the body is not clear: one Content-Length, or Transfer-Encoding: chunked.";
	return NULL;
}

/* Looks at the declared length: too long is refused unread, else the buffer gets its final size at once.
 * A wrong promise costs address space only: untouched pages are not backed by memory.
 *
 * An answer at this point makes MHD close the connection, and drop what is pipelined behind it. So only a
 * body that is worth not reading is refused here, a short one when it has been read. */
static void headers_arrived(struct http_request *request)
{
	const char *declared = http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
	unsigned long long length = declared != NULL ? strtoull(declared, NULL, 10) : 0;
	const char *unclear = find_unclear_header(request);

	if (unclear != NULL)
		http_answer_error(request, HTTP_BAD_REQUEST, "%s", unclear);
	else if (length > request->server->max_body)
		answer_too_large(request);
	else if (length > LIMIT_REFUSED_BODY || http_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL)
		check_headers(request);
	if (request->state == REQUEST_READING && body_reserve(request, (size_t) length) < 0)
		http_answer_error(
			request, HTTP_INTERNAL_SERVER_ERROR, "Out of memory for a body of %llu bytes.", length);
	else if (request->body != NULL)
		request->body[0] = '\0';
}

/* --- libmicrohttpd's side ---------------------------------------------------------------------------- */

static void free_answer(void *data)
{
	free(data);
}

static struct MHD_Response *make_response(struct http_request *request)
{
	struct http_body *answer = &request->answer;
	struct MHD_Response *response;

	if (answer->data == NULL)
		return MHD_create_response_from_buffer(0, (void *) "", MHD_RESPMEM_PERSISTENT);
	response = MHD_create_response_from_buffer_with_free_callback(answer->length, answer->data, free_answer);
	if (response != NULL)
		answer->data = NULL;
	return response;
}

static struct MHD_Response *make_whole_response(struct http_request *request)
{
	bool has_content = request->answer.data != NULL;
	struct MHD_Response *response = make_response(request);

	if (response == NULL)
		return NULL;
	for (size_t i = 0; i < request->header_count; i++) {
		size_t next = MHD_COMPAT_HEADERS_REVERSED ? request->header_count - 1 - i : i;

		(void) MHD_add_response_header(response, request->headers[next].name, request->headers[next].value);
	}
	if (has_content && MHD_get_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE) == NULL)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return response;
}

/* To a request without a body that expects 100-continue, and with something pipelined behind it, MHD (0.9.75) calls back
 * for a piece of 0 bytes before it takes an answer. It calls again when it does. */
static enum MHD_Result queue_answer(struct http_request *request)
{
	if (request->response == NULL)
		request->response = make_whole_response(request);
	if (request->response == NULL)
		return MHD_NO;
	if (MHD_queue_response(request->connection, request->status, request->response) == MHD_YES) {
		MHD_destroy_response(request->response);
		request->response = NULL;
		return MHD_YES;
	}
	if (request->refused)
		return MHD_NO;
	request->refused = true;
	return MHD_YES;
}

/* Once resumed, MHD reads before it asks for the answer, and where it finds that the client sends no more it closes
 * the connection instead: a client that has only ended its own side would get nothing. But first of all it looks at
 * each connection with a time limit that is not the daemon's, and asks there. So a request has one until it is over.
 * (It saves a read of nothing for each, too.) */
static void suspend(struct http_request *request)
{
	request->state = REQUEST_SUSPENDED;
	MHD_suspend_connection(request->connection);
	(void) MHD_set_connection_option(
		request->connection, MHD_CONNECTION_OPTION_TIMEOUT, request->server->idle_s + 1);
}

static bool is_given_up(const struct http_request *request)
{
	return request->peer != NULL && request->peer->given_up;
}

static enum MHD_Result request_complete(struct http_request *request)
{
	struct http_server *server = request->server;

	if (request->no_room)
		answer_no_room(request);
	else if (request->discarded > 0)
		answer_too_large(request);
	else
		check_headers(request);
	if (request->state == REQUEST_READING) {
		request->state = REQUEST_HANDED;
		request->handed = true;
		server->pending++;
		server->callbacks.on_request(server->callbacks.context, request);
	}
	if (request->state == REQUEST_ANSWERED)
		return queue_answer(request);

	enter_phase(request, CLIENT_WAITING);
	suspend(request);
	return MHD_YES;
}

static void note_headers(struct http_request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	enter_phase(request, CLIENT_SENDING);
	if (request->peer == NULL)
		return;
	request->peer->answered = true;
	request->peer->chunked = http_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
	request->peer->delivered += info != NULL ? info->header_size : 0;
}

/* Called first with the header block, then for each piece of the body, then once more at its end, and
 * again after a resume. */
static enum MHD_Result on_mhd_request(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version UTIL_UNUSED, const char *upload, size_t *upload_size, void **slot)
{
	bool first = *slot == NULL;
	struct http_request *request = first ? request_new(context, connection, url, method) : *slot;

	if (request == NULL)
		return MHD_NO;
	*slot = request;
	if (request->state == REQUEST_READING && is_given_up(request))
		return MHD_NO;
	if (first) {
		note_headers(request);
		headers_arrived(request);
		return request->state == REQUEST_ANSWERED ? queue_answer(request) : MHD_YES;
	}
	if (*upload_size > 0) {
		int r = request->state == REQUEST_READING ? body_append(request, upload, *upload_size) : 0;

		*upload_size = 0;
		return r < 0 ? MHD_NO : MHD_YES;
	}
	if (request->state == REQUEST_READING)
		return request_complete(request);
	if (request->state == REQUEST_ANSWERED)
		return queue_answer(request);
	return MHD_YES;
}

static void note_client_gone(struct http_server *server, const struct http_request *request)
{
	bool early = request->state == REQUEST_READING;

	if (early && is_given_up(request))
		return;
	if (early)
		server->metrics.gone_early++;
	else
		server->metrics.gone_late++;
	server_log(EVENT_CLIENT_GONE, LOG_TEXT("before", early ? "the end of its request" : "the end of the answer"),
		LOG_NUMBER("status", request->status));
}

static void on_mhd_completed(
	void *context, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode reason)
{
	struct http_server *server = context;
	struct http_request *request = *slot;

	*slot = NULL;
	(void) MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, server->idle_s);
	if (request == NULL)
		return;
	if (reason != MHD_REQUEST_TERMINATED_COMPLETED_OK && reason != MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN)
		note_client_gone(server, request);
	enter_phase(request, CLIENT_IDLE);
	request_free(request);
}

/* MHD takes a short read for "nothing more for now" and waits for the next edge of its edge-triggered epoll;
 * but the end of the stream has none of its own when it came together with the last bytes, and the connection
 * of a client that gave up in the middle of a request would stay for ever. So the end is watched for here. */
static void on_connection_end(void *context, uint32_t events UTIL_UNUSED)
{
	struct http_connection *connection = context;
	struct http_server *server = connection->server;

	loop_unwatch(server->loop, &connection->end);
	connection->next_ended = server->ended;
	server->ended = connection;
	if (server->seldom)
		loop_timer_set(server->loop, &server->turn, loop_now_ms());
}

/* Gives MHD the missing edge, which EPOLL_CTL_MOD makes, once there is nothing but the end left to read. A
 * suspended connection is not in MHD's set, and gets an edge when it is resumed. */
static void show_ends(struct http_server *server)
{
	struct http_connection **link = &server->ended;

	while (*link != NULL) {
		struct http_connection *connection = *link;
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLET,
			.data.ptr = connection->mhd };
		int unread = 0;

		if (ioctl(connection->end.fd, FIONREAD, &unread) == 0 && unread > 0) {
			link = &connection->next_ended;
			continue;
		}
		*link = connection->next_ended;
		(void) epoll_ctl(server->mhd_events.fd, EPOLL_CTL_MOD, connection->end.fd, &event);
	}
}

static void forget_end(struct http_server *server, const struct http_connection *connection)
{
	for (struct http_connection **link = &server->ended; *link != NULL; link = &(*link)->next_ended) {
		if (*link == connection) {
			*link = connection->next_ended;
			return;
		}
	}
}

/* Keeps some free, for at its limit of connections MHD takes no more: of those that are waited for, the one that has
 * been for longest loses its own. */
static void make_room_for_connections(struct http_server *server)
{
	enum { FREE = 16 };
	unsigned free = server->max_connections / 4 < FREE ? server->max_connections / 4 : FREE;
	struct client *idle = clients_oldest(&server->clients, CLIENT_IDLE);
	struct client *sending = clients_oldest(&server->clients, CLIENT_SENDING);

	if (server->connections + free <= server->max_connections)
		return;
	if (idle != NULL && (sending == NULL || idle->due_ms <= sending->due_ms))
		drop((struct http_connection *) idle);
	else if (sending != NULL)
		refuse((struct http_connection *) sending, HTTP_SERVICE_UNAVAILABLE, "There are too many connections.");
}

static void connection_opened(struct http_server *server, struct MHD_Connection *mhd, void **slot)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_connection *connection = info != NULL ? calloc(1, sizeof(*connection)) : NULL;
	struct err err;

	if (connection == NULL) /* it is served all the same */
		return;
	connection->server = server;
	connection->mhd = mhd;
	connection->end =
		(struct watch) { .fd = info->connect_fd, .on_ready = on_connection_end, .context = connection };
	(void) loop_watch(server->loop, &connection->end, EPOLLRDHUP, &err);
	connection->client.fd = info->connect_fd;
	clients_add(&server->clients, &connection->client);
	*slot = connection;
}

static void on_mhd_connection(
	void *context, struct MHD_Connection *mhd, void **slot, enum MHD_ConnectionNotificationCode code)
{
	struct http_server *server = context;
	struct http_connection *connection = *slot;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		server->crowded = ++server->connections > CROWD || server->crowded;
		connection_opened(server, mhd, slot);
		make_room_for_connections(server);
		return;
	}
	server->connections--;
	server->closed_one = true;
	if (server->crowded && !server->trim.set)
		loop_timer_set(server->loop, &server->trim, loop_now_ms() + TRIM_AFTER_MS);
	if (connection != NULL) {
		clients_remove(&server->clients, &connection->client);
		loop_unwatch(server->loop, &connection->end);
		forget_end(server, connection);
		free(connection);
		*slot = NULL;
	}
}

/* Before MHD reads what is behind the question mark. What is returned is the request's slot. */
static void *on_mhd_target(void *context UTIL_UNUSED, const char *target, struct MHD_Connection *connection)
{
	struct http_connection *peer = peer_of(connection);
	const char *at = strchr(target, '?');
	size_t arguments = at != NULL ? 1 : 0;

	while (at != NULL && (at = strchr(at + 1, '&')) != NULL)
		arguments++;
	if (arguments > LIMIT_QUERY_ARGUMENTS && peer != NULL)
		refuse(peer, HTTP_URI_TOO_LONG, "The query has too many arguments.");
	return NULL;
}

/* The path as the client meant it; one with an encoded NUL, which would end it early, stays as it was sent. */
static size_t unescape(void *context UTIL_UNUSED, struct MHD_Connection *connection UTIL_UNUSED, char *text)
{
	return strstr(text, "%00") != NULL ? strlen(text) : MHD_http_unescape(text);
}

/* MHD's default would print to the function's stderr before it aborts. */
static void on_mhd_panic(void *context UTIL_UNUSED, const char *file UTIL_UNUSED, unsigned line UTIL_UNUSED,
	const char *reason UTIL_UNUSED)
{
	abort();
}

/* What MHD would print to stderr, which is the function's. Where it answers by itself, it tells nobody else. */
static void on_mhd_message(void *context, const char *format, va_list args)
{
	static const char refusal[] = "Error processing request (HTTP response code is %u ";

	if (strncmp(format, refusal, sizeof(refusal) - 1) == 0)
		note_refusal(context, va_arg(args, unsigned), "refused by libmicrohttpd");
}

/* MHD (before 1.0) wants turn after turn where it waits for the end of a line that is as long as its buffer: of one with
 * the size of a chunk, endless by its digits or by an extension. It neither refuses that nor closes the connection,
 * not even when the client has. So after a second of nothing but turns those connections are looked for that send
 * chunks, and of whose bytes MHD has held back more than such a line may have. */
static void end_endless_turns(struct http_server *server)
{
	enum { ENDLESS_MS = 1000 };
	uint64_t now_ms = loop_now_ms(), received, taken;
	struct client *client = clients_oldest(&server->clients, CLIENT_SENDING);

	if (server->turning_ms == 0)
		server->turning_ms = now_ms;
	if (now_ms - server->turning_ms < ENDLESS_MS)
		return;
	server->turning_ms = 0;
	while (client != NULL) {
		struct http_connection *connection = (struct http_connection *) client;
		int unread = 0;

		client = client->next;
		(void) ioctl(connection->client.fd, FIONREAD, &unread);
		if (connection->chunked && client_count_bytes(&connection->client, &received, &taken) &&
			received - (uint64_t) unread > connection->delivered + LIMIT_CHUNK_LINE)
			refuse(connection, HTTP_BAD_REQUEST, "The line with the size of a chunk does not end.");
	}
}

/* MHD's inner epoll set is edge-triggered: MHD_run() must be called in every turn of the loop, and no wait
 * may be longer than MHD_get_timeout() allows, or data stays in a socket unseen. A resumed request takes a
 * second turn of MHD_run() for its answer and a third to settle: cheaper here than through our own epoll. */
static int pump(void *context)
{
	enum { TURNS = 4 };
	struct http_server *server = context;
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	bool has_timeout;

	for (int turn = 0; turn < TURNS; turn++) {
		server->closed_one = false;
		(void) MHD_run(server->daemon);
		show_ends(server);
		/* At the limit of connections MHD does not listen, and sees only at the begin of a turn that it may
		 * again: nothing would wake it for the clients that wait already. */
		if (server->closed_one)
			continue;
		has_timeout = MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES;
		if (!has_timeout || timeout_ms > 0) {
			server->turning_ms = 0;
			return !has_timeout ? -1 : timeout_ms > 60000 ? 60000 : (int) timeout_ms;
		}
	}
	end_endless_turns(server);
	return 0;
}

static void on_turn(void *context)
{
	struct http_server *server = context;
	int wait_ms = pump(server);

	if (wait_ms >= 0)
		loop_timer_set(server->loop, &server->turn, loop_now_ms() + (unsigned) wait_ms);
	else
		loop_timer_clear(server->loop, &server->turn);
}

/* The work is done by pump() before the next wait; this only ends the present one. */
static void on_mhd_events(void *context, uint32_t events UTIL_UNUSED)
{
	struct http_server *server = context;

	if (server->seldom)
		on_turn(server);
}

static int open_listener(const char *host, const char *port, const char *port_option, int *ret_fd, struct err *err)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	cleanup_addresses struct addrinfo *addresses = NULL;
	const int on = 1;
	cleanup_fd int fd = -1;
	int r;

	r = getaddrinfo(host != NULL && host[0] != '\0' ? host : "0.0.0.0", port, &hints, &addresses);
	if (r != 0)
		return err_set(err, -EINVAL, "cannot use host '%s' (--host, PYACTION_HOST): %s", host, gai_strerror(r));

	fd = socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open a socket");
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, addresses->ai_addr, addresses->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
		return err_errno(err, -errno, "cannot listen on port %s (%s) of %s", port, port_option,
			host != NULL && host[0] != '\0' ? host : "all interfaces");
	server_log(EVENT_LISTENING, LOG_TEXT("host", host), LOG_TEXT("port", port), LOG_TEXT("option", port_option));

	*ret_fd = steal_fd(&fd);
	return 0;
}

static void http_freep(struct http_server **server)
{
	http_free(*server);
}

static unsigned connection_limit(void)
{
	enum { OTHER_DESCRIPTORS = 64, AT_LEAST = 16 };
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur < OTHER_DESCRIPTORS + AT_LEAST)
		return AT_LEAST;
	return files.rlim_cur > 65536 ? 65536 : (unsigned) files.rlim_cur - OTHER_DESCRIPTORS;
}

/* What MHD cannot take any more is closed by it. */
static void on_other_port_ready(void *context, uint32_t events UTIL_UNUSED)
{
	enum { AT_ONCE = 64, PAUSE_MS = 50 };
	struct http_server *server = context;

	for (int i = 0; i < AT_ONCE; i++) {
		struct sockaddr_storage address;
		socklen_t length = sizeof(address);
		int fd = accept4(
			server->other_port.fd, (struct sockaddr *) &address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			/* No descriptors: it would be ready again at once. */
			loop_unwatch(server->loop, &server->other_port);
			loop_timer_set(server->loop, &server->other_port_pause, loop_now_ms() + PAUSE_MS);
		}
		if (fd < 0)
			return;
		(void) MHD_add_connection(server->daemon, fd, (struct sockaddr *) &address, length);
	}
}

/* What large bodies took goes back to the system when no more of them come: for each of them it would have to be got,
 * and zeroed, anew, a third of the time of a 1 MB echo (measured). */
static void on_trim_due(void *context)
{
	struct http_server *server = context;

	server->crowded = server->connections > CROWD;
	(void) malloc_trim(0);
}

static void on_other_port_pause_over(void *context)
{
	struct http_server *server = context;
	struct err err;

	(void) loop_watch(server->loop, &server->other_port, EPOLLIN, &err);
}

int http_listen_also(
	struct http_server *server, const char *host, const char *port, const char *port_option, struct err *err)
{
	int r = open_listener(host, port, port_option, &server->other_port.fd, err);

	return r < 0 ? r : loop_watch(server->loop, &server->other_port, EPOLLIN, err);
}

int http_start(struct http_server **ret_server, struct loop *loop, const struct http_config *config,
	const struct http_callbacks *callbacks, struct err *err)
{
	__attribute__((cleanup(http_freep))) struct http_server *server = calloc(1, sizeof(*server));
	const union MHD_DaemonInfo *info;
	int listen_fd = -1, r;

	if (server == NULL)
		return err_errno(err, -ENOMEM, "cannot make the HTTP server");
	server->loop = loop;
	server->callbacks = *callbacks;
	server->max_body = config->max_body;
	server->max_held =
		LIMIT_HELD_BODIES * config->max_body > LIMIT_HELD ? LIMIT_HELD_BODIES * config->max_body : LIMIT_HELD;
	server->clients = (struct clients) {
		.loop = loop, .timeout_ms = config->client_timeout_ms, .on_late = on_late, .context = server
	};
	clients_init(&server->clients);
	server->other_port = (struct watch) { .fd = -1, .on_ready = on_other_port_ready, .context = server };
	server->trim = (struct timer) { .on_due = on_trim_due, .context = server };
	server->other_port_pause = (struct timer) { .on_due = on_other_port_pause_over, .context = server };
	server->seldom = config->seldom;
	server->turn = (struct timer) { .on_due = on_turn, .context = server };
	/* A second more than ours: MHD's closes without an answer. */
	server->idle_s =
		config->client_timeout_ms > 0 ? (config->client_timeout_ms + 999) / 1000 + 1 : LIMIT_TIMEOUT_S_MAX;
	server->max_connections = config->max_connections > 0 ? config->max_connections : connection_limit();
	r = open_listener(config->host, config->port, config->port_option, &listen_fd, err);
	if (r < 0)
		return r;

	MHD_set_panic_func(on_mhd_panic, NULL);
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		on_mhd_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_message, server, MHD_OPTION_LISTEN_SOCKET,
		listen_fd, MHD_COMPAT_SIGPIPE_OPTION, MHD_OPTION_NOTIFY_COMPLETED, on_mhd_completed, server,
		MHD_OPTION_NOTIFY_CONNECTION, on_mhd_connection, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, on_mhd_target, server, MHD_OPTION_CONNECTION_TIMEOUT, server->idle_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, LIMIT_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
		server->max_connections, MHD_OPTION_END);
	if (server->daemon == NULL) {
		fd_close(listen_fd);
		return err_set(err, -EIO, "cannot start the HTTP server");
	}
	server->listening = true;

	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return err_set(err, -EIO, "the HTTP server has no epoll descriptor");
	server->mhd_events.fd = info->epoll_fd;
	server->mhd_events.on_ready = on_mhd_events;
	server->mhd_events.context = server;
	r = loop_watch(loop, &server->mhd_events, EPOLLIN, err);
	if (r < 0)
		return r;
	if (!server->seldom)
		loop_set_before_wait(loop, pump, server);

	*ret_server = steal_ptr(&server);
	return 0;
}

/* Closing a listening socket resets the connections that wait in it: their clients believe them to be open, and may
 * have sent their requests. */
static void close_listener(struct http_server *server, int listen_fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd;

	while ((fd = accept4(listen_fd, (struct sockaddr *) &address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		(void) MHD_add_connection(server->daemon, fd, (struct sockaddr *) &address, length);
		length = sizeof(address);
	}
	fd_close(listen_fd);
}

void http_stop_listening(struct http_server *server)
{
	if (!server->listening)
		return;
	server->listening = false;
	server->stopped_ms = loop_now_ms();
	close_listener(server, (int) MHD_quiesce_daemon(server->daemon));
	loop_timer_clear(server->loop, &server->other_port_pause);
	loop_unwatch(server->loop, &server->other_port);
	if (server->other_port.fd >= 0)
		close_listener(server, server->other_port.fd);
	server->other_port.fd = -1;
}

static unsigned count_connections(const struct http_server *server)
{
	return MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

void http_describe(const struct http_server *server, struct http_description *ret_description)
{
	*ret_description = (struct http_description) {
		.connections = count_connections(server),
		.max_connections = server->max_connections,
		.pending = server->pending,
		.metrics = &server->metrics,
	};
}

bool http_is_idle(const struct http_server *server)
{
	enum { LINGER_MS = 50 }; /* for a request that was on its way to an open connection */

	if (server->pending > 0)
		return false;
	return server->listening || count_connections(server) == 0 || loop_now_ms() >= server->stopped_ms + LINGER_MS;
}

void http_free(struct http_server *server)
{
	if (server == NULL)
		return;
	if (server->daemon != NULL) {
		if (!server->seldom)
			loop_set_before_wait(server->loop, NULL, NULL);
		loop_unwatch(server->loop, &server->mhd_events);
		http_stop_listening(server);
		MHD_stop_daemon(server->daemon);
	}
	loop_timer_clear(server->loop, &server->turn);
	clients_done(&server->clients);
	loop_timer_clear(server->loop, &server->trim); /* requests that end with the daemon set it */
	free(server);
}
