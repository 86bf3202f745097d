#include "../../proxy/text.h"

#include "fail_calls.h"
#include "tap.h"

static void test_empty(void)
{
	struct text text;
	size_t length = 1;
	char *got;

	ok(text_open(&text) != NULL, "a text");
	got = text_close(&text, &length);
	is_mem(got, length, "", 0, "... of nothing");
	ok(got != NULL && got[0] == '\0', "... with its NUL");
	free(got);
}

static void test_pieces(void)
{
	enum { PIECES = 3000 };
	struct text text;
	FILE *out = text_open(&text);
	size_t length = 0, wanted = 0;
	bool right = true;
	char *got;

	right = right && ftell(out) == 0;
	for (int i = 0; i < PIECES; i++) {
		wanted += (size_t) fprintf(out, "%d,", i);
		right = right && ftell(out) == (long) wanted;
	}
	ok(right, "ftell() says how much has been written");
	ok(fseek(out, 3, SEEK_SET) < 0, "there is no way back");
	(void) fwrite("\0end", 1, 4, out);
	got = text_close(&text, &length);
	is_int(length, wanted + 4, "all of it is there");
	ok(got != NULL && memcmp(got, "0,1,2,", 6) == 0 && memcmp(got + wanted - 5, "2999,\0end", 10) == 0,
		"... in order, with NUL and all");
	free(got);
}

/* Writes a text of several times any buffer, in pieces. Returns whether it is whole, or true where there is none. */
static bool write_letters(bool *ret_there)
{
	enum { LETTERS = 100000 };
	struct text text;
	FILE *out = text_open(&text);
	size_t length = 0;
	bool whole = true;
	char *got;

	for (int i = 0; out != NULL && i < LETTERS; i++)
		(void) fputc('a' + i % 26, out);
	got = text_close(&text, &length);
	*ret_there = got != NULL;
	for (size_t i = 0; got != NULL && i < length; i++)
		whole = whole && got[i] == (char) ('a' + i % 26);
	whole = whole && (got == NULL || (length == LETTERS && got[length] == '\0'));
	free(got);
	return whole;
}

/* One refusal, with memory to be had again after it, is where a hole would come from. */
static void test_no_memory(void)
{
	bool whole = true, there = true, missing = true;
	unsigned n = 0;

	for (const char *failed = ""; failed != NULL;) {
		fail_calls_begin(FAIL_ONE, ++n);
		whole = write_letters(&there) && whole;
		failed = fail_calls_end();
		missing = missing && there == (failed == NULL);
	}
	ok(n > 4 && missing, "without memory for a part there is no text: %u times", n - 1);
	ok(whole && there, "with memory it is whole");
}

int main(void)
{
	test_empty();
	test_pieces();
	test_no_memory();
	return done_testing();
}
