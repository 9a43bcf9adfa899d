/* SPDX-License-Identifier: MIT */
/* Our record on the chip. */
#include "device/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "config/config.h"

#define MAGIC "espatd 1 "
#define SUM "sum "
#define HEX_SIZE (2 * CERT_DIGEST_SIZE)
/* "client_cert.9 0123456789abcdef 4294967295 <64>\n" */
#define LINE_MAX_LEN (AT_NVS_NAME_MAX + 1 + 16 + 1 + 10 + 1 + HEX_SIZE + 1)
#define HEAD_MAX (sizeof(MAGIC) + 20 + 1)
#define TAIL_LEN (sizeof(SUM) - 1 + HEX_SIZE + 1)

_Static_assert(HEAD_MAX + RECORD_MAX * LINE_MAX_LEN + TAIL_LEN <= CERT_BLOB_MAX,
	       "the record fits into one value");

uint64_t record_name(const char *kind, const char *name)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	char text[96];
	uint64_t hash = 0;
	int n;

	n = snprintf(text, sizeof(text), "%s/%s", kind, name);
	/* Both are short: see CONFIG_NAME_MAX. SHA-256 of memory fails only without memory. */
	if (n < 0 || (size_t)n >= sizeof(text) || cert_digest_of(text, (size_t)n, digest) < 0)
		return 0;
	for (int i = 0; i < 8; i++)
		hash = hash << 8 | digest[i];
	return hash;
}

static void put_hex(char out[HEX_SIZE + 1], const uint8_t digest[CERT_DIGEST_SIZE])
{
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* ---- reading ---- */

struct cursor {
	const char *text;
	size_t len;
};

static bool take(struct cursor *c, const char *literal)
{
	size_t n = strlen(literal);

	if (c->len < n || memcmp(c->text, literal, n) != 0)
		return false;
	c->text += n;
	c->len -= n;
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Digits of @base up to what is none; at least one, none superfluous, at most @max in all. */
static bool take_number(struct cursor *c, unsigned int base, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; n < c->len; n++) {
		int digit = digit_of(c->text[n]);

		if (digit < 0 || (unsigned int)digit >= base)
			break;
		if (value > (max - (unsigned int)digit) / base)
			return false;
		value = value * base + (unsigned int)digit;
	}
	if (n == 0 || (base == 10 && n > 1 && c->text[0] == '0') || (base == 16 && n != 16))
		return false;
	c->text += n;
	c->len -= n;
	*ret = value;
	return true;
}

static bool take_digest(struct cursor *c, uint8_t digest[CERT_DIGEST_SIZE])
{
	if (c->len < HEX_SIZE)
		return false;
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++) {
		int high = digit_of(c->text[2 * i]), low = digit_of(c->text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	c->text += HEX_SIZE;
	c->len -= HEX_SIZE;
	return true;
}

/* What is the firmware's own, or the record's, is never under a key of ours. */
static bool key_is_foreign(const char *key)
{
	static const char *const namespaces[] = { "factory_param", "ble_data", CONFIG_NVS_OWN };
	char namespace[AT_NVS_NAME_MAX + 1];

	record_namespace(key, namespace);
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++)
		if (strcmp(namespace, namespaces[i]) == 0)
			return true;
	return false;
}

/* A key goes into a command again, so it is of the characters that ours have. */
static bool take_key(struct cursor *c, char key[AT_NVS_NAME_MAX + 1])
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
	size_t n = 0;

	while (n < c->len && c->text[n] && strchr(allowed, c->text[n]))
		n++;
	if (n == 0 || n > AT_NVS_NAME_MAX || c->text[0] == '.')
		return false;
	memcpy(key, c->text, n);
	key[n] = '\0';
	c->text += n;
	c->len -= n;
	return !key_is_foreign(key);
}

static bool take_entry(struct cursor *c, struct record_entry *entry)
{
	uint64_t generation;

	if (!take_key(c, entry->key) || !take(c, " ") ||
	    !take_number(c, 16, UINT64_MAX, &entry->name) || !take(c, " ") ||
	    !take_number(c, 10, UINT32_MAX, &generation) || !take(c, " ") ||
	    !take_digest(c, entry->digest) || !take(c, "\n"))
		return false;
	entry->generation = (unsigned int)generation;
	return true;
}

/* The last line is the sum of all before it. */
static bool sum_is_right(const char *text, size_t len)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	char tail[TAIL_LEN + 1];
	char hex[HEX_SIZE + 1];

	if (len < TAIL_LEN || cert_digest_of(text, len - TAIL_LEN, digest) < 0)
		return false;
	put_hex(hex, digest);
	snprintf(tail, sizeof(tail), SUM "%s\n", hex);
	return memcmp(text + len - TAIL_LEN, tail, TAIL_LEN) == 0;
}

static bool parse(struct record *record, const char *text, size_t len)
{
	struct cursor c = { .text = text, .len = len };
	struct record_entry entry;

	if (!sum_is_right(text, len))
		return false;
	c.len -= TAIL_LEN;
	if (!take(&c, MAGIC) || !take_number(&c, 10, UINT64_MAX, &record->writes) ||
	    !take(&c, "\n"))
		return false;
	while (c.len > 0) {
		if (!take_entry(&c, &entry) || record_find(record, entry.key) ||
		    record_put(record, &entry) < 0)
			return false;
	}
	return true;
}

int record_parse(struct record *ret, const void *data, size_t len)
{
	memset(ret, 0, sizeof(*ret));
	if (parse(ret, data, len))
		return 0;
	memset(ret, 0, sizeof(*ret));
	return -EBADMSG;
}

/* ---- writing ---- */

size_t record_format(const struct record *record, char buf[CERT_BLOB_MAX])
{
	uint8_t digest[CERT_DIGEST_SIZE] = { 0 };
	char hex[HEX_SIZE + 1];
	size_t len;

	len = (size_t)snprintf(buf, CERT_BLOB_MAX, MAGIC "%" PRIu64 "\n", record->writes);
	for (size_t i = 0; i < record->n; i++) {
		const struct record_entry *e = &record->entries[i];

		put_hex(hex, e->digest);
		len += (size_t)snprintf(buf + len, CERT_BLOB_MAX - len, "%s %016" PRIx64 " %u %s\n",
					e->key, e->name, e->generation, hex);
	}
	cert_digest_of(buf, len, digest);
	put_hex(hex, digest);
	return len + (size_t)snprintf(buf + len, CERT_BLOB_MAX - len, SUM "%s\n", hex);
}

/* ---- entries ---- */

static struct record_entry *find(struct record *record, const char *key)
{
	for (size_t i = 0; i < record->n; i++)
		if (strcmp(record->entries[i].key, key) == 0)
			return &record->entries[i];
	return NULL;
}

const struct record_entry *record_find(const struct record *record, const char *key)
{
	return find((struct record *)record, key);
}

int record_put(struct record *record, const struct record_entry *entry)
{
	struct record_entry *old = find(record, entry->key);

	if (!old && record->n == RECORD_MAX)
		return -ENOSPC;
	if (!old)
		old = &record->entries[record->n++];
	*old = *entry;
	return 0;
}

void record_remove(struct record *record, const char *key)
{
	struct record_entry *old = find(record, key);

	if (!old)
		return;
	/* The others keep their order, so that the text changes no more than it must. */
	record->n--;
	memmove(old, old + 1, (size_t)(&record->entries[record->n] - old) * sizeof(*old));
}

bool record_covers(const struct record *a, const struct record *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct record_entry *x = &b->entries[i], *y = record_find(a, x->key);

		if (!y || x->name != y->name || x->generation != y->generation ||
		    memcmp(x->digest, y->digest, CERT_DIGEST_SIZE) != 0)
			return false;
	}
	return true;
}

bool record_equal(const struct record *a, const struct record *b)
{
	return a->n == b->n && record_covers(a, b);
}

void record_namespace(const char *key, char buf[AT_NVS_NAME_MAX + 1])
{
	size_t n = strcspn(key, ".");

	snprintf(buf, AT_NVS_NAME_MAX + 1, "%.*s", (int)n, key);
}
