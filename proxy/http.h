/*
 * HTTP in and out: the only file that knows libmicrohttpd.
 *
 * A server turns connections into struct http_request objects with their whole body, calls the owner once
 * for each, and sends one answer back, at once or later. While a request waits for its answer its connection
 * is suspended. Every answer carries Content-Length and is never compressed: the OpenWhisk invoker takes a
 * chunked, encoded or 204 answer for none.
 *
 * A request object belongs to the server and lives from on_request until http_answer() returns; the owner
 * must answer each exactly once. A client that goes away meanwhile is noticed when the answer is sent.
 */
#pragma once

#include "loop.h"

#include <stdbool.h>
#include <stdint.h>

struct http_server;
struct http_request;

struct http_callbacks {
	/* The header block has arrived; a long body has not been read yet. May answer, to refuse the request. */
	void (*on_headers)(void *context, struct http_request *request);
	/* The whole request has arrived. */
	void (*on_request)(void *context, struct http_request *request);
	void *context;
};

struct http_config {
	const char *host; /* numeric address or name; NULL or "" for all interfaces */
	const char *port;
	size_t max_body;            /* bytes; a longer body is answered 413 */
	const char *port_option;    /* what the port comes from, for messages */
	unsigned max_connections;   /* 0: as many as the limit of open files allows */
	unsigned client_timeout_ms; /* see clients.h; 0: none */
	/* Works only when something has come for it, instead of in every turn of the loop: for a second server, seldom
	 * asked, whose owner answers at once. */
	bool seldom;
};

enum { HTTP_STATUSES = 600 };

/* What has been, since the start. */
struct http_metrics {
	uint64_t answers[HTTP_STATUSES]; /* by status; those that libmicrohttpd gives by itself are among them */
	uint64_t gone_early;             /* clients that went away before the end of their request */
	uint64_t gone_late;              /* or before the end of its answer */
};

/* What is now. */
struct http_description {
	unsigned connections;
	unsigned max_connections;
	size_t pending; /* requests that wait for their answers */
	const struct http_metrics *metrics;
};

/* An answer's body: bytes that free() releases. */
struct http_body {
	char *data;
	size_t length;
};

enum http_status {
	HTTP_OK = 200,
	HTTP_ACCEPTED = 202,
	HTTP_NO_CONTENT = 204,
	HTTP_BAD_REQUEST = 400,
	HTTP_FORBIDDEN = 403,
	HTTP_NOT_FOUND = 404,
	HTTP_METHOD_NOT_ALLOWED = 405,
	HTTP_REQUEST_TIMEOUT = 408,
	HTTP_CONTENT_TOO_LARGE = 413,
	HTTP_URI_TOO_LONG = 414,
	HTTP_TOO_MANY_REQUESTS = 429,
	HTTP_INTERNAL_SERVER_ERROR = 500,
	HTTP_BAD_GATEWAY = 502,
	HTTP_SERVICE_UNAVAILABLE = 503,
};

/* Listens and serves inside loop (takes over its before-wait hook, unless it is seldom asked). Does not answer anything before
 * loop_run(). callbacks are copied. */
int http_start(struct http_server **ret_server, struct loop *loop, const struct http_config *config,
	const struct http_callbacks *callbacks, struct err *err) UTIL_MUST_CHECK;

/* Listens on one more port; port_option is what it comes from. */
int http_listen_also(struct http_server *server, const char *host, const char *port, const char *port_option,
	struct err *err) UTIL_MUST_CHECK;

/* Refuses new connections; what has been accepted goes on. */
void http_stop_listening(struct http_server *server);

/* True when no request waits for its answer or has its answer under way. */
bool http_is_idle(const struct http_server *server);

/* The metrics are the server's. */
void http_describe(const struct http_server *server, struct http_description *ret_description);

/* Closes everything. Every request must have been answered. */
void http_free(struct http_server *server);

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);
/* The value of a header, NULL when absent; belongs to the request. */
const char *http_header(const struct http_request *request, const char *name);

/* Calls visit for each header. */
void http_each_header(const struct http_request *request,
	void (*visit)(void *context, const char *name, const char *value), void *context);
/* The query, "a=1&b=2", encoded again; for free(), NULL when out of memory. */
char *http_make_query(const struct http_request *request);

/* The body, ended by a NUL that its length does not count. Never NULL in on_request. */
char *http_request_body(struct http_request *request, size_t *ret_length);
/* As above, and the caller owns it: free(). There is room for one more byte beyond the length. */
char *http_steal_body(struct http_request *request, size_t *ret_length);

/* Adds a header to the answer to come, HTTP_HEADERS_MAX for each request. Name and value are copied. Dropped when out
 * of memory, and when they are none that HTTP allows. */
void http_set_header(struct http_request *request, const char *name, const char *value);

enum { HTTP_HEADERS_MAX = 64 };

/* Answers with body, whose data it takes over in every case. The content type of one that is not empty is
 * application/json where no header says otherwise. */
void http_answer(struct http_request *request, enum http_status status, struct http_body body);

/* Answers with {"error": text}. */
void http_answer_error(struct http_request *request, enum http_status status, const char *format, ...)
	UTIL_PRINTF(3, 4);
