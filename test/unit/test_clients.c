#include "../../proxy/clients.h"
#include "../../proxy/limits.h"

#include "clock.h"
#include "loop_run.h"
#include "tap.h"

#include <arpa/inet.h>
#include <sys/socket.h>

enum { TIME_MS = 3600000 };

static struct clients clients;
static struct client *late[8];
static enum client_phase late_phases[8];
static size_t late_count;

static void on_late(void *context, struct client *client, enum client_phase phase)
{
	(void) context;
	if (late_count == 8)
		bail_out("too many are late");
	late[late_count] = client;
	late_phases[late_count++] = phase;
}

static void set_up(unsigned timeout_ms)
{
	clients = (struct clients) { .loop = make_loop(), .timeout_ms = timeout_ms, .on_late = on_late };
	late_count = 0;
	clients_init(&clients);
}

static void tear_down(void)
{
	clients_done(&clients);
	loop_free(clients.loop);
}

static void pass(uint64_t ms)
{
	advance_clock(ms);
	run_ms(clients.loop, 1);
	run_ms(clients.loop, 1); /* the first may be over by the clock before its timers are looked at */
}

static void test_idle(void)
{
	struct client first = { .fd = -1 }, second = { .fd = -1 }, waiting = { .fd = -1 }, gone = { .fd = -1 };

	set_up(TIME_MS);
	clients_add(&clients, &first);
	clients_add(&clients, &waiting);
	clients_add(&clients, &gone);
	clients_add(&clients, &second);
	ok(clients_oldest(&clients, CLIENT_IDLE) == &first && clients_oldest(&clients, CLIENT_SENDING) == NULL,
		"the oldest of a phase");
	clients_enter(&clients, &waiting, CLIENT_WAITING);
	clients_remove(&clients, &gone);
	clients_remove(&clients, &gone);
	pass(TIME_MS);
	is_int(late_count, 2, "they are late");
	ok(late[0] == &first && late[1] == &second && late_phases[0] == CLIENT_IDLE, "... in order");
	ok(clients_oldest(&clients, CLIENT_IDLE) == NULL, "... and forgotten");
	pass(2 * TIME_MS);
	is_int(late_count, 2, "one that waits for its answer never is, nor one that has gone");
	clients_enter(&clients, &waiting, CLIENT_IDLE);
	pass(TIME_MS);
	ok(late_count == 3 && late[2] == &waiting, "... before it is idle again");
	tear_down();
}

static void test_each_phase_has_its_time(void)
{
	struct client client = { .fd = -1 };

	set_up(TIME_MS);
	clients_add(&clients, &client);
	for (int i = 0; i < 6; i++) {
		pass(TIME_MS / 4 * 3);
		clients_enter(&clients, &client, i % 2 == 0 ? CLIENT_SENDING : CLIENT_IDLE);
	}
	is_int(late_count, 0, "the time of a phase begins with it");
	pass(TIME_MS);
	ok(late_count == 1 && late_phases[0] == CLIENT_IDLE, "... and ends");
	tear_down();
}

static void test_sending(void)
{
	struct client enough = { .fd = -1 }, little = { .fd = -1 };

	set_up(TIME_MS);
	clients_add(&clients, &enough);
	clients_add(&clients, &little);
	clients_enter(&clients, &enough, CLIENT_SENDING);
	clients_enter(&clients, &little, CLIENT_SENDING);
	enough.moved += LIMIT_CLIENT_BYTES;
	little.moved += LIMIT_CLIENT_BYTES - 1;
	pass(TIME_MS);
	ok(late_count == 1 && late[0] == &little && late_phases[0] == CLIENT_SENDING, "a byte less than there must be");
	pass(TIME_MS);
	ok(late_count == 2 && late[1] == &enough, "it has to be as much each time");
	tear_down();
}

/* Two ends of a TCP connection: what the peer takes is to be known only there. */
static void connect_pair(int *ret_ours, int *ret_theirs)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *) &address, length) < 0 || listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *) &address, &length) < 0 ||
		connect(*ret_theirs, (struct sockaddr *) &address, length) < 0)
		bail_out("no connection");
	*ret_ours = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	fd_close(listener);
}

/* Sends so much, which the peer takes. */
static void move(int ours, int theirs, size_t count)
{
	static char bytes[4096];

	for (; count > 0; count -= sizeof(bytes))
		if (write(ours, bytes, sizeof(bytes)) != sizeof(bytes) ||
			recv(theirs, bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes))
			bail_out("nothing goes through");
}

/* Until the kernel knows that so much has been taken. Returns what has been received. */
static uint64_t wait_for_receipt(const struct client *client, uint64_t count)
{
	uint64_t received = 0, taken = 0;

	for (int i = 0; i < 5000 && taken < count; i++) {
		if (!client_count_bytes(client, &received, &taken))
			bail_out("no TCP_INFO");
		(void) usleep(1000);
	}
	return received;
}

static void test_receiving(void)
{
	struct client client = { .fd = -1 };
	uint64_t received = 1, taken = 0;
	int theirs;

	set_up(TIME_MS);
	connect_pair(&client.fd, &theirs);
	move(client.fd, theirs, LIMIT_CLIENT_BYTES);
	ok(write(theirs, "hello", 5) == 5, "a peer says something");
	received = wait_for_receipt(&client, LIMIT_CLIENT_BYTES);
	is_int(received, 5, "what it says and takes is counted");
	clients_add(&clients, &client);
	clients_enter(&clients, &client, CLIENT_RECEIVING);
	pass(TIME_MS);
	is_int(late_count, 0, "the first time what it took before counts");
	move(client.fd, theirs, LIMIT_CLIENT_BYTES);
	wait_for_receipt(&client, 2 * LIMIT_CLIENT_BYTES);
	pass(TIME_MS);
	is_int(late_count, 0, "one that takes enough is not late");
	pass(TIME_MS);
	ok(late_count == 1 && late_phases[0] == CLIENT_RECEIVING, "one that does not is");
	fd_close(client.fd);
	fd_close(theirs);
	client.fd = -1;
	ok(!client_count_bytes(&client, &received, &taken), "of no socket nothing is known");
	tear_down();
}

static void test_never(void)
{
	struct client client = { .fd = -1 };

	set_up(0);
	clients_add(&clients, &client);
	pass(TIME_MS);
	is_int(late_count, 0, "without a time nobody is late");
	ok(clients_oldest(&clients, CLIENT_IDLE) == &client, "... and the oldest is known all the same");
	tear_down();
}

int main(void)
{
	test_idle();
	test_each_phase_has_its_time();
	test_sending();
	test_receiving();
	test_never();
	return done_testing();
}
