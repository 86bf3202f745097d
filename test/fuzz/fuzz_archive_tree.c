/*
 * Well-formed archives with hostile trees, made from a script, against a model of what must come out: names that
 * climb, links that lead out and entries behind them, entries that replace each other, wrong sizes and checksums.
 */
#include "unpacking.h"

#include <limits.h>
#include <zlib.h>

enum { NODES_MAX = 256, ARCHIVE_MAX = 2 << 20, NAME_ROOM = 4096 };

/* --- the script: entries ------------------------------------------------------------------------------ */

struct source_entry {
	char name[NAME_ROOM];
	char content[NAME_ROOM]; /* or what a link leads to */
	size_t content_length;   /* a longer one goes on with zeros */
	unsigned mode;           /* 0 with made_by_dos */
	bool made_by_dos, deflated, encrypted, wrong_checksum, wrong_size;
};

static char long_name[NAME_MAX + 1], too_long_name[NAME_MAX + 2];

static const char *const components[] = { "a", "b", "c", "d", "canary", "witness", "out", "inner", "..", ".", "",
	"base", "..\\canary", "\xc3\xa9", "...", "a b", long_name, too_long_name };

/* Each byte is one component; the highest bit ends the path. */
static void make_path(struct fuzz_script *script, char *to)
{
	size_t used = strlen(to);

	for (int count = 0; count < 12; count++) {
		uint8_t choice = fuzz_byte(script);

		used += (size_t) snprintf(to + used, NAME_ROOM - used, "%s%s", count > 0 ? "/" : "",
			components[(choice & 0x7f) % ARRAY_SIZE(components)]);
		if ((choice & 0x80) != 0 || fuzz_left(script) == 0)
			return;
	}
}

static void make_entry(struct fuzz_script *script, struct source_entry *entry)
{
	static const unsigned types[] = { S_IFREG, S_IFDIR, S_IFLNK, 0, S_IFREG, S_IFLNK, S_IFIFO, S_IFCHR };
	static const char *const prefixes[] = { "", "", "", "../", "../../", "/", "/proc/self/cwd/", "./" };
	uint8_t flags = fuzz_byte(script), lies = fuzz_byte(script), choice = fuzz_byte(script);

	memset(entry, 0, sizeof(*entry));
	entry->mode = types[flags & 7] | (flags >> 3 & 7) * 0111U | (flags & 0x40) << 5;
	entry->made_by_dos = (lies & 7) == 7;
	entry->deflated = (lies & 8) != 0;
	entry->encrypted = (lies & 0xf0) == 0x10;
	entry->wrong_checksum = (lies & 0xf0) == 0x20;
	entry->wrong_size = (lies & 0xf0) == 0x30;
	(void) strcpy(entry->name, (choice & 0x3f) == 1 ? "/" : "");
	make_path(script, entry->name);
	if ((choice & 0xc0) == 0x40)
		(void) strncat(entry->name, "/", 2);
	if (S_ISLNK(entry->mode)) {
		(void) strcpy(entry->content, prefixes[choice & 7]);
		make_path(script, entry->content);
		entry->content_length = strlen(entry->content);
		return;
	}
	(void) snprintf(entry->content, sizeof(entry->content), "%02x%02x%02x", flags, lies, choice);
	entry->content_length = (choice & 0x38) == 0x38 ? (size_t) choice * 200 : 6;
}

/* --- the archive -------------------------------------------------------------------------------------- */

struct writer {
	unsigned char *data;
	size_t length;
};

static void put(struct writer *writer, const void *data, size_t length)
{
	FUZZ_NEED(writer->length + length <= ARCHIVE_MAX, "room for the archive");
	memcpy(writer->data + writer->length, data, length);
	writer->length += length;
}

/* Little-endian. */
static void put_number(struct writer *writer, unsigned long value, size_t width)
{
	unsigned char bytes[4] = { (unsigned char) value, (unsigned char) (value >> 8), (unsigned char) (value >> 16),
		(unsigned char) (value >> 24) };

	put(writer, bytes, width);
}

static size_t deflate_raw(const unsigned char *from, size_t length, unsigned char *to, size_t room)
{
	z_stream stream = { .next_in = (unsigned char *) from,
		.avail_in = (unsigned) length,
		.next_out = to,
		.avail_out = (unsigned) room };

	FUZZ_NEED(deflateInit2(&stream, 1, Z_DEFLATED, -9, 1, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
	FUZZ_NEED(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib");
	(void) deflateEnd(&stream);
	return stream.total_out;
}

/* What both headers of an entry have (APPNOTE.TXT 4.4.3 to 4.4.11). */
struct common_header {
	unsigned flags, method;
	unsigned long checksum, packed, unpacked;
};

static void put_common(struct writer *writer, const struct common_header *header, size_t name_length)
{
	put_number(writer, 20, 2);
	put_number(writer, header->flags, 2);
	put_number(writer, header->method, 2);
	put_number(writer, 0, 2);
	put_number(writer, 0x21, 2);
	put_number(writer, header->checksum, 4);
	put_number(writer, header->packed, 4);
	put_number(writer, header->unpacked, 4);
	put_number(writer, name_length, 2);
	put_number(writer, 0, 2);
}

/* Local header and data; returns what the central directory repeats. */
static struct common_header put_local(struct writer *writer, const struct source_entry *entry)
{
	static unsigned char content[256 * 200], packed[256 * 200];
	size_t length = entry->content_length;
	struct common_header header = { .flags = 0x800U | entry->encrypted, .method = entry->deflated ? 8 : 0 };

	memset(content, 0, length);
	memcpy(content, entry->content, strlen(entry->content));
	header.checksum = crc32(0, content, (unsigned) length) ^ entry->wrong_checksum;
	header.packed = entry->deflated ? deflate_raw(content, length, packed, sizeof(packed)) : length;
	header.unpacked = length + (entry->wrong_size ? 1 : 0);
	put(writer, "PK\3\4", 4);
	put_common(writer, &header, strlen(entry->name));
	put(writer, entry->name, strlen(entry->name));
	put(writer, entry->deflated ? packed : content, header.packed);
	return header;
}

static void put_central(
	struct writer *writer, const struct source_entry *entry, const struct common_header *header, size_t offset)
{
	put(writer, "PK\1\2", 4);
	put_number(writer, entry->made_by_dos ? 20 : 3 << 8 | 20, 2);
	put_common(writer, header, strlen(entry->name));
	put_number(writer, 0, 4); /* comment, disk */
	put_number(writer, 0, 2); /* internal attributes */
	put_number(writer, entry->made_by_dos ? 0 : (unsigned long) entry->mode << 16, 4);
	put_number(writer, offset, 4);
	put(writer, entry->name, strlen(entry->name));
}

static void put_end(struct writer *writer, size_t count, size_t start)
{
	size_t size = writer->length - start;

	put(writer, "PK\5\6", 4);
	put_number(writer, 0, 4);
	put_number(writer, count, 2);
	put_number(writer, count, 2);
	put_number(writer, size, 4);
	put_number(writer, start, 4);
	put_number(writer, 0, 2);
}

/* --- the model ---------------------------------------------------------------------------------------- */

struct node {
	char path[2 * NAME_ROOM];
	unsigned mode;
	const struct source_entry *source; /* of a file or a link */
	bool partial;                      /* its entry failed */
};

struct model {
	struct node nodes[NODES_MAX];
	size_t count, bytes_left;
};

static struct node *find_node(struct model *model, const char *path)
{
	for (size_t i = 0; i < model->count; i++)
		if (strcmp(model->nodes[i].path, path) == 0)
			return &model->nodes[i];
	return NULL;
}

static struct node *add_node(struct model *model, const char *path, unsigned mode, const struct source_entry *source)
{
	struct node *node = find_node(model, path);

	FUZZ_NEED(node != NULL || model->count < NODES_MAX, "room for the model");
	if (node == NULL)
		node = &model->nodes[model->count++];
	(void) snprintf(node->path, sizeof(node->path), "%s", path);
	node->mode = mode;
	node->source = source;
	node->partial = false;
	return node;
}

/* False when there is something else of that name. */
static bool model_directory(struct model *model, const char *path)
{
	struct node *node = find_node(model, path);

	if (node == NULL)
		node = add_node(model, path, S_IFDIR | 0755, NULL);
	return S_ISDIR(node->mode);
}

/* Splits off the next component that counts; false when it is a forbidden one. "" at the end. */
static bool split(const char **rest, char *component)
{
	do {
		size_t length;

		*rest += strspn(*rest, "/");
		length = strcspn(*rest, "/");
		if (length > NAME_MAX)
			return false;
		memcpy(component, *rest, length);
		component[length] = '\0';
		*rest += length;
	} while (strcmp(component, ".") == 0);
	return strcmp(component, "..") != 0;
}

/* The path an entry goes to, its directories made; false when it must be refused. */
static bool model_path(struct model *model, const char *name, char *path)
{
	char component[NAME_MAX + 1];

	path[0] = '\0';
	if (name[0] == '/' || !split(&name, component))
		return false;
	while (component[0] != '\0') {
		if (path[0] != '\0')
			(void) strcat(path, "/");
		(void) strcat(path, component);
		if (!split(&name, component))
			return false;
		if (component[0] != '\0' && !model_directory(model, path))
			return false;
	}
	return true;
}

static bool model_file(struct model *model, const struct source_entry *entry, const char *path, unsigned mode)
{
	struct node *node = path[0] != '\0' ? find_node(model, path) : NULL;
	bool too_large = entry->content_length > model->bytes_left;

	if (path[0] == '\0' || (node != NULL && S_ISDIR(node->mode)))
		return false;
	node = add_node(model, path, S_IFREG | (mode & 0777) | 0600, entry);
	node->partial = entry->wrong_checksum || too_large;
	if (!node->partial)
		model->bytes_left -= entry->content_length;
	return !node->partial;
}

static bool model_link(struct model *model, const struct source_entry *entry, const char *path)
{
	struct node *node = path[0] != '\0' ? find_node(model, path) : NULL;

	if (entry->wrong_checksum || entry->content_length == 0 || path[0] == '\0' ||
		(node != NULL && S_ISDIR(node->mode)))
		return false;
	(void) add_node(model, path, S_IFLNK, entry);
	return true;
}

static bool model_entry(struct model *model, const struct source_entry *entry)
{
	unsigned mode = entry->made_by_dos ? 0 : entry->mode;
	size_t length = strlen(entry->name);
	char path[2 * NAME_ROOM];

	if (entry->encrypted || entry->content_length + (entry->wrong_size ? 1 : 0) > model->bytes_left ||
		!model_path(model, entry->name, path))
		return false;
	if ((length > 0 && entry->name[length - 1] == '/') || S_ISDIR(mode))
		return path[0] == '\0' || model_directory(model, path);
	if ((mode & S_IFMT) == 0)
		mode |= S_IFREG;
	if ((mode & 0777) == 0)
		mode |= 0644;
	if (S_ISREG(mode))
		return model_file(model, entry, path, mode);
	return S_ISLNK(mode) && model_link(model, entry, path);
}

/* --- the comparison ----------------------------------------------------------------------------------- */

static void check_node(const struct node *node)
{
	char content[NAME_ROOM];
	struct stat stat;
	size_t length;

	FUZZ_CHECK(unpacking_stat(node->path, &stat) == 0, "%s is missing", node->path);
	FUZZ_CHECK((stat.st_mode & S_IFMT) == (node->mode & S_IFMT), "%s: %o", node->path, stat.st_mode);
	if (node->partial || S_ISDIR(node->mode))
		return;
	FUZZ_CHECK(S_ISLNK(node->mode) || stat.st_mode == node->mode, "%s: %o", node->path, stat.st_mode);
	FUZZ_CHECK((size_t) stat.st_size == node->source->content_length, "%s: %lld bytes", node->path,
		(long long) stat.st_size);
	length = strlen(node->source->content);
	FUZZ_CHECK(unpacking_read(node->path, content, sizeof(content)) >= (ssize_t) length, "%s", node->path);
	FUZZ_CHECK(memcmp(content, node->source->content, length) == 0, "%s holds something else", node->path);
}

static void check_unpacking(const struct source_entry *entries, size_t count, const struct writer *archive)
{
	static struct model model;
	char *copy = fuzz_copy(archive->data, archive->length);
	struct err err;
	int r = unpacking_run(copy, archive->length, &err);
	bool fine = true, size_lies = false;

	model.count = 0;
	model.bytes_left = UNPACKED_MAX;
	for (size_t i = 0; fine && i < count; i++) {
		fine = model_entry(&model, &entries[i]);
		size_lies = size_lies || entries[i].wrong_size;
	}
	/* Whether libzip notices depends on its version, and nothing on whether it does. */
	FUZZ_CHECK(size_lies || fine == (r == 0), "%d: %s", r, err.text);
	for (size_t i = 0; !size_lies && i < model.count; i++)
		check_node(&model.nodes[i]);
	FUZZ_CHECK(unpacking_empty(false) == model.count || size_lies, "something else came out as well");
	free(copy);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(too_long_name, 'n', sizeof(too_long_name) - 1);
	unpacking_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct source_entry entries[16];
	struct fuzz_script script = { .at = data, .end = data + size };
	struct common_header headers[ARRAY_SIZE(entries)];
	size_t offsets[ARRAY_SIZE(entries)], count = 0, start;
	static unsigned char room[ARCHIVE_MAX];
	struct writer archive = { .data = room };

	for (; count < ARRAY_SIZE(entries) && fuzz_left(&script) > 0; count++) {
		make_entry(&script, &entries[count]);
		if (entries[count].content_length == 0)
			entries[count].wrong_checksum = false; /* libzip does not look at that of nothing */
		offsets[count] = archive.length;
		headers[count] = put_local(&archive, &entries[count]);
	}
	start = archive.length;
	for (size_t i = 0; i < count; i++)
		put_central(&archive, &entries[i], &headers[i], offsets[i]);
	put_end(&archive, count, start);
	check_unpacking(entries, count, &archive);
	return 0;
}
