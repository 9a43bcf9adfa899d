/* SPDX-License-Identifier: MIT */
/*
 * A change of material that is to reach several chips. Each writes it by itself; here it is only watched
 * until every chip in service has it, or cannot. As long as one of them has not, all others keep what
 * was replaced, so that going back needs no flash write anywhere.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/internal.h"
#include "util/log.h"

/* A chip writes a value in about a second; more than a full set takes, with a busy line. */
#define CHANGE_TIMEOUT (180 * TIMERS_S)

/* Instead of an item: all of them; or one whose name is gone, which nobody needs. */
#define CHANGE_ALL SIZE_MAX
#define CHANGE_GONE (SIZE_MAX - 1)

struct change_chip {
	struct change *change;   /* weak */
	const struct unit *unit; /* weak; NULL: it was freed */
	struct device_watch watch;
	bool pending;
	bool ok;
	char device[CONFIG_NAME_MAX + 1];
	char text[256];
};

struct change {
	struct daemon *daemon; /* weak */
	struct list node;
	size_t item; /* of the material; or CHANGE_ALL, CHANGE_GONE */
	/* A name that was removed, and not an item: "authority"; NULL: none was */
	const char *what;
	char name[CONFIG_NAME_MAX + 1];
	const char *good;   /* what is told of a chip that is done */
	bus_change_fn done; /* NULL: nobody waits, or not any more */
	void *userdata;
	/* The results were told; a chip still lacks it, so all others keep what was replaced. */
	bool told;
	struct timer limit;
	struct timer finish; /* not inside change_begin() */
	struct change_chip *chips;
	size_t n_chips, n_pending;
};

static void keep_old(struct daemon *daemon, bool keep)
{
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i]->dev)
			device_keep_old(daemon->units[i]->dev, keep);
}

static void change_free(struct change *change)
{
	for (size_t i = 0; i < change->n_chips; i++)
		if (change->chips[i].unit)
			device_unwatch(&change->chips[i].watch);
	list_remove(&change->node);
	timer_deinit(&change->limit);
	timer_deinit(&change->finish);
	free(change->chips);
	free(change);
}

static void change_tell(struct change *change)
{
	struct bus_chip_result *results;
	bus_change_fn done;

	change->told = true;
	if (!change->done)
		return;
	done = change->done;
	change->done = NULL;
	results = calloc(change->n_chips + 1, sizeof(*results));
	if (!results) {
		struct bus_failure failure;

		bus_fail(&failure, BUS_E_NO_MEMORY, "the change was made; espatd is out of memory");
		done(change->userdata, &failure, NULL, 0);
		return;
	}
	for (size_t i = 0; i < change->n_chips; i++)
		results[i] = (struct bus_chip_result){
			.device = change->chips[i].device,
			.ok = change->chips[i].ok,
			.text = change->chips[i].text,
		};
	done(change->userdata, NULL, results, change->n_chips);
	free(results);
}

__attribute__((format(printf, 3, 4))) static void chip_end(struct change_chip *chip, bool ok,
							   const char *format, ...)
{
	struct change *change = chip->change;
	va_list ap;

	if (!chip->pending)
		return;
	va_start(ap, format);
	vsnprintf(chip->text, sizeof(chip->text), format, ap);
	va_end(ap);
	chip->pending = false;
	chip->ok = ok;
	if (--change->n_pending == 0)
		timer_arm(&change->finish, 0);
}

static bool in_service(const struct device *dev)
{
	return dev->state == DEVICE_READY || dev->state == DEVICE_JOINING ||
	       dev->state == DEVICE_CLOCK || dev->state == DEVICE_PROVISIONING ||
	       dev->state == DEVICE_OFFLINE;
}

/* The first item that it has not got, and how that is; n_items: it has all of them. */
static size_t chip_lacks(const struct change_chip *chip, enum device_item_state *state,
			 const char **why)
{
	const struct change *change = chip->change;
	size_t n = change->daemon->material->n_items;

	for (size_t i = 0; i < n; i++) {
		if (change->item != CHANGE_ALL && change->item != i)
			continue;
		*state = device_item_state(chip->unit->dev, i, why);
		if (*state == DEVICE_ITEM_PENDING || *state == DEVICE_ITEM_FAILED)
			return i;
	}
	return n;
}

static void chip_look_for_name(struct change_chip *chip)
{
	const struct change *change = chip->change;
	enum device_item_state state;
	const char *why;

	state = device_erase_state(chip->unit->dev, change->what, change->name, &why);
	if (state == DEVICE_ITEM_NOT_NEEDED)
		chip_end(chip, true, "%s", change->good);
	else if (state == DEVICE_ITEM_FAILED)
		chip_end(chip, false, "%s", why);
}

static void chip_look(struct change_chip *chip)
{
	const struct change *change = chip->change;
	const struct material *material = change->daemon->material;
	enum device_item_state state = DEVICE_ITEM_NOT_NEEDED;
	const char *why = NULL;
	size_t i;

	if (change->what) {
		chip_look_for_name(chip);
		return;
	}
	i = chip_lacks(chip, &state, &why);
	if (i == material->n_items)
		chip_end(chip, true, "%s", change->good);
	else if (state == DEVICE_ITEM_FAILED && !change->told)
		chip_end(chip, false, "%s: %s", material->items[i].name, why);
}

/* Whether one in service has not got it, which is waited for. One that is not gets it when it comes. */
static bool change_is_lacked(struct change *change)
{
	for (size_t i = 0; i < change->n_chips; i++) {
		struct change_chip *chip = &change->chips[i];
		enum device_item_state state;
		const char *why;

		if (!chip->unit || !in_service(chip->unit->dev) ||
		    chip_lacks(chip, &state, &why) == change->daemon->material->n_items)
			continue;
		chip->pending = true;
		change->n_pending++;
	}
	return change->n_pending > 0;
}

static void change_finish(struct timer *timer)
{
	struct change *change = container_of(timer, struct change, finish);
	struct daemon *daemon = change->daemon;
	bool lacked = change_is_lacked(change);

	timer_cancel(&change->limit);
	if (!lacked) {
		list_remove(&change->node);
		if (list_empty(&daemon->changes))
			keep_old(daemon, false);
	}
	if (!change->told)
		change_tell(change);
	if (!lacked)
		change_free(change);
}

/* Those that nobody waits for, and that a new one for @item says again. */
static void change_supersede(struct daemon *daemon, size_t item)
{
	list_for_each_safe(node, &daemon->changes) {
		struct change *change = container_of(node, struct change, node);

		if (!change->done && (item == CHANGE_ALL || item == change->item))
			change_free(change);
	}
}

static void chip_on_provisioned(struct device_watch *watch, struct device *dev)
{
	chip_look(container_of(watch, struct change_chip, watch));
}

static void chip_on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct change_chip *chip = container_of(watch, struct change_chip, watch);

	if (!in_service(dev))
		chip_end(chip, false, "the chip left service (%s); it %s when it is back",
			 device_state_name(dev->state), chip->change->what ? "goes" : "gets it");
}

static void change_on_limit(struct timer *timer)
{
	struct change *change = container_of(timer, struct change, limit);

	for (size_t i = 0; i < change->n_chips; i++)
		chip_end(&change->chips[i], false, "not within %d s",
			 (int)(CHANGE_TIMEOUT / TIMERS_S));
}

static bool unit_is_concerned(const struct unit *unit, const struct change *change)
{
	const char *why;

	if (!change->what && change->item == CHANGE_GONE)
		return false;
	return unit->dev &&
	       (change->what || change->item == CHANGE_ALL ||
		device_item_state(unit->dev, change->item, &why) != DEVICE_ITEM_NOT_NEEDED);
}

static void chip_begin(struct change *change, struct unit *unit)
{
	struct change_chip *chip = &change->chips[change->n_chips];

	if (!unit_is_concerned(unit, change))
		return;
	*chip = (struct change_chip){ .change = change, .unit = unit, .pending = true };
	change->n_chips++;
	change->n_pending++;
	snprintf(chip->device, sizeof(chip->device), "%s", unit->settings->name);
	chip->watch.state = chip_on_state;
	chip->watch.provisioned = chip_on_provisioned;
	device_watch(unit->dev, &chip->watch);
}

static void chip_is_not_in_service(struct change_chip *chip)
{
	enum device_state state = chip->unit->dev->state;
	const char *then = "it gets it when it is";

	/* As device_erase_name() */
	if (chip->change->what)
		then = state == DEVICE_ABSENT || state == DEVICE_UNKNOWN_CHIP
			       ? "what it has of it stays there as an orphan"
			       : "it goes when it is";
	chip_end(chip, false, "the chip is not in service (%s); %s", device_state_name(state),
		 then);
}

static int change_new(struct change **ret, struct daemon *daemon, const char *good,
		      bus_change_fn done, void *userdata)
{
	struct change *change = calloc(1, sizeof(*change));
	int r;

	if (!change)
		return -ENOMEM;
	change->daemon = daemon;
	change->good = good;
	change->done = done;
	change->userdata = userdata;
	list_init(&change->node);
	change->chips = calloc(daemon->n_units + 1, sizeof(*change->chips));
	r = change->chips ? timer_init(&change->limit, &daemon->timers, change_on_limit) : -ENOMEM;
	if (r == 0)
		r = timer_init(&change->finish, &daemon->timers, change_finish);
	if (r < 0) {
		change_free(change);
		return r;
	}
	*ret = change;
	return 0;
}

static void change_run(struct change *change)
{
	struct daemon *daemon = change->daemon;

	change_supersede(daemon, change->item);
	list_append(&daemon->changes, &change->node);
	timer_arm(&change->limit, CHANGE_TIMEOUT);
	timer_arm(&change->finish, 0);
	keep_old(daemon, true);
	for (size_t i = 0; i < daemon->n_units; i++)
		chip_begin(change, daemon->units[i]);
	if (change->n_pending > 0)
		timer_cancel(&change->finish);
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i]->dev)
			device_provision(daemon->units[i]->dev);
	for (size_t i = 0; i < change->n_chips; i++) {
		struct change_chip *chip = &change->chips[i];

		if (in_service(chip->unit->dev))
			chip_look(chip);
		else
			chip_is_not_in_service(chip);
	}
}

int change_begin(struct daemon *daemon, size_t item, const char *good, bus_change_fn done,
		 void *userdata)
{
	struct change *change;
	int r = change_new(&change, daemon, good, done, userdata);

	if (r < 0)
		return r;
	/* One that is no item's place is needed nowhere. */
	change->item = item < daemon->material->n_items ? item : CHANGE_GONE;
	change_run(change);
	return 0;
}

int change_begin_all(struct daemon *daemon)
{
	struct change *change;
	int r = change_new(&change, daemon, "as configured", NULL, NULL);

	if (r < 0)
		return r;
	change->item = CHANGE_ALL;
	change_run(change);
	return 0;
}

int change_begin_removal(struct daemon *daemon, const char *what, const char *name,
			 const char *good, bus_change_fn done, void *userdata)
{
	struct change *change;
	int r = change_new(&change, daemon, good, done, userdata);

	if (r < 0)
		return r;
	change->item = CHANGE_GONE;
	change->what = what;
	snprintf(change->name, sizeof(change->name), "%s", name);
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i]->dev)
			device_erase_name(daemon->units[i]->dev, what, name);
	change_run(change);
	return 0;
}

void change_remap(struct daemon *daemon, const struct material *fresh)
{
	list_for_each(node, &daemon->changes) {
		struct change *change = container_of(node, struct change, node);
		const struct material_item *item, *found;

		if (change->item == CHANGE_ALL || change->item == CHANGE_GONE)
			continue;
		item = &daemon->material->items[change->item];
		found = material_find(
			fresh, item->type == MATERIAL_IDENTITY ? STORE_IDENTITY : STORE_AUTHORITY,
			item->name);
		/* The next look finds that it is needed nowhere. */
		change->item = found ? (size_t)(found - fresh->items) : CHANGE_GONE;
	}
}

void change_forget_unit(struct daemon *daemon, const struct unit *unit)
{
	list_for_each(node, &daemon->changes) {
		struct change *change = container_of(node, struct change, node);

		for (size_t i = 0; i < change->n_chips; i++) {
			struct change_chip *chip = &change->chips[i];

			if (chip->unit != unit)
				continue;
			chip_end(chip, false, "the device was taken out of the configuration");
			device_unwatch(&chip->watch);
			chip->unit = NULL;
		}
	}
}

void change_cancel(struct daemon *daemon, void *userdata)
{
	list_for_each(node, &daemon->changes) {
		struct change *change = container_of(node, struct change, node);

		if (change->userdata == userdata)
			change->done = NULL;
	}
}

void change_end_all(struct daemon *daemon)
{
	struct list *node;

	while ((node = list_first(&daemon->changes)))
		change_free(container_of(node, struct change, node));
}
