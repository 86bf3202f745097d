/*
 * How a door hands the runner an event that it has not looked into: the message's JSON text and then the event's, each
 * behind a record separator, as in RFC 7464, on one line (docs/protocol.md, "Between proxy and runner").
 */
#pragma once

enum {
	WIRE_RECORD_SEPARATOR = 0x1e,
	WIRE_NEWLINE = '\v', /* stands for a newline in the event, which has no such character of its own */
};
