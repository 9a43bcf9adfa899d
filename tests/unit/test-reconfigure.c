/* SPDX-License-Identifier: MIT */
/*
 * device/: another configuration takes the place of the present one at any moment; names without
 * material; old generations that stay for a while; names whose orphans go; what is told of each item.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "world.h"

static struct bench b;
static struct world *w;

static int setup(void **state)
{
	bench_init(&b);
	b.chip.joined = true;
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

static int teardown(void **state)
{
	bench_free(&b);
	w = world_free(w);
	return 0;
}

/* The next thing that happens, if need be after some time; false: nothing does before it is ready. */
static bool step(void)
{
	if (bench_step(&b))
		return true;
	if (b.dev->state == DEVICE_READY)
		return false;
	timers_set_now(&b.timers, timers_next(&b.timers));
	timers_run(&b.timers);
	return true;
}

static void finish(void)
{
	while (step())
		;
}

static void start(const char *spec)
{
	w = world_new(spec);
	world_start(&b, w);
	bench_up(&b);
	world_assert_there(&b, w);
	chip_forget(&b);
}

static void reload(const char *spec)
{
	world_reload(&b, &w, world_new(spec));
}

static void assert_state(const char *name, enum device_item_state expected, const char *text)
{
	const char *why = NULL;

	for (size_t i = 0; i < w->material.n_items; i++) {
		if (strcmp(w->items[i].name, name) != 0)
			continue;
		assert_int_equal(device_item_state(b.dev, i, &why), expected);
		if (text)
			assert_string_equal(why, text);
		else
			assert_null(why);
		return;
	}
	fail_msg("no such name: %s", name);
}

static int slot_of(const char *name)
{
	for (size_t i = 0; i < w->config.n_authorities; i++)
		if (strcmp(w->authorities[i].name, name) == 0)
			return device_authority_slot(b.dev, &w->authorities[i]);
	for (size_t i = 0; i < w->config.n_identities; i++)
		if (strcmp(w->identities[i].name, name) == 0)
			return device_identity_slot(b.dev, &w->identities[i]);
	fail_msg("no such name: %s", name);
	return -1;
}

/* ---- at any moment ---- */

static const struct {
	const char *name, *before, *from, *to;
} changes[] = {
	/* @before: what the chip held at first; NULL: it is brought up with @from. */
	{ "new names", NULL, "a:corp=C/1", "a:other=O/1 a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M" },
	{ "gone names", NULL, "a:corp=C/1 a:other=O/1 i:gateway=G/1 i:second=S/1 n:mqtt_ca=M",
	  "i:second=S/1 a:corp=C/1" },
	{ "all are others", NULL, "a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M n:https_ca.1=H",
	  "a:other=O/1 i:second=S/1 n:wss_ca=W" },
	{ "another order", NULL, "a:corp=C/1 a:other=O/1 i:gateway=G/1 i:second=S/1",
	  "i:second=S/1 i:gateway=G/1 a:other=O/1 a:corp=C/1" },
	{ "newer material", NULL, "a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M",
	  "a:corp=C2/2 i:gateway=G2/2 n:mqtt_ca=M2" },
	{ "not needed", NULL, "a:corp=C/1 i:gateway=G/1", "!a:corp=C/1 i:gateway=G/1" },
	{ "pinned now", NULL, "a:corp=C/1 a:other=O/1", "a:other=O/1@0 a:corp=C/1" },
	{ "without material", NULL, "a:corp=C/1 i:gateway=G/1", "a:corp=- i:gateway=G/1" },
	{ "with material", NULL, "a:corp=- i:gateway=-", "i:gateway=G/1 a:corp=C/1" },
	{ "nothing", NULL, "a:corp=C/1 i:gateway=G/1", "" },
	{ "a rotation that is overtaken", "a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M",
	  "a:corp=C2/2 i:gateway=G2/2 n:mqtt_ca=M2", "i:gateway=G3/3 a:corp=C3/3 n:mqtt_ca=M3" },
	{ "a rotation of names that go", "a:corp=C/1 i:gateway=G/1 a:other=O/1",
	  "a:corp=C2/2 i:gateway=G2/2 a:other=O2/2", "a:other=O2/2 i:second=S/1" },
	{ "back again", "a:corp=C/1 i:gateway=G/1", "a:corp=C2/2 i:gateway=G2/2",
	  "i:gateway=G/1 a:corp=C/1" },
};

/* The second start has nothing to do. */
static void assert_second_is_quiet(void)
{
	unsigned int writes = b.chip.writes;

	world_start(&b, w);
	bench_up(&b);
	world_assert_there(&b, w);
	assert_int_equal(b.chip.writes, writes);
}

/* The change comes after @n steps of the provisioning of @from; false if it has less. */
static bool change_at(size_t i, unsigned int n)
{
	bool more = true;

	teardown(NULL);
	setup(NULL);
	if (changes[i].before) {
		start(changes[i].before);
		reload(changes[i].from);
	} else {
		w = world_new(changes[i].from);
		world_start(&b, w);
		device_port_up(b.dev, 115200);
	}
	for (; n > 0 && more; n--)
		more = step();
	reload(changes[i].to);
	finish();
	/* What a provisioning of names that are gone has failed to do is nobody's trouble. */
	assert_false(b.dev->incomplete);
	world_assert_there(&b, w);
	assert_second_is_quiet();
	return more;
}

static void test_any_moment(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		unsigned int n = 0;

		while (change_at(i, n))
			n++;
		/* Otherwise nothing was cut into. */
		assert_true(n > (changes[i].before ? 10 : 30));
	}
}

/* Twice in a row, before anything has happened in between. */
static void test_twice(void **state)
{
	for (unsigned int n = 0; n < 60; n++) {
		teardown(NULL);
		setup(NULL);
		start("a:corp=C/1 i:gateway=G/1");
		reload("a:corp=C2/2 i:gateway=G2/2 a:other=O/1");
		for (unsigned int k = 0; k < n; k++)
			bench_step(&b);
		reload("i:gateway=G2/2");
		reload("a:other=O/1 i:gateway=G3/3 a:corp=C3/3");
		bench_run(&b);
		world_assert_there(&b, w);
		assert_second_is_quiet();
	}
}

/* What is the same is neither read nor written again, and connections go on with it. */
static void test_nothing_new(void **state)
{
	unsigned int writes;
	int slots[2];

	start("a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M");
	writes = b.chip.writes;
	slots[0] = slot_of("corp");
	slots[1] = slot_of("gateway");
	b.provisioned = 0;
	reload("a:new=- i:gateway=G/1 a:corp=C/1 n:mqtt_ca=M");
	assert_int_equal(slot_of("corp"), slots[0]);
	assert_int_equal(slot_of("gateway"), slots[1]);
	assert_int_equal(slot_of("new"), -1);
	bench_run(&b);
	assert_string_equal(b.chip.told, "");
	assert_int_equal(b.chip.writes, writes);
	assert_int_equal(b.provisioned, 1);
	world_assert_there(&b, w);
}

/* What could not be had is told of again only if somebody has changed it. */
static void test_failure_goes_along(void **state)
{
	w = world_new("a:corp=C/1 i:gateway=G/1");
	world_start(&b, w);
	b.load_error = -EACCES;
	b.load_error_name = "gateway";
	bench_up(&b);
	assert_state("gateway", DEVICE_ITEM_FAILED, "Permission denied");
	assert_state("corp", DEVICE_ITEM_THERE, NULL);
	assert_int_equal(device_reconfigure(b.dev, &w->config, &w->settings, &w->material), 0);
	assert_state("gateway", DEVICE_ITEM_FAILED, "Permission denied");
	b.load_error = 0;
	reload("i:gateway=G/1 a:corp=C/1");
	assert_state("gateway", DEVICE_ITEM_PENDING, NULL);
	bench_run(&b);
	world_assert_there(&b, w);
}

static void test_absent(void **state)
{
	start("a:corp=C/1 i:gateway=G/1");
	device_port_down(b.dev, "gone");
	assert_state("corp", DEVICE_ITEM_PENDING, NULL);
	reload("i:gateway=G2/2 a:other=O/1 a:corp=C/1");
	assert_state("gateway", DEVICE_ITEM_PENDING, NULL);
	bench_up(&b);
	world_assert_there(&b, w);
}

/* ---- names without material ---- */

static void test_without_material(void **state)
{
	w = world_new("a:corp=- i:gateway=- a:other=O/1");
	world_start(&b, w);
	bench_up(&b);
	world_assert_there(&b, w);
	assert_false(b.dev->incomplete);
	assert_state("corp", DEVICE_ITEM_NOT_NEEDED, NULL);
	assert_int_equal(slot_of("corp"), -1);
	assert_int_equal(slot_of("gateway"), -1);
	assert_string_equal(world_record(&b), "client_ca.0");
	reload("a:corp=C/1 i:gateway=- a:other=O/1");
	bench_run(&b);
	assert_state("corp", DEVICE_ITEM_THERE, NULL);
	assert_int_equal(slot_of("corp"), 1);
	/* It is taken back: new connections cannot use it, and it is nobody's orphan. */
	reload("a:corp=- i:gateway=- a:other=O/1");
	assert_int_equal(slot_of("corp"), -1);
	bench_run(&b);
	b.dev->erase_orphans = true;
	device_provision(b.dev);
	bench_run(&b);
	assert_string_equal(world_record(&b), "client_ca.0 client_ca.1");
	assert_int_equal(b.dev->orphans.n, 0);
	/* The next generation takes a place of its own, as always; then the old one goes. */
	reload("a:corp=C2/2 i:gateway=- a:other=O/1");
	bench_run(&b);
	world_assert_there(&b, w);
	assert_string_equal(world_record(&b), "client_ca.0 client_ca.2");
}

/* A pinned slot of a name without material displaces nobody. */
static void test_without_material_pinned(void **state)
{
	start("a:corp=C/1");
	assert_int_equal(slot_of("corp"), 0);
	reload("a:empty=-@0 a:corp=C/1");
	bench_run(&b);
	assert_string_equal(b.chip.told, "");
	assert_int_equal(slot_of("corp"), 0);
}

/* ---- old generations that stay ---- */

static void test_keep_old(void **state)
{
	start("a:corp=C/1 i:gateway=G/1");
	device_keep_old(b.dev, true);
	reload("a:corp=C2/2 i:gateway=G2/2");
	bench_run(&b);
	world_assert_there(&b, w);
	assert_string_equal(world_record(&b), "client_ca.0 client_ca.1 client_cert.0 "
					      "client_cert.1 client_key.0 client_key.1");
	/* A reset changes nothing about it. */
	chip_say(&b, "\r\nready\r\n");
	bench_pass(&b, 10 * TIMERS_S);
	world_assert_there(&b, w);
	assert_int_equal(chip_nvs(&b, "client_ca.0")->type, 8);
	/* Back to the old one: it is there still, and the newer one stays. */
	reload("a:corp=C/3 i:gateway=G2/2");
	bench_run(&b);
	world_assert_there(&b, w);
	assert_int_equal(slot_of("corp"), 0);
	chip_forget(&b);
	b.provisioned = 0;
	device_keep_old(b.dev, false);
	bench_run(&b);
	assert_int_equal(b.provisioned, 1);
	world_assert_there(&b, w);
	assert_string_equal(world_record(&b), "client_ca.0 client_cert.1 client_key.1");
	/* Nothing is left to do. */
	device_keep_old(b.dev, true);
	chip_forget(&b);
	device_keep_old(b.dev, false);
	bench_run(&b);
	assert_string_equal(b.chip.told, "");
	assert_int_equal(b.provisioned, 1);
	assert_second_is_quiet();
}

static void keep_no_more(struct bench *bench)
{
	bench->on_provisioned = NULL;
	device_keep_old(bench->dev, false);
}

/* As the daemon does it: all have the new one when the last one says so. */
static void test_keep_old_until_provisioned(void **state)
{
	start("a:corp=C/1 i:gateway=G/1");
	device_keep_old(b.dev, true);
	b.on_provisioned = keep_no_more;
	b.provisioned = 0;
	reload("a:corp=C2/2 i:gateway=G2/2");
	bench_run(&b);
	assert_int_equal(b.provisioned, 2);
	world_assert_there(&b, w);
	assert_string_equal(world_record(&b), "client_ca.1 client_cert.1 client_key.1");
}

/* ---- what is told ---- */

static unsigned int told_state;

static void look(struct bench *bench)
{
	const char *why;

	told_state = device_item_state(bench->dev, 0, &why);
}

static void test_provisioned(void **state)
{
	w = world_new("a:corp=C/1 i:gateway=G/1");
	world_start(&b, w);
	b.on_provisioned = look;
	assert_state("corp", DEVICE_ITEM_PENDING, NULL);
	device_port_up(b.dev, 115200);
	while (b.provisioned == 0) {
		assert_state("corp", DEVICE_ITEM_PENDING, NULL);
		assert_true(step());
	}
	assert_int_equal(told_state, DEVICE_ITEM_THERE);
	finish();
	assert_int_equal(b.provisioned, 1);
	/* In service; of several that follow each other only the last one is told. */
	reload("a:corp=C2/2 i:gateway=G/1");
	bench_step(&b);
	reload("a:corp=C3/3 i:gateway=G/1");
	while (b.provisioned == 1) {
		assert_state("corp", DEVICE_ITEM_PENDING, NULL);
		assert_true(bench_step(&b));
	}
	assert_int_equal(told_state, DEVICE_ITEM_THERE);
	bench_run(&b);
	assert_int_equal(b.provisioned, 2);
	/* It cannot be had. */
	chip_answer(&b, "AT+SYSMFG=2,\"client_ca\"", "\r\nERROR\r\n", 2);
	reload("a:corp=C4/4 i:gateway=G/1");
	bench_run(&b);
	assert_int_equal(b.provisioned, 3);
	assert_int_equal(told_state, DEVICE_ITEM_FAILED);
	assert_state("corp", DEVICE_ITEM_FAILED, "the chip refuses to write it (is its NVS full?)");
	assert_state("gateway", DEVICE_ITEM_THERE, NULL);
	/* The older one is used still. */
	assert_int_equal(device_authority_generation(b.dev, &w->authorities[0]), 3);
	/* With another material it is tried again. */
	reload("a:corp=C5/5 i:gateway=G/1");
	bench_run(&b);
	assert_state("corp", DEVICE_ITEM_THERE, NULL);
	/* And only the generation is another one. */
	w->items[0].generation = 6;
	assert_state("corp", DEVICE_ITEM_PENDING, NULL);
	device_provision(b.dev);
	bench_run(&b);
	assert_state("corp", DEVICE_ITEM_THERE, NULL);
}

static void test_wifi_item(void **state)
{
	w = world_new("!i:gateway=G/1 n:mqtt_ca=M w:gateway");
	world_start(&b, w);
	bench_up(&b);
	assert_int_equal(b.dev->state, DEVICE_READY);
	assert_state("gateway", DEVICE_ITEM_THERE, NULL);
	assert_state("mqtt_ca", DEVICE_ITEM_THERE, NULL);
	assert_int_equal(slot_of("gateway"), -1);
	chip_answer(&b, "AT+SYSMFG=2,\"wpa2_key\"", "\r\nERROR\r\n", 2);
	chip_answer(&b, "AT+SYSMFG=2,\"mqtt_ca\"", "\r\nERROR\r\n", 2);
	reload("!i:gateway=G2/2 n:mqtt_ca=M2 w:gateway");
	bench_run(&b);
	assert_state("gateway", DEVICE_ITEM_FAILED,
		     "the chip refuses to write it (is its NVS full?)");
	assert_state("mqtt_ca", DEVICE_ITEM_FAILED,
		     "the chip refuses to write it (is its NVS full?)");
	/* Also when the configuration changes before it is known which names the firmware has. */
	for (unsigned int n = 0; n < 60; n++) {
		teardown(NULL);
		setup(NULL);
		w = world_new("!i:gateway=G/1 w:gateway");
		world_start(&b, w);
		device_port_up(b.dev, 115200);
		for (unsigned int k = 0; k < n; k++)
			step();
		reload("a:a=1/1 a:b=2/1 a:c=3/1 a:d=4/1 !i:gateway=G2/2 i:e=5/1 n:mqtt_ca=M "
		       "w:gateway");
		finish();
		assert_int_equal(b.dev->state, DEVICE_READY);
		assert_state("gateway", DEVICE_ITEM_THERE, NULL);
		assert_state("e", DEVICE_ITEM_THERE, NULL);
		assert_true(chip_holds(&b, "wpa2_key", w->items[4].blobs[1]));
	}
}

/* ---- names that go ---- */

static void assert_erase(const char *what, const char *name, enum device_item_state state)
{
	const char *why;

	assert_int_equal(device_erase_state(b.dev, what, name, &why), state);
	assert_int_equal(why != NULL, state == DEVICE_ITEM_FAILED);
}

static void test_erase_name(void **state)
{
	start("a:corp=C/1 a:other=O/1 i:corp=G/1");
	device_erase_name(b.dev, "authority", "corp"); /* it is needed */
	bench_run(&b);
	world_assert_there(&b, w);
	assert_string_equal(b.chip.told, "");
	reload("i:corp=G/1");
	bench_run(&b);
	assert_string_equal(world_record(&b), "client_ca.0 client_ca.1 client_cert.0 client_key.0");
	assert_int_equal(b.dev->orphans.n, 2);
	/* As a link that was opened with it. */
	b.dev->links[0].state = LINK_OPEN;
	b.dev->links[0].target.auth = LINK_AUTH_SERVER;
	b.dev->links[0].target.ca = 0;
	device_erase_name(b.dev, "authority", "corp");
	assert_erase("authority", "corp", DEVICE_ITEM_FAILED);
	b.dev->links[0].state = LINK_FREE;
	device_provision(b.dev);
	assert_erase("authority", "corp", DEVICE_ITEM_PENDING);
	bench_run(&b);
	assert_erase("authority", "corp", DEVICE_ITEM_NOT_NEEDED);
	/* No other one's, nor that of the other kind. */
	assert_string_equal(world_record(&b), "client_ca.1 client_cert.0 client_key.0");
	assert_int_equal(chip_nvs(&b, "client_ca.0")->type, 0);
	assert_int_equal(b.dev->orphans.n, 1);
	assert_int_equal(b.dev->n_erase_names, 0);
	world_assert_there(&b, w);
	assert_second_is_quiet();
}

/* Together with the change that makes it an orphan, while it is being written. */
static void test_erase_name_at_any_moment(void **state)
{
	for (unsigned int n = 0; n < 60; n++) {
		teardown(NULL);
		setup(NULL);
		start("i:gateway=G/1 a:other=O/1");
		reload("i:gateway=G2/2 a:corp=C/1 a:other=O/1");
		for (unsigned int k = 0; k < n; k++)
			bench_step(&b);
		reload("i:gateway=G2/2 a:other=O/1");
		device_erase_name(b.dev, "authority", "corp");
		bench_run(&b);
		world_assert_there(&b, w);
		assert_string_equal(world_record(&b), "client_ca.0 client_cert.1 client_key.1");
		assert_int_equal(b.dev->n_erase_names, 0);
		assert_second_is_quiet();
	}
}

/* Cut off, it is done when the chip is back. */
static void test_erase_name_cut_off(void **state)
{
	unsigned int n = 1;

	for (;; n++) {
		teardown(NULL);
		setup(NULL);
		start("i:gateway=G/1 a:corp=C/1");
		reload("i:gateway=G/1");
		bench_run(&b);
		chip_die_at(&b, n);
		device_erase_name(b.dev, "authority", "corp");
		bench_run(&b);
		if (!b.chip.dead)
			break;
		chip_revive(&b, true);
		chip_say(&b, "\r\nready\r\n");
		bench_pass(&b, 10 * TIMERS_S);
		world_assert_there(&b, w);
		assert_string_equal(world_record(&b), "client_cert.0 client_key.0");
		assert_int_equal(chip_nvs(&b, "client_ca.0")->type, 0);
	}
	assert_true(n > 5);
}

static void test_erase_name_of_absent(void **state)
{
	start("i:gateway=G/1 a:corp=C/1");
	device_port_down(b.dev, "gone");
	reload("i:gateway=G/1");
	device_erase_name(b.dev, "authority", "corp");
	bench_up(&b);
	world_assert_there(&b, w);
	assert_string_equal(world_record(&b), "client_ca.0 client_cert.0 client_key.0");
}

static void test_erase_many_names(void **state)
{
	start("i:gateway=G/1 a:corp=C/1 a:other=O/1");
	reload("i:gateway=G/1");
	bench_run(&b);
	reload("i:gateway=G2/2");
	device_erase_name(b.dev, "authority", "corp");
	device_erase_name(b.dev, "authority", "other");
	for (int i = 1; i < DEVICE_ERASE_NAMES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "x%d", i);
		device_erase_name(b.dev, "identity", name);
	}
	bench_run(&b);
	/* The first one had to make room. */
	assert_string_equal(world_record(&b), "client_ca.0 client_cert.1 client_key.1");
	assert_int_equal(b.dev->n_erase_names, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_any_moment),
		T(test_twice),
		T(test_nothing_new),
		T(test_failure_goes_along),
		T(test_absent),
		T(test_without_material),
		T(test_without_material_pinned),
		T(test_keep_old),
		T(test_keep_old_until_provisioned),
		T(test_provisioned),
		T(test_wifi_item),
		T(test_erase_name),
		T(test_erase_name_at_any_moment),
		T(test_erase_name_cut_off),
		T(test_erase_name_of_absent),
		T(test_erase_many_names),
	};

	return cmocka_run_group_tests_name("reconfigure", tests, NULL, NULL);
}
