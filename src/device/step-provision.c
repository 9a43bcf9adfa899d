/* SPDX-License-Identifier: MIT */
/*
 * Certificates and keys into the chip's manufacturing NVS: what is there is read and compared, only
 * what is missing is written, and what was written is read back. Only what the tunnels of this chip
 * need goes to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "device/internal.h"
#include "util/log.h"

/* SYSMFG's types (protocol fact 10): a PEM stored as a string is not found (fact 7). */
#define MFG_BINARY 8
/* A blob that does not read back right is written this often before we give up. */
#define PROVISION_WRITES_MAX 3

/* An authority or identity that this chip needs. */
struct item {
	const char *what;           /* "authority" or "identity" */
	const char *name;           /* weak */
	struct cert_blob *blobs[2]; /* weak */
	size_t n_blobs;
	int pinned;
	int *slot; /* where the result goes */
};

struct provision {
	struct item *items;
	size_t n_items;
	size_t current;
	enum cert_kind listing;
	/* the key that is read or written */
	enum cert_kind kind;
	int slot;
	const struct cert_blob *blob; /* weak; NULL: just looking */
	unsigned int writes;          /* of this blob */
	struct cert_digest *digest;
	bool complete; /* the blob was read to its end */
};

static void provision_item(struct device *dev);
static void provision_read(struct device *dev);

/* ---- what this chip needs ---- */

static bool tunnel_is_ours(const struct device *dev, const struct config_tunnel *tunnel)
{
	return tunnel->device == dev->settings;
}

static bool needs_authority(const struct device *dev, const struct config_authority *authority)
{
	for (size_t i = 0; i < dev->config->n_tunnels; i++)
		if (tunnel_is_ours(dev, &dev->config->tunnels[i]) &&
		    dev->config->tunnels[i].authority == authority)
			return true;
	return false;
}

static bool needs_identity(const struct device *dev, const struct config_identity *identity)
{
	for (size_t i = 0; i < dev->config->n_tunnels; i++)
		if (tunnel_is_ours(dev, &dev->config->tunnels[i]) &&
		    dev->config->tunnels[i].identity == identity)
			return true;
	return false;
}

/* Pinned ones first: what may be anywhere must not take their slots. */
static void provision_add(struct provision *p, struct item item)
{
	size_t at = item.pinned == CONFIG_SLOT_AUTO ? p->n_items : 0;

	memmove(&p->items[at + 1], &p->items[at], (p->n_items - at) * sizeof(item));
	p->items[at] = item;
	p->n_items++;
}

static int provision_new(struct device *dev)
{
	const struct material *m = dev->material;
	struct provision *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	dev->provision = p;
	p->items = calloc(m->n_authorities + m->n_identities + 1, sizeof(*p->items));
	if (!p->items || cert_digest_new(&p->digest) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_authorities; i++) {
		dev->authority_slot[i] = -1;
		if (needs_authority(dev, m->authorities[i].config))
			provision_add(p, (struct item){
						 .what = "authority",
						 .name = m->authorities[i].config->name,
						 .blobs = { m->authorities[i].ca },
						 .n_blobs = 1,
						 .pinned = m->authorities[i].config->slot,
						 .slot = &dev->authority_slot[i],
					 });
	}
	for (size_t i = 0; i < m->n_identities; i++) {
		dev->identity_slot[i] = -1;
		if (needs_identity(dev, m->identities[i].config))
			provision_add(
				p, (struct item){
					   .what = "identity",
					   .name = m->identities[i].config->name,
					   .blobs = { m->identities[i].cert, m->identities[i].key },
					   .n_blobs = 2,
					   .pinned = m->identities[i].config->slot,
					   .slot = &dev->identity_slot[i],
				   });
	}
	return 0;
}

void provision_stop(struct device *dev)
{
	struct provision *p = dev->provision;

	if (!p)
		return;
	cert_digest_free(p->digest);
	free(p->items);
	free(p);
	dev->provision = NULL;
}

/* ---- one key ---- */

static struct slot *provision_slot(struct device *dev)
{
	return &dev->slots.of[dev->provision->kind][dev->provision->slot];
}

/* A command about the current key: `AT+SYSMFG=<op>,"<ns>","<key>"` */
static void provision_line(struct device *dev, int op)
{
	struct provision *p = dev->provision;
	char key[AT_NVS_NAME_MAX + 1];

	slots_key(p->kind, p->slot, key, sizeof(key));
	device_begin(dev, "AT+SYSMFG");
	at_line_int(&dev->cmd.line, op);
	at_line_string(&dev->cmd.line, slots_namespace(p->kind));
	at_line_string(&dev->cmd.line, key);
}

/* ---- writing ---- */

static void provision_written(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	char key[AT_NVS_NAME_MAX + 1];

	slots_key(p->kind, p->slot, key, sizeof(key));
	dev->cmd.payload = NULL;
	if (result != CHAN_OK && p->writes >= PROVISION_WRITES_MAX) {
		device_fail(dev, "writing %s failed: %s", key, chan_result_text(result));
		return;
	}
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_E_ERROR)
		dev->flash_writes++;
	if (result == CHAN_OK)
		log_notice("%s: wrote %s, %zu bytes", dev->settings->name, key, p->blob->len);
	provision_read(dev);
}

static void provision_write_now(struct device *dev)
{
	struct provision *p = dev->provision;

	p->writes++;
	provision_line(dev, 2);
	at_line_int(&dev->cmd.line, MFG_BINARY);
	at_line_int(&dev->cmd.line, (long)p->blob->len);
	at_line_end(&dev->cmd.line);
	dev->cmd.kind = CHAN_BLOCK;
	dev->cmd.payload = p->blob->data;
	dev->cmd.payload_len = p->blob->len;
	device_run(dev, DEVICE_TIMEOUT_FLASH, NULL, provision_written);
}

static void provision_erased(struct device *dev, enum chan_result result)
{
	/* A key that is not there is ERROR, and as good. */
	if (result != CHAN_E_TIMEOUT)
		provision_write_now(dev);
}

static void provision_write(struct device *dev, const struct cert_blob *blob, int slot)
{
	struct provision *p = dev->provision;

	p->kind = blob->kind;
	p->slot = slot;
	p->blob = blob;
	p->writes = 0;
	if (provision_slot(dev)->content != SLOT_UNUSABLE) {
		provision_write_now(dev);
		return;
	}
	/* A key of another type keeps its old value if it is not erased first (capture 12). */
	provision_line(dev, 0);
	at_line_end(&dev->cmd.line);
	dev->flash_writes++;
	device_run(dev, DEVICE_TIMEOUT_FLASH, NULL, provision_erased);
}

/* ---- reading ---- */

static void provision_read_data(struct chan_cmd *cmd, const struct at_block *block,
				const uint8_t *data, size_t len)
{
	struct device *dev = device_of_cmd(cmd);
	struct provision *p = dev->provision;

	if (block->type != AT_BLOCK_SYSMFG || block->kind != MFG_BINARY)
		return;
	if (data)
		cert_digest_update(p->digest, data, len);
	else
		p->complete = true;
}

static void provision_read_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	struct slot *slot = provision_slot(dev);
	char key[AT_NVS_NAME_MAX + 1];

	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	slot->content = SLOT_UNUSABLE;
	if (result == CHAN_OK && p->complete && cert_digest_final(p->digest, slot->digest) == 0)
		slot->content = SLOT_READ;
	if (!p->blob || slots_holds(&dev->slots, p->slot, p->blob)) {
		provision_item(dev);
		return;
	}
	slots_key(p->kind, p->slot, key, sizeof(key));
	if (p->writes >= PROVISION_WRITES_MAX) {
		device_fail(dev, "%s does not read back as it was written", key);
		return;
	}
	log_warning("%s: %s does not read back as it was written, writing it again",
		    dev->settings->name, key);
	provision_write_now(dev);
}

static void provision_read(struct device *dev)
{
	struct provision *p = dev->provision;

	p->complete = false;
	cert_digest_reset(p->digest);
	provision_line(dev, 1);
	at_line_end(&dev->cmd.line);
	dev->cmd.on_data = provision_read_data;
	dev->cmd.secret_reply = p->kind == CERT_KIND_KEY;
	device_run(dev, DEVICE_TIMEOUT_FLASH, NULL, provision_read_done);
}

/* ---- items ---- */

static void provision_item(struct device *dev)
{
	struct provision *p = dev->provision;
	struct slots_choice choice;
	struct item *item;

	if (p->current == p->n_items) {
		provision_stop(dev);
		device_enter_state(dev, DEVICE_JOINING);
		return;
	}
	item = &p->items[p->current];
	/* Where writing has begun it goes on, whatever else has become possible. */
	choice = slots_choose(&dev->slots, item->blobs, item->n_blobs,
			      *item->slot >= 0 ? *item->slot : item->pinned);
	switch (choice.verdict) {
	case SLOTS_USE:
		*item->slot = choice.slot;
		log_info("%s: %s %s is in slot %d", dev->settings->name, item->what, item->name,
			 choice.slot);
		p->current++;
		provision_item(dev);
		return;
	case SLOTS_READ:
		p->kind = choice.kind;
		p->slot = choice.slot;
		p->blob = NULL;
		provision_read(dev);
		return;
	case SLOTS_WRITE:
		*item->slot = choice.slot;
		for (size_t i = 0; i < item->n_blobs; i++)
			if (!slots_holds(&dev->slots, choice.slot, item->blobs[i])) {
				provision_write(dev, item->blobs[i], choice.slot);
				return;
			}
		return;
	case SLOTS_FULL:
		device_fail(dev, "no slot is free for %s %s: erase one, or pin it with `slot`",
			    item->what, item->name);
		return;
	}
}

/* ---- what is there ---- */

static void provision_list(struct device *dev);

static void provision_list_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);
	enum cert_kind kind = dev->provision->listing;
	char key[AT_NVS_NAME_MAX + 1];
	int type, slot;

	if (!at_reply_mfg_entry(text, len, key, &type))
		return;
	slot = slots_of_key(kind, key);
	if (slot >= 0)
		dev->slots.of[kind][slot].content = type == MFG_BINARY ? SLOT_UNREAD
								       : SLOT_UNUSABLE;
}

static void provision_listed(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	/* ERROR: the namespace is empty or does not exist (protocol fact 11). */
	dev->provision->listing++;
	provision_list(dev);
}

static bool provision_needs_kind(const struct provision *p, enum cert_kind kind)
{
	for (size_t i = 0; i < p->n_items; i++)
		for (size_t k = 0; k < p->items[i].n_blobs; k++)
			if (p->items[i].blobs[k]->kind == kind)
				return true;
	return false;
}

static void provision_list(struct device *dev)
{
	struct provision *p = dev->provision;

	while (p->listing <= CERT_KIND_KEY && !provision_needs_kind(p, p->listing))
		p->listing++;
	if (p->listing > CERT_KIND_KEY) {
		provision_item(dev);
		return;
	}
	device_begin(dev, "AT+SYSMFG");
	at_line_int(&dev->cmd.line, 1);
	at_line_string(&dev->cmd.line, slots_namespace(p->listing));
	at_line_end(&dev->cmd.line);
	device_run(dev, DEVICE_TIMEOUT_FLASH, provision_list_line, provision_listed);
}

void provision_start(struct device *dev)
{
	memset(&dev->slots, 0, sizeof(dev->slots));
	if (provision_new(dev) < 0) {
		device_fail(dev, "out of memory");
		return;
	}
	provision_list(dev);
}
