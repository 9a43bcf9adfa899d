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

#include "daemon/chips.h"
#include "daemon/daemon.h"
#include "daemon/report.h"
#include "daemon/state.h"
#include "daemon/version.h"
#include "util/cleanup.h"
#include "util/log.h"

/* sysexits.h; systemd does not restart a service that ends with it, by RestartPreventExitStatus=. */
#define EXIT_CONFIG 78
#define EXIT_USAGE 2

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
	const char *config;
	const char *runtime_dir;
	const char *state_dir;
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
	"      --bus none         no D-Bus interface (the only choice so far)\n"
	"  -v, --verbose          logs the AT traffic too, without payload and secrets\n"
	"  -h, --help             shows this\n"
	"      --version          shows the version\n"
	"\n"
	"SIGHUP reads the certificate and key files again.\n"
	"Exit status: 0 after SIGTERM, SIGINT, a good --check, or if all chips were provisioned; 1 "
	"if\n"
	"it cannot run or a chip was not provisioned; 2 for wrong usage; 78 for a configuration "
	"that\n"
	"is not right.\n";

static int usage_error(const char *what, const char *argument)
{
	fprintf(stderr, "espatd: %s%s%s\nTry `espatd --help`.\n", what, argument ? " " : "",
		argument ? argument : "");
	return EXIT_USAGE;
}

/* Returns -1, or the exit status. */
static int parse_timeout(struct options *options, const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < 1 || value > 86400)
		return usage_error("--timeout: expected 1 to 86400 seconds, not", text);
	options->daemon.timeout = (unsigned int)value;
	return -1;
}

static int add_device(struct options *options, const char *name)
{
	if (options->daemon.n_devices == DEVICES_MAX)
		return usage_error("too many --device options", NULL);
	options->devices[options->daemon.n_devices++] = name;
	return -1;
}

static int set_action(struct options *options, enum action action, char *argument)
{
	if (options->action != ACTION_RUN)
		return usage_error("only one of --check, --adopt, --rollback and --forget is "
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

	if (!options->config)
		return usage_error("-c FILE is needed", NULL);
	if (!d->provision_only && (d->n_devices > 0 || d->erase_orphans || d->timeout > 0))
		return usage_error(
			"--device, --timeout and --erase-orphans go with --provision-only", NULL);
	if (d->provision_only && options->action != ACTION_RUN)
		return usage_error("--provision-only together with another action", NULL);
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
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	int c, r = -1;

	while (r < 0 && (c = getopt_long(argc, argv, "c:vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->config = optarg;
			break;
		case OPT_RUNTIME_DIR:
			options->runtime_dir = optarg;
			break;
		case OPT_STATE_DIR:
			options->state_dir = optarg;
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
			if (strcmp(optarg, "none") != 0) {
				fprintf(stderr, "espatd: --bus %s: only `none` is there so far\n",
					optarg);
				return EXIT_USAGE;
			}
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
		return usage_error("too many arguments", NULL);
	return check_options(options);
}

static void parts_clear(struct daemon_parts *parts)
{
	material_free(parts->material);
	store_free(parts->store);
	config_free(parts->config);
}

static int load_config(struct daemon_parts *parts, const struct options *options,
		       struct problems *problems)
{
	int r;

	r = config_load(&parts->config, options->config, problems);
	if (r == 0 && options->runtime_dir)
		r = config_set_runtime_dir(parts->config, options->runtime_dir, problems);
	if (r == 0 && options->state_dir)
		r = config_set_state_dir(parts->config, options->state_dir, problems);
	return r;
}

/* @lock_fd is closed by the caller when he is done with the store. */
static int open_store(struct daemon_parts *parts, int *lock_fd)
{
	const char *dir = parts->config->state_dir;
	int r;

	r = state_lock(dir, true, lock_fd);
	if (r == 0)
		r = store_new(&parts->store, dir);
	if (r < 0 && r != -ENOMEM)
		log_error("cannot keep certificates and keys in %s: %s", dir, strerror(-r));
	return r;
}

/* All of @parts. Returns 0, -EINVAL (complaints), or -errno (logged, but for -ENOMEM). */
static int load(struct daemon_parts *parts, const struct options *options,
		struct problems *problems)
{
	_cleanup_close_ int lock_fd = -1;
	int r;

	r = load_config(parts, options, problems);
	if (r == 0 && options->action == ACTION_RUN)
		r = open_store(parts, &lock_fd);
	/* These two have nothing to do with what the files hold. */
	if (r < 0 || options->action == ACTION_ADOPT || options->action == ACTION_FORGET)
		return r;
	r = material_load(&parts->material, parts->config, parts->store, time(NULL),
			  options->action == ACTION_CHECK ? MATERIAL_DATES_REFUSE
							  : MATERIAL_DATES_WARN,
			  problems);
	if (r < 0 && r != -EINVAL && r != -ENOMEM)
		log_error("cannot keep certificates and keys in %s: %s", parts->config->state_dir,
			  strerror(-r));
	return r;
}

/* Whether the configuration has the name behind `authority:` or `identity:`. */
static bool config_has(const struct config *config, enum store_kind kind, const char *name)
{
	if (kind == STORE_AUTHORITY) {
		for (size_t i = 0; i < config->n_authorities; i++)
			if (strcmp(config->authorities[i].name, name) == 0)
				return true;
		return false;
	}
	for (size_t i = 0; i < config->n_identities; i++)
		if (strcmp(config->identities[i].name, name) == 0)
			return true;
	return false;
}

static void note_forgotten(void *userdata, enum store_kind kind, const char *name)
{
	const char *text = kind == STORE_AUTHORITY ? "authority" : "identity";

	if (!config_has(userdata, kind, name))
		log_notice(
			"%s:%s is kept in the state folder, and the configuration has it no more: "
			"`espatd --forget %s:%s` removes it",
			text, name, text, name);
}

/* The exit status for what load() returned; -1 to go on. */
static int show_problems(struct problems *problems, int r)
{
	int status = -1;

	log_problems(problems);
	if (r == -ENOMEM)
		log_error("out of memory");
	if (problems->errors > 0 || r == -EINVAL)
		status = EXIT_CONFIG;
	else if (r < 0)
		status = EXIT_FAILURE;
	problems_clear(problems);
	return status;
}

static const struct config_device *find_device(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_devices; i++)
		if (strcmp(config->devices[i].name, name) == 0)
			return &config->devices[i];
	log_error("no device has the name %s", name);
	return NULL;
}

/* ---- single actions ---- */

/* @argument: NAME=MAC or NAME=next */
static int adopt(const struct config *config, char *argument)
{
	char *mac = strchr(argument, '=');
	const struct config_device *device;
	_cleanup_close_ int lock_fd = -1;
	bool next;
	int r;

	if (!mac)
		return usage_error("--adopt: expected NAME=MAC or NAME=next, not", argument);
	*mac++ = '\0';
	next = strcmp(mac, "next") == 0;
	if (!next && chips_check_mac(mac))
		return usage_error("--adopt: expected NAME=next, or NAME= and",
				   chips_check_mac(mac));
	device = find_device(config, argument);
	if (!device)
		return EXIT_FAILURE;
	if (device->mac || device->adopt != CONFIG_ADOPT_FIRST) {
		log_error("device %s has %s in its configuration, so nothing is remembered for it",
			  device->name, device->mac ? "a `mac`" : "`adopt = \"any\"`");
		return EXIT_FAILURE;
	}
	r = state_lock(config->state_dir, true, &lock_fd);
	if (r == 0)
		r = next ? chips_forget(config->state_dir, device->name)
			 : chips_remember(config->state_dir, device->name, mac);
	if (r < 0) {
		log_error("cannot remember the chip in %s: %s", config->state_dir, strerror(-r));
		return EXIT_FAILURE;
	}
	printf("The chip of %s is %s.\n", device->name, next ? "the one that is found next" : mac);
	return EXIT_SUCCESS;
}

/* @argument: authority:NAME or identity:NAME */
static int forget(struct daemon_parts *parts, const char *argument)
{
	enum store_kind kind = strncmp(argument, "identity:", 9) == 0 ? STORE_IDENTITY
								      : STORE_AUTHORITY;
	const char *name = strchr(argument, ':');
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (!name || (kind == STORE_AUTHORITY && strncmp(argument, "authority:", 10) != 0))
		return usage_error("--forget: expected authority:NAME or identity:NAME, not",
				   argument);
	name++;
	if (config_has(parts->config, kind, name)) {
		log_error("%s is in the configuration: take it out first", argument);
		return EXIT_FAILURE;
	}
	r = open_store(parts, &lock_fd);
	if (r < 0)
		return EXIT_FAILURE;
	r = store_remove(parts->store, kind, name);
	if (r < 0) {
		log_error("cannot forget %s: %s", argument, strerror(-r));
		return EXIT_FAILURE;
	}
	printf("Nothing is kept of %s.\n", argument);
	return EXIT_SUCCESS;
}

/* @argument: authority:NAME or identity:NAME */
static const struct material_item *find_item(const struct material *material, const char *argument)
{
	for (size_t i = 0; i < material->n_items; i++) {
		const struct material_item *item = &material->items[i];
		const char *kind = item->type == MATERIAL_AUTHORITY ? "authority:" : "identity:";
		size_t n = strlen(kind);

		if (item->type != MATERIAL_NVS && strncmp(argument, kind, n) == 0 &&
		    strcmp(argument + n, item->name) == 0)
			return item;
	}
	log_error("%s is no authority:NAME or identity:NAME of this configuration", argument);
	return NULL;
}

static int rollback(struct daemon_parts *parts, const char *argument, struct problems *problems)
{
	const struct material_item *item = find_item(parts->material, argument);
	uint8_t origin[CERT_DIGEST_SIZE];
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (!item)
		return EXIT_FAILURE;
	r = open_store(parts, &lock_fd);
	if (r < 0)
		return EXIT_FAILURE;
	r = material_origin(item, origin, time(NULL), problems);
	if (r == 0)
		r = store_roll_back(parts->store,
				    item->type == MATERIAL_IDENTITY ? STORE_IDENTITY
								    : STORE_AUTHORITY,
				    item->name, origin, time(NULL));
	if (r == -ENOENT)
		log_error("nothing is kept of %s from before", argument);
	else if (r == -EINVAL)
		log_problems(problems);
	else if (r < 0)
		log_error("cannot roll %s back: %s", argument, strerror(-r));
	else
		printf("%s is what it was before; a running espatd takes it after SIGHUP.\n",
		       argument);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(const struct options *options)
{
	_cleanup_(parts_clear) struct daemon_parts parts = { 0 };
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	struct problems problems = PROBLEMS_NULL;
	int status, r;

	r = load(&parts, options, &problems);
	status = show_problems(&problems, r);
	if (status >= 0)
		return status;
	for (size_t i = 0; i < options->daemon.n_devices; i++)
		if (!find_device(parts.config, options->devices[i]))
			return EXIT_FAILURE;
	switch (options->action) {
	case ACTION_CHECK:
		puts("The configuration is right.");
		return EXIT_SUCCESS;
	case ACTION_ADOPT:
		return adopt(parts.config, options->argument);
	case ACTION_ROLLBACK:
		status = rollback(&parts, options->argument, &problems);
		problems_clear(&problems);
		return status;
	case ACTION_FORGET:
		return forget(&parts, options->argument);
	case ACTION_RUN:
		break;
	}
	store_each(parts.store, note_forgotten, parts.config);
	r = daemon_new(&daemon, &parts, &options->daemon);
	parts = (struct daemon_parts){ 0 };
	if (r < 0)
		return EXIT_FAILURE;
	return daemon_run(daemon) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int r;

	options.daemon.devices = options.devices;
	r = parse_options(argc, argv, &options);
	if (r >= 0)
		return r;
	/* Keys and passwords pass through this memory: no core dump, no ptrace by others. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	signal(SIGPIPE, SIG_IGN);
	return run(&options);
}
