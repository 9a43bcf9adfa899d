/* SPDX-License-Identifier: MIT */
/* The values on a chip: what was found there, what is ours, and who needs what. */
#include "device/values.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/provision.h"
#include "device/request.h"

/* ---- namespaces and keys ---- */

/* What the firmware itself knows; its client namespaces first. */
static const char *const namespaces[] = {
	"client_ca",  "client_cert",  "client_key",  "server_ca", "server_cert", "server_key",
	"mqtt_ca",    "mqtt_cert",    "mqtt_key",    "https_ca",  "https_cert",  "https_key",
	"wss_ca",     "wss_cert",     "wss_key",     "wpa2_ca",   "wpa2_cert",   "wpa2_key",
	"wpa_ent_ca", "wpa_ent_cert", "wpa_ent_key",
};

#define N_NAMESPACES (sizeof(namespaces) / sizeof(*namespaces))

_Static_assert(N_NAMESPACES + CONFIG_NAMESPACES_MAX <= 64, "a bit for each");

const char *values_namespace(const struct device *dev, size_t i)
{
	const struct config_strings *extra = &dev->config->extra_namespaces;

	if (i < N_NAMESPACES)
		return namespaces[i];
	return i - N_NAMESPACES < extra->n ? extra->items[i - N_NAMESPACES] : NULL;
}

bool device_namespace_is_known(const struct device *dev, const char *namespace)
{
	const char *known;

	for (size_t i = 0; (known = values_namespace(dev, i)); i++)
		if (strcmp(known, namespace) == 0)
			return strcmp(namespace, CONFIG_NVS_OWN) != 0;
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n > k && strcmp(text + n - k, end) == 0;
}

enum cert_kind device_namespace_kind(const char *namespace)
{
	if (ends_with(namespace, "_ca"))
		return CERT_KIND_CA;
	if (ends_with(namespace, "_cert"))
		return CERT_KIND_CERT;
	if (ends_with(namespace, "_key"))
		return CERT_KIND_KEY;
	return CERT_KIND_RAW;
}

void values_key(const char *namespace, int slot, char key[AT_NVS_NAME_MAX + 1])
{
	const struct config_nvs nvs = { .namespace = (char *)namespace, .slot = slot };

	nvs_key(&nvs, key);
}

bool values_slot_of(const char *namespace, const char *key, int *slot)
{
	size_t n = strlen(namespace);

	if (strncmp(key, namespace, n) != 0)
		return false;
	if (key[n] == '\0') {
		*slot = DEVICE_SLOT_NONE;
		return true;
	}
	if (key[n] != '.' || key[n + 1] < '0' || key[n + 1] > '9' || key[n + 2] != '\0')
		return false;
	*slot = key[n + 1] - '0';
	return true;
}

/* ---- what was found ---- */

int value_cache_new(struct value_cache **ret, const char *mac)
{
	struct value_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->entries = calloc(VALUES_MAX, sizeof(*cache->entries));
	if (!cache->entries) {
		free(cache);
		return -ENOMEM;
	}
	snprintf(cache->mac, sizeof(cache->mac), "%s", mac);
	*ret = cache;
	return 0;
}

struct value_cache *value_cache_free(struct value_cache *cache)
{
	if (!cache)
		return NULL;
	for (size_t i = 0; i < cache->n; i++)
		free(cache->entries[i].info);
	free(cache->entries);
	free(cache);
	return NULL;
}

struct value_entry *value_cache_find(const struct value_cache *cache, const char *namespace,
				     int slot)
{
	for (size_t i = 0; cache && i < cache->n; i++)
		if (cache->entries[i].slot == slot &&
		    strcmp(cache->entries[i].namespace, namespace) == 0)
			return &cache->entries[i];
	return NULL;
}

struct value_entry *value_cache_add(struct value_cache *cache, const char *namespace, int slot,
				    bool is_binary)
{
	struct value_entry *e = value_cache_find(cache, namespace, slot);

	if (e)
		return e;
	if (cache->n == VALUES_MAX) {
		cache->overflow = true;
		return NULL;
	}
	e = &cache->entries[cache->n++];
	*e = (struct value_entry){
		.slot = slot,
		.kind = device_namespace_kind(namespace),
		.is_binary = is_binary,
	};
	snprintf(e->namespace, sizeof(e->namespace), "%s", namespace);
	return e;
}

void value_entry_fill(struct value_entry *e, const uint8_t digest[CERT_DIGEST_SIZE], size_t len,
		      const uint8_t *text)
{
	struct cert_info info;

	e->known = true;
	e->len = len;
	memcpy(e->digest, digest, CERT_DIGEST_SIZE);
	if (!text || len > CERT_BLOB_MAX || cert_info_of(&info, text, len) < 0)
		return;
	/* Without memory nobody is told of it. */
	e->info = malloc(sizeof(*e->info));
	if (e->info)
		*e->info = info;
}

void values_note(struct device *dev, const char *namespace, int slot, const struct cert_blob *blob)
{
	bool shown = blob->kind == CERT_KIND_CA || blob->kind == CERT_KIND_CERT;
	struct value_entry *e;

	/* Without memory it is only not told of. */
	if (!dev->values && value_cache_new(&dev->values, dev->mac) < 0)
		return;
	e = value_cache_add(dev->values, namespace, slot, true);
	if (!e)
		return;
	e->kind = blob->kind;
	value_entry_fill(e, blob->digest, blob->len, shown ? blob->data : NULL);
}

void values_forget(struct device *dev, const char *key)
{
	char namespace[AT_NVS_NAME_MAX + 1];
	struct value_entry *e;
	int slot;

	record_namespace(key, namespace);
	if (!values_slot_of(namespace, key, &slot))
		return;
	e = value_cache_find(dev->values, namespace, slot);
	if (!e)
		return;
	free(e->info);
	dev->values->n--;
	memmove(e, e + 1, (size_t)(&dev->values->entries[dev->values->n] - e) * sizeof(*e));
}

void values_free(struct device *dev)
{
	dev->values = value_cache_free(dev->values);
}

void values_check_chip(struct device *dev)
{
	if (dev->values && strcmp(dev->values->mac, dev->mac) != 0)
		values_free(dev);
}

/* ---- what is ours ---- */

/* A value that a name has on the chip. */
struct owned {
	char key[AT_NVS_NAME_MAX + 1];
	enum material_type type;
	const char *name;
	bool wifi;
	enum cert_kind kind;
	size_t len;
	const uint8_t *digest;
};

static const char *type_text(enum material_type type)
{
	switch (type) {
	case MATERIAL_AUTHORITY:
		return "authority";
	case MATERIAL_IDENTITY:
		return "identity";
	case MATERIAL_NVS:
		break;
	}
	return "nvs";
}

/* The @i-th blob of those in slots for new connections, or NULL. */
static const struct cert_blob *held_blob(const struct device *dev, size_t i, size_t *item)
{
	for (size_t k = 0; k < dev->material->n_items; k++) {
		const struct holding *h = &dev->holdings[k];

		if (h->slot < 0)
			continue;
		if (i < h->n_blobs) {
			*item = k;
			return &h->blobs[i];
		}
		i -= h->n_blobs;
	}
	return NULL;
}

static bool keys_have(const struct device *dev, const char *key, enum material_type type,
		      const char *name)
{
	for (size_t i = 0; i < dev->n_keys; i++)
		if (strcmp(dev->keys[i].key, key) == 0 && dev->keys[i].type == type &&
		    strcmp(dev->keys[i].name, name) == 0)
			return true;
	return false;
}

/*
 * The @i-th of ours: all keys as they should be, then what new connections use of names whose newer
 * material cannot be had. Returns false if there are no more; what stands here twice has no key.
 */
static bool owned_at(const struct device *dev, size_t i, struct owned *ret)
{
	const struct cert_blob *blob;
	size_t item;

	if (i < dev->n_keys) {
		const struct device_key *k = &dev->keys[i];

		*ret = (struct owned){
			.type = k->type,
			.name = k->name,
			.wifi = k->wifi,
			.kind = k->kind,
			.len = k->len,
			.digest = k->digest,
		};
		memcpy(ret->key, k->key, sizeof(ret->key));
		return true;
	}
	blob = held_blob(dev, i - dev->n_keys, &item);
	if (!blob)
		return false;
	*ret = (struct owned){
		.type = dev->material->items[item].type,
		.name = dev->material->items[item].name,
		.kind = blob->kind,
		.len = blob->len,
		.digest = blob->digest,
	};
	slots_key(blob->kind, dev->holdings[item].slot, ret->key, sizeof(ret->key));
	if (keys_have(dev, ret->key, ret->type, ret->name))
		ret->key[0] = '\0';
	return true;
}

/* Of the material that it is; NULL: it is another generation, or no certificate. */
static const struct cert_info *owned_info(const struct device *dev, const struct owned *o)
{
	for (size_t i = 0; i < dev->material->n_items; i++) {
		const struct material_item *item = &dev->material->items[i];

		if (item->type != o->type || strcmp(item->name, o->name) != 0 ||
		    item->n_blobs == 0 || item->blobs[0]->kind != o->kind ||
		    memcmp(item->blobs[0]->digest, o->digest, CERT_DIGEST_SIZE) != 0)
			continue;
		return item->info.not_after ? &item->info : NULL;
	}
	return NULL;
}

/* ---- what differs ---- */

__attribute__((format(printf, 2, 3))) static int problem_add(struct value_problems *problems,
							     const char *format, ...)
{
	char **lines = realloc(problems->lines, (problems->n + 1) * sizeof(*lines));
	va_list ap;
	int r;

	if (!lines)
		return -ENOMEM;
	problems->lines = lines;
	va_start(ap, format);
	r = vasprintf(&lines[problems->n], format, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	problems->n++;
	return 0;
}

void value_problems_clear(struct value_problems *problems)
{
	for (size_t i = 0; i < problems->n; i++)
		free(problems->lines[i]);
	free(problems->lines);
	*problems = (struct value_problems){ 0 };
}

static const char *entry_differs(const struct value_entry *e, const struct owned *o)
{
	if (!e)
		return "nothing stands there";
	if (!e->is_binary)
		return "a value of another type than binary stands there";
	if (!e->known)
		return "it cannot be read";
	return memcmp(e->digest, o->digest, CERT_DIGEST_SIZE) ? "something else stands there"
							      : NULL;
}

static int compare_owned(const struct device *dev, const struct owned *o,
			 struct value_problems *ret)
{
	char namespace[AT_NVS_NAME_MAX + 1];
	const struct value_entry *e;
	const char *differs;
	int slot;

	record_namespace(o->key, namespace);
	if (!values_slot_of(namespace, o->key, &slot))
		return 0;
	e = value_cache_find(dev->values, namespace, slot);
	differs = entry_differs(e, o);
	/* It may be among those that were not looked at. */
	if (!differs || (!e && dev->values->overflow))
		return 0;
	return problem_add(ret, "%s, of %s %s: %s", o->key, type_text(o->type), o->name, differs);
}

static int compare_item(const struct device *dev, size_t item, struct value_problems *ret)
{
	const struct material_item *m = &dev->material->items[item];
	const char *why;

	if (device_item_state(dev, item, &why) != DEVICE_ITEM_FAILED)
		return 0;
	return problem_add(ret, "%s %s is not on the chip: %s", type_text(m->type), m->name, why);
}

int values_compare(const struct device *dev, struct value_problems *ret)
{
	struct owned o;
	int r = 0;

	for (size_t i = 0; r == 0 && owned_at(dev, i, &o); i++)
		if (o.key[0])
			r = compare_owned(dev, &o, ret);
	for (size_t i = 0; r == 0 && i < dev->material->n_items; i++)
		r = compare_item(dev, i, ret);
	if (r == 0 && dev->values->overflow)
		r = problem_add(ret, "the chip has more than %d values: not all were looked at",
				VALUES_MAX);
	return r;
}

/* ---- who needs a key ---- */

__attribute__((format(printf, 3, 4))) static bool told(char *buf, size_t size, const char *format,
						       ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(buf, size, format, ap);
	va_end(ap);
	return true;
}

/* "authority corp, of the tunnel broker" */
static bool tell_item(const struct device *dev, size_t item, char *buf, size_t size)
{
	const struct material_item *m = &dev->material->items[item];
	const char *first = NULL;
	unsigned int n = 0;

	for (size_t i = 0; i < dev->config->n_tunnels; i++) {
		const struct config_tunnel *t = &dev->config->tunnels[i];

		if (!config_tunnel_uses(t, dev->settings) ||
		    (t->authority != m->config && t->identity != m->config))
			continue;
		first = n++ == 0 ? t->name : first;
	}
	if (n == 0)
		return told(buf, size, "%s %s", type_text(m->type), m->name);
	if (n == 1)
		return told(buf, size, "%s %s, of the tunnel %s", type_text(m->type), m->name,
			    first);
	return told(buf, size, "%s %s, of %u tunnels", type_text(m->type), m->name, n);
}

/* Whether an item of tunnels may be nowhere but in the slot of @key, or is there. */
static bool item_has_key(const struct device *dev, size_t item, const char *key)
{
	static const enum cert_kind kinds[][2] = {
		[MATERIAL_AUTHORITY] = { CERT_KIND_CA, CERT_KIND_CA },
		[MATERIAL_IDENTITY] = { CERT_KIND_CERT, CERT_KIND_KEY },
	};
	const struct material_item *m = &dev->material->items[item];
	int pinned = CONFIG_SLOT_AUTO;

	if (m->type == MATERIAL_NVS)
		return false;
	if (m->type == MATERIAL_AUTHORITY &&
	    config_needs_authority(dev->config, dev->settings, m->config))
		pinned = ((const struct config_authority *)m->config)->slot;
	if (m->type == MATERIAL_IDENTITY &&
	    config_needs_identity(dev->config, dev->settings, m->config))
		pinned = ((const struct config_identity *)m->config)->slot;
	for (size_t i = 0; i < 2; i++) {
		int slot = slots_of_key(kinds[m->type][i], key);

		if (slot >= 0 && (slot == pinned || slot == dev->holdings[item].slot))
			return true;
	}
	return false;
}

static bool is_eap_key(const struct device *dev, const char *key)
{
	const char *const *pair = eap_keys(dev, MATERIAL_IDENTITY);

	if (!device_wants_enterprise(dev))
		return false;
	return strcmp(key, pair[0]) == 0 || strcmp(key, pair[1]) == 0 ||
	       (dev->settings->wifi.enterprise.authority &&
		strcmp(key, eap_keys(dev, MATERIAL_AUTHORITY)[0]) == 0);
}

static bool nvs_has_key(const struct device *dev, size_t item, const char *key)
{
	char own[AT_NVS_NAME_MAX + 1];

	if (dev->material->items[item].type != MATERIAL_NVS || !item_is_needed(dev, item))
		return false;
	nvs_key(dev->material->items[item].config, own);
	return strcmp(own, key) == 0;
}

/* Whether our record has the key for a name that is still needed: an older generation. */
static bool record_has_key(const struct device *dev, size_t item, const char *key)
{
	const struct record_entry *e = record_find(&dev->record, key);
	const struct material_item *m = &dev->material->items[item];
	char own[AT_NVS_NAME_MAX + 1];
	const char *name = m->name;

	if (!e || !item_is_needed(dev, item))
		return false;
	if (m->type == MATERIAL_NVS) {
		nvs_key(m->config, own);
		name = own;
	}
	return record_name(type_text(m->type), name) == e->name;
}

/* A provisioning that runs has promised it to somebody. */
static bool is_promised(const struct device *dev, const char *key)
{
	const struct provision *p = dev->provision;

	for (size_t i = 0; p && i < p->n_wants; i++)
		for (size_t k = 0; k < p->wants[i].n_blobs; k++)
			if (strcmp(p->wants[i].keys[k], key) == 0)
				return true;
	return false;
}

bool device_slot_users(const struct device *dev, const char *namespace, int slot, char *buf,
		       size_t size)
{
	char key[AT_NVS_NAME_MAX + 1];

	buf[0] = '\0';
	if (strcmp(namespace, CONFIG_NVS_OWN) == 0)
		return told(buf, size, "the record of what is ours");
	if (strlen(namespace) > AT_NVS_NAME_MAX - (slot == DEVICE_SLOT_NONE ? 0u : 2u))
		return false;
	values_key(namespace, slot, key);
	if (is_eap_key(dev, key))
		return told(buf, size, "Enterprise Wi-Fi");
	for (size_t i = 0; i < dev->material->n_items; i++) {
		if (nvs_has_key(dev, i, key))
			return told(buf, size, "an nvs entry of the configuration");
		if (item_has_key(dev, i, key))
			return tell_item(dev, i, buf, size);
	}
	for (size_t i = 0; i < dev->n_keys; i++)
		if (strcmp(dev->keys[i].key, key) == 0)
			return told(buf, size, "%s %s", type_text(dev->keys[i].type),
				    dev->keys[i].name);
	for (size_t i = 0; i < dev->material->n_items; i++)
		if (record_has_key(dev, i, key))
			return told(buf, size, "%s %s, an older generation",
				    type_text(dev->material->items[i].type),
				    dev->material->items[i].name);
	return is_promised(dev, key) && told(buf, size, "what is being written now");
}

/* ---- all of them ---- */

/* What is told of one value, and its memory. */
struct telling {
	struct device_value value;
	char namespace[AT_NVS_NAME_MAX + 1];
	char users[VALUE_USERS_MAX][CONFIG_NAME_MAX + sizeof("authority:")];
	const char *used_by[VALUE_USERS_MAX + 1];
	size_t n_users;
};

static void add_user(struct telling *t, const char *text, const char *name)
{
	char *user;

	if (t->n_users == VALUE_USERS_MAX)
		return;
	user = t->users[t->n_users];
	snprintf(user, sizeof(t->users[0]), "%s%s%s", text, name ? ":" : "", name ? name : "");
	for (size_t i = 0; i < t->n_users; i++)
		if (strcmp(t->users[i], user) == 0)
			return;
	t->used_by[t->n_users++] = user;
}

static void tell_info(struct device_value *value, const struct cert_info *info)
{
	value->subject = info ? info->subject : "";
	value->issuer = info ? info->issuer : "";
	value->not_before = info ? info->not_before : 0;
	value->not_after = info ? info->not_after : 0;
}

/* @o is ours at this key; the first one says what it is. */
static void tell_owned(const struct device *dev, struct telling *t, const struct owned *o)
{
	if (t->n_users == 0) {
		t->value.kind = cert_kind_name(o->kind);
		t->value.len = o->len;
		t->value.digest = o->digest;
		tell_info(&t->value, owned_info(dev, o));
	}
	add_user(t, type_text(o->type), o->type == MATERIAL_NVS ? NULL : o->name);
	if (o->wifi)
		add_user(t, "wifi", NULL);
}

static void tell_value(const struct device *dev, const char *key, struct telling *t)
{
	const struct value_entry *e;
	struct owned o;

	*t = (struct telling){ 0 };
	record_namespace(key, t->namespace);
	t->value.namespace = t->namespace;
	t->value.used_by = t->used_by;
	if (!values_slot_of(t->namespace, key, &t->value.slot))
		return;
	for (size_t i = 0; owned_at(dev, i, &o); i++)
		if (strcmp(o.key, key) == 0)
			tell_owned(dev, t, &o);
	e = value_cache_find(dev->values, t->namespace, t->value.slot);
	if (t->n_users > 0 || !e)
		return;
	t->value.kind = e->is_binary ? cert_kind_name(e->kind) : "other";
	t->value.len = e->len;
	t->value.digest = e->known ? e->digest : NULL;
	tell_info(&t->value, e->info);
}

typedef char value_key[AT_NVS_NAME_MAX + 1];

static int compare_keys(const void *a, const void *b)
{
	return strcmp(a, b);
}

void device_each_value(const struct device *dev,
		       void (*fn)(void *userdata, const struct device_value *value), void *userdata)
{
	value_key keys[VALUES_MAX + 2 * RECORD_MAX];
	size_t n = 0;
	struct telling t;
	struct owned o;

	for (size_t i = 0; owned_at(dev, i, &o) && n < 2 * RECORD_MAX; i++)
		if (o.key[0])
			memcpy(keys[n++], o.key, sizeof(keys[0]));
	for (size_t i = 0; dev->values && i < dev->values->n; i++)
		values_key(dev->values->entries[i].namespace, dev->values->entries[i].slot,
			   keys[n++]);
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && strcmp(keys[i], keys[i - 1]) == 0)
			continue;
		tell_value(dev, keys[i], &t);
		if (t.value.kind)
			fn(userdata, &t.value);
	}
}
