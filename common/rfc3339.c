#include "rfc3339.h"

#include <stdio.h>

void rfc3339_write(char text[RFC3339_SIZE], const struct timespec *when)
{
	struct tm utc = { 0 };
	size_t length;

	(void) gmtime_r(&when->tv_sec, &utc);
	length = strftime(text, RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	(void) snprintf(text + length, RFC3339_SIZE - length, ".%03ldZ", when->tv_nsec / 1000000);
}

void rfc3339_write_now(char text[RFC3339_SIZE])
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	rfc3339_write(text, &now);
}
