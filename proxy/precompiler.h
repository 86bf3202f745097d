/*
 * A second processor for the import of a large function.
 *
 * Nearly all of the time that the first import of many modules takes goes into compiling them. While the runner
 * imports, the program pyprecompile compiles the modules that are likely to be needed last, and leaves bytecode where
 * the import looks for it anyway. It is started when unpacking begins, for its start takes as long as that.
 *
 * The function meets nothing of it but the bytecode: it is a child of this process, not of the runner.
 */
#pragma once

#include "loop.h"
#include "user.h"

struct precompiler;

/* Starts program, as the user or, where that is NULL, as ourselves, for the modules below directory; handler as in
 * the init message. Not begun yet.
 * Returns 0; -ENOTSUP where it would be of no use: with one processor, or where Python is to use other bytecode than
 * the ordinary, or none; or the -errno of the start. */
int precompiler_start(struct precompiler **ret_precompiler, struct loop *loop, const char *program,
	const struct user *user, const char *directory, const char *handler, struct err *err) UTIL_MUST_CHECK;

/* The directory is complete. */
void precompiler_begin(struct precompiler *precompiler);

/* The import is over: it finishes the file it is at, and ends. */
void precompiler_stop(struct precompiler *precompiler);

/* Returns when the process is gone, killed if need be: it writes nothing to the directory any more (but see
 * spawn_kill()). NULL is allowed. */
void precompiler_free(struct precompiler *precompiler);
