/* SPDX-License-Identifier: MIT */
/* Which NVS slot holds what. */
#include "device/slots.h"

#include <stdio.h>
#include <string.h>

#include "at/scan.h"

static const char *const slot_namespaces[] = {
	[CERT_KIND_CA] = "client_ca",
	[CERT_KIND_CERT] = "client_cert",
	[CERT_KIND_KEY] = "client_key",
};

const char *slots_namespace(enum cert_kind kind)
{
	return slot_namespaces[kind];
}

void slots_key(enum cert_kind kind, int slot, char *buf, size_t size)
{
	snprintf(buf, size, "%s.%d", slot_namespaces[kind], slot);
}

int slots_of_key(enum cert_kind kind, const char *key)
{
	struct at_scan s = at_scan_at(key, strlen(key), 0);
	long slot;

	if (!at_scan_literal(&s, slot_namespaces[kind]) || !at_scan_char(&s, '.') ||
	    !at_scan_number(&s, &slot) || !at_scan_end(&s) || slot >= SLOTS_COUNT)
		return -1;
	return (int)slot;
}

bool slot_holds(const struct slot *slot, const struct cert_blob *blob)
{
	return slot->content == SLOT_READ &&
	       memcmp(slot->digest, blob->digest, CERT_DIGEST_SIZE) == 0;
}

bool slot_is_free(const struct slot *slot)
{
	return slot->content == SLOT_FREE || slot->content == SLOT_UNLISTED;
}

bool slot_is_to_be_read(const struct slot *slot)
{
	return slot->content == SLOT_UNKNOWN || slot->content == SLOT_UNLISTED ||
	       slot->content == SLOT_UNREAD;
}

bool slots_holds(const struct slots *slots, int slot, const struct cert_blob *blob)
{
	return slot_holds(&slots->of[blob->kind][slot], blob);
}

void slots_listed(struct slots *slots, enum cert_kind kind)
{
	for (int slot = 0; slot < SLOTS_COUNT; slot++)
		if (slots->of[kind][slot].content == SLOT_UNKNOWN)
			slots->of[kind][slot].content = SLOT_UNLISTED;
}

static bool all_free_or_held(const struct slots *slots, int slot, const struct cert_blob *blobs,
			     size_t n, size_t *held)
{
	*held = 0;
	for (size_t i = 0; i < n; i++) {
		if (slots->of[blobs[i].kind][slot].taken)
			return false;
		if (slots_holds(slots, slot, &blobs[i]))
			(*held)++;
		else if (!slot_is_free(&slots->of[blobs[i].kind][slot]))
			return false;
	}
	return true;
}

/* A key of this slot whose content decides and is not known yet. */
static bool unread(const struct slots *slots, int slot, const struct cert_blob *blobs, size_t n,
		   enum cert_kind *kind)
{
	for (size_t i = 0; i < n; i++) {
		if (slots->of[blobs[i].kind][slot].taken)
			return false;
		if (slots->of[blobs[i].kind][slot].content == SLOT_UNREAD) {
			*kind = blobs[i].kind;
			return true;
		}
		/* A slot whose first blob is another one cannot hold the set. */
		if (!slot_is_free(&slots->of[blobs[i].kind][slot]) &&
		    !slots_holds(slots, slot, &blobs[i]))
			return false;
	}
	return false;
}

bool slots_unsure(const struct slots *slots, int slot, const struct cert_blob *blobs, size_t n,
		  enum cert_kind *kind)
{
	for (size_t i = 0; i < n; i++) {
		if (slots->of[blobs[i].kind][slot].content != SLOT_UNLISTED)
			continue;
		*kind = blobs[i].kind;
		return true;
	}
	return false;
}

struct slots_choice slots_choose(const struct slots *slots, const struct cert_blob *blobs, size_t n,
				 int pinned)
{
	struct slots_choice choice = { .verdict = SLOTS_FULL, .slot = -1 };
	size_t held, best = 0;

	if (pinned != CONFIG_SLOT_AUTO) {
		choice.slot = pinned;
		for (size_t i = 0; i < n; i++)
			if (slot_is_to_be_read(&slots->of[blobs[i].kind][pinned])) {
				choice.verdict = SLOTS_READ;
				choice.kind = blobs[i].kind;
				return choice;
			}
		held = 0;
		for (size_t i = 0; i < n; i++)
			held += slots_holds(slots, pinned, &blobs[i]);
		choice.verdict = held == n ? SLOTS_USE : SLOTS_WRITE;
		return choice;
	}
	/*
	 * From the top: the factory's material stands in the lowest slots (capture 10), ours above
	 * it, so that a chip that has been provisioned is found so with few reads.
	 */
	for (int slot = SLOTS_COUNT - 1; slot >= 0; slot--) {
		if (all_free_or_held(slots, slot, blobs, n, &held) && held == n)
			return (struct slots_choice){ .verdict = SLOTS_USE, .slot = slot };
		if (unread(slots, slot, blobs, n, &choice.kind)) {
			choice.verdict = SLOTS_READ;
			choice.slot = slot;
			return choice;
		}
	}
	/* Nothing holds it all. The lowest slot that can take it, best one that has a part already. */
	for (int slot = SLOTS_COUNT - 1; slot >= 0; slot--) {
		if (!all_free_or_held(slots, slot, blobs, n, &held))
			continue;
		if (choice.slot < 0 || held >= best) {
			choice.verdict = SLOTS_WRITE;
			choice.slot = slot;
			best = held;
		}
	}
	return choice;
}
