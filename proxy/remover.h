/*
 * Removes directories that hostile code has filled, without making anybody wait for it.
 *
 * What is in them may take the system minutes: a million files, a file in a million pieces, folders nested deeper than a
 * path may be long. So a removal is done in steps, each of them short: for a moment at once, then now and then from the
 * loop, and at the end of the server as long as it has time. It has the rights of the directory's user, goes through
 * descriptors, and never follows a symbolic link.
 */
#pragma once

#include "loop.h"
#include "user.h"

#include <dirent.h>

/* A directory to be removed. Fill path, user and on_end; it is embedded in its user's struct. */
struct removal {
	const char *path;
	const struct user *user; /* NULL for ourselves */
	/* It has ended, and may be freed; the directory is gone, as far as that is possible. */
	void (*on_end)(struct removal *removal);

	DIR *root;
	DIR *inner; /* the directory below it that is being emptied, NULL for none */
	char inner_name[256];
	unsigned moved; /* directories, up to the root */
	bool progress;  /* something has been removed or moved since the root was read from its begin */
	struct removal *next;
};

/* Those that are under way. */
struct remover {
	struct loop *loop;
	struct timer timer;
	struct removal *first;
};

void remover_init(struct remover *remover, struct loop *loop);

/* Begins a removal, and ends it, if a moment is enough. remover may be NULL: then it takes the time that it takes. */
void remover_add(struct remover *remover, struct removal *removal);

/* Goes on with all of them until they have ended or until_ms of loop_now_ms() has come, then ends them as they are. What
 * is left of a directory stays, and the log says where. Steps take 0.1 s at most. */
void remover_finish(struct remover *remover, uint64_t until_ms);
