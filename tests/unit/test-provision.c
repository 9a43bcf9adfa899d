/* SPDX-License-Identifier: MIT */
/*
 * device/step-provision: what is written to a chip, and above all what is not, whatever it holds,
 * and wherever the writing is cut off.
 */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "fake-chip.h"
#include "util/log.h"

/* ---- what is said ---- */

static unsigned int errors;
static char last_error[256];
static const char *never_logged; /* NULL: anything may be */

void __wrap_log_msg(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (never_logged && strstr(text, never_logged))
		fail_msg("logged: %s", text);
	if (level != LOG_LEVEL_ERROR)
		return;
	errors++;
	snprintf(last_error, sizeof(last_error), "%.255s", text);
}

/* ---- a configuration, and a chip ---- */

struct thing {
	struct cert_blob blobs[MATERIAL_BLOBS];
	unsigned int generation;
};

static struct {
	struct bench b;
	struct config_authority authorities[4];
	struct config_identity identities[3];
	struct config_nvs nvs[4];
	struct thing things[3][4]; /* by enum material_type */
	struct config_tunnel tunnels[4];
	struct material_item items[12];
	/* the chip as it was at first: what is not ours */
	struct chip_key foreign[80];
	size_t n_foreign;
	struct record record; /* that is on it at first */
} w;

static struct bench *const b = &w.b;

static bool server_only; /* the next links show no certificate */

static char corp[] = "corp", other[] = "other", third[] = "third", gateway[] = "gateway",
	    second[] = "second", mqtt_ca[] = "mqtt_ca", https_ca[] = "https_ca",
	    client_ca[] = "client_ca", client_cert[] = "client_cert", outer[] = "outer";

static void set_blob(struct cert_blob *blob, enum cert_kind kind, const char *text,
		     const char *more)
{
	char buf[256];

	snprintf(buf, sizeof(buf), "%s%s", text, more);
	free(blob->data);
	blob_init(blob, kind, buf);
}

static void set_thing(enum material_type type, size_t i, enum cert_kind kind, const char *text,
		      unsigned int generation)
{
	struct thing *t = &w.things[type][i];

	t->generation = generation;
	set_blob(&t->blobs[0], kind, text, type == MATERIAL_IDENTITY ? ".cert" : "");
	if (type == MATERIAL_IDENTITY)
		set_blob(&t->blobs[1], CERT_KIND_KEY, text, ".key");
}

static void add_authority(char *name, int slot, const char *text, unsigned int generation)
{
	size_t i = b->config.n_authorities++;

	assert_true(i < ARRAY_SIZE(w.authorities));
	w.authorities[i] = (struct config_authority){ .name = name, .slot = slot };
	set_thing(MATERIAL_AUTHORITY, i, CERT_KIND_CA, text, generation);
}

static void add_identity(char *name, int slot, const char *text, unsigned int generation)
{
	size_t i = b->config.n_identities++;

	assert_true(i < ARRAY_SIZE(w.identities));
	w.identities[i] = (struct config_identity){ .name = name, .slot = slot };
	set_thing(MATERIAL_IDENTITY, i, CERT_KIND_CERT, text, generation);
}

static void add_nvs(char *namespace, int slot, enum cert_kind kind, const char *text)
{
	size_t i = b->config.n_nvs++;

	assert_true(i < ARRAY_SIZE(w.nvs));
	w.nvs[i] = (struct config_nvs){ .namespace = namespace, .slot = slot };
	set_thing(MATERIAL_NVS, i, kind, text, 0);
}

static void add_item(enum material_type type, size_t i, const char *name, const void *config)
{
	struct material_item *item = &w.items[b->material.n_items++];
	struct thing *t = &w.things[type][i];

	*item = (struct material_item){
		.type = type,
		.name = name,
		.config = config,
		.blobs = { &t->blobs[0], &t->blobs[1] },
		.n_blobs = type == MATERIAL_IDENTITY ? 2 : 1,
		.generation = t->generation,
	};
}

static void change_texts(const char *authority, const char *identity, unsigned int generation)
{
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, authority, generation);
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, identity, generation);
}

/* The material as it is now, for the device that there is. */
static void take_material(void)
{
	b->material.n_items = 0;
	b->material.items = w.items;
	for (size_t i = 0; i < b->config.n_authorities; i++)
		add_item(MATERIAL_AUTHORITY, i, w.authorities[i].name, &w.authorities[i]);
	for (size_t i = 0; i < b->config.n_identities; i++)
		add_item(MATERIAL_IDENTITY, i, w.identities[i].name, &w.identities[i]);
	for (size_t i = 0; i < b->config.n_nvs; i++)
		add_item(MATERIAL_NVS, i, w.nvs[i].namespace, &w.nvs[i]);
}

/* A device for the configuration as it is now: a start of the daemon. */
static void remake(void)
{
	take_material();
	b->config.authorities = w.authorities;
	b->config.identities = w.identities;
	b->config.nvs = w.nvs;
	b->config.tunnels = w.tunnels;
	b->config.n_tunnels = 0;
	for (size_t i = 0; i < b->config.n_authorities || i < b->config.n_identities; i++)
		w.tunnels[b->config.n_tunnels++] = (struct config_tunnel){
			.name = outer,
			.device = &b->settings,
			.authority = i < b->config.n_authorities ? &w.authorities[i] : NULL,
			.identity = i < b->config.n_identities ? &w.identities[i] : NULL,
		};
	bench_remake(b);
}

/* Nothing is wanted yet. */
static int setup(void **state)
{
	bench_init(b);
	b->dev = device_free(b->dev);
	b->config.n_authorities = b->config.n_identities = b->config.n_nvs = 0;
	b->chip.joined = true;
	w.n_foreign = 0;
	memset(&w.record, 0, sizeof(w.record));
	errors = 0;
	last_error[0] = '\0';
	never_logged = NULL;
	server_only = false;
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static int teardown(void **state)
{
	bench_free(b);
	for (size_t type = 0; type < 3; type++)
		for (size_t i = 0; i < 4; i++)
			for (size_t k = 0; k < MATERIAL_BLOBS; k++) {
				free(w.things[type][i].blobs[k].data);
				w.things[type][i].blobs[k].data = NULL;
			}
	return 0;
}

static void put_key(const char *name, int type, const char *text)
{
	struct chip_key *key = chip_nvs(b, name);

	key->type = type;
	key->ours = false;
	key->len = strlen(text);
	memcpy(key->data, text, key->len);
}

/* A key with an entry in our record, which is put there by put_record(). NULL: it is missing. */
static void put_ours(const char *name, const char *kind, const char *owner, unsigned int generation,
		     const char *text, const char *there)
{
	struct record_entry e = { .name = record_name(kind, owner), .generation = generation };

	snprintf(e.key, sizeof(e.key), "%s", name);
	assert_int_equal(cert_digest_of(text, strlen(text), e.digest), 0);
	assert_int_equal(record_put(&w.record, &e), 0);
	if (!there)
		return;
	put_key(name, 8, there);
	chip_nvs(b, name)->ours = true;
}

static void put_record(uint64_t writes)
{
	struct chip_key *key = chip_nvs(b, RECORD_KEY);

	w.record.writes = writes;
	key->type = 8;
	key->len = record_format(&w.record, (char *)key->data);
}

static bool is_record(const struct chip_key *key)
{
	return strcmp(key->name, RECORD_KEY) == 0 || strcmp(key->name, RECORD_KEY_COPY) == 0;
}

/* From here on it is known what is not ours. */
static void note_foreign(void)
{
	w.n_foreign = 0;
	for (size_t i = 0; i < b->chip.n_nvs; i++)
		if (b->chip.nvs[i].type && !b->chip.nvs[i].ours && !is_record(&b->chip.nvs[i]) &&
		    !record_find(&w.record, b->chip.nvs[i].name))
			w.foreign[w.n_foreign++] = b->chip.nvs[i];
}

/* ---- what there is ---- */

static void assert_ready(void)
{
	if (b->dev->state != DEVICE_READY)
		fail_msg("%s: %s; told: %s", device_state_name(b->dev->state), b->dev->error,
			 b->chip.told);
}

/*
 * What the chip was told of its keys: 'w'rite, 'e'rase, 'r'ead, 'l'ist, 'n'ames; only those of @which.
 * What the record's copy was written for is told by the record itself: that one only for a 'c' in @which.
 * What is not there is read twice; that counts as once.
 */
static const char *ops(const char *which)
{
	static char text[4096];
	const char *p = b->chip.told;
	char before[16] = "";
	size_t len = 0;

	for (text[0] = '\0'; *p; p = strchr(p, '|') + 1) {
		char namespace[16], key[16], letter;
		int op, n;

		n = sscanf(p, "AT+SYSMFG=%d,\"%15[^\"]\",\"%15[^\"]\"", &op, namespace, key);
		if (n < 2 && strncmp(p, "AT+SYSMFG?|", 11) != 0)
			continue;
		letter = n == 3 ? "erw"[op] : n == 2 ? 'l' : 'n';
		if (!strchr(which, letter))
			continue;
		if (letter != 'r' && n == 3 && strcmp(key, RECORD_KEY_COPY) == 0 &&
		    !strchr(which, 'c'))
			continue;
		if (letter == 'r' && strcmp(key, before) == 0 && chip_nvs(b, key)->type == 0)
			continue;
		strcpy(before, letter == 'r' ? key : "");
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%c %s|", letter,
					n == 3   ? key
					: n == 2 ? namespace
						 : "");
		assert_true(len < sizeof(text));
	}
	return text;
}

static const char *name_of(uint64_t hash)
{
	static const char *const names[][2] = {
		{ "authority", "corp" },    { "authority", "other" },  { "authority", "third" },
		{ "authority", "gone" },    { "identity", "gateway" }, { "identity", "second" },
		{ "identity", "gone" },     { "nvs", "mqtt_ca" },      { "nvs", "https_ca.1" },
		{ "nvs", "client_ca.0" },   { "nvs", "client_ca.5" },  { "nvs", "client_cert.0" },
		{ "nvs", "client_cert.5" }, { "nvs", "mqtt_key" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (record_name(names[i][0], names[i][1]) == hash)
			return names[i][1];
	return "?";
}

/* The record that is on the chip, or its copy; false if there is neither, or both are damaged. */
static bool read_record(struct record *record)
{
	static const char *const keys[] = { RECORD_KEY, RECORD_KEY_COPY };
	bool found = false;

	memset(record, 0, sizeof(*record));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct chip_key *key = chip_nvs(b, keys[i]);
		struct record there;

		if (found || key->type != 8 || record_parse(&there, key->data, key->len) < 0)
			continue;
		*record = there;
		found = true;
	}
	return found;
}

/* What is read with "r KEY|": the line may have damaged it, and not the flash. */
static bool is_damaged_record(const char *read)
{
	const char *key = strcmp(read, "r " RECORD_KEY "|") == 0        ? RECORD_KEY
			  : strcmp(read, "r " RECORD_KEY_COPY "|") == 0 ? RECORD_KEY_COPY
									: NULL;
	const struct chip_key *there = key ? chip_nvs(b, key) : NULL;
	struct record record;

	return there && there->type &&
	       (there->type != 8 || record_parse(&record, there->data, there->len) < 0);
}

static bool has_record(void)
{
	return chip_nvs(b, RECORD_KEY)->type || chip_nvs(b, RECORD_KEY_COPY)->type;
}

static const char *record_text(void)
{
	static char text[4096];
	struct record record;
	size_t len = 0;

	if (!read_record(&record))
		return has_record() ? "damaged" : "none";
	text[0] = '\0';
	for (size_t i = 0; i < record.n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=%s/%u", i ? " " : "",
					record.entries[i].key, name_of(record.entries[i].name),
					record.entries[i].generation);
	return text;
}

static const char *slots_text(void)
{
	static char text[256];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < b->config.n_authorities; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s:%d", len ? " " : "",
					w.authorities[i].name,
					device_authority_slot(b->dev, &w.authorities[i]));
	for (size_t i = 0; i < b->config.n_identities; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s:%d", len ? " " : "",
					w.identities[i].name,
					device_identity_slot(b->dev, &w.identities[i]));
	return text;
}

/* ---- what must always be so ---- */

/* Whether the configuration names this key: by its own name, or by a slot. */
static bool is_named(const char *name)
{
	char key[AT_NVS_NAME_MAX + 1];

	for (size_t i = 0; i < b->config.n_nvs; i++) {
		if (w.nvs[i].slot == CONFIG_SLOT_NONE)
			snprintf(key, sizeof(key), "%s", w.nvs[i].namespace);
		else
			snprintf(key, sizeof(key), "%.13s.%u", w.nvs[i].namespace,
				 (unsigned int)w.nvs[i].slot % SLOTS_COUNT);
		if (strcmp(key, name) == 0)
			return true;
	}
	for (size_t i = 0; i < b->config.n_authorities; i++)
		if (w.authorities[i].slot != CONFIG_SLOT_AUTO &&
		    slots_of_key(CERT_KIND_CA, name) == w.authorities[i].slot)
			return true;
	for (size_t i = 0; i < b->config.n_identities; i++)
		if (w.identities[i].slot != CONFIG_SLOT_AUTO &&
		    (slots_of_key(CERT_KIND_CERT, name) == w.identities[i].slot ||
		     slots_of_key(CERT_KIND_KEY, name) == w.identities[i].slot))
			return true;
	return b->settings.wifi.has_enterprise && strncmp(name, "wpa", 3) == 0;
}

static void assert_foreign_untouched(void)
{
	for (size_t i = 0; i < w.n_foreign; i++) {
		const struct chip_key *was = &w.foreign[i], *is = chip_nvs(b, was->name);

		if (is_named(was->name))
			continue;
		if (is->type != was->type || is->len != was->len ||
		    memcmp(is->data, was->data, was->len) != 0)
			fail_msg("%s was touched; told: %s", was->name, ops("welr"));
	}
}

/* Nothing of ours stands on the chip without being known to be ours. */
static void assert_ours_is_known(void)
{
	struct record record;

	read_record(&record);
	for (size_t i = 0; i < b->chip.n_nvs; i++) {
		const struct chip_key *key = &b->chip.nvs[i];

		if (key->type && key->ours && !is_record(key) && !record_find(&record, key->name))
			fail_msg("nobody knows that %s is ours: %s", key->name, record_text());
	}
}

/* What new connections and others use is what it should be. */
static void assert_content(void)
{
	char key[AT_NVS_NAME_MAX + 1];

	for (size_t i = 0; i < b->material.n_items; i++) {
		const struct material_item *item = &b->material.items[i];
		const struct config_nvs *nvs = item->config;
		int slot = item->type == MATERIAL_AUTHORITY
				   ? device_authority_slot(b->dev, item->config)
			   : item->type == MATERIAL_IDENTITY
				   ? device_identity_slot(b->dev, item->config)
				   : nvs->slot;

		for (size_t k = 0; k < item->n_blobs; k++) {
			if (item->type == MATERIAL_NVS && slot >= 0)
				snprintf(key, sizeof(key), "%.12s.%u", nvs->namespace,
					 (unsigned int)slot % SLOTS_COUNT);
			else if (item->type == MATERIAL_NVS)
				snprintf(key, sizeof(key), "%s", nvs->namespace);
			else
				slots_key(item->blobs[k]->kind, slot, key, sizeof(key));
			if ((item->type == MATERIAL_NVS || slot >= 0) &&
			    !chip_holds(b, key, item->blobs[k]))
				fail_msg("%s is not what %s should be; told: %s", key, item->name,
					 ops("welr"));
		}
	}
}

/* How many keys are in use. */
static size_t count_keys(void)
{
	size_t n = 0;

	for (size_t i = 0; i < b->dev->n_keys; i++) {
		bool again = false;

		for (size_t k = 0; k < i && !again; k++)
			again = strcmp(b->dev->keys[k].key, b->dev->keys[i].key) == 0;
		n += !again;
	}
	return n;
}

/* A second start writes and erases nothing, and reads each value in use once, and the record. */
static void assert_second_is_quiet(bool found_by_content)
{
	const char *reads;
	char slots[256];

	snprintf(slots, sizeof(slots), "%s", slots_text());
	bench_remake(b);
	chip_forget(b);
	bench_up(b);
	assert_int_not_equal(b->dev->state, DEVICE_FAILED);
	if (ops("we")[0])
		fail_msg("a second start: %s", ops("we"));
	assert_int_equal(b->dev->flash_writes, 0);
	assert_string_equal(slots_text(), slots);
	reads = ops("r");
	if (!found_by_content &&
	    (size_t)count_of(reads, "|") > count_keys() + (has_record() ? 1 : 2))
		fail_msg("a second start reads %s", reads);
	for (const char *p = reads; *p; p = strchr(p, '|') + 1) {
		char one[32];

		snprintf(one, sizeof(one), "%.*s", (int)(strchr(p, '|') - p + 1), p);
		assert_int_equal(count_of(reads, one), is_damaged_record(one) ? 2 : 1);
	}
}

static void assert_sane(void)
{
	assert_foreign_untouched();
	assert_ours_is_known();
	assert_content();
}

/* ---- bring-up: what is on the chip at first, and what becomes of it ---- */

static void want_both(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
}

static void fill_factory(void)
{
	static const char *const keys[] = {
		"client_ca.0",  "client_ca.1",  "client_cert.0", "client_cert.1",
		"client_key.0", "client_key.1", "server_ca",     "server_cert",
		"server_key",   "mqtt_ca",      "mqtt_cert",     "mqtt_key",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		put_key(keys[i], 8, keys[i]);
}

static void start_empty(void)
{
	want_both();
}

static void start_factory(void)
{
	want_both();
	fill_factory();
}

static void put_both(void)
{
	put_ours("client_ca.3", "authority", "corp", 1, "C", "C");
	put_ours("client_cert.4", "identity", "gateway", 1, "G.cert", "G.cert");
	put_ours("client_key.4", "identity", "gateway", 1, "G.key", "G.key");
}

static void start_provisioned(void)
{
	want_both();
	fill_factory();
	for (int slot = 5; slot < 10; slot++) {
		char key[16];

		snprintf(key, sizeof(key), "client_ca.%d", slot);
		put_key(key, 8, "somebody's");
	}
	put_both();
	put_record(4);
}

static void start_without_record(void)
{
	start_provisioned();
	memset(&w.record, 0, sizeof(w.record));
	chip_nvs(b, RECORD_KEY)->type = 0;
	for (size_t i = 0; i < b->chip.n_nvs; i++)
		b->chip.nvs[i].ours = false;
}

static void start_damaged_record(void)
{
	start_provisioned();
	memset(&w.record, 0, sizeof(w.record));
	chip_nvs(b, RECORD_KEY)->data[20] ^= 1;
	for (size_t i = 0; i < b->chip.n_nvs; i++)
		b->chip.nvs[i].ours = false;
}

static void start_damaged_record_and_new_material(void)
{
	start_damaged_record();
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
}

static void start_record_of_another_type(void)
{
	want_both();
	put_key(RECORD_KEY, 7, "slots");
}

static void start_missing(void)
{
	start_provisioned();
	chip_nvs(b, "client_ca.3")->type = 0;
}

static void start_missing_half(void)
{
	start_provisioned();
	chip_nvs(b, "client_key.4")->type = 0;
}

static void start_damaged(void)
{
	start_provisioned();
	chip_nvs(b, "client_cert.4")->data[0] ^= 1;
}

static void start_of_another_type(void)
{
	start_provisioned();
	chip_nvs(b, "client_ca.3")->type = 7;
}

/* Half of it stands there, and is not ours: completed, and it stays so. */
static void start_half_foreign(void)
{
	want_both();
	put_key("client_ca.8", 8, "C");
	put_key("client_cert.5", 8, "G.cert");
}

/* And its own half goes when the material changes. */
static void start_half_foreign_and_new_material(void)
{
	start_half_foreign();
	put_ours("client_key.5", "identity", "gateway", 1, "G.key", "G.key");
	put_record(2);
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, "G2", 2);
}

static void start_of_another_host(void)
{
	start_provisioned();
	for (size_t i = 0; i < w.record.n; i++)
		w.record.entries[i].generation = 7 + (unsigned int)i;
	put_record(1000);
}

static void start_superseded(void)
{
	want_both();
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, "G2", 2);
	put_both();
	put_ours("client_ca.0", "authority", "corp", 2, "C2", "C2");
	put_ours("client_cert.0", "identity", "gateway", 2, "G2.cert", "G2.cert");
	put_ours("client_key.0", "identity", "gateway", 2, "G2.key", "G2.key");
	put_record(8);
}

static void start_superseded_and_erased(void)
{
	start_superseded();
	chip_nvs(b, "client_ca.3")->type = 0;
	chip_nvs(b, "client_key.4")->type = 0;
}

/* The record was written, and no more. */
static void start_announced(void)
{
	want_both();
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
	put_both();
	put_ours("client_ca.0", "authority", "corp", 2, "C2", NULL);
	put_record(8);
}

static void start_new_material(void)
{
	want_both();
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, "G2", 2);
	put_both();
	put_record(8);
}

static void put_orphans(void)
{
	put_ours("client_ca.5", "authority", "gone", 3, "X", "X");
	put_ours("client_cert.6", "identity", "gone", 4, "Y", "Y");
	put_ours("client_key.6", "identity", "gone", 4, "Z", NULL);
	put_ours("mqtt_key", "nvs", "mqtt_key", 0, "M", "M");
}

static void start_orphans(void)
{
	want_both();
	put_both();
	put_orphans();
	put_record(9);
}

/* An orphan with the very content that is wanted. */
static void start_orphan_of_use(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "X", 1);
	put_orphans();
	put_record(9);
}

static void start_full(void)
{
	want_both();
	for (int slot = 0; slot < SLOTS_COUNT; slot++) {
		char key[16];

		snprintf(key, sizeof(key), "client_ca.%d", slot);
		put_key(key, slot == 4 ? 7 : 8, slot == 4 ? "C" : "somebody's");
	}
}

/* Its old slot is all that there is. */
static void start_full_and_new_material(void)
{
	start_full();
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
	put_ours("client_ca.6", "authority", "corp", 1, "C", "C");
	put_record(3);
}

/* There is room when the old one of another name has gone. */
static void start_full_until_erased(void)
{
	start_full();
	add_authority(other, CONFIG_SLOT_AUTO, "O2", 2);
	put_ours("client_ca.6", "authority", "other", 1, "O", "O");
	put_ours("client_ca.7", "authority", "other", 2, "O2", "O2");
	put_record(3);
}

/* Or when another one puts the same into a place that was his. */
static void start_full_but_a_twin(void)
{
	start_full();
	b->config.n_identities = 0;
	add_authority(other, CONFIG_SLOT_AUTO, "C", 2);
	put_ours("client_ca.6", "authority", "other", 1, "O", "O");
	put_record(3);
}

static void start_pinned_on_foreign(void)
{
	add_authority(corp, 1, "C", 1);
	add_identity(gateway, 0, "G", 1);
	fill_factory();
}

static void start_pinned_on_foreign_of_the_same(void)
{
	add_authority(corp, 1, "C", 1);
	add_identity(gateway, 0, "G", 1);
	put_key("client_ca.1", 8, "C");
	put_key("client_cert.0", 8, "G.cert");
	put_key("client_key.0", 8, "G.key");
}

static void start_pin_moved(void)
{
	add_authority(corp, 6, "C", 1);
	put_ours("client_ca.3", "authority", "corp", 1, "C", "C");
	put_record(2);
}

/* It was anywhere, and now another one is pinned to its place. */
static void start_pinned_on_ours(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_authority(other, 3, "O", 1);
	put_ours("client_ca.3", "authority", "corp", 1, "C", "C");
	put_record(2);
}

static void start_pinned_identity_on_ours(void)
{
	add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
	add_identity(second, 4, "S", 1);
	put_ours("client_cert.4", "identity", "gateway", 1, "G.cert", "G.cert");
	put_ours("client_key.4", "identity", "gateway", 1, "G.key", "G.key");
	put_record(3);
}

/* The record promises a place that another one has taken meanwhile, as nothing stood there. */
static void start_promised_twice(void)
{
	add_authority(third, CONFIG_SLOT_AUTO, "T", 1);
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	put_ours("client_ca.0", "authority", "corp", 1, "C", NULL);
	put_record(2);
}

static void start_twins(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_authority(other, CONFIG_SLOT_AUTO, "C", 5);
	add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
	add_identity(second, CONFIG_SLOT_AUTO, "G", 2);
}

static void start_twins_apart(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_authority(other, CONFIG_SLOT_AUTO, "C", 5);
	put_ours("client_ca.1", "authority", "corp", 1, "C", "C");
	put_ours("client_ca.2", "authority", "other", 5, "C", "C");
	put_record(3);
}

static void start_twin_of_pinned(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_authority(other, 7, "C", 5);
}

/* One of two has new material: the other one keeps the place that is in its name no longer. */
static void start_twins_part(void)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C2", 2);
	add_authority(other, CONFIG_SLOT_AUTO, "C", 5);
	put_ours("client_ca.1", "authority", "corp", 1, "C", "C");
	put_record(3);
}

static void start_nvs(void)
{
	add_nvs(mqtt_ca, CONFIG_SLOT_NONE, CERT_KIND_CA, "M");
	add_nvs(https_ca, 1, CERT_KIND_RAW, "H");
	put_key("https_ca.0", 8, "H");
}

static void start_nvs_on_foreign(void)
{
	start_nvs();
	fill_factory();
	put_key("https_ca.1", 8, "somebody's");
}

static void start_nvs_of_another_type(void)
{
	start_nvs();
	put_key("mqtt_ca", 7, "M");
	put_key("https_ca.1", 3, "17");
}

static void start_nvs_held(void)
{
	start_nvs();
	put_key("mqtt_ca", 8, "M");
	put_ours("https_ca.1", "nvs", "https_ca.1", 0, "H", "H");
	put_record(2);
}

/* An entry names a key that was in use for something else. */
static void start_nvs_on_ours(void)
{
	add_nvs(client_ca, 0, CERT_KIND_CA, "N");
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	put_ours("client_ca.0", "authority", "corp", 1, "C", "C");
	put_record(2);
}

static void start_nvs_beside_identity(void)
{
	add_nvs(client_cert, 0, CERT_KIND_CERT, "N");
	add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
}

/* It is not ours, so it is looked for in all slots at each start. */
#define BY_CONTENT (1u << 0)
/* One of the names has no place. */
#define FAILS (1u << 1)

static const struct row {
	const char *name;
	void (*fill)(void);
	const char *changes; /* writes and erases */
	const char *record;
	const char *slots;
	unsigned int flags;
} rows[] = {
	{ "empty", start_empty, "w slots|w client_ca.0|w client_cert.0|w client_key.0|",
	  "client_ca.0=corp/1 client_cert.0=gateway/1 client_key.0=gateway/1", "corp:0 gateway:0",
	  0 },
	{ "factory", start_factory, "w slots|w client_ca.2|w client_cert.2|w client_key.2|",
	  "client_ca.2=corp/1 client_cert.2=gateway/1 client_key.2=gateway/1", "corp:2 gateway:2",
	  0 },
	{ "provisioned", start_provisioned, "",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1", "corp:3 gateway:4",
	  0 },
	{ "no record", start_without_record, "", "none", "corp:3 gateway:4", BY_CONTENT },
	{ "record damaged", start_damaged_record, "", "damaged", "corp:3 gateway:4", BY_CONTENT },
	{ "record damaged, new material", start_damaged_record_and_new_material,
	  "w slots|w client_ca.2|", "client_ca.2=corp/2", "corp:2 gateway:4", BY_CONTENT },
	{ "record of another type", start_record_of_another_type,
	  "e slots|w slots|w client_ca.0|w client_cert.0|w client_key.0|",
	  "client_ca.0=corp/1 client_cert.0=gateway/1 client_key.0=gateway/1", "corp:0 gateway:0",
	  0 },
	{ "missing", start_missing, "w client_ca.3|",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1", "corp:3 gateway:4",
	  0 },
	{ "half missing", start_missing_half, "w client_key.4|",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1", "corp:3 gateway:4",
	  0 },
	{ "damaged", start_damaged, "w client_cert.4|",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1", "corp:3 gateway:4",
	  0 },
	{ "of another type", start_of_another_type, "e client_ca.3|w client_ca.3|",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1", "corp:3 gateway:4",
	  0 },
	{ "half foreign", start_half_foreign, "w slots|w client_key.5|", "client_key.5=gateway/1",
	  "corp:8 gateway:5", BY_CONTENT },
	{ "half foreign, new material", start_half_foreign_and_new_material,
	  "w slots|w client_cert.0|w client_key.0|e client_key.5|w slots|",
	  "client_cert.0=gateway/2 client_key.0=gateway/2", "corp:8 gateway:0", BY_CONTENT },
	{ "of another host", start_of_another_host, "",
	  "client_ca.3=corp/7 client_cert.4=gateway/8 client_key.4=gateway/9", "corp:3 gateway:4",
	  0 },
	{ "superseded", start_superseded, "e client_ca.3|e client_cert.4|e client_key.4|w slots|",
	  "client_ca.0=corp/2 client_cert.0=gateway/2 client_key.0=gateway/2", "corp:0 gateway:0",
	  0 },
	/* What is missing is asked for twice: the first time a byte may have been lost. */
	{ "superseded and erased", start_superseded_and_erased,
	  "e client_ca.3|e client_ca.3|e client_cert.4|e client_key.4|e client_key.4|w slots|",
	  "client_ca.0=corp/2 client_cert.0=gateway/2 client_key.0=gateway/2", "corp:0 gateway:0",
	  0 },
	{ "announced", start_announced, "w client_ca.0|e client_ca.3|w slots|",
	  "client_cert.4=gateway/1 client_key.4=gateway/1 client_ca.0=corp/2", "corp:0 gateway:4",
	  0 },
	{ "new material", start_new_material,
	  "w slots|w client_ca.0|w client_cert.0|w client_key.0|"
	  "e client_ca.3|e client_cert.4|e client_key.4|w slots|",
	  "client_ca.0=corp/2 client_cert.0=gateway/2 client_key.0=gateway/2", "corp:0 gateway:0",
	  0 },
	{ "orphans", start_orphans, "",
	  "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1 client_ca.5=gone/3 "
	  "client_cert.6=gone/4 client_key.6=gone/4 mqtt_key=mqtt_key/0",
	  "corp:3 gateway:4", 0 },
	{ "orphan of use", start_orphan_of_use, "",
	  "client_ca.5=gone/3 client_cert.6=gone/4 client_key.6=gone/4 mqtt_key=mqtt_key/0",
	  "corp:5", 0 },
	{ "full", start_full, "w slots|w client_cert.0|w client_key.0|",
	  "client_cert.0=gateway/1 client_key.0=gateway/1", "corp:-1 gateway:0",
	  BY_CONTENT | FAILS },
	{ "full, new material", start_full_and_new_material,
	  "w slots|w client_ca.6|w client_cert.0|w client_key.0|",
	  "client_ca.6=corp/2 client_cert.0=gateway/1 client_key.0=gateway/1", "corp:6 gateway:0",
	  0 },
	{ "full until erased", start_full_until_erased,
	  "w slots|w client_cert.0|w client_key.0|e client_ca.6|w slots|w slots|w client_ca.6|",
	  "client_ca.7=other/2 client_cert.0=gateway/1 client_key.0=gateway/1 client_ca.6=corp/1",
	  "corp:6 other:7 gateway:0", 0 },
	{ "full, but a twin", start_full_but_a_twin, "w slots|w client_ca.6|", "client_ca.6=corp/1",
	  "corp:6 other:6", 0 },
	{ "pinned on foreign", start_pinned_on_foreign,
	  "w slots|w client_ca.1|w client_cert.0|w client_key.0|",
	  "client_ca.1=corp/1 client_cert.0=gateway/1 client_key.0=gateway/1", "corp:1 gateway:0",
	  0 },
	{ "pinned on foreign of the same", start_pinned_on_foreign_of_the_same, "", "none",
	  "corp:1 gateway:0", 0 },
	{ "pin moved", start_pin_moved, "w slots|w client_ca.6|e client_ca.3|w slots|",
	  "client_ca.6=corp/1", "corp:6", 0 },
	{ "pinned on ours", start_pinned_on_ours, "w slots|w client_ca.3|w client_ca.0|",
	  "client_ca.3=other/1 client_ca.0=corp/1", "corp:0 other:3", 0 },
	{ "pinned identity on ours", start_pinned_identity_on_ours,
	  "w slots|w client_cert.4|w client_key.4|w client_cert.0|w client_key.0|",
	  "client_cert.4=second/1 client_key.4=second/1 client_cert.0=gateway/1 "
	  "client_key.0=gateway/1",
	  "gateway:0 second:4", 0 },
	{ "promised twice", start_promised_twice, "w slots|w client_ca.0|w client_ca.1|",
	  "client_ca.0=third/1 client_ca.1=corp/1", "third:0 corp:1", 0 },
	{ "twins", start_twins, "w slots|w client_ca.0|w client_cert.0|w client_key.0|",
	  "client_ca.0=corp/1 client_cert.0=gateway/1 client_key.0=gateway/1",
	  "corp:0 other:0 gateway:0 second:0", 0 },
	{ "twins apart", start_twins_apart, "e client_ca.2|w slots|", "client_ca.1=corp/1",
	  "corp:1 other:1", 0 },
	{ "twin of pinned", start_twin_of_pinned, "w slots|w client_ca.7|", "client_ca.7=other/5",
	  "corp:7 other:7", 0 },
	{ "twins part", start_twins_part, "w slots|w client_ca.0|",
	  "client_ca.1=corp/1 client_ca.0=corp/2", "corp:0 other:1", 0 },
	{ "nvs", start_nvs, "w slots|w mqtt_ca|w https_ca.1|",
	  "mqtt_ca=mqtt_ca/0 https_ca.1=https_ca.1/0", "", 0 },
	{ "nvs on foreign", start_nvs_on_foreign, "w slots|w mqtt_ca|w https_ca.1|",
	  "mqtt_ca=mqtt_ca/0 https_ca.1=https_ca.1/0", "", 0 },
	{ "nvs of another type", start_nvs_of_another_type,
	  "w slots|e mqtt_ca|w mqtt_ca|e https_ca.1|w https_ca.1|",
	  "mqtt_ca=mqtt_ca/0 https_ca.1=https_ca.1/0", "", 0 },
	{ "nvs held", start_nvs_held, "", "https_ca.1=https_ca.1/0", "", 0 },
	{ "nvs on ours", start_nvs_on_ours, "w slots|w client_ca.0|w client_ca.1|",
	  "client_ca.0=client_ca.0/0 client_ca.1=corp/1", "corp:1", 0 },
	{ "nvs beside identity", start_nvs_beside_identity,
	  "w slots|w client_cert.0|w client_cert.1|w client_key.1|",
	  "client_cert.0=client_cert.0/0 client_cert.1=gateway/1 client_key.1=gateway/1",
	  "gateway:1", 0 },
};

static void test_row(void **state)
{
	const struct row *row = *state;
	struct record record;
	uint64_t before = 0;

	row->fill();
	remake();
	note_foreign();
	if (read_record(&record))
		before = record.writes;
	bench_up(b);
	assert_ready();
	if (strcmp(ops("we"), row->changes) != 0)
		fail_msg("%s: changes %s", row->name, ops("welr"));
	if (strcmp(record_text(), row->record) != 0)
		fail_msg("%s: record %s", row->name, record_text());
	if (strcmp(slots_text(), row->slots) != 0)
		fail_msg("%s: slots %s", row->name, slots_text());
	assert_int_equal(b->dev->incomplete, !!(row->flags & FAILS));
	assert_int_equal(errors, !!(row->flags & FAILS));
	assert_sane();
	/* What the flash has gone through is counted; on the chip, when the record is written. */
	assert_int_equal(b->dev->flash_writes, b->chip.writes);
	assert_true(b->dev->record.writes + (uint64_t)b->dev->uncounted == before + b->chip.writes);
	if (strstr(row->changes, "w slots|")) {
		assert_true(read_record(&record));
		assert_int_equal(record.writes, before + b->chip.writes);
	}
	assert_second_is_quiet(row->flags & BY_CONTENT);
	assert_sane();
}

/* ---- bring-up: more of it ---- */

static void up(void)
{
	remake();
	chip_forget(b);
	bench_up(b);
}

static void test_orphans(void **state)
{
	start_orphans();
	put_key("mqtt_cert", 8, "somebody's");
	note_foreign();
	up();
	assert_ready();
	assert_int_equal(b->dev->orphans.n, 4);
	assert_non_null(record_find(&b->dev->orphans, "client_ca.5"));
	assert_int_equal(record_find(&b->dev->orphans, "mqtt_key")->generation, 0);
	assert_string_equal(ops("we"), "");
	/* Only when that is asked for. */
	remake();
	b->dev->erase_orphans = true;
	chip_forget(b);
	bench_up(b);
	assert_ready();
	assert_string_equal(ops("we"),
			    "e client_ca.5|e client_cert.6|e client_key.6|e client_key.6|"
			    "e mqtt_key|w slots|");
	assert_string_equal(record_text(), "client_ca.3=corp/1 client_cert.4=gateway/1 "
					   "client_key.4=gateway/1");
	assert_int_equal(b->dev->orphans.n, 0);
	assert_sane();
	assert_second_is_quiet(false);
}

/* What is of use is none that is erased, whoever has written it. */
static void test_orphan_of_use(void **state)
{
	start_orphan_of_use();
	remake();
	b->dev->erase_orphans = true;
	bench_up(b);
	assert_ready();
	assert_string_equal(ops("we"), "e client_cert.6|e client_key.6|e client_key.6|"
				       "e mqtt_key|w slots|");
	assert_string_equal(record_text(), "client_ca.5=gone/3");
	assert_string_equal(slots_text(), "corp:5");
	assert_int_equal(b->dev->orphans.n, 0);
	assert_sane();
}

/* A name whose material cannot be had has no orphans. */
static void test_no_orphan_of_a_failed_name(void **state)
{
	start_new_material();
	remake();
	b->dev->erase_orphans = true;
	b->load_error = -EACCES;
	bench_up(b);
	assert_ready();
	assert_string_equal(ops("we"), "");
	assert_int_equal(b->dev->orphans.n, 0);
	assert_true(b->dev->incomplete);
	assert_string_equal(slots_text(), "corp:-1 gateway:-1");
	assert_sane();
	/* And comes when it can. */
	b->load_error = 0;
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_ca.0|w client_cert.0|w client_key.0|"
				       "e client_ca.3|e client_cert.4|e client_key.4|w slots|");
	assert_false(b->dev->incomplete);
	assert_sane();
	assert_second_is_quiet(false);
}

/* A shortage of the host's passes: it is read again by itself, and told once. */
static void test_load_fails_for_a_while(void **state)
{
	want_both();
	b->load_error = -ENOMEM;
	b->load_error_name = corp;
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_cert.0|w client_key.0|");
	bench_pass(b, 64 * TIMERS_S);
	b->loads = 0;
	chip_forget(b);
	bench_pass(b, 640 * TIMERS_S);
	assert_ready();
	assert_in_range(b->loads, 9, 11);
	assert_string_equal(ops("we"), "");
	assert_int_equal(errors, 1);
	b->load_error = 0;
	bench_pass(b, 64 * TIMERS_S);
	assert_string_equal(ops("we"), "w slots|w client_ca.0|");
	assert_string_equal(slots_text(), "corp:0 gateway:0");
	assert_int_equal(errors, 1);
	assert_sane();
	/* That was all. */
	b->loads = 0;
	bench_pass(b, 640 * TIMERS_S);
	assert_int_equal(b->loads, 0);
	assert_second_is_quiet(false);
}

static void test_load_fails(void **state)
{
	want_both();
	b->load_error = -EACCES;
	b->load_error_name = corp;
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_cert.0|w client_key.0|");
	assert_string_equal(slots_text(), "corp:-1 gateway:0");
	assert_true(b->dev->incomplete);
	assert_int_equal(b->dev->n_keys, 2);
	assert_string_equal(b->dev->keys[0].key, "client_cert.0");
	assert_int_equal(errors, 1);
	assert_string_equal(last_error,
			    "esp0: authority corp is not on the chip: Permission denied");
	assert_sane();
	b->load_error = -ESTALE;
	up();
	assert_int_equal(errors, 2);
	assert_string_equal(last_error,
			    "esp0: authority corp is not on the chip: its files have changed");
	assert_string_equal(ops("we"), "");
	b->load_error = 0;
	up();
	assert_string_equal(ops("we"), "w slots|w client_ca.0|");
	assert_int_equal(errors, 2);
	assert_sane();
	assert_second_is_quiet(false);
}

static void test_provision_only(void **state)
{
	want_both();
	b->chip.joined = false;
	remake();
	b->dev->provision_only = true;
	bench_up(b);
	assert_string_equal(device_state_name(b->dev->state), "provisioned");
	assert_string_equal(ops("we"), "w slots|w client_ca.0|w client_cert.0|w client_key.0|");
	assert_null(strstr(b->chip.told, "CWJAP"));
	assert_null(device_free_link(b->dev));
	bench_pass(b, 600 * TIMERS_S);
	assert_string_equal(device_state_name(b->dev->state), "provisioned");
	assert_int_equal(b->dev->n_keys, 3);
	assert_string_equal(b->dev->keys[1].key, "client_cert.0");
	assert_string_equal(b->dev->keys[1].name, gateway);
	assert_int_equal(b->dev->keys[1].generation, 1);
	assert_int_equal(b->dev->keys[1].len, strlen("G.cert"));
	assert_sane();
}

/* A record has room for so many; what does not fit into it is not written. */
static void test_record_is_full(void **state)
{
	for (size_t room = 0; room < 3; room++) {
		char key[16];

		teardown(NULL);
		setup(NULL);
		add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
		for (size_t i = 0; i < RECORD_MAX - room; i++) {
			snprintf(key, sizeof(key), "x%02zu", i);
			put_ours(key, "nvs", key, 0, "x", NULL);
		}
		put_record(1);
		up();
		assert_ready();
		assert_string_equal(slots_text(), room < 2 ? "gateway:-1" : "gateway:0");
		assert_string_equal(ops("we"),
				    room < 2 ? "" : "w slots|w client_cert.0|w client_key.0|");
		assert_int_equal(errors, room < 2);
		assert_sane();
		assert_second_is_quiet(true);
	}
}

/* Keys that cannot be read are somebody's, and not free. */
static void test_foreign_that_cannot_be_read(void **state)
{
	want_both();
	put_key("client_ca.0", 8, "somebody's");
	put_key("client_cert.0", 8, "somebody's");
	put_key("client_key.1", 7, "somebody's");
	note_foreign();
	chip_answer(b, "AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"", "\r\nERROR\r\n", -1);
	chip_answer(b, "AT+SYSMFG=1,\"client_cert\",\"client_cert.0\"", "\r\nERROR\r\n", -1);
	up();
	assert_ready();
	assert_string_equal(slots_text(), "corp:1 gateway:2");
	/* Strings are nothing that could be used, so nobody reads them. */
	assert_null(strstr(ops("r"), "client_key.1"));
	assert_sane();
	assert_second_is_quiet(false);
}

/* A byte that the line has changed makes nothing of others free: not in a command, nor in what is listed. */
static void test_damaged_listing(void **state)
{
	static const char *const answers[] = {
		"\r\nERROR\r\n",
		"+SYSMFG:\"client_ca\",\"client_cc.0\",8\r\n\r\nOK\r\n",
		"+SYSMFG:\"client_ca\",\"client_ca.\r\n\r\nOK\r\n",
		"\r\nOK\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		teardown(state);
		setup(state);
		add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
		put_key("client_ca.0", 8, "by hand");
		remake();
		chip_answer(b, "AT+SYSMFG=1,\"client_ca\"", answers[i], 1);
		/* That which is for the slot may be damaged as well, once. */
		chip_answer(b, "AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"", "\r\nERROR\r\n", 1);
		up();
		assert_ready();
		assert_true(chip_nvs(b, "client_ca.0")->type == 8 &&
			    memcmp(chip_nvs(b, "client_ca.0")->data, "by hand", 7) == 0);
		assert_string_equal(slots_text(), "corp:1");
		assert_string_equal(ops("we"), "w slots|w client_ca.1|");
	}
}

/* Nor is our record gone, or what its copy was a while ago. */
static void test_record_is_refused_once(void **state)
{
	static const struct {
		const char *key, *answer;
	} rows[] = {
		{ "slots", "\r\nERROR\r\n" },
		{ "slots", "\r\n+SYSMFG:\"espatd\",\"slots\",8,8,espatd 2\r\n\r\nOK\r\n" },
		{ "slots", "\r\nOK\r\n" },
		{ "client_ca.1", "\r\nERROR\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char command[64];

		teardown(state);
		setup(state);
		add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
		put_key("client_ca.0", 8, "by hand");
		remake();
		up();
		assert_ready();
		snprintf(command, sizeof(command), "AT+SYSMFG=1,\"%s\",\"%s\"",
			 rows[i].key[0] == 's' ? "espatd" : "client_ca", rows[i].key);
		chip_answer(b, command, rows[i].answer, 1);
		bench_remake(b);
		chip_forget(b);
		bench_up(b);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_string_equal(slots_text(), "corp:1");
		assert_string_equal(ops("we"), "");
		assert_null(strstr(ops("r"), "slots.copy"));
	}
}

/* Nobody has to look around for a place that is given. */
static void test_pinned_is_not_listed(void **state)
{
	start_pinned_on_foreign();
	up();
	assert_ready();
	assert_string_equal(ops("l"), "");
	assert_int_equal(
		count_of(ops("r"), "|"),
		10); /* before, after, and the record: twice, as it was not there, and once */
}

/* What is there already is not asked for. */
static void test_half_is_there(void **state)
{
	start_missing_half();
	b->load_error = -EACCES;
	b->load_error_kinds = 1u << CERT_KIND_CERT;
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w client_key.4|");
	assert_false(b->dev->incomplete);
	assert_sane();
}

/* Another chip has another record. */
static void test_chip_is_another_one(void **state)
{
	b->settings.adopt = CONFIG_ADOPT_ANY;
	start_new_material();
	up();
	assert_ready();
	memset(b->chip.nvs, 0, sizeof(b->chip.nvs));
	b->chip.n_nvs = 0;
	put_key("client_ca.0", 8, "somebody's");
	put_key("client_key.0", 8, "somebody's");
	memset(&w.record, 0, sizeof(w.record));
	note_foreign();
	chip_forget(b);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 10 * TIMERS_S);
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_ca.1|w client_cert.1|w client_key.1|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* Of a piece of an answer it cannot be told whether it is a secret. */
static void test_keys_are_not_logged(void **state)
{
	start_provisioned();
	never_logged = "G.key";
	log_set_level(LOG_LEVEL_DEBUG);
	chip_answer(b, "AT+SYSMFG=1,\"client_key\"",
		    "+SYSMFG:\"client_key\",\"client_key.4\",8,5x,G.key\r\n\r\nOK\r\n", 1);
	up();
	assert_ready();
	assert_string_equal(ops("we"), "e client_key.4|w client_key.4|");
	assert_sane();
}

/* ---- bring-up: Enterprise Wi-Fi ---- */

static void want_enterprise(void)
{
	want_both();
	b->settings.wifi.has_enterprise = true;
	b->settings.wifi.password_file = NULL;
	b->settings.wifi.enterprise = (struct config_eap){
		.identity = outer,
		.credential = &w.identities[0],
		.authority = &w.authorities[0],
	};
}

static void test_enterprise(void **state)
{
	want_enterprise();
	put_key("wpa2_ca", 8, "the factory's");
	note_foreign();
	up();
	assert_ready();
	/* It stands there twice: Wi-Fi and TLS look for it in places of their own. */
	assert_string_equal(ops("we"), "w slots|w wpa2_ca|w wpa2_cert|w wpa2_key|w client_ca.0|"
				       "w client_cert.0|w client_key.0|");
	assert_true(chip_holds(b, "wpa2_ca", w.items[0].blobs[0]));
	assert_true(chip_holds(b, "wpa2_key", w.items[1].blobs[1]));
	assert_sane();
	assert_second_is_quiet(false);
	/* Newer firmware looks for it under other names: the old ones are ours, and go. */
	b->chip.namespaces = "+SYSMFG:\"wpa_ent_cert\"\r\n";
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w wpa_ent_ca|w wpa_ent_cert|w wpa_ent_key|"
				       "e wpa2_ca|e wpa2_cert|e wpa2_key|w slots|");
	assert_true(chip_holds(b, "wpa_ent_cert", w.items[1].blobs[0]));
	assert_sane();
	assert_second_is_quiet(false);
}

/* One name in two places: as long as one of them cannot have the newer one, the older one stays. */
static void test_enterprise_half_done(void **state)
{
	want_enterprise();
	up();
	assert_ready();
	change_texts("C2", "G2", 2);
	chip_answer(b, "AT+SYSMFG=2,\"client_cert\"", "\r\nERROR\r\n", 2);
	up();
	assert_ready();
	assert_true(chip_holds(b, "wpa2_cert", w.items[1].blobs[0]));
	assert_string_equal(ops("e"), "e client_ca.0|");
	assert_string_equal(slots_text(), "corp:1 gateway:-1");
	up();
	assert_string_equal(ops("e"), "e client_cert.0|e client_key.0|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* ---- bring-up: a chip that does not do as it is told ---- */

/* It says OK, and nothing has changed. */
static void test_writes_that_are_lost(void **state)
{
	static const char *const keys[] = { RECORD_KEY, "client_ca.0", "client_key.0" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		teardown(NULL);
		setup(NULL);
		start_new_material();
		b->chip.lost = keys[i];
		b->chip.lose = 1;
		up();
		assert_ready();
		assert_int_equal(count_of(ops("w"), keys[i]), i == 0 ? 3 : 2);
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/* A byte came twice: what was stored is looked at, whatever the chip says. */
static void test_writes_in_doubt(void **state)
{
	want_both();
	chip_answer(b, "[payload]", "\r\nbusy p...\r\n\r\nOK\r\n", 4);
	up();
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_ca.0|w client_cert.0|w client_key.0|");
	assert_int_equal(b->dev->flash_writes, 4);
	assert_sane();
	assert_second_is_quiet(false);
}

/* As long as it cannot be recorded, nothing is erased either. */
static void test_nothing_erased_without_record(void **state)
{
	start_superseded();
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, "G3", 3);
	chip_answer(b, "AT+SYSMFG=2,\"espatd\"", "\r\nERROR\r\n", -1);
	up();
	assert_ready();
	assert_string_equal(ops("wec"), "w slots.copy|w slots.copy|");
	assert_string_equal(slots_text(), "corp:0 gateway:-1");
	assert_sane();
}

static void test_writes_that_fail(void **state)
{
	static const struct {
		const char *command;
		int times;
	} cases[] = {
		{ "AT+SYSMFG=2,\"espatd\"", 1 }, /* a byte may have been lost */
		{ "AT+SYSMFG=2,\"client_key\"", 1 },
		{ "AT+SYSMFG=2,\"espatd\"", 2 },
		{ "AT+SYSMFG=2,\"client_key\"", 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		teardown(NULL);
		setup(NULL);
		want_both();
		chip_answer(b, cases[i].command, "\r\nERROR\r\n", cases[i].times);
		up();
		assert_ready();
		assert_int_equal(b->dev->incomplete, cases[i].times > 1);
		if (cases[i].times > 1) {
			/* The next bring-up tries it again. */
			chip_say(b, "\r\nready\r\n");
			assert_ready();
			assert_false(b->dev->incomplete);
		}
		assert_int_equal(b->dev->flash_writes, b->chip.writes);
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/*
 * Its writes get no answer: each costs a recovery, and a write. After three of them the others go on without it, and it
 * is written again after a while, which grows.
 */
static void test_writes_without_answer(void **state)
{
	static const char *const commands[] = { "AT+SYSMFG=2,\"client_ca\"",
						"AT+SYSMFG=2,\"espatd\"" };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		teardown(state);
		setup(state);
		add_authority(corp, CONFIG_SLOT_AUTO, "0123456789", 1);
		add_identity(gateway, CONFIG_SLOT_AUTO, "G", 1);
		remake();
		b->chip.drops_for = commands[i];
		bench_up(b);
		bench_pass(b, 60 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_string_equal(slots_text(),
				    i == 0 ? "corp:-1 gateway:0" : "corp:-1 gateway:-1");
		assert_int_equal(count_of(b->chip.told, commands[i]), 3);
		/* An hour: after 5 min, 10, 20. A day: once an hour. */
		chip_forget(b);
		bench_pass(b, 60 * 60 * TIMERS_S);
		assert_int_equal(count_of(b->chip.told, commands[i]), 3);
		chip_forget(b);
		for (int hour = 0; hour < 24; hour++) {
			bench_pass(b, 60 * 60 * TIMERS_S);
			b->chip.told_len = b->chip.told_len > 16384 ? 0 : b->chip.told_len;
		}
		assert_int_equal(b->dev->state, DEVICE_READY);
		/* The fault is over. */
		b->chip.drops_for = NULL;
		bench_pass(b, 65 * 60 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_string_equal(slots_text(), "corp:0 gateway:0");
	}
}

/* Other material is another matter. */
static void test_newer_than_without_answer(void **state)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "0123456789", 1);
	remake();
	b->chip.drops_for = "AT+SYSMFG=2,\"client_ca\"";
	bench_up(b);
	bench_pass(b, 60 * TIMERS_S);
	assert_string_equal(slots_text(), "corp:-1");
	b->chip.drops_for = NULL;
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "newer", 2);
	take_material();
	device_provision(b->dev);
	bench_pass(b, 5 * TIMERS_S);
	assert_string_equal(slots_text(), "corp:1");
}

static void test_record_that_never_holds(void **state)
{
	want_both();
	b->chip.corrupted = RECORD_KEY;
	b->chip.corrupt = 2;
	up();
	assert_ready();
	assert_int_equal(count_of(ops("w"), "slots"), 3);
	assert_sane();
	teardown(NULL);
	setup(NULL);
	want_both();
	b->chip.corrupted = RECORD_KEY;
	b->chip.corrupt = 1000;
	up();
	assert_ready();
	assert_true(b->dev->incomplete);
	/* Nothing of ours without it. */
	assert_string_equal(ops("we"), "w slots|w slots|w slots|");
}

/* ---- bring-up: cut off anywhere ---- */

enum cut {
	CUT_POWER, /* the chip is off: half a payload is lost */
	CUT_HOST,  /* the chip waits for the rest of it */
};

enum then {
	THEN_SAME,
	THEN_NEWER, /* other material by then */
	THEN_OLDER, /* the material of before */
	THEN_PINNED,
};

static void start_first(void)
{
	fill_factory();
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 2);
	add_authority(other, 5, "O", 2);
	add_identity(gateway, CONFIG_SLOT_AUTO, "G", 2);
	add_nvs(mqtt_ca, CONFIG_SLOT_NONE, CERT_KIND_CA, "M");
	put_key("client_ca.5", 7, "O");
}

static void start_rotation(void)
{
	put_key("client_ca.0", 8, "somebody's");
	put_key("client_cert.1", 8, "somebody's");
	add_authority(corp, CONFIG_SLOT_AUTO, "C2", 2);
	add_authority(other, 5, "O2", 2);
	add_identity(gateway, CONFIG_SLOT_AUTO, "G2", 2);
	add_nvs(mqtt_ca, CONFIG_SLOT_NONE, CERT_KIND_CA, "M2");
	put_ours("client_ca.1", "authority", "corp", 1, "C", "C");
	put_ours("client_ca.5", "authority", "other", 1, "O", "O");
	put_ours("client_cert.0", "identity", "gateway", 1, "G.cert", "G.cert");
	put_ours("client_key.0", "identity", "gateway", 1, "G.key", "G.key");
	put_ours("mqtt_ca", "nvs", "mqtt_ca", 0, "M", "M");
	put_record(6);
}

static void change_all(const char *suffix, unsigned int generation)
{
	char text[16];

	snprintf(text, sizeof(text), "C%s", suffix);
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, text, generation);
	text[0] = 'O';
	set_thing(MATERIAL_AUTHORITY, 1, CERT_KIND_CA, text, generation);
	text[0] = 'G';
	set_thing(MATERIAL_IDENTITY, 0, CERT_KIND_CERT, text, generation);
	text[0] = 'M';
	set_thing(MATERIAL_NVS, 0, CERT_KIND_CA, text, generation);
}

static void go_on(enum then then)
{
	switch (then) {
	case THEN_SAME:
		return;
	case THEN_NEWER:
		change_all("3", 3);
		return;
	case THEN_OLDER:
		change_all("", 3);
		return;
	case THEN_PINNED:
		/* One more that was not there before, at the place that the first one had taken. */
		w.authorities[0].slot = 8;
		add_authority(third, 1, "T", 1);
		return;
	}
}

/* Cuts the @n-th moment off, and starts again. Returns false if there are less. */
static bool cut_off(void (*fill)(void), unsigned int n, enum cut cut, enum then then)
{
	teardown(NULL);
	setup(NULL);
	fill();
	remake();
	note_foreign();
	chip_die_at(b, n);
	bench_up(b);
	if (!b->chip.dead)
		return false;
	chip_revive(b, cut == CUT_POWER);
	go_on(then);
	chip_forget(b);
	remake();
	bench_up(b);
	assert_ready();
	assert_sane();
	assert_int_equal(errors, 1); /* of the chip that did not answer any more */
	assert_false(b->dev->incomplete);
	assert_second_is_quiet(false);
	assert_sane();
	return true;
}

static void test_cut_off(void **state)
{
	void (*const fills[])(void) = { start_first, start_rotation };
	unsigned int n;

	for (size_t i = 0; i < ARRAY_SIZE(fills); i++)
		for (int cut = CUT_POWER; cut <= CUT_HOST; cut++)
			for (int then = THEN_SAME; then <= THEN_PINNED; then++) {
				for (n = 1; cut_off(fills[i], n, (enum cut)cut, (enum then)then);)
					n++;
				assert_in_range(n, 80, 400);
			}
}

/* ---- in service ---- */

struct user {
	struct link *link;
	int opened, ends;
	enum link_end end;
};

static struct user users[4];

static void on_opened(void *user)
{
	((struct user *)user)->opened++;
}

static enum link_probe on_may_probe(void *user, bool quiet)
{
	return LINK_PROBE_YES;
}

static bool on_alone(void *user)
{
	return true;
}

static void on_closed(void *user, enum link_end end)
{
	struct user *u = user;

	u->ends++;
	u->end = end;
}

static const struct link_ops user_ops = {
	.opened = on_opened,
	.may_probe = on_may_probe,
	.alone = on_alone,
	.closed = on_closed,
};

static struct user *start_link(size_t i)
{
	struct link_target target = {
		.host = "192.0.2.1",
		.port = 8883,
		.server_name = "broker.example",
		.auth = b->config.n_identities && !server_only ? LINK_AUTH_MUTUAL
							       : LINK_AUTH_SERVER,
		.ca = device_authority_slot(b->dev, &w.authorities[0]),
	};
	struct user *u = &users[i];

	if (b->config.n_identities)
		target.pki = device_identity_slot(b->dev, &w.identities[0]);
	memset(u, 0, sizeof(*u));
	u->link = device_free_link(b->dev);
	assert_non_null(u->link);
	assert_int_equal(link_open(u->link, &target, &user_ops, u), 0);
	return u;
}

static struct user *open_link(size_t i)
{
	struct user *u = start_link(i);

	bench_run(b);
	assert_int_equal(u->opened, 1);
	return u;
}

static void close_link(size_t i)
{
	link_close(users[i].link);
	bench_run(b);
	assert_int_equal(users[i].link->state, LINK_FREE);
}

static void in_service(void)
{
	remake();
	note_foreign();
	bench_up(b);
	assert_ready();
	assert_sane();
	chip_forget(b);
	b->rooms = 0;
	errors = 0;
}

static void change_both(const char *authority, const char *identity, unsigned int generation)
{
	change_texts(authority, identity, generation);
	take_material();
	device_provision(b->dev);
}

/* At any moment: what new connections are told to use holds what it is said to hold. */
static void assert_usable(const char *const *authorities, const char *const *identities)
{
	unsigned int a = device_authority_generation(b->dev, &w.authorities[0]);
	unsigned int i = device_identity_generation(b->dev, &w.identities[0]);
	struct cert_blob blob = { .data = NULL };
	char key[16];

	assert_in_range(a, 1, 3);
	assert_in_range(i, 1, 3);
	set_blob(&blob, CERT_KIND_CA, authorities[a - 1], "");
	slots_key(CERT_KIND_CA, device_authority_slot(b->dev, &w.authorities[0]), key, sizeof(key));
	assert_true(chip_holds(b, key, &blob));
	set_blob(&blob, CERT_KIND_CERT, identities[i - 1], ".cert");
	slots_key(CERT_KIND_CERT, device_identity_slot(b->dev, &w.identities[0]), key, sizeof(key));
	assert_true(chip_holds(b, key, &blob));
	set_blob(&blob, CERT_KIND_KEY, identities[i - 1], ".key");
	slots_key(CERT_KIND_KEY, device_identity_slot(b->dev, &w.identities[0]), key, sizeof(key));
	assert_true(chip_holds(b, key, &blob));
	free(blob.data);
	assert_foreign_untouched();
	assert_ours_is_known();
}

static const char *const authority_texts[] = { "C", "C2", "C3" };
static const char *const identity_texts[] = { "G", "G2", "G3" };

/* Whoever connects meanwhile finds what he is told to use. */
static void run_usable(const char *authority, const char *identity)
{
	const char *const authorities[] = { "C", "C2", authority };
	const char *const identities[] = { "G", "G2", identity };

	while (bench_step(b))
		if (device_free_link(b->dev))
			assert_usable(authorities, identities);
}

static void test_rotation(void **state)
{
	start_factory();
	in_service();
	open_link(0);
	chip_forget(b);
	change_both("C2", "G2", 2);
	while (bench_step(b)) {
		assert_usable(authority_texts, identity_texts);
		assert_non_null(device_free_link(b->dev));
	}
	assert_string_equal(ops("we"), "w slots|w client_ca.3|w client_cert.3|w client_key.3|");
	assert_string_equal(slots_text(), "corp:3 gateway:3");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 2);
	assert_sane();
	/* Links that are open keep theirs. */
	assert_int_equal(users[0].link->state, LINK_OPEN);
	open_link(1);
	assert_non_null(strstr(b->chip.told, "AT+CIPSSLCCONF=1,3,3,3|"));
	chip_forget(b);
	close_link(0);
	assert_string_equal(ops("we"), "e client_ca.2|e client_cert.2|e client_key.2|w slots|");
	assert_string_equal(record_text(), "client_ca.3=corp/2 client_cert.3=gateway/2 "
					   "client_key.3=gateway/2");
	assert_int_equal(users[1].link->state, LINK_OPEN);
	chip_forget(b);
	close_link(1);
	assert_string_equal(ops("welrn"), "");
	assert_int_equal(errors, 0);
	assert_sane();
	assert_second_is_quiet(false);
}

/* Nothing has changed: nothing is said. */
static void test_nothing_new(void **state)
{
	start_factory();
	in_service();
	open_link(0);
	chip_forget(b);
	change_both("C", "G", 2);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 2);
	assert_int_equal(users[0].ends, 0);
}

/* Each of the parts by itself; the other ones are not looked at. */
static void test_rotation_of_one(void **state)
{
	start_factory();
	in_service();
	change_both("C2", "G", 2);
	bench_run(b);
	assert_string_equal(ops("we"), "w slots|w client_ca.3|e client_ca.2|w slots|");
	assert_string_equal(slots_text(), "corp:3 gateway:2");
	assert_null(strstr(ops("rl"), "client_cert"));
	chip_forget(b);
	change_both("C2", "G2", 3);
	bench_run(b);
	assert_string_equal(ops("we"), "w slots|w client_cert.3|w client_key.3|e client_cert.2|"
				       "e client_key.2|w slots|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* A link that is being opened when the new material is complete has been told the old slots. */
static void test_rotation_while_connecting(void **state)
{
	start_factory();
	in_service();
	chip_answer(b, "AT+CIPSTART", NULL, 1);
	start_link(0);
	change_both("C2", "G2", 2);
	bench_run(b);
	/* The channel is its own until then. */
	assert_string_equal(ops("we"), "");
	chip_say(b, "0,CONNECT\r\n\r\nOK\r\n");
	b->chip.open[0] = true;
	bench_run(b);
	assert_int_equal(users[0].opened, 1);
	assert_string_equal(ops("we"), "w slots|w client_ca.3|w client_cert.3|w client_key.3|");
	chip_forget(b);
	/* The server closes it. */
	b->chip.open[0] = false;
	chip_say(b, "0,CLOSED\r\n");
	assert_int_equal(users[0].end, LINK_END_PEER);
	assert_string_equal(ops("we"), "e client_ca.2|e client_cert.2|e client_key.2|w slots|");
	assert_sane();
}

/* Who verifies nobody needs no authority. */
static void test_link_that_uses_nothing(void **state)
{
	static const struct link_target target = {
		.host = "192.0.2.1",
		.port = 1,
		.server_name = "a",
		.auth = LINK_AUTH_NONE,
	};
	struct user *u = &users[0];

	start_empty();
	in_service();
	memset(u, 0, sizeof(*u));
	u->link = device_free_link(b->dev);
	assert_int_equal(link_open(u->link, &target, &user_ops, u), 0);
	bench_run(b);
	chip_forget(b);
	change_both("C2", "G2", 2);
	bench_run(b);
	assert_string_equal(ops("e"), "e client_ca.0|e client_cert.0|e client_key.0|");
	assert_int_equal(u->ends, 0);
}

/* Somebody has made a string of our record since. */
static void test_record_of_another_type_in_service(void **state)
{
	start_provisioned();
	in_service();
	put_key(RECORD_KEY, 7, "x");
	change_both("C2", "G", 2);
	bench_run(b);
	assert_ready();
	assert_string_equal(ops("we"), "w slots|e slots|w slots|w client_ca.2|e client_ca.3|"
				       "w slots|");
	assert_sane();
	assert_second_is_quiet(false);
}

static void pin_both(void)
{
	add_authority(corp, 4, "C", 1);
	add_identity(gateway, 6, "G", 1);
	put_key("client_cert.6", 8, "somebody's");
}

/* In place, as there is no other; nobody connects meanwhile. */
static void test_pinned_rotation(void **state)
{
	unsigned int held = 0;

	pin_both();
	in_service();
	open_link(0);
	chip_forget(b);
	b->rooms = 0;
	change_both("C2", "G2", 2);
	while (b->dev->provision) {
		bool whole = (chip_holds(b, "client_cert.6", w.items[1].blobs[0]) ==
			      chip_holds(b, "client_key.6", w.items[1].blobs[1]));

		if (device_free_link(b->dev))
			assert_true(whole && b->rooms == 0);
		else
			held++;
		assert_true(bench_step(b));
	}
	assert_in_range(held, 10, 40);
	assert_true(b->rooms > 0);
	assert_non_null(device_free_link(b->dev));
	assert_string_equal(ops("we"), "w slots|w client_ca.4|w client_cert.6|w client_key.6|");
	assert_string_equal(slots_text(), "corp:4 gateway:6");
	assert_int_equal(users[0].link->state, LINK_OPEN);
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 2);
	close_link(0);
	assert_sane();
	assert_second_is_quiet(false);
}

static void test_nvs_in_service(void **state)
{
	want_both();
	start_nvs_on_foreign();
	in_service();
	set_thing(MATERIAL_NVS, 0, CERT_KIND_CA, "M2", 0);
	take_material();
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(ops("we"), "w slots|w mqtt_ca|");
	/* Only what was written is read. */
	assert_int_equal(count_of(ops("r"), "mqtt_ca"), 1);
	assert_int_equal(count_of(ops("r"), "https_ca.1"), 0);
	assert_non_null(device_free_link(b->dev));
	assert_sane();
	assert_second_is_quiet(false);
}

/* What cannot be read changes nothing. */
static void test_load_fails_in_service(void **state)
{
	static const struct {
		int error;
		const char *text;
	} cases[] = {
		{ -EACCES, "esp0: identity gateway is not on the chip: Permission denied" },
		{ -ESTALE, "esp0: identity gateway is not on the chip: its files have changed" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		teardown(NULL);
		setup(NULL);
		start_factory();
		in_service();
		open_link(0);
		chip_forget(b);
		b->load_error = cases[i].error;
		b->load_error_name = gateway;
		change_both("C2", "G2", 2);
		bench_run(b);
		assert_ready();
		assert_string_equal(ops("we"), "w slots|w client_ca.3|");
		assert_string_equal(slots_text(), "corp:3 gateway:2");
		assert_usable(authority_texts, identity_texts);
		assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 1);
		assert_int_equal(errors, 1);
		assert_string_equal(last_error, cases[i].text);
		/* Told once, however often it is looked at what can be erased. */
		open_link(1);
		open_link(2);
		close_link(1);
		close_link(2);
		assert_int_equal(errors, 1);
		close_link(0);
		assert_int_equal(errors, 1);
		assert_null(chip_nvs(b, "client_ca.2")->type ? "it is still there" : NULL);
		open_link(0);
		close_link(0);
		chip_forget(b);
		/* It can be read again. */
		b->load_error = 0;
		device_provision(b->dev);
		bench_run(b);
		assert_string_equal(ops("we"), "w slots|w client_cert.3|w client_key.3|"
					       "e client_cert.2|e client_key.2|w slots|");
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/* At first it is tried again soon. */
static void test_load_fails_once_in_service(void **state)
{
	start_factory();
	in_service();
	b->load_error = -EMFILE;
	change_both("C2", "G2", 2);
	bench_run(b);
	assert_usable(authority_texts, identity_texts);
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 1);
	b->load_error = 0;
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 2);
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 2);
	assert_usable(authority_texts, identity_texts);
	assert_sane();
	assert_second_is_quiet(false);
}

/* How many allocations go well until one fails; -1: all do. */
static int callocs_left = -1;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (callocs_left == 0) {
		callocs_left = -1;
		return NULL;
	}
	if (callocs_left > 0)
		callocs_left--;
	return __real_calloc(n, size);
}

/* Connections go on; it is tried again soon. */
static void test_no_memory_in_service(void **state)
{
	for (int n = 0; n < 3; n++) {
		teardown(NULL);
		setup(NULL);
		start_factory();
		in_service();
		open_link(0);
		change_texts("C2", "G2", 2);
		take_material();
		callocs_left = n;
		device_provision(b->dev);
		bench_run(b);
		assert_int_equal(callocs_left, -1);
		assert_ready();
		assert_int_equal(device_links_in_use(b->dev), 1);
		assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 1);
		bench_pass(b, 1 * TIMERS_S);
		assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 2);
		assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 2);
		assert_int_equal(device_links_in_use(b->dev), 1);
		assert_sane();
		close_link(0);
		assert_second_is_quiet(false);
	}
}

/* At the start, too. */
static void test_no_memory_at_start(void **state)
{
	for (int n = 0; n < 3; n++) {
		teardown(NULL);
		setup(NULL);
		start_factory();
		remake();
		note_foreign();
		callocs_left = n;
		bench_up(b);
		assert_int_equal(callocs_left, -1);
		assert_int_equal(b->dev->state, DEVICE_FAILED);
		assert_string_equal(last_error, "esp0: out of memory; trying again until it works");
		bench_pass(b, 5 * TIMERS_S);
		assert_ready();
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/* Half of a pair in its pinned place would be worse than the old one. */
static void test_load_fails_in_place(void **state)
{
	pin_both();
	in_service();
	b->load_error = -EACCES;
	b->load_error_kinds = 1u << CERT_KIND_KEY;
	change_both("C2", "G2", 2);
	bench_run(b);
	assert_ready();
	assert_string_equal(ops("we"), "w slots|w client_ca.4|");
	assert_int_equal(errors, 1);
	assert_usable(authority_texts, identity_texts);
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 1);
	assert_non_null(device_free_link(b->dev));
	b->load_error = 0;
	device_provision(b->dev);
	bench_run(b);
	assert_sane();
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 2);
}

/* It can be read when it is looked at, and not at its turn: nobody is told to use half of it. */
static void test_load_fails_half_way(void **state)
{
	pin_both();
	in_service();
	change_both("C2", "G2", 2);
	while (!strstr(ops("w"), "w client_cert.6|"))
		assert_true(bench_step(b));
	b->load_error = -EACCES;
	while (bench_step(b))
		if (device_free_link(b->dev))
			assert_int_equal(device_identity_slot(b->dev, &w.identities[0]), -1);
	assert_ready();
	assert_int_equal(errors, 1);
	assert_string_equal(slots_text(), "corp:4 gateway:-1");
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), 0);
	assert_non_null(device_free_link(b->dev));
	b->load_error = 0;
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(slots_text(), "corp:4 gateway:6");
	assert_sane();
	assert_second_is_quiet(false);
}

/* Two share a slot. One goes on, the other one cannot: its slot is not erased, whosever it is. */
static void test_twin_fails(void **state)
{
	for (int first = 0; first < 2; first++) {
		teardown(NULL);
		setup(NULL);
		add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
		add_authority(other, CONFIG_SLOT_AUTO, "C", 1);
		in_service();
		assert_string_equal(slots_text(), "corp:0 other:0");
		b->load_error = -EACCES;
		b->load_error_name = first ? corp : other;
		set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
		set_thing(MATERIAL_AUTHORITY, 1, CERT_KIND_CA, "O2", 2);
		take_material();
		device_provision(b->dev);
		bench_run(b);
		assert_string_equal(slots_text(), first ? "corp:0 other:2" : "corp:1 other:0");
		assert_int_equal(chip_nvs(b, "client_ca.0")->type, 8);
		assert_string_equal(ops("e"), "");
		b->load_error = 0;
		device_provision(b->dev);
		bench_run(b);
		assert_string_equal(slots_text(), "corp:1 other:2");
		assert_string_equal(ops("e"), "e client_ca.0|");
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/* One is pinned, the other one there because it is the same: it moves when that is over. */
static void test_twin_of_pinned_moves(void **state)
{
	struct cert_blob blob = { .data = NULL };
	char key[16];

	start_twin_of_pinned();
	in_service();
	assert_string_equal(slots_text(), "corp:7 other:7");
	set_thing(MATERIAL_AUTHORITY, 1, CERT_KIND_CA, "O2", 6);
	take_material();
	set_blob(&blob, CERT_KIND_CA, "C", "");
	device_provision(b->dev);
	while (bench_step(b)) {
		slots_key(CERT_KIND_CA, device_authority_slot(b->dev, &w.authorities[0]), key,
			  sizeof(key));
		if (device_free_link(b->dev))
			assert_true(chip_holds(b, key, &blob));
	}
	free(blob.data);
	assert_string_equal(ops("we"), "w slots|w client_ca.7|w client_ca.0|");
	assert_string_equal(slots_text(), "corp:0 other:7");
	assert_string_equal(record_text(), "client_ca.7=other/6 client_ca.0=corp/1");
	assert_sane();
	assert_second_is_quiet(false);
}

/* A slot that is one's own by the record, but another one uses what somebody has put there. */
static void test_recorded_slot_of_use_to_others(void **state)
{
	for (int linked = 0; linked < 2; linked++) {
		teardown(NULL);
		setup(NULL);
		add_authority(corp, CONFIG_SLOT_AUTO, "D", 1);
		add_authority(other, CONFIG_SLOT_AUTO, "A", 2);
		put_ours("client_ca.3", "authority", "other", 1, "C", "D");
		put_ours("client_ca.0", "authority", "other", 2, "A", "A");
		put_record(3);
		in_service();
		assert_string_equal(slots_text(), "corp:3 other:0");
		if (linked) {
			open_link(0);
			set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "B", 2);
		}
		chip_forget(b);
		set_thing(MATERIAL_AUTHORITY, 1, CERT_KIND_CA, "C", 3);
		take_material();
		device_provision(b->dev);
		bench_run(b);
		assert_null(strstr(ops("we"), "client_ca.3"));
		assert_memory_equal(chip_nvs(b, "client_ca.3")->data, "D", 1);
		assert_sane();
		if (linked) {
			close_link(0);
			assert_non_null(strstr(ops("we"), "e client_ca.3|"));
		}
		assert_second_is_quiet(true);
	}
}

/* All that the flash has gone through since the record said @before. */
static void assert_counted(uint64_t before)
{
	assert_true(b->dev->record.writes + (uint64_t)b->dev->uncounted == before + b->chip.writes);
}

static void forget_answers(void)
{
	memset(b->chip.answers, 0, sizeof(b->chip.answers));
}

/* Flash that is worn out does not get better by links that come and go. */
static void test_given_up_in_service(void **state)
{
	start_provisioned();
	in_service();
	open_link(0);
	chip_forget(b);
	chip_answer(b, "AT+SYSMFG=2,\"client_cert\"", "\r\nERROR\r\n", -1);
	change_both("C2", "G2", 2);
	bench_run(b);
	assert_string_equal(ops("we"), "w slots|w client_ca.2|w client_cert.2|w client_cert.2|");
	assert_string_equal(slots_text(), "corp:2 gateway:4");
	assert_usable(authority_texts, identity_texts);
	assert_int_equal(errors, 1);
	chip_forget(b);
	for (int i = 0; i < 3; i++) {
		open_link(1);
		close_link(1);
	}
	close_link(0);
	assert_string_equal(ops("we"), "e client_ca.3|w slots|");
	assert_int_equal(errors, 1);
	assert_counted(4);
	/* Somebody asks for it. */
	chip_forget(b);
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(ops("we"), "w client_cert.2|w client_cert.2|");
	assert_int_equal(errors, 2);
	forget_answers();
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(slots_text(), "corp:2 gateway:2");
	assert_sane();
	assert_counted(4);
	assert_second_is_quiet(false);
}

/* In place: what was there before is gone, and is not used any more. */
static void test_given_up_in_place(void **state)
{
	add_authority(corp, CONFIG_SLOT_AUTO, "C", 1);
	add_identity(gateway, 6, "G", 1);
	in_service();
	open_link(0);
	chip_forget(b);
	b->chip.corrupted = "client_cert.6";
	b->chip.corrupt = 1000;
	change_both("C2", "G2", 2);
	while (bench_step(b))
		if (device_free_link(b->dev))
			assert_true(device_identity_slot(b->dev, &w.identities[0]) < 0 ||
				    chip_holds(b, "client_cert.6", w.items[1].blobs[0]) ||
				    !strstr(ops("w"), "client_cert.6"));
	assert_string_equal(slots_text(), "corp:1 gateway:-1");
	assert_string_equal(ops("we"), "w slots|w client_cert.6|w client_cert.6|w client_cert.6|"
				       "w client_ca.1|");
	assert_int_equal(users[0].link->state, LINK_OPEN);
	close_link(0);
	assert_non_null(strstr(ops("e"), "e client_ca.0|"));
	assert_int_equal(count_of(ops("w"), "client_cert.6"), 3);
	assert_int_equal(errors, 1);
	b->chip.corrupt = 0;
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(slots_text(), "corp:1 gateway:6");
	assert_sane();
	assert_counted(0);
	assert_second_is_quiet(false);
}

/* It is not written over before its copy has the same; what goes only leaves it. */
static void test_record_is_copied_first(void **state)
{
	start_provisioned();
	in_service();
	change_both("C2", "G", 2);
	bench_run(b);
	assert_string_equal(ops("wec"),
			    "w slots.copy|w slots|w client_ca.2|e client_ca.3|w slots|");
	assert_counted(4);
	chip_forget(b);
	change_both("C3", "G", 3);
	bench_run(b);
	assert_string_equal(ops("wec"),
			    "w slots.copy|w slots|w client_ca.3|e client_ca.2|w slots|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* Only the copy is left of it: that holds, and it is repaired. */
static void test_record_is_only_in_the_copy(void **state)
{
	struct chip_key *copy, *key;

	start_provisioned();
	copy = chip_nvs(b, RECORD_KEY_COPY);
	key = chip_nvs(b, RECORD_KEY);
	copy->type = key->type;
	copy->len = key->len;
	memcpy(copy->data, key->data, key->len);
	memset(key->data + 30, ' ', key->len - 30);
	up();
	assert_ready();
	assert_string_equal(ops("wec"), "w slots|");
	assert_string_equal(record_text(),
			    "client_ca.3=corp/1 client_cert.4=gateway/1 client_key.4=gateway/1");
	assert_sane();
	assert_second_is_quiet(false);
}

/* Without its record nothing is written, and what it said before is not forgotten. */
static void test_record_is_given_up(void **state)
{
	static const struct {
		const char *refused, *corrupted, *told;
		bool lost; /* the first place does not say it any more, but the copy does */
	} rows[] = {
		{ "AT+SYSMFG=2,\"espatd\",\"slots.copy\"", NULL, "w slots.copy|w slots.copy|",
		  false },
		{ "AT+SYSMFG=2,\"espatd\",\"slots\"", NULL, "w slots.copy|w slots|w slots|",
		  false },
		{ NULL, RECORD_KEY_COPY, "w slots.copy|w slots.copy|w slots.copy|", false },
		{ NULL, RECORD_KEY, "w slots.copy|w slots|w slots|w slots|", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		teardown(NULL);
		setup(NULL);
		start_provisioned();
		in_service();
		open_link(0);
		chip_forget(b);
		b->chip.corrupted = rows[i].corrupted;
		b->chip.corrupt = rows[i].corrupted ? 3 : 0;
		if (rows[i].refused)
			chip_answer(b, rows[i].refused, "\r\nERROR\r\n", 2);
		change_both("C2", "G2", 2);
		bench_run(b);
		assert_string_equal(ops("wec"), rows[i].told);
		assert_string_equal(slots_text(), "corp:3 gateway:4");
		assert_int_equal(errors, 2);
		assert_counted(4);
		/* The next one that can be written has it all. */
		chip_forget(b);
		change_both("C", "G", 3);
		bench_run(b);
		assert_string_equal(ops("wec"), "");
		if (!rows[i].lost)
			assert_string_equal(record_text(),
					    "client_ca.3=corp/1 client_cert.4=gateway/1 "
					    "client_key.4=gateway/1");
		assert_counted(4);
		close_link(0);
		assert_sane();
		/* What the copy has announced is looked for, and is not there. */
		if (rows[i].lost) {
			up();
			assert_ready();
			assert_sane();
		}
		assert_second_is_quiet(false);
	}
}

/* All slots are somebody's but one, which two share: it holds what one of them still uses. */
static void test_twins_without_room(void **state)
{
	start_full();
	b->config.n_identities = 0;
	add_authority(other, CONFIG_SLOT_AUTO, "C", 1);
	put_ours("client_ca.6", "authority", "corp", 1, "C", "C");
	put_record(3);
	in_service();
	assert_string_equal(slots_text(), "corp:6 other:6");
	set_thing(MATERIAL_AUTHORITY, 0, CERT_KIND_CA, "C2", 2);
	set_thing(MATERIAL_AUTHORITY, 1, CERT_KIND_CA, "O2", 2);
	take_material();
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(slots_text(), "corp:6 other:6");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 1);
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[1]), 1);
	assert_memory_equal(chip_nvs(b, "client_ca.6")->data, "C", 1);
	assert_int_equal(chip_nvs(b, "client_ca.6")->len, 1);
	assert_int_equal(errors, 2);
	assert_foreign_untouched();
}

/* Its own old slot is all that there is: in place, but not under a link that is open. */
static void test_rotation_without_room(void **state)
{
	start_full();
	put_ours("client_ca.6", "authority", "corp", 1, "C", "C");
	put_record(3);
	in_service();
	open_link(0);
	chip_forget(b);
	change_both("C2", "G", 2);
	bench_run(b);
	assert_ready();
	assert_string_equal(ops("we"), "");
	assert_string_equal(slots_text(), "corp:6 gateway:0");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 1);
	assert_int_equal(errors, 1);
	assert_string_equal(last_error, "esp0: authority corp is not on the chip: no slot is free "
					"until the links that use its old one have closed");
	/* Other links do not matter, though they make it look again. */
	open_link(1);
	link_close(users[1].link);
	bench_run(b);
	assert_string_equal(ops("we"), "");
	assert_int_equal(errors, 1);
	/* It goes on when that has gone. */
	b->rooms = 0;
	link_close(users[0].link);
	while (bench_step(b))
		if (!chip_holds(b, "client_ca.6", w.items[0].blobs[0]) && b->dev->provision &&
		    strstr(ops("w"), "client_ca"))
			assert_null(device_free_link(b->dev));
	assert_string_equal(ops("we"), "w slots|w client_ca.6|");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 2);
	assert_true(b->rooms > 0);
	assert_non_null(device_free_link(b->dev));
	assert_int_equal(errors, 1);
	assert_sane();
	assert_second_is_quiet(false);
}

/* A key that somebody has made in a slot that was free. */
static void test_foreign_key_in_service(void **state)
{
	start_empty();
	in_service();
	put_key("client_ca.1", 8, "somebody's");
	put_key("client_key.1", 7, "somebody's");
	note_foreign();
	change_both("C2", "G2", 2);
	bench_run(b);
	assert_string_equal(ops("w"), "w slots|w client_ca.2|w client_cert.2|w client_key.2|"
				      "w slots|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* Back to what was before, while a link still uses it: it is there. */
static void test_roll_back(void **state)
{
	start_factory();
	in_service();
	open_link(0);
	change_both("C2", "G2", 2);
	bench_run(b);
	open_link(1);
	chip_forget(b);
	change_both("C", "G", 3);
	bench_run(b);
	assert_string_equal(ops("welrn"), "");
	assert_string_equal(slots_text(), "corp:2 gateway:2");
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 3);
	assert_int_equal(users[0].ends + users[1].ends, 0);
	close_link(0);
	assert_string_equal(ops("we"), "");
	close_link(1);
	assert_string_equal(ops("we"), "e client_ca.3|e client_cert.3|e client_key.3|w slots|");
	assert_sane();
	assert_second_is_quiet(false);
}

/* ---- in service: something happens during it, at any moment ---- */

/* Takes @n steps into a rotation with two links open; false if it is over by then. */
static bool into_rotation(bool pinned, unsigned int n)
{
	teardown(NULL);
	setup(NULL);
	if (pinned)
		pin_both();
	else
		start_factory();
	in_service();
	open_link(0);
	chip_forget(b);
	change_both("C2", "G2", 2);
	while (n-- > 0)
		if (!bench_step(b))
			return false;
	return b->dev->provision != NULL;
}

static void assert_rotated(unsigned int generation)
{
	assert_ready();
	assert_null(b->dev->provision);
	assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), generation);
	assert_int_equal(device_identity_generation(b->dev, &w.identities[0]), generation);
	assert_sane();
}

/* Somebody begins to connect at any moment: what he was told to use stays until he has gone. */
static void test_connecting_during_it(void **state)
{
	for (unsigned int n = 0; into_rotation(false, n); n++) {
		struct user *u = start_link(1);
		char ca[16], cert[16];

		slots_key(CERT_KIND_CA, u->link->target.ca, ca, sizeof(ca));
		slots_key(CERT_KIND_CERT, u->link->target.pki, cert, sizeof(cert));
		link_close(users[0].link);
		while (bench_step(b)) {
			assert_int_equal(chip_nvs(b, ca)->type, 8);
			assert_int_equal(chip_nvs(b, cert)->type, 8);
		}
		assert_int_equal(u->opened, 1);
		close_link(1);
		assert_rotated(2);
		assert_int_equal(chip_nvs(b, "client_ca.2")->type, 0);
	}
}

/* Other material at each moment of a rotation: it is that which is used in the end. */
static void overtake_rotation(const char *ca, const char *pair)
{
	for (int pinned = 0; pinned < 2; pinned++)
		for (unsigned int n = 0; into_rotation(pinned, n); n++) {
			change_both(ca, pair, 3);
			run_usable(ca, pair);
			assert_rotated(3);
			assert_int_equal(users[0].ends, 0);
			assert_int_equal(errors, 0);
			close_link(0);
			assert_rotated(3);
			assert_second_is_quiet(false);
		}
}

static void test_changed_again(void **state)
{
	overtake_rotation("C3", "G3");
}

/* Back to what it was, before it is complete. */
static void test_changed_back(void **state)
{
	overtake_rotation("C", "G");
}

static void test_wifi_drops(void **state)
{
	for (int pinned = 0; pinned < 2; pinned++)
		for (unsigned int n = 0; into_rotation(pinned, n); n++) {
			b->chip.joined = false;
			b->chip.open[0] = false;
			chip_say(b, "WIFI DISCONNECT\r\n0,CLOSED\r\n");
			assert_int_equal(users[0].end, LINK_END_WIFI);
			bench_pass(b, 30 * TIMERS_S);
			assert_rotated(2);
			assert_int_equal(chip_nvs(b, "client_ca.2")->type, 0);
			assert_second_is_quiet(false);
		}
}

static void test_chip_resets(void **state)
{
	for (int pinned = 0; pinned < 2; pinned++)
		for (unsigned int n = 0; into_rotation(pinned, n); n++) {
			chip_revive(b, true);
			chip_say(b, "\r\nready\r\n");
			assert_int_equal(users[0].end, LINK_END_RESET);
			bench_pass(b, 30 * TIMERS_S);
			assert_rotated(2);
			assert_second_is_quiet(false);
		}
}

static void test_port_goes(void **state)
{
	for (int pinned = 0; pinned < 2; pinned++)
		for (unsigned int n = 0; into_rotation(pinned, n); n++) {
			device_port_down(b->dev, "unplugged");
			chip_revive(b, true);
			/* Nobody can be told to write now. */
			device_provision(b->dev);
			assert_null(b->dev->provision);
			bench_up(b);
			assert_rotated(2);
			assert_second_is_quiet(false);
		}
}

static void test_last_link_closes(void **state)
{
	for (int by_server = 0; by_server < 2; by_server++)
		for (unsigned int n = 0; into_rotation(false, n); n++) {
			if (by_server) {
				b->chip.open[0] = false;
				chip_say(b, "0,CLOSED\r\n");
			} else {
				link_close(users[0].link);
			}
			bench_run(b);
			assert_rotated(2);
			assert_int_equal(chip_nvs(b, "client_ca.2")->type, 0);
			assert_int_equal(chip_nvs(b, "client_key.2")->type, 0);
			assert_string_equal(record_text(),
					    "client_ca.3=corp/2 client_cert.3=gateway/2 "
					    "client_key.3=gateway/2");
			assert_second_is_quiet(false);
		}
}

/* The clock is set meanwhile, as once a day. */
static void test_clock_is_set(void **state)
{
	for (unsigned int n = 0; into_rotation(false, n); n++) {
		device_sync_clock(b->dev);
		bench_run(b);
		bench_pass(b, 5 * TIMERS_S);
		assert_rotated(2);
		assert_int_equal(users[0].ends, 0);
	}
}

/* ---- in service: a connect has failed, and what is on the chip is looked at again ---- */

/* The handshake fails, and a plain TCP connection does not. */
static struct user *fail_connect(void)
{
	struct user *u;

	b->chip.clock = b->wallclock;
	chip_answer(b, "AT+CIPSTART=0,\"SSL\"", "\r\nERROR\r\n", 1);
	chip_forget(b);
	u = start_link(0);
	assert_int_equal(u->link->id, 0);
	return u;
}

static void assert_connect_fails(enum link_end end)
{
	struct user *u = fail_connect();

	bench_run(b);
	if (u->ends != 1 || u->end != end)
		fail_msg("%d ends, %s; told: %s", u->ends, link_end_text(u->end), b->chip.told);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_ready();
	assert_non_null(device_free_link(b->dev));
}

static void test_recheck_of_what_is_well(void **state)
{
	start_provisioned();
	in_service();
	assert_connect_fails(LINK_END_TLS);
	/* What the link was to use, and nothing else. */
	assert_string_equal(ops("welrn"), "r client_ca.3|r client_cert.4|r client_key.4|");
	assert_connect_fails(LINK_END_TLS);
	/* That is over then. */
	chip_forget(b);
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	open_link(0);
}

/* A connection that shows no certificate leaves ours alone. */
static void test_recheck_without_identity(void **state)
{
	start_provisioned();
	in_service();
	server_only = true;
	assert_connect_fails(LINK_END_TLS);
	assert_string_equal(ops("welrn"), "r client_ca.3|");
}

/* The chip is being written to already: what is there now says nothing of the failure. */
static void test_recheck_during_a_run(void **state)
{
	struct user *u;

	start_provisioned();
	in_service();
	u = fail_connect();
	while (!strstr(b->chip.told, "AT+CIPCLOSE=0|"))
		assert_true(bench_step(b));
	change_both("C2", "G2", 2);
	while (!strstr(ops("w"), "slots"))
		assert_true(bench_step(b));
	assert_int_equal(u->ends, 1);
	assert_int_equal(u->end, LINK_END_TLS);
	bench_run(b);
	assert_ready();
	assert_sane();
	assert_null(strstr(ops("r"), "client_ca.3"));
}

static void test_recheck_of_one_kind(void **state)
{
	start_provisioned();
	b->config.n_identities = 0;
	in_service();
	assert_connect_fails(LINK_END_TLS);
	assert_string_equal(ops("welrn"), "r client_ca.3|");
}

static void test_recheck_repairs(void **state)
{
	static const char *const keys[] = { "client_ca.3", "client_cert.4", "client_key.4" };
	char expected[64];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		for (int what = 0; what < 3; what++) {
			struct chip_key *key;

			teardown(NULL);
			setup(NULL);
			start_provisioned();
			in_service();
			key = chip_nvs(b, keys[i]);
			if (what == 0)
				key->type = 0;
			else if (what == 1)
				key->data[0] ^= 1;
			else
				key->type = 7;
			assert_connect_fails(LINK_END_NO_MATERIAL);
			snprintf(expected, sizeof(expected), what == 2 ? "e %s|w %s|" : "w %s|",
				 keys[i], keys[i]);
			assert_string_equal(ops("we"), expected);
			assert_string_equal(slots_text(), "corp:3 gateway:4");
			assert_true(b->rooms > 0);
			assert_sane();
			assert_connect_fails(LINK_END_TLS);
			assert_string_equal(ops("we"), "");
			open_link(0);
			assert_second_is_quiet(false);
		}
}

/* Nobody connects with what is known to be broken. */
static void test_recheck_holds_others(void **state)
{
	start_provisioned();
	in_service();
	chip_nvs(b, "client_cert.4")->type = 0;
	fail_connect();
	while (bench_step(b))
		if (strstr(ops("w"), "w client_cert.4|") && b->dev->provision &&
		    !chip_holds(b, "client_cert.4", w.items[1].blobs[0]))
			assert_null(device_free_link(b->dev));
	assert_int_equal(users[0].end, LINK_END_NO_MATERIAL);
}

/* What was never ours is not repaired: ours comes beside it. */
static void test_recheck_of_foreign(void **state)
{
	start_without_record();
	in_service();
	chip_nvs(b, "client_ca.3")->data[0] ^= 1;
	chip_nvs(b, "client_key.4")->type = 0;
	note_foreign();
	assert_connect_fails(LINK_END_NO_MATERIAL);
	assert_string_equal(ops("we"), "w slots|w client_ca.2|w client_key.4|");
	assert_string_equal(slots_text(), "corp:2 gateway:4");
	assert_sane();
	assert_connect_fails(LINK_END_TLS);
	assert_second_is_quiet(true);
}

/* It is gone, and cannot be had. */
static void test_recheck_cannot_repair(void **state)
{
	start_provisioned();
	in_service();
	chip_nvs(b, "client_key.4")->type = 0;
	b->load_error = -EACCES;
	assert_connect_fails(LINK_END_NO_MATERIAL);
	assert_string_equal(ops("we"), "");
	assert_string_equal(slots_text(), "corp:3 gateway:-1");
	assert_int_equal(errors, 1);
	b->load_error = 0;
	device_provision(b->dev);
	bench_run(b);
	assert_string_equal(slots_text(), "corp:3 gateway:4");
	assert_string_equal(ops("we"), "w client_key.4|");
	assert_sane();
}

static void test_recheck_of_twins(void **state)
{
	start_twins();
	in_service();
	chip_nvs(b, "client_ca.0")->type = 0;
	assert_connect_fails(LINK_END_NO_MATERIAL);
	assert_string_equal(ops("wer"),
			    "r client_ca.0|r client_ca.0|r client_cert.0|r client_key.0|"
			    "w client_ca.0|r client_ca.0|");
	assert_string_equal(slots_text(), "corp:0 other:0 gateway:0 second:0");
	assert_sane();
	assert_connect_fails(LINK_END_TLS);
}

/* Whatever comes in between, the link ends, and with the right reason where that is known. */
static void test_recheck_and_something_else(void **state)
{
	enum {
		CHANGE,
		NO_CHANGE,
		WIFI,
		RESET,
		CLOSE,
		N_EVENTS
	};

	for (int event = CHANGE; event < N_EVENTS; event++)
		for (unsigned int n = 0;; n++) {
			struct user *u;
			bool over;

			teardown(NULL);
			setup(NULL);
			start_provisioned();
			in_service();
			chip_nvs(b, "client_cert.4")->type = 0;
			u = fail_connect();
			while (!b->dev->provision)
				assert_true(bench_step(b));
			for (unsigned int i = 0; i < n; i++)
				bench_step(b);
			over = !b->dev->provision;
			switch (event) {
			case CHANGE:
				change_both("C2", "G2", 2);
				break;
			case NO_CHANGE:
				change_both("C", "G", 2);
				break;
			case WIFI:
				b->chip.joined = false;
				chip_say(b, "WIFI DISCONNECT\r\n");
				break;
			case RESET:
				chip_revive(b, true);
				chip_say(b, "\r\nready\r\n");
				break;
			case CLOSE:
				link_close(u->link);
				break;
			}
			bench_run(b);
			bench_pass(b, 30 * TIMERS_S);
			assert_ready();
			assert_sane();
			assert_int_equal(u->link->state, LINK_FREE);
			assert_int_equal(u->ends, over || event != CLOSE);
			if (u->ends)
				assert_int_equal(u->end, event == RESET && !over
								 ? LINK_END_RESET
								 : LINK_END_NO_MATERIAL);
			assert_second_is_quiet(false);
			if (over) {
				assert_in_range(n, 8, 40);
				break;
			}
		}
}

/* The chip is being brought up when the material changes. */
static void test_changed_during_bring_up(void **state)
{
	for (unsigned int n = 0;; n++) {
		teardown(NULL);
		setup(NULL);
		start_rotation();
		remake();
		note_foreign();
		device_port_up(b->dev, 115200);
		while (b->dev->state != DEVICE_PROVISIONING)
			if (!bench_step(b)) {
				timers_set_now(&b->timers, timers_next(&b->timers));
				timers_run(&b->timers);
			}
		for (unsigned int i = 0; i < n; i++)
			bench_step(b);
		if (b->dev->state != DEVICE_PROVISIONING)
			break;
		change_all("3", 3);
		take_material();
		device_provision(b->dev);
		bench_pass(b, 10 * TIMERS_S);
		assert_ready();
		assert_int_equal(errors, 0);
		assert_int_equal(device_authority_generation(b->dev, &w.authorities[0]), 3);
		assert_false(b->dev->incomplete);
		assert_sane();
		assert_second_is_quiet(false);
	}
}

/* ---- anything at all ---- */

static uint64_t seed;

static size_t below(size_t limit)
{
	return test_random_below(&seed, limit);
}

static bool chance(size_t percent)
{
	return below(100) < percent;
}

/* Of few texts, so that contents are the same again and again. */
static const char *random_text(const char *suffix)
{
	static char text[16];

	snprintf(text, sizeof(text), "%c%s", (int)('A' + below(4)), suffix);
	return text;
}

static const char *suffix_of(const char *key)
{
	return strncmp(key, "client_cert", 11) == 0  ? ".cert"
	       : strncmp(key, "client_key", 10) == 0 ? ".key"
						     : "";
}

static void random_key(const char *name)
{
	static const char *const owners[][3] = {
		{ "corp", "other", "gone" },
		{ "gateway", "second", "gone" },
	};
	bool is_pair = suffix_of(name)[0];
	const char *kind = strchr(name, '.') ? (is_pair ? "identity" : "authority") : "nvs";
	const char *owner = strchr(name, '.') ? owners[is_pair][below(3)] : name;
	char text[16], there[16];

	snprintf(text, sizeof(text), "%s", random_text(suffix_of(name)));
	snprintf(there, sizeof(there), "%s", random_text(suffix_of(name)));
	if (chance(30))
		put_ours(name, kind, owner, (unsigned int)below(5), text,
			 chance(70)   ? text
			 : chance(50) ? there
				      : NULL);
	else
		put_key(name, chance(85) ? 8 : chance(50) ? 7 : 3, there);
}

static void random_chip(void)
{
	static const char *const named[] = { "mqtt_ca", "mqtt_key", "server_ca" };
	size_t percent = (size_t[]){ 5, 30, 60, 100 }[below(4)];
	char key[AT_NVS_NAME_MAX + 1];

	for (int kind = 0; kind < 3; kind++)
		for (int slot = 0; slot < SLOTS_COUNT; slot++) {
			slots_key((enum cert_kind)kind, slot, key, sizeof(key));
			if (chance(percent))
				random_key(key);
		}
	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		if (chance(percent))
			random_key(named[i]);
	put_record(below(1000));
	if (chance(15)) {
		/* Cut off while it was written. */
		struct chip_key *copy = chip_nvs(b, RECORD_KEY_COPY),
				*key = chip_nvs(b, RECORD_KEY);

		copy->type = key->type;
		copy->len = key->len;
		memcpy(copy->data, key->data, key->len);
		memset(key->data + 20, ' ', key->len - 20);
	}
	if (!chance(15))
		return;
	/* None, or one that is damaged: nobody knows any more what was ours. */
	memset(&w.record, 0, sizeof(w.record));
	for (int copy = 0; copy < 2; copy++) {
		struct chip_key *key = chip_nvs(b, copy ? RECORD_KEY_COPY : RECORD_KEY);

		if (key->len == 0)
			continue;
		key->type = chance(50) ? 0 : 7 + (int)below(2);
		key->data[9] ^= 2;
	}
	for (size_t i = 0; i < b->chip.n_nvs; i++)
		b->chip.nvs[i].ours = false;
}

static int random_slot(unsigned int *pinned)
{
	int slot = (int)below(SLOTS_COUNT);

	if (chance(70) || (*pinned & 1u << slot))
		return CONFIG_SLOT_AUTO;
	*pinned |= 1u << slot;
	return slot;
}

static void random_texts(void)
{
	unsigned int generation = 1 + (unsigned int)below(9);

	for (size_t i = 0; i < b->config.n_authorities; i++)
		if (chance(60))
			set_thing(MATERIAL_AUTHORITY, i, CERT_KIND_CA, random_text(""), generation);
	for (size_t i = 0; i < b->config.n_identities; i++)
		if (chance(60))
			set_thing(MATERIAL_IDENTITY, i, CERT_KIND_CERT, random_text(""),
				  generation);
	for (size_t i = 0; i < b->config.n_nvs; i++)
		if (chance(60))
			set_thing(MATERIAL_NVS, i, CERT_KIND_CA, random_text(""), 0);
}

/* What the configuration names may be overwritten, and then it is ours. */
static void drop_named(void)
{
	size_t n = 0;

	for (size_t i = 0; i < w.n_foreign; i++)
		if (!is_named(w.foreign[i].name))
			w.foreign[n++] = w.foreign[i];
	w.n_foreign = n;
}

static void random_config(void)
{
	static char *const authorities[] = { corp, other, third };
	static char *const identities[] = { gateway, second };
	unsigned int pinned_ca = 0, pinned_pair = 0;
	size_t n;

	b->config.n_authorities = b->config.n_identities = b->config.n_nvs = 0;
	if (chance(30))
		add_nvs(mqtt_ca, CONFIG_SLOT_NONE, CERT_KIND_CA, random_text(""));
	if (chance(20)) {
		add_nvs(client_ca, 5, CERT_KIND_CA, random_text(""));
		pinned_ca |= 1u << 5;
	}
	if (chance(20)) {
		add_nvs(client_cert, 0, CERT_KIND_CERT, random_text(".cert"));
		pinned_pair |= 1u << 0;
	}
	n = 1 + below(3);
	for (size_t i = 0; i < n; i++)
		add_authority(authorities[i], random_slot(&pinned_ca), random_text(""), 1);
	n = below(3);
	for (size_t i = 0; i < n; i++)
		add_identity(identities[i], random_slot(&pinned_pair), random_text(""), 1);
}

/* It says `ready`, or another daemon looks for it. */
static void random_end(void)
{
	enum cut cut = chance(50) ? CUT_POWER : CUT_HOST;

	if (!b->chip.dead && chance(50)) {
		chip_revive(b, true);
		chip_say(b, "\r\nready\r\n");
		bench_pass(b, 30 * TIMERS_S);
		return;
	}
	chip_revive(b, cut == CUT_POWER);
}

static void random_start(void)
{
	b->load_error = chance(10) ? -EACCES : 0;
	b->load_error_kinds = chance(50) ? 0 : 1u << below(3);
	remake();
	b->dev->erase_orphans = chance(20);
	chip_forget(b);
	chip_die_at(b, chance(50) ? 20 + (unsigned int)below(150) : 0);
	bench_up(b);
	random_end();
	b->load_error = 0;
}

/* Whoever connects now finds what he is told to use. */
static void assert_holdings(void)
{
	char name[16];

	if (!device_free_link(b->dev))
		return;
	for (size_t i = 0; i < b->material.n_items; i++) {
		const struct holding *h = &b->dev->holdings[i];

		for (size_t k = 0; h->slot >= 0 && k < b->material.items[i].n_blobs; k++) {
			uint8_t digest[CERT_DIGEST_SIZE];
			const struct chip_key *key;

			slots_key(h->blobs[k].kind, h->slot, name, sizeof(name));
			key = chip_nvs(b, name);
			assert_int_equal(key->type, 8);
			assert_int_equal(cert_digest_of(key->data, key->len, digest), 0);
			assert_memory_equal(digest, h->blobs[k].digest, sizeof(digest));
		}
	}
}

/* What each of the links was opened with; nothing, where that is named: it is written in place. */
static struct chip_key opened_with[AT_LINKS][3];

static void note_opened_with(const struct link *link)
{
	for (int kind = 0; kind < 3; kind++) {
		char name[16];

		slots_key((enum cert_kind)kind,
			  kind == CERT_KIND_CA ? link->target.ca : link->target.pki, name,
			  sizeof(name));
		opened_with[link->id][kind] = *chip_nvs(b, name);
		if (is_named(name) ||
		    (kind != CERT_KIND_CA && !(link->target.auth & LINK_AUTH_CLIENT)))
			opened_with[link->id][kind].type = 0;
	}
}

static void assert_opened_with(void)
{
	for (int i = 0; i < AT_LINKS; i++)
		for (int kind = 0; kind < 3 && b->dev->links[i].state == LINK_OPEN; kind++) {
			const struct chip_key *was = &opened_with[i][kind], *is;

			if (!was->type)
				continue;
			is = chip_nvs(b, was->name);
			assert_int_equal(is->type, was->type);
			assert_int_equal(is->len, was->len);
			assert_memory_equal(is->data, was->data, was->len);
		}
}

static bool random_step(void)
{
	bool more = bench_step(b);

	assert_holdings();
	assert_opened_with();
	return more;
}

static void random_service(void)
{
	remake();
	chip_forget(b);
	bench_up(b);
	if (b->dev->state != DEVICE_READY)
		return;
	for (size_t i = 0; i < 3 && chance(70); i++)
		if (device_authority_slot(b->dev, &w.authorities[0]) >= 0 &&
		    (b->config.n_identities == 0 ||
		     device_identity_slot(b->dev, &w.identities[0]) >= 0))
			note_opened_with(open_link(i)->link);
	for (size_t i = 1 + below(4); i > 0; i--) {
		chip_forget(b);
		b->load_error = chance(10) ? -EACCES : 0;
		if (chance(80)) {
			random_texts();
			take_material();
		}
		device_provision(b->dev);
		for (size_t n = below(60); n > 0; n--)
			random_step();
		if (chance(30))
			link_close(&b->dev->links[below(3)]);
		if (chance(10)) {
			b->chip.joined = false;
			chip_say(b, "WIFI DISCONNECT\r\n");
		}
		if (chance(10))
			break;
		while (random_step())
			;
	}
	b->load_error = 0;
	if (chance(50))
		random_end();
	else
		bench_pass(b, 30 * TIMERS_S);
	assert_ours_is_known();
	assert_foreign_untouched();
}

/* Nothing is missing for want of a slot while one is free; what is the same stands there once. */
static void assert_well_placed(void)
{
	char ca[16], cert[16], key[16];
	bool ca_free = false, pair_free = false;

	for (int slot = 0; slot < SLOTS_COUNT; slot++) {
		slots_key(CERT_KIND_CA, slot, ca, sizeof(ca));
		slots_key(CERT_KIND_CERT, slot, cert, sizeof(cert));
		slots_key(CERT_KIND_KEY, slot, key, sizeof(key));
		ca_free = ca_free || !chip_nvs(b, ca)->type;
		pair_free = pair_free || (!chip_nvs(b, cert)->type && !chip_nvs(b, key)->type);
	}
	for (size_t i = 0; i < b->config.n_authorities; i++) {
		int slot = device_authority_slot(b->dev, &w.authorities[i]);

		assert_true(slot >= 0 || !ca_free);
		for (size_t k = 0; k < i; k++)
			if (w.authorities[i].slot == CONFIG_SLOT_AUTO &&
			    w.authorities[k].slot == CONFIG_SLOT_AUTO &&
			    cert_blob_equal(w.items[i].blobs[0], w.items[k].blobs[0]))
				assert_int_equal(slot,
						 device_authority_slot(b->dev, &w.authorities[k]));
	}
	for (size_t i = 0; i < b->config.n_identities; i++)
		assert_true(device_identity_slot(b->dev, &w.identities[i]) >= 0 || !pair_free);
}

static void test_anything(void **state)
{
	for (unsigned int round = 0; round < 2000; round++) {
		/* Of its own, so that one that fails can be looked at alone. */
		seed = 0x5eed0a11 + round * 0x9e3779b97f4a7c15ull;
		teardown(NULL);
		setup(NULL);
		random_config();
		random_chip();
		note_foreign();
		for (size_t n = below(4); n > 0; n--) {
			if (chance(20))
				random_config();
			random_texts();
			drop_named();
			if (chance(60))
				random_start();
			else
				random_service();
			assert_foreign_untouched();
		}
		drop_named();
		remake();
		chip_forget(b);
		bench_up(b);
		assert_ready();
		assert_sane();
		assert_well_placed();
		assert_second_is_quiet(true);
		assert_sane();
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_orphans),
		T(test_orphan_of_use),
		T(test_no_orphan_of_a_failed_name),
		T(test_load_fails),
		T(test_load_fails_for_a_while),
		T(test_provision_only),
		T(test_record_is_full),
		T(test_foreign_that_cannot_be_read),
		T(test_damaged_listing),
		T(test_record_is_refused_once),
		T(test_pinned_is_not_listed),
		T(test_half_is_there),
		T(test_chip_is_another_one),
		T(test_keys_are_not_logged),
		T(test_enterprise),
		T(test_enterprise_half_done),
		T(test_writes_that_are_lost),
		T(test_writes_in_doubt),
		T(test_nothing_erased_without_record),
		T(test_writes_that_fail),
		T(test_writes_without_answer),
		T(test_newer_than_without_answer),
		T(test_record_that_never_holds),
		T(test_cut_off),
		T(test_rotation),
		T(test_nothing_new),
		T(test_rotation_of_one),
		T(test_rotation_while_connecting),
		T(test_link_that_uses_nothing),
		T(test_record_of_another_type_in_service),
		T(test_pinned_rotation),
		T(test_nvs_in_service),
		T(test_load_fails_in_service),
		T(test_load_fails_once_in_service),
		T(test_no_memory_in_service),
		T(test_no_memory_at_start),
		T(test_load_fails_in_place),
		T(test_load_fails_half_way),
		T(test_twin_fails),
		T(test_twin_of_pinned_moves),
		T(test_recorded_slot_of_use_to_others),
		T(test_given_up_in_service),
		T(test_given_up_in_place),
		T(test_record_is_copied_first),
		T(test_record_is_only_in_the_copy),
		T(test_record_is_given_up),
		T(test_twins_without_room),
		T(test_rotation_without_room),
		T(test_foreign_key_in_service),
		T(test_roll_back),
		T(test_connecting_during_it),
		T(test_changed_again),
		T(test_changed_back),
		T(test_wifi_drops),
		T(test_chip_resets),
		T(test_port_goes),
		T(test_last_link_closes),
		T(test_clock_is_set),
		T(test_recheck_of_what_is_well),
		T(test_recheck_of_one_kind),
		T(test_recheck_without_identity),
		T(test_recheck_during_a_run),
		T(test_recheck_repairs),
		T(test_recheck_holds_others),
		T(test_recheck_of_foreign),
		T(test_recheck_cannot_repair),
		T(test_recheck_of_twins),
		T(test_recheck_and_something_else),
		T(test_changed_during_bring_up),
		T(test_anything),
	};
	struct CMUnitTest starts[ARRAY_SIZE(rows)];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		starts[i] = (struct CMUnitTest){ rows[i].name, test_row, setup, teardown,
						 (void *)(uintptr_t)&rows[i] };
	return cmocka_run_group_tests_name("provision: starts", starts, NULL, NULL) +
	       cmocka_run_group_tests_name("provision", tests, NULL, NULL);
}
