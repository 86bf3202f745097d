/*
 * The OpenWhisk front door: POST /init and POST /run, as the OpenWhisk invoker and DigitalOcean's platform
 * speak them. Translates requests to invocations and outcomes to answers; docs/protocol.md has the table.
 */
#pragma once

#include "function.h"
#include "http.h"

/* Callbacks for http_start(); the context is the function. */
struct http_callbacks openwhisk_callbacks(struct function *function);
