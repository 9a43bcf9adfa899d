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
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device/provision.h"

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
	if (value->content == SLOT_UNKNOWN || slot_is_free(value))
		value->content = type == MFG_BINARY ? SLOT_UNREAD : SLOT_UNUSABLE;
}

static void list_now(struct device *dev);

static void list_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	enum cert_kind kind = p->want->blobs[p->index].kind;

	if (provision_asks_again(dev, result)) {
		list_now(dev);
		return;
	}
	/* ERROR: the namespace is empty or does not exist (protocol fact 11). */
	p->listed[kind] = true;
	slots_listed(&dev->slots, kind);
	provision_next(dev);
}

static void list_now(struct device *dev)
{
	struct provision *p = dev->provision;

	provision_begin_op(dev, MFG_READ);
	at_line_string(&dev->mfg_cmd.line, slots_namespace(p->want->blobs[p->index].kind));
	dev->mfg_cmd.on_line = list_line;
	provision_run(dev, list_done);
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
		list_now(dev);
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
	if (provision_collect(dev) < 0)
		device_fail(dev, "out of memory");
	else
		provision_next(dev);
}

/* ---- what comes next ---- */

static void provision_looked(struct device *dev, enum value_end end)
{
	provision_next(dev);
}

static void provision_read(struct device *dev, struct slot *value, const char *key,
			   enum cert_kind kind)
{
	struct value_io *io = &dev->provision->io;

	io->value = value;
	io->kind = kind;
	snprintf(io->key, sizeof(io->key), "%s", key);
	io->done = provision_looked;
	value_read(dev, io);
}

/* Returns true if a value of @want is being read: one at a slot that it has, or by its name. */
static bool read_next(struct device *dev, struct want *want)
{
	for (size_t i = 0; i < want->n_blobs; i++) {
		struct slot *value = want_value(dev, want, i);

		if (!slot_is_to_be_read(value))
			continue;
		provision_read(dev, value, want->keys[i], want->blobs[i].kind);
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
		provision_read(dev, &dev->slots.of[choice.kind][choice.slot], key, choice.kind);
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
	/* Not to be written to because a listing was damaged. */
	if (slots_unsure(&dev->slots, choice.slot, want->blobs, want->n_blobs, &choice.kind)) {
		slots_key(choice.kind, choice.slot, key, sizeof(key));
		provision_read(dev, &dev->slots.of[choice.kind][choice.slot], key, choice.kind);
		return true;
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
	struct cert_blob *blob = NULL;

	for (size_t i = 0; i < want->n_blobs && !want->readable; i++) {
		if (slot_holds(want_value(dev, want, i), &want->blobs[i]))
			continue;
		if (want_load(dev, want, i, &blob) < 0)
			return;
		blob = cert_blob_free(blob);
	}
	want->readable = true;
}

static int provision_load(struct device *dev, struct value_io *io)
{
	struct provision *p = dev->provision;

	return want_load(dev, p->want, p->index, &io->bytes);
}

/*
 * Not tried again before the next bring-up, as each try wears the flash out. The other values, and
 * the tunnels that need no more than those, go on.
 */
static void provision_give_up(struct device *dev, const char *why)
{
	dev->holdings[dev->provision->want->item].given_up = true;
	want_fail(dev->provision->want, why);
}

static void provision_wrote(struct device *dev, enum value_end end)
{
	lost_write_ends(dev, end == VALUE_END_DONE);
	values_forget(dev, dev->provision->io.key);
	switch (end) {
	case VALUE_END_DONE:
	case VALUE_END_NOT_HAD: /* want_load() has said why */
		break;
	case VALUE_END_REFUSED:
		provision_give_up(dev, "the chip refuses to write it (is its NVS full?)");
		break;
	case VALUE_END_DIFFERS:
		provision_give_up(dev, "it does not read back as it was written");
		break;
	}
	provision_next(dev);
}

static void provision_write(struct device *dev, struct want *want, size_t i)
{
	struct provision *p = dev->provision;
	struct value_io *io = &p->io;

	p->want = want;
	p->index = i;
	io->value = want_value(dev, want, i);
	io->kind = want->blobs[i].kind;
	io->blob = &want->blobs[i];
	snprintf(io->key, sizeof(io->key), "%s", want->keys[i]);
	io->load = provision_load;
	io->done = provision_wrote;
	if (lost_is_left_alone(dev, io->blob->digest)) {
		provision_give_up(dev,
				  "its writes get no answer (is the supply too weak, or the line "
				  "bad?), it is tried again in a while");
		provision_next(dev);
		return;
	}
	lost_write_begins(dev, io->blob->digest);
	value_write(dev, io);
}

/* Returns true if a value is being written. */
static bool write_next(struct device *dev, struct want *want)
{
	for (size_t i = 0; i < want->n_blobs; i++) {
		if (slot_holds(want_value(dev, want, i), &want->blobs[i]))
			continue;
		provision_write(dev, want, i);
		return true;
	}
	want_settle(dev, want);
	return false;
}

static enum material_type want_type(const struct want *want)
{
	if (strcmp(want->what, "nvs") == 0)
		return MATERIAL_NVS;
	return strcmp(want->what, "identity") == 0 ? MATERIAL_IDENTITY : MATERIAL_AUTHORITY;
}

static void note_keys(struct device *dev, const struct want *want)
{
	enum material_type type = want_type(want);

	for (size_t i = 0; i < want->n_blobs && dev->n_keys < RECORD_MAX; i++) {
		struct device_key *key = &dev->keys[dev->n_keys++];

		*key = (struct device_key){
			.kind = want->blobs[i].kind,
			.type = type,
			.wifi = want->named && type != MATERIAL_NVS,
			.generation = want->generation,
			.len = want->blobs[i].len,
		};
		memcpy(key->key, want->keys[i], sizeof(key->key));
		memcpy(key->name, want->name, sizeof(key->name));
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
			dev_notice(dev, "%s %s is generation %u now, in slot %d", want->what,
				   want->name, want->generation, want->slot);
		h->slot = want->slot;
		h->generation = want->generation;
		h->suspected = false;
		h->n_blobs = want->n_blobs;
		for (size_t k = 0; k < want->n_blobs; k++)
			h->blobs[k] = want->blobs[k];
	}
}

/* New connections do not use it any more; what is known of the trouble with it stays. */
static void holding_drop(struct holding *h)
{
	h->slot = -1;
	h->generation = 0;
	h->n_blobs = 0;
	h->suspected = false;
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
		holding_drop(h);
		any = true;
	}
	return any;
}

/* Once, though it may be tried again whenever a link goes. */
static void tell_failed(struct device *dev)
{
	struct provision *p = dev->provision;

	for (size_t i = 0; i < dev->material->n_items; i++)
		dev->holdings[i].why[0] = '\0';
	for (size_t i = 0; i < p->n_wants; i++) {
		const struct want *want = &p->wants[i];
		struct holding *h = &dev->holdings[want->item];

		if (want->state != WANT_FAILED)
			continue;
		snprintf(h->why, sizeof(h->why), "%s", want->why);
		if (h->told)
			continue;
		h->told = true;
		dev_error(dev, "%s %s is not on the chip: %s", want->what, want->name, want->why);
	}
}

/* What was read and written of before the chip left service is not known to stand there still. */
static bool provision_is_done(const struct device *dev)
{
	if (dev->provision)
		return false;
	switch (dev->state) {
	case DEVICE_JOINING:
	case DEVICE_CLOCK:
	case DEVICE_READY:
	case DEVICE_PROVISIONED:
	case DEVICE_OFFLINE:
		return true;
	case DEVICE_ABSENT:
	case DEVICE_PROBING:
	case DEVICE_IDENTIFYING:
	case DEVICE_UNKNOWN_CHIP:
	case DEVICE_CONFIGURING:
	case DEVICE_TUNING:
	case DEVICE_PROVISIONING:
	case DEVICE_FAILED:
		break;
	}
	return false;
}

static void provision_tell(struct device *dev)
{
	/* The next state may have failed at once. */
	if (!provision_is_done(dev))
		return;
	list_for_each_safe(node, &dev->watches) {
		struct device_watch *watch = container_of(node, struct device_watch, node);

		if (watch->provisioned)
			watch->provisioned(watch, dev);
	}
}

/* A shortage of the host's passes, and nobody would ask for its material again. */
static void unread_wait(struct device *dev)
{
	uint64_t delay = PROVISION_UNREAD << dev->unread_times;

	if (delay < PROVISION_UNREAD_MAX)
		dev->unread_times++;
	timer_arm(&dev->unread_timer, delay);
}

static void unread_plan(struct device *dev)
{
	struct provision *p = dev->provision;
	bool any = false;

	for (size_t i = 0; i < p->n_wants; i++)
		any = any || (p->wants[i].state == WANT_FAILED && p->wants[i].unread);
	timer_cancel(&dev->unread_timer);
	if (any && !dev->provision_only)
		unread_wait(dev);
	else
		dev->unread_times = 0;
}

void provision_unread_is_due(struct timer *timer)
{
	/* Of a chip that is not in service it is tried when it comes back. */
	provision_again(container_of(timer, struct device, unread_timer));
}

static void provision_finish(struct device *dev)
{
	struct provision *p = dev->provision;
	bool up = p->up, again = p->again;
	uint64_t before = p->writes_before;
	bool wrote = dev->flash_writes != before;

	/* Else its successor tells of them. */
	if (wrote && (up || !again))
		dev_info(dev, "%" PRIu64 " flash writes, %" PRIu64 " by espatd in this chip's life",
			 dev->flash_writes - p->writes_before,
			 dev->record.writes + (uint64_t)dev->uncounted);
	if (!again) {
		tell_failed(dev);
		wrote = provision_drop_broken(dev) || wrote;
		forget_erased_names(dev);
	}
	note_orphans(dev);
	for (size_t i = 0; i < p->n_wants && up; i++)
		if (p->wants[i].state == WANT_FAILED)
			dev->incomplete = true;
	unread_plan(dev);
	provision_stop(dev);
	if (again) {
		if (up)
			provision_start(dev);
		else
			provision_begin_all(dev, false, before);
		return;
	}
	if (up)
		device_enter_state(dev, dev->provision_only ? DEVICE_PROVISIONED : DEVICE_JOINING);
	else
		diagnose_rechecked(dev, wrote);
	device_note(dev, DEVICE_FACT_VALUES);
	provision_tell(dev);
	if (!up)
		device_notify_room(dev);
	values_resume(dev);
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

		if (other != want && !other->named && other->n_blobs > 0 && other->pinned == slot &&
		    other->blobs[0].kind == want->blobs[0].kind && !want_is_equal(other, want))
			return true;
	}
	return false;
}

static bool item_has_slot(const struct provision *p, size_t item)
{
	for (size_t i = 0; i < p->n_wants; i++)
		if (p->wants[i].item == item && !p->wants[i].named &&
		    p->wants[i].state != WANT_NONE)
			return true;
	return false;
}

/* In service: what is known to be in its place stays there. */
static void provision_keep(struct device *dev)
{
	struct provision *p = dev->provision;

	/* After another configuration: what no tunnel needs any more, or nobody has set. */
	for (size_t i = 0; i <= dev->material->n_items; i++)
		if (!item_has_slot(p, i))
			holding_drop(&dev->holdings[i]);
	for (size_t i = 0; i < p->n_wants; i++) {
		struct want *want = &p->wants[i];
		const struct holding *h = &dev->holdings[want->item];
		bool same = !want->named && h->slot >= 0 &&
			    (want->pinned == CONFIG_SLOT_AUTO || want->pinned == h->slot) &&
			    want->n_blobs == h->n_blobs && !want_is_displaced(p, want, h->slot);

		if (want->state == WANT_NONE)
			continue;
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

/* Of a chip in service, what is there serves until there is memory. */
static void provision_has_no_memory(struct device *dev, bool up)
{
	if (up) {
		device_fail(dev, "out of memory");
		return;
	}
	dev_warning(dev, "out of memory, its certificates are looked at again later");
	provision_stop(dev);
	unread_wait(dev);
}

static void provision_begin_all(struct device *dev, bool up, uint64_t writes_before)
{
	struct provision *p;

	if (provision_new(dev) < 0) {
		provision_has_no_memory(dev, up);
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
	if (p->names_read && provision_collect(dev) < 0) {
		provision_has_no_memory(dev, up);
		return;
	}
	if (!up)
		provision_keep(dev);
	provision_next(dev);
}

void provision_start(struct device *dev)
{
	lost_note(dev);
	memset(&dev->slots, 0, sizeof(dev->slots));
	for (size_t i = 0; i <= dev->material->n_items; i++)
		dev->holdings[i] = (struct holding){ .slot = -1 };
	dev->provision_later = false;
	values_check_chip(dev);
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
	/* It comes back to it. */
	if (values_are_busy(dev)) {
		dev->provision_later = true;
		return;
	}
	if (dev->state == DEVICE_READY || dev->state == DEVICE_JOINING ||
	    dev->state == DEVICE_CLOCK || dev->state == DEVICE_OFFLINE)
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

	if (dev->provision || values_are_busy(dev))
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

/* ---- what others ask for ---- */

void device_keep_old(struct device *dev, bool keep)
{
	bool due = !keep && dev->kept_old;

	dev->keep_old = keep;
	if (due)
		provision_again(dev);
}

void device_erase_name(struct device *dev, const char *what, const char *name)
{
	uint64_t hash = record_name(what, name);

	if (dev->state == DEVICE_ABSENT || dev->state == DEVICE_UNKNOWN_CHIP)
		return;
	if (dev->n_erase_names == DEVICE_ERASE_NAMES_MAX) {
		dev_notice(dev, "too many names go at once: what is on the chip of the first ones "
				"stays there as orphans");
		dev->n_erase_names--;
		memmove(dev->erase_names, dev->erase_names + 1,
			dev->n_erase_names * sizeof(*dev->erase_names));
	}
	dev->erase_names[dev->n_erase_names++] = hash;
	provision_again(dev);
}

enum device_item_state device_erase_state(const struct device *dev, const char *what,
					  const char *name, const char **why)
{
	uint64_t hash = record_name(what, name);
	bool left = false;

	*why = NULL;
	if (!provision_is_done(dev) || dev->provision_later)
		return DEVICE_ITEM_PENDING;
	for (size_t i = 0; i < dev->n_erase_names; i++)
		left = left || dev->erase_names[i] == hash;
	if (!left)
		return DEVICE_ITEM_NOT_NEEDED;
	*why = dev->retire_later ? "it goes when the links that use it have closed"
				 : "the chip does not let it go";
	return DEVICE_ITEM_FAILED;
}

/* Of a tunnel's own slot. */
static bool item_is_held(const struct device *dev, size_t item)
{
	const struct material_item *m = &dev->material->items[item];
	const struct holding *h = &dev->holdings[item];

	if (h->slot < 0 || h->generation != m->generation || h->n_blobs != m->n_blobs)
		return false;
	for (size_t k = 0; k < m->n_blobs; k++)
		if (!cert_blob_equal(m->blobs[k], &h->blobs[k]))
			return false;
	return true;
}

static bool key_is_there(const struct device *dev, const char *key, const struct cert_blob *blob)
{
	for (size_t i = 0; i < dev->n_keys; i++)
		if (strcmp(dev->keys[i].key, key) == 0 && dev->keys[i].kind == blob->kind &&
		    memcmp(dev->keys[i].digest, blob->digest, CERT_DIGEST_SIZE) == 0)
			return true;
	return false;
}

static bool item_is_in_keys(const struct device *dev, size_t item, const char *const *keys)
{
	const struct material_item *m = &dev->material->items[item];

	for (size_t k = 0; k < m->n_blobs; k++) {
		assert(keys[k]);
		if (!key_is_there(dev, keys[k], m->blobs[k]))
			return false;
	}
	return true;
}

/* In each place where this chip needs it. */
static bool item_is_there(const struct device *dev, size_t item)
{
	const struct config_eap *eap = &dev->settings->wifi.enterprise;
	const struct material_item *m = &dev->material->items[item];
	char key[AT_NVS_NAME_MAX + 1];
	const char *keys[MATERIAL_BLOBS] = { key };
	bool slotted = false, wifi = false;

	switch (m->type) {
	case MATERIAL_NVS:
		nvs_key(m->config, key);
		return item_is_in_keys(dev, item, keys);
	case MATERIAL_AUTHORITY:
		slotted = config_needs_authority(dev->config, dev->settings, m->config);
		wifi = device_wants_enterprise(dev) && eap->authority == m->config;
		break;
	case MATERIAL_IDENTITY:
		slotted = config_needs_identity(dev->config, dev->settings, m->config);
		wifi = device_wants_enterprise(dev) && eap->credential == m->config;
		break;
	}
	return (!slotted || item_is_held(dev, item)) &&
	       (!wifi || item_is_in_keys(dev, item, eap_keys(dev, m->type)));
}

enum device_item_state device_item_state(const struct device *dev, size_t item, const char **why)
{
	const struct holding *h = &dev->holdings[item];

	*why = NULL;
	if (dev->material->items[item].n_blobs == 0 || !item_is_needed(dev, item))
		return DEVICE_ITEM_NOT_NEEDED;
	if (!provision_is_done(dev) || dev->provision_later)
		return DEVICE_ITEM_PENDING;
	if (h->why[0] == '\0')
		return item_is_there(dev, item) ? DEVICE_ITEM_THERE : DEVICE_ITEM_PENDING;
	*why = h->why;
	return DEVICE_ITEM_FAILED;
}
