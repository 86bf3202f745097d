#include "../../proxy/envelope.h"

#include "tap.h"
#include "tree.h"

/* Parses a copy of just these bytes, not NUL-terminated: a sanitizer sees each byte read too many. */
static int parse(struct envelope *envelope, const char *text, size_t length, struct err *err)
{
	char *copy = malloc(length > 0 ? length : 1);
	int r;

	memcpy(copy, text, length);
	r = envelope_parse(envelope, copy, length, err);
	free(copy);
	return r;
}

static bool is_untouched(const struct envelope *envelope)
{
	return envelope->handler == NULL && envelope->code == NULL && envelope->code_length == 0 &&
		envelope->environment == NULL && envelope->start_variables == NULL && envelope->folder == NULL &&
		envelope->convention == NULL;
}

static void check_refused_bytes(const char *text, size_t length, int code, const char *sentence)
{
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	int r = parse(&envelope, text, length, &err);

	ok(tap_is_int(r, code) && tap_is_str(err.text, sentence) && is_untouched(&envelope), "%s: %s",
		tap_show(text, length), sentence);
	envelope_done(&envelope);
}

static void check_refused(const char *text, int code, const char *sentence)
{
	check_refused_bytes(text, strlen(text), code, sentence);
}

/* Parses what must be good. */
static struct envelope parsed(const char *text)
{
	struct envelope envelope = { 0 };
	struct err err;

	if (parse(&envelope, text, strlen(text), &err) < 0) {
		ok(false, "%s: %s", tap_show(text, strlen(text)), err.text);
		envelope =
			(struct envelope) { .handler = strdup("?"), .code = strdup("?"), .environment = strdup("?") };
	}
	return envelope;
}

/* --- forms ------------------------------------------------------------------------------------------- */

static void check_code(const char *text, enum code_kind kind, const char *code, size_t length)
{
	struct envelope envelope = parsed(text);

	ok(tap_is_int(envelope.kind, kind) && tap_is_mem(envelope.code, envelope.code_length, code, length) &&
			envelope.code[envelope.code_length] == '\0',
		"the code of %s", tap_show(text, strlen(text)));
	envelope_done(&envelope);
	ok(is_untouched(&envelope), "... released");
}

#define CHECK_CODE(text, kind, literal) check_code(text, kind, literal, sizeof(literal) - 1)

static void test_code(void)
{
	CHECK_CODE("{\"value\":{\"code\":\"def main(): pass\"}}", CODE_SOURCE, "def main(): pass");
	CHECK_CODE("{\"value\":{\"code\":\"a\\n\\tb\\u00e9\\ud83d\\ude00\",\"binary\":false}}", CODE_SOURCE,
		"a\n\tb\xc3\xa9\xf0\x9f\x98\x80");
	CHECK_CODE("{\"value\":{\"code\":\"PK\"}}", CODE_SOURCE, "PK");
	CHECK_CODE("{\"value\":{\"code\":\"a\",\"binary\":null}}", CODE_SOURCE, "a");
	CHECK_CODE("{\"value\":{\"code\":\"cGFzcw==\",\"binary\":true}}", CODE_SOURCE, "pass");
	CHECK_CODE("{\"value\":{\"code\":\"cGFz\\r\\ncw==\\n\",\"binary\":true}}", CODE_SOURCE, "pass");
	CHECK_CODE("{\"value\":{\"code\":\"UEsDBAA=\",\"binary\":true}}", CODE_ZIP, "PK\x03\x04\0");
	CHECK_CODE("{\"value\":{\"code\":\"UEs=\",\"binary\":true}}", CODE_ZIP, "PK");
	CHECK_CODE("{\"value\":{\"code\":\"UA==\",\"binary\":true}}", CODE_SOURCE, "P");
	CHECK_CODE("{\"value\":{\"code\":\"H4sI\",\"binary\":true}}", CODE_GZIP, "\x1f\x8b\x08");
	CHECK_CODE("{\"value\":{\"code\":\"Hw==\",\"binary\":true}}", CODE_SOURCE, "\x1f");
	CHECK_CODE("{\"value\":{\"code\":\"\\n\",\"binary\":true}}", CODE_SOURCE, "");
}

static void check_handler(const char *text, const char *handler)
{
	struct envelope envelope = parsed(text);

	ok(tap_is_str(envelope.handler, handler), "the handler of %s is %s", tap_show(text, strlen(text)), handler);
	envelope_done(&envelope);
}

static void test_handler(void)
{
	check_handler("{\"value\":{\"code\":\"x\"}}", "main");
	check_handler("{\"value\":{\"code\":\"x\",\"main\":\"\"}}", "main");
	check_handler("{\"value\":{\"code\":\"x\",\"main\":null}}", "main");
	check_handler("{\"value\":{\"code\":\"x\",\"main\":\"greet\"}}", "greet");
	check_handler("{\"value\":{\"main\":\"pkg/mod.f\\u00fc\",\"code\":\"x\"}}", "pkg/mod.f\xc3\xbc");
	check_handler(
		"{\"value\":{\"name\":\"n\",\"main\":\"a\",\"main\":\"b\",\"code\":\"x\",\"more\":[{}],\"Main\":1}}",
		"a");
	check_handler(" \r\n{ \"value\" : { \"code\" : \"x\" , \"name\" : null } , \"other\" : 1 } \t\n", "main");
}

static void check_environment(const char *text, const char *environment)
{
	struct envelope envelope = parsed(text);

	ok(tap_is_str(envelope.environment, environment), "the environment of %s", tap_show(text, strlen(text)));
	envelope_done(&envelope);
}

static void test_environment(void)
{
	check_environment("{\"value\":{\"code\":\"x\"}}", "{}");
	check_environment("{\"value\":{\"code\":\"x\",\"env\":null}}", "{}");
	check_environment("{\"value\":{\"code\":\"x\",\"env\":{}}}", "{}");
	check_environment("{\"value\":{\"env\":{\"A\":\"b\"},\"code\":\"x\"}}", "{\"A\":\"b\"}");
	/* As it was sent: spaces, escapes, the order, duplicates, numbers that a double cannot hold. */
	check_environment(
		"{\"env\":1,\"value\":{\"env\": { \"A\" : 9007199254740993, \"A\":1e400,\"b\":-0.10,\"c\":[1,{\"d\":null}],"
		"\"\\u00e9\":\"\\u00e9\\/\xc3\xa9\"} ,\"code\":\"x\"}}",
		"{ \"A\" : 9007199254740993, \"A\":1e400,\"b\":-0.10,\"c\":[1,{\"d\":null}],\"\\u00e9\":\"\\u00e9\\/\xc3\xa9\"}");
	check_environment("{\"value\":{\"code\":\"\\\"env\\\":{\\\"X\\\":1}\",\"env\":{\"Y\":1}}}", "{\"Y\":1}");
	check_environment("{\"x\":{\"env\":{\"X\":1}},\"value\":{\"env\":{\"Y\":1},\"code\":\"x\"}}", "{\"Y\":1}");
	check_environment("{\"value\":{\"code\":\"x\",\"env\":{\"A\":1},\"env\":{\"B\":2}}}", "{\"A\":1}");
	check_environment(
		"{\"v\\u0061lue\":{\"code\":\"x\",\"\\u0065n\\u0076\":{\"\\u0041\":\"c\"}}}", "{\"\\u0041\":\"c\"}");
	/* It becomes part of a line. */
	check_environment("{\"value\":{\"code\":\"x\",\"env\":{\n\"A\"\r\n:\n1}}}", "{\r\"A\"\r\r:\r1}");
}

/* What cJSON and json.c read differently must not put one thing into the environment and check another. */
static void test_two_readers(void)
{
	static const char *const texts[] = {
		"{\"val\\u0075e\":{\"code\":\"x\",\"env\":{}},\"value\":{\"env\":5}}",
		"{\"value\":{\"code\":\"x\",\"\\u0065nv\":{},\"env\":5}}",
		"{\"val\\u0075e\":{\"code\":\"x\",\"env\":{}},\"value\":{\"env\":{\"LD_PRELOAD\":\"y\"}}}",
		"{\"value\":{\"code\":\"x\",\"env\"\x01:{\"A\":1}}}",
		"{\"value\"\f:{\"code\":\"x\",\"env\":{\"A\":1}}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct envelope envelope = { 0 };
		struct err err;
		int r = parse(&envelope, texts[i], strlen(texts[i]), &err);
		bool consistent = r == 0 && envelope.environment[0] == '{' &&
			(strstr(envelope.environment, "LD_") != NULL) == (envelope.start_variables != NULL);

		if (r == 0)
			diag("environment: %s", envelope.environment);
		ok(r == -EINVAL || consistent, "refused, or read the same way twice: %s",
			tap_show(texts[i], strlen(texts[i])));
		envelope_done(&envelope);
	}
}

/* What cJSON and json.c read differently must not refuse what is fine. */
static void test_byte_order_mark(void)
{
	static const char text[] = "\xef\xbb\xbf{\"value\":{\"code\":\"x\",\"env\":{\"A\":\"b\"}}}";
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	int r = parse(&envelope, text, strlen(text), &err);

	ok((r == 0 && strcmp(envelope.environment, "{\"A\":\"b\"}") == 0) ||
			(r == -EINVAL && strstr(err.text, "env") == NULL),
		"a byte order mark is accepted, or refused for what it is (%s)", err.text);
	envelope_done(&envelope);
}

/* --- variables that must be there when the process starts -------------------------------------------- */

static void check_start_variables(const char *environment, const char *wanted)
{
	char text[500], joined[500] = "";
	struct envelope envelope;

	(void) snprintf(text, sizeof(text), "{\"value\":{\"code\":\"x\",\"env\":%s}}", environment);
	envelope = parsed(text);
	for (const char **variable = envelope.start_variables; variable != NULL && *variable != NULL; variable++)
		(void) snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s;", *variable);
	ok(tap_is_str(envelope.start_variables != NULL ? joined : NULL, wanted), "of %s, %s take effect at the start",
		environment, wanted != NULL ? wanted : "none");
	envelope_done(&envelope);
}

static void test_start_variables(void)
{
	check_start_variables("{}", NULL);
	check_start_variables("{\"A\":\"LD_PRELOAD\",\"XLD_A\":1,\"LANGUAGES\":1,\"PATH\":\"p\",\"HOME\":\"h\"}", NULL);
	check_start_variables("{\"LD_LIBRARY_PATH\":\"/a:/b\"}", "LD_LIBRARY_PATH=/a:/b;");
	check_start_variables("{\"PYTHONPATH\":\"p\",\"PYTHON\":\"q\",\"pythonpath\":\"r\"}", "PYTHONPATH=p;PYTHON=q;");
	check_start_variables("{\"MALLOC_ARENA_MAX\":2,\"GLIBC_TUNABLES\":\"t\",\"LC_ALL\":\"C\",\"LANG\":\"\","
			      "\"LANGUAGE\":\"de\",\"LOCPATH\":\"l\"}",
		"MALLOC_ARENA_MAX=2;GLIBC_TUNABLES=t;LC_ALL=C;LANG=;LANGUAGE=de;LOCPATH=l;");
	check_start_variables("{\"LD_A\":\"a=b=\",\"LD_B\":true,\"LD_C\":null,\"LD_D\":[1,{\"x\":\"y\"}]}",
		"LD_A=a=b=;LD_B=true;LD_C=null;LD_D=[1,{\"x\":\"y\"}];");
	check_start_variables("{\"L\\u0044_X\":\"\\u00e9\"}", "LD_X=\xc3\xa9;");
}

/* --- what is refused --------------------------------------------------------------------------------- */

#define UNMARSHAL "Error unmarshaling request: "

static void test_no_code(void)
{
	static const char *const texts[] = {
		"{}",
		"{\"value\":{}}",
		"{\"value\":null}",
		"{\"value\":{\"code\":\"\"}}",
		"{\"value\":{\"code\":null}}",
		"{\"code\":\"x\"}",
		"{\"value\":{\"code\":\"\",\"binary\":true}}",
		"{\"value\":{\"Code\":\"x\"}}",
		"{\"value\":{\"code\":\"\",\"code\":\"x\"}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		check_refused(texts[i], -ENODATA, "Missing main/no code to execute.");
}

static void test_wrong_types(void)
{
	check_refused("[]", -EINVAL, UNMARSHAL "the body is an array, not an object");
	check_refused("\"text\"", -EINVAL, UNMARSHAL "the body is a string, not an object");
	check_refused("12", -EINVAL, UNMARSHAL "the body is a number, not an object");
	check_refused("true", -EINVAL, UNMARSHAL "the body is true or false, not an object");
	check_refused("null", -EINVAL, UNMARSHAL "the body is null, not an object");
	check_refused("{\"value\":[]}", -EINVAL, UNMARSHAL "value is an array, not an object");
	check_refused("{\"value\":\"x\"}", -EINVAL, UNMARSHAL "value is a string, not an object");
	check_refused("{\"value\":{\"code\":1}}", -EINVAL, UNMARSHAL "value.code is a number, not a string");
	check_refused("{\"value\":{\"code\":{}}}", -EINVAL, UNMARSHAL "value.code is an object, not a string");
	check_refused("{\"value\":{\"code\":\"x\",\"main\":false}}", -EINVAL,
		UNMARSHAL "value.main is true or false, not a string");
	check_refused(
		"{\"value\":{\"code\":\"x\",\"name\":[]}}", -EINVAL, UNMARSHAL "value.name is an array, not a string");
	check_refused("{\"value\":{\"code\":\"x\",\"binary\":\"true\"}}", -EINVAL,
		UNMARSHAL "value.binary is a string, not true or false");
	check_refused("{\"value\":{\"code\":\"x\",\"binary\":1}}", -EINVAL,
		UNMARSHAL "value.binary is a number, not true or false");
	check_refused(
		"{\"value\":{\"code\":\"x\",\"env\":[]}}", -EINVAL, UNMARSHAL "value.env is an array, not an object");
	check_refused("{\"value\":{\"code\":\"x\",\"env\":\"A=b\"}}", -EINVAL,
		UNMARSHAL "value.env is a string, not an object");
}

static void test_not_json(void)
{
	static const char whole[] = "{\"value\":{\"code\":\"x\\u00e9\",\"env\":{\"A\":[1,true,null]}}}";
	unsigned accepted = 0;

	check_refused("", -EINVAL, UNMARSHAL "unexpected end of JSON input");
	check_refused("nope", -EINVAL, UNMARSHAL "not JSON at byte 0");
	check_refused("{\"value\":nope}", -EINVAL, UNMARSHAL "not JSON at byte 9");
	check_refused("{\"value\":{\"code\":\"x\"}}{}", -EINVAL, UNMARSHAL "something follows the JSON at byte 22");
	check_refused("{\"value\":{\"code\":\"x\"}} x", -EINVAL, UNMARSHAL "something follows the JSON at byte 23");

	for (size_t length = 0; length < strlen(whole); length++) {
		struct envelope envelope = { 0 };
		struct err err = { .text = "" };

		if (parse(&envelope, whole, length, &err) != -EINVAL ||
			strncmp(err.text, UNMARSHAL, strlen(UNMARSHAL)) != 0) {
			diag("cut at %zu: %s", length, err.text);
			accepted++;
		}
		envelope_done(&envelope);
	}
	is_int(accepted, 0, "cut at any byte it is refused");
}

static void test_not_utf8(void)
{
	check_refused("\xff\xfe{", -EINVAL, UNMARSHAL "not UTF-8 at byte 0");
	check_refused("{\"value\":{\"code\":\"caf\xe9\"}}", -EINVAL, UNMARSHAL "not UTF-8 at byte 21");
	check_refused("{\"value\":{\"code\":\"x\",\"env\":{\"A\":\"\xed\xa0\x80\"}}}", -EINVAL,
		UNMARSHAL "not UTF-8 at byte 33");
}

static void test_null_characters(void)
{
	static const char raw[] = "{\"value\":{\"code\":\"a\0b\"}}", after[] = "{\"value\":{\"code\":\"a\"}}\0";
	struct envelope envelope;

	check_refused("{\"value\":{\"code\":\"a\\u0000b\"}}", -EINVAL, UNMARSHAL "a string contains a null character");
	check_refused("{\"value\":{\"code\":\"x\",\"env\":{\"A\":\"\\u0000\"}}}", -EINVAL,
		UNMARSHAL "a string contains a null character");
	check_refused("{\"value\":{\"code\":\"x\",\"env\":{\"A\\u0000\":\"\"}}}", -EINVAL,
		UNMARSHAL "a string contains a null character");
	check_refused(
		"{\"value\":{\"code\":\"x\\\\\\u0000\"}}", -EINVAL, UNMARSHAL "a string contains a null character");
	check_refused_bytes(after, sizeof(after) - 1, -EINVAL, UNMARSHAL "something follows the JSON at byte 22");
	envelope = (struct envelope) { 0 };
	ok(parse(&envelope, raw, sizeof(raw) - 1, &(struct err) { .text = "" }) == -EINVAL,
		"a raw one in a string is refused");

	envelope = parsed("{\"value\":{\"code\":\"'\\\\u0000' \\\\0 \\u0001\",\"main\":\"\\\\u0000\"}}");
	ok(tap_is_str(envelope.code, "'\\u0000' \\0 \x01") && tap_is_str(envelope.handler, "\\u0000"),
		"one that is escaped twice is text");
	envelope_done(&envelope);
}

static void test_bad_base64(void)
{
	check_refused("{\"value\":{\"code\":\"pass\\n!\",\"binary\":true}}", -EINVAL,
		"cannot decode the request: illegal base64 data at input byte 5");
	check_refused("{\"value\":{\"code\":\"UEs\",\"binary\":true}}", -EINVAL,
		"cannot decode the request: illegal base64 data at input byte 3");
}

static void test_bad_names(void)
{
	check_refused("{\"value\":{\"code\":\"x\",\"env\":{\"A=B\":\"c\"}}}", -EINVAL,
		UNMARSHAL "value.env has a variable with the impossible name 'A=B'");
	check_refused("{\"value\":{\"code\":\"x\",\"env\":{\"LD_A\":\"ok\",\"\":\"c\"}}}", -EINVAL,
		UNMARSHAL "value.env has a variable with the impossible name ''");
}

/* --- size -------------------------------------------------------------------------------------------- */

static void test_depth(void)
{
	enum { DEEP = 200000 };
	char *text = malloc(2 * DEEP + 100), *at = text;
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };

	at += sprintf(at, "{\"value\":{\"code\":\"x\",\"env\":{\"A\":");
	memset(at, '[', DEEP);
	memset(at + DEEP, ']', DEEP);
	(void) strcpy(at + 2 * DEEP, "}}}");
	ok(parse(&envelope, text, strlen(text), &err) == -EINVAL &&
			strncmp(err.text, UNMARSHAL, strlen(UNMARSHAL)) == 0,
		"%d levels are refused, not a stack overflow (%s)", DEEP, err.text);

	memset(at, '[', 500);
	memset(at + 500, ']', 500);
	(void) strcpy(at + 1000, "}}}");
	is_int(parse(&envelope, text, strlen(text), &err), 0, "500 levels are fine");
	is_int(envelope.environment != NULL ? (long long) strlen(envelope.environment) : -1, 1000 + 6, "... and whole");
	envelope_done(&envelope);
	free(text);
}

static void test_big(void)
{
	enum { BASE64 = 8 << 20 };
	char *text = malloc(BASE64 + 100), *at = text;
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	size_t zeros = 0;

	at += sprintf(at, "{\"value\":{\"binary\":true,\"code\":\"UEsD");
	memset(at, 'A', BASE64);
	(void) strcpy(at + BASE64, "\"}}");
	is_int(parse(&envelope, text, strlen(text), &err), 0, "%d bytes of base64", BASE64);
	is_int(envelope.code_length, 3 + BASE64 / 4 * 3, "... are three quarters of that");
	while (zeros + 3 < envelope.code_length && envelope.code[3 + zeros] == 0)
		zeros++;
	is_int(zeros, BASE64 / 4 * 3, "... each of them right");
	is_int(envelope.kind, CODE_ZIP, "... and a zip");
	envelope_done(&envelope);
	free(text);
}

static void test_many_variables(void)
{
	enum { COUNT = 20000 };
	char *text = malloc(COUNT * 32 + 100), *at = text;
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	size_t count = 0;

	at += sprintf(at, "{\"value\":{\"code\":\"x\",\"env\":{");
	for (int i = 0; i < COUNT; i++)
		at += sprintf(at, "%s\"%s%d\":\"v\"", i > 0 ? "," : "", i % 2 == 0 ? "LD_" : "A", i);
	(void) strcpy(at, "}}}");
	is_int(parse(&envelope, text, strlen(text), &err), 0, "%d variables", COUNT);
	while (envelope.start_variables != NULL && envelope.start_variables[count] != NULL)
		count++;
	is_int(count, COUNT / 2, "... of which half take effect at the start");
	envelope_done(&envelope);
	free(text);
}

/* --- the convention ---------------------------------------------------------------------------------- */

static void check_convention(const char *environment, const char *convention)
{
	char text[500];
	struct envelope envelope;

	(void) snprintf(text, sizeof(text), "{\"value\":{\"code\":\"x\",\"env\":%s}}", environment);
	envelope = parsed(text);
	ok(tap_is_str(envelope.convention, convention) && tap_is_str(envelope.environment, environment),
		"the convention of %s is %s", environment, convention != NULL ? convention : "not said");
	envelope_done(&envelope);
	ok(is_untouched(&envelope), "... released");
}

static void test_convention(void)
{
	check_convention("{}", NULL);
	check_convention("{\"PYACTION_CONVENTION\":\"lambda\"}", "lambda");
	check_convention("{\"A\":\"b\",\"PYACTION_CONVENTION\":\"sc\\u0066\",\"C\":1}", "scf");
	check_convention("{\"PYACTION_CONVENTION\":\"nonsense\"}", "nonsense"); /* to be refused where it is used */
	check_convention("{\"PYACTION_CONVENTION\":\"\"}", NULL);
	check_convention("{\"PYACTION_CONVENTION\":null}", NULL);
	check_convention("{\"pyaction_convention\":\"lambda\",\"PYACTION_CONVENTIONS\":\"scf\"}", NULL);
	check_convention("{\"PYACTION_CONVENTION\":\"lambda\",\"PYACTION_CONVENTION\":\"scf\"}", "lambda");
}

/* --- code from a path -------------------------------------------------------------------------------- */

static void put_file(const char *folder, const char *name, const char *contents, size_t length)
{
	char path[PATH_MAX];
	FILE *file;

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	if (file == NULL || fwrite(contents, 1, length, file) != length || fclose(file) != 0)
		bail_out("cannot write %s", path);
}

static void put_link(const char *folder, const char *name, const char *target)
{
	char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (symlink(target, path) < 0)
		bail_out("cannot make the link %s", path);
}

/* handler NULL: nobody says it. */
static struct envelope from_path(const char *folder, const char *name, const char *handler)
{
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	char path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s%s%s", folder, name[0] != '\0' ? "/" : "", name);
	if (envelope_from_path(&envelope, path, handler, &err) < 0)
		ok(false, "%s: %s", path, err.text);
	return envelope;
}

/* That a path and a handler are this folder of the user's own, with that handler. */
static void check_folder(const char *folder, const char *name, const char *handler, const char *wanted_folder,
	const char *wanted_handler)
{
	struct envelope envelope = from_path(folder, name, handler);

	ok(tap_is_int(envelope.kind, CODE_FOLDER) && tap_is_str(envelope.folder, wanted_folder) &&
			tap_is_str(envelope.handler, wanted_handler) && tap_is_str(envelope.environment, "{}") &&
			envelope.code == NULL && envelope.convention == NULL && envelope.start_variables == NULL,
		"'%s' with the handler %s is a folder with the handler %s", name, handler != NULL ? handler : "NULL",
		wanted_handler);
	envelope_done(&envelope);
	ok(is_untouched(&envelope), "... released");
}

/* The usual handler of a folder in which there are these files. */
static void check_usual(const char *const *files, const char *handler)
{
	char *folder = tree_new();

	for (; *files != NULL; files++)
		put_file(folder, *files, "", 0);
	check_folder(folder, "", NULL, folder, handler);
	check_folder(folder, "", "a.b", folder, "a.b");
	tree_free(folder);
}

#define FILES(...) ((const char *const[]) { __VA_ARGS__, NULL })

static void test_usual_handlers(void)
{
	char *folder = tree_new(), path[PATH_MAX];

	check_usual(FILES(NULL), "main");
	check_usual(FILES("other.py"), "main");
	check_usual(FILES("__main__.py"), "main");
	check_usual(FILES("lambda_function.py"), "lambda_function.lambda_handler");
	check_usual(FILES("index.py"), "index.main_handler");
	check_usual(FILES("__main__.py", "lambda_function.py", "index.py"), "main");
	check_usual(FILES("lambda_function.py", "index.py"), "lambda_function.lambda_handler");
	/* A package of that name is no such file. */
	(void) snprintf(path, sizeof(path), "%s/lambda_function.py", folder);
	(void) mkdir(path, 0700);
	put_file(folder, "index.py", "", 0);
	check_folder(folder, "", NULL, folder, "index.main_handler");
	tree_free(folder);
}

static void test_folders(void)
{
	char *folder = tree_new(), path[PATH_MAX], before[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/real", folder);
	(void) mkdir(path, 0500);
	put_link(folder, "link", "real");
	check_folder(folder, "real", "main", path, "main");
	check_folder(folder, "real/", "main", path, "main");
	check_folder(folder, "./real/../real/.", "main", path, "main");
	check_folder(folder, "link", "main", path, "main"); /* whatever becomes of the link */
	if (getcwd(before, sizeof(before)) == NULL || chdir(folder) < 0)
		bail_out("no such folder");
	check_folder("real", "", "main", path, "main");
	check_folder(".", "", "x.y", folder, "x.y");
	(void) !chdir(before);
	tree_free(folder);
}

static void test_sources(void)
{
	char *folder = tree_new();

	put_file(folder, "hello.py", "def main(): pass", 16);
	put_file(folder, "empty.py", "", 0);
	put_file(folder, "p.py", "P", 1);
	check_folder(folder, "hello.py", NULL, folder, "hello.main");
	check_folder(folder, "hello.py", "greet", folder, "hello.greet");
	check_folder(folder, "hello.py", "other.greet", folder, "other.greet");
	check_folder(folder, "empty.py", "f", folder, "empty.f");
	check_folder(folder, "p.py", "f", folder, "p.f");
	put_link(folder, "link.py", "hello.py");
	check_folder(folder, "link.py", NULL, folder, "hello.main");
	put_file(folder, "lambda_function.py", "", 0);
	put_file(folder, "index.py", "", 0);
	check_folder(folder, "lambda_function.py", NULL, folder, "lambda_function.lambda_handler");
	check_folder(folder, "lambda_function.py", "main", folder, "lambda_function.main");
	check_folder(folder, "index.py", NULL, folder, "index.main_handler");
	tree_free(folder);
}

static void check_archive(const char *contents, size_t length, const char *handler, enum code_kind kind)
{
	char *folder = tree_new();
	struct envelope envelope;

	put_file(folder, "archive", contents, length);
	envelope = from_path(folder, "archive", handler);
	ok(tap_is_int(envelope.kind, kind) && tap_is_mem(envelope.code, envelope.code_length, contents, length) &&
			envelope.code[length] == '\0' &&
			tap_is_str(envelope.handler, handler != NULL ? handler : "main") &&
			tap_is_str(envelope.environment, "{}") && envelope.folder == NULL,
		"'%s' is an archive", tap_show(contents, length < 20 ? length : 20));
	envelope_done(&envelope);
	tree_free(folder);
}

static void test_path_archives(void)
{
	enum { BIG = 3000000 };
	char *big = malloc(BIG);

	check_archive("PK\x03\x04\0rest", 9, NULL, CODE_ZIP);
	check_archive("PK", 2, "index.main_handler", CODE_ZIP);
	check_archive("\x1f\x8b\x08\0", 4, "f", CODE_GZIP);
	random_bytes(big, BIG);
	memcpy(big, "PK", 2);
	check_archive(big, BIG, NULL, CODE_ZIP);
	free(big);
}

/* sentence: %s is the path. */
static void check_bad_path(const char *folder, const char *name, int code, const char *sentence)
{
	struct envelope envelope = { 0 };
	struct err err = { .text = "" };
	char path[PATH_MAX], wanted[2 * PATH_MAX];
	const char *rest = strstr(sentence, "%s") + 2;

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void) snprintf(wanted, sizeof(wanted), "%.*s%s%s", (int) (rest - 2 - sentence), sentence, path, rest);
	ok(tap_is_int(envelope_from_path(&envelope, path, "main", &err), code) && tap_is_str(err.text, wanted) &&
			is_untouched(&envelope),
		"%s is refused", name);
}

static void test_bad_paths(void)
{
	static const char no_file[] =
		"cannot use the code at '%s': it is no folder, no archive, and not called NAME.py";
	char *folder = tree_new();
	int fds;

	put_file(folder, "text", "def main(): pass", 16);
	put_file(folder, "text.txt", "x", 1);
	put_file(folder, "text.py.bak", "x", 1);
	put_file(folder, "py", "x", 1);
	put_file(folder, "empty", "", 0);
	put_link(folder, "broken", "nowhere");
	fds = count_open_fds();
	check_bad_path(folder, "missing", -ENOENT, "cannot find the code at '%s': No such file or directory");
	check_bad_path(folder, "broken", -ENOENT, "cannot find the code at '%s': No such file or directory");
	check_bad_path(folder, "text/x", -ENOTDIR, "cannot find the code at '%s': Not a directory");
	check_bad_path(folder, "text", -EINVAL, no_file);
	check_bad_path(folder, "text.txt", -EINVAL, no_file);
	check_bad_path(folder, "text.py.bak", -EINVAL, no_file);
	check_bad_path(folder, "py", -EINVAL, no_file);
	check_bad_path(folder, "empty", -EINVAL, no_file);
	check_bad_path("/dev", "null", -EINVAL, "cannot use the code at '%s': it is no folder and no file");
	is_int(count_open_fds(), fds, "no descriptor is left open");
	tree_free(folder);
}

/* Nobody writes to it: opening it must not wait for that. */
static void test_fifo(void)
{
	char *folder = tree_new(), path[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/fifo", folder);
	(void) mkfifo(path, 0600);
	(void) alarm(10);
	check_bad_path(folder, "fifo", -EINVAL, "cannot use the code at '%s': it is no folder and no file");
	(void) alarm(0);
	tree_free(folder);
}

int main(void)
{
	test_code();
	test_handler();
	test_environment();
	test_two_readers();
	test_byte_order_mark();
	test_start_variables();
	test_no_code();
	test_wrong_types();
	test_not_json();
	test_not_utf8();
	test_null_characters();
	test_bad_base64();
	test_bad_names();
	test_depth();
	test_big();
	test_many_variables();
	test_convention();
	test_usual_handlers();
	test_folders();
	test_sources();
	test_path_archives();
	test_bad_paths();
	test_fifo();
	return done_testing();
}
