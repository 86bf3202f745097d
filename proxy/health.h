/* pyaction --health: a container's health check that needs no other program in the image. */
#pragma once

#include "../common/err.h"

/* Connects to the server that listens with these options, and closes: what OpenWhisk's invoker does, and it disturbs no
 * function. Returns 0, or -errno with a sentence. */
int health_check(const char *host, const char *port, struct err *err) UTIL_MUST_CHECK;
