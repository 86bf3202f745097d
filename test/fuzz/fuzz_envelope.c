/*
 * The body of /init: whatever it holds, envelope_parse() refuses it with a sentence, or gives a struct that agrees
 * with what cJSON reads in it, and of which nothing can break the line it becomes part of.
 */
#include "../../proxy/base64.h"
#include "../../proxy/envelope.h"
#include "fuzz.h"

#include <cjson/cJSON.h>

static const cJSON *member(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNull(item) ? NULL : item;
}

static void check_handler(const struct envelope *envelope, const cJSON *value)
{
	const char *handler = cJSON_GetStringValue(member(value, "main"));

	FUZZ_CHECK(strcmp(envelope->handler, handler != NULL && handler[0] != '\0' ? handler : "main") == 0, "%s",
		envelope->handler);
}

static void check_code(const struct envelope *envelope, const cJSON *value)
{
	const char *sent = cJSON_GetStringValue(member(value, "code"));
	const char *code = envelope->code;
	size_t length = envelope->code_length, wanted_length;
	enum code_kind kind = CODE_SOURCE;
	struct err err;
	char *wanted;

	FUZZ_CHECK(sent != NULL && sent[0] != '\0', "there is no code");
	wanted = strdup(sent);
	wanted_length = strlen(sent);
	if (cJSON_IsTrue(member(value, "binary"))) {
		FUZZ_CHECK(base64_decode(wanted, wanted_length, &wanted_length, &err) == 0, "%s", err.text);
		if (wanted_length >= 2 && wanted[0] == 'P' && wanted[1] == 'K')
			kind = CODE_ZIP;
		if (wanted_length >= 2 && wanted[0] == '\x1f' && wanted[1] == '\x8b')
			kind = CODE_GZIP;
	}
	FUZZ_CHECK(length == wanted_length && memcmp(code, wanted, length) == 0, "%zu bytes of code", length);
	FUZZ_CHECK(code[length] == '\0', "code has no end");
	FUZZ_CHECK(envelope->kind == kind, "%d", (int) envelope->kind);
	free(wanted);
}

static bool works_at_start_only(const char *name)
{
	return strncmp(name, "LD_", 3) == 0 || strncmp(name, "PYTHON", 6) == 0 || strncmp(name, "MALLOC_", 7) == 0 ||
		strncmp(name, "GLIBC_", 6) == 0 || strncmp(name, "LC_", 3) == 0 || strcmp(name, "LANG") == 0 ||
		strcmp(name, "LANGUAGE") == 0 || strcmp(name, "LOCPATH") == 0;
}

/* execve() takes the list as it is: each must be NAME=VALUE of a variable that was sent. */
static void check_start_variables(const struct envelope *envelope, const cJSON *environment)
{
	const char **variable = envelope->start_variables;
	const cJSON *item;

	cJSON_ArrayForEach(item, environment)
	{
		size_t length = strlen(item->string);

		FUZZ_CHECK(length > 0 && strchr(item->string, '=') == NULL, "'%s' is no name", item->string);
		if (!works_at_start_only(item->string))
			continue;
		FUZZ_CHECK(variable != NULL && *variable != NULL, "%s is missing", item->string);
		FUZZ_CHECK(
			strncmp(*variable, item->string, length) == 0 && (*variable)[length] == '=', "%s", *variable);
		if (cJSON_IsString(item))
			FUZZ_CHECK(strcmp(*variable + length + 1, item->valuestring) == 0, "%s", *variable);
		variable++;
	}
	FUZZ_CHECK(variable == NULL || (variable != envelope->start_variables && *variable == NULL), "one too many");
}

static void check_environment(const struct envelope *envelope, const cJSON *value)
{
	const cJSON *sent = member(value, "env");
	const char *text = envelope->environment, *stop = NULL;
	cJSON *environment = cJSON_ParseWithOpts(text, &stop, true);
	size_t bad;

	FUZZ_CHECK(cJSON_IsObject(environment), "%s", text);
	FUZZ_CHECK(strchr(text, '\n') == NULL, "a newline in %s", text);
	FUZZ_CHECK(json_is_utf8(text, strlen(text), &bad), "byte %zu", bad);
	FUZZ_CHECK(cJSON_GetArraySize(environment) == cJSON_GetArraySize(sent), "%s", text);
	check_start_variables(envelope, sent);
	cJSON_Delete(environment);
}

static void check_failure(int r, const struct err *err, const struct envelope *envelope)
{
	FUZZ_CHECK(r == -EINVAL || r == -ENODATA, "%d: %s", r, err->text);
	FUZZ_CHECK(err->text[0] != '\0' && memchr(err->text, '\0', sizeof(err->text)) != NULL, "no sentence");
	FUZZ_CHECK(envelope->code == NULL && envelope->handler == NULL, "a failure that leaves something");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);
	struct envelope envelope = { 0 };
	struct err err = { "" };
	int r = envelope_parse(&envelope, text, size, &err);

	FUZZ_CHECK(memcmp(text, data, size) == 0, "the text was changed");
	if (r < 0) {
		check_failure(r, &err, &envelope);
	} else {
		cJSON *root = cJSON_ParseWithLength(text, size);
		const cJSON *value = member(root, "value");
		size_t bad = 0;

		FUZZ_CHECK(cJSON_IsObject(root) && json_is_utf8(text, size, &bad), "byte %zu", bad);
		check_handler(&envelope, value);
		check_code(&envelope, value);
		check_environment(&envelope, value);
		cJSON_Delete(root);
	}
	envelope_done(&envelope);
	envelope_done(&envelope);
	free(text);
	return 0;
}
