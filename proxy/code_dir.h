/*
 * The directory a function's code is unpacked to: made, filled, and removed again.
 *
 * Everything below it may be written by hostile code, which may even put something else in its place; it is written
 * to and removed with the rights of that code's user, through descriptors, never through a symbolic link.
 */
#pragma once

#include "loop.h"
#include "remover.h"
#include "user.h"

struct code_dir;

/* Makes a fresh directory, mode 0700, below parent. It is the user's, and so is all that is put into it, by whom it is
 * also removed; NULL for ourselves. user must outlive it, and so must the remover (NULL for none) its directories. */
int code_dir_new(struct code_dir **ret_dir, const char *parent, const struct user *user, struct remover *remover,
	struct err *err) UTIL_MUST_CHECK;

/* Removes the directory and all in it, as far as that is possible: what takes longer than a moment, by and by, where there
 * is a remover. NULL is allowed. */
void code_dir_free(struct code_dir *dir);

const char *code_dir_path(const struct code_dir *dir);

/* Writes name with mode 0644 into it. */
int code_dir_write(
	struct code_dir *dir, const char *name, const char *data, size_t length, struct err *err) UTIL_MUST_CHECK;

/*
 * Unpacks a zip archive into it: starts the program unpacker and calls on_done from the loop, with NULL or
 * with a sentence that says what is wrong with the archive. The archive is copied before this returns.
 * code_dir_free() before on_done stops it; on_done is then not called.
 */
int code_dir_unpack(struct code_dir *dir, struct loop *loop, const char *unpacker, const char *archive, size_t length,
	void (*on_done)(void *context, const char *problem), void *context, struct err *err) UTIL_MUST_CHECK;
