/* SPDX-License-Identifier: MIT */
/* What a chip must hold, and where that may be. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "device/provision.h"

/* ---- what this chip needs ---- */

static struct want *provision_add(struct provision *p, const struct material *material, size_t item)
{
	const struct material_item *m = &material->items[item];
	struct want *want = &p->wants[p->n_wants++];

	*want = (struct want){
		.item = item,
		.generation = m->generation,
		.n_blobs = m->n_blobs,
		.pinned = CONFIG_SLOT_AUTO,
		.state = m->n_blobs > 0 ? WANT_OPEN : WANT_NONE,
		.slot = -1,
	};
	snprintf(want->name, sizeof(want->name), "%s", m->name);
	for (size_t i = 0; i < m->n_blobs; i++) {
		want->blobs[i] = *m->blobs[i];
		want->blobs[i].data = NULL;
	}
	return want;
}

/* In service it is as with slots: what stood there when it was looked at last. */
static void want_recall(const struct device *dev, struct want *want, size_t i)
{
	for (size_t k = 0; k < dev->n_keys; k++) {
		if (strcmp(dev->keys[k].key, want->keys[i]) != 0)
			continue;
		want->values[i].content = SLOT_READ;
		memcpy(want->values[i].digest, dev->keys[k].digest, CERT_DIGEST_SIZE);
	}
}

static void provision_add_named(struct device *dev, size_t item, const char *what,
				const char *const *keys)
{
	struct provision *p = dev->provision;
	struct want *want = provision_add(p, dev->material, item);
	size_t n = want->n_blobs;

	want->what = what;
	want->named = true;
	assert(n <= MATERIAL_BLOBS);
	for (size_t i = 0; i < n; i++) {
		snprintf(want->keys[i], sizeof(want->keys[i]), "%s", keys[i]);
		if (!p->up)
			want_recall(dev, want, i);
	}
}

void nvs_key(const struct config_nvs *nvs, char key[AT_NVS_NAME_MAX + 1])
{
	if (nvs->slot == CONFIG_SLOT_NONE)
		snprintf(key, AT_NVS_NAME_MAX + 1, "%s", nvs->namespace);
	else
		snprintf(key, AT_NVS_NAME_MAX + 1, "%.13s.%u", nvs->namespace,
			 (unsigned int)nvs->slot % SLOTS_COUNT);
}

static void provision_add_nvs(struct device *dev, size_t item)
{
	char key[AT_NVS_NAME_MAX + 1];
	const char *keys[MATERIAL_BLOBS] = { key };

	nvs_key(dev->material->items[item].config, key);
	provision_add_named(dev, item, "nvs", keys);
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, key);

		if (slot >= 0)
			dev->slots.of[kind][slot].taken = true;
	}
}

/* Firmware from 2026 on looks for them under new names; the factory's namespaces tell which. */
const char *const *eap_keys(const struct device *dev, enum material_type type)
{
	static const char *const old_ca[MATERIAL_BLOBS] = { "wpa2_ca" };
	static const char *const new_ca[MATERIAL_BLOBS] = { "wpa_ent_ca" };
	static const char *const old_pair[MATERIAL_BLOBS] = { "wpa2_cert", "wpa2_key" };
	static const char *const new_pair[MATERIAL_BLOBS] = { "wpa_ent_cert", "wpa_ent_key" };

	if (type == MATERIAL_AUTHORITY)
		return dev->eap_is_new ? new_ca : old_ca;
	return dev->eap_is_new ? new_pair : old_pair;
}

static void provision_add_eap(struct device *dev)
{
	const struct config_eap *eap = &dev->settings->wifi.enterprise;
	const struct material *m = dev->material;

	if (eap->authority)
		provision_add_named(dev, material_of_authority(m, eap->authority), "authority",
				    eap_keys(dev, MATERIAL_AUTHORITY));
	provision_add_named(dev, material_of_identity(m, eap->credential), "identity",
			    eap_keys(dev, MATERIAL_IDENTITY));
}

bool item_is_needed(const struct device *dev, size_t item)
{
	const struct config_eap *eap = &dev->settings->wifi.enterprise;
	const void *config = dev->material->items[item].config;

	switch (dev->material->items[item].type) {
	case MATERIAL_AUTHORITY:
		return config_needs_authority(dev->config, dev->settings, config) ||
		       (device_wants_enterprise(dev) && eap->authority == config);
	case MATERIAL_IDENTITY:
		return config_needs_identity(dev->config, dev->settings, config) ||
		       (device_wants_enterprise(dev) && eap->credential == config);
	case MATERIAL_NVS:
		return config_needs_nvs(dev->settings, config);
	}
	return false;
}

static void provision_add_slotted(struct device *dev, size_t item, const char *what, int pinned)
{
	struct want *want = provision_add(dev->provision, dev->material, item);

	want->what = what;
	want->pinned = pinned;
}

/* Pinned ones first: what may be anywhere must not take their slots. Returns 0 or -ENOMEM. */
int provision_collect(struct device *dev)
{
	const struct material *m = dev->material;
	struct provision *p = dev->provision;

	/* Each item once for tunnels or as itself, and two more for enterprise Wi-Fi. */
	p->wants = calloc(m->n_items + 2, sizeof(*p->wants));
	if (!p->wants)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_items; i++)
		if (m->items[i].type == MATERIAL_NVS &&
		    config_needs_nvs(dev->settings, m->items[i].config))
			provision_add_nvs(dev, i);
	if (device_wants_enterprise(dev))
		provision_add_eap(dev);
	for (int pinned = 1; pinned >= 0; pinned--) {
		for (size_t i = 0; i < dev->config->n_authorities; i++) {
			const struct config_authority *a = &dev->config->authorities[i];

			if (config_needs_authority(dev->config, dev->settings, a) &&
			    (a->slot != CONFIG_SLOT_AUTO) == pinned)
				provision_add_slotted(dev, material_of_authority(m, a), "authority",
						      a->slot);
		}
		for (size_t i = 0; i < dev->config->n_identities; i++) {
			const struct config_identity *id = &dev->config->identities[i];

			if (config_needs_identity(dev->config, dev->settings, id) &&
			    (id->slot != CONFIG_SLOT_AUTO) == pinned)
				provision_add_slotted(dev, material_of_identity(m, id), "identity",
						      id->slot);
		}
	}
	for (size_t i = 0; i < p->n_wants; i++)
		p->wants[i].hash = record_name(
			p->wants[i].what, p->wants[i].named && strcmp(p->wants[i].what, "nvs") == 0
						  ? p->wants[i].keys[0]
						  : p->wants[i].name);
	return 0;
}

int provision_new(struct device *dev)
{
	struct provision *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	dev->provision = p;
	return cert_digest_new(&p->io.digest);
}

void provision_stop(struct device *dev)
{
	struct provision *p = dev->provision;

	if (!p)
		return;
	cert_blob_free(p->io.bytes);
	cert_digest_free(p->io.digest);
	free(p->wants);
	free(p);
	dev->provision = NULL;
}

/* ---- places ---- */

struct slot *want_value(struct device *dev, struct want *want, size_t i)
{
	return want->named ? &want->values[i] : &dev->slots.of[want->blobs[i].kind][want->slot];
}

static bool want_is_held(struct device *dev, struct want *want)
{
	for (size_t i = 0; i < want->n_blobs; i++)
		if (!slot_holds(want_value(dev, want, i), &want->blobs[i]))
			return false;
	return true;
}

/* Whether what new connections use of it is known to stand there no longer. */
bool holding_is_broken(const struct device *dev, const struct want *want)
{
	const struct holding *h = &dev->holdings[want->item];

	if (want->named || h->slot < 0)
		return false;
	for (size_t i = 0; i < h->n_blobs; i++) {
		const struct slot *value = &dev->slots.of[h->blobs[i].kind][h->slot];

		if (value->content != SLOT_UNKNOWN && value->content != SLOT_UNREAD &&
		    !slot_holds(value, &h->blobs[i]))
			return true;
	}
	return false;
}

void want_fail(struct want *want, const char *why)
{
	want->state = WANT_FAILED;
	want->why = why;
}

int want_load(struct device *dev, struct want *want, size_t i, struct cert_blob **ret)
{
	int r = -ESTALE;

	/* Its name may be gone, and the material another one, since the place was chosen. */
	if (want->item < dev->material->n_items && i < dev->material->items[want->item].n_blobs)
		r = dev->ops->load_blob(dev->userdata, &dev->material->items[want->item], i, ret);
	if (r == 0 && !cert_blob_equal(*ret, &want->blobs[i]))
		r = -ESTALE;
	if (r == 0)
		return 0;
	*ret = cert_blob_free(*ret);
	/* What has changed is only known after the next reload. */
	want->unread = r != -ESTALE;
	want_fail(want, r == -ESTALE ? "its files have changed" : strerror(-r));
	return r;
}

/* Everything of the want is known: it is there, or is to be written. */
void want_settle(struct device *dev, struct want *want)
{
	want->state = want_is_held(dev, want) ? WANT_THERE : WANT_WRITE;
	for (size_t i = 0; i < want->n_blobs; i++)
		want_value(dev, want, i)->taken = true;
	if (want->state == WANT_THERE && !want->named &&
	    dev->holdings[want->item].slot != want->slot)
		dev_info(dev, "%s %s is in slot %d", want->what, want->name, want->slot);
}

void want_take_slot(struct device *dev, struct want *want, int slot)
{
	want->slot = slot;
	for (size_t i = 0; i < want->n_blobs; i++)
		slots_key(want->blobs[i].kind, slot, want->keys[i], sizeof(want->keys[i]));
}

static bool record_says(const struct device *dev, const char *key, uint64_t hash,
			const struct cert_blob *blob)
{
	const struct record_entry *e = record_find(&dev->record, key);

	return e && e->name == hash && memcmp(e->digest, blob->digest, CERT_DIGEST_SIZE) == 0;
}

bool want_is_equal(const struct want *a, const struct want *b)
{
	if (a->n_blobs != b->n_blobs || a->named || b->named)
		return false;
	for (size_t i = 0; i < a->n_blobs; i++)
		if (!cert_blob_equal(&a->blobs[i], &b->blobs[i]))
			return false;
	return true;
}

/* Another one with the same content that has its place already: it is stored once. */
const struct want *want_find_twin(const struct provision *p, const struct want *want)
{
	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *other = &p->wants[i];

		if (other != want && (other->state == WANT_WRITE || other->state == WANT_THERE) &&
		    want_is_equal(other, want))
			return other;
	}
	return NULL;
}

/* Whether an open link, or one that is being opened, was made with this slot. */
static bool slot_is_in_use(const struct device *dev, enum cert_kind kind, int slot)
{
	for (int i = 0; i < AT_LINKS; i++) {
		const struct link *link = &dev->links[i];
		unsigned int auth = link->target.auth;

		if (link->state == LINK_FREE)
			continue;
		if (kind == CERT_KIND_CA && (auth & LINK_AUTH_SERVER) && link->target.ca == slot)
			return true;
		if (kind != CERT_KIND_CA && (auth & LINK_AUTH_CLIENT) && link->target.pki == slot)
			return true;
	}
	return false;
}

bool key_is_in_use(const struct device *dev, const char *key)
{
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, key);

		if (slot >= 0)
			return slot_is_in_use(dev, (enum cert_kind)kind, slot);
	}
	return false;
}

/* Whether new connections of others than @except (NULL: of anybody) are told to use it. */
static bool slot_is_held(const struct device *dev, enum cert_kind kind, int slot,
			 const struct want *except)
{
	for (size_t i = 0; i < dev->material->n_items; i++) {
		const struct holding *h = &dev->holdings[i];

		for (size_t k = 0; h->slot == slot && k < h->n_blobs; k++)
			if (h->blobs[k].kind == kind && !(except && except->item == i))
				return true;
	}
	return false;
}

bool key_is_held(const struct device *dev, const char *key)
{
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, key);

		if (slot >= 0)
			return slot_is_held(dev, (enum cert_kind)kind, slot, NULL);
	}
	return false;
}

/* Whether others use what stands there, and it is not what @blob is. */
static bool slot_is_occupied(const struct device *dev, const struct want *want, int slot,
			     const struct cert_blob *blob)
{
	return slot != dev->holdings[want->item].slot && !slots_holds(&dev->slots, slot, blob) &&
	       (slot_is_in_use(dev, blob->kind, slot) || slot_is_held(dev, blob->kind, slot, want));
}

/*
 * The slot that is ours for this very content, whatever stands there now; or -1. One that was promised
 * to somebody else is not: it is pinned or named, or it was free when he came.
 */
int want_recorded_slot(const struct device *dev, const struct want *want)
{
	char key[AT_NVS_NAME_MAX + 1];

	for (int slot = 0; slot < SLOTS_COUNT; slot++) {
		size_t n = 0;

		if (want->pinned != CONFIG_SLOT_AUTO && want->pinned != slot)
			continue;
		for (; n < want->n_blobs; n++) {
			slots_key(want->blobs[n].kind, slot, key, sizeof(key));
			if (dev->slots.of[want->blobs[n].kind][slot].taken ||
			    slot_is_occupied(dev, want, slot, &want->blobs[n]) ||
			    !record_says(dev, key, want->hash, &want->blobs[n]))
				break;
		}
		if (n == want->n_blobs)
			return slot;
	}
	return -1;
}

/*
 * Without a free slot: one that holds nothing but an older generation of the same name. @waits: there
 * is such a one, but a link uses it.
 */
int want_superseded_slot(const struct device *dev, const struct want *want, bool *waits)
{
	for (int slot = 0; slot < SLOTS_COUNT; slot++) {
		bool fits = true, in_use = false;

		for (size_t i = 0; i < want->n_blobs && fits; i++) {
			const struct slot *value = &dev->slots.of[want->blobs[i].kind][slot];
			const struct record_entry *e;
			char key[AT_NVS_NAME_MAX + 1];

			slots_key(want->blobs[i].kind, slot, key, sizeof(key));
			e = record_find(&dev->record, key);
			in_use = in_use || slot_is_in_use(dev, want->blobs[i].kind, slot);
			fits = !value->taken &&
			       !slot_is_held(dev, want->blobs[i].kind, slot, want) &&
			       (slot_is_free(value) || (e && e->name == want->hash));
		}
		if (fits && !in_use)
			return slot;
		*waits = *waits || fits;
	}
	return -1;
}
