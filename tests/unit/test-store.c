/* SPDX-License-Identifier: MIT */
/* cert/store: the generations of a name, through kills and damage, and what stays in memory. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cert/store.h"
#include "util/file.h"
#include "own-memory.h"
#include "temp-dir.h"

#define NOBODY 65534
#define NOW ((time_t)1800000000)

/* A file of the store. */
static char *file_of(const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "material/%s", name);
	return path_of(path);
}

static struct store *fresh_store(void)
{
	struct store *store = NULL;

	clean();
	assert_int_equal(store_new(&store, dir), 0);
	return store;
}

/* The names in the folder, sorted, with a space behind each. */
static const char *list_files(void)
{
	static char text[1024];
	struct dirent **entries;
	int n = scandir(file_of("."), &entries, NULL, alphasort);

	assert_true(n >= 2);
	text[0] = '\0';
	for (int i = 0; i < n; i++) {
		if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0) {
			strcat(text, entries[i]->d_name);
			strcat(text, " ");
		}
		free(entries[i]);
	}
	free(entries);
	return text;
}

/* ---- items ---- */

static struct cert_blob *make_blob(enum cert_kind kind, size_t len, unsigned int seed)
{
	struct cert_blob *blob = calloc(1, sizeof(*blob));
	uint64_t random = seed * 4 + kind + 1;

	blob->kind = kind;
	blob->len = len;
	blob->data = malloc(len);
	for (size_t i = 0; i < len; i++)
		blob->data[i] = (uint8_t)(test_random(&random) >> 32);
	assert_int_equal(EVP_Digest(blob->data, len, blob->digest, NULL, EVP_sha256(), NULL), 1);
	return blob;
}

/* Each @seed makes an item of its own. */
static struct store_item *make_item(enum store_kind kind, unsigned int seed)
{
	struct store_item *item = calloc(1, sizeof(*item));

	item->source = seed % 2 ? STORE_SET : STORE_FROM_FILE;
	item->time = NOW + seed;
	memset(item->origin, (int)seed, sizeof(item->origin));
	if (kind == STORE_AUTHORITY) {
		item->blobs[0] = make_blob(CERT_KIND_CA, 100 + seed, seed);
		item->n_blobs = 1;
	} else {
		item->blobs[0] = make_blob(CERT_KIND_CERT, 150 + seed, seed);
		item->blobs[1] = make_blob(CERT_KIND_KEY, 50 + seed, seed);
		item->n_blobs = 2;
	}
	return item;
}

static void assert_same_blobs(const struct store_item *item, const struct store_item *other)
{
	assert_int_equal(item->n_blobs, other->n_blobs);
	for (size_t i = 0; i < item->n_blobs; i++) {
		assert_int_equal(item->blobs[i]->kind, other->blobs[i]->kind);
		assert_int_equal(item->blobs[i]->len, other->blobs[i]->len);
		assert_memory_equal(item->blobs[i]->data, other->blobs[i]->data,
				    item->blobs[i]->len);
		assert_memory_equal(item->blobs[i]->digest, other->blobs[i]->digest,
				    CERT_DIGEST_SIZE);
	}
}

static void assert_same(const struct store_item *item, const struct store_item *other)
{
	assert_int_equal(item->generation, other->generation);
	assert_int_equal(item->source, other->source);
	assert_int_equal(item->time, other->time);
	assert_memory_equal(item->origin, other->origin, CERT_DIGEST_SIZE);
	assert_same_blobs(item, other);
}

/* Which of make_item()'s items is there: its seed; 0: there is none. */
static unsigned int seed_of(struct store *store, enum store_kind kind, const char *name,
			    enum store_which which, unsigned int *generation)
{
	struct store_item *item = NULL;
	int r = store_load(store, kind, name, which, &item);
	unsigned int seed;

	if (r == -ENOENT)
		return 0;
	assert_int_equal(r, 0);
	seed = (unsigned int)(item->blobs[0]->len - (kind == STORE_AUTHORITY ? 100 : 150));
	if (generation)
		*generation = item->generation;
	store_item_free(item);
	return seed;
}

static void assert_there(struct store *store, unsigned int current, unsigned int previous)
{
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_CURRENT, NULL), current);
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_PREVIOUS, NULL), previous);
}

/* Puts an identity, and returns its generation. */
static unsigned int put(struct store *store, unsigned int seed)
{
	struct store_item *item = make_item(STORE_IDENTITY, seed);
	unsigned int generation;

	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), 0);
	generation = item->generation;
	store_item_free(item);
	return generation;
}

static int load_result(struct store *store, enum store_which which)
{
	struct store_item *item = NULL;
	int r = store_load(store, STORE_IDENTITY, "a", which, &item);

	assert_int_equal(item != NULL, r == 0);
	store_item_free(item);
	return r;
}

/* ---- what is kept ---- */

static void test_round_trip(void **state)
{
	static const enum store_kind kinds[] = { STORE_AUTHORITY, STORE_IDENTITY };
	static const char *const names[] = { "a", "a.current", "X_9-.", "a.current" };
	struct store *store = fresh_store();

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct store_item *loaded = NULL, *items[3];

		assert_int_equal(store_load(store, kinds[i], "a", STORE_CURRENT, &loaded), -ENOENT);
		assert_int_equal(store_load(store, kinds[i], "a", STORE_PREVIOUS, &loaded),
				 -ENOENT);
		for (unsigned int n = 0; n < 3; n++) {
			items[n] = make_item(kinds[i], n + 1);
			assert_int_equal(store_put(store, kinds[i], "a", items[n]), 0);
			assert_int_equal(items[n]->generation, n + 1);
			assert_int_equal(store_load(store, kinds[i], "a", STORE_CURRENT, &loaded),
					 0);
			assert_same(loaded, items[n]);
			store_item_free(loaded);
			loaded = NULL;
			assert_int_equal(store_load(store, kinds[i], "a", STORE_PREVIOUS, &loaded),
					 n ? 0 : -ENOENT);
			if (n)
				assert_same(loaded, items[n - 1]);
			store_item_free(loaded);
			loaded = NULL;
		}
		for (unsigned int n = 0; n < 3; n++)
			store_item_free(items[n]);
	}
	assert_string_equal(list_files(), "authority-a.current authority-a.previous "
					  "identity-a.current identity-a.previous ");
	/* Names that look like the store's own files are names like others. */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct store_item *item = make_item(STORE_AUTHORITY, 10 + (unsigned int)i);

		assert_int_equal(store_put(store, STORE_AUTHORITY, names[i], item), 0);
		store_item_free(item);
	}
	assert_int_equal(seed_of(store, STORE_AUTHORITY, "a", STORE_CURRENT, NULL), 10);
	assert_int_equal(seed_of(store, STORE_AUTHORITY, "a", STORE_PREVIOUS, NULL), 3);
	assert_int_equal(seed_of(store, STORE_AUTHORITY, "a.current", STORE_CURRENT, NULL), 13);
	assert_int_equal(seed_of(store, STORE_AUTHORITY, "a.current", STORE_PREVIOUS, NULL), 11);
	assert_null(store_item_free(NULL));
	assert_null(store_free(store));
	assert_null(store_free(NULL));
	/* Another process finds them again. */
	assert_int_equal(store_new(&store, dir), 0);
	assert_int_equal(seed_of(store, STORE_AUTHORITY, "X_9-.", STORE_CURRENT, NULL), 12);
	store_free(store);
}

static void test_largest(void **state)
{
	struct store *store = fresh_store();
	struct store_item *item = make_item(STORE_IDENTITY, 1), *loaded = NULL;
	void *data = NULL;
	size_t len = 0;

	cert_blob_free(item->blobs[0]);
	cert_blob_free(item->blobs[1]);
	item->blobs[0] = make_blob(CERT_KIND_CERT, CERT_BLOB_MAX, 1);
	item->blobs[1] = make_blob(CERT_KIND_KEY, CERT_BLOB_MAX, 1);
	item->source = STORE_ROLLED_BACK;
	item->time = sizeof(time_t) == 8 ? (time_t)INT64_MAX : (time_t)INT32_MAX;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), 0);
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &loaded), 0);
	assert_same(loaded, item);
	item->generation = UINT_MAX;
	assert_int_equal(store_format(&data, &len, STORE_IDENTITY, item), 0);
	assert_true(len <= STORE_FILE_MAX);
	assert_int_equal(len,
			 316 + 2 * CERT_BLOB_MAX + STORE_SUM_SIZE); /* as the header file says */
	free(data);
	store_item_free(loaded);
	store_item_free(item);
	store_free(store);
}

static void test_modes(void **state)
{
	static const mode_t umasks[] = { 0, 022, 077 };

	for (size_t i = 0; i < ARRAY_SIZE(umasks); i++) {
		mode_t old = umask(umasks[i]);
		struct store *store = fresh_store();
		static const char *const names[] = { "identity-a.current", "identity-a.previous" };
		struct stat st;

		put(store, 1);
		put(store, 2);
		assert_int_equal(
			store_set_origin(store, STORE_IDENTITY, "a", (const uint8_t[32]){ 1 }), 0);
		assert_int_equal(stat(file_of("."), &st), 0);
		assert_int_equal(st.st_mode, S_IFDIR | 0700);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			assert_int_equal(stat(file_of(names[k]), &st), 0);
			assert_int_equal(st.st_mode, S_IFREG | 0600);
		}
		umask(old);
		store_free(store);
	}
}

static void test_roll_back(void **state)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 7, 8, 9 };
	struct store *store = fresh_store();
	struct store_item *first = make_item(STORE_IDENTITY, 1), *item = NULL;

	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), -ENOENT);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", first), 0);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), -ENOENT);
	assert_there(store, 1, 0);
	assert_int_equal(put(store, 2), 2);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW + 100), 0);
	assert_there(store, 1, 2);
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &item), 0);
	assert_same_blobs(item, first);
	assert_int_equal(item->generation, 3);
	assert_int_equal(item->source, STORE_ROLLED_BACK);
	assert_int_equal(item->time, NOW + 100);
	assert_memory_equal(item->origin, origin, sizeof(origin));
	store_item_free(item);
	item = NULL;
	/* The one that was left keeps all that it had. */
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_PREVIOUS, &item), 0);
	assert_int_equal(item->generation, 2);
	assert_int_equal(item->source, STORE_FROM_FILE);
	assert_int_equal(item->time, NOW + 2);
	assert_int_equal(item->origin[0], 2);
	store_item_free(item);
	item = NULL;
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW + 200), 0);
	assert_there(store, 2, 1);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW + 300), 0);
	assert_there(store, 1, 2);
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &item), 0);
	assert_same_blobs(item, first);
	assert_int_equal(item->generation, 5);
	assert_int_equal(put(store, 3), 6);
	assert_there(store, 3, 1);
	store_item_free(item);
	store_item_free(first);
	store_free(store);
}

static void test_set_origin(void **state)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 0xab, [31] = 0xcd };
	struct store *store = fresh_store();
	struct store_item *second = make_item(STORE_IDENTITY, 2), *item = NULL;

	assert_int_equal(store_set_origin(store, STORE_IDENTITY, "a", origin), -ENOENT);
	put(store, 1);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", second), 0);
	assert_int_equal(store_set_origin(store, STORE_IDENTITY, "a", origin), 0);
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &item), 0);
	memcpy(second->origin, origin, sizeof(origin));
	assert_same(item, second);
	assert_there(store, 2, 1);
	store_item_free(item);
	store_item_free(second);
	store_free(store);
}

static void test_remove(void **state)
{
	static const char *const litter[] = { ".identity-a.current.tmp", ".identity-a.previous.tmp",
					      ".identity-a.next.tmp", "identity-a.next" };
	struct store *store = fresh_store();
	struct store_item *other = make_item(STORE_AUTHORITY, 1);

	assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), 0);
	assert_int_equal(store_put(store, STORE_AUTHORITY, "a", other), 0);
	put(store, 1);
	put(store, 2);
	for (size_t i = 0; i < ARRAY_SIZE(litter); i++)
		assert_int_equal(file_write_atomic(file_of(litter[i]), "half", 4, 0600), 0);
	assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), 0);
	assert_string_equal(list_files(), "authority-a.current ");
	assert_there(store, 0, 0);
	assert_int_equal(put(store, 1), 1);
	store_item_free(other);
	store_free(store);
}

static void test_refused(void **state)
{
	static const char *const names[] = { "",    ".",    "..",  ".a",  "-a",
					     "a/b", "../a", "a b", "a\n", "\xc3\xa4" };
	static const uint8_t origin[CERT_DIGEST_SIZE];
	struct store *store = fresh_store();
	struct store_item *item = make_item(STORE_IDENTITY, 1), *ca = make_item(STORE_AUTHORITY, 1);
	struct store_item bad, *loaded = NULL;
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(
			store_load(store, STORE_IDENTITY, names[i], STORE_CURRENT, &loaded),
			-EINVAL);
		assert_int_equal(store_put(store, STORE_IDENTITY, names[i], item), -EINVAL);
		assert_int_equal(store_roll_back(store, STORE_IDENTITY, names[i], origin, NOW),
				 -EINVAL);
		assert_int_equal(store_set_origin(store, STORE_IDENTITY, names[i], origin),
				 -EINVAL);
		assert_int_equal(store_remove(store, STORE_IDENTITY, names[i]), -EINVAL);
	}
	memset(name, 'n', sizeof(name));
	name[49] = '\0';
	assert_int_equal(store_put(store, STORE_IDENTITY, name, item), -EINVAL);
	name[48] = '\0';
	assert_int_equal(store_put(store, STORE_IDENTITY, name, item), 0);
	assert_int_equal(store_remove(store, STORE_IDENTITY, name), 0);

	/* Items that could not be read again. */
	item->generation = 77;
	assert_int_equal(store_put(store, STORE_AUTHORITY, "a", item), -EINVAL);
	assert_int_equal(item->generation, 77);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", ca), -EINVAL);
	bad = *item;
	bad.n_blobs = 1;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", &bad), -EINVAL);
	bad = *item;
	bad.blobs[0] = item->blobs[1];
	bad.blobs[1] = item->blobs[0];
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", &bad), -EINVAL);
	bad = *item;
	bad.blobs[1] = NULL;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", &bad), -EINVAL);
	bad = *item;
	bad.time = -1;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", &bad), -EINVAL);
	bad = *item;
	bad.source = (enum store_source)3;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", &bad), -EINVAL);
	item->blobs[1]->digest[31] ^= 1;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EINVAL);
	item->blobs[1]->digest[31] ^= 1;
	cert_blob_free(item->blobs[0]);
	item->blobs[0] = make_blob(CERT_KIND_CERT, CERT_BLOB_MAX + 1, 1);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EINVAL);
	item->blobs[0]->len = 0;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EINVAL);
	assert_string_equal(list_files(), "");
	store_item_free(item);
	store_item_free(ca);
	store_free(store);
}

/* ---- damage ---- */

static void test_parse(void **state)
{
	static const enum store_kind kinds[] = { STORE_AUTHORITY, STORE_IDENTITY };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct store_item *item = make_item(kinds[k], 1), *parsed = NULL;
		void *data = NULL;
		uint8_t *p;
		size_t len = 0;

		item->generation = 41;
		assert_int_equal(store_format(&data, &len, kinds[k], item), 0);
		p = malloc(len + 1);
		memcpy(p, data, len);
		p[len] = '\n';
		assert_int_equal(store_parse(&parsed, kinds[k], p, len), 0);
		assert_same(parsed, item);
		store_item_free(parsed);
		parsed = NULL;
		assert_int_equal(store_parse(&parsed, kinds[!k], p, len), -EBADMSG);
		assert_int_equal(store_parse(&parsed, kinds[k], p, len + 1), -EBADMSG);
		/* Each byte, with each other value. */
		for (size_t i = 0; i < len; i++)
			for (unsigned int x = 1; x < 256; x++) {
				p[i] ^= (uint8_t)x;
				assert_int_equal(store_parse(&parsed, kinds[k], p, len), -EBADMSG);
				p[i] ^= (uint8_t)x;
			}
		/* Cut at each length, with nothing behind it that could be read by mistake. */
		for (size_t i = 0; i < len; i++) {
			uint8_t *cut = malloc(i + !i);

			memcpy(cut, p, i);
			assert_int_equal(store_parse(&parsed, kinds[k], cut, i), -EBADMSG);
			free(cut);
		}
		/* Without one byte, and with one twice. */
		for (size_t i = 0; i < len; i++) {
			uint8_t *other = malloc(len + 1);

			memcpy(other, p, i);
			memcpy(other + i, p + i + 1, len - i - 1);
			assert_int_equal(store_parse(&parsed, kinds[k], other, len - 1), -EBADMSG);
			memcpy(other, p, i + 1);
			memcpy(other + i + 1, p + i, len - i);
			assert_int_equal(store_parse(&parsed, kinds[k], other, len + 1), -EBADMSG);
			free(other);
		}
		assert_null(parsed);
		free(p);
		free(data);
		store_item_free(item);
	}
}

/* Puts the digest of all that stands before it into the last line. */
static void seal(char *text, size_t len)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	char *p = text + len - 2 * CERT_DIGEST_SIZE - 1;

	assert_int_equal(EVP_Digest(text, len - STORE_SUM_SIZE, digest, NULL, EVP_sha256(), NULL),
			 1);
	for (size_t i = 0; i < sizeof(digest); i++)
		p += sprintf(p, "%02x", digest[i]);
	*p = '\n';
}

/* Files whose last line is right, and which nobody has written all the same. */
static void test_parse_strict(void **state)
{
	static const struct {
		const char *from;
		const char *to;
		int result;
	} cases[] = {
		{ "generation 41", "generation 41", 0 },
		{ "generation 41", "generation 4294967295", 0 },
		{ "generation 41", "generation 4294967296", -EBADMSG },
		{ "generation 41", "generation 42949672950000000000000000000000000", -EBADMSG },
		{ "generation 41", "generation 0", -EBADMSG },
		{ "generation 41", "generation 041", -EBADMSG },
		{ "generation 41", "generation +41", -EBADMSG },
		{ "generation 41", "generation -41", -EBADMSG },
		{ "generation 41", "generation  41", -EBADMSG },
		{ "generation 41", "generation 41 ", -EBADMSG },
		{ "generation 41", "generation 41\r", -EBADMSG },
		{ "generation 41", "generation ", -EBADMSG },
		{ "espatd-material 1", "espatd-material 2", -EBADMSG },
		{ "espatd-material 1\n", "", -EBADMSG },
		{ "source set", "source file", 0 },
		{ "source set", "source rolled-back", 0 },
		{ "source set", "source setter", -EBADMSG },
		{ "source set", "source ", -EBADMSG },
		{ "source set", "source SET", -EBADMSG },
		{ "source set", "source set\nsource set", -EBADMSG },
		{ "time 1800000001", "time 0", 0 },
		{ "time 1800000001", "time 9223372036854775808", -EBADMSG },
		{ "time 1800000001", "time -1", -EBADMSG },
		{ "origin 01", "origin ff", 0 },
		{ "origin 01", "origin FF", -EBADMSG },
		{ "origin 01", "origin 0", -EBADMSG },
		{ "origin 01", "origin 010", -EBADMSG },
		{ "blob ca 101 ", "blob ca 100 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 102 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 0 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 8191 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 8192 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 18446744073709551615 ", -EBADMSG },
		{ "blob ca 101 ", "blob cert 101 ", -EBADMSG },
		{ "blob ca 101 ", "blob ca 101  ", -EBADMSG },
		{ "\n\nx", "\n\ny", -EBADMSG }, /* the blob's own digest */
		{ "\n\n", "\n", -EBADMSG },
		{ "\n\n", "\n\n\n", -EBADMSG },
		{ "\n\n", "\n\r\n", -EBADMSG },
	};
	struct store_item *item = make_item(STORE_AUTHORITY, 1);
	char *data = NULL;
	size_t len = 0;

	item->generation = 41;
	memset(item->blobs[0]->data, 'x', item->blobs[0]->len);
	EVP_Digest(item->blobs[0]->data, item->blobs[0]->len, item->blobs[0]->digest, NULL,
		   EVP_sha256(), NULL);
	assert_int_equal(store_format((void **)&data, &len, STORE_AUTHORITY, item), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_item *parsed = NULL;
		const char *hit = memmem(data, len, cases[i].from, strlen(cases[i].from));
		size_t new_len = len - strlen(cases[i].from) + strlen(cases[i].to);
		char *text = malloc(new_len), *p = text;

		assert_non_null(hit);
		p = mempcpy(p, data, (size_t)(hit - data));
		p = mempcpy(p, cases[i].to, strlen(cases[i].to));
		hit += strlen(cases[i].from);
		memcpy(p, hit, len - (size_t)(hit - data));
		seal(text, new_len);
		if (store_parse(&parsed, STORE_AUTHORITY, text, new_len) != cases[i].result)
			fail_msg("\"%s\" as \"%s\"", cases[i].from, cases[i].to);
		store_item_free(parsed);
		free(text);
	}
	free(data);
	store_item_free(item);
}

static void spoil(const char *name)
{
	int fd = open(file_of(name), O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "?", 1, 300), 1);
	close(fd);
}

/* A damaged file is told, is in nobody's way, and never takes the place of a good one. */
static void test_damaged(void **state)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 1 };
	static const char huge[] = "espatd-material 1\ngeneration 4294967295\n";
	struct store *store = fresh_store();

	put(store, 1);
	put(store, 2);
	spoil("identity-a.current");
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	assert_int_equal(load_result(store, STORE_PREVIOUS), 0);
	assert_int_equal(store_set_origin(store, STORE_IDENTITY, "a", origin), -EBADMSG);
	assert_int_equal(put(store, 3), 3); /* not 2: that was the damaged one's */
	assert_there(store, 3, 1);
	/* Rolled back from a damaged one. */
	spoil("identity-a.current");
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), 0);
	assert_there(store, 1, 1);
	assert_int_equal(put(store, 4), 5);
	/* Not to a damaged one. */
	spoil("identity-a.previous");
	assert_int_equal(load_result(store, STORE_PREVIOUS), -EBADMSG);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), -EBADMSG);
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_CURRENT, NULL), 4);
	assert_int_equal(put(store, 5), 6);
	assert_there(store, 5, 4);
	/* Both; the numbers can be read all the same. */
	spoil("identity-a.current");
	spoil("identity-a.previous");
	assert_int_equal(put(store, 6), 7);
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_CURRENT, NULL), 6);
	put(store, 7);
	assert_there(store, 7, 6);
	/* A file too large to be one of ours. */
	assert_int_equal(truncate(file_of("identity-a.current"), STORE_FILE_MAX + 1), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	assert_int_equal(truncate(file_of("identity-a.current"), 0), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	/* It was 8, as what else there is lets one guess. */
	assert_int_equal(put(store, 8), 9);
	assert_there(store, 8, 6);
	/* A number that would leave no others is not believed. */
	assert_int_equal(file_write_atomic(file_of("identity-a.current"), huge, strlen(huge), 0600),
			 0);
	assert_int_equal(put(store, 9), 9);
	store_free(store);
}

static void test_overflow(void **state)
{
	struct store *store = fresh_store();
	struct store_item *item = make_item(STORE_IDENTITY, 1);
	void *data = NULL;
	size_t len = 0;

	item->generation = UINT_MAX - 1;
	assert_int_equal(store_format(&data, &len, STORE_IDENTITY, item), 0);
	assert_int_equal(file_write_atomic(file_of("identity-a.current"), data, len, 0600), 0);
	free(data);
	assert_int_equal(put(store, 2), UINT_MAX);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EOVERFLOW);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", item->origin, NOW),
			 -EOVERFLOW);
	assert_there(store, 2, 1);
	store_item_free(item);
	store_free(store);
}

static void test_in_the_way(void **state)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 1 };
	struct store *store = fresh_store(), *other = NULL;
	struct store_item *item = make_item(STORE_IDENTITY, 9);
	char path[128];

	/* A pipe holds nobody up, and is replaced. */
	put(store, 1);
	put(store, 2);
	assert_int_equal(unlink(file_of("identity-a.current")), 0);
	assert_int_equal(mkfifo(file_of("identity-a.current"), 0600), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	put(store, 3);
	assert_there(store, 3, 1);
	/* A link to a file of ours is as good as the file. */
	assert_int_equal(rename(file_of("identity-a.current"), file_of("elsewhere")), 0);
	assert_int_equal(symlink("elsewhere", file_of("identity-a.current")), 0);
	assert_there(store, 3, 1);
	put(store, 4);
	assert_there(store, 4, 3);
	assert_int_equal(store_set_origin(store, STORE_IDENTITY, "a", origin), 0);
	/* One to nowhere is as no file. */
	assert_int_equal(unlink(file_of("identity-a.current")), 0);
	assert_int_equal(symlink("none", file_of("identity-a.current")), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -ENOENT);
	put(store, 5);
	assert_there(store, 5, 3);
	/* A folder is not removed. */
	assert_int_equal(unlink(file_of("identity-a.current")), 0);
	assert_int_equal(mkdir(file_of("identity-a.current"), 0700), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EISDIR);
	assert_int_equal(item->generation, 0);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), -EISDIR);
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_PREVIOUS, NULL), 3);
	assert_string_equal(list_files(), "elsewhere identity-a.current identity-a.previous ");
	assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), -EISDIR);
	assert_string_equal(list_files(), "elsewhere identity-a.current ");
	assert_int_equal(rmdir(file_of("identity-a.current")), 0);
	/* A folder where the previous one should go. */
	put(store, 1);
	assert_int_equal(mkdir(file_of("identity-a.previous"), 0700), 0);
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EISDIR);
	assert_int_equal(seed_of(store, STORE_IDENTITY, "a", STORE_CURRENT, NULL), 1);
	assert_string_equal(list_files(), "elsewhere identity-a.current identity-a.previous ");
	store_free(store);

	/* A file where the folder should be. */
	clean();
	snprintf(path, sizeof(path), "%s/material", dir);
	assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
	assert_int_equal(store_new(&other, dir), -ENOTDIR);
	assert_null(other);
	store_item_free(item);
}

/* ---- failures ---- */

/* Runs @fn in a process of its own; as somebody who is bound by permissions if @bound. */
static void run_apart(bool bound, int (*fn)(struct store *store), struct store *store)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (bound && geteuid() == 0 && setuid(NOBODY) < 0)
			_exit(99);
		_exit(fn(store));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* Returns 0, or the line of what was not so. */
#define MUST_BE(value, expected)                                                                   \
	do {                                                                                       \
		int value_ = (value);                                                              \
		if (value_ != (expected)) {                                                        \
			fprintf(stderr, "%d: %s is %d\n", __LINE__, #value, value_);               \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int on_full_disk(struct store *store)
{
	const struct rlimit limit = { 100, 100 };
	struct store_item *item = make_item(STORE_IDENTITY, 3);

	signal(SIGXFSZ, SIG_IGN);
	MUST_BE(setrlimit(RLIMIT_FSIZE, &limit), 0);
	MUST_BE(store_put(store, STORE_IDENTITY, "a", item), -EFBIG);
	MUST_BE((int)item->generation, 0);
	MUST_BE(store_roll_back(store, STORE_IDENTITY, "a", item->origin, NOW), -EFBIG);
	MUST_BE(store_set_origin(store, STORE_IDENTITY, "a", item->origin), -EFBIG);
	store_item_free(item);
	return 0;
}

static int on_read_only_folder(struct store *store)
{
	struct store_item *item = make_item(STORE_IDENTITY, 3), *loaded = NULL;
	struct store *other = NULL;

	MUST_BE(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &loaded), 0);
	MUST_BE(store_put(store, STORE_IDENTITY, "a", item), -EACCES);
	MUST_BE((int)item->generation, 0);
	MUST_BE(store_roll_back(store, STORE_IDENTITY, "a", item->origin, NOW), -EACCES);
	MUST_BE(store_set_origin(store, STORE_IDENTITY, "a", item->origin), -EACCES);
	MUST_BE(store_remove(store, STORE_IDENTITY, "a"), -EACCES);
	MUST_BE(store_new(&other, "/proc"), -ENOENT);
	store_item_free(loaded);
	store_item_free(item);
	return 0;
}

static int on_closed_file(struct store *store)
{
	struct store_item *item = make_item(STORE_IDENTITY, 3), *loaded = NULL;

	MUST_BE(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &loaded), -EACCES);
	MUST_BE(store_put(store, STORE_IDENTITY, "a", item), -EACCES);
	MUST_BE(store_set_origin(store, STORE_IDENTITY, "a", item->origin), -EACCES);
	store_item_free(item);
	return 0;
}

static void test_fails(void **state)
{
	static const char files[] = "identity-a.current identity-a.previous ";
	struct store *store = fresh_store();

	put(store, 1);
	put(store, 2);
	run_apart(false, on_full_disk, store);
	assert_string_equal(list_files(), files);
	assert_there(store, 2, 1);
	chmod(file_of("."), 0555);
	chmod(file_of("identity-a.current"), 0444);
	chmod(file_of("identity-a.previous"), 0444);
	run_apart(true, on_read_only_folder, store);
	assert_string_equal(list_files(), files);
	assert_there(store, 2, 1);
	chmod(file_of("."), 0777);
	chmod(file_of("identity-a.current"), 0);
	run_apart(true, on_closed_file, store);
	assert_string_equal(list_files(), files);
	chmod(file_of("identity-a.current"), 0600);
	assert_there(store, 2, 1);
	store_free(store);
}

/* ---- kills ---- */

/* Copies a file in the folder. */
static void copy(const char *from, const char *to)
{
	void *data = NULL;
	size_t len = 0;

	assert_int_equal(file_read(file_of(from), STORE_FILE_MAX, &data, &len), 0);
	assert_int_equal(file_write_atomic(file_of(to), data, len, 0600), 0);
	free(data);
}

static void truncated(const char *from, const char *to)
{
	copy(from, to);
	assert_int_equal(truncate(file_of(to), 400), 0);
}

/*
 * What a kill leaves between the steps of a put: item 3 comes, 2 is the current one and 1 the previous.
 * The files are made by hand, so that a change of the steps does not go unseen.
 */
static void test_cut_off(void **state)
{
	static const char *const current = "identity-a.current", *const next = "identity-a.next",
				 *const previous = "identity-a.previous";
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 1 };

	for (int at = 0; at < 6; at++)
		for (int then = 0; then < 4; then++) {
			struct store *store = fresh_store();
			unsigned int cur, prev, generation = 0;

			put(store, 1);
			put(store, 2);
			put(store, 3);
			copy(current, "three");
			copy(previous, "two");
			assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), 0);
			put(store, 1);
			put(store, 2);
			switch (at) {
			case 0: /* in the middle of the bytes */
				truncated("three", ".identity-a.next.tmp");
				cur = 2;
				prev = 1;
				break;
			case 1: /* before the first rename */
				copy("three", next);
				cur = 2;
				prev = 1;
				break;
			case 2: /* between the renames */
				assert_int_equal(rename(file_of(current), file_of(previous)), 0);
				copy("three", next);
				cur = 3;
				prev = 2;
				break;
			case 3: /* between the renames, when there was no previous one */
				assert_int_equal(unlink(file_of(current)), 0);
				assert_int_equal(unlink(file_of(previous)), 0);
				copy("three", next);
				cur = 3;
				prev = 0;
				break;
			case 4: /* of a put, and then in the bytes of a set_origin */
				copy("three", next);
				truncated("two", ".identity-a.current.tmp");
				cur = 2;
				prev = 1;
				break;
			default: /* the disk has eaten the new one too */
				assert_int_equal(rename(file_of(current), file_of(previous)), 0);
				truncated("three", next);
				cur = 0;
				prev = 2;
				break;
			}
			unlink(file_of("two"));
			unlink(file_of("three"));
			if (cur)
				assert_there(store, cur, prev);
			else
				assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
			switch (then) {
			case 0:
				generation = put(store, 4);
				assert_int_equal(generation, (cur ? cur : prev) + 1);
				assert_there(store, 4, cur ? cur : prev);
				break;
			case 1:
				assert_int_equal(
					store_roll_back(store, STORE_IDENTITY, "a", origin, NOW),
					prev ? 0 : -ENOENT);
				assert_there(store, prev ? prev : cur, cur && prev ? cur : prev);
				break;
			case 2:
				assert_int_equal(
					store_set_origin(store, STORE_IDENTITY, "a", origin),
					cur ? 0 : -ENOENT);
				assert_there(store, cur, prev);
				break;
			default:
				assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), 0);
				assert_there(store, 0, 0);
				break;
			}
			/* Nothing is left over. */
			assert_null(strstr(list_files(), "next"));
			if (at != 4 || then == 2 || then == 3)
				assert_null(strstr(list_files(), "tmp"));
			store_free(store);
		}
}

enum job {
	JOB_PUT,
	JOB_ROLL_BACK,
	JOB_SET_ORIGIN,
	JOB_REMOVE,
	N_JOBS,
};

static int do_job(struct store *store, enum job job)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 1 };
	struct store_item *item = make_item(STORE_IDENTITY, 3);
	int r = -EINVAL;

	switch (job) {
	case JOB_PUT:
		r = store_put(store, STORE_IDENTITY, "a", item);
		break;
	case JOB_ROLL_BACK:
		r = store_roll_back(store, STORE_IDENTITY, "a", origin, NOW);
		break;
	case JOB_SET_ORIGIN:
		r = store_set_origin(store, STORE_IDENTITY, "a", origin);
		break;
	case JOB_REMOVE:
		r = store_remove(store, STORE_IDENTITY, "a");
		break;
	case N_JOBS:
		break;
	}
	store_item_free(item);
	return r;
}

/*
 * Does @job in a process that is killed at its @stop-th stop, of which there are two to a system call.
 * Returns 1 if it was, 0 if it had ended by then, -1 if tracing is not allowed here.
 */
static int kill_at(struct store *store, enum job job, size_t stop)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(100);
		raise(SIGSTOP);
		_exit(do_job(store, job) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (size_t i = 0; !WIFEXITED(status); i++) {
		assert_true(WIFSTOPPED(status));
		if (i == stop) {
			kill(child, SIGKILL);
			assert_int_equal(waitpid(child, &status, 0), child);
			return 1;
		}
		assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	if (WEXITSTATUS(status) == 100)
		return -1;
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

/* At each system call of each job: either all is as before, or the job is done. */
static void test_killed(void **state)
{
	static const struct {
		unsigned int current, previous;
	} after[N_JOBS] = { { 3, 2 }, { 1, 2 }, { 2, 1 }, { 0, 0 } };

	for (int job = 0; job < N_JOBS; job++) {
		bool before = false, done = false;
		int r = 1;

		for (size_t stop = 0; r == 1; stop++) {
			struct store *store = fresh_store();
			unsigned int cur, prev, generation = 0;

			put(store, 1);
			put(store, 2);
			r = kill_at(store, (enum job)job, stop);
			if (r < 0) {
				store_free(store);
				skip();
			}
			cur = seed_of(store, STORE_IDENTITY, "a", STORE_CURRENT, &generation);
			prev = seed_of(store, STORE_IDENTITY, "a", STORE_PREVIOUS, NULL);
			if (cur == after[job].current && prev == after[job].previous) {
				done = true;
			} else {
				before = true;
				assert_int_equal(r, 1);
				assert_int_equal(cur, 2);
				assert_int_equal(prev, job == JOB_REMOVE ? prev : 1);
			}
			/* And it goes on from there, without litter. */
			assert_true(put(store, 4) > generation);
			assert_there(store, 4, cur);
			assert_null(strstr(list_files(), "next"));
			assert_int_equal(store_remove(store, STORE_IDENTITY, "a"), 0);
			assert_string_equal(list_files(), "");
			store_free(store);
		}
		assert_true(done && (before || job == JOB_SET_ORIGIN));
	}
}

/* While one process puts, another always finds a current one. */
static void test_reader(void **state)
{
	struct store *store = fresh_store();
	pid_t child;
	int status = 0;

	put(store, 1);
	put(store, 2);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		for (unsigned int i = 0; i < 300; i++) {
			struct store_item *item = make_item(STORE_IDENTITY, 1 + i % 50);

			if (store_put(store, STORE_IDENTITY, "a", item) < 0)
				_exit(1);
			store_item_free(item);
		}
		_exit(0);
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		assert_int_equal(load_result(store, STORE_CURRENT), 0);
		assert_int_equal(load_result(store, STORE_PREVIOUS), 0);
	}
	assert_int_equal(status, 0);
	store_free(store);
}

/* ---- memory ---- */

struct secret {
	uint8_t data[128];
	size_t len;
	uint8_t chunk[65536];
};

static size_t count_in(const void *own, const uint8_t *data, size_t len)
{
	const struct secret *secret = own;
	size_t found = 0;

	for (size_t n = 0; n + WINDOW <= secret->len; n += WINDOW)
		for (const uint8_t *p = data;
		     (p = memmem(p, len - (size_t)(p - data), secret->data + n, WINDOW)); p++)
			found++;
	return found;
}

/* How many windows of the secret are in the writable memory of this process. */
static size_t count_windows(struct secret *secret)
{
	const struct own_memory memory = {
		.own = secret,
		.chunk = secret->chunk,
		.size = sizeof(secret->chunk),
		.count = count_in,
	};

	return own_memory_count(&memory);
}

#define SECRET_SEED 60 /* of an item that no other test has */
#define SECRET_SIZE (50 + SECRET_SEED)

/* The key alone, without a copy through this process. */
static void read_secret(struct secret *secret)
{
	int fd = open(file_of("identity-a.current"), O_RDONLY);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	secret->len = SECRET_SIZE;
	assert_int_equal(
		pread(fd, secret->data, SECRET_SIZE, st.st_size - STORE_SUM_SIZE - SECRET_SIZE),
		SECRET_SIZE);
	close(fd);
}

static int put_secret(struct store *store)
{
	put(store, SECRET_SEED);
	return 0;
}

/* After the items are freed no part of a key is in memory. */
static void test_wiped(void **state)
{
	static const uint8_t origin[CERT_DIGEST_SIZE] = { 1 };
	struct store *store = fresh_store();
	struct store_item *item = NULL, *parsed = NULL;
	/* With pages around it, or the kernel may join it with a searched one. */
	uint8_t *area = mmap(NULL, sizeof(struct secret) + 3 * 4096, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct secret *secret = (struct secret *)(area + 4096);

	assert_int_equal(mprotect(secret, sizeof(*secret), PROT_READ | PROT_WRITE), 0);
	run_apart(false, put_secret, store);
	read_secret(secret);
	assert_int_equal(count_windows(secret), 0);
	assert_int_equal(store_load(store, STORE_IDENTITY, "a", STORE_CURRENT, &item), 0);
	assert_memory_equal(item->blobs[1]->data, secret->data, secret->len);
	assert_true(count_windows(secret) > 0); /* it does find them */
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), 0);
	assert_int_equal(store_put(store, STORE_AUTHORITY, "a", item), -EINVAL);
	item->source = (enum store_source)9;
	assert_int_equal(store_put(store, STORE_IDENTITY, "a", item), -EINVAL);
	store_item_free(item);
	assert_int_equal(count_windows(secret), 0);
	assert_int_equal(store_roll_back(store, STORE_IDENTITY, "a", origin, NOW), 0);
	assert_int_equal(store_set_origin(store, STORE_IDENTITY, "a", origin), 0);
	assert_int_equal(count_windows(secret), 0);
	/* Refused at its very end. */
	assert_int_equal(truncate(file_of("identity-a.current"), 450), 0);
	assert_int_equal(load_result(store, STORE_CURRENT), -EBADMSG);
	spoil("identity-a.previous");
	assert_int_equal(store_parse(&parsed, STORE_IDENTITY, "", 0), -EBADMSG);
	assert_int_equal(load_result(store, STORE_PREVIOUS), -EBADMSG);
	assert_int_equal(count_windows(secret), 0);
	put(store, 1);
	assert_int_equal(count_windows(secret), 0);
	munmap(area, sizeof(struct secret) + 3 * 4096);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_roll_back),
		cmocka_unit_test(test_set_origin),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_strict),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_reader),
		/*
		 * The last one: at the first call of a library's function the dynamic linker saves
		 * all registers on the stack, with what the last memcpy() has left in them.
		 */
		cmocka_unit_test(test_wiped),
	};

	/* meson test sets MALLOC_PERTURB_, which would wipe for us. */
	mallopt(M_PERTURB, 0);
	return cmocka_run_group_tests_name("store", tests, make_temp_dir, remove_temp_dir);
}
