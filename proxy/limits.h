/*
 * Every size that somebody outside decides, in one place. What a limit does when it is passed stands with
 * it; docs/protocol.md lists the same for users.
 */
#pragma once

#include <stddef.h>

/* Body of a request: 413. DigitalOcean and OpenWhisk take 48 MB of code, which is 64 MB of base64. */
#define LIMIT_BODY_DEFAULT ((size_t) 80 << 20)
#define LIMIT_BODY_MAX ((size_t) 1 << 30)

/* Bytes discarded of a body that grew over its limit without having announced it, before the connection
 * is closed instead of being answered with a 413; a multiple of the body limit. */
#define LIMIT_DISCARD_FACTOR 4

/* What an archive may unpack to: 502 at /init. */
#define LIMIT_UNPACKED ((size_t) 1 << 30)
#define LIMIT_ARCHIVE_ENTRIES 200000
#define LIMIT_LINK_TARGET 4096

/* An archive below this holds too little source for a process that compiles it to be worth its start: less than
 * 60 KB, compressed to a fifth. */
#define LIMIT_SMALL_ARCHIVE ((size_t) 12 << 10)

/* One reply of the runner; a longer one is a crashed activation. Results are passed on whole, so this only
 * guards the proxy against a runner gone wild. */
#define LIMIT_REPLY_MAX ((size_t) 1 << 30)

/* A body up to this size is read even if the request will be refused: the connection can go on then. */
#define LIMIT_REFUSED_BODY ((size_t) 64 << 10)

/* --client-timeout: the time in which a client has to send the header block of a request, and in each of which it has to
 * send so much of a body, or all that is left, and to take so much of an answer: 408, or the end of the connection. It
 * is a line of 4.4 kbit/s. */
#define LIMIT_CLIENT_TIMEOUT_S 120
#define LIMIT_CLIENT_BYTES ((size_t) 64 << 10)

/* Bodies of all requests that have not been answered yet, and answers that have not been taken, together; or, where that
 * is more, so many of the largest bodies. A body beyond it is answered 503, if it is larger than LIMIT_REFUSED_BODY; for
 * an answer, the client that has been reading for longest loses its own. */
#define LIMIT_HELD ((size_t) 320 << 20)
#define LIMIT_HELD_BODIES 4

/* Arguments in a query: 414. libmicrohttpd 0.9 has room for 256 and a few, and with more it never answers. */
#define LIMIT_QUERY_ARGUMENTS 100

/* Bytes of a body that libmicrohttpd may hold back while it does nothing but turn: it waits for the end of a line with
 * the size of a chunk for which there is no room. 400. */
#define LIMIT_CHUNK_LINE 512

/* What AWS's Invoke API takes and returns where --max-request and --max-response say nothing else (Lambda quotas; the
 * response limit is the emulator's): 413, and the error type Function.ResponseSizeTooLarge. */
#define LIMIT_LAMBDA_REQUEST ((size_t) 6 << 20)
#define LIMIT_LAMBDA_EVENT ((size_t) 1 << 20)
#define LIMIT_LAMBDA_RESPONSE (((size_t) 6 << 20) + 100)

/* What SCF takes and returns: 406 and 407 (its status codes page). */
#define LIMIT_SCF_REQUEST ((size_t) 6 << 20)
#define LIMIT_SCF_RESPONSE ((size_t) 6 << 20)

/* Of a result, in a line of SCF's log. */
#define LIMIT_SCF_LOGGED 8192

/* The largest --timeout, SCF's longest; the largest --memory. */
#define LIMIT_TIMEOUT_S_MAX 86400
#define LIMIT_MEMORY_MB_MAX 4000000

/* Where an invocation has a time limit, loading the code has it too, but not less than this: Lambda's. */
#define LIMIT_INIT_MS 10000

/* How often to look at the memory of a function that has a limit. */
#define LIMIT_MEMORY_LOOK_MS 20

/* Requests that wait for the function; more are answered 429. */
#define LIMIT_QUEUE 4096

/* Memory MHD may use for one connection: header block, and the chunk in which bodies arrive. It is zeroed for
 * each request, and comes from mmap when it is larger than this: 60 us for each new connection (measured). */
#define LIMIT_CONNECTION_MEMORY ((size_t) 32 << 10)

/* A line of the proxy's own log, its newline included: longer ones are cut. Not above PIPE_BUF, 4096: what is written
 * to a pipe in one piece. */
#define LIMIT_LOG_LINE 4096

/* The status port: connections at a time (further ones wait in the backlog), what is sent to it, and how long a
 * connection may be silent. Small, for each of them takes from what the function's callers may have. */
#define LIMIT_STATUS_CONNECTIONS 16
#define LIMIT_STATUS_BODY ((size_t) 4096)
#define LIMIT_STATUS_IDLE_S 10
