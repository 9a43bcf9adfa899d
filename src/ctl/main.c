/* SPDX-License-Identifier: MIT */
/* espatctl: options, and the table of commands. */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ctl/bus.h"
#include "ctl/text.h"
#include "daemon/version.h"
#include "util/cleanup.h"

/* Reading is answered from what the daemon knows. */
#define READ_TIMEOUT 25
/* A change may wait for a password of polkit, and for several chips after one another. */
#define TIMEOUT_USUAL 300
#define SECONDS_MAX 86400
/* How long doctor looks at a chip that is being brought up. */
#define WAIT_USUAL 5

static const struct ctl_command commands[] = {
	{ "status", "", "everything at one glance", NULL, 0, cmd_status },
	{ "devices", "[NAME]", "the chips, or all of one", NULL, 0, cmd_devices },
	{ "tunnels", "[NAME]", "the tunnels, or all of one", NULL, 0, cmd_tunnels },
	{ "certs", "[list|load|erase|verify|rollback|orphans|...]",
	  "certificates and keys, on the chips and by name",
	  "  list [DEVICE]                      what was read of the chips so far (the default)\n"
	  "  load [DEVICE] NAMESPACE SLOT FILE  writes a value; FILE may be -\n"
	  "  erase [DEVICE] NAMESPACE SLOT      erases one; SLOT: 0 to 9, or none\n"
	  "  verify [DEVICE]                    reads all that should be there, repairs nothing\n"
	  "  orphans [DEVICE]                   what espatd has written and nobody needs\n"
	  "  authorities, identities            the names, and what they hold\n"
	  "  set-authority NAME FILE            new CA certificates\n"
	  "  set-identity NAME CERT KEY         a new certificate and its key\n"
	  "  remove-authority NAME, remove-identity NAME\n"
	  "  rollback NAME                      what was before is current again\n",
	  0, cmd_certs },
	{ "wifi", "[status|scan|join|leave]", "the chips' network",
	  "  status [DEVICE]      what they are joined to (the default)\n"
	  "  scan [DEVICE]        the networks in range\n"
	  "  join [DEVICE] SSID   joins another one; asks for the password\n"
	  "  leave [DEVICE]       leaves it\n",
	  OPT_PASSWORD_FILE | OPT_BSSID | OPT_HIDDEN, cmd_wifi },
	{ "tunnel", "add NAME KEY=VALUE...|remove NAME", "makes and removes tunnels",
	  "  add NAME KEY=VALUE...   keys as in espatd.conf(5); a list is A,B\n"
	  "  remove NAME\n",
	  OPT_PERSIST, cmd_tunnel },
	{ "monitor", "", "shows changes as they come", NULL, OPT_SECONDS, cmd_monitor },
	{ "trace", "[DEVICE] [FILE]", "records the AT traffic of a chip",
	  "Without FILE it goes to standard output. With one argument, that is the device, or "
	  "with\n"
	  "a / in it, the file.\n",
	  OPT_SECONDS | OPT_BYTES, cmd_trace },
	{ "command", "[DEVICE] LINE", "sends an AT command, and shows the answer", NULL, 0,
	  cmd_command },
	{ "reload", "", "reads the configuration again", NULL, 0, cmd_reload },
	{ "reset", "[DEVICE]", "resets a chip", NULL, 0, cmd_reset },
	{ "reprobe", "[DEVICE]", "looks for the chip anew", NULL, 0, cmd_reprobe },
	{ "sync-time", "[DEVICE]", "sets the chip's clock", NULL, 0, cmd_sync_time },
	{ "adopt", "[DEVICE]", "the chip that is there now belongs to the device", NULL, 0,
	  cmd_adopt },
	{ "disconnect", "TUNNEL", "ends all connections of a tunnel", NULL, 0, cmd_disconnect },
	{ "log-level", "[LEVEL]", "what is logged: error, warning, notice, info or debug", NULL, 0,
	  cmd_log_level },
	{ "doctor", "", "says what is wrong, and what to do", NULL,
	  OPT_WAIT | OPT_UDEV_DATA | OPT_RULES | OPT_SYSFS, cmd_doctor },
	{ "udev", "", "udev rules for the ports of the configured chips", NULL,
	  OPT_WRITE | OPT_RULES | OPT_SYSFS | OPT_UDEV_DATA, cmd_udev },
	{ "metrics", "", "numbers for Prometheus", NULL, OPT_TEXTFILE | OPT_LISTEN, cmd_metrics },
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

/* Texts of the options that not every command has. */
static const struct {
	enum ctl_option option;
	const char *name;
	const char *text;
} own_options[] = {
	{ OPT_PERSIST, "persist", "      --persist            also after a restart" },
	{ OPT_PASSWORD_FILE, "password-file",
	  "      --password-file F    its first line is the password; - is standard input" },
	{ OPT_BSSID, "bssid", "      --bssid MAC          this access point only" },
	{ OPT_HIDDEN, "hidden", "      --hidden             the network does not tell its name" },
	{ OPT_SECONDS, "seconds", "      --seconds N          ends after so long" },
	{ OPT_BYTES, "bytes", "      --bytes N            ends after so much" },
	{ OPT_WRITE, "write", "      --write              writes them to the file of rules" },
	{ OPT_RULES, "rules",
	  "      --rules FILE         the file of rules (/etc/udev/rules.d/70-espat.rules)" },
	{ OPT_SYSFS, "sysfs", "      --sysfs DIR          instead of /sys" },
	{ OPT_UDEV_DATA, "udev-data", "      --udev-data DIR      instead of /run/udev/data" },
	{ OPT_TEXTFILE, "textfile",
	  "      --textfile FILE      replaces that file, for node_exporter" },
	{ OPT_LISTEN, "listen",
	  "      --listen WHERE       serves it by HTTP: a path, or [ADDRESS:]PORT on loopback" },
	{ OPT_WAIT, "wait",
	  "      --wait N             seconds to look at a chip that is on its way (5)" },
};

/* ---- messages ---- */

static void print_lines(const char *prefix, char *text)
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n"))) {
		_cleanup_free_ char *clean = text_clean(line);

		if (clean && *clean)
			fprintf(stderr, "%s%s\n", prefix, clean);
	}
}

__attribute__((format(printf, 1, 0))) static void complain(const char *format, va_list ap)
{
	char *text;

	if (vasprintf(&text, format, ap) < 0)
		return;
	fflush(stdout);
	print_lines("espatctl: ", text);
	free(text);
}

void ctl_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(format, ap);
	va_end(ap);
}

enum ctl_exit ctl_usage(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(format, ap);
	va_end(ap);
	fputs("Try `espatctl --help`, or `espatctl COMMAND --help`.\n", stderr);
	return CTL_USAGE;
}

enum ctl_exit ctl_oom(void)
{
	fputs("espatctl: out of memory\n", stderr);
	return CTL_FAILED;
}

enum ctl_exit ctl_result(int r)
{
	if (r == 0)
		return CTL_OK;
	if (r == -ENOMEM)
		return ctl_oom();
	ctl_error("%s", strerror(-r));
	return CTL_FAILED;
}

/* ---- help ---- */

static const char general_options[] =
	"      --bus BUS            system (the default), session, or an address\n"
	"      --json               JSON, see espatctl(1)\n"
	"      --color WHEN         auto (the default), always or never\n"
	"      --timeout SECONDS    how long a change may take (300)\n"
	"  -h, --help               shows this, or with a command, that of it\n"
	"      --version            shows the version\n";

static void show_help(void)
{
	puts("Usage: espatctl [OPTION]... COMMAND [ARGUMENT]...\n"
	     "Shows and changes what espatd does.\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-12s %s\n", commands[i].name, commands[i].summary);
	printf("\n%s\n"
	       "A DEVICE may be left out if there is only one.\n"
	       "Exit status: 0 done; 1 not done, or not everywhere; 2 wrong usage; 3 the service "
	       "is\n"
	       "not reachable; 4 not authorized; 5 no such object; 6 the chip is not ready.\n",
	       general_options);
}

static void show_command_help(const struct ctl_command *command)
{
	printf("Usage: espatctl %s%s%s [OPTION]...\n%c%s.\n", command->name,
	       *command->arguments ? " " : "", command->arguments,
	       command->summary[0] >= 'a' ? command->summary[0] - 'a' + 'A' : command->summary[0],
	       command->summary + 1);
	if (command->help)
		printf("\n%s", command->help);
	putchar('\n');
	for (size_t i = 0; i < sizeof(own_options) / sizeof(*own_options); i++)
		if (command->options & own_options[i].option)
			puts(own_options[i].text);
	fputs(general_options, stdout);
}

/* ---- options ---- */

enum {
	OPTION_BUS = 256,
	OPTION_JSON,
	OPTION_COLOR,
	OPTION_TIMEOUT,
	OPTION_VERSION,
	OPTION_OWN, /* + the number of its bit */
};

struct parsed {
	const char *color;
	bool help;
	bool version;
	unsigned int given; /* of enum ctl_option */
};

static enum ctl_exit parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
				  uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || *ret < min || *ret > max)
		return ctl_usage("--%s: expected a number from %llu to %llu, not %s", option,
				 (unsigned long long)min, (unsigned long long)max, text);
	return CTL_OK;
}

static enum ctl_exit parse_seconds(const char *option, const char *text, uint64_t min,
				   unsigned int *ret)
{
	uint64_t value;
	enum ctl_exit status = parse_number(option, text, min, SECONDS_MAX, &value);

	if (status == CTL_OK)
		*ret = (unsigned int)value;
	return status;
}

static enum ctl_exit parse_own(struct ctl_options *opt, enum ctl_option option, const char *arg)
{
	switch (option) {
	case OPT_PERSIST:
		opt->persist = true;
		break;
	case OPT_PASSWORD_FILE:
		opt->password_file = arg;
		break;
	case OPT_BSSID:
		opt->bssid = arg;
		break;
	case OPT_HIDDEN:
		opt->hidden = true;
		break;
	case OPT_SECONDS:
		return parse_seconds("seconds", arg, 1, &opt->seconds);
	case OPT_BYTES:
		return parse_number("bytes", arg, 1, INT64_MAX, &opt->bytes);
	case OPT_WRITE:
		opt->write = true;
		break;
	case OPT_SYSFS:
		opt->sysfs = arg;
		break;
	case OPT_UDEV_DATA:
		opt->udev_data = arg;
		break;
	case OPT_RULES:
		opt->rules = arg;
		break;
	case OPT_TEXTFILE:
		opt->textfile = arg;
		break;
	case OPT_LISTEN:
		opt->listen = arg;
		break;
	case OPT_WAIT:
		return parse_seconds("wait", arg, 0, &opt->wait);
	}
	return CTL_OK;
}

static enum ctl_exit parse_option(struct ctl *ctl, struct parsed *parsed, int c)
{
	switch (c) {
	case OPTION_BUS:
		ctl->address = optarg;
		break;
	case OPTION_JSON:
		ctl->json = true;
		break;
	case OPTION_COLOR:
		parsed->color = optarg;
		break;
	case OPTION_TIMEOUT:
		return parse_seconds("timeout", optarg, 1, &ctl->timeout);
	case OPTION_VERSION:
		parsed->version = true;
		break;
	case 'h':
		parsed->help = true;
		break;
	case '?':
		/* getopt has said what. */
		fputs("Try `espatctl --help`, or `espatctl COMMAND --help`.\n", stderr);
		return CTL_USAGE;
	default:
		parsed->given |= 1u << (c - OPTION_OWN);
		return parse_own(&ctl->opt, 1u << (c - OPTION_OWN), optarg);
	}
	return CTL_OK;
}

static enum ctl_exit parse_options(struct ctl *ctl, struct parsed *parsed, int argc, char **argv)
{
#define OWN(name, arg, number)                                                                     \
	{                                                                                          \
		name, arg, NULL, OPTION_OWN + (number)                                             \
	}
	static const struct option longs[] = {
		{ "bus", required_argument, NULL, OPTION_BUS },
		{ "json", no_argument, NULL, OPTION_JSON },
		{ "color", required_argument, NULL, OPTION_COLOR },
		{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, 'h' },
		OWN("persist", no_argument, 0),
		OWN("password-file", required_argument, 1),
		OWN("bssid", required_argument, 2),
		OWN("hidden", no_argument, 3),
		OWN("seconds", required_argument, 4),
		OWN("bytes", required_argument, 5),
		OWN("write", no_argument, 6),
		OWN("sysfs", required_argument, 7),
		OWN("udev-data", required_argument, 8),
		OWN("rules", required_argument, 9),
		OWN("textfile", required_argument, 10),
		OWN("listen", required_argument, 11),
		OWN("wait", required_argument, 12),
		{ 0 },
	};
	enum ctl_exit status = CTL_OK;
	int c;

	while (status == CTL_OK && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		status = parse_option(ctl, parsed, c);
	ctl->argc = argc - optind;
	ctl->argv = argv + optind;
	return status;
}

static enum ctl_exit choose_color(struct ctl *ctl, const char *when)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (strcmp(when, "always") == 0)
		ctl->color = true;
	else if (strcmp(when, "auto") == 0)
		ctl->color = isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
			     !(term && strcmp(term, "dumb") == 0);
	else if (strcmp(when, "never") != 0)
		return ctl_usage("--color: expected auto, always or never, not %s", when);
	return CTL_OK;
}

static enum ctl_exit check_own(const struct ctl_command *command, unsigned int given)
{
	for (size_t i = 0; i < sizeof(own_options) / sizeof(*own_options); i++)
		if (given & ~command->options & own_options[i].option)
			return ctl_usage("--%s does not go with `%s`", own_options[i].name,
					 command->name);
	return CTL_OK;
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

const struct ctl_subcommand *ctl_subcommand(struct ctl *ctl, const struct ctl_subcommand *table,
					    size_t n)
{
	for (size_t i = 0; ctl->argc > 0 && i < n; i++) {
		if (strcmp(ctl->argv[0], table[i].name) != 0)
			continue;
		ctl->argc--;
		ctl->argv++;
		return &table[i];
	}
	return NULL;
}

static enum ctl_exit run_command(struct ctl *ctl, const struct parsed *parsed)
{
	const struct ctl_command *command;
	enum ctl_exit status;

	if (parsed->version) {
		puts("espatctl " ESPATD_VERSION);
		return CTL_OK;
	}
	if (ctl->argc == 0 && parsed->help) {
		show_help();
		return CTL_OK;
	}
	if (ctl->argc == 0)
		return ctl_usage("which command?");
	command = find_command(ctl->argv[0]);
	if (!command)
		return ctl_usage("there is no command `%s`", ctl->argv[0]);
	if (parsed->help) {
		show_command_help(command);
		return CTL_OK;
	}
	ctl->argc--;
	ctl->argv++;
	status = check_own(command, parsed->given);
	return status == CTL_OK ? command->run(ctl) : status;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.address = "system",
		.read_timeout = READ_TIMEOUT,
		.timeout = TIMEOUT_USUAL,
		.opt = { .sysfs = "/sys",
			 .udev_data = "/run/udev/data",
			 .rules = "/etc/udev/rules.d/70-espat.rules",
			 .wait = WAIT_USUAL },
	};
	struct parsed parsed = { .color = "auto" };
	enum ctl_exit status;

	/* Keys and passwords pass through this memory: no core dump, no ptrace by others. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	signal(SIGPIPE, SIG_IGN);
	/* What comes over the bus is UTF-8, and that is what people's terminals are. */
	setlocale(LC_CTYPE, "C.UTF-8");
	status = parse_options(&ctl, &parsed, argc, argv);
	if (status == CTL_OK)
		status = choose_color(&ctl, parsed.color);
	if (status == CTL_OK)
		status = run_command(&ctl, &parsed);
	ctl_disconnect(&ctl);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CTL_OK) {
		/* Whoever has read enough, as `head` does, wants no complaint. */
		if (errno != EPIPE)
			ctl_error("cannot write: %s", strerror(errno));
		status = CTL_FAILED;
	}
	return status;
}
