#include "health.h"

#include "../common/util.h"
#include "addresses.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 1000 };

/* 0, or a negative errno. */
static int connect_in_time(const struct addrinfo *address)
{
	cleanup_fd int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(int);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&poll_fd, 1, TIMEOUT_MS) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

int health_check(const char *host, const char *port, struct err *err)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	cleanup_addresses struct addrinfo *addresses = NULL;
	int r;

	if (strcmp(host, "0.0.0.0") == 0)
		host = "127.0.0.1";
	else if (strcmp(host, "::") == 0)
		host = "::1";
	r = getaddrinfo(host, port, &hints, &addresses);
	if (r != 0)
		return err_set(err, -EINVAL, "cannot use host '%s' (--host, PYACTION_HOST): %s", host, gai_strerror(r));
	r = connect_in_time(addresses);
	if (r < 0)
		return err_errno(err, r, "no server answers at %s, port %s", host, port);
	return 0;
}
