/* SPDX-License-Identifier: MIT */
/* bus-auth: who may call what, with a polkit that allows, denies, fails, or never answers. */
#include "bus-bench.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus-auth.h"
#include "bus/bus-request.h"
#include "bus/internal.h"
#include "util/cleanup.h"

#define MANAGER "/org/espat1", "org.espat1.Manager"
#define DEVICE "/org/espat1/device/esp0"

/* Every method that changes something, with arguments that are good. */
static const struct method {
	const char *action, *path, *interface, *member, *types;
} methods[] = {
	{ "manage", MANAGER, "CreateTunnel", "sa{sv}" },
	{ "manage", MANAGER, "RemoveTunnel", "s" },
	{ "trust", MANAGER, "SetAuthority", "ss" },
	{ "trust", MANAGER, "SetIdentity", "ssh" },
	{ "trust", MANAGER, "RemoveAuthority", "s" },
	{ "trust", MANAGER, "RemoveIdentity", "s" },
	{ "trust", MANAGER, "Rollback", "s" },
	{ "manage", MANAGER, "Reload", "" },
	{ "manage", MANAGER, "SetLogLevel", "s" },
	{ "manage", DEVICE, "org.espat1.Device", "Reset", "" },
	{ "manage", DEVICE, "org.espat1.Device", "Reprobe", "" },
	{ "manage", DEVICE, "org.espat1.Device", "SyncTime", "" },
	{ "trust", DEVICE, "org.espat1.Device", "Adopt", "" },
	{ "raw", DEVICE, "org.espat1.Device", "Command", "s" },
	{ "raw", DEVICE, "org.espat1.Device", "StartTrace", "ha{sv}" },
	{ "raw", DEVICE, "org.espat1.Device", "StopTrace", "" },
	{ "manage", DEVICE, "org.espat1.Wifi", "Scan", "" },
	{ "manage", DEVICE, "org.espat1.Wifi", "Join", "sha{sv}" },
	{ "manage", DEVICE, "org.espat1.Wifi", "Leave", "" },
	{ "trust", DEVICE, "org.espat1.Certificates", "LoadPem", "sus" },
	{ "trust", DEVICE, "org.espat1.Certificates", "Load", "suh" },
	{ "trust", DEVICE, "org.espat1.Certificates", "Erase", "su" },
	{ "manage", DEVICE, "org.espat1.Certificates", "Verify", "" },
	{ "manage", "/org/espat1/tunnel/broker", "org.espat1.Tunnel", "Disconnect", "" },
};

static int memfd;

static void call_method(struct bench_reply *reply, const struct method *method)
{
	const char *types = method->types;
	const char *name = strcmp(method->member, "SetLogLevel") == 0 ? "info"
			   : strcmp(method->member, "Command") == 0   ? "AT+GMR"
								      : "client_ca";
	sd_bus_message *m = NULL;

	memset(reply, 0, sizeof(*reply));
	assert_true(sd_bus_message_new_method_call(bench.me->sd, &m, "org.espat1", method->path,
						   method->interface, method->member) >= 0);
	for (; *types; types++) {
		if (*types == 's')
			assert_true(sd_bus_message_append(m, "s", name) >= 0);
		else if (*types == 'u')
			assert_true(sd_bus_message_append(m, "u", 3) >= 0);
		else if (*types == 'h')
			assert_true(sd_bus_message_append(m, "h", memfd) >= 0);
		else if (*types == 'a') {
			assert_true(sd_bus_message_append(m, "a{sv}", 0) >= 0);
			types = "x"; /* it is the last one */
		}
	}
	bench_send(bench.me, reply, m);
	sd_bus_message_unref(m);
}

/* Without a polkit: each is refused, and has no effect. */
static void test_nobody(void **state)
{
	memfd = bench_memfd("x", 1);
	bench_be_stranger();
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		struct bench_reply reply;
		char action[64];

		call_method(&reply, &methods[i]);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "NotAuthorized");
		snprintf(action, sizeof(action), "org.espat1.%s:", methods[i].action);
		assert_non_null(strstr(reply.text, action));
		bench_reply_clear(&reply);
	}
	close(memfd);
	assert_int_equal(fake.n + fake.disconnects + bench.n_ops + bench.bus->n_requests, 0);
}

/* Nothing that is read takes a permission. */
static void test_readers(void **state)
{
	static const char *const reads[][3] = {
		{ MANAGER, "ListDevices" },
		{ MANAGER, "ListTunnels" },
		{ MANAGER, "ListAuthorities" },
		{ MANAGER, "ListIdentities" },
		{ DEVICE, "org.espat1.Certificates", "List" },
		{ DEVICE, "org.espat1.Certificates", "ListOrphans" },
		{ "/org/espat1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects" },
	};

	bench_start_polkit("no");
	bench_be_stranger();
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		struct bench_reply reply;

		assert_string_equal(bench_ask(&reply, reads[i][0], reads[i][1], reads[i][2], ""),
				    "");
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.asked, 0);
}

/* Polkit is asked for the right action, about the caller. */
static void test_actions(void **state)
{
	const char *me;

	memfd = bench_memfd("x", 1);
	bench_start_polkit("no");
	bench_be_stranger();
	sd_bus_get_unique_name(bench.me->sd, &me);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		struct bench_reply reply;
		char action[64];

		call_method(&reply, &methods[i]);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "NotAuthorized");
		snprintf(action, sizeof(action), "org.espat1.%s", methods[i].action);
		assert_string_equal(bench.action, action);
		assert_string_equal(bench.subject, me);
		assert_int_equal(bench.polkit_flags, 0);
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.asked, ARRAY_SIZE(methods));
	assert_int_equal(fake.n + fake.disconnects + bench.n_ops + bench.bus->n_requests, 0);
	close(memfd);
}

static void assert_reload(const char *error)
{
	struct bench_reply reply;

	assert_string_equal(bench_ask(&reply, MANAGER, "Reload", ""), error);
	bench_reply_clear(&reply);
}

static void test_verdicts(void **state)
{
	static const struct {
		const char *verdict, *error;
	} cases[] = {
		{ "yes", "" },
		{ "no", "NotAuthorized" },
		{ "challenge", "NotAuthorized" },
		{ "error", "NotAuthorized" },
		{ "yes", "" },
	};

	bench_start_polkit("no");
	bench_be_stranger();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int n = bench.n_ops;

		bench.verdict = cases[i].verdict;
		assert_reload(cases[i].error);
		assert_int_equal(bench.n_ops, n + (cases[i].error[0] == '\0'));
	}
	/* Each call was a question of its own. */
	assert_int_equal(bench.asked, ARRAY_SIZE(cases));
	assert_int_equal(bench.cancelled, 0);
}

/* Those who need no polkit. */
static void test_the_privileged(void **state)
{
	gid_t group = getgid();

	bench_start_polkit("no");
	bench_be_stranger();
	assert_reload("NotAuthorized");
	bench.bus->root = getuid();
	assert_reload("");
	bench_be_stranger();
	bench.bus->own = getuid();
	assert_reload("");
	bench_be_stranger();
	bench.bus->admin_group = group;
	assert_reload("");
	bench.bus->admin_group = group + 4711;
	assert_reload("NotAuthorized");
	assert_int_equal(bench.asked, 2);
}

/* On the system's bus our own user is nobody in particular. */
static void test_own_user(void **state)
{
	struct bus *bus;

	assert_int_equal(bench.bus->own, getuid());
	assert_int_equal(bench.bus->root, 0);
	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", bench.address, 1), 0);
	assert_int_equal(bus_new(&bus, bench.base, &bench.timers, "system", bench.bus->ops, NULL),
			 0);
	assert_true(bus->own == (uid_t)-1);
	assert_int_equal(bus->root, 0);
	bus_free(bus);
}

static void test_groups(void **state)
{
	struct group *group = getgrnam(BUS_ADMIN_GROUP);

	bench.bus->admin_group = 4711;
	bus_reload_groups(bench.bus);
	assert_int_equal(bench.bus->admin_group, group ? group->gr_gid : (gid_t)-1);
}

/* The call itself says whether a person may be asked. */
static void call_interactively(struct bench_reply *reply)
{
	sd_bus_message *m = NULL;

	memset(reply, 0, sizeof(*reply));
	assert_true(sd_bus_message_new_method_call(bench.me->sd, &m, "org.espat1", MANAGER,
						   "Reload") >= 0);
	sd_bus_message_set_allow_interactive_authorization(m, 1);
	bench_send(bench.me, reply, m);
	sd_bus_message_unref(m);
}

static void test_polkit_that_never_answers(void **state)
{
	static const uint64_t limits[] = { BUS_AUTH_TIMEOUT, BUS_AUTH_TIMEOUT_INTERACTIVE };

	bench_start_polkit(NULL);
	bench_be_stranger();
	for (unsigned int i = 0; i < 2; i++) {
		struct bench_reply reply;

		if (i == 0)
			bench_call(bench.me, &reply, MANAGER, "Reload", "");
		else
			call_interactively(&reply);
		bench_await(bench.asked == i + 1);
		assert_int_equal(bench.polkit_flags, i);
		bench_pass(limits[i] - 1 * TIMERS_S);
		bench_settle();
		assert_int_equal(reply.count, 0);
		bench_pass(1 * TIMERS_S);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "NotAuthorized");
		assert_non_null(strstr(reply.text, "in time"));
		/* Its dialog goes away, and what it says too late is not heard. */
		bench_await(bench.cancelled == i + 1);
		bench_polkit_answers("yes");
		bench_settle();
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.n_ops, 0);
}

/* That somebody would have to be asked, and cannot be: what the caller can do about it is told. */
static void test_nobody_to_ask(void **state)
{
	static const char *const words[] = { "forbids to ask", "(with sudo?)" };

	bench_start_polkit("challenge");
	bench_be_stranger();
	for (unsigned int i = 0; i < 2; i++) {
		struct bench_reply reply;

		if (i == 0)
			bench_call(bench.me, &reply, MANAGER, "Reload", "");
		else
			call_interactively(&reply);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "NotAuthorized");
		assert_non_null(strstr(reply.text, words[i]));
		assert_non_null(strstr(reply.text, "root, the group espat-admin, or polkit"));
		/* One that is registered for a shell is none for what runs in it. */
		assert_null(strstr(reply.text, "pkttyagent"));
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.n_ops, 0);
}

static void test_polkit_that_goes(void **state)
{
	struct bench_reply reply;

	bench_start_polkit(NULL);
	bench_be_stranger();
	bench_call(bench.me, &reply, MANAGER, "Reload", "");
	bench_await(bench.asked == 1);
	bench.question = sd_bus_message_unref(bench.question);
	bench_disconnect(bench.polkit);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "NotAuthorized");
	bench_reply_clear(&reply);
	assert_int_equal(bench.n_ops, 0);
}

/* How many have been answered with this error. */
static unsigned int count_errors(const struct bench_reply *replies, size_t n, const char *error)
{
	unsigned int found = 0;

	for (size_t i = 0; i < n; i++)
		found += replies[i].count > 0 && strcmp(replies[i].error, error) == 0;
	return found;
}

/* Of one user, over all his connections; who needs no polkit finds room. */
static void test_many_of_one_user(void **state)
{
	static struct bench_reply replies[2 * BUS_AUTH_USER_MAX];
	struct bench_client *callers[2] = { bench_connect(), bench_connect() };

	bench_start_polkit(NULL);
	bench_be_stranger();
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
		bench_call(callers[i % 2], &replies[i], MANAGER, "Reload", "");
	bench_await(bench.asked == BUS_AUTH_USER_MAX);
	/* Whose these are is the bus's choice: both callers wait in it. */
	bench_await(count_errors(replies, ARRAY_SIZE(replies), "Busy") == BUS_AUTH_USER_MAX);
	assert_int_equal(bench.bus->n_requests, BUS_AUTH_USER_MAX);
	bench.bus->root = getuid();
	assert_reload("");
	bench_be_stranger();
	/* One that is answered makes room for the next one. */
	bench_polkit_answers("no");
	bench_await(bench.bus->n_requests == BUS_AUTH_USER_MAX - 1);
	bench.verdict = "yes";
	assert_reload("");
	bench_pass(BUS_AUTH_TIMEOUT);
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
		bench_await_reply(&replies[i]);
	assert_int_equal(count_errors(replies, ARRAY_SIZE(replies), "NotAuthorized"),
			 BUS_AUTH_USER_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
		bench_reply_clear(&replies[i]);
	assert_int_equal(bench.bus->n_requests, 0);
}

/* Whatever waits for polkit, the bound of one caller holds, and others are served. */
static void test_many_that_wait(void **state)
{
	static struct bench_reply replies[BUS_REQUESTS_SENDER_MAX + 1];
	struct bench_client *other = bench_connect();
	struct bench_reply reply;

	bench_start_polkit(NULL);
	bench_be_stranger();
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
		bench_call(bench.me, &replies[i], MANAGER, "Reload", "");
	bench_await(bench.asked == BUS_REQUESTS_SENDER_MAX);
	bench_await_reply(&replies[BUS_REQUESTS_SENDER_MAX]);
	assert_string_equal(replies[BUS_REQUESTS_SENDER_MAX].error, "Busy");
	bench.bus->root = getuid();
	bench_call(other, &reply, MANAGER, "Reload", "");
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "");
	bench_reply_clear(&reply);
	bench_pass(BUS_AUTH_TIMEOUT);
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		bench_await_reply(&replies[i]);
		bench_reply_clear(&replies[i]);
	}
	assert_int_equal(bench.bus->n_requests, 0);
	assert_int_equal(bench.n_ops, 1);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_nobody),         BENCH_TEST(test_readers),
		BENCH_TEST(test_actions),        BENCH_TEST(test_verdicts),
		BENCH_TEST(test_the_privileged), BENCH_TEST(test_own_user),
		BENCH_TEST(test_groups),         BENCH_TEST(test_polkit_that_never_answers),
		BENCH_TEST(test_nobody_to_ask),  BENCH_TEST(test_polkit_that_goes),
		BENCH_TEST(test_many_that_wait), BENCH_TEST(test_many_of_one_user),
	};

	if (!bench_possible())
		return 77; /* skipped: there is no dbus-daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
