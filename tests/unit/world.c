/* SPDX-License-Identifier: MIT */
/* Configuration and material of the tests. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static char *keep(struct world *w, const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	assert_true(w->n_strings < ARRAY_SIZE(w->strings));
	w->strings[w->n_strings++] = copy;
	return copy;
}

static struct cert_blob *make_blob(enum cert_kind kind, const char *text, const char *more)
{
	struct cert_blob *blob = calloc(1, sizeof(*blob));
	char buf[64];

	assert_non_null(blob);
	snprintf(buf, sizeof(buf), "%s%s", text, more);
	blob_init(blob, kind, buf);
	return blob;
}

/* One word without its first two letters. */
struct word {
	char name[40], text[40];
	unsigned int generation;
	int slot;
	bool needed;
};

static struct word parse_word(const char *p)
{
	struct word word = { .needed = *p != '!', .slot = CONFIG_SLOT_AUTO };
	const char *at = strchr(p, '@');

	assert_true(sscanf(p + !word.needed + 2, "%39[^= ]=%39[^/@ ]/%u", word.name, word.text,
			   &word.generation) >= 1);
	if (at && at < p + strcspn(p, " "))
		word.slot = atoi(at + 1);
	return word;
}

static void add_tunnel(struct world *w, const struct word *word,
		       const struct config_authority *authority,
		       const struct config_identity *identity)
{
	char name[48];

	if (!word->needed)
		return;
	snprintf(name, sizeof(name), "t-%s", word->name);
	w->tunnels[w->config.n_tunnels++] = (struct config_tunnel){
		.name = keep(w, name),
		.device = &w->settings,
		.authority = authority,
		.identity = identity,
	};
}

static void add_word(struct world *w, const char *p)
{
	struct word word = parse_word(p);
	struct config_authority *a = &w->authorities[w->config.n_authorities];
	struct config_identity *id = &w->identities[w->config.n_identities];
	struct config_nvs *nvs = &w->nvs[w->config.n_nvs];
	char *dot;

	switch (p[!word.needed]) {
	case 'a':
		w->config.n_authorities++;
		*a = (struct config_authority){ .name = keep(w, word.name), .slot = word.slot };
		add_tunnel(w, &word, a, NULL);
		break;
	case 'i':
		w->config.n_identities++;
		*id = (struct config_identity){ .name = keep(w, word.name), .slot = word.slot };
		add_tunnel(w, &word, NULL, id);
		break;
	case 'n':
		dot = strchr(word.name, '.');
		w->config.n_nvs++;
		*nvs = (struct config_nvs){ .slot = dot ? atoi(dot + 1) : CONFIG_SLOT_NONE };
		if (dot)
			*dot = '\0';
		nvs->namespace = keep(w, word.name);
		break;
	default:
		fail_msg("no such word: %s", p);
	}
}

static void add_item(struct world *w, enum material_type type, const char *name, const void *config,
		     const struct word *word)
{
	struct material_item *item = &w->items[w->material.n_items++];

	*item = (struct material_item){ .type = type, .name = name, .config = config };
	if (strcmp(word->text, "-") == 0)
		return;
	item->generation = type == MATERIAL_NVS ? 0 : word->generation;
	item->n_blobs = type == MATERIAL_IDENTITY ? 2 : 1;
	if (type == MATERIAL_IDENTITY) {
		item->blobs[0] = make_blob(CERT_KIND_CERT, word->text, ".cert");
		item->blobs[1] = make_blob(CERT_KIND_KEY, word->text, ".key");
	} else {
		item->blobs[0] = make_blob(CERT_KIND_CA, word->text, "");
	}
	snprintf(item->info.subject, sizeof(item->info.subject), "CN=%s", word->text);
	item->info.not_after = 2000000000;
}

/* Calls @fn for each word of @spec. */
static void each_word(struct world *w, const char *spec, void (*fn)(struct world *w, const char *p))
{
	for (const char *p = spec; *p; p += strcspn(p, " "), p += strspn(p, " "))
		fn(w, p);
}

static void add_config(struct world *w, const char *p)
{
	char name[40];

	if (*p == '+') {
		sscanf(p, "+%39[^ ]", name);
		w->config.extra_namespaces.items[w->config.extra_namespaces.n++] = keep(w, name);
	} else if (*p != 'w') {
		add_word(w, p);
	}
}

static void add_authority_item(struct world *w, const char *p)
{
	struct word word;
	size_t i = w->material.n_items;

	if (p[p[0] == '!'] != 'a')
		return;
	word = parse_word(p);
	add_item(w, MATERIAL_AUTHORITY, w->authorities[i].name, &w->authorities[i], &word);
}

static void add_identity_item(struct world *w, const char *p)
{
	struct word word;
	size_t i = w->material.n_items - w->config.n_authorities;

	if (p[p[0] == '!'] != 'i')
		return;
	word = parse_word(p);
	add_item(w, MATERIAL_IDENTITY, w->identities[i].name, &w->identities[i], &word);
}

static void add_nvs_item(struct world *w, const char *p)
{
	struct word word;
	size_t i = w->material.n_items - w->config.n_authorities - w->config.n_identities;

	if (p[0] != 'n')
		return;
	word = parse_word(p);
	add_item(w, MATERIAL_NVS, w->nvs[i].namespace, &w->nvs[i], &word);
}

static void add_wifi(struct world *w, const char *p)
{
	char name[40];

	if (*p != 'w')
		return;
	sscanf(p, "w:%39[^ ]", name);
	w->settings.wifi.has_enterprise = true;
	w->settings.wifi.password_file = NULL;
	w->settings.wifi.enterprise.identity = keep(w, "outer");
	for (size_t i = 0; i < w->config.n_identities; i++)
		if (strcmp(w->identities[i].name, name) == 0)
			w->settings.wifi.enterprise.credential = &w->identities[i];
}

struct world *world_new(const char *spec)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->settings.name = keep(w, "esp0");
	w->settings.baud = 115200;
	w->settings.has_wifi = true;
	w->settings.wifi.ssid = keep(w, "lab");
	w->settings.wifi.password_file = keep(w, "wifi.secret");
	w->config.devices = &w->settings;
	w->config.n_devices = 1;
	w->config.authorities = w->authorities;
	w->config.identities = w->identities;
	w->config.nvs = w->nvs;
	w->config.tunnels = w->tunnels;
	w->config.extra_namespaces.items = calloc(WORLD_MAX, sizeof(char *));
	w->material.config = &w->config;
	w->material.items = w->items;
	each_word(w, spec, add_config);
	each_word(w, spec, add_authority_item);
	each_word(w, spec, add_identity_item);
	each_word(w, spec, add_nvs_item);
	each_word(w, spec, add_wifi);
	return w;
}

struct world *world_free(struct world *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; i < w->material.n_items; i++)
		for (size_t k = 0; k < w->items[i].n_blobs; k++)
			cert_blob_free(w->items[i].blobs[k]);
	for (size_t i = 0; i < w->n_strings; i++) {
		memset(w->strings[i], 'x', strlen(w->strings[i]));
		free(w->strings[i]);
	}
	free(w->config.extra_namespaces.items);
	memset(w, 0xa5, sizeof(*w));
	free(w);
	return NULL;
}

void world_start(struct bench *b, const struct world *w)
{
	bench_make(b, &w->config, &w->settings, &w->material);
}

void world_reload(struct bench *b, struct world **was, struct world *w)
{
	assert_int_equal(device_reconfigure(b->dev, &w->config, &w->settings, &w->material), 0);
	world_free(*was);
	*was = w;
	device_provision(b->dev);
}

static bool read_record(struct bench *b, struct record *record)
{
	static const char *const keys[] = { RECORD_KEY, RECORD_KEY_COPY };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct chip_key *key = chip_nvs(b, keys[i]);

		if (key->type == 8 && record_parse(record, key->data, key->len) == 0)
			return true;
	}
	memset(record, 0, sizeof(*record));
	return false;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct record_entry *)a)->key, ((const struct record_entry *)b)->key);
}

const char *world_record(struct bench *b)
{
	static char text[RECORD_MAX * 20];
	static struct record record;
	size_t len = 0;

	text[0] = '\0';
	read_record(b, &record);
	qsort(record.entries, record.n, sizeof(record.entries[0]), compare_entries);
	for (size_t i = 0; i < record.n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					record.entries[i].key);
	return text;
}

static bool is_handed_over(const struct bench *b, const char *key)
{
	char word[AT_NVS_NAME_MAX + 3];

	snprintf(word, sizeof(word), " %s ", key);
	return b->handed_over && strstr(b->handed_over, word);
}

void world_assert_known(struct bench *b)
{
	static struct record record;

	read_record(b, &record);
	for (size_t i = 0; i < b->chip.n_nvs; i++) {
		const struct chip_key *key = &b->chip.nvs[i];

		if (key->type && key->ours && strncmp(key->name, "slots", 5) != 0 &&
		    !is_handed_over(b, key->name) && !record_find(&record, key->name))
			fail_msg("nobody knows that %s is ours: %s", key->name, world_record(b));
	}
}

static void assert_item_there(struct bench *b, const struct world *w, size_t i)
{
	const struct material_item *item = &w->items[i];
	enum device_item_state state;
	char key[32];
	const char *why;
	int slot = -1;

	state = device_item_state(b->dev, i, &why);
	if (state != DEVICE_ITEM_THERE && state != DEVICE_ITEM_NOT_NEEDED)
		fail_msg("%s: state %d, %s; told: %s", item->name, state, why ? why : "",
			 b->chip.told);
	if (item->type == MATERIAL_AUTHORITY)
		slot = device_authority_slot(b->dev, item->config);
	else if (item->type == MATERIAL_IDENTITY)
		slot = device_identity_slot(b->dev, item->config);
	else
		slot = ((const struct config_nvs *)item->config)->slot;
	if (state == DEVICE_ITEM_NOT_NEEDED) {
		assert_int_equal(slot, -1);
		return;
	}
	for (size_t k = 0; k < item->n_blobs; k++) {
		if (item->type == MATERIAL_NVS && slot < 0)
			snprintf(key, sizeof(key), "%s", item->name);
		else if (item->type == MATERIAL_NVS)
			snprintf(key, sizeof(key), "%s.%d", item->name, slot);
		else
			slots_key(item->blobs[k]->kind, slot, key, sizeof(key));
		if (!chip_holds(b, key, item->blobs[k]))
			fail_msg("%s is not what %s should be; told: %s", key, item->name,
				 b->chip.told);
	}
}

void world_assert_there(struct bench *b, const struct world *w)
{
	if (b->dev->state != DEVICE_READY)
		fail_msg("%s: %s; told: %s", device_state_name(b->dev->state), b->dev->error,
			 b->chip.told);
	assert_null(b->dev->provision);
	for (size_t i = 0; i < w->material.n_items; i++)
		assert_item_there(b, w, i);
	world_assert_known(b);
}
