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

#include "daemon/daemon.h"
#include "daemon/version.h"
#include "util/cleanup.h"
#include "util/log.h"

/* sysexits.h; systemd does not restart a service that ends with it, by RestartPreventExitStatus=. */
#define EXIT_CONFIG 78
#define EXIT_USAGE 2

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct material *, material_free)
DEFINE_CLEANUP(struct daemon *, daemon_free)

struct options {
	const char *config;
	const char *runtime_dir;
	const char *state_dir;
	bool check;
};

static const char usage_text[] =
	"Usage: espatd -c FILE [OPTION]...\n"
	"Serves TLS tunnels through Espressif chips that run ESP-AT.\n"
	"\n"
	"  -c, --config FILE      the configuration, see espatd.conf(5)\n"
	"      --runtime-dir DIR  where the sockets go, instead of `runtime_dir`\n"
	"      --state-dir DIR    where state is kept, instead of `state_dir`\n"
	"      --check            checks the configuration and the files it names, and ends\n"
	"      --bus none         no D-Bus interface (the only choice so far)\n"
	"  -v, --verbose          logs the AT traffic too, without payload and secrets\n"
	"  -h, --help             shows this\n"
	"      --version          shows the version\n"
	"\n"
	"Exit status: 0 after SIGTERM, SIGINT or a good --check; 1 if it cannot run; 2 for wrong\n"
	"usage; 78 for a configuration that is not right.\n";

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
	enum {
		OPT_RUNTIME_DIR = 256,
		OPT_STATE_DIR,
		OPT_CHECK,
		OPT_BUS,
		OPT_VERSION
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
		{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "bus", required_argument, NULL, OPT_BUS },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:vh", longs, NULL)) != -1) {
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
			options->check = true;
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
	if (optind < argc || !options->config) {
		fprintf(stderr, "espatd: %s\nTry `espatd --help`.\n",
			optind < argc ? "too many arguments" : "-c FILE is needed");
		return EXIT_USAGE;
	}
	return -1;
}

static void show_problems(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		if (problems->items[i].severity == PROBLEM_ERROR)
			log_error("%s", problems->items[i].text);
		else
			log_warning("%s", problems->items[i].text);
	}
}

static int load(const struct options *options, struct config **config, struct material **material,
		struct problems *problems)
{
	int r;

	r = config_load(config, options->config, problems);
	if (r == 0 && options->runtime_dir)
		r = config_set_runtime_dir(*config, options->runtime_dir, problems);
	if (r == 0 && options->state_dir)
		r = config_set_state_dir(*config, options->state_dir, problems);
	if (r == 0)
		r = material_load(material, *config, time(NULL), problems);
	return r;
}

static int run(const struct options *options)
{
	_cleanup_(config_freep) struct config *config = NULL;
	_cleanup_(material_freep) struct material *material = NULL;
	_cleanup_(daemon_freep) struct daemon *daemon = NULL;
	struct problems problems = PROBLEMS_NULL;
	int r;

	r = load(options, &config, &material, &problems);
	show_problems(&problems);
	if (problems.errors > 0 || (r < 0 && r != -ENOMEM)) {
		problems_clear(&problems);
		return EXIT_CONFIG;
	}
	problems_clear(&problems);
	if (r < 0) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	if (options->check) {
		puts("The configuration is right.");
		return EXIT_SUCCESS;
	}
	r = daemon_new(&daemon, config, material);
	config = NULL;
	material = NULL;
	if (r < 0)
		return EXIT_FAILURE;
	return daemon_run(daemon) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int r;

	r = parse_options(argc, argv, &options);
	if (r >= 0)
		return r;
	/* Keys and passwords pass through this memory: no core dump, no ptrace by others. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	signal(SIGPIPE, SIG_IGN);
	return run(&options);
}
