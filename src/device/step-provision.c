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
#include <inttypes.h>
#include <string.h>

#include "device/provision.h"
#include "util/log.h"

static void provision_begin_all(struct device *dev, bool up, uint64_t writes_before);

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
	/* After a write that was cut off there is but the copy. */
	if (record_equal(&dev->record, &dev->record_stored) &&
	    (dev->record_is_whole || dev->record.n == 0 || !p->up))
		return false;
	record_write(dev);
	return true;
}

void provision_next(struct device *dev)
{
	struct provision *p = dev->provision;

	if (!dev->record_known) {
		record_read_all(dev);
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
