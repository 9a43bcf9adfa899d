/* SPDX-License-Identifier: MIT */
/*
 * Certificates and keys into the chip's manufacturing NVS: what is there is read and compared, only
 * what is missing is written, and what was written is read back. Only what this chip needs goes to it.
 *
 * provision_next() is called after each command and decides the next one from what is known: first our
 * record is read, then each wanted value gets its place, then the record is written (before what it
 * speaks of), then the values, and last what nobody uses any more is erased. So it can be cut off
 * anywhere and started again.
 *
 * It runs when the chip is brought up, and again in service when the material has changed, when a link
 * has gone that alone was using an old slot, or when a connect failed and the material is suspected.
 * In service new connections use what was there before until the new material is complete.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "device/internal.h"
#include "util/log.h"

/* SYSMFG's types (protocol fact 10): a PEM stored as a string is not found (fact 7). */
#define MFG_READ 1
#define MFG_WRITE 2
#define MFG_ERASE 0
#define MFG_BINARY 8
/* A value that does not read back right is written this often before we give up. */
#define PROVISION_WRITES_MAX 3
/* ERROR to the line of a write or an erase: it means what it says the second time, when no byte of it
 * can have been lost on the way. */
#define PROVISION_REFUSED_MAX 2

enum want_state {
	WANT_OPEN,  /* it is not known where it goes */
	WANT_WRITE, /* it has its place, and is not there yet */
	WANT_THERE,
	WANT_FAILED, /* it cannot be had */
};

/* Something that this chip must hold. */
struct want {
	const char *what; /* "authority", for people */
	const char *name; /* weak */
	size_t item;      /* in the material */
	uint64_t hash;
	unsigned int generation;
	struct cert_blob blobs[MATERIAL_BLOBS]; /* copies, without bytes */
	size_t n_blobs;
	int pinned; /* CONFIG_SLOT_AUTO: the slot is chosen */
	bool named; /* its keys are given, there is no slot */
	enum want_state state;
	const char *why; /* it has failed */
	bool readable;   /* its bytes can be had */
	bool is_twin;    /* an earlier one of the same content is written to the same place */
	int slot;
	char keys[MATERIAL_BLOBS][AT_NVS_NAME_MAX + 1]; /* once it has its place */
	struct slot values[MATERIAL_BLOBS];             /* what is under them, if they are named */
};

struct provision {
	struct want *wants;
	size_t n_wants;
	bool up;                /* the chip is being brought up; else it is in service */
	bool again;             /* the material has changed meanwhile */
	bool waits;             /* there will be room when a link has gone */
	bool full;              /* there was none for one of the wants */
	bool listed[3];         /* namespaces, by enum cert_kind */
	bool names_read;        /* which namespaces there are */
	uint64_t writes_before; /* dev->flash_writes, when it began */
	/* the value that is read or written */
	struct want *want;
	size_t index;
	struct slot *value;
	struct cert_blob *blob; /* owned, with bytes, while it is written */
	unsigned int writes;    /* of this value */
	struct cert_digest *digest;
	bool complete; /* it was read to its end */
	/* the record */
	bool record_is_stuck; /* it cannot be written */
	struct record kept;   /* what it said before, or what was erased since */
	char text[CERT_BLOB_MAX];
	size_t text_len;
	bool record_unusable; /* it stands there as another type than binary */
	char erasing[AT_NVS_NAME_MAX + 1];
	unsigned int erases; /* of this key */
};

static void provision_next(struct device *dev);
static void provision_begin_all(struct device *dev, bool up, uint64_t writes_before);

/* ---- commands ---- */

static void provision_cmd_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);

	/* Whoever reset the channel has also ended this; after silence trouble follows. */
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return;
	dev->mfg_step(dev, result);
}

static void provision_begin(struct device *dev, const char *name)
{
	struct chan_cmd *cmd = &dev->mfg_cmd;

	cmd->kind = CHAN_PLAIN;
	cmd->secret = false;
	cmd->secret_reply = false;
	cmd->payload = NULL;
	cmd->on_line = NULL;
	cmd->on_data = NULL;
	at_line_begin(&cmd->line, name);
}

static void provision_begin_op(struct device *dev, int op)
{
	provision_begin(dev, "AT+SYSMFG");
	at_line_int(&dev->mfg_cmd.line, op);
}

/* `AT+SYSMFG=<op>,"<ns>","<key>"` */
static void provision_line(struct device *dev, int op, const char *key)
{
	char namespace[AT_NVS_NAME_MAX + 1];

	record_namespace(key, namespace);
	provision_begin_op(dev, op);
	at_line_string(&dev->mfg_cmd.line, namespace);
	at_line_string(&dev->mfg_cmd.line, key);
}

static void provision_run(struct device *dev,
			  void (*step)(struct device *dev, enum chan_result result))
{
	at_line_end(&dev->mfg_cmd.line); /* names are short: it always fits */
	dev->mfg_cmd.timeout = DEVICE_TIMEOUT_FLASH;
	dev->mfg_cmd.done = provision_cmd_done;
	dev->mfg_step = step;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->mfg_cmd);
}

static void provision_count_write(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_ERROR)
		return;
	dev->flash_writes++;
	dev->uncounted++;
}

/* ---- what this chip needs ---- */

static struct want *provision_add(struct provision *p, const struct material *material, size_t item)
{
	const struct material_item *m = &material->items[item];
	struct want *want = &p->wants[p->n_wants++];

	*want = (struct want){
		.name = m->name,
		.item = item,
		.generation = m->generation,
		.n_blobs = m->n_blobs,
		.pinned = CONFIG_SLOT_AUTO,
		.slot = -1,
	};
	for (size_t i = 0; i < m->n_blobs; i++) {
		want->blobs[i] = *m->blobs[i];
		want->blobs[i].data = NULL;
	}
	return want;
}

static void provision_add_named(struct provision *p, const struct material *material, size_t item,
				const char *what, const char *const *keys)
{
	struct want *want = provision_add(p, material, item);

	want->what = what;
	want->named = true;
	for (size_t i = 0; i < want->n_blobs; i++)
		snprintf(want->keys[i], sizeof(want->keys[i]), "%s", keys[i]);
}

static void provision_add_nvs(struct device *dev, size_t item)
{
	const struct config_nvs *nvs = dev->material->items[item].config;
	char key[AT_NVS_NAME_MAX + 1];
	const char *keys[] = { key };

	if (nvs->slot == CONFIG_SLOT_NONE)
		snprintf(key, sizeof(key), "%s", nvs->namespace);
	else
		snprintf(key, sizeof(key), "%.13s.%d", nvs->namespace, nvs->slot);
	provision_add_named(dev->provision, dev->material, item, "nvs", keys);
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, key);

		if (slot >= 0)
			dev->slots.of[kind][slot].taken = true;
	}
}

/* Firmware from 2026 on looks for them under new names; the factory's namespaces tell which. */
static void provision_add_eap(struct device *dev)
{
	const struct config_eap *eap = &dev->settings->wifi.enterprise;
	const struct material *m = dev->material;
	static const char *const old_ca[] = { "wpa2_ca" }, *const new_ca[] = { "wpa_ent_ca" };
	static const char *const old_pair[] = { "wpa2_cert", "wpa2_key" };
	static const char *const new_pair[] = { "wpa_ent_cert", "wpa_ent_key" };

	if (eap->authority)
		provision_add_named(dev->provision, m, material_of_authority(m, eap->authority),
				    "authority", dev->eap_is_new ? new_ca : old_ca);
	provision_add_named(dev->provision, m, material_of_identity(m, eap->credential), "identity",
			    dev->eap_is_new ? new_pair : old_pair);
}

static void provision_add_slotted(struct device *dev, size_t item, const char *what, int pinned)
{
	struct want *want = provision_add(dev->provision, dev->material, item);

	want->what = what;
	want->pinned = pinned;
}

/* Pinned ones first: what may be anywhere must not take their slots. */
static void provision_collect(struct device *dev)
{
	const struct material *m = dev->material;
	struct provision *p = dev->provision;

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
}

static int provision_new(struct device *dev)
{
	/* Each item once for tunnels or as itself, and two more for enterprise Wi-Fi. */
	size_t n = dev->material->n_items + 2;
	struct provision *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	dev->provision = p;
	p->wants = calloc(n, sizeof(*p->wants));
	if (!p->wants || cert_digest_new(&p->digest) < 0)
		return -ENOMEM;
	return 0;
}

void provision_stop(struct device *dev)
{
	struct provision *p = dev->provision;

	if (!p)
		return;
	cert_blob_free(p->blob);
	cert_digest_free(p->digest);
	free(p->wants);
	free(p);
	dev->provision = NULL;
}

/* ---- places ---- */

static struct slot *want_value(struct device *dev, struct want *want, size_t i)
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
static bool holding_is_broken(const struct device *dev, const struct want *want)
{
	const struct holding *h = &dev->holdings[want->item];

	if (want->named || h->slot < 0)
		return false;
	for (size_t i = 0; i < want->n_blobs; i++) {
		const struct slot *value = &dev->slots.of[h->blobs[i].kind][h->slot];

		if (value->content != SLOT_UNKNOWN && value->content != SLOT_UNREAD &&
		    !slot_holds(value, &h->blobs[i]))
			return true;
	}
	return false;
}

static void want_fail(struct want *want, const char *why)
{
	want->state = WANT_FAILED;
	want->why = why;
}

/* Everything of the want is known: it is there, or is to be written. */
static void want_settle(struct device *dev, struct want *want)
{
	want->state = want_is_held(dev, want) ? WANT_THERE : WANT_WRITE;
	for (size_t i = 0; i < want->n_blobs; i++)
		want_value(dev, want, i)->taken = true;
	if (want->state == WANT_THERE && !want->named &&
	    dev->holdings[want->item].slot != want->slot)
		log_info("%s: %s %s is in slot %d", dev->settings->name, want->what, want->name,
			 want->slot);
}

static void want_take_slot(struct device *dev, struct want *want, int slot)
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

static bool want_is_equal(const struct want *a, const struct want *b)
{
	if (a->n_blobs != b->n_blobs || a->named || b->named)
		return false;
	for (size_t i = 0; i < a->n_blobs; i++)
		if (!cert_blob_equal(&a->blobs[i], &b->blobs[i]))
			return false;
	return true;
}

/* Another one with the same content that has its place already: it is stored once. */
static const struct want *want_find_twin(const struct provision *p, const struct want *want)
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

static bool key_is_in_use(const struct device *dev, const char *key)
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

		for (size_t k = 0; h->slot == slot && k < dev->material->items[i].n_blobs; k++)
			if (h->blobs[k].kind == kind && !(except && except->item == i))
				return true;
	}
	return false;
}

static bool key_is_held(const struct device *dev, const char *key)
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
static int want_recorded_slot(const struct device *dev, const struct want *want)
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
static int want_superseded_slot(const struct device *dev, const struct want *want, bool *waits)
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
			       (value->content == SLOT_FREE || (e && e->name == want->hash));
		}
		if (fits && !in_use)
			return slot;
		*waits = *waits || fits;
	}
	return -1;
}

/* ---- reading a value ---- */

static void value_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		       size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	struct provision *p = dev->provision;

	if (block->type != AT_BLOCK_SYSMFG || block->kind != MFG_BINARY)
		return;
	if (data)
		cert_digest_update(p->digest, data, len);
	else
		p->complete = true;
}

static void value_write_now(struct device *dev);

/*
 * Not tried again before the next bring-up, as each try wears the flash out. The other values, and
 * the tunnels that need no more than those, go on.
 */
static void value_give_up(struct device *dev, const char *why)
{
	dev->provision->writes = 0;
	dev->holdings[dev->provision->want->item].given_up = true;
	want_fail(dev->provision->want, why);
	provision_next(dev);
}

/* What was written must be what is there. */
static void value_compare(struct device *dev)
{
	struct provision *p = dev->provision;
	struct want *want = p->want;
	const char *key = want->keys[p->index];

	if (slot_holds(p->value, &want->blobs[p->index])) {
		p->writes = 0;
		provision_next(dev);
		return;
	}
	if (p->writes >= PROVISION_WRITES_MAX) {
		value_give_up(dev, "it does not read back as it was written");
		return;
	}
	log_warning("%s: %s does not read back as it was written, writing it again",
		    dev->settings->name, key);
	value_write_now(dev);
}

static void value_read_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	struct slot *value = p->value;

	/* ERROR: the key, or its namespace, is not there (protocol fact 11). */
	if (result == CHAN_E_ERROR && value->content == SLOT_UNKNOWN)
		value->content = SLOT_FREE;
	else
		value->content = SLOT_UNUSABLE;
	if (result == CHAN_OK && p->complete && cert_digest_final(p->digest, value->digest) == 0)
		value->content = SLOT_READ;
	if (p->writes > 0)
		value_compare(dev);
	else
		provision_next(dev);
}

static void value_read(struct device *dev, struct slot *value, const char *key, enum cert_kind kind)
{
	struct provision *p = dev->provision;

	p->value = value;
	p->complete = false;
	cert_digest_reset(p->digest);
	provision_line(dev, MFG_READ, key);
	dev->mfg_cmd.on_data = value_data;
	dev->mfg_cmd.secret_reply = kind == CERT_KIND_KEY || kind == CERT_KIND_RAW;
	provision_run(dev, value_read_done);
}

/* ---- writing a value ---- */

static void value_written(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	const struct cert_blob *blob = &p->want->blobs[p->index];
	const char *key = p->want->keys[p->index];

	dev->mfg_cmd.payload = NULL;
	p->blob = cert_blob_free(p->blob);
	provision_count_write(dev, result);
	if (result == CHAN_E_ERROR) {
		if (p->writes < PROVISION_REFUSED_MAX)
			value_write_now(dev);
		else
			value_give_up(dev, "the chip refuses to write it (is its NVS full?)");
		return;
	}
	if (result == CHAN_OK)
		log_notice("%s: wrote %s, %zu bytes", dev->settings->name, key, blob->len);
	value_read(dev, p->value, key, blob->kind);
}

/* The bytes of one of @want's blobs, into p->blob; what is already told makes it fail. */
static bool value_load(struct device *dev, struct want *want, size_t i)
{
	struct provision *p = dev->provision;
	const struct material_item *item = &dev->material->items[want->item];
	int r;

	r = dev->ops->load_blob(dev->userdata, item, i, &p->blob);
	/* The material may be another one since the place was chosen. */
	if (r == 0 && !cert_blob_equal(p->blob, &want->blobs[i]))
		r = -ESTALE;
	if (r == 0)
		return true;
	p->blob = cert_blob_free(p->blob);
	want_fail(want, r == -ESTALE ? "its files have changed" : strerror(-r));
	return false;
}

static void value_write_now(struct device *dev)
{
	struct provision *p = dev->provision;
	struct want *want = p->want;

	if (!value_load(dev, want, p->index)) {
		p->writes = 0;
		provision_next(dev);
		return;
	}
	p->writes++;
	provision_line(dev, MFG_WRITE, want->keys[p->index]);
	at_line_int(&dev->mfg_cmd.line, MFG_BINARY);
	at_line_int(&dev->mfg_cmd.line, (long)p->blob->len);
	dev->mfg_cmd.kind = CHAN_BLOCK;
	dev->mfg_cmd.payload = p->blob->data;
	dev->mfg_cmd.payload_len = p->blob->len;
	provision_run(dev, value_written);
}

static void value_erased(struct device *dev, enum chan_result result)
{
	/* A key that is not there is ERROR, and as good. */
	provision_count_write(dev, result);
	value_write_now(dev);
}

static void value_write(struct device *dev, struct want *want, size_t i)
{
	struct provision *p = dev->provision;

	p->want = want;
	p->index = i;
	p->value = want_value(dev, want, i);
	p->writes = 0;
	if (p->value->content != SLOT_UNUSABLE) {
		value_write_now(dev);
		return;
	}
	/* A key of another type keeps its old value if it is not erased first (capture 12). */
	provision_line(dev, MFG_ERASE, want->keys[i]);
	provision_run(dev, value_erased);
}

/* ---- our record ---- */

static void record_line(struct device *dev, int op)
{
	provision_begin_op(dev, op);
	at_line_string(&dev->mfg_cmd.line, CONFIG_NVS_OWN);
	at_line_string(&dev->mfg_cmd.line, RECORD_KEY);
}

static void record_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
			size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	struct provision *p = dev->provision;

	if (block->type != AT_BLOCK_SYSMFG || block->kind != MFG_BINARY)
		return;
	if (!data) {
		p->complete = true;
	} else if (len <= sizeof(p->text) - p->text_len) {
		memcpy(p->text + p->text_len, data, len);
		p->text_len += len;
	}
}

static void record_read(struct device *dev,
			void (*step)(struct device *dev, enum chan_result result))
{
	dev->provision->complete = false;
	dev->provision->text_len = 0;
	record_line(dev, MFG_READ);
	dev->mfg_cmd.on_data = record_data;
	provision_run(dev, step);
}

static void record_read_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;

	dev->record_known = true;
	memset(&dev->record, 0, sizeof(dev->record));
	dev->uncounted = 0;
	p->record_unusable = result == CHAN_OK && !p->complete;
	/* ERROR: this chip has none yet. */
	if (result == CHAN_OK &&
	    (!p->complete || record_parse(&dev->record, p->text, p->text_len) < 0))
		log_warning("%s: the record of what is ours on the chip is damaged; what it holds "
			    "is found by its content",
			    dev->settings->name);
	dev->record_stored = dev->record;
	p->kept = dev->record;
	provision_next(dev);
}

static void record_write(struct device *dev);

/* Without it nothing is written either: it would not be known to be ours. */
static void record_give_up(struct device *dev)
{
	struct provision *p = dev->provision;

	p->writes = 0;
	p->record_is_stuck = true;
	dev->uncounted += (int64_t)(dev->record.writes - p->kept.writes);
	dev->record = p->kept;
	for (size_t i = 0; i < p->n_wants; i++) {
		if (p->wants[i].state != WANT_WRITE)
			continue;
		dev->holdings[p->wants[i].item].given_up = true;
		want_fail(&p->wants[i], "the record of what is ours cannot be written");
	}
	provision_next(dev);
}

static void record_compared(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	struct record there;

	if (result == CHAN_OK && p->complete && record_parse(&there, p->text, p->text_len) == 0 &&
	    record_equal(&there, &dev->record)) {
		dev->record_stored = dev->record;
		p->writes = 0;
		provision_next(dev);
		return;
	}
	/* Whatever stands there now, it is not what it should be. */
	memset(&dev->record_stored, 0, sizeof(dev->record_stored));
	if (p->writes >= PROVISION_WRITES_MAX) {
		record_give_up(dev);
		return;
	}
	p->record_unusable = result == CHAN_OK && !p->complete;
	record_write(dev);
}

static void record_written(struct device *dev, enum chan_result result)
{
	dev->mfg_cmd.payload = NULL;
	provision_count_write(dev, result);
	if (result != CHAN_E_ERROR)
		record_read(dev, record_compared);
	else if (dev->provision->writes < PROVISION_REFUSED_MAX)
		record_write(dev);
	else
		record_give_up(dev);
}

/* What is still to be written of @want, and erased before. */
static int64_t want_planned(struct device *dev, struct want *want)
{
	int64_t n = 0;

	for (size_t i = 0; i < want->n_blobs; i++) {
		const struct slot *value = want_value(dev, want, i);

		if (!slot_holds(value, &want->blobs[i]))
			n += value->content == SLOT_UNUSABLE ? 2 : 1;
	}
	return n;
}

static int64_t provision_planned(struct device *dev)
{
	struct provision *p = dev->provision;
	int64_t n = 0;

	/* Of two with the same content the second one has found its twin. */
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].state == WANT_WRITE && !p->wants[i].is_twin)
			n += want_planned(dev, &p->wants[i]);
	return n;
}

static void record_erased(struct device *dev, enum chan_result result)
{
	provision_count_write(dev, result);
	dev->provision->record_unusable = false;
	record_write(dev);
}

static void record_write(struct device *dev)
{
	struct provision *p = dev->provision;
	/* Itself, and those that it speaks of: none of them needs a record of its own. */
	int64_t ahead = provision_planned(dev) + 1;

	/* As value_write() */
	if (p->record_unusable) {
		record_line(dev, MFG_ERASE);
		provision_run(dev, record_erased);
		return;
	}
	p->writes++;
	dev->record.writes += (uint64_t)(dev->uncounted + ahead);
	dev->uncounted = -ahead;
	p->text_len = record_format(&dev->record, p->text);
	record_line(dev, MFG_WRITE);
	at_line_int(&dev->mfg_cmd.line, MFG_BINARY);
	at_line_int(&dev->mfg_cmd.line, (long)p->text_len);
	dev->mfg_cmd.kind = CHAN_BLOCK;
	dev->mfg_cmd.payload = p->text;
	dev->mfg_cmd.payload_len = p->text_len;
	provision_run(dev, record_written);
}

/* @want's keys are ours from now on, or still; what others have written of the same content is not. */
static bool record_claim(struct device *dev, struct want *want)
{
	size_t n = dev->record.n;

	for (size_t i = 0; i < want->n_blobs; i++) {
		const struct record_entry *old = record_find(&dev->record, want->keys[i]);
		struct record_entry e = { .name = want->hash, .generation = want->generation };

		/* Also a half that others have written. */
		if (!old && slot_holds(want_value(dev, want, i), &want->blobs[i]))
			continue;
		if (want->state == WANT_THERE &&
		    (!old || old->name != want->hash ||
		     memcmp(old->digest, want->blobs[i].digest, CERT_DIGEST_SIZE) == 0))
			continue;
		/* It is shared: whoever has come first has his name there. */
		if (old && old->name != want->hash && want->state == WANT_WRITE &&
		    memcmp(old->digest, want->blobs[i].digest, CERT_DIGEST_SIZE) == 0)
			continue;
		memcpy(e.key, want->keys[i], sizeof(e.key));
		memcpy(e.digest, want->blobs[i].digest, CERT_DIGEST_SIZE);
		if (record_put(&dev->record, &e) < 0) {
			dev->record.n = n; /* what is not written is not announced */
			return false;
		}
	}
	return true;
}

/* ---- what nobody uses any more ---- */

static bool key_is_wanted(const struct provision *p, const char *key)
{
	for (size_t i = 0; i < p->n_wants; i++)
		for (size_t k = 0; k < p->wants[i].n_blobs; k++)
			if (strcmp(p->wants[i].keys[k], key) == 0)
				return true;
	return false;
}

static const struct want *want_by_hash(const struct provision *p, uint64_t hash)
{
	const struct want *found = NULL;

	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].hash == hash && (!found || p->wants[i].state == WANT_FAILED))
			found = &p->wants[i];
	return found;
}

/* Ours, but of no name that this chip needs. */
static bool entry_is_orphan(const struct provision *p, const struct record_entry *e)
{
	return !key_is_wanted(p, e->key) && !want_by_hash(p, e->name);
}

/* Of a name that has its newer material in another place. */
static bool entry_is_superseded(const struct provision *p, const struct record_entry *e)
{
	const struct want *want = want_by_hash(p, e->name);

	return !key_is_wanted(p, e->key) && want && want->state == WANT_THERE;
}

static void retire_now(struct device *dev);

static void retire_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;

	provision_count_write(dev, result);
	/* ERROR: it was not there, or its name was not, after a byte lost on the way. */
	if (result == CHAN_E_ERROR && p->erases < PROVISION_REFUSED_MAX) {
		retire_now(dev);
		return;
	}
	if (result == CHAN_OK)
		log_notice("%s: erased %s, which is not used any more", dev->settings->name,
			   p->erasing);
	record_remove(&dev->record, p->erasing);
	/* There is room now. */
	if (p->full)
		p->again = true;
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, p->erasing);

		if (slot >= 0)
			dev->slots.of[kind][slot].content = SLOT_FREE;
	}
	provision_next(dev);
}

static void retire_now(struct device *dev)
{
	struct provision *p = dev->provision;

	p->erases++;
	provision_line(dev, MFG_ERASE, p->erasing);
	provision_run(dev, retire_done);
}

/* Returns true if something is being erased. */
static bool retire_next(struct device *dev)
{
	struct provision *p = dev->provision;

	/* Then device_link_freed() comes back to it. */
	dev->retire_later = p->waits;
	if (p->record_is_stuck)
		return false;
	for (size_t i = 0; i < dev->record.n; i++) {
		const struct record_entry *e = &dev->record.entries[i];

		if (!entry_is_superseded(p, e) && !(dev->erase_orphans && entry_is_orphan(p, e)))
			continue;
		/* By one with the same content until now, whose newer one cannot be had. */
		if (key_is_held(dev, e->key))
			continue;
		if (key_is_in_use(dev, e->key)) {
			dev->retire_later = true;
			continue;
		}
		memcpy(p->erasing, e->key, sizeof(p->erasing));
		p->erases = 0;
		retire_now(dev);
		return true;
	}
	return false;
}

static void note_orphans(struct device *dev)
{
	const struct provision *p = dev->provision;
	struct record orphans = { 0 };

	for (size_t i = 0; i < dev->record.n; i++)
		if (entry_is_orphan(p, &dev->record.entries[i]))
			record_put(&orphans, &dev->record.entries[i]);
	if (!record_equal(&orphans, &dev->orphans))
		for (size_t i = 0; i < orphans.n; i++)
			log_notice(
				"%s: %s is an orphan: espatd has written it (generation %u) for a "
				"name that this chip does not need",
				dev->settings->name, orphans.entries[i].key,
				orphans.entries[i].generation);
	dev->orphans = orphans;
}

/* ---- listings ---- */

static void list_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	enum cert_kind kind = dev->provision->want->blobs[dev->provision->index].kind;
	char key[AT_NVS_NAME_MAX + 1];
	struct slot *value;
	int type, slot;

	if (!at_reply_mfg_entry(text, len, key, &type))
		return;
	slot = slots_of_key(kind, key);
	if (slot < 0)
		return;
	value = &dev->slots.of[kind][slot];
	/* Free until now: somebody else has been there since the chip was brought up. */
	if (value->content == SLOT_UNKNOWN || value->content == SLOT_FREE)
		value->content = type == MFG_BINARY ? SLOT_UNREAD : SLOT_UNUSABLE;
}

static void list_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	enum cert_kind kind = p->want->blobs[p->index].kind;

	/* ERROR: the namespace is empty or does not exist (protocol fact 11). */
	p->listed[kind] = true;
	slots_listed(&dev->slots, kind);
	provision_next(dev);
}

/* Returns true if one of the namespaces that @want needs is being listed. */
static bool list_next(struct device *dev, struct want *want)
{
	struct provision *p = dev->provision;

	for (size_t i = 0; i < want->n_blobs; i++) {
		if (p->listed[want->blobs[i].kind])
			continue;
		p->want = want;
		p->index = i;
		provision_begin_op(dev, MFG_READ);
		at_line_string(&dev->mfg_cmd.line, slots_namespace(want->blobs[i].kind));
		dev->mfg_cmd.on_line = list_line;
		provision_run(dev, list_done);
		return true;
	}
	return false;
}

static void names_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);

	if (strcmp(text, "+SYSMFG:\"wpa_ent_cert\"") == 0)
		dev->eap_is_new = true;
}

static void names_done(struct device *dev, enum chan_result result)
{
	dev->provision->names_read = true;
	provision_collect(dev);
	provision_next(dev);
}

/* ---- what comes next ---- */

/* Returns true if a value of @want is being read: one at a slot that it has, or by its name. */
static bool read_next(struct device *dev, struct want *want)
{
	for (size_t i = 0; i < want->n_blobs; i++) {
		struct slot *value = want_value(dev, want, i);

		if (value->content != SLOT_UNKNOWN && value->content != SLOT_UNREAD)
			continue;
		value_read(dev, value, want->keys[i], want->blobs[i].kind);
		return true;
	}
	return false;
}

/* Where there is no other way to know: by what stands in all slots. Returns true if a command runs. */
static bool place_by_content(struct device *dev, struct want *want)
{
	char key[AT_NVS_NAME_MAX + 1];
	struct slots_choice choice;
	bool waits = false;

	if (want->pinned == CONFIG_SLOT_AUTO && list_next(dev, want))
		return true;
	choice = slots_choose(&dev->slots, want->blobs, want->n_blobs, want->pinned);
	switch (choice.verdict) {
	case SLOTS_READ:
		slots_key(choice.kind, choice.slot, key, sizeof(key));
		value_read(dev, &dev->slots.of[choice.kind][choice.slot], key, choice.kind);
		return true;
	case SLOTS_USE:
	case SLOTS_WRITE:
		break;
	case SLOTS_FULL:
		choice.slot = want_superseded_slot(dev, want, &waits);
		if (choice.slot < 0) {
			dev->provision->waits = dev->provision->waits || waits;
			dev->provision->full = true;
			want_fail(want,
				  waits ? "no slot is free until the links that use its old one "
					  "have closed"
					: "no slot is free: erase one, or pin it with `slot`");
			return false;
		}
		break;
	}
	want_take_slot(dev, want, choice.slot);
	want_settle(dev, want);
	return false;
}

static bool place_with_twin(struct device *dev, struct want *want)
{
	const struct want *twin = want_find_twin(dev->provision, want);

	if (want->pinned != CONFIG_SLOT_AUTO || !twin)
		return false;
	want_take_slot(dev, want, twin->slot);
	want->state = twin->state;
	want->is_twin = true;
	return true;
}

/* Finds the place of @want. Returns true if a command runs, after which it is asked again. */
static bool place_next(struct device *dev, struct want *want)
{
	int slot;

	if (want->named) {
		if (read_next(dev, want))
			return true;
		want_settle(dev, want);
		return false;
	}
	if (place_with_twin(dev, want))
		return false;
	slot = want_recorded_slot(dev, want);
	if (slot < 0)
		return place_by_content(dev, want);
	want_take_slot(dev, want, slot);
	if (read_next(dev, want))
		return true;
	want_settle(dev, want);
	return false;
}

/*
 * All that is to be written of @want is looked at before the first of it goes: in its place there may
 * be an old pair that is of more use than half of a new one.
 */
static void want_try(struct device *dev, struct want *want)
{
	struct provision *p = dev->provision;

	for (size_t i = 0; i < want->n_blobs && !want->readable; i++) {
		if (slot_holds(want_value(dev, want, i), &want->blobs[i]))
			continue;
		if (!value_load(dev, want, i))
			return;
		p->blob = cert_blob_free(p->blob);
	}
	want->readable = true;
}

/* Returns true if a value is being written. */
static bool write_next(struct device *dev, struct want *want)
{
	for (size_t i = 0; i < want->n_blobs; i++) {
		if (slot_holds(want_value(dev, want, i), &want->blobs[i]))
			continue;
		value_write(dev, want, i);
		return true;
	}
	want_settle(dev, want);
	return false;
}

static void note_keys(struct device *dev, const struct want *want)
{
	for (size_t i = 0; i < want->n_blobs && dev->n_keys < RECORD_MAX; i++) {
		struct device_key *key = &dev->keys[dev->n_keys++];

		*key = (struct device_key){
			.kind = want->blobs[i].kind,
			.name = want->name,
			.generation = want->generation,
			.len = want->blobs[i].len,
		};
		memcpy(key->key, want->keys[i], sizeof(key->key));
		memcpy(key->digest, want->blobs[i].digest, sizeof(key->digest));
	}
}

/* New connections use the new places from here on. */
static void provision_switch(struct device *dev)
{
	struct provision *p = dev->provision;

	dev->n_keys = 0;
	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *want = &p->wants[i];
		struct holding *h = &dev->holdings[want->item];

		if (want->state == WANT_THERE)
			note_keys(dev, want);
		if (want->named || want->state != WANT_THERE)
			continue;
		if (!p->up && h->slot >= 0 && h->generation != want->generation)
			log_notice("%s: %s %s is generation %u now, in slot %d",
				   dev->settings->name, want->what, want->name, want->generation,
				   want->slot);
		h->slot = want->slot;
		h->generation = want->generation;
		h->suspected = false;
		for (size_t k = 0; k < want->n_blobs; k++)
			h->blobs[k] = want->blobs[k];
	}
}

/* What is broken and could not be repaired is not there. Returns true if there is such. */
static bool provision_drop_broken(struct device *dev)
{
	struct provision *p = dev->provision;
	bool any = false;

	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *want = &p->wants[i];
		struct holding *h = &dev->holdings[want->item];

		if (want->state != WANT_FAILED || !holding_is_broken(dev, want))
			continue;
		*h = (struct holding){
			.slot = -1,
			.told = h->told,
			.given_up = h->given_up,
		};
		any = true;
	}
	return any;
}

/* Once, though it may be tried again whenever a link goes. */
static void tell_failed(struct device *dev)
{
	struct provision *p = dev->provision;

	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *want = &p->wants[i];
		struct holding *h = &dev->holdings[want->item];

		if (want->state != WANT_FAILED || h->told)
			continue;
		h->told = true;
		log_error("%s: %s %s is not on the chip: %s", dev->settings->name, want->what,
			  want->name, want->why);
	}
}

static void provision_finish(struct device *dev)
{
	struct provision *p = dev->provision;
	bool up = p->up, again = p->again;
	uint64_t before = p->writes_before;
	bool wrote = dev->flash_writes != before;

	if (wrote)
		log_info("%s: %" PRIu64 " flash writes, %" PRIu64 " by espatd in this chip's life",
			 dev->settings->name, dev->flash_writes - p->writes_before,
			 dev->record.writes + (uint64_t)dev->uncounted);
	if (!again) {
		tell_failed(dev);
		wrote = provision_drop_broken(dev) || wrote;
	}
	note_orphans(dev);
	for (size_t i = 0; i < p->n_wants && up; i++)
		if (p->wants[i].state == WANT_FAILED)
			dev->incomplete = true;
	provision_stop(dev);
	if (again) {
		if (up)
			provision_start(dev);
		else
			provision_begin_all(dev, false, before);
		return;
	}
	if (!up) {
		diagnose_rechecked(dev, wrote);
		device_notify_room(dev);
		return;
	}
	device_enter_state(dev, dev->provision_only ? DEVICE_PROVISIONED : DEVICE_JOINING);
}

static bool provision_has_writes(const struct provision *p)
{
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].state == WANT_WRITE)
			return true;
	return false;
}

/* Returns true if the record is being written, because it says something else than the chip's. */
static bool record_next(struct device *dev)
{
	struct provision *p = dev->provision;

	if (p->record_is_stuck)
		return false;
	for (size_t i = 0; i < p->n_wants; i++) {
		struct want *want = &p->wants[i];

		if (want->state == WANT_FAILED || record_claim(dev, want))
			continue;
		want_fail(want, "the record of what is ours is full");
	}
	if (record_equal(&dev->record, &dev->record_stored))
		return false;
	record_write(dev);
	return true;
}

static void provision_next(struct device *dev)
{
	struct provision *p = dev->provision;

	if (!dev->record_known) {
		record_read(dev, record_read_done);
		return;
	}
	if (!p->names_read) {
		provision_begin(dev, "AT+SYSMFG?");
		dev->mfg_cmd.on_line = names_line;
		provision_run(dev, names_done);
		return;
	}
	for (size_t i = 0; i < p->n_wants; i++)
		while (p->wants[i].state == WANT_OPEN)
			if (place_next(dev, &p->wants[i]))
				return;
	/* Where there was no room, somebody else may have taken his old slot with the same since. */
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].state == WANT_FAILED)
			place_with_twin(dev, &p->wants[i]);
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].state == WANT_WRITE)
			want_try(dev, &p->wants[i]);
	p->writes = 0;
	/* Before what it speaks of. */
	if (provision_has_writes(p) && record_next(dev))
		return;
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].state == WANT_WRITE && write_next(dev, &p->wants[i]))
			return;
	provision_switch(dev);
	if (retire_next(dev) || record_next(dev))
		return;
	provision_finish(dev);
}

/* ---- beginnings ---- */

/* Whether other material is pinned to the slot that was good enough for this one. */
static bool want_is_displaced(const struct provision *p, const struct want *want, int slot)
{
	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *other = &p->wants[i];

		if (other != want && !other->named && other->pinned == slot &&
		    other->blobs[0].kind == want->blobs[0].kind && !want_is_equal(other, want))
			return true;
	}
	return false;
}

/* In service: what is known to be in its place stays there. */
static void provision_keep(struct device *dev)
{
	struct provision *p = dev->provision;

	for (size_t i = 0; i < p->n_wants; i++) {
		struct want *want = &p->wants[i];
		const struct holding *h = &dev->holdings[want->item];
		bool same = !want->named && h->slot >= 0 &&
			    (want->pinned == CONFIG_SLOT_AUTO || want->pinned == h->slot) &&
			    !want_is_displaced(p, want, h->slot);

		for (size_t k = 0; k < want->n_blobs && same; k++)
			same = cert_blob_equal(&want->blobs[k], &h->blobs[k]);
		if (!same && h->given_up)
			want_fail(want, "the chip did not take it");
		if (!same)
			continue;
		want_take_slot(dev, want, h->slot);
		for (size_t k = 0; k < want->n_blobs && h->suspected; k++)
			want_value(dev, want, k)->content = SLOT_UNKNOWN;
		if (!h->suspected)
			want_settle(dev, want);
	}
}

static void provision_begin_all(struct device *dev, bool up, uint64_t writes_before)
{
	struct provision *p;

	if (provision_new(dev) < 0) {
		device_fail(dev, "out of memory");
		return;
	}
	p = dev->provision;
	p->up = up;
	p->kept = dev->record;
	p->writes_before = writes_before;
	for (int kind = 0; kind < 3; kind++) {
		for (int slot = 0; slot < SLOTS_COUNT; slot++)
			dev->slots.of[kind][slot].taken = false;
		p->listed[kind] = false;
	}
	p->names_read = !device_wants_enterprise(dev) || !up;
	if (p->names_read)
		provision_collect(dev);
	if (!up)
		provision_keep(dev);
	provision_next(dev);
}

void provision_start(struct device *dev)
{
	memset(&dev->slots, 0, sizeof(dev->slots));
	for (size_t i = 0; i < dev->material->n_items; i++)
		dev->holdings[i] = (struct holding){ .slot = -1 };
	dev->record_known = false;
	dev->incomplete = false;
	dev->eap_is_new = false;
	provision_begin_all(dev, true, dev->flash_writes);
}

void provision_again(struct device *dev)
{
	if (dev->provision) {
		dev->provision->again = true;
		return;
	}
	if (dev->state == DEVICE_READY || dev->state == DEVICE_JOINING ||
	    dev->state == DEVICE_CLOCK)
		provision_begin_all(dev, false, dev->flash_writes);
}

void device_provision(struct device *dev)
{
	for (size_t i = 0; i < dev->material->n_items; i++) {
		dev->holdings[i].told = false;
		dev->holdings[i].given_up = false;
	}
	provision_again(dev);
}

bool provision_recheck(struct device *dev, int ca, int pki)
{
	bool any = false;

	if (dev->provision)
		return false;
	for (size_t i = 0; i < dev->material->n_items; i++) {
		struct holding *h = &dev->holdings[i];
		bool is_ca = dev->material->items[i].type == MATERIAL_AUTHORITY;

		if (h->slot < 0 || h->slot != (is_ca ? ca : pki))
			continue;
		h->suspected = true;
		any = true;
	}
	if (any)
		provision_again(dev);
	return any;
}

bool provision_is_in_place(const struct device *dev)
{
	const struct provision *p = dev->provision;

	for (size_t i = 0; p && i < p->n_wants; i++) {
		const struct want *want = &p->wants[i];

		/* Its own material is on its way, or that of a name which is pinned there. */
		if ((want->state == WANT_WRITE && !want->named &&
		     want->slot == dev->holdings[want->item].slot) ||
		    holding_is_broken(dev, want))
			return true;
	}
	return false;
}
