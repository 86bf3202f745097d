/*
 * How long a server waits for its clients.
 *
 * A client has a time to send the header block of a request, counted from the connection or from the end of the answer
 * before. After that, in each such time it has to send LIMIT_CLIENT_BYTES more of the body or all that is left of it, and
 * to take as many of the answer. So one that sends or reads a byte now and then cannot keep its connection, and what is
 * held for it; one on a slow line can. While the function works nothing is expected of a client.
 */
#pragma once

#include "loop.h"

#include <stdbool.h>

enum client_phase {
	CLIENT_IDLE,      /* no request, or the header block of one is arriving */
	CLIENT_SENDING,   /* a body is arriving */
	CLIENT_RECEIVING, /* an answer is leaving */
	CLIENT_WAITING,   /* for the function */
};

/* One connection. Embedded in its user's struct. */
struct client {
	int fd;
	enum client_phase phase;
	uint64_t
		moved; /* of the body in this time: its user adds to it; of the answer: bytes that the client has taken */
	uint64_t due_ms;
	struct client *previous, *next;
};

struct clients {
	struct loop *loop;
	unsigned timeout_ms; /* 0: never */
	/* The time of client in that phase is over. It is not in clients any more. */
	void (*on_late)(void *context, struct client *client, enum client_phase phase);
	void *context;
	struct client *first[CLIENT_WAITING], *last[CLIENT_WAITING];
	struct timer timer;
};

/* Fill loop, timeout_ms, on_late and context beforehand. */
void clients_init(struct clients *clients);
/* Frees nothing: clients belong to their user. */
void clients_done(struct clients *clients);

/* A new client, whose fd is set. Its time as CLIENT_IDLE begins. */
void clients_add(struct clients *clients, struct client *client);
/* Its time in the next phase begins. */
void clients_enter(struct clients *clients, struct client *client, enum client_phase phase);
/* Nothing is expected of it any more. May be repeated. */
void clients_remove(struct clients *clients, struct client *client);

/* The one that has been longest in a phase other than CLIENT_WAITING; NULL for none. */
struct client *clients_oldest(const struct clients *clients, enum client_phase phase);

/* Bytes that the socket has received, and of which its peer has confirmed the receipt; false where that is not to be
 * known. */
bool client_count_bytes(const struct client *client, uint64_t *ret_received, uint64_t *ret_taken);
