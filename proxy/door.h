/*
 * The front doors: each translates one HTTP dialect into invocations of the function, and outcomes back.
 *
 * A door knows the platform whose dialect it speaks: its limits, its log lines, and its answers when an invocation
 * failed for a reason of the platform's (deadline, memory, process gone). Results and the function's own errors come
 * from the runner in the form of the function's convention, whatever the door.
 */
#pragma once

#include "function.h"
#include "http.h"

/* What has been, since the start, at all doors. */
struct door_metrics {
	uint64_t results_too_large; /* results that were not passed on */
};

/* What the doors lead to, and what the operator has set for all of them. */
struct building {
	struct door_metrics *metrics; /* NULL: nobody wants them */
	struct function *function;
	size_t max_request; /* bytes of an event, of a result; SIZE_MAX: the platform's own limit */
	size_t max_response;
	bool knative; /* whether there is the single entry point */
};

struct door {
	bool (*takes)(const struct building *building, const char *path);
	/* A request to a path that it takes, with POST. May answer, to refuse the request before its body is read;
	 * NULL when it never does. */
	void (*on_headers)(const struct building *building, struct http_request *request);
	void (*on_request)(const struct building *building, struct http_request *request);
};

extern const struct door openwhisk_door; /* /init and /run: openwhisk.c */
extern const struct door lambda_door;    /* AWS's Invoke API: lambda.c */
extern const struct door scf_door;       /* Tencent's custom images: scf.c */
extern const struct door knative_door;   /* OpenWhisk's single entry point: knative.c */

/* The /init body of a container that has its function in __OW_ACTION_* variables, for free(); NULL when it has none. */
char *knative_make_dedicated(size_t *ret_length);

/* An outcome of another convention as an action's, whose result is an object; and the answer of /init and /run. */
void openwhisk_make_object(struct outcome *outcome);
void openwhisk_answer(struct http_request *request, struct outcome *outcome);

/* building must outlive the server. */
struct http_callbacks doors_callbacks(struct building *building);

/* --- what they have in common ------------------------------------------------------------------------ */

enum { DOOR_ID_SIZE = 37 };

/* A random UUID (RFC 4122, version 4) as text. */
void door_make_id(char id[DOOR_ID_SIZE]);

/* Takes the request's body as the event, for free(); an empty one is {}, as the clouds have it. Its data is NULL when out
 * of memory. */
struct http_body door_take_event(struct http_request *request);

/*
 * The message to the runner about an event: {"activation_id": id, "deadline": …, details, "pyaction": {…}}, and behind
 * it the event as it is (common/wire.h): the runner finds out whether it is JSON. One with a vertical tab goes as the
 * member "body" of "pyaction", in base64. details is text of further members, each with a comma in front;
 * pyaction_details are members, with commas between them. event is taken over in every case. Returns the message, for
 * free(), with room for one byte more, or NULL when out of memory.
 */
char *door_make_message(const char *id, const struct limits *limits, const char *details, const char *pyaction_details,
	struct http_body *event, size_t *ret_length);

/* For read_id(): the activation_id of an object, where text is one that has it as a string; else id stays as it is. */
void door_copy_id(const char *text, size_t length, char id[PLATFORM_ID_SIZE]);

/* Adds "name": "text" to members that out writes, with a comma in front of all but the first; nothing for NULL. */
void door_write_member(FILE *out, const char *name, const char *text);

/* The size in bytes of what door_take_payload() will return. */
size_t door_payload_size(const struct outcome *outcome);

/* Makes an event a part of one line: between JSON's tokens a newline is white space, and so is a carriage return; inside
 * a string both are errors. */
void door_put_on_one_line(struct http_body *event);

/* Counts a result that is larger than max_response bytes, and tells the log; id is the call's. */
void door_note_too_large(
	const struct building *building, const char *id, const struct outcome *outcome, size_t max_response);

/* The outcome's payload as an answer's body: as it is, or decoded where it is base64. Empties the outcome. */
struct http_body door_take_payload(struct outcome *outcome);
