/*
 * The JSON helpers of the proxy: the UTF-8 check and the writing of strings against the grammar of RFC 3629, and
 * the search for members in the text against the tree that cJSON makes of it.
 */
#include "../../proxy/json.h"
#include "fuzz.h"

#include <cjson/cJSON.h>

static bool between(uint8_t byte, uint8_t low, uint8_t high)
{
	return byte >= low && byte <= high;
}

/* RFC 3629, 4: the length of the UTF-8 sequence at at, or 0. */
static size_t sequence_length(const uint8_t *at, size_t left)
{
	static const struct {
		uint8_t first_low, first_high, second_low, second_high;
		size_t length;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (at[0] < 0x80)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t count = 2;

		if (!between(at[0], forms[i].first_low, forms[i].first_high) || left < forms[i].length ||
			!between(at[1], forms[i].second_low, forms[i].second_high))
			continue;
		while (count < forms[i].length && between(at[count], 0x80, 0xbf))
			count++;
		return count == forms[i].length ? count : 0;
	}
	return 0;
}

static void check_utf8(const uint8_t *data, const char *text, size_t size)
{
	size_t bad = 0, offset = SIZE_MAX, count;

	while (bad < size && (count = sequence_length(data + bad, size - bad)) > 0)
		bad += count;
	FUZZ_CHECK(json_is_utf8(text, size, &offset) == (bad == size), "bad byte at %zu of %zu", bad, size);
	FUZZ_CHECK(offset == (bad == size ? SIZE_MAX : bad), "bad byte at %zu, not %zu", bad, offset);
}

/* --- strings */

/* Reads one character of a JSON string's body into to, strictly; moves *at behind it. */
static size_t read_character(const char **at, const char *end, char *to)
{
	unsigned code;

	FUZZ_CHECK((uint8_t) * *at >= 0x20 && **at != '"', "a bare %02x", (uint8_t) * *at);
	if (**at != '\\') {
		size_t count = sequence_length((const uint8_t *) *at, (size_t) (end - *at));

		FUZZ_CHECK(count > 0, "what was written is not UTF-8");
		memcpy(to, *at, count);
		*at += count;
		return count;
	}
	if ((*at)[1] == 'u') {
		FUZZ_CHECK(end - *at >= 6 && sscanf(*at + 2, "%4x", &code) == 1 && code < 0x80, "escape");
		*to = (char) code;
		*at += 6;
		return 1;
	}
	FUZZ_CHECK((*at)[1] == 'n' || (*at)[1] == '"' || (*at)[1] == '\\', "escape \\%c", (*at)[1]);
	*to = (*at)[1];
	if (*to == 'n')
		*to = '\n';
	*at += 2;
	return 1;
}

/* The text that a string, with its quotes, must stand for: bytes that are not UTF-8 are U+FFFD. */
static void check_string(const uint8_t *data, size_t size, const char *written, size_t length)
{
	const char *at = written + 1, *end = written + length - 1;

	FUZZ_CHECK(length >= 2 && written[0] == '"' && *end == '"', "no quotes");
	for (size_t i = 0; i < size;) {
		size_t count = sequence_length(data + i, size - i), got;
		const char *wanted = count > 0 ? (const char *) data + i : "\xef\xbf\xbd";
		char character[4];

		FUZZ_CHECK(at < end, "the string ends early");
		got = read_character(&at, end, character);
		FUZZ_CHECK(got == (count > 0 ? count : 3) && memcmp(character, wanted, got) == 0, "at byte %zu", i);
		i += count > 0 ? count : 1;
	}
	FUZZ_CHECK(at == end, "the string goes on");
}

static void check_writing(const uint8_t *data, const char *text, size_t size)
{
	static const char before[] = "{\"error\":", behind[] = "}\n";
	char *written = NULL, *document, *terminated = malloc(size + 1);
	size_t length = 0;
	FILE *out = open_memstream(&written, &length);

	FUZZ_NEED(out != NULL, "memory");
	json_write_string(out, text, size);
	FUZZ_NEED(fclose(out) == 0, "memory");
	check_string(data, size, written, length);
	free(written);

	FUZZ_NEED(terminated != NULL, "memory");
	memcpy(terminated, data, size);
	terminated[size] = '\0';
	document = json_error_document(terminated, &length);
	FUZZ_CHECK(document != NULL && strlen(document) == length, "%zu", length);
	FUZZ_CHECK(strncmp(document, before, strlen(before)) == 0, "%s", document);
	FUZZ_CHECK(strcmp(document + length - strlen(behind), behind) == 0, "%s", document);
	check_string(data, strlen(terminated), document + strlen(before), length - strlen(before) - strlen(behind));
	free(document);
	free(terminated);
}

/* --- members */

static void check_member(const char *text, size_t size, const cJSON *root, const char *name)
{
	const cJSON *wanted = cJSON_GetObjectItemCaseSensitive(root, name);
	struct json_span span = { NULL, 0 };
	const char *stop = NULL;
	char *found_text, *wanted_text;
	cJSON *found;
	int r = json_find_member(text, size, name, &span);

	if (r == -EINVAL) {
		FUZZ_CHECK(memchr(text, '\\', size) != NULL, "no escape anywhere, looking for %s", name);
		return;
	}
	if (r == -ENOENT) {
		FUZZ_CHECK(wanted == NULL, "did not find %s", name);
		return;
	}
	FUZZ_CHECK(r == 0 && wanted != NULL, "%d: there is no %s", r, name);
	FUZZ_CHECK(span.start >= text && span.length > 0 && span.start + span.length <= text + size, "the span");
	found = cJSON_ParseWithLengthOpts(span.start, span.length, &stop, false);
	FUZZ_CHECK(found != NULL && stop == span.start + span.length, "%.*s", (int) span.length, span.start);
	/* As text: infinity (1e999) is unequal to itself for cJSON. */
	found_text = cJSON_PrintUnformatted(found);
	wanted_text = cJSON_PrintUnformatted(wanted);
	FUZZ_CHECK(strcmp(found_text, wanted_text) == 0, "%s: %s, wanted %s", name, found_text, wanted_text);
	free(found_text);
	free(wanted_text);
	cJSON_Delete(found);
}

static void check_members(const char *text, size_t size)
{
	const char *stop = NULL;
	cJSON *root = cJSON_ParseWithLengthOpts(text, size, &stop, false);
	const cJSON *member;
	bool has_null = memchr(text, '\0', size) != NULL || memmem(text, size, "\\u0000", 6) != NULL;

	/* What envelope.c asks for: nothing around the object, and no name that cJSON would cut short. */
	if (cJSON_IsObject(root) && !has_null && text[0] != '\xef') {
		int left = 20;

		size = (size_t) (stop - text);
		check_member(text, size, root, "value");
		check_member(text, size, root, "");
		cJSON_ArrayForEach(member, root)
		{
			if (left-- > 0)
				check_member(text, size, root, member->string);
		}
	}
	cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);

	check_utf8(data, text, size);
	check_writing(data, text, size);
	check_members(text, size);
	free(text);
	return 0;
}
