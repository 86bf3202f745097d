#include "../../common/err.h"

#include "tap.h"

/* After err_set() and the like: the sentence must end inside of the array. */
static bool is_terminated(const struct err *err)
{
	return memchr(err->text, '\0', sizeof(err->text)) != NULL;
}

static void test_texts(void)
{
	struct err err;

	memset(&err, 'x', sizeof(err));
	is_int(err_set(&err, -EINVAL, "the %s is %d", "answer", 42), -EINVAL, "err_set returns its code");
	is_str(err.text, "the answer is 42", "err_set formats, over whatever was there");

	memset(&err, 'x', sizeof(err));
	is_int(err_errno(&err, -ENOENT, "cannot open '%s'", "a"), -ENOENT, "err_errno returns its code");
	is_str(err.text, "cannot open 'a': No such file or directory", "err_errno appends the text of the errno");

	is_int(err_wrap(&err, -EIO, "cannot start %s", "it"), -EIO, "err_wrap returns its code");
	is_str(err.text, "cannot start it: cannot open 'a': No such file or directory",
		"err_wrap puts context in front");

	(void) err_set(&err, -EINVAL, "%s", "100%s %n");
	is_str(err.text, "100%s %n", "a text is no format");
	(void) err_wrap(&err, -EINVAL, "outer");
	is_str(err.text, "outer: 100%s %n", "neither is the inner one");
}

static void test_long_texts(void)
{
	char text[2 * ERR_TEXT_MAX];
	struct err err;

	for (size_t length = ERR_TEXT_MAX - 45; length < ERR_TEXT_MAX + 3; length++) {
		size_t kept = length < ERR_TEXT_MAX ? length : ERR_TEXT_MAX - 1;
		bool holds;

		memset(text, 'a', length);
		text[length] = '\0';
		(void) err_set(&err, -EINVAL, "%s", text);
		holds = is_terminated(&err) && strlen(err.text) == kept;
		(void) err_errno(&err, -ENOENT, "%s", text);
		holds = holds && is_terminated(&err) && strncmp(err.text, text, kept) == 0;
		(void) err_wrap(&err, -ENOENT, "%s", text);
		holds = holds && is_terminated(&err) && strncmp(err.text, text, kept) == 0;
		if (!holds) {
			ok(false, "a text of %zu bytes is cut at the end of the array", length);
			return;
		}
	}
	ok(true, "a text of any length around the limit is cut at the end of the array");
}

/* The locals that err.h's util.h gives to everybody. */
static void test_ownership(void)
{
	int pipe_fds[2], kept;
	char *text = strdup("text"), *taken = steal_ptr(&text);

	ok(text == NULL && strcmp(taken, "text") == 0, "steal_ptr empties its source");
	free(taken);
	if (pipe(pipe_fds) < 0)
		bail_out("no pipe");
	{
		cleanup_fd int closed = pipe_fds[0];
		cleanup_fd int stolen = pipe_fds[1];

		ok(fcntl(closed, F_GETFD) >= 0, "the descriptor is open in its scope");
		kept = steal_fd(&stolen);
		is_int(stolen, -1, "steal_fd empties its source");
		errno = ENOTTY;
	}
	fd_close(kept + 1000); /* fails */
	is_int(errno, ENOTTY, "closing keeps errno");
	ok(fcntl(pipe_fds[0], F_GETFD) < 0, "a cleanup_fd is closed at the end of its scope");
	ok(fcntl(kept, F_GETFD) >= 0, "a stolen one is not");
	fd_closep(&kept);
	is_int(kept, -1, "fd_closep empties the variable");
}

int main(void)
{
	test_texts();
	test_long_texts();
	test_ownership();
	return done_testing();
}
