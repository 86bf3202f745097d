#include "../../proxy/health.h"

#include "tap.h"
#include "tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

/* Listens at a port of the system's choice, for as many as backlog. */
static int listen_at(const char *address, int backlog, char port[8])
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	socklen_t size = sizeof(here);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void) inet_pton(AF_INET, address, &here.sin_addr);
	if (bind(fd, (struct sockaddr *) &here, sizeof(here)) < 0 || listen(fd, backlog) < 0 ||
		getsockname(fd, (struct sockaddr *) &here, &size) < 0)
		bail_out("cannot listen at %s", address);
	(void) snprintf(port, 8, "%u", ntohs(here.sin_port));
	return fd;
}

static void check_there(const char *address, const char *host)
{
	struct err err = { .text = "" };
	char port[8], byte;
	int fd = listen_at(address, 5, port), connection = -1, r = -1;

	/* A machine that is busy with connections may lose a packet for a second. */
	for (int i = 0; i < 5 && r != 0; i++)
		r = health_check(host, port, &err);
	ok(r == 0, "a server at %s, as %s (%s)", address, host, err.text);
	if (r == 0)
		connection = accept(fd, NULL, NULL);
	ok(connection >= 0 && read(connection, &byte, 1) == 0, "... is connected to, and told nothing");
	fd_close(connection);
	(void) close(fd);
}

static void check_not_there(const char *host, const char *said)
{
	struct err err = { .text = "" };
	char port[8], wanted[200];

	(void) close(listen_at("127.0.0.1", 5, port));
	(void) snprintf(wanted, sizeof(wanted), "no server answers at %s, port %s: Connection refused", said, port);
	ok(tap_is_int(health_check(host, port, &err), -ECONNREFUSED) && tap_is_str(err.text, wanted), "no server at %s",
		host);
}

/* A server that takes nobody any more: the system holds the connections that wait for it, one more than it asked for,
 * and does not answer others. */
static void test_stuck(void)
{
	struct err err = { .text = "" };
	char port[8], wanted[200];
	int fd = listen_at("127.0.0.1", 0, port);
	struct timespec before, after;
	double seconds;
	int first;

	first = health_check("127.0.0.1", port, &err);
	(void) clock_gettime(CLOCK_MONOTONIC, &before);
	(void) snprintf(wanted, sizeof(wanted), "no server answers at 127.0.0.1, port %s: Connection timed out", port);
	ok(first == 0 && tap_is_int(health_check("127.0.0.1", port, &err), -ETIMEDOUT) && tap_is_str(err.text, wanted),
		"a server that is stuck");
	(void) clock_gettime(CLOCK_MONOTONIC, &after);
	seconds = (double) (after.tv_sec - before.tv_sec) + (double) (after.tv_nsec - before.tv_nsec) / 1e9;
	ok(seconds >= 0.9 && seconds < 10, "... is waited for a second (%.2f)", seconds);
	(void) close(fd);
}

static void test_bad_host(void)
{
	struct err err = { .text = "" };

	is_int(health_check("no host", "80", &err), -EINVAL, "a host that is none");
	ok(strncmp(err.text, "cannot use host 'no host' (--host, PYACTION_HOST): ", 51) == 0, "... is said: %s",
		err.text);
}

int main(void)
{
	int fds = count_open_fds();

	check_there("127.0.0.1", "127.0.0.1");
	check_there("127.0.0.1", "0.0.0.0"); /* where it listens at all addresses */
	check_there("0.0.0.0", "127.0.0.1");
	check_there("127.0.0.2", "127.0.0.2");
	check_not_there("127.0.0.1", "127.0.0.1");
	check_not_there("0.0.0.0", "127.0.0.1");
	test_stuck();
	test_bad_host();
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
