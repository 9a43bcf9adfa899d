/* SPDX-License-Identifier: MIT */
/*
 * device/step-value, device/values: single values that somebody asks for, whatever stands there and
 * whatever comes in between, and what is told of all of them.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "device/request.h"
#include "device/values.h"
#include "make-cert.h"
#include "util/log.h"
#include "world.h"

static struct bench b;
static struct world *w;

/* What became of a request. */
struct outcome {
	int done; /* calls */
	enum device_result result;
	char text[256];
	char lines[2048]; /* each with a line end */
};

static void on_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct outcome *o = userdata;
	size_t len = 0;

	o->done++;
	o->result = result;
	snprintf(o->text, sizeof(o->text), "%s", answer->text);
	o->lines[0] = '\0';
	for (size_t i = 0; i < answer->n_lines; i++)
		len += (size_t)snprintf(o->lines + len, sizeof(o->lines) - len, "%s\n",
					answer->lines[i]);
}

static int setup(void **state)
{
	bench_init(&b);
	b.chip.joined = true;
	b.handed_over = " mqtt_ca wss_ca.0 ";
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

static int teardown(void **state)
{
	bench_free(&b);
	w = world_free(w);
	return 0;
}

static void start(const char *spec)
{
	w = world_new(spec);
	world_start(&b, w);
	bench_up(&b);
	world_assert_there(&b, w);
	chip_forget(&b);
}

static void restart_bench(void)
{
	teardown(NULL);
	setup(NULL);
}

/* One thing that happens now: on the line, or because a timer is due. */
static bool step(void)
{
	if (timers_next(&b.timers) <= b.timers.now) {
		timers_run(&b.timers);
		return true;
	}
	return bench_step(&b);
}

static void run(void)
{
	while (step())
		;
}

static void put_key(const char *name, int type, const char *text)
{
	struct chip_key *key = chip_nvs(&b, name);

	key->type = type;
	key->ours = false;
	key->len = strlen(text);
	memcpy(key->data, text, key->len);
}

static bool stands(const char *name, const char *text)
{
	const struct chip_key *key = chip_nvs(&b, name);

	return key->type == 8 && key->len == strlen(text) && memcmp(key->data, text, key->len) == 0;
}

static struct cert_blob *make_blob(const char *namespace, const char *text)
{
	struct cert_blob *blob = NULL;

	assert_int_equal(cert_blob_new(&blob, device_namespace_kind(namespace), text, strlen(text)),
			 0);
	return blob;
}

static int load(const char *namespace, int slot, const char *text, struct outcome *o,
		struct device_request **ret)
{
	*o = (struct outcome){ 0 };
	return device_load(b.dev, namespace, slot, make_blob(namespace, text), on_done, o, ret);
}

static int erase(const char *namespace, int slot, struct outcome *o, struct device_request **ret)
{
	*o = (struct outcome){ 0 };
	return device_erase(b.dev, namespace, slot, on_done, o, ret);
}

static void assert_outcome(const struct outcome *o, enum device_result result, const char *text)
{
	assert_int_equal(o->done, 1);
	assert_string_equal(o->text, text);
	assert_int_equal(o->result, result);
}

/* What was done to keys: 'w'rite, 'e'rase, 'r'ead, each with its key. */
static const char *ops(void)
{
	static char text[8192];
	size_t len = 0;

	text[0] = '\0';
	for (const char *p = b.chip.told; *p; p = strchr(p, '|') + 1) {
		char key[16];
		int op;

		if (sscanf(p, "AT+SYSMFG=%d,\"%*[^\"]\",\"%15[^\"]\"", &op, key) == 2)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%c %s|", "erw"[op],
						key);
	}
	return text;
}

/* All values as they are told. */
static char told[8192];

static void tell(void *userdata, const struct device_value *v)
{
	size_t len = strlen(told);

	len += (size_t)snprintf(told + len, sizeof(told) - len, "%s", v->namespace);
	if (v->slot != DEVICE_SLOT_NONE)
		len += (size_t)snprintf(told + len, sizeof(told) - len, ".%d", v->slot);
	len += (size_t)snprintf(told + len, sizeof(told) - len, " %s %zu%s", v->kind, v->len,
				v->digest ? "" : "?");
	if (v->subject[0])
		len += (size_t)snprintf(told + len, sizeof(told) - len, " <%s>", v->subject);
	assert_true(!v->subject[0] || v->not_after);
	for (size_t i = 0; v->used_by[i]; i++)
		len += (size_t)snprintf(told + len, sizeof(told) - len, " %s", v->used_by[i]);
	snprintf(told + len, sizeof(told) - len, "|");
}

static const char *values(void)
{
	told[0] = '\0';
	device_each_value(b.dev, tell, NULL);
	return told;
}

#define OURS                                                                                       \
	"client_ca.0 ca 1 <CN=C> authority:corp|client_cert.0 certificate 6 <CN=G> "               \
	"identity:gateway|client_key.0 key 5 identity:gateway|"

/* ---- one value ---- */

static void test_load(void **state)
{
	static const struct {
		int type; /* of what stands there; 0: nothing */
		const char *text;
		const char *ops;
		unsigned int writes;
	} cases[] = {
		{ 0, "", "r mqtt_ca.3|r mqtt_ca.3|w mqtt_ca.3|r mqtt_ca.3|", 1 },
		{ 8, "new", "r mqtt_ca.3|", 0 },
		{ 8, "old", "r mqtt_ca.3|w mqtt_ca.3|r mqtt_ca.3|", 1 },
		{ 7, "new", "r mqtt_ca.3|e mqtt_ca.3|w mqtt_ca.3|r mqtt_ca.3|", 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome o;
		uint64_t before;

		restart_bench();
		start("a:corp=C/1 i:gateway=G/1");
		before = b.dev->flash_writes;
		put_key("mqtt_ca.3", cases[i].type, cases[i].text);
		assert_int_equal(load("mqtt_ca", 3, "new", &o, NULL), 0);
		assert_int_equal(o.done, 0);
		assert_string_equal(b.chip.told, "");
		run();
		assert_outcome(&o, DEVICE_OK, "");
		assert_string_equal(ops(), cases[i].ops);
		assert_true(stands("mqtt_ca.3", "new"));
		assert_int_equal(b.dev->flash_writes - before, cases[i].writes);
		assert_string_equal(values(), OURS "mqtt_ca.3 ca 3|");
		/* It is nobody's. */
		assert_string_equal(world_record(&b), "client_ca.0 client_cert.0 client_key.0");
		assert_int_equal(b.dev->orphans.n, 0);
		/* Again: nothing to do. */
		chip_forget(&b);
		assert_int_equal(load("mqtt_ca", 3, "new", &o, NULL), 0);
		run();
		assert_outcome(&o, DEVICE_OK, "");
		assert_string_equal(ops(), "r mqtt_ca.3|");
	}
}

static void test_erase(void **state)
{
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1 +x");
	put_key("mqtt_ca", 8, "old");
	put_key("mqtt_ca.1", 7, "old");
	put_key("x.9", 8, "old");
	assert_int_equal(erase("mqtt_ca", DEVICE_SLOT_NONE, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_string_equal(ops(), "r mqtt_ca|e mqtt_ca|r mqtt_ca|r mqtt_ca|");
	assert_int_equal(chip_nvs(&b, "mqtt_ca")->type, 0);
	assert_int_equal(chip_nvs(&b, "mqtt_ca.1")->type, 7);
	assert_int_equal(erase("mqtt_ca", 1, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_int_equal(erase("x", 9, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_int_equal(chip_nvs(&b, "x.9")->type, 0);
	chip_forget(&b);
	assert_int_equal(erase("x", 9, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_NO_VALUE, "nothing stands there");
	assert_string_equal(ops(), "r x.9|r x.9|");
	assert_string_equal(values(), OURS);
	/* What was loaded is not told of any more when it is gone. */
	assert_int_equal(load("x", 9, "raw", &o, NULL), 0);
	run();
	assert_string_equal(values(), OURS "x.9 raw 3|");
	assert_int_equal(erase("x", 9, &o, NULL), 0);
	run();
	assert_string_equal(values(), OURS);
}

/* A slot of tunnels' namespaces that is nobody's; provisioning knows of it afterwards. */
static void test_client_slots(void **state)
{
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1");
	b.handed_over = " client_ca.1 ";
	assert_int_equal(load("client_ca", 1, "manual", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_int_equal(b.dev->slots.of[CERT_KIND_CA][1].content, SLOT_READ);
	/* The new generation goes elsewhere, without looking at it again. */
	chip_forget(&b);
	world_reload(&b, &w, world_new("a:corp=C2/2 i:gateway=G/1"));
	run();
	world_assert_there(&b, w);
	assert_int_equal(device_authority_slot(b.dev, &w->authorities[0]), 2);
	assert_true(stands("client_ca.1", "manual"));
	assert_null(strstr(ops(), "r client_ca.1|"));
	/* Or there, if it is the same. */
	world_reload(&b, &w, world_new("a:corp=manual/3 i:gateway=G/1"));
	run();
	world_assert_there(&b, w);
	assert_int_equal(device_authority_slot(b.dev, &w->authorities[0]), 1);
	assert_string_equal(world_record(&b), "client_cert.0 client_key.0");
	/* Now it is a name's. */
	assert_int_equal(load("client_ca", 1, "other", &o, NULL), -EADDRINUSE);
	assert_int_equal(erase("client_ca", 1, &o, NULL), -EADDRINUSE);
	assert_int_equal(erase("client_ca", 2, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_NO_VALUE, "nothing stands there");
	assert_int_equal(b.dev->slots.of[CERT_KIND_CA][2].content, SLOT_FREE);
}

static void test_refused(void **state)
{
	static const struct {
		const char *namespace;
		int slot, expected;
	} cases[] = {
		{ "factory_param", DEVICE_SLOT_NONE, -EPERM },
		{ "ble_data", 0, -EPERM },
		{ "espatd", DEVICE_SLOT_NONE, -EPERM },
		{ "espatd", 0, -EPERM },
		{ "x", 0, -EPERM },
		{ "", DEVICE_SLOT_NONE, -EPERM },
		{ "mqtt_ca,", 0, -EPERM },
		{ "mqtt_ca", 10, -EINVAL },
		{ "mqtt_ca", -2, -EINVAL },
		{ "fourteen_bytes", 0, -EINVAL },
		{ "client_ca", 0, -EADDRINUSE },   /* a holding */
		{ "client_key", 0, -EADDRINUSE },  /* the other half of one */
		{ "client_ca", 7, -EADDRINUSE },   /* pinned, and without material yet */
		{ "client_cert", 8, -EADDRINUSE }, /* likewise */
		{ "client_key", 8, -EADDRINUSE },  /* likewise */
		{ "mqtt_ca", DEVICE_SLOT_NONE, -EADDRINUSE },
		{ "https_ca", 2, -EADDRINUSE },
		{ "wpa2_cert", DEVICE_SLOT_NONE, -EADDRINUSE },
		{ "wpa2_key", DEVICE_SLOT_NONE, -EADDRINUSE },
		/* beside them */
		{ "client_ca", 8, 0 },
		{ "client_cert", 7, 0 },
		{ "mqtt_ca", 0, 0 },
		{ "https_ca", DEVICE_SLOT_NONE, 0 },
		{ "wpa2_ca", DEVICE_SLOT_NONE, 0 },
		{ "wpa_ent_ca", DEVICE_SLOT_NONE, 0 },
		{ "fourteen_bytes", DEVICE_SLOT_NONE, 0 },
	};
	struct outcome o, e;

	start("a:corp=C/1 a:pinned=-@7 i:late=-@8 i:gateway=G/1 n:mqtt_ca=M n:https_ca.2=H "
	      "+fourteen_bytes");
	w->settings.wifi.has_enterprise = true;
	w->settings.wifi.enterprise.credential = &w->identities[1];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = load(cases[i].namespace, cases[i].slot, "v", &o, NULL);

		if (r != cases[i].expected)
			fail_msg("%s %d: %d", cases[i].namespace, cases[i].slot, r);
		assert_int_equal(erase(cases[i].namespace, cases[i].slot, &e, NULL),
				 cases[i].expected);
		run();
		assert_int_equal(o.done, r == 0);
		assert_int_equal(e.done, r == 0);
	}
	device_port_down(b.dev, "gone");
	assert_int_equal(load("mqtt_ca", 0, "v", &o, NULL), -ENOTCONN);
	assert_int_equal(erase("mqtt_ca", 0, &o, NULL), -ENOTCONN);
	assert_int_equal(device_verify(b.dev, on_done, &o, NULL), -ENOTCONN);
	assert_int_equal(o.done, 0);
}

static void test_slot_users(void **state)
{
	static const struct {
		const char *namespace;
		int slot;
		const char *expected; /* NULL: nobody */
	} cases[] = {
		{ "client_ca", 0, "authority corp, of the tunnel t-corp" },
		{ "client_ca", 1, NULL },
		{ "client_ca", 7, "authority pinned, of the tunnel t-pinned" },
		{ "client_cert", 0, "identity gateway, of 2 tunnels" },
		{ "client_key", 0, "identity gateway, of 2 tunnels" },
		{ "mqtt_ca", DEVICE_SLOT_NONE, "an nvs entry of the configuration" },
		{ "mqtt_ca", 0, NULL },
		{ "espatd", DEVICE_SLOT_NONE, "the record of what is ours" },
		{ "no_such_namespace_at_all", 3, NULL },
	};
	char buf[64];

	start("a:corp=C/1 a:pinned=-@7 i:gateway=G/1 n:mqtt_ca=M");
	w->tunnels[w->config.n_tunnels] = w->tunnels[w->config.n_tunnels - 1];
	w->config.n_tunnels++;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool used = device_slot_users(b.dev, cases[i].namespace, cases[i].slot, buf,
					      sizeof(buf));

		assert_int_equal(used, !!cases[i].expected);
		assert_string_equal(buf, used ? cases[i].expected : "");
	}
	/* An older generation that stays for now. */
	device_keep_old(b.dev, true);
	world_reload(&b, &w, world_new("a:corp=C2/2"));
	run();
	assert_true(device_slot_users(b.dev, "client_ca", 0, buf, sizeof(buf)));
	assert_string_equal(buf, "authority corp, an older generation");
	assert_false(device_slot_users(b.dev, "client_cert", 0, buf, sizeof(buf)));
}

static void test_namespaces(void **state)
{
	static const struct {
		const char *namespace;
		bool known;
		enum cert_kind kind;
	} cases[] = {
		{ "client_ca", true, CERT_KIND_CA },       { "mqtt_cert", true, CERT_KIND_CERT },
		{ "wpa_ent_key", true, CERT_KIND_KEY },    { "x", true, CERT_KIND_RAW },
		{ "y_key", true, CERT_KIND_KEY },          { "z_ca", false, CERT_KIND_CA },
		{ "_ca", false, CERT_KIND_RAW },           { "ca", false, CERT_KIND_RAW },
		{ "client_cas", false, CERT_KIND_RAW },    { "espatd", false, CERT_KIND_RAW },
		{ "factory_param", false, CERT_KIND_RAW }, { "", false, CERT_KIND_RAW },
	};

	start("+x +y_key");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(device_namespace_is_known(b.dev, cases[i].namespace),
				 cases[i].known);
		assert_int_equal(device_namespace_kind(cases[i].namespace), cases[i].kind);
	}
}

/* ---- a chip that does not do as it is told ---- */

static void test_writes_that_fail(void **state)
{
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1");
	put_key("mqtt_ca", 8, "old");
	/* A byte may have been lost on the way, once. */
	chip_answer(&b, "AT+SYSMFG=2,\"mqtt_ca\"", "\r\nERROR\r\n", 1);
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "new", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	chip_answer(&b, "AT+SYSMFG=2,\"mqtt_ca\"", "\r\nERROR\r\n", 2);
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "newer", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_REFUSED, "the chip refuses to write it (is its NVS full?)");
	assert_true(stands("mqtt_ca", "new"));
	assert_string_equal(values(), OURS);
	/* It says OK, and nothing has changed. */
	b.chip.lost = "mqtt_ca";
	b.chip.lose = 2;
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "newer", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_true(stands("mqtt_ca", "newer"));
	b.chip.corrupted = "mqtt_ca";
	b.chip.corrupt = 3;
	chip_forget(&b);
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "newest", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_VERIFY, "it does not read back as it was written");
	assert_int_equal(count_of(ops(), "w mqtt_ca|"), 3);
	assert_int_equal(b.dev->flash_writes, b.chip.writes);
	/* The answer to a payload is no proof. */
	chip_answer(&b, "[payload]", "\r\nbusy p...\r\n\r\nOK\r\n", 1);
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "newest", &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	world_assert_there(&b, w);
}

static void test_erasing_fails(void **state)
{
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1");
	put_key("client_ca.5", 8, "old");
	chip_answer(&b, "AT+SYSMFG=0,\"client_ca\"", "\r\nERROR\r\n", 1);
	assert_int_equal(erase("client_ca", 5, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_OK, "");
	assert_int_equal(b.dev->slots.of[CERT_KIND_CA][5].content, SLOT_FREE);
	put_key("client_ca.5", 8, "old");
	chip_answer(&b, "AT+SYSMFG=0,\"client_ca\"", "\r\nERROR\r\n", 2);
	assert_int_equal(erase("client_ca", 5, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_REFUSED, "the chip does not erase it");
	assert_int_equal(b.dev->slots.of[CERT_KIND_CA][5].content, SLOT_READ);
	chip_answer(&b, "AT+SYSMFG=0,\"client_ca\"", "\r\nOK\r\n", 2);
	assert_int_equal(erase("client_ca", 5, &o, NULL), 0);
	run();
	assert_outcome(&o, DEVICE_E_REFUSED, "the chip does not erase it");
	assert_true(stands("client_ca.5", "old"));
}

enum kind_of_request {
	ASK_LOAD,
	ASK_ERASE,
	ASK_VERIFY,
	ASK_LOAD_ORPHAN,
	ASK_ERASE_ORPHAN,
	ASKS,
};

/* A chip in service, and a request for it. */
static void ask(enum kind_of_request kind, struct outcome *o, struct device_request **ret)
{
	int r = -1;

	*o = (struct outcome){ 0 };
	restart_bench();
	start("i:gateway=G/1 a:corp=C/1 a:other=O/1");
	world_reload(&b, &w, world_new("a:corp=C/1 i:gateway=G/1"));
	run();
	assert_int_equal(b.dev->orphans.n, 1);
	put_key("mqtt_ca", 8, "old");
	chip_forget(&b);
	switch (kind) {
	case ASK_LOAD:
		r = load("mqtt_ca", DEVICE_SLOT_NONE, "new", o, ret);
		break;
	case ASK_ERASE:
		r = erase("mqtt_ca", DEVICE_SLOT_NONE, o, ret);
		break;
	case ASK_VERIFY:
		r = device_verify(b.dev, on_done, o, ret);
		break;
	case ASK_LOAD_ORPHAN:
		b.handed_over = " client_ca.1 wss_ca.0 ";
		r = load("client_ca", 1, "new", o, ret);
		break;
	case ASK_ERASE_ORPHAN:
		r = erase("client_ca", 1, o, ret);
		break;
	case ASKS:
		break;
	}
	assert_int_equal(r, 0);
}

static void assert_done(enum kind_of_request kind)
{
	switch (kind) {
	case ASK_LOAD:
		assert_true(stands("mqtt_ca", "new"));
		break;
	case ASK_ERASE:
		assert_int_equal(chip_nvs(&b, "mqtt_ca")->type, 0);
		break;
	case ASK_VERIFY:
		assert_int_equal(chip_nvs(&b, "mqtt_ca")->type, 8);
		break;
	case ASK_LOAD_ORPHAN:
		assert_true(stands("client_ca.1", "new"));
		break;
	case ASK_ERASE_ORPHAN:
		assert_int_equal(chip_nvs(&b, "client_ca.1")->type, 0);
		break;
	case ASKS:
		break;
	}
	assert_string_equal(world_record(&b),
			    kind >= ASK_LOAD_ORPHAN
				    ? "client_ca.0 client_cert.0 client_key.0"
				    : "client_ca.0 client_ca.1 client_cert.0 client_key.0");
	assert_int_equal(b.dev->orphans.n, kind < ASK_LOAD_ORPHAN);
}

/* What is handed over is nobody's: an erasing of orphans leaves it alone. */
static void assert_stays(enum kind_of_request kind)
{
	bool was_there = stands("client_ca.1", "new");

	world_start(&b, w);
	b.dev->erase_orphans = true;
	bench_up(&b);
	world_assert_there(&b, w);
	if (was_there)
		assert_true(stands("client_ca.1", "new"));
	assert_int_equal(b.dev->orphans.n, 0);
	if (kind == ASK_LOAD_ORPHAN || kind == ASK_ERASE_ORPHAN)
		assert_false(stands("client_ca.1", "O"));
}

static void test_each_kind(void **state)
{
	for (int kind = 0; kind < ASKS; kind++) {
		struct outcome o;

		ask((enum kind_of_request)kind, &o, NULL);
		run();
		assert_outcome(&o, DEVICE_OK, "");
		assert_done((enum kind_of_request)kind);
		world_assert_there(&b, w);
		assert_stays((enum kind_of_request)kind);
	}
}

/* On the way of what is handed over there is no moment in which it would be taken for ours. */
static void test_orphan_order(void **state)
{
	struct outcome o;
	const char *p;

	ask(ASK_LOAD_ORPHAN, &o, NULL);
	run();
	p = strstr(ops(), "e client_ca.1|");
	assert_non_null(p);
	p = strstr(p, "w slots|");
	assert_non_null(p);
	assert_non_null(strstr(p, "w client_ca.1|"));
	assert_int_equal(b.dev->flash_writes, b.chip.writes);
	/* Without a record that says so nothing is written. */
	ask(ASK_LOAD_ORPHAN, &o, NULL);
	chip_answer(&b, "AT+SYSMFG=2,\"espatd\"", "\r\nERROR\r\n", -1);
	run();
	assert_outcome(&o, DEVICE_E_REFUSED, "the record of what is ours cannot be written");
	assert_null(strstr(ops(), "w client_ca.1|"));
}

/* @power: the chip says so when it is back; else it was only silent. False: it has fewer moments. */
static bool cut_off(enum kind_of_request kind, unsigned int n, bool power)
{
	struct outcome o;

	ask(kind, &o, NULL);
	chip_die_at(&b, n);
	run();
	if (!b.chip.dead) {
		assert_int_equal(o.result, DEVICE_OK);
		return false;
	}
	chip_revive(&b, power);
	if (power)
		chip_say(&b, "\r\nready\r\n");
	bench_pass(&b, 60 * TIMERS_S);
	assert_int_equal(b.dev->state, DEVICE_READY);
	assert_int_equal(o.done, 1);
	/* What came after it, or the record before it, may have been cut off instead. */
	if (o.result != DEVICE_OK && !(kind == ASK_LOAD_ORPHAN && o.result == DEVICE_E_GONE))
		assert_int_equal(o.result, power ? DEVICE_E_GONE : DEVICE_E_TIMEOUT);
	world_assert_there(&b, w);
	assert_null(b.dev->value_req);
	assert_stays(kind);
	return true;
}

static void test_cut_off(void **state)
{
	for (int kind = 0; kind < ASKS; kind++)
		for (int power = 0; power < 2; power++) {
			unsigned int n = 1;

			while (cut_off((enum kind_of_request)kind, n, power))
				n++;
			assert_true(n > 6);
		}
}

/* The port goes, and the device is freed, in the middle of it. */
static void test_ends_early(void **state)
{
	for (int kind = 0; kind < ASKS; kind++)
		for (unsigned int n = 0; n < 30; n++) {
			struct outcome o;

			ask((enum kind_of_request)kind, &o, NULL);
			for (unsigned int k = 0; k < n; k++)
				step();
			if (n % 2)
				device_port_down(b.dev, "gone");
			else
				b.dev = device_free(b.dev);
			assert_int_equal(o.done, 1);
			assert_true(o.result == DEVICE_E_GONE || o.result == DEVICE_OK);
		}
}

/* Whoever has asked is not interested any more: it is run to its end, and the next one follows. */
static void test_cancelled(void **state)
{
	for (int kind = 0; kind < ASKS; kind++) {
		unsigned int n = 0;
		bool more = true;

		for (; more; n++) {
			struct outcome o, next;
			struct device_request *req = NULL;

			ask((enum kind_of_request)kind, &o, &req);
			assert_int_equal(load("wss_ca", 0, "next", &next, NULL), 0);
			for (unsigned int k = 0; k < n && more; k++) {
				more = step();
				more = more && o.done == 0;
			}
			if (more)
				device_request_cancel(req);
			run();
			if (!more)
				break;
			assert_int_equal(o.done, 0);
			assert_outcome(&next, DEVICE_OK, "");
			assert_true(stands("wss_ca.0", "next"));
			if (n > 1)
				assert_done((enum kind_of_request)kind);
			world_assert_there(&b, w);
		}
		assert_true(n > 4);
	}
}

/* ---- in turn with provisioning ---- */

/* Newer material comes after @n steps of the request; false: it has ended before. */
static bool provision_during(enum kind_of_request kind, unsigned int n)
{
	struct outcome o;
	bool more = true;

	ask(kind, &o, NULL);
	for (; n > 0 && more; n--)
		more = step() && o.done == 0;
	world_reload(&b, &w, world_new("a:corp=C2/2 i:gateway=G2/2"));
	run();
	assert_int_equal(o.done, 1);
	/* When what was ours there has gone, it is anybody's. */
	if (kind == ASK_LOAD_ORPHAN && o.result == DEVICE_E_REFUSED)
		assert_string_equal(o.text, "it is needed by authority corp, of the tunnel t-corp "
					    "meanwhile");
	else
		assert_int_equal(o.result, DEVICE_OK);
	world_assert_there(&b, w);
	assert_false(b.dev->provision_later);
	return more;
}

/* The request comes after @n steps of a provisioning. */
static bool ask_during(enum kind_of_request kind, unsigned int n)
{
	struct outcome o, now;
	bool more = true;

	ask(kind, &o, NULL);
	run();
	put_key("mqtt_ca", 8, "old");
	world_reload(&b, &w, world_new("a:corp=C2/2 i:gateway=G2/2"));
	for (; n > 0 && more; n--)
		more = step();
	now = (struct outcome){ 0 };
	if (kind == ASK_VERIFY)
		assert_int_equal(device_verify(b.dev, on_done, &now, NULL), 0);
	else if (kind == ASK_ERASE)
		assert_int_equal(erase("mqtt_ca", DEVICE_SLOT_NONE, &now, NULL), 0);
	else
		assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "new", &now, NULL), 0);
	run();
	assert_outcome(&now, DEVICE_OK, "");
	assert_string_equal(now.lines, "");
	world_assert_there(&b, w);
	return more;
}

static void test_with_provisioning(void **state)
{
	for (int kind = 0; kind < ASKS; kind++) {
		unsigned int n = 0;

		while (provision_during((enum kind_of_request)kind, n))
			n++;
		assert_true(n > 4);
	}
	for (int kind = 0; kind < ASK_LOAD_ORPHAN; kind++) {
		unsigned int n = 0;

		while (ask_during((enum kind_of_request)kind, n))
			n++;
		assert_true(n > 10);
	}
}

/* While it waits, its key becomes a name's. */
static void test_needed_meanwhile(void **state)
{
	struct outcome o, next;

	start("a:corp=C/1");
	assert_int_equal(load("mqtt_ca", DEVICE_SLOT_NONE, "manual", &o, NULL), 0);
	assert_int_equal(erase("wss_ca", DEVICE_SLOT_NONE, &next, NULL), 0);
	world_reload(&b, &w, world_new("a:corp=C/1 n:mqtt_ca=M n:wss_ca=W"));
	run();
	assert_outcome(&o, DEVICE_E_REFUSED,
		       "it is needed by an nvs entry of the configuration meanwhile");
	assert_outcome(&next, DEVICE_E_REFUSED,
		       "it is needed by an nvs entry of the configuration meanwhile");
	world_assert_there(&b, w);
}

/* Wi-Fi goes and comes back: the chip stays in service, and so does the request. */
static void test_wifi_drops(void **state)
{
	struct outcome o;

	ask(ASK_LOAD, &o, NULL);
	step();
	step();
	b.chip.joined = false;
	chip_say(&b, "WIFI DISCONNECT\r\n");
	b.chip.joined = true;
	bench_pass(&b, 30 * TIMERS_S);
	assert_outcome(&o, DEVICE_OK, "");
	assert_done(ASK_LOAD);
	world_assert_there(&b, w);
}

/* ---- looking at all of them ---- */

static void verify(struct outcome *o)
{
	*o = (struct outcome){ 0 };
	chip_forget(&b);
	assert_int_equal(device_verify(b.dev, on_done, o, NULL), 0);
	run();
	assert_outcome(o, DEVICE_OK, "");
}

static void put_certificate(const char *name, const char *cn)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	X509 *x509 = make_cert(&(struct make_cert){ .cn = cn, .key = ec, .basic = "CA:TRUE" });
	BIO *bio = BIO_new(BIO_s_mem());
	char text[2048], *data;
	long len;

	PEM_write_bio_X509(bio, x509);
	len = BIO_get_mem_data(bio, &data);
	snprintf(text, sizeof(text), "%.*s", (int)len, data);
	put_key(name, 8, text);
	BIO_free(bio);
	X509_free(x509);
	EVP_PKEY_free(ec);
}

static void test_verify(void **state)
{
	struct outcome o;
	unsigned int writes;
	char expected[512];

	start("a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M +x");
	assert_string_equal(values(), OURS "mqtt_ca ca 1 <CN=M> nvs|");
	put_key("client_ca.5", 8, "somebody's");
	put_key("client_key.7", 7, "text");
	put_certificate("https_ca.2", "somebody");
	put_certificate("https_key.2", "no key");
	put_key("x", 8, "raw");
	put_key("x.odd", 8, "has no slot");
	put_key("x.12", 8, "likewise");
	put_key("unknown_ca.0", 8, "never looked at");
	writes = b.chip.writes;
	verify(&o);
	assert_string_equal(o.lines, "");
	assert_int_equal(b.chip.writes, writes);
	/* Each once, and nothing else. */
	assert_string_equal(ops(), "r client_ca.0|r client_ca.5|r client_cert.0|r client_key.0|"
				   "r mqtt_ca|r https_ca.2|r https_key.2|r x|");
	/* A key is known by its digest only, whatever stands there. */
	snprintf(expected, sizeof(expected),
		 "client_ca.0 ca 1 <CN=C> authority:corp|client_ca.5 ca 10|client_cert.0 "
		 "certificate 6 <CN=G> identity:gateway|client_key.0 key 5 identity:gateway|"
		 "client_key.7 other 0?|https_ca.2 ca %zu <CN=somebody>|https_key.2 key %zu|"
		 "mqtt_ca ca 1 <CN=M> nvs|x raw 3|",
		 chip_nvs(&b, "https_ca.2")->len, chip_nvs(&b, "https_key.2")->len);
	assert_string_equal(values(), expected);
	/* As long as it is the same chip. */
	chip_say(&b, "\r\nready\r\n");
	bench_pass(&b, 10 * TIMERS_S);
	assert_string_equal(values(), expected);
	b.settings.mac = NULL;
	w->settings.adopt = CONFIG_ADOPT_ANY;
	b.chip.mac = "24:0a:c4:65:43:21";
	chip_say(&b, "\r\nready\r\n");
	bench_pass(&b, 10 * TIMERS_S);
	assert_int_equal(b.dev->state, DEVICE_READY);
	assert_string_equal(values(), OURS "mqtt_ca ca 1 <CN=M> nvs|");
}

/* What of ours is not as it should be is told, and left so until the next provisioning. */
static void test_verify_differs(void **state)
{
	struct outcome o;
	unsigned int writes;

	start("a:corp=C/1 a:other=O/1 i:gateway=G/1 n:mqtt_ca=M n:wss_ca=W");
	verify(&o);
	assert_string_equal(o.lines, "");
	chip_nvs(&b, "client_ca.0")->data[0] ^= 1;
	chip_nvs(&b, "client_ca.1")->type = 0;
	chip_nvs(&b, "client_key.0")->type = 7;
	chip_nvs(&b, "mqtt_ca")->type = 0;
	chip_answer(&b, "AT+SYSMFG=1,\"wss_ca\",\"wss_ca\"", "\r\nERROR\r\n", 2);
	writes = b.chip.writes;
	verify(&o);
	assert_string_equal(
		o.lines,
		"mqtt_ca, of nvs mqtt_ca: nothing stands there\n"
		"wss_ca, of nvs wss_ca: it cannot be read\n"
		"client_ca.0, of authority corp: something else stands there\n"
		"client_ca.1, of authority other: nothing stands there\n"
		"client_key.0, of identity gateway: a value of another type than binary stands "
		"there\n");
	assert_int_equal(b.chip.writes, writes);
	/* What it should be is what is told of it. */
	assert_non_null(strstr(values(), "client_ca.0 ca 1 <CN=C> authority:corp|"));
	device_provision(b.dev);
	run();
	verify(&o);
	/* NVS entries are looked at when the chip is brought up. */
	assert_string_equal(o.lines, "mqtt_ca, of nvs mqtt_ca: nothing stands there\n");
}

static void test_verify_failed_item(void **state)
{
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1");
	chip_answer(&b, "AT+SYSMFG=2,\"client_ca\"", "\r\nERROR\r\n", 2);
	world_reload(&b, &w, world_new("a:corp=C2/2 i:gateway=G/1"));
	run();
	/* Both the one that is used, and that it is an old one. */
	assert_string_equal(values(), "client_ca.0 ca 1 authority:corp|client_cert.0 certificate 6 "
				      "<CN=G> identity:gateway|client_key.0 key 5 "
				      "identity:gateway|");
	verify(&o);
	assert_string_equal(o.lines, "authority corp is not on the chip: the chip refuses to write "
				     "it (is its NVS full?)\n");
	chip_nvs(&b, "client_ca.0")->data[0] ^= 1;
	verify(&o);
	assert_string_equal(o.lines,
			    "client_ca.0, of authority corp: something else stands there\n"
			    "authority corp is not on the chip: the chip refuses to write it (is "
			    "its NVS full?)\n");
}

/* Names and namespaces of the configuration go while it is looked at. */
static void test_verify_reconfigured(void **state)
{
	for (unsigned int n = 0; n < 40; n++) {
		struct outcome o = { 0 };

		restart_bench();
		start("a:corp=C/1 i:gateway=G/1 n:mqtt_ca=M +x +y +z");
		put_key("x", 8, "raw");
		put_key("y", 8, "raw");
		put_key("z", 8, "raw");
		assert_int_equal(device_verify(b.dev, on_done, &o, NULL), 0);
		for (unsigned int k = 0; k < n; k++)
			step();
		world_reload(&b, &w, world_new("i:gateway=G/1 a:corp=C2/2"));
		run();
		assert_int_equal(o.done, 1);
		assert_int_equal(o.result, DEVICE_OK);
		world_assert_there(&b, w);
		assert_non_null(strstr(values(), "authority:corp"));
	}
}

/* A value of several names, and for several purposes. */
static void test_shared(void **state)
{
	w = world_new("a:corp=C/1 a:other=C/1 i:gateway=G/1 w:gateway");
	world_start(&b, w);
	bench_up(&b);
	assert_int_equal(b.dev->state, DEVICE_READY);
	assert_string_equal(values(),
			    "client_ca.0 ca 1 <CN=C> authority:corp authority:other|client_cert.0 "
			    "certificate 6 <CN=G> identity:gateway|client_key.0 key 5 "
			    "identity:gateway|wpa2_cert certificate 6 <CN=G> identity:gateway "
			    "wifi|wpa2_key key 5 identity:gateway wifi|");
}

/* More than anybody has: what is ours is looked at first, and it is told. */
static void test_verify_many(void **state)
{
	static const char *const users[] = { "server", "mqtt", "https", "wss", "wpa2" };
	static const char *const kinds[] = { "ca", "cert", "key" };
	static char commands[15][40], replies[15][1024];
	struct outcome o;

	start("a:corp=C/1 i:gateway=G/1");
	chip_answer(&b, "AT+SYSMFG?", "\r\nERROR\r\n", 1);
	for (size_t i = 0; i < 15; i++) {
		char namespace[16];
		size_t len = 0;

		snprintf(namespace, sizeof(namespace), "%s_%s", users[i / 3], kinds[i % 3]);
		snprintf(commands[i], sizeof(commands[i]), "AT+SYSMFG=1,\"%s\"", namespace);
		for (int slot = 0; slot < 10; slot++)
			len += (size_t)snprintf(replies[i] + len, sizeof(replies[i]) - len,
						"+SYSMFG:\"%s\",\"%s.%d\",7\r\n", namespace,
						namespace, slot);
		snprintf(replies[i] + len, sizeof(replies[i]) - len,
			 "+SYSMFG:\"%s\",\"%s\",7\r\n\r\nOK\r\n", namespace, namespace);
		chip_answer(&b, commands[i], replies[i], 1);
	}
	verify(&o);
	assert_string_equal(o.lines, "the chip has more than 160 values: not all were looked at\n");
	assert_int_equal(b.dev->values->n, VALUES_MAX);
	assert_int_equal(count_of(values(), "|"), VALUES_MAX);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_load),
		T(test_erase),
		T(test_client_slots),
		T(test_refused),
		T(test_slot_users),
		T(test_namespaces),
		T(test_writes_that_fail),
		T(test_erasing_fails),
		T(test_each_kind),
		T(test_orphan_order),
		T(test_cut_off),
		T(test_ends_early),
		T(test_cancelled),
		T(test_with_provisioning),
		T(test_needed_meanwhile),
		T(test_wifi_drops),
		T(test_verify),
		T(test_verify_differs),
		T(test_verify_failed_item),
		T(test_verify_reconfigured),
		T(test_shared),
		T(test_verify_many),
	};

	return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
