/* SPDX-License-Identifier: MIT */
/* espat-sim: an Espressif chip with ESP-AT firmware, on a pty or a Unix socket. */
#include "factory.h"
#include "fault.h"
#include "net.h"
#include "port.h"
#include "tls.h"
#include "uart.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_MAX 16384
#define MAX_EVENTS 16

struct sim {
	int epfd;
	struct sim_core *core;
	struct net *net;
	struct port *port;
	struct watch signals;
	struct uart uart;
	struct faults *faults;
	struct watch control, client;
	char line[256]; /* of the control client */
	size_t line_len;
	const char *state, *control_path;
	struct sim_blob eap_ca[SIM_MAX_AP]; /* by access point: whom its server trusts */
	bool verbose, stop, paced;
	uint64_t plug_at;
	bool touched;     /* output has to go through faults or noise */
	struct buf held;  /* what has left the chip so and the port has not taken */
	struct buf chunk; /* unpaced input that a fault splits, or that the chip has not taken */
};

static const char usage[] =
	"Usage: espat-sim [OPTION]...\n"
	"Plays a chip with ESP-AT firmware. The first line of output is the path of its serial "
	"line.\n\n"
	"  --tty LINK            a pty, and LINK a symlink to it (without: the pty alone)\n"
	"  --listen unix:PATH    a Unix socket instead of the pty\n"
	"  --state FILE          its flash; made with factory content if it is not there\n"
	"  --firmware NAME       3.2, 3.4, 4.1 (default), 4.2, 5.0\n"
	"  --with-eap            a firmware that was built with AT+CWJEAP\n"
	"  --ssid NAME[,CHANNEL] an access point that it sees (repeatable; default: Espressif,5 "
	"MasseyWifi,10)\n"
	"  --psk PASS            of the --ssid before it: its password (without: open),\n"
	"  --eap                 instead of a password: Enterprise, EAP-TLS\n"
	"  --eap-identity NAME   that it lets in (without: any)\n"
	"  --eap-ca FILE         CA of the certificates that it lets in (without: any)\n"
	"  --bssid XX:XX:XX:XX:XX:XX, --hidden\n"
	"                        its address, and that a scan does not show it\n"
	"  --mac XX:XX:XX:XX:XX:XX\n"
	"  --hosts FILE          lines NAME ADDRESS (its DNS; NAME - never answers) and\n"
	"                        ADDRESS[:PORT] REAL-ADDRESS[:PORT] (where that really is);\n"
	"                        IPv6 with a port is [ADDRESS]:PORT\n"
	"  --allow-network       connections may leave loopback\n"
	"  --timing fast|real    delays: few (default), or as recorded\n"
	"  --boot-ms, --join-ms, --join-fail-ms, --scan-ms, --flash-ms, --latency-ms, "
	"--handshake-ms,\n"
	"  --connect-timeout-ms, --dns-timeout-ms N\n"
	"                        one of them, in milliseconds\n"
	"  --baud N              pace the line as a UART of that rate; follows UART_CUR (default: "
	"unpaced)\n"
	"  --max-baud N          with --baud: the line is bad above that rate\n"
	"  --no-rts, --no-cts    with --baud: that pin of the chip is not wired\n"
	"  --tx-buffer BYTES     output that may wait before the network is no longer read (8192)\n"
	"  --rx-buffer BYTES     input that may wait; with --baud it overflows without RTS/CTS "
	"(2048)\n"
	"  --packet-ms N         with --baud: how often output is handed to the host (1)\n"
	"  --tls-rate BYTES/S    of TLS data, each way\n"
	"  --faults FILE         script of misbehaviour: see espat-sim(1)\n"
	"  --control PATH        Unix socket that takes lines of such a script at run time\n"
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
	if (snprintf(tmp, sizeof(tmp), "%s.tmp", s->state) >= (int)sizeof(tmp))
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

/* A file's content; of one that is not there, or empty, NULL. */
static int load(const char *path, uint8_t **image, size_t *len)
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
	if (!r && st.st_size) {
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

static bool wants_input(struct sim *s)
{
	if (s->paced)
		return uart_room(&s->uart);
	return !buf_len(&s->chunk) && sim_core_can_take(s->core);
}

/* The ends of the wire may differ in rate and flow control; the host's are in its pty. */
static void look_at_host(struct sim *s)
{
	int baud, rtscts;

	if (!s->paced)
		return;
	port_termios(s->port, &baud, &rtscts);
	s->uart.host_baud = baud;
	s->uart.host_cts = rtscts == 1;
}

static void flush_out(struct sim *s)
{
	static uint8_t out[2 * READ_MAX], leaving[READ_MAX];
	const uint8_t *data;
	size_t len, n, want, bytes;
	uint64_t now = now_us(); /* one packet: what becomes due meanwhile goes with the next one */
	bool full = false;

	for (;;) {
		if (buf_len(&s->held)) {
			n = port_write(s->port, buf_data(&s->held), buf_len(&s->held));
			buf_eat(&s->held, n);
			if (buf_len(&s->held))
				break;
		}
		data = sim_core_output(s->core, &len);
		want = s->paced ? uart_out(&s->uart, now, len) : len;
		if (want > READ_MAX)
			want = READ_MAX;
		if (!want)
			break;
		/*
		 * The bytes that a fault drops, flips or doubles count as the one that left the chip. What the port does
		 * not take has not left it, so only one piece at a time goes through the faults.
		 */
		if (s->touched) {
			/* A fault may make the chip speak, or reset it, while its output is being looked at. */
			memcpy(leaving, data, want);
			bytes = faults_wire(s->faults, now_us(), false, leaving, want, out);
			sim_core_output(s->core, &len);
			if (want > len)
				want = len;
			if (s->paced && uart_noisy(&s->uart))
				uart_garble(&s->uart, out, bytes);
			if (s->verbose)
				log_bytes("D>H", out, bytes);
			n = port_write(s->port, out, bytes);
			buf_add(&s->held, out + n, bytes - n);
			n = want;
		} else {
			n = port_write(s->port, data, want);
			if (n && s->verbose)
				log_bytes("D>H", data, n);
		}
		if (s->paced)
			uart_out_taken(&s->uart, now, n, want, len);
		full = n < want;
		if (!n)
			break;
		sim_core_output_taken(s->core, now_us(), n);
	}
	data = sim_core_output(s->core, &len);
	port_want(s->port, wants_input(s),
		  (len && !s->paced) || buf_len(&s->held) || (s->paced && full));
}

static void give_chunk(struct sim *s, const uint8_t *data, size_t len)
{
	if (s->verbose)
		log_bytes("H>D", data, len);
	sim_core_input(s->core, now_us(), data, len);
}

static void take_in(struct sim *s)
{
	static uint8_t data[READ_MAX], bent[2 * READ_MAX];
	const uint8_t *p;
	size_t n;

	if (port_readable(s->port) && wants_input(s)) {
		n = s->paced ? uart_room(&s->uart) : sizeof(data);
		n = port_read(s->port, data, n < sizeof(data) ? n : sizeof(data));
		p = data;
		if (n) {
			n = faults_wire(s->faults, now_us(), true, data, n, bent);
			p = bent;
		}
		if (s->paced)
			uart_host_wrote(&s->uart, now_us(), p, n);
		else
			buf_add(&s->chunk, p, n);
	}
	while (!s->paced && buf_len(&s->chunk) && sim_core_can_take(s->core)) {
		n = faults_split(s->faults, buf_len(&s->chunk));
		give_chunk(s, buf_data(&s->chunk), n);
		buf_eat(&s->chunk, n);
	}
	while (s->paced && (n = uart_chunk(&s->uart, now_us(), &p)) && sim_core_can_take(s->core)) {
		n = faults_split(s->faults, n);
		give_chunk(s, p, n);
		uart_chunk_taken(&s->uart, n);
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- faults and their socket ---- */

static void do_tell(void *ud, const char *what)
{
	struct sim *s = ud;

	if (s->verbose)
		fprintf(stderr, "FAULT %s\n", what);
}

static void do_plug(void *ud)
{
	struct sim *s = ud;

	s->plug_at = SIM_NEVER;
	port_plug(s->port, true);
	do_tell(s, "plugged");
}

static void do_unplug(void *ud, unsigned back_after_ms)
{
	struct sim *s = ud;

	port_plug(s->port, false);
	s->plug_at = back_after_ms ? now_us() + back_after_ms * 1000ull : SIM_NEVER;
}

static void do_link_reset(void *ud, int link)
{
	struct sim *s = ud;

	net_reset_link(s->net, link);
}

static const struct fault_ops fault_ops = {
	.unplug = do_unplug,
	.plug = do_plug,
	.link_reset = do_link_reset,
	.told = do_tell,
};

static void reply(struct sim *s, const char *text)
{
	if (write(s->client.fd, text, strlen(text)) < 0)
		return; /* who does not wait for the answer gets none */
}

static void control_line(struct sim *s, const char *line)
{
	const char *why = "";
	char text[200];

	if (!strcmp(line, "stats")) {
		uint64_t in, out;

		faults_counts(s->faults, &in, &out);
		snprintf(text, sizeof(text), "in %llu lost %llu\n", (unsigned long long)in,
			 (unsigned long long)s->uart.lost);
	} else if (faults_line(s->faults, now_us(), line, &why) < 0) {
		snprintf(text, sizeof(text), "error: %s\n", why);
	} else {
		s->touched = true;
		strcpy(text, "ok\n");
	}
	reply(s, text);
}

static void client_gone(struct sim *s)
{
	watch_set(s->epfd, &s->client, 0);
	close(s->client.fd);
	s->client.fd = -1;
	watch_set(s->epfd, &s->control, EPOLLIN);
}

static void client_cb(void *ud, uint32_t events)
{
	struct sim *s = ud;
	char *nl;
	ssize_t n;

	n = read(s->client.fd, s->line + s->line_len, sizeof(s->line) - 1 - s->line_len);
	if (n <= 0) {
		client_gone(s);
		return;
	}
	s->line_len += n;
	s->line[s->line_len] = 0;
	while ((nl = strchr(s->line, '\n'))) {
		*nl = 0;
		control_line(s, s->line);
		s->line_len -= nl + 1 - s->line;
		memmove(s->line, nl + 1, s->line_len + 1);
	}
	if (s->line_len == sizeof(s->line) - 1)
		client_gone(s);
}

static void control_cb(void *ud, uint32_t events)
{
	struct sim *s = ud;
	int fd = accept4(s->control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* One at a time; the next waits in the queue. */
	s->client.fd = fd;
	s->line_len = 0;
	watch_set(s->epfd, &s->client, EPOLLIN);
	watch_set(s->epfd, &s->control, 0);
}

static int open_control(struct sim *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;

	if (!s->control_path)
		return 0;
	if (strlen(s->control_path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, s->control_path);
	if (!lstat(s->control_path, &st) && S_ISSOCK(st.st_mode))
		unlink(s->control_path);
	s->control.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->control.fd < 0 || bind(s->control.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(s->control.fd, 4) < 0)
		return -errno;
	watch_set(s->epfd, &s->control, EPOLLIN);
	return 0;
}

static int read_faults(struct sim *s, const char *path)
{
	char line[300];
	const char *why = "";
	int number = 0, r = 0;
	FILE *f;

	if (!path)
		return 0;
	s->touched = true;
	f = fopen(path, "re");
	if (!f) {
		say("espat-sim: %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	while (!r && fgets(line, sizeof(line), f)) {
		number++;
		r = faults_line(s->faults, now_us(), line, &why);
	}
	fclose(f);
	if (r < 0)
		say("espat-sim: %s:%d: %s", path, number, why);
	return r;
}

static void run(struct sim *s)
{
	struct epoll_event ev[MAX_EVENTS];

	while (!s->stop) {
		uint64_t now = now_us(), next;
		struct timespec wait, *timeout = &wait;
		int n;

		net_run(s->net, now);
		faults_tick(s->faults, now);
		if (s->plug_at <= now)
			do_plug(s);
		sim_core_tick(s->core, now);
		look_at_host(s);
		take_in(s);
		flush_out(s);
		/* After whatever may have found the host gone: it says when to look again. */
		next = port_run(s->port, now);
		next = earlier(next, earlier(sim_core_next(s->core), net_next(s->net)));
		next = earlier(next, earlier(faults_next(s->faults), s->plug_at));
		if (s->paced) {
			const uint8_t *p;
			size_t queued;

			sim_core_output(s->core, &queued);
			/* What the port has not taken waits for the port, not for the wire. */
			next = earlier(next, uart_next(&s->uart, buf_len(&s->held) ? 0 : queued));
			/* Output that has gone makes room for input that has come. */
			if (sim_core_can_take(s->core) && uart_chunk(&s->uart, now_us(), &p))
				next = 0;
		}
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
	}
}

static void signal_cb(void *ud, uint32_t events)
{
	struct sim *s = ud;

	s->stop = true;
}

/* The core's network is the net, its flash and UART are ours: one userdata for both. */
static struct sim *the_sim(void *net);

static struct sim sim = { .signals.fd = -1, .plug_at = SIM_NEVER };

static struct sim *the_sim(void *net)
{
	return &sim;
}

static void op_flash(void *ud)
{
	save_flash(the_sim(ud));
}

static void op_command(void *ud, const char *line, size_t len)
{
	struct sim *s = the_sim(ud);

	faults_command(s->faults, now_us(), line, len);
}

static int op_eap(void *ud, int ap, const struct sim_eap *e)
{
	struct sim *s = the_sim(ud);

	return tls_eap(&s->eap_ca[ap], e, s->verbose);
}

static void op_uart(void *ud, unsigned baud, unsigned flow)
{
	struct sim *s = the_sim(ud);
	size_t queued = 0;

	if (s->core)
		sim_core_output(s->core, &queued);
	uart_rate(&s->uart, baud, flow, queued);
}

/* ---- options ---- */

enum {
	OPT_TTY = 256,
	OPT_LISTEN,
	OPT_STATE,
	OPT_FIRMWARE,
	OPT_SSID,
	OPT_PSK,
	OPT_BSSID,
	OPT_HIDDEN,
	OPT_EAP,
	OPT_EAP_IDENTITY,
	OPT_EAP_CA,
	OPT_WITH_EAP,
	OPT_MAC,
	OPT_HOSTS,
	OPT_ALLOW,
	OPT_TIMING,
	OPT_BOOT,
	OPT_JOIN,
	OPT_JOIN_FAIL,
	OPT_SCAN,
	OPT_FLASH,
	OPT_LATENCY,
	OPT_HANDSHAKE,
	OPT_CONNECT,
	OPT_DNS,
	OPT_TX,
	OPT_RX,
	OPT_PACKET,
	OPT_TLS_RATE,
	OPT_BAUD,
	OPT_MAX_BAUD,
	OPT_NO_RTS,
	OPT_NO_CTS,
	OPT_FAULTS,
	OPT_CONTROL,
};

static const struct option options[] = {
	{ "tty", 1, NULL, OPT_TTY },
	{ "listen", 1, NULL, OPT_LISTEN },
	{ "state", 1, NULL, OPT_STATE },
	{ "firmware", 1, NULL, OPT_FIRMWARE },
	{ "ssid", 1, NULL, OPT_SSID },
	{ "psk", 1, NULL, OPT_PSK },
	{ "bssid", 1, NULL, OPT_BSSID },
	{ "hidden", 0, NULL, OPT_HIDDEN },
	{ "eap", 0, NULL, OPT_EAP },
	{ "eap-identity", 1, NULL, OPT_EAP_IDENTITY },
	{ "eap-ca", 1, NULL, OPT_EAP_CA },
	{ "with-eap", 0, NULL, OPT_WITH_EAP },
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
	{ "rx-buffer", 1, NULL, OPT_RX },
	{ "packet-ms", 1, NULL, OPT_PACKET },
	{ "tls-rate", 1, NULL, OPT_TLS_RATE },
	{ "baud", 1, NULL, OPT_BAUD },
	{ "max-baud", 1, NULL, OPT_MAX_BAUD },
	{ "no-rts", 0, NULL, OPT_NO_RTS },
	{ "no-cts", 0, NULL, OPT_NO_CTS },
	{ "faults", 1, NULL, OPT_FAULTS },
	{ "control", 1, NULL, OPT_CONTROL },
	{ "verbose", 0, NULL, 'v' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

struct args {
	struct sim_config cfg;
	struct net_options net;
	const char *tty, *listen, *faults;
	unsigned rx_buffer, packet_ms, max_baud;
	bool no_rts, no_cts;
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

/* The access point that an option is about. */
static struct sim_ap *last_ap(struct sim_config *cfg, const char *option)
{
	if (cfg->n_ap)
		return &cfg->ap[cfg->n_ap - 1];
	bad(option, "...", "an --ssid before it");
	return NULL;
}

static int set_psk(struct sim_ap *ap, const char *text)
{
	if (!ap)
		return -EINVAL;
	if (ap->eap)
		return bad("psk", "...", "it or --eap, not both");
	if (strlen(text) < 8 || strlen(text) > 64)
		return bad("psk", "...", "8 to 64 characters");
	strcpy(ap->psk, text);
	return 0;
}

static int set_eap(struct sim_ap *ap)
{
	if (!ap)
		return -EINVAL;
	if (ap->psk[0])
		return bad("eap", "...", "it or --psk, not both");
	ap->eap = true;
	return 0;
}

static struct sim_ap *last_eap(struct sim_config *cfg, const char *option)
{
	struct sim_ap *ap = last_ap(cfg, option);

	if (!ap || ap->eap)
		return ap;
	bad(option, "...", "an --eap before it");
	return NULL;
}

static int set_identity(struct sim_ap *ap, const char *text)
{
	if (!ap)
		return -EINVAL;
	if (!*text || strlen(text) >= sizeof(ap->eap_identity))
		return bad("eap-identity", text, "1 to 32 characters");
	strcpy(ap->eap_identity, text);
	return 0;
}

static int set_eap_ca(struct sim *s, struct args *a, const char *path)
{
	struct sim_blob *ca;
	uint8_t *pem;
	size_t len = 0;

	if (!last_eap(&a->cfg, "eap-ca"))
		return -EINVAL;
	if (load(path, &pem, &len) < 0)
		pem = NULL;
	ca = &s->eap_ca[a->cfg.n_ap - 1];
	free((void *)ca->data);
	*ca = (struct sim_blob){ pem, len };
	return pem && tls_has_cert(ca) ? 0 : bad("eap-ca", path, "a file with certificates");
}

static int set_mac(const char *option, uint8_t *mac, const char *text)
{
	unsigned m[6];
	char end;

	if (strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", m, m + 1, m + 2, m + 3, m + 4, m + 5, &end) !=
		    6 ||
	    !(m[0] | m[1] | m[2] | m[3] | m[4] | m[5]))
		return bad(option, text, "six bytes as 24:0a:c4:12:34:56");
	for (int i = 0; i < 6; i++)
		mac[i] = m[i];
	return 0;
}

static int parse_option(struct sim *s, struct args *a, int opt, const char *name, char *arg)
{
	struct sim_times *t = &a->cfg.times;
	struct sim_ap *ap;
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
		return set_psk(last_ap(&a->cfg, name), arg);
	case OPT_BSSID:
		ap = last_ap(&a->cfg, name);
		return ap ? set_mac(name, ap->bssid, arg) : -EINVAL;
	case OPT_HIDDEN:
		ap = last_ap(&a->cfg, name);
		if (!ap)
			return -EINVAL;
		ap->hidden = true;
		break;
	case OPT_EAP:
		return set_eap(last_ap(&a->cfg, name));
	case OPT_EAP_IDENTITY:
		return set_identity(last_eap(&a->cfg, name), arg);
	case OPT_EAP_CA:
		return set_eap_ca(s, a, arg);
	case OPT_WITH_EAP:
		a->cfg.with_eap = true;
		break;
	case OPT_MAC:
		return set_mac(name, a->cfg.mac, arg);
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
	case OPT_RX:
		return number(name, arg, 128, &a->rx_buffer);
	case OPT_PACKET:
		return number(name, arg, 1, &a->packet_ms);
	case OPT_BAUD:
		r = number(name, arg, 80, &a->cfg.baud);
		s->paced = true;
		break;
	case OPT_MAX_BAUD:
		return number(name, arg, 80, &a->max_baud);
	case OPT_NO_RTS:
		a->no_rts = true;
		break;
	case OPT_NO_CTS:
		a->no_cts = true;
		break;
	case OPT_FAULTS:
		a->faults = arg;
		break;
	case OPT_CONTROL:
		s->control_path = arg;
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
	s->signals =
		(struct watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC), .cb = signal_cb, .ud = s };
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
	s->control = (struct watch){ .fd = -1, .cb = control_cb, .ud = s };
	s->client = (struct watch){ .fd = -1, .cb = client_cb, .ud = s };
	s->faults = faults_new(&s->core, &fault_ops, s, now_us());
	uart_init(&s->uart, a->cfg.baud, a->rx_buffer);
	s->uart.packet = a->packet_ms * 1000000ull;
	s->uart.max_baud = a->max_baud;
	s->uart.rts_cut = a->no_rts;
	s->uart.cts_cut = a->no_cts;
	/* Noise on the way out, or a fault: the output is handled byte by byte only where that can be. */
	s->touched = s->paced;
	r = open_control(s);
	if (r < 0) {
		say("espat-sim: %s: %s", s->control_path, strerror(-r));
		return r;
	}
	r = net_new(&s->net, s->epfd, &a->net);
	if (r < 0)
		return r;
	if (s->state) {
		/* An empty file is a new flash: mktemp(1) makes such. */
		r = load(s->state, &image, &len);
		if (r < 0) {
			say("espat-sim: %s: %s", s->state, strerror(-r));
			return r;
		}
	}
	r = port_new(&s->port, s->epfd, a->tty, a->listen);
	if (r < 0) {
		say("espat-sim: %s: %s",
		    a->tty      ? a->tty
		    : a->listen ? a->listen
				: "pty",
		    strerror(-r));
		free(image);
		return r;
	}
	*ops = net_ops;
	ops->flash = op_flash;
	ops->command = op_command;
	ops->uart = op_uart;
	ops->eap = op_eap;
	r = sim_core_new(&s->core, &a->cfg, ops, s->net, image, len, now_us());
	free(image);
	if (r == -EBADMSG)
		say("espat-sim: %s: not a flash of espat-sim, or damaged", s->state);
	else if (r == -EINVAL)
		say("espat-sim: --firmware %s: expected one of %s", a->cfg.firmware,
		    sim_core_firmwares());
	if (r < 0)
		return r;
	net_attach(s->net, s->core);
	save_flash(s); /* a new flash exists from the start */
	return read_faults(s, a->faults);
}

int main(int argc, char **argv)
{
	struct sim_core_ops ops;
	struct sim *s = &sim;
	struct args a = { .rx_buffer = 2048, .packet_ms = UART_PACKET_MS };
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
	faults_free(s->faults);
	uart_free(&s->uart);
	buf_free(&s->held);
	buf_free(&s->chunk);
	for (int i = 0; i < SIM_MAX_AP; i++)
		free((void *)s->eap_ca[i].data);
	if (s->control.fd > 0) {
		close(s->control.fd);
		unlink(s->control_path);
	}
	if (s->client.fd > 0)
		close(s->client.fd);
	if (s->signals.fd >= 0)
		close(s->signals.fd);
	if (s->epfd > 0)
		close(s->epfd);
	return r ? 1 : 0;
}
