#include "clients.h"

#include "limits.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* All in a list have the same time, so they are in the order in which it ends. */
static void append(struct clients *clients, struct client *client)
{
	enum client_phase phase = client->phase;

	client->due_ms = loop_now_ms() + clients->timeout_ms;
	client->next = NULL;
	client->previous = clients->last[phase];
	if (client->previous != NULL)
		client->previous->next = client;
	else
		clients->first[phase] = client;
	clients->last[phase] = client;
	/* One that is set is due earlier. That its client may have gone by then costs less than setting it each time. */
	if (clients->timeout_ms > 0 && !clients->timer.set)
		loop_timer_set(clients->loop, &clients->timer, client->due_ms);
}

void clients_remove(struct clients *clients, struct client *client)
{
	enum client_phase phase = client->phase;

	if (phase == CLIENT_WAITING)
		return;
	if (client->previous != NULL)
		client->previous->next = client->next;
	else
		clients->first[phase] = client->next;
	if (client->next != NULL)
		client->next->previous = client->previous;
	else
		clients->last[phase] = client->previous;
	client->phase = CLIENT_WAITING;
}

void clients_add(struct clients *clients, struct client *client)
{
	client->phase = CLIENT_WAITING;
	clients_enter(clients, client, CLIENT_IDLE);
}

void clients_enter(struct clients *clients, struct client *client, enum client_phase phase)
{
	clients_remove(clients, client);
	client->phase = phase;
	client->moved = 0;
	if (phase != CLIENT_WAITING)
		append(clients, client);
}

struct client *clients_oldest(const struct clients *clients, enum client_phase phase)
{
	return clients->first[phase];
}

bool client_count_bytes(const struct client *client, uint64_t *ret_received, uint64_t *ret_taken)
{
	struct tcp_info info = { 0 };
	socklen_t length = sizeof(info);

	if (getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ||
		length < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
		return false;
	*ret_received = info.tcpi_bytes_received;
	*ret_taken = info.tcpi_bytes_acked;
	return true;
}

/* What it took before the answer counts, too, the first time: nobody looked how much that was. */
static bool takes_enough(struct client *client)
{
	uint64_t received, taken, before = client->moved;

	if (!client_count_bytes(client, &received, &taken))
		return true;
	client->moved = taken;
	return taken - before >= LIMIT_CLIENT_BYTES;
}

static bool sends_enough(struct client *client)
{
	bool enough = client->moved >= LIMIT_CLIENT_BYTES;

	client->moved = 0;
	return enough;
}

static void take_late(struct clients *clients, struct client *client)
{
	enum client_phase phase = client->phase;
	bool enough = (phase == CLIENT_SENDING && sends_enough(client)) ||
		(phase == CLIENT_RECEIVING && takes_enough(client));

	clients_remove(clients, client);
	client->phase = phase;
	if (enough) {
		append(clients, client);
		return;
	}
	client->phase = CLIENT_WAITING;
	clients->on_late(clients->context, client, phase);
}

static void on_timer(void *context)
{
	struct clients *clients = context;
	uint64_t now_ms = loop_now_ms(), next_ms = UINT64_MAX;

	for (enum client_phase phase = 0; phase < CLIENT_WAITING; phase++) {
		while (clients->first[phase] != NULL && clients->first[phase]->due_ms <= now_ms)
			take_late(clients, clients->first[phase]);
		if (clients->first[phase] != NULL && clients->first[phase]->due_ms < next_ms)
			next_ms = clients->first[phase]->due_ms;
	}
	if (next_ms != UINT64_MAX)
		loop_timer_set(clients->loop, &clients->timer, next_ms);
}

void clients_init(struct clients *clients)
{
	clients->timer = (struct timer) { .on_due = on_timer, .context = clients };
}

void clients_done(struct clients *clients)
{
	loop_timer_clear(clients->loop, &clients->timer);
}
