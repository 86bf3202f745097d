/* getaddrinfo(3), with lists that are freed at the end of their scope. */
#pragma once

#include <netdb.h>
#include <stddef.h>

static inline void addresses_freep(struct addrinfo **addresses)
{
	if (*addresses != NULL)
		freeaddrinfo(*addresses);
}

#define cleanup_addresses __attribute__((cleanup(addresses_freep)))
