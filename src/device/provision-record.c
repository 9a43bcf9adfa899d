/* SPDX-License-Identifier: MIT */
/* Our record on the chip, and what it says of that nobody uses any more. */
#include <string.h>

#include "device/provision.h"

static const char *const record_keys[] = {
	[RECORD_MAIN] = RECORD_KEY,
	[RECORD_COPY] = RECORD_KEY_COPY,
};

/* It changes with each write, and is one value all the same for what provision-lost.c counts. */
static const uint8_t record_digest[CERT_DIGEST_SIZE];

/* ---- our record ---- */

static void record_line(struct device *dev, int op, enum record_place place)
{
	provision_begin_op(dev, op);
	at_line_string(&dev->mfg_cmd.line, CONFIG_NVS_OWN);
	at_line_string(&dev->mfg_cmd.line, record_keys[place]);
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

static void record_read(struct device *dev, enum record_place place,
			void (*step)(struct device *dev, enum chan_result result))
{
	struct provision *p = dev->provision;

	p->place = place;
	p->complete = false;
	p->text_len = 0;
	record_line(dev, MFG_READ, place);
	dev->mfg_cmd.on_data = record_data;
	provision_run(dev, step);
}

/* What was read at p->place; false if it is not what a record must be. */
static bool record_take(struct device *dev, enum chan_result result, struct record *ret)
{
	struct provision *p = dev->provision;

	/* As another type than binary it has no bytes for us. */
	p->unusable[p->place] = result == CHAN_OK && !p->complete;
	return result == CHAN_OK && p->complete && record_parse(ret, p->text, p->text_len) == 0;
}

static void record_found(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	bool whole = record_take(dev, result, &dev->record);

	p->damaged = p->damaged || (result == CHAN_OK && !whole); /* ERROR: there is none yet */
	/* It may be the line that has damaged it: the copy is of some time ago, perhaps. */
	if (provision_asks_again(dev, whole || result != CHAN_OK ? result : CHAN_E_ERROR)) {
		record_read(dev, p->place, record_found);
		return;
	}
	if (whole) {
		dev->record_is_whole = p->place == RECORD_MAIN;
	} else {
		memset(&dev->record, 0, sizeof(dev->record));
		if (p->place == RECORD_MAIN) {
			record_read(dev, RECORD_COPY, record_found);
			return;
		}
		if (p->damaged)
			dev_warning(dev,
				    "the record of what is ours on the chip is damaged; what it "
				    "holds is found by its content");
	}
	dev->record_known = true;
	dev->record_stored = dev->record;
	p->kept = dev->record;
	dev->uncounted = 0;
	device_note(dev, DEVICE_FACT_FLASH);
	provision_next(dev);
}

void record_read_all(struct device *dev)
{
	dev->record_is_whole = false;
	memset(&dev->record_copy, 0, sizeof(dev->record_copy));
	record_read(dev, RECORD_MAIN, record_found);
}

static void record_write_now(struct device *dev);

/* Without it nothing is written either: it would not be known to be ours. */
static void record_give_up(struct device *dev)
{
	struct provision *p = dev->provision;

	lost_write_ends(dev, false);
	p->record_tries = 0;
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

	if (provision_asks_again(dev, result)) {
		record_read(dev, p->place, record_compared);
		return;
	}
	if (record_take(dev, result, &there) && record_equal(&there, &dev->record)) {
		p->record_tries = 0;
		lost_write_ends(dev, true);
		if (p->place == RECORD_COPY) {
			dev->record_copy = dev->record;
			p->place = RECORD_MAIN;
			record_write_now(dev);
			return;
		}
		dev->record_stored = dev->record;
		dev->record_is_whole = true;
		provision_next(dev);
		return;
	}
	if (p->record_tries >= PROVISION_WRITES_MAX) {
		record_give_up(dev);
		return;
	}
	record_write_now(dev);
}

static void record_written(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;

	dev->mfg_cmd.payload = NULL;
	provision_count_write(dev, result);
	if (result != CHAN_E_ERROR)
		record_read(dev, p->place, record_compared);
	else if (p->record_tries < PROVISION_REFUSED_MAX)
		record_write_now(dev);
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
	dev->provision->unusable[dev->provision->place] = false;
	record_write_now(dev);
}

static void record_write_now(struct device *dev)
{
	struct provision *p = dev->provision;
	/* Itself, and those that it speaks of: none of them needs a record of its own. */
	int64_t ahead = provision_planned(dev) + 1;

	/* As value_write() */
	if (p->unusable[p->place]) {
		record_line(dev, MFG_ERASE, p->place);
		provision_run(dev, record_erased);
		return;
	}
	p->record_tries++;
	lost_write_begins(dev, record_digest);
	/* Until it has been read back. */
	if (p->place == RECORD_MAIN)
		dev->record_is_whole = false;
	else
		dev->record_copy.n = 0;
	dev->record.writes += (uint64_t)(dev->uncounted + ahead);
	dev->uncounted = -ahead;
	p->text_len = record_format(&dev->record, p->text);
	record_line(dev, MFG_WRITE, p->place);
	at_line_int(&dev->mfg_cmd.line, MFG_BINARY);
	at_line_int(&dev->mfg_cmd.line, (long)p->text_len);
	dev->mfg_cmd.kind = CHAN_BLOCK;
	dev->mfg_cmd.payload = p->text;
	dev->mfg_cmd.payload_len = p->text_len;
	provision_run(dev, record_written);
}

void record_write(struct device *dev)
{
	/* Never over the only one that is whole. Where the copy has all that there will be, it will do. */
	bool copied = !dev->record_is_whole || record_covers(&dev->record_copy, &dev->record);

	dev->provision->place = copied ? RECORD_MAIN : RECORD_COPY;
	if (lost_is_left_alone(dev, record_digest))
		record_give_up(dev);
	else
		record_write_now(dev);
}

/* @want's keys are ours from now on, or still; what others have written of the same content is not. */
bool record_claim(struct device *dev, struct want *want)
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
		dev_notice(dev, "erased %s, which is not used any more", p->erasing);
	record_remove(&dev->record, p->erasing);
	values_forget(dev, p->erasing);
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

static bool name_is_to_be_erased(const struct device *dev, uint64_t hash)
{
	for (size_t i = 0; i < dev->n_erase_names; i++)
		if (dev->erase_names[i] == hash)
			return true;
	return false;
}

/* Whether nobody uses it any more. */
static bool entry_is_to_be_erased(struct device *dev, const struct record_entry *e)
{
	const struct provision *p = dev->provision;

	if (entry_is_superseded(p, e)) {
		dev->kept_old = dev->kept_old || dev->keep_old;
		return !dev->keep_old;
	}
	return (dev->erase_orphans || name_is_to_be_erased(dev, e->name)) && entry_is_orphan(p, e);
}

/* Returns true if something is being erased. */
bool retire_next(struct device *dev)
{
	struct provision *p = dev->provision;

	/* Then device_link_freed() comes back to it. */
	dev->retire_later = p->waits;
	dev->kept_old = false;
	if (p->record_is_stuck)
		return false;
	for (size_t i = 0; i < dev->record.n; i++) {
		const struct record_entry *e = &dev->record.entries[i];

		if (!entry_is_to_be_erased(dev, e))
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

/* Those that are needed again, or of which nothing is left. */
void forget_erased_names(struct device *dev)
{
	size_t n = 0;

	for (size_t i = 0; i < dev->n_erase_names; i++) {
		bool left = false;

		for (size_t k = 0; k < dev->record.n && !left; k++)
			left = dev->record.entries[k].name == dev->erase_names[i] &&
			       entry_is_orphan(dev->provision, &dev->record.entries[k]);
		if (left)
			dev->erase_names[n++] = dev->erase_names[i];
	}
	dev->n_erase_names = n;
}

void note_orphans(struct device *dev)
{
	const struct provision *p = dev->provision;
	struct record orphans = { 0 };

	for (size_t i = 0; i < dev->record.n; i++)
		if (entry_is_orphan(p, &dev->record.entries[i]))
			record_put(&orphans, &dev->record.entries[i]);
	if (!record_equal(&orphans, &dev->orphans))
		for (size_t i = 0; i < orphans.n; i++)
			dev_notice(dev,
				   "%s is an orphan: espatd has written it (generation %u) for a "
				   "name that this chip does not need",
				   orphans.entries[i].key, orphans.entries[i].generation);
	dev->orphans = orphans;
}
