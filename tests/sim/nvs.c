/* SPDX-License-Identifier: MIT */
/* The chip's flash: entries, settings, and their image in the state file. */
#include "nvs.h"

#include <errno.h>

/* The image: MAGIC, then records of kind, name length, name, 32-bit little-endian length, value; at the end 'E' and a sum. */
static const char MAGIC[] = "espat-sim flash 1\n";

void nvs_free(struct nvs *n)
{
	nvs_erase_all(n);
	nvs_restore(n);
	free(n->fatfs);
	n->fatfs = NULL;
}

bool nvs_has_space(const struct nvs *n, const char *ns)
{
	for (int i = 0; i < n->n_spaces; i++)
		if (!strcmp(n->spaces[i], ns))
			return true;
	return false;
}

static void set_name(char to[NVS_NAME_MAX + 1], const char *name)
{
	size_t len = strnlen(name, NVS_NAME_MAX);

	memcpy(to, name, len);
	to[len] = 0;
}

static int add_space(struct nvs *n, const char *ns)
{
	if (nvs_has_space(n, ns))
		return 0;
	if (n->n_spaces == NVS_SPACES_MAX)
		return -ENOSPC;
	set_name(n->spaces[n->n_spaces++], ns);
	return 0;
}

/* Flash that an entry takes: NVS stores in slots of 32 bytes, a header slot each, one index slot more for a blob. */
static uint32_t cost(uint8_t type, uint32_t len)
{
	if (type < NVS_STRING)
		return 32;
	return 32 + (type == NVS_BINARY ? 32 : 0) + (len + 31) / 32 * 32;
}

static uint32_t used(const struct nvs *n)
{
	uint32_t sum = 0;

	for (const struct nvs_entry *e = n->entries; e; e = e->next)
		sum += cost(e->type, e->len);
	return sum;
}

int nvs_set(struct nvs *n, const char *ns, const char *key, uint8_t type, const void *data,
	    uint32_t len)
{
	struct nvs_entry **p, *e;
	uint32_t old = 0;
	int r;

	for (p = &n->entries; *p; p = &(*p)->next)
		if ((*p)->type == type && !strcmp((*p)->ns, ns) && !strcmp((*p)->key, key))
			break;
	if (*p)
		old = cost((*p)->type, (*p)->len);
	if (used(n) - old + cost(type, len) > NVS_BYTES_MAX)
		return -ENOSPC;
	r = add_space(n, ns);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	set_name(e->ns, ns);
	set_name(e->key, key);
	e->type = type;
	e->len = len;
	if (len)
		memcpy(e->data, data, len);
	if (*p) {
		e->next = (*p)->next;
		free(*p);
	}
	*p = e;
	return 0;
}

const struct nvs_entry *nvs_get(const struct nvs *n, const char *ns, const char *key)
{
	for (const struct nvs_entry *e = n->entries; e; e = e->next)
		if (!strcmp(e->ns, ns) && !strcmp(e->key, key))
			return e;
	return NULL;
}

int nvs_erase(struct nvs *n, const char *ns, const char *key)
{
	for (struct nvs_entry **p = &n->entries; *p; p = &(*p)->next) {
		struct nvs_entry *e = *p;

		if (strcmp(e->ns, ns) || strcmp(e->key, key))
			continue;
		*p = e->next;
		free(e);
		return 0;
	}
	return -ENOENT;
}

void nvs_erase_space(struct nvs *n, const char *ns)
{
	struct nvs_entry **p = &n->entries;

	while (*p) {
		struct nvs_entry *e = *p;

		if (strcmp(e->ns, ns)) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		free(e);
	}
}

void nvs_erase_all(struct nvs *n)
{
	while (n->entries) {
		struct nvs_entry *e = n->entries;

		n->entries = e->next;
		free(e);
	}
	n->n_spaces = 0;
}

int nvs_count(const struct nvs *n, const char *ns)
{
	int count = 0;

	for (const struct nvs_entry *e = n->entries; e; e = e->next)
		count += !strcmp(e->ns, ns);
	return count;
}

void nvs_save(struct nvs *n, const char *key, const void *data, uint32_t len)
{
	struct nvs_setting **p, *s;

	for (p = &n->settings; *p; p = &(*p)->next)
		if (!strcmp((*p)->key, key))
			break;
	if (*p) {
		s = *p;
		*p = s->next;
		free(s);
	}
	if (!len)
		return;
	s = calloc(1, sizeof(*s) + len + 1);
	if (!s)
		abort();
	strncpy(s->key, key, sizeof(s->key) - 1);
	s->len = len;
	memcpy(s->data, data, len);
	s->next = n->settings;
	n->settings = s;
}

const void *nvs_saved(const struct nvs *n, const char *key, uint32_t *len)
{
	for (const struct nvs_setting *s = n->settings; s; s = s->next) {
		if (strcmp(s->key, key))
			continue;
		if (len)
			*len = s->len;
		return s->data;
	}
	return NULL;
}

void nvs_restore(struct nvs *n)
{
	while (n->settings) {
		struct nvs_setting *s = n->settings;

		n->settings = s->next;
		free(s);
	}
}

void nvs_raw(const struct nvs *n, uint32_t off, uint8_t *out, uint32_t len)
{
	static const uint8_t head[8] = { 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0 }; /* a full page */
	struct buf b = { 0 };
	size_t have;

	for (const struct nvs_entry *e = n->entries; e; e = e->next) {
		uint8_t slot[32] = { 0 };
		int ns = 0;

		if ((b.tail & 4095) == 0) {
			memset(buf_room(&b, 64), 0xff, 64);
			memcpy(b.mem + b.tail, head, sizeof(head));
			memset(b.mem + b.tail + 28, 0, 4);
			b.mem[b.tail + 28] = b.tail >> 12;     /* where the header's CRC is */
			memset(b.mem + b.tail + 32, 0xaa, 31); /* state bitmap: all written */
			b.tail += 64;
		}
		while (ns < n->n_spaces && strcmp(n->spaces[ns], e->ns))
			ns++;
		slot[0] = ns + 1;
		slot[1] = e->type == NVS_BINARY ? 0x42 : e->type == NVS_STRING ? 0x21 : e->type;
		slot[2] = 1 + (e->type >= NVS_STRING ? (e->len + 31) / 32 : 0);
		slot[3] = 0xff;
		strncpy((char *)slot + 8, e->key, 16);
		slot[24] = e->len;
		slot[25] = e->len >> 8;
		buf_add(&b, slot, sizeof(slot));
		if (e->type >= NVS_STRING) {
			uint32_t pad = (32 - e->len % 32) % 32;

			buf_add(&b, e->data, e->len);
			memset(buf_room(&b, pad), 0xff, pad);
			b.tail += pad;
		}
	}
	have = b.tail > off ? b.tail - off : 0;
	if (have > len)
		have = len;
	if (have)
		memcpy(out, b.mem + off, have);
	memset(out + have, 0xff, len - have);
	buf_free(&b);
}

static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	while (len--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

static void put32(struct buf *out, uint32_t v)
{
	uint8_t b[4] = { v, v >> 8, v >> 16, v >> 24 };

	buf_add(out, b, 4);
}

static uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void record(struct buf *out, uint8_t kind, const char *name, uint8_t name_len,
		   const void *data, uint32_t len)
{
	uint8_t head[2] = { kind, name_len };

	buf_add(out, head, 2);
	buf_add(out, name, name_len);
	put32(out, len);
	buf_add(out, data, len);
}

void nvs_dump(const struct nvs *n, struct buf *out)
{
	buf_clear(out);
	buf_add(out, MAGIC, sizeof(MAGIC) - 1);
	for (int i = 0; i < n->n_spaces; i++)
		record(out, 'N', n->spaces[i], strlen(n->spaces[i]), NULL, 0);
	for (const struct nvs_entry *e = n->entries; e; e = e->next) {
		char name[2 * NVS_NAME_MAX + 4];
		size_t a = strlen(e->ns), b = strlen(e->key);

		memcpy(name, e->ns, a + 1);
		memcpy(name + a + 1, e->key, b);
		name[a + 1 + b] = e->type;
		record(out, 'M', name, a + b + 2, e->data, e->len);
	}
	for (const struct nvs_setting *s = n->settings; s; s = s->next)
		record(out, 'S', s->key, strlen(s->key), s->data, s->len);
	if (n->fatfs)
		for (uint32_t off = 0; off < FATFS_SIZE; off += 4096) {
			char name[4] = { off, off >> 8, off >> 16, off >> 24 };
			uint32_t i = 0;

			while (i < 4096 && n->fatfs[off + i] == 0xff)
				i++;
			if (i < 4096)
				record(out, 'F', name, 4, n->fatfs + off, 4096);
		}
	buf_add(out, "E", 1);
	put32(out, sum(buf_data(out), buf_len(out)));
}

static int load_record(struct nvs *n, uint8_t kind, const uint8_t *name, uint8_t name_len,
		       const uint8_t *data, uint32_t len)
{
	char ns[2 * NVS_NAME_MAX + 4] = "", *key;

	if (kind == 'F') {
		uint32_t off;

		if (name_len != 4 || len != 4096)
			return -EBADMSG;
		off = get32(name);
		if (off % 4096 || off >= FATFS_SIZE)
			return -EBADMSG;
		if (!n->fatfs) {
			n->fatfs = malloc(FATFS_SIZE);
			if (!n->fatfs)
				return -ENOMEM;
			memset(n->fatfs, 0xff, FATFS_SIZE);
		}
		memcpy(n->fatfs + off, data, 4096);
		return 0;
	}
	if (name_len >= sizeof(ns))
		return -EBADMSG;
	memcpy(ns, name, name_len);
	if (kind == 'N')
		return name_len && name_len <= NVS_NAME_MAX && !add_space(n, ns) ? 0 : -EBADMSG;
	if (kind == 'S') {
		if (!name_len || name_len >= 24)
			return -EBADMSG;
		nvs_save(n, ns, data, len);
		return 0;
	}
	if (kind != 'M' || name_len < 3)
		return -EBADMSG;
	key = memchr(ns, 0, name_len - 1);
	if (!key || key - ns > NVS_NAME_MAX || name_len - 2 - (key - ns) > NVS_NAME_MAX)
		return -EBADMSG;
	key++;
	kind = ns[name_len - 1];
	ns[name_len - 1] = 0;
	if (kind < NVS_U8 || kind > NVS_BINARY || len > NVS_BLOB_MAX ||
	    (kind < NVS_STRING && len != 4))
		return -EBADMSG;
	return nvs_set(n, ns, key, kind, data, len) < 0 ? -EBADMSG : 0;
}

int nvs_load(struct nvs *n, const uint8_t *image, size_t len)
{
	size_t at = sizeof(MAGIC) - 1;
	int r;

	if (len < at + 5 || memcmp(image, MAGIC, at) || image[len - 5] != 'E' ||
	    get32(image + len - 4) != sum(image, len - 4))
		return -EBADMSG;
	len -= 5;
	while (at < len) {
		uint8_t name_len;
		uint32_t size;

		if (len - at < 2)
			return -EBADMSG;
		name_len = image[at + 1];
		if (len - at < 6u + name_len)
			return -EBADMSG;
		size = get32(image + at + 2 + name_len);
		if (len - at - 6 - name_len < size)
			return -EBADMSG;
		r = load_record(n, image[at], image + at + 2, name_len, image + at + 6 + name_len,
				size);
		if (r < 0)
			return r;
		at += 6 + name_len + size;
	}
	return 0;
}
