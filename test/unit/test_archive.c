#include "../../proxy/archive.h"

#include "tap.h"
#include "tree.h"

#include <zip.h>

/* What an entry leaves out is what is usual. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* --- zips, byte for byte ----------------------------------------------------------------------------- */

enum { UNIX = 3, DOS = 0 };
enum { ENCRYPTED = 1, DESCRIPTOR = 8 };
enum { STORED = 0, DEFLATED = 8 };

/* What the writer is to make; what is not given is right. */
struct entry {
	const char *name;
	const char *data;
	size_t length; /* 0: strlen */
	mode_t mode;   /* 0: a file, 0644, or a directory */
	int system;    /* 0: Unix; -1: DOS */
	unsigned flags, method;
	unsigned declared; /* uncompressed size; 0: right */
	bool wrong_crc;
};

struct zip {
	unsigned char bytes[1 << 17];
	size_t length;
};

static void put(struct zip *zip, unsigned long value, int size)
{
	for (int i = 0; i < size; i++)
		zip->bytes[zip->length++] = (unsigned char) (value >> (8 * i));
}

static void put_bytes(struct zip *zip, const char *data, size_t length)
{
	memcpy(zip->bytes + zip->length, data, length);
	zip->length += length;
}

static unsigned crc32_of(const char *data, size_t length)
{
	unsigned crc = ~0U;

	for (size_t i = 0; i < length; i++) {
		crc ^= (unsigned char) data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
	}
	return ~crc;
}

static size_t length_of(const struct entry *entry)
{
	return entry->length > 0 || entry->data == NULL ? entry->length : strlen(entry->data);
}

/* The members that the local and the central header share. */
static void put_header(struct zip *zip, const struct entry *entry, bool central)
{
	size_t length = length_of(entry), packed = entry->method == DEFLATED ? length + 5 : length;
	bool later = !central && (entry->flags & DESCRIPTOR);
	unsigned crc = crc32_of(entry->data, length) ^ (entry->wrong_crc ? 1 : 0);

	put(zip, 20, 2);
	put(zip, entry->flags, 2);
	put(zip, entry->method, 2);
	put(zip, 0x58210000, 4);
	put(zip, later ? 0 : crc, 4);
	put(zip, later ? 0 : packed, 4);
	put(zip, later ? 0 : entry->declared > 0 ? entry->declared : length, 4);
	put(zip, strlen(entry->name), 2);
	put(zip, 0, 2);
}

static void put_local(struct zip *zip, const struct entry *entry)
{
	size_t length = length_of(entry);

	put(zip, 0x04034b50, 4);
	put_header(zip, entry, false);
	put_bytes(zip, entry->name, strlen(entry->name));
	if (entry->method == DEFLATED) { /* one block, the last, not compressed */
		put(zip, 1, 1);
		put(zip, length, 2);
		put(zip, ~length, 2);
	}
	put_bytes(zip, entry->data != NULL ? entry->data : "", length);
	if (entry->flags & DESCRIPTOR) {
		put(zip, 0x08074b50, 4);
		put(zip, crc32_of(entry->data, length), 4);
		put(zip, entry->method == DEFLATED ? length + 5 : length, 4);
		put(zip, length, 4);
	}
}

static mode_t mode_of(const struct entry *entry)
{
	size_t length = strlen(entry->name);

	if (entry->mode != 0)
		return entry->mode;
	return length > 0 && entry->name[length - 1] == '/' ? S_IFDIR | 0755 : S_IFREG | 0644;
}

static void put_central(struct zip *zip, const struct entry *entry, size_t offset)
{
	put(zip, 0x02014b50, 4);
	put(zip, 20, 1);
	put(zip, entry->system < 0 ? DOS : UNIX, 1);
	put_header(zip, entry, true);
	put(zip, 0, 6);
	put(zip, entry->system < 0 ? 0x20 : (unsigned long) mode_of(entry) << 16, 6);
	zip->length -= 2; /* internal attributes are 2 of the 6 zeros above */
	put(zip, offset, 4);
	put_bytes(zip, entry->name, strlen(entry->name));
}

static struct zip *zip_make(const struct entry *entries, size_t count)
{
	struct zip *zip = calloc(1, sizeof(*zip));
	size_t offsets[64], central;

	for (size_t i = 0; i < count; i++) {
		offsets[i] = zip->length;
		put_local(zip, &entries[i]);
	}
	central = zip->length;
	for (size_t i = 0; i < count; i++)
		put_central(zip, &entries[i], offsets[i]);
	put(zip, 0x06054b50, 4);
	put(zip, 0, 4);
	put(zip, count, 2);
	put(zip, count, 2);
	put(zip, zip->length - 12 - central, 4);
	put(zip, central, 4);
	put(zip, 0, 2);
	return zip;
}

/* --- the place where they are unpacked --------------------------------------------------------------- */

static const struct archive_limits plenty = { .bytes = 1 << 20, .entries = 1000 };

/* base/root is the directory; base/outside must stay as it is. */
struct place {
	char *base, *outside, *before;
	int root_fd;
};

static void write_text(const char *directory, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	(void) snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "we");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
		bail_out("cannot write %s", path);
}

static struct place place_new(void)
{
	struct place place = { .base = tree_new() };
	char path[PATH_MAX];

	if (asprintf(&place.outside, "%s/outside", place.base) < 0 || mkdir(place.outside, 0755) < 0)
		bail_out("cannot make %s", place.outside);
	(void) snprintf(path, sizeof(path), "%s/root", place.base);
	if (mkdir(path, 0755) < 0)
		bail_out("cannot make %s", path);
	write_text(place.outside, "file", "precious");
	(void) snprintf(path, sizeof(path), "%s/outside/directory", place.base);
	(void) mkdir(path, 0755);
	place.before = tree_show(place.base);
	(void) snprintf(path, sizeof(path), "%s/root", place.base);
	place.root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place;
}

/* What is in the directory now; for free(). Empties it, and says whether something outside has changed. */
static char *place_take(struct place *place, bool *ret_intact)
{
	char path[PATH_MAX], *inside, *all;

	(void) snprintf(path, sizeof(path), "%s/root", place->base);
	inside = tree_show(path);
	tree_empty(path);
	all = tree_show(place->base);
	*ret_intact = strcmp(all, place->before) == 0;
	if (!*ret_intact)
		diag("before:\n%s# after:\n%s", place->before, all);
	free(all);
	return inside;
}

static void place_free(struct place *place)
{
	fd_close(place->root_fd);
	free(place->outside);
	free(place->before);
	tree_free(place->base);
}

/* --- checks ------------------------------------------------------------------------------------------ */

/* A copy at the end of an allocation: a sanitizer sees each byte read too many. */
static int unpack(const void *data, size_t length, const struct place *place, const struct archive_limits *limits,
	struct err *err)
{
	char *copy = malloc(length > 0 ? length : 1);
	int r;

	memcpy(copy, data, length);
	r = archive_unpack(copy, length, place->root_fd, limits, err);
	free(copy);
	return r;
}

static struct place place;

static void check_limited(const struct entry *entries, size_t count, const struct archive_limits *limits, int code,
	const char *sentence, const char *tree, const char *what)
{
	struct zip *zip = zip_make(entries, count);
	struct err err = { .text = "" };
	int r = unpack(zip->bytes, zip->length, &place, limits, &err);
	bool intact;
	char *inside = place_take(&place, &intact);

	ok(tap_is_int(r, code) && tap_is_str(err.text, sentence) && tap_is_str(inside, tree) && intact, "%s", what);
	free(inside);
	free(zip);
}

#define ENTRIES(...)                                                                                                   \
	(const struct entry[]) { __VA_ARGS__ }, sizeof((const struct entry[]) { __VA_ARGS__ }) / sizeof(struct entry)
#define CHECK_UNPACKS(what, tree, ...) check_limited(ENTRIES(__VA_ARGS__), &plenty, 0, "", tree, what)
#define CHECK_REFUSED(what, code, sentence, tree, ...)                                                                 \
	check_limited(ENTRIES(__VA_ARGS__), &plenty, code, sentence, tree, what)

static void test_contents(void)
{
	check_limited(NULL, 0, &plenty, 0, "", "", "an empty archive");
	CHECK_UNPACKS("files and directories",
		"__main__.py 644 'pass'\nempty 644 ''\npkg/ 755\npkg/a/ 755\npkg/a/b.py 644 'x=1'\n",
		{ "__main__.py", "pass" }, { "empty", "" }, { "pkg/a/b.py", "x=1" });
	CHECK_UNPACKS("directories of their own, before and after their files",
		"a/ 755\na/f 644 '1'\nb/ 755\nb/f 644 '2'\nc/ 755\n", { "a/" }, { "a/f", "1" }, { "b/f", "2" },
		{ "b/" }, { "c/" });
	CHECK_UNPACKS("deflated", "a 644 'some text'\n", { "a", "some text", .method = DEFLATED });
	CHECK_UNPACKS("with data descriptors, from DOS, as Java tools write it", "a/ 755\na/f 644 'some text'\n",
		{ "a/", .system = -1 }, { "a/f", "some text", .method = DEFLATED, .flags = DESCRIPTOR, .system = -1 });
	CHECK_UNPACKS("of two entries with one name the later stays", "a 755 'two'\n", { "a", "one" },
		{ "a", "two", .mode = S_IFREG | 0755 });
	CHECK_UNPACKS("of a directory's two entries one is made", "a/ 755\n", { "a/" }, { "a/" });
}

static void test_names(void)
{
	char longest[NAME_MAX + 2] = "";

	CHECK_UNPACKS("names with empty components and dots", "a/ 755\na/b 644 '1'\na/c 644 '2'\nd 644 '3'\ne/ 755\n",
		{ "a//b", "1" }, { "./a/./c", "2" }, { "././d", "3" }, { "./" }, { "./e/./" });
	CHECK_UNPACKS("names that only look like it", "... 644 '1'\n..\\x 644 '3'\n..a 644 '2'\nC:\\y 644 '4'\n",
		{ "...", "1" }, { "..a", "2" }, { "..\\x", "3" }, { "C:\\y", "4" });
	CHECK_UNPACKS("names in UTF-8 stay, others become it", "caf\xc3\xa9 644 '1'\n\xc3\xbc 644 '2'\n",
		{ "caf\x82", "1" }, { "\xc3\xbc", "2" });

	memset(longest, 'n', NAME_MAX);
	{
		char tree[NAME_MAX + 20];

		(void) snprintf(tree, sizeof(tree), "%s 644 'x'\n", longest);
		CHECK_UNPACKS("a name of the greatest length", tree, { longest, "x" });
	}
	longest[NAME_MAX] = 'n';
	{
		char sentence[NAME_MAX + 100];

		(void) snprintf(sentence, sizeof(sentence), "cannot unpack '%s': File name too long", longest);
		CHECK_REFUSED("a name that is one byte longer", -ENAMETOOLONG, sentence, "", { longest, "x" });
	}
}

static void test_leading_out(void)
{
	static const char *const names[] = {
		"../outside/evil",
		"..",
		"../",
		"a/..",
		"a/../b",
		"a/../../outside/evil",
		"./../outside/file",
		"a/b/../..",
		".//..//outside/evil",
		"a/../",
	};
	char sentence[PATH_MAX + 50], absolute[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct zip *zip = zip_make(ENTRIES({ names[i], "evil" }));
		struct err err = { .text = "" };
		int r = unpack(zip->bytes, zip->length, &place, &plenty, &err);
		bool intact;
		char *inside = place_take(&place, &intact);

		(void) snprintf(sentence, sizeof(sentence), "entry '%s' leads outside of the archive", names[i]);
		ok(tap_is_int(r, -EPERM) && tap_is_str(err.text, sentence) && strstr(inside, "evil") == NULL && intact,
			"%s is refused", names[i]);
		free(inside);
		free(zip);
	}
	(void) snprintf(absolute, sizeof(absolute), "%s/evil", place.outside);
	(void) snprintf(sentence, sizeof(sentence), "entry '%s' has an absolute name", absolute);
	CHECK_REFUSED("an absolute name", -EPERM, sentence, "", { absolute, "evil" });
	CHECK_REFUSED("two slashes in front", -EPERM, "entry '//evil' has an absolute name", "", { "//evil", "evil" });
	CHECK_REFUSED("the root", -EPERM, "entry '/' has an absolute name", "", { "/" });
	CHECK_REFUSED("no name", -EINVAL, "entry '' has no name", "", { "", "evil" });
	CHECK_REFUSED("a dot as a file", -EINVAL, "entry '.' has no name", "", { ".", "evil" });
}

#define LINK(name, target)                                                                                             \
	{                                                                                                              \
		name, target, .mode = S_IFLNK | 0777                                                                   \
	}

static void test_links(void)
{
	CHECK_UNPACKS("links are made as they are",
		"a -> /nowhere/at/all\nb -> ../outside\nbin/ 755\nbin/c -> ../f\nf 644 'x'\n",
		LINK("a", "/nowhere/at/all"), LINK("b", "../outside"), LINK("bin/c", "../f"), { "f", "x" });
	CHECK_REFUSED("a file through a link to a directory outside", -ENOTDIR,
		"entry 'l/evil' goes through a file or a symbolic link", "l -> ../outside\n", LINK("l", "../outside"),
		{ "l/evil", "evil" });
	CHECK_REFUSED("... deeper", -ENOTDIR, "entry 'a/l/directory/evil' goes through a file or a symbolic link",
		"a/ 755\na/l -> ../../outside\n", LINK("a/l", "../../outside"), { "a/l/directory/evil", "evil" });
	CHECK_REFUSED("a directory in the place of a link", -ENOTDIR,
		"entry 'l/' is a file or a symbolic link elsewhere in the archive", "l -> ../outside\n",
		LINK("l", "../outside"), { "l/" });
	CHECK_REFUSED("a link through a link", -ENOTDIR, "entry 'l/m' goes through a file or a symbolic link",
		"l -> ../outside\n", LINK("l", "../outside"), LINK("l/m", "x"));
	CHECK_REFUSED("a file through a link that stays inside", -ENOTDIR,
		"entry 'l/f' goes through a file or a symbolic link", "d/ 755\nl -> d\n", { "d/" }, LINK("l", "d"),
		{ "l/f", "x" });
	CHECK_UNPACKS("a file in the place of a link replaces it, not what it leads to", "l 644 'evil'\n",
		LINK("l", "../outside/file"), { "l", "evil" });
	CHECK_UNPACKS("a link in the place of a file replaces it", "f -> g\n", { "f", "x" }, LINK("f", "g"));
	CHECK_UNPACKS("a link in the place of a link", "l -> b\n", LINK("l", "a"), LINK("l", "b"));
}

static void test_damaged_links(void)
{
	static char target[4098];

	CHECK_REFUSED("a link to nothing", -EBADMSG, "entry 'l' is a damaged symbolic link", "", LINK("l", ""));
	CHECK_REFUSED("a link with a null character", -EBADMSG, "entry 'l' is a damaged symbolic link", "",
		{ "l", "a\0b", 3, .mode = S_IFLNK | 0777 });
	memset(target, 't', sizeof(target) - 1);
	CHECK_REFUSED("a link that is too long for us", -EBADMSG, "entry 'l' is a damaged symbolic link", "",
		LINK("l", target));
	target[4096] = '\0';
	CHECK_REFUSED("... for the system", -ENAMETOOLONG, "cannot make the link 'l': File name too long", "",
		LINK("l", target));
	target[4095] = '\0';
	CHECK_UNPACKS("a link of the greatest length", "l -> ...\n", LINK("l", target));
}

static void test_conflicts(void)
{
	CHECK_REFUSED("a file, then the same as a directory", -ENOTDIR,
		"entry 'a/' is a file or a symbolic link elsewhere in the archive", "a 644 'x'\n", { "a", "x" },
		{ "a/" });
	CHECK_REFUSED("a file, then something below it", -ENOTDIR, "entry 'a/b' goes through a file or a symbolic link",
		"a 644 'x'\n", { "a", "x" }, { "a/b", "y" });
	CHECK_REFUSED("a directory, then the same as a file", -EEXIST,
		"entry 'a' is a directory elsewhere in the archive", "a/ 755\na/b 644 'y'\n", { "a/b", "y" },
		{ "a", "x" });
	CHECK_REFUSED("an empty directory, then a link", -EEXIST, "entry 'a' is a directory elsewhere in the archive",
		"a/ 755\n", { "a/" }, LINK("a", "../outside"));
}

/* The directory of the entry before is kept open for the next. */
static void test_neighbours(void)
{
	CHECK_UNPACKS("from one directory to another and back",
		"a/ 755\na/b/ 755\na/b/x 644 '2'\na/bx 644 '3'\na/x 644 '1'\na/y 644 '5'\nb/ 755\nb/x 644 '6'\nx 644 '4'\n",
		{ "a/x", "1" }, { "a/b/x", "2" }, { "a/bx", "3" }, { "x", "4" }, { "a/y", "5" }, { "b/x", "6" });
	CHECK_UNPACKS("behind a name that ends elsewhere", "a/ 755\na/b/ 755\na/b/x 644 '1'\na/y 644 '2'\nz 644 '3'\n",
		{ "a/b/./" }, { "a/b/x", "1" }, { "a/./" }, { "a/y", "2" }, { "a/b/" }, { "z", "3" });
	CHECK_UNPACKS("a directory beside a file", "a/ 755\na/d/ 755\na/d/x 644 '2'\na/x 644 '1'\n", { "a/x", "1" },
		{ "a/d", NULL, .mode = S_IFDIR | 0755 }, { "a/d/x", "2" });
	CHECK_UNPACKS("a link beside a file, then a file in its place", "a/ 755\na/l 644 '2'\na/x 644 '1'\n",
		{ "a/x", "1" }, LINK("a/l", "../../outside/file"), { "a/l", "2" });
	CHECK_REFUSED("two dots beside a file", -EPERM, "entry 'a/..' leads outside of the archive",
		"a/ 755\na/x 644 '1'\n", { "a/x", "1" }, { "a/..", "evil" });
	CHECK_REFUSED("a dot beside a file", -EEXIST, "entry 'a/.' is a directory elsewhere in the archive",
		"a/ 755\na/x 644 '1'\n", { "a/x", "1" }, { "a/.", "evil" });
	CHECK_REFUSED("the file's directory as a file", -EEXIST, "entry 'a' is a directory elsewhere in the archive",
		"a/ 755\na/x 644 '1'\n", { "a/x", "1" }, { "a", "evil" });
	CHECK_REFUSED("through a link beside a file", -ENOTDIR, "entry 'a/l/x' goes through a file or a symbolic link",
		"a/ 755\na/l -> ../../outside\na/x 644 '1'\n", { "a/x", "1" }, LINK("a/l", "../../outside"),
		{ "a/l/x", "evil" });
}

static void test_modes(void)
{
	mode_t before = umask(077);

	CHECK_UNPACKS("modes, whatever the umask",
		"m000 644 'x'\nm400 600 'x'\nm444 644 'x'\nm555 755 'x'\nm666 666 'x'\nm751 751 'x'\n",
		{ "m000", "x", .mode = S_IFREG }, { "m400", "x", .mode = S_IFREG | 0400 },
		{ "m444", "x", .mode = S_IFREG | 0444 }, { "m555", "x", .mode = S_IFREG | 0555 },
		{ "m666", "x", .mode = S_IFREG | 0666 }, { "m751", "x", .mode = S_IFREG | 0751 });
	(void) umask(before);
	CHECK_UNPACKS("no set-uid, set-gid and sticky bits", "s 755 'x'\n", { "s", "x", .mode = S_IFREG | 07755 });
	CHECK_UNPACKS("a mode without a type is a file", "a 755 'x'\n", { "a", "x", .mode = 0755 });
	CHECK_UNPACKS("from DOS", "a 644 'x'\n", { "a", "x", .system = -1 });
	CHECK_UNPACKS("a directory without a slash, one that nobody may enter", "a/ 755\nb/ 755\nb/c 644 'x'\n",
		{ "a", "", .mode = S_IFDIR | 0755 }, { "b/", .mode = S_IFDIR }, { "b/c", "x" });
}

static void test_other_types(void)
{
	static const mode_t types[] = { S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		CHECK_REFUSED("a pipe, device or socket", -EPERM,
			"entry 'd' is neither a file nor a directory nor a symbolic link", "",
			{ "d", "x", .mode = types[i] | 0644 });
}

static void test_limits(void)
{
	const struct archive_limits ten = { .bytes = 10, .entries = 3 };

	check_limited(ENTRIES({ "a", "12345" }, { "b", "67890" }, { "c", "" }), &ten, 0, "",
		"a 644 '12345'\nb 644 '67890'\nc 644 ''\n", "exactly the limits, in bytes and in entries");
	check_limited(ENTRIES({ "a", "12345678901" }), &ten, -EFBIG, "the archive unpacks to more than 10 bytes", "",
		"one byte more, in one file");
	check_limited(ENTRIES({ "a", "123456" }, { "b", "78901" }), &ten, -EFBIG,
		"the archive unpacks to more than 10 bytes", "a 644 '123456'\n", "one byte more, in two files");
	check_limited(ENTRIES({ "a", "1" }, { "b", "1" }, { "c", "1" }, { "d", "1" }), &ten, -EFBIG,
		"the archive has more than 3 entries", "", "one entry more");
	check_limited(ENTRIES({ "d/e/f/a", "1" }), &ten, 0, "", "d/ 755\nd/e/ 755\nd/e/f/ 755\nd/e/f/a 644 '1'\n",
		"as many folders as entries");
	check_limited(ENTRIES({ "d/e/a", "1" }, { "f/g/a", "1" }), &ten, -EFBIG, "the archive has more than 3 folders",
		"d/ 755\nd/e/ 755\nd/e/a 644 '1'\nf/ 755\nf/g/ 755\n", "one folder more, in names");
	check_limited(ENTRIES({ "d/e/f/", "" }, { "g/", "" }), &ten, -EFBIG, "the archive has more than 3 folders",
		"d/ 755\nd/e/ 755\nd/e/f/ 755\ng/ 755\n", "... and of its own");
}

/* A bomb that declares less than it holds: what counts is what comes out. */
static void test_lying_sizes(void)
{
	const struct archive_limits ten = { .bytes = 10, .entries = 3 };
	static char data[30000];
	struct zip *zip;
	struct err err = { .text = "" };
	char *inside;
	bool intact;
	int r;

	memset(data, 'x', sizeof(data));
	zip = zip_make(ENTRIES({ "a", data, sizeof(data), .method = DEFLATED, .declared = 5 }));
	r = unpack(zip->bytes, zip->length, &place, &ten, &err);
	inside = place_take(&place, &intact);
	ok(r < 0 && strstr(inside, "bytes") == NULL && intact,
		"30000 bytes that are declared as 5 do not come out (%s)", err.text);
	free(inside);
	free(zip);
}

static void test_damaged(void)
{
	CHECK_REFUSED("a wrong checksum", -EBADMSG, "entry 'a' is damaged: CRC error", "a 644 'text'\n",
		{ "a", "text", .wrong_crc = true });
	CHECK_REFUSED("a wrong checksum, deflated", -EBADMSG, "entry 'a' is damaged: CRC error", "a 644 'text'\n",
		{ "a", "text", .method = DEFLATED, .wrong_crc = true });
	CHECK_REFUSED("an encrypted entry", -EACCES, "entry 'a' is encrypted", "",
		{ "a", "0123456789abcdef", .flags = ENCRYPTED });
	CHECK_REFUSED("an unknown compression", -EBADMSG, "cannot read entry 'a': Compression method not supported",
		"a 644 ''\n", { "a", "text", .method = 77 });
}

static void test_no_zip(void)
{
	static const char *const texts[] = { "P", "PK", "PK\x03\x04",
		"no zip at all, but longer than a zip's last record" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = { .text = "" };
		int r = unpack(texts[i], strlen(texts[i]), &place, &plenty, &err);

		ok(tap_is_int(r, -EBADMSG) && strncmp(err.text, "not a valid zip archive: ", 25) == 0, "'%s': %s",
			tap_show(texts[i], strlen(texts[i])), err.text);
	}
}

static const struct entry sample[] = {
	{ "a/b", "text", .method = DEFLATED },
	{ "c", "more", .mode = S_IFREG | 0755 },
	LINK("l", "../outside"),
};

static void test_truncated(void)
{
	struct zip *zip = zip_make(sample, ARRAY_SIZE(sample));
	unsigned wrong = 0;

	for (size_t length = 1; length < zip->length; length++) {
		struct err err = { .text = "" };
		int r = unpack(zip->bytes, length, &place, &plenty, &err);
		bool intact;
		char *inside = place_take(&place, &intact);

		if (r >= 0 || err.text[0] == '\0' || inside[0] != '\0' || !intact) {
			diag("cut at %zu: %d, %s, %s", length, r, err.text, inside);
			wrong++;
		}
		free(inside);
	}
	is_int(wrong, 0, "cut at any of its %zu bytes, a zip is refused and nothing is unpacked", zip->length);
	free(zip);
}

/* Any byte changed, some more than once: whatever comes of it, nothing outside changes. */
static void test_mutated(void)
{
	enum { ROUNDS = 1500 };
	struct zip *zip = zip_make(sample, ARRAY_SIZE(sample));
	unsigned wrong = 0, refused = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct zip copy = *zip;
		size_t changes = 1 + random_below(3);
		struct err err = { .text = "" };
		bool intact;
		int r;

		for (size_t i = 0; i < changes; i++)
			copy.bytes[random_below(copy.length)] = random_below(2) == 0
				? (unsigned char) "/.\0\xff"[random_below(4)]
				: (unsigned char) random_below(256);
		r = unpack(copy.bytes, copy.length, &place, &plenty, &err);
		free(place_take(&place, &intact));
		refused += r < 0;
		if (!intact || (r < 0 && err.text[0] == '\0')) {
			diag("round %d: %d, %s", round, r, err.text);
			wrong++;
		}
	}
	is_int(wrong, 0, "changed in %d ways, of which %u were refused, a zip changes nothing outside", ROUNDS,
		refused);
	ok(refused > ROUNDS / 10 && refused < ROUNDS, "some were refused, some not");
	free(zip);
}

/* What another program wrote, really compressed, larger than one buffer. */
static void test_libzip(void)
{
	enum { SIZE = 200000 };
	char path[PATH_MAX], *text = malloc(SIZE), *unpacked = malloc(SIZE), *bytes;
	struct err err = { .text = "" };
	zip_t *archive;
	long length;
	size_t count;
	FILE *file;
	int fd;

	for (size_t i = 0; i < SIZE; i++)
		text[i] = (char) ('a' + random_below(4));
	(void) snprintf(path, sizeof(path), "%s.zip", place.base);
	archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
	if (archive == NULL ||
		zip_file_add(archive, "big", zip_source_buffer(archive, text, SIZE, 0), ZIP_FL_ENC_UTF_8) < 0 ||
		zip_close(archive) < 0)
		bail_out("libzip cannot make a zip");
	file = fopen(path, "re");
	(void) fseek(file, 0, SEEK_END);
	length = ftell(file);
	rewind(file);
	bytes = malloc((size_t) length);
	count = fread(bytes, 1, (size_t) length, file);
	(void) fclose(file);
	(void) unlink(path);
	ok(length < SIZE / 2, "%d bytes are compressed to %ld", SIZE, length);
	is_int(unpack(bytes, count, &place, &plenty, &err), 0, "... and unpacked %s", err.text);
	(void) snprintf(path, sizeof(path), "%s/root/big", place.base);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok(read(fd, unpacked, SIZE) == SIZE && memcmp(text, unpacked, SIZE) == 0, "... as they were");
	fd_close(fd);
	free(bytes);
	free(unpacked);
	free(text);
}

int main(void)
{
	int fds = count_open_fds();

	(void) umask(022);
	place = place_new();
	test_contents();
	test_names();
	test_leading_out();
	test_links();
	test_damaged_links();
	test_conflicts();
	test_neighbours();
	test_modes();
	test_other_types();
	test_limits();
	test_lying_sizes();
	test_damaged();
	test_no_zip();
	test_truncated();
	test_mutated();
	test_libzip();
	place_free(&place);
	is_int(count_open_fds(), fds, "no descriptor is left open");
	return done_testing();
}
