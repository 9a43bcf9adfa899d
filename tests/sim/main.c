/* SPDX-License-Identifier: MIT */
/* espat-sim: an Espressif chip with ESP-AT firmware, on a pty or a Unix socket. */
#include "factory.h"
#include "net.h"
#include "port.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX 16384
#define MAX_EVENTS 16

struct sim {
	int epfd;
	struct sim_core *core;
	struct net *net;
	struct port *port;
	struct watch signals;
	const char *state;
	bool verbose, stop;
};

static const char usage[] =
	"Usage: espat-sim [OPTION]...\n"
	"Plays a chip with ESP-AT firmware. The first line of output is the path of its serial line.\n\n"
	"  --tty LINK            a pty, and LINK a symlink to it (without: the pty alone)\n"
	"  --listen unix:PATH    a Unix socket instead of the pty\n"
	"  --state FILE          its flash; made with factory content if it is not there\n"
	"  --firmware NAME       3.2, 3.4, 4.1 (default), 4.2, 5.0\n"
	"  --ssid NAME[,CHANNEL] an access point that it sees (repeatable; default: Espressif,5 MasseyWifi,10)\n"
	"  --psk PASS            the password of the --ssid before it\n"
	"  --mac XX:XX:XX:XX:XX:XX\n"
	"  --hosts FILE          lines NAME ADDRESS (its DNS; NAME - never answers) and\n"
	"                        ADDRESS[:PORT] REAL-ADDRESS[:PORT] (where that really is)\n"
	"  --allow-network       connections may leave loopback\n"
	"  --timing fast|real    delays: few (default), or as recorded\n"
	"  --boot-ms, --join-ms, --join-fail-ms, --scan-ms, --flash-ms, --latency-ms, --handshake-ms,\n"
	"  --connect-timeout-ms, --dns-timeout-ms N\n"
	"                        one of them, in milliseconds\n"
	"  --tx-buffer BYTES     output that may wait before the network is no longer read (8192)\n"
	"  --tls-rate BYTES/S    of TLS data, each way\n"
	"  -v, --verbose         AT traffic and TLS on stderr\n"
	"  -h, --help\n";

/* ---- flash file ---- */

static void save_flash(void *ud)
{
	struct sim *s = ud;
	const uint8_t *image;
	size_t len, at = 0;
	char tmp[4096];
	int fd;

	if (!s->state || !s->core)
		return;
	image = sim_core_flash(s->core, &len);
	if (snprintf(tmp, sizeof(tmp), "%s.%d", s->state, getpid()) >= (int)sizeof(tmp))
		return;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while (fd >= 0 && at < len) {
		ssize_t n = write(fd, image + at, len - at);

		if (n <= 0)
			break;
		at += n;
	}
	/* No fsync: it has to survive this process, not this machine. */
	if (fd < 0 || at < len || rename(tmp, s->state) < 0) {
		say("espat-sim: %s: %s", s->state, strerror(errno));
		unlink(tmp);
	}
	if (fd >= 0)
		close(fd);
}

static int load_flash(const char *path, uint8_t **image, size_t *len)
{
	struct stat st;
	size_t at = 0;
	int fd, r = 0;

	*image = NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	if (!r && st.st_size) {		/* an empty file is a new flash: mktemp(1) makes such */
		*image = malloc(st.st_size);
		if (!*image)
			abort();
		while (at < (size_t)st.st_size) {
			ssize_t n = read(fd, *image + at, st.st_size - at);

			if (n <= 0) {
				r = -EIO;
				break;
			}
			at += n;
		}
		*len = at;
	}
	close(fd);
	return r;
}

/* ---- log ---- */

static void log_bytes(const char *arrow, const uint8_t *data, size_t len)
{
	size_t shown = len < 300 ? len : 300;

	fprintf(stderr, "%s ", arrow);
	for (size_t i = 0; i < shown; i++) {
		if (data[i] == '\r')
			fputs("\\r", stderr);
		else if (data[i] == '\n')
			fputs("\\n", stderr);
		else if (isprint(data[i]))
			fputc(data[i], stderr);
		else
			fprintf(stderr, "\\x%02x", data[i]);
	}
	if (shown < len)
		fprintf(stderr, "... (%zu bytes)", len);
	fputc('\n', stderr);
}

/* ---- loop ---- */

static void flush_out(struct sim *s)
{
	const uint8_t *data;
	size_t len, n;

	for (;;) {
		data = sim_core_output(s->core, &len);
		if (!len)
			break;
		n = port_write(s->port, data, len);
		if (!n)
			break;
		if (s->verbose)
			log_bytes("D>H", data, n);
		sim_core_output_taken(s->core, now_us(), n);
	}
	port_want(s->port, sim_core_can_take(s->core), len);
}

static void take_in(struct sim *s)
{
	static uint8_t data[READ_MAX];
	size_t n;

	if (!port_readable(s->port) || !sim_core_can_take(s->core))
		return;
	n = port_read(s->port, data, sizeof(data));
	if (!n)
		return;
	if (s->verbose)
		log_bytes("H>D", data, n);
	sim_core_input(s->core, now_us(), data, n);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void run(struct sim *s)
{
	struct epoll_event ev[MAX_EVENTS];

	while (!s->stop) {
		uint64_t now = now_us(), next;
		struct timespec wait, *timeout = &wait;
		int n;

		next = port_run(s->port, now);
		net_run(s->net, now);
		sim_core_tick(s->core, now);
		flush_out(s);
		next = earlier(next, earlier(sim_core_next(s->core), net_next(s->net)));
		now = now_us();
		if (next == SIM_NEVER) {
			timeout = NULL;
		} else {
			next = next > now ? next - now : 0;
			wait = (struct timespec){ next / 1000000, next % 1000000 * 1000 };
		}
		n = epoll_pwait2(s->epfd, ev, MAX_EVENTS, timeout, NULL);
		for (int i = 0; i < n; i++) {
			struct watch *w = ev[i].data.ptr;

			if (w->in)
				w->cb(w->ud, ev[i].events);
		}
		take_in(s);
	}
}

static void signal_cb(void *ud, uint32_t events)
{
	struct sim *s = ud;

	s->stop = true;
}

/* The core's network is the net, its flash and UART are ours: one userdata for both. */
static struct sim *the_sim(void *net);

static struct sim sim = { .signals.fd = -1 };

static struct sim *the_sim(void *net)
{
	return &sim;
}

static void op_flash(void *ud)
{
	save_flash(the_sim(ud));
}

/* ---- options ---- */

enum {
	OPT_TTY = 256, OPT_LISTEN, OPT_STATE, OPT_FIRMWARE, OPT_SSID, OPT_PSK, OPT_MAC, OPT_HOSTS, OPT_ALLOW, OPT_TIMING,
	OPT_BOOT, OPT_JOIN, OPT_JOIN_FAIL, OPT_SCAN, OPT_FLASH, OPT_LATENCY, OPT_HANDSHAKE, OPT_CONNECT, OPT_DNS,
	OPT_TX, OPT_TLS_RATE,
};

static const struct option options[] = {
	{ "tty", 1, NULL, OPT_TTY },
	{ "listen", 1, NULL, OPT_LISTEN },
	{ "state", 1, NULL, OPT_STATE },
	{ "firmware", 1, NULL, OPT_FIRMWARE },
	{ "ssid", 1, NULL, OPT_SSID },
	{ "psk", 1, NULL, OPT_PSK },
	{ "mac", 1, NULL, OPT_MAC },
	{ "hosts", 1, NULL, OPT_HOSTS },
	{ "allow-network", 0, NULL, OPT_ALLOW },
	{ "timing", 1, NULL, OPT_TIMING },
	{ "boot-ms", 1, NULL, OPT_BOOT },
	{ "join-ms", 1, NULL, OPT_JOIN },
	{ "join-fail-ms", 1, NULL, OPT_JOIN_FAIL },
	{ "scan-ms", 1, NULL, OPT_SCAN },
	{ "flash-ms", 1, NULL, OPT_FLASH },
	{ "latency-ms", 1, NULL, OPT_LATENCY },
	{ "handshake-ms", 1, NULL, OPT_HANDSHAKE },
	{ "connect-timeout-ms", 1, NULL, OPT_CONNECT },
	{ "dns-timeout-ms", 1, NULL, OPT_DNS },
	{ "tx-buffer", 1, NULL, OPT_TX },
	{ "tls-rate", 1, NULL, OPT_TLS_RATE },
	{ "verbose", 0, NULL, 'v' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

struct args {
	struct sim_config cfg;
	struct net_options net;
	const char *tty, *listen;
};

static int bad(const char *option, const char *value, const char *expected)
{
	say("espat-sim: --%s %s: expected %s", option, value, expected);
	return -EINVAL;
}

static int number(const char *option, const char *text, unsigned min, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || v < min || v > 1000000000)
		return bad(option, text, "a number");
	*ret = v;
	return 0;
}

static int add_ssid(struct sim_config *cfg, const char *text)
{
	struct sim_ap *ap = &cfg->ap[cfg->n_ap];
	const char *comma = strrchr(text, ',');
	size_t len = comma ? (size_t)(comma - text) : strlen(text);

	if (cfg->n_ap == SIM_MAX_AP || !len || len > 32)
		return bad("ssid", text, "NAME[,CHANNEL], 1 to 32 bytes, 16 of them at most");
	*ap = (struct sim_ap){ .channel = comma ? atoi(comma + 1) : 1 };
	if (ap->channel < 1 || ap->channel > 165)
		return bad("ssid", text, "a channel from 1 to 165");
	memcpy(ap->ssid, text, len);
	cfg->n_ap++;
	return 0;
}

static int set_psk(struct sim_config *cfg, const char *text)
{
	if (!cfg->n_ap)
		return bad("psk", "...", "an --ssid before it");
	if (strlen(text) < 8 || strlen(text) > 64)
		return bad("psk", "...", "8 to 64 characters");
	strcpy(cfg->ap[cfg->n_ap - 1].psk, text);
	return 0;
}

static int set_mac(struct sim_config *cfg, const char *text)
{
	unsigned m[6];
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", m, m + 1, m + 2, m + 3, m + 4, m + 5, &end) != 6)
		return bad("mac", text, "six bytes as 24:0a:c4:12:34:56");
	for (int i = 0; i < 6; i++)
		cfg->mac[i] = m[i];
	return 0;
}

static int parse_option(struct sim *s, struct args *a, int opt, const char *name, char *arg)
{
	struct sim_times *t = &a->cfg.times;
	unsigned v;
	int r = 0;

	switch (opt) {
	case OPT_TTY:
		a->tty = arg;
		break;
	case OPT_LISTEN:
		if (strncmp(arg, "unix:", 5) || !arg[5])
			return bad(name, arg, "unix:PATH");
		a->listen = arg + 5;
		break;
	case OPT_STATE:
		s->state = arg;
		break;
	case OPT_FIRMWARE:
		a->cfg.firmware = arg;
		break;
	case OPT_SSID:
		return add_ssid(&a->cfg, arg);
	case OPT_PSK:
		return set_psk(&a->cfg, arg);
	case OPT_MAC:
		return set_mac(&a->cfg, arg);
	case OPT_HOSTS:
		a->net.hosts = arg;
		break;
	case OPT_ALLOW:
		a->net.allow_network = true;
		break;
	case OPT_TIMING:
		if (!strcmp(arg, "real"))
			sim_times_real(t);
		else if (!strcmp(arg, "fast"))
			sim_times_fast(t);
		else
			return bad(name, arg, "fast or real");
		break;
	case OPT_BOOT:
		return number(name, arg, 0, &t->boot);
	case OPT_JOIN:
		return number(name, arg, 0, &t->join);
	case OPT_JOIN_FAIL:
		return number(name, arg, 0, &t->join_fail);
	case OPT_SCAN:
		return number(name, arg, 0, &t->scan);
	case OPT_FLASH:
		return number(name, arg, 0, &t->flash);
	case OPT_LATENCY:
		return number(name, arg, 0, &t->latency);
	case OPT_HANDSHAKE:
		return number(name, arg, 0, &t->handshake);
	case OPT_CONNECT:
		return number(name, arg, 1, &t->connect_timeout);
	case OPT_DNS:
		return number(name, arg, 1, &t->dns_timeout);
	case OPT_TX:
		r = number(name, arg, 256, &v);
		a->cfg.tx_buffer = v;
		break;
	case OPT_TLS_RATE:
		return number(name, arg, 1, &a->net.tls_rate);
	case 'v':
		s->verbose = a->net.verbose = true;
		break;
	default:
		return -EINVAL;
	}
	return r;
}

/* 0 to go on, 1 after --help, -EINVAL. */
static int parse_args(struct sim *s, struct args *a, int argc, char **argv)
{
	int opt, index = 0, r;

	while ((opt = getopt_long(argc, argv, "vh", options, &index)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		r = parse_option(s, a, opt, opt >= 256 ? options[index].name : "", optarg);
		if (r < 0)
			return r;
	}
	if (optind < argc) {
		say("espat-sim: %s: expected options only", argv[optind]);
		return -EINVAL;
	}
	if (a->tty && a->listen) {
		say("espat-sim: either --tty or --listen");
		return -EINVAL;
	}
	if (!a->cfg.n_ap) {
		add_ssid(&a->cfg, "Espressif,5");
		add_ssid(&a->cfg, "MasseyWifi,10");
	}
	return 0;
}

static int catch_signals(struct sim *s)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = (struct watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC), .cb = signal_cb, .ud = s };
	if (s->signals.fd < 0)
		return -errno;
	watch_set(s->epfd, &s->signals, EPOLLIN);
	return 0;
}

static int start(struct sim *s, struct args *a, struct sim_core_ops *ops)
{
	uint8_t *image = NULL;
	size_t len = 0;
	int r;

	s->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epfd < 0)
		return -errno;
	r = catch_signals(s);
	if (r < 0)
		return r;
	r = net_new(&s->net, s->epfd, &a->net);
	if (r < 0)
		return r;
	if (s->state) {
		r = load_flash(s->state, &image, &len);
		if (r < 0) {
			say("espat-sim: %s: %s", s->state, strerror(-r));
			return r;
		}
	}
	r = port_new(&s->port, s->epfd, a->tty, a->listen);
	if (r < 0) {
		say("espat-sim: %s: %s", a->tty ? a->tty : a->listen ? a->listen : "pty", strerror(-r));
		free(image);
		return r;
	}
	*ops = net_ops;
	ops->flash = op_flash;
	r = sim_core_new(&s->core, &a->cfg, ops, s->net, image, len, now_us());
	free(image);
	if (r == -EBADMSG)
		say("espat-sim: %s: not a flash of espat-sim, or damaged", s->state);
	else if (r == -EINVAL)
		say("espat-sim: --firmware %s: expected one of %s", a->cfg.firmware, sim_core_firmwares());
	if (r < 0)
		return r;
	net_attach(s->net, s->core);
	save_flash(s);		/* a new flash exists from the start */
	return 0;
}

int main(int argc, char **argv)
{
	struct sim_core_ops ops;
	struct sim *s = &sim;
	struct args a = { 0 };
	int r;

	sim_config_init(&a.cfg);
	a.cfg.factory = sim_factory;
	a.cfg.n_factory = sim_n_factory;
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = parse_args(s, &a, argc, argv);
	if (r)
		return r < 0 ? 2 : 0;
	r = start(s, &a, &ops);
	if (!r) {
		printf("%s\n", port_path(s->port));
		run(s);
	}
	s->port = port_free(s->port);
	net_free(s->net);
	sim_core_free(s->core);
	if (s->signals.fd >= 0)
		close(s->signals.fd);
	if (s->epfd > 0)
		close(s->epfd);
	return r ? 1 : 0;
}
