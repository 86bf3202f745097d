/* Every difference between the libmicrohttpd versions this tree supports: 0.9.72 (Debian 11), 0.9.75
 * (Debian 12), 1.0 (Debian 13). */
#pragma once

#include <microhttpd.h>

#if MHD_VERSION < 0x00097200
#error "libmicrohttpd 0.9.72 or newer is needed"
#endif

/* The option came with 0.9.72.05; without it MHD ignores SIGPIPE only in its own threads, and main() has
 * it ignored anyway. */
#if MHD_VERSION >= 0x00097205
#define MHD_COMPAT_SIGPIPE_OPTION MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1
#else
#define MHD_COMPAT_SIGPIPE_OPTION MHD_OPTION_STRICT_FOR_CLIENT, 0
#endif

/* Until 0.9.73 a header is sent before those that were added to the response earlier. */
#define MHD_COMPAT_HEADERS_REVERSED (MHD_VERSION < 0x00097302)
