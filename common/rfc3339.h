/*
 * Points in time as text: RFC 3339, in UTC, with milliseconds.
 */
#pragma once

#include <time.h>

enum { RFC3339_SIZE = 64 };

/* "2026-11-20T15:41:55.429Z"; when is of CLOCK_REALTIME. */
void rfc3339_write(char text[RFC3339_SIZE], const struct timespec *when);

/* As above, of now. */
void rfc3339_write_now(char text[RFC3339_SIZE]);
