/* SPDX-License-Identifier: MIT */
/* espatd: options, complaints about the configuration, and running. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "bus/bus.h"
#include "daemon/actions.h"
#include "daemon/daemon.h"
#include "daemon/load.h"
#include "daemon/report.h"
#include "daemon/version.h"
#include "util/cleanup.h"
#include "util/log.h"

/* sysexits.h; systemd does not restart a service that ends with it, by RestartPreventExitStatus=. */
#define EXIT_CONFIG 78

DEFINE_CLEANUP(struct daemon *, daemon_free)

/* Most --device options: as many as a configuration can have. */
#define DEVICES_MAX CONFIG_DEVICES_MAX

enum action {
	ACTION_RUN,
	ACTION_CHECK,
	ACTION_ADOPT,
	ACTION_ROLLBACK,
	ACTION_FORGET,
};

struct options {
	enum action action;
	char *argument; /* of the action */
	const char *devices[DEVICES_MAX];
	struct daemon_options daemon;
};

static const char usage_text[] =
	"Usage: espatd -c FILE [OPTION]...\n"
	"Serves TLS tunnels through Espressif chips that run ESP-AT.\n"
	"\n"
	"  -c, --config FILE      the configuration, see espatd.conf(5)\n"
	"      --runtime-dir DIR  where the sockets go, instead of `runtime_dir`\n"
	"      --state-dir DIR    where state is kept, instead of `state_dir`\n"
	"      --check            checks the configuration and the files it names, and ends\n"
	"      --provision-only   writes what the chips must hold, verifies it, tells each one's\n"
	"                         result in a line of JSON, and ends\n"
	"      --device NAME      with it: only this device; repeatable\n"
	"      --timeout SECONDS  with it: for all of it, 1 to 86400 (120)\n"
	"      --erase-orphans    with it: erases what espatd has written and no chip needs\n"
	"      --adopt NAME=MAC   the chip of device NAME is the one with this MAC address;\n"
	"      --adopt NAME=next  the one that is found next\n"
	"      --rollback authority:NAME, --rollback identity:NAME\n"
	"                         its certificates of before are current again (after SIGHUP)\n"
	"      --forget authority:NAME, --forget identity:NAME\n"
	"                         removes what is kept of a name that the configuration has no "
	"more\n"
	"      --bus BUS          where the D-Bus interface is: system, session, none, or the\n"
	"                         address of a bus (system)\n"
	"      --trace FILE       records the AT traffic in this new file, without secrets and "
	"payload\n"
	"  -v, --verbose          logs the AT traffic too, without payload and secrets\n"
	"  -h, --help             shows this\n"
	"      --version          shows the version\n"
	"\n"
	"SIGHUP reads the configuration, certificates and keys again.\n"
	"Exit status: 0 after SIGTERM, SIGINT, a good --check, or if all chips were provisioned; 1 "
	"if\n"
	"it cannot run or a chip was not provisioned; 2 for wrong usage; 78 for a configuration "
	"that\n"
	"is not right.\n";

/* Returns -1, or the exit status. */
static int parse_timeout(struct options *options, const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < 1 || value > 86400)
		return action_usage_error("--timeout: expected 1 to 86400 seconds, not", text);
	options->daemon.timeout = (unsigned int)value;
	return -1;
}

static int set_bus(struct options *options, const char *address)
{
	const char *expected = bus_check_address(address);

	if (expected) {
		fprintf(stderr, "espatd: --bus %s: expected %s\nTry `espatd --help`.\n", address,
			expected);
		return EXIT_USAGE;
	}
	options->daemon.bus = address;
	return -1;
}

static int add_device(struct options *options, const char *name)
{
	if (options->daemon.n_devices == DEVICES_MAX)
		return action_usage_error("too many --device options", NULL);
	options->devices[options->daemon.n_devices++] = name;
	return -1;
}

static int set_action(struct options *options, enum action action, char *argument)
{
	if (options->action != ACTION_RUN)
		return action_usage_error(
			"only one of --check, --adopt, --rollback and --forget is "
			"possible",
			NULL);
	options->action = action;
	options->argument = argument;
	return -1;
}

/* Returns -1 if the options go together. */
static int check_options(const struct options *options)
{
	const struct daemon_options *d = &options->daemon;

	if (!d->config)
		return action_usage_error("-c FILE is needed", NULL);
	if (!d->provision_only && (d->n_devices > 0 || d->erase_orphans || d->timeout > 0))
		return action_usage_error(
			"--device, --timeout and --erase-orphans go with --provision-only", NULL);
	if (d->provision_only && options->action != ACTION_RUN)
		return action_usage_error("--provision-only together with another action", NULL);
	return -1;
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
	enum {
		OPT_RUNTIME_DIR = 256,
		OPT_STATE_DIR,
		OPT_CHECK,
		OPT_PROVISION_ONLY,
		OPT_DEVICE,
		OPT_TIMEOUT,
		OPT_ERASE_ORPHANS,
		OPT_ADOPT,
		OPT_ROLLBACK,
		OPT_FORGET,
		OPT_BUS,
		OPT_TRACE,
		OPT_VERSION
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
		{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "provision-only", no_argument, NULL, OPT_PROVISION_ONLY },
		{ "device", required_argument, NULL, OPT_DEVICE },
		{ "timeout", required_argument, NULL, OPT_TIMEOUT },
		{ "erase-orphans", no_argument, NULL, OPT_ERASE_ORPHANS },
		{ "adopt", required_argument, NULL, OPT_ADOPT },
		{ "rollback", required_argument, NULL, OPT_ROLLBACK },
		{ "forget", required_argument, NULL, OPT_FORGET },
		{ "bus", required_argument, NULL, OPT_BUS },
		{ "trace", required_argument, NULL, OPT_TRACE },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	int c, r = -1;

	while (r < 0 && (c = getopt_long(argc, argv, "c:vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->daemon.config = optarg;
			break;
		case OPT_RUNTIME_DIR:
			options->daemon.runtime_dir = optarg;
			break;
		case OPT_STATE_DIR:
			options->daemon.state_dir = optarg;
			break;
		case OPT_CHECK:
			r = set_action(options, ACTION_CHECK, NULL);
			break;
		case OPT_PROVISION_ONLY:
			options->daemon.provision_only = true;
			break;
		case OPT_DEVICE:
			r = add_device(options, optarg);
			break;
		case OPT_TIMEOUT:
			r = parse_timeout(options, optarg);
			break;
		case OPT_ERASE_ORPHANS:
			options->daemon.erase_orphans = true;
			break;
		case OPT_ADOPT:
			r = set_action(options, ACTION_ADOPT, optarg);
			break;
		case OPT_ROLLBACK:
			r = set_action(options, ACTION_ROLLBACK, optarg);
			break;
		case OPT_FORGET:
			r = set_action(options, ACTION_FORGET, optarg);
			break;
		case OPT_BUS:
			r = set_bus(options, optarg);
			break;
		case OPT_TRACE:
			options->daemon.trace = optarg;
			break;
		case 'v':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_SUCCESS;
		case OPT_VERSION:
			puts("espatd " ESPATD_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs("Try `espatd --help`.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (r >= 0)
		return r;
	if (optind < argc)
		return action_usage_error("too many arguments", NULL);
	return check_options(options);
}

static void note_forgotten(void *userdata, enum store_kind kind, const char *name)
{
	const char *text = kind == STORE_AUTHORITY ? "authority" : "identity";

	if (!load_config_has(userdata, kind, name))
		log_notice(
			"%s:%s is kept in the state folder, and the configuration has it no more: "
			"`espatd -c FILE --forget %s:%s` removes it",
			text, name, text, name);
}

/* The exit status for what load_all() returned; -1 to go on. */
static int show_problems(struct problems *problems, int r)
{
	int status = -1;

	/* Without memory what is right is complained about, too; systemd is to try again. */
	if (r == -ENOMEM) {
		log_error("out of memory");
		problems_clear(problems);
		return EXIT_FAILURE;
	}
	log_problems(problems);
	if (problems->errors > 0 || r == -EINVAL)
		status = EXIT_CONFIG;
	else if (r < 0)
		status = EXIT_FAILURE;
	problems_clear(problems);
	return status;
}

static enum load_how load_how(enum action action)
{
	switch (action) {
	case ACTION_RUN:
		return LOAD_TO_RUN;
	case ACTION_CHECK:
		return LOAD_TO_CHECK;
	case ACTION_ROLLBACK:
		return LOAD_TO_ROLL_BACK;
	case ACTION_ADOPT:
	case ACTION_FORGET:
		break;
	}
	return LOAD_CONFIG_ONLY;
}

static int run(const struct options *options)
{
	_cleanup_(load_clear) struct daemon_parts parts;
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	struct problems problems = PROBLEMS_NULL;
	int status, r;

	load_init(&parts);
	r = load_all(&parts, &options->daemon, load_how(options->action), &problems);
	status = show_problems(&problems, r);
	if (status >= 0)
		return status;
	for (size_t i = 0; i < options->daemon.n_devices; i++)
		if (!action_find_device(parts.config, options->devices[i]))
			return EXIT_FAILURE;
	switch (options->action) {
	case ACTION_CHECK:
		puts("The configuration is right.");
		return EXIT_SUCCESS;
	case ACTION_ADOPT:
		return action_adopt(parts.config, options->argument);
	case ACTION_ROLLBACK:
		return action_rollback(&parts, options->argument);
	case ACTION_FORGET:
		return action_forget(&parts, options->argument);
	case ACTION_RUN:
		break;
	}
	store_each(parts.store, note_forgotten, parts.config);
	r = daemon_new(&daemon, &parts, &options->daemon);
	if (r < 0)
		return r == -EINVAL ? EXIT_CONFIG : EXIT_FAILURE;
	return daemon_run(daemon) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whoever asks for a reload while it starts is not to end it: that waits until the loop looks for it. */
static void hold_reloads(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int r;

	options.daemon.devices = options.devices;
	options.daemon.bus = "system";
	r = parse_options(argc, argv, &options);
	if (r >= 0)
		return r;
	/* Keys and passwords pass through this memory: no core dump, no ptrace by others. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	signal(SIGPIPE, SIG_IGN);
	if (options.action == ACTION_RUN)
		hold_reloads();
	return run(&options);
}
