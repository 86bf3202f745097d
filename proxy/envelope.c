#include "envelope.h"

#include "base64.h"
#include "cjson.h"
#include "limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define UNMARSHAL "Error unmarshaling request: "

void envelope_done(struct envelope *envelope)
{
	for (const char **variable = envelope->start_variables; variable != NULL && *variable != NULL; variable++)
		free((void *) *variable);
	free(envelope->start_variables);
	free(envelope->handler);
	free(envelope->folder);
	free(envelope->convention);
	free(envelope->code);
	free(envelope->environment);
	*envelope = (struct envelope) { 0 };
}

static const char *type_name(const cJSON *item)
{
	if (cJSON_IsString(item))
		return "a string";
	if (cJSON_IsNumber(item))
		return "a number";
	if (cJSON_IsBool(item))
		return "true or false";
	if (cJSON_IsArray(item))
		return "an array";
	if (cJSON_IsObject(item))
		return "an object";
	return "null";
}

/* A member of value, NULL when absent or null. Fails when it is of another type. */
static int get_member(const cJSON *value, const char *name, cJSON_bool (*is_type)(const cJSON *), const char *expected,
	cJSON **ret_member, struct err *err)
{
	cJSON *member = cJSON_GetObjectItemCaseSensitive(value, name);

	if (member != NULL && cJSON_IsNull(member))
		member = NULL;
	if (member != NULL && !is_type(member))
		return err_set(err, -EINVAL, UNMARSHAL "value.%s is %s, not %s", name, type_name(member), expected);
	*ret_member = member;
	return 0;
}

/* --- environment ------------------------------------------------------------------------------------- */

static bool takes_effect_at_start(const char *name)
{
	static const char *const prefixes[] = { "LD_", "PYTHON", "MALLOC_", "GLIBC_", "LC_" };
	static const char *const names[] = { "LANG", "LANGUAGE", "LOCPATH" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* "NAME=VALUE"; a value that is no string becomes its JSON text, as for all variables. */
static char *make_variable(const cJSON *item)
{
	cleanup_free char *printed = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
	const char *value = cJSON_IsString(item) ? item->valuestring : printed;
	char *variable = NULL;

	if (value == NULL || asprintf(&variable, "%s=%s", item->string, value) < 0)
		return NULL;
	return variable;
}

static int list_start_variables(struct envelope *envelope, const cJSON *environment, struct err *err)
{
	size_t count = 0;
	const cJSON *item;

	cJSON_ArrayForEach(item, environment)
	{
		if (item->string[0] == '\0' || strchr(item->string, '=') != NULL)
			return err_set(err, -EINVAL, UNMARSHAL "value.env has a variable with the impossible name '%s'",
				item->string);
		count += takes_effect_at_start(item->string) ? 1 : 0;
	}
	if (count == 0)
		return 0;

	envelope->start_variables = calloc(count + 1, sizeof(*envelope->start_variables));
	if (envelope->start_variables == NULL)
		return err_errno(err, -ENOMEM, "cannot take the environment");
	count = 0;
	cJSON_ArrayForEach(item, environment)
	{
		if (!takes_effect_at_start(item->string))
			continue;
		envelope->start_variables[count] = make_variable(item);
		if (envelope->start_variables[count++] == NULL)
			return err_errno(err, -ENOMEM, "cannot take the environment");
	}
	return 0;
}

static int take_environment(
	struct envelope *envelope, const cJSON *environment, const char *text, size_t length, struct err *err)
{
	struct json_span value = { .start = "{}", .length = 2 }, span = value;
	int r;

	if (environment != NULL &&
		(json_find_member(text, length, "value", &value) < 0 ||
			json_find_member(value.start, value.length, "env", &span) < 0))
		return err_set(err, -EINVAL, UNMARSHAL "value.env cannot be found");
	r = list_start_variables(envelope, environment, err);
	if (r < 0)
		return r;
	envelope->environment = strndup(span.start, span.length);
	if (envelope->environment == NULL)
		return err_errno(err, -ENOMEM, "cannot take the environment");
	/* It becomes part of a line. A newline in JSON is white space; inside a string it is an error, which
	 * a carriage return keeps it. */
	for (char *at = envelope->environment; *at != '\0'; at++)
		if (*at == '\n')
			*at = '\r';
	environment = cJSON_GetObjectItemCaseSensitive(environment, "PYACTION_CONVENTION");
	if (cJSON_IsString(environment) && environment->valuestring[0] != '\0') {
		envelope->convention = strdup(environment->valuestring);
		if (envelope->convention == NULL)
			return err_errno(err, -ENOMEM, "cannot take the environment");
	}
	return 0;
}

/* --- code -------------------------------------------------------------------------------------------- */

static enum code_kind kind_of(const char *code, size_t length)
{
	if (length >= 2 && memcmp(code, "PK", 2) == 0)
		return CODE_ZIP;
	if (length >= 2 && memcmp(code, "\x1f\x8b", 2) == 0)
		return CODE_GZIP;
	return CODE_SOURCE;
}

static int take_code(struct envelope *envelope, cJSON *code, bool binary, struct err *err)
{
	int r;

	if (code == NULL || code->valuestring[0] == '\0')
		return err_set(err, -ENODATA, "Missing main/no code to execute.");

	/* Moved, not copied: it may be 64 MB. */
	envelope->code = steal_ptr(&code->valuestring);
	envelope->code_length = strlen(envelope->code);
	if (!binary)
		return 0;
	r = base64_decode(envelope->code, envelope->code_length, &envelope->code_length, err);
	if (r < 0)
		return err_wrap(err, r, "cannot decode the request");
	envelope->code[envelope->code_length] = '\0'; /* in place of a digit: decoding shortens */
	envelope->kind = kind_of(envelope->code, envelope->code_length);
	return 0;
}

/* A C string ends at a null character, spelled either way; the text has the whole truth. */
static bool has_null(const char *text, size_t length)
{
	if (memchr(text, '\0', length) != NULL)
		return true;
	for (const char *at = text, *end = text + length; at + 6 <= end; at++) {
		at = memchr(at, '\\', (size_t) (end - at));
		if (at == NULL || at + 6 > end)
			return false;
		if (memcmp(at, "\\u0000", 6) == 0)
			return true;
		at++; /* what the backslash escapes */
	}
	return false;
}

static int parse_text(cJSON **ret_root, const char *text, size_t length, struct err *err)
{
	cleanup_cjson cJSON *root = NULL;
	const char *stop = NULL;
	size_t end = 0;

	if (!json_is_utf8(text, length, &end))
		return err_set(err, -EINVAL, UNMARSHAL "not UTF-8 at byte %zu", end);
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return err_set(err, -EINVAL, UNMARSHAL "not JSON at byte 0: a byte order mark");
	root = cJSON_ParseWithLengthOpts(text, length, &stop, false);
	/* cJSON reports a text that ends too early at its last byte. */
	if (root == NULL && stop != NULL && (size_t) (stop - text) + 1 < length)
		return err_set(err, -EINVAL, UNMARSHAL "not JSON at byte %zu", (size_t) (stop - text));
	if (root == NULL)
		return err_set(err, -EINVAL, UNMARSHAL "unexpected end of JSON input");
	end = (size_t) (stop - text);
	while (end < length && strchr(" \t\r\n", text[end]) != NULL && text[end] != '\0')
		end++;
	if (end < length)
		return err_set(err, -EINVAL, UNMARSHAL "something follows the JSON at byte %zu", end);
	if (!cJSON_IsObject(root))
		return err_set(err, -EINVAL, UNMARSHAL "the body is %s, not an object", type_name(root));
	*ret_root = steal_ptr(&root);
	return 0;
}

static int parse(struct envelope *envelope, const char *text, size_t length, struct err *err)
{
	cleanup_cjson cJSON *root = NULL;
	cJSON *value, *name = NULL, *handler = NULL, *code = NULL, *binary = NULL, *environment = NULL;
	int r;

	r = parse_text(&root, text, length, err);
	if (r < 0)
		return r;
	value = cJSON_GetObjectItemCaseSensitive(root, "value");
	if (value != NULL && !cJSON_IsObject(value) && !cJSON_IsNull(value))
		return err_set(err, -EINVAL, UNMARSHAL "value is %s, not an object", type_name(value));

	if ((r = get_member(value, "name", cJSON_IsString, "a string", &name, err)) < 0 ||
		(r = get_member(value, "main", cJSON_IsString, "a string", &handler, err)) < 0 ||
		(r = get_member(value, "code", cJSON_IsString, "a string", &code, err)) < 0 ||
		(r = get_member(value, "binary", cJSON_IsBool, "true or false", &binary, err)) < 0 ||
		(r = get_member(value, "env", cJSON_IsObject, "an object", &environment, err)) < 0)
		return r;
	if (has_null(text, length))
		return err_set(err, -EINVAL, UNMARSHAL "a string contains a null character");

	envelope->handler = strdup(handler != NULL && handler->valuestring[0] != '\0' ? handler->valuestring : "main");
	if (envelope->handler == NULL)
		return err_errno(err, -ENOMEM, "cannot take the request");
	r = take_environment(envelope, environment, text, length, err);
	if (r < 0)
		return r;
	return take_code(envelope, code, cJSON_IsTrue(binary), err);
}

/* --- code from a path -------------------------------------------------------------------------------- */

static bool is_file(const char *folder, const char *name)
{
	cleanup_free char *path = NULL;
	struct stat file;

	return asprintf(&path, "%s/%s", folder, name) >= 0 && stat(path, &file) == 0 && S_ISREG(file.st_mode);
}

/* What code is started with when nobody says it: a file's usual function. */
static const struct {
	const char *file, *handler;
} usual[] = {
	{ "__main__.py", "main" },
	{ "lambda_function.py", "lambda_function.lambda_handler" },
	{ "index.py", "index.main_handler" },
};

static const char *usual_handler(const char *folder)
{
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (is_file(folder, usual[i].file))
			return usual[i].handler;
	return usual[0].handler;
}

/* Of a file; NULL where there is none. */
static const char *usual_handler_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strcmp(usual[i].file, name) == 0)
			return usual[i].handler;
	return NULL;
}

static int take_folder(struct envelope *envelope, const char *path, const char *handler, struct err *err)
{
	envelope->kind = CODE_FOLDER;
	envelope->folder = realpath(path, NULL);
	if (envelope->folder == NULL)
		return err_errno(err, -errno, "cannot find the code at '%s'", path);
	envelope->handler = strdup(handler != NULL ? handler : usual_handler(envelope->folder));
	return envelope->handler != NULL ? 0 : err_errno(err, -ENOMEM, "cannot take the code at '%s'", path);
}

/* A source is its folder and a handler that names it. */
static int take_source(struct envelope *envelope, const char *path, const char *handler, struct err *err)
{
	cleanup_free char *real = realpath(path, NULL);
	char *name = real != NULL ? strrchr(real, '/') : NULL;
	char *suffix = name != NULL ? strrchr(name, '.') : NULL;
	int r;

	if (real == NULL)
		return err_errno(err, -errno, "cannot find the code at '%s'", path);
	if (suffix == NULL || strcmp(suffix, ".py") != 0)
		return err_set(err, -EINVAL,
			"cannot use the code at '%s': it is no folder, no archive, and not called NAME.py", path);
	*name++ = '\0';
	if (handler == NULL)
		handler = usual_handler_of(name);
	*suffix = '\0';
	envelope->kind = CODE_FOLDER;
	if (handler != NULL && strchr(handler, '.') != NULL)
		envelope->handler = strdup(handler);
	else if (asprintf(&envelope->handler, "%s.%s", name, handler != NULL ? handler : "main") < 0)
		envelope->handler = NULL;
	envelope->folder = strdup(real[0] != '\0' ? real : "/");
	r = envelope->handler != NULL && envelope->folder != NULL ? 0 : -ENOMEM;
	return r < 0 ? err_errno(err, r, "cannot take the code at '%s'", path) : 0;
}

static int read_file(struct envelope *envelope, int fd, const char *path, size_t size, struct err *err)
{
	size_t length = 0;

	if (size > LIMIT_BODY_MAX)
		return err_errno(err, -EFBIG, "cannot read '%s'", path);
	envelope->code = malloc(size + 1);
	if (envelope->code == NULL)
		return err_errno(err, -ENOMEM, "cannot read '%s'", path);
	while (length < size) {
		ssize_t count = read(fd, envelope->code + length, size - length);

		if (count < 0)
			return err_errno(err, -errno, "cannot read '%s'", path);
		if (count == 0)
			break;
		length += (size_t) count;
	}
	envelope->code[length] = '\0';
	envelope->code_length = length;
	return 0;
}

static int take_path(struct envelope *envelope, const char *path, const char *handler, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO would wait for a writer */
	struct stat file;
	char start[2] = "";
	int r;

	if (fd < 0 || fstat(fd, &file) < 0)
		return err_errno(err, -errno, "cannot find the code at '%s'", path);
	envelope->environment = strdup("{}");
	if (envelope->environment == NULL)
		return err_errno(err, -ENOMEM, "cannot take the code at '%s'", path);
	if (S_ISDIR(file.st_mode))
		return take_folder(envelope, path, handler, err);
	if (!S_ISREG(file.st_mode) || pread(fd, start, sizeof(start), 0) < 0)
		return err_set(err, -EINVAL, "cannot use the code at '%s': it is no folder and no file", path);
	envelope->kind = kind_of(start, sizeof(start));
	if (envelope->kind == CODE_SOURCE)
		return take_source(envelope, path, handler, err);
	r = read_file(envelope, fd, path, (size_t) file.st_size, err);
	if (r < 0)
		return r;
	envelope->handler = strdup(handler != NULL ? handler : "main");
	return envelope->handler != NULL ? 0 : err_errno(err, -ENOMEM, "cannot take the code at '%s'", path);
}

int envelope_from_path(struct envelope *ret_envelope, const char *path, const char *handler, struct err *err)
{
	struct envelope envelope = { 0 };
	int r = take_path(&envelope, path, handler, err);

	if (r < 0) {
		envelope_done(&envelope);
		return r;
	}
	*ret_envelope = envelope;
	return 0;
}

/* ----------------------------------------------------------------------------------------------------- */

int envelope_parse(struct envelope *ret_envelope, const char *text, size_t length, struct err *err)
{
	struct envelope envelope = { 0 };
	int r = parse(&envelope, text, length, err);

	if (r < 0) {
		envelope_done(&envelope);
		return r;
	}
	*ret_envelope = envelope;
	return 0;
}
