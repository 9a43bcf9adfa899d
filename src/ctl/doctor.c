/* SPDX-License-Identifier: MIT */
#include "ctl/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/text.h"
#include "util/cleanup.h"

/* ---- findings ---- */

struct about {
	struct doctor_findings *out;
	const char *object; /* literal */
	const char *name;
};

/* @text: what, a '\n', and the advice */
__attribute__((format(printf, 4, 5))) static void find(const struct about *about,
						       enum doctor_severity severity,
						       const char *id, const char *text, ...)
{
	struct doctor_findings *out = about->out;
	struct doctor_finding f = { severity, id, about->object, NULL, NULL, NULL };
	char *both, *line_end;
	va_list ap;
	int r;

	if (severity == DOCTOR_ERROR)
		out->errors++;
	if (out->n == DOCTOR_FINDINGS_MAX) {
		out->cut = true;
		return;
	}
	/* Room is doubled whenever the number is a power of two. */
	if ((out->n & (out->n - 1)) == 0) {
		void *more = reallocarray(out->items, out->n ? 2 * out->n : 1, sizeof(*out->items));

		if (!more) {
			out->failed = true;
			return;
		}
		out->items = more;
	}
	va_start(ap, text);
	r = vasprintf(&both, text, ap);
	va_end(ap);
	if (r < 0) {
		out->failed = true;
		return;
	}
	/* What a chip or a server has said may have line ends of its own: the advice is ours, and last. */
	line_end = strrchr(both, '\n');
	f.what = line_end ? strndup(both, (size_t)(line_end - both)) : strdup(both);
	f.advice = strdup(line_end ? line_end + 1 : "");
	f.name = strdup(about->name);
	free(both);
	out->items[out->n++] = f;
	if (!f.what || !f.advice || !f.name)
		out->failed = true;
}

void doctor_clear(struct doctor_findings *findings)
{
	for (size_t i = 0; i < findings->n; i++) {
		free(findings->items[i].name);
		free(findings->items[i].what);
		free(findings->items[i].advice);
	}
	free(findings->items);
	*findings = (struct doctor_findings){ 0 };
}

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool has(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}

/* ---- the service ---- */

static void examine_service(const struct doctor_input *in, const struct about *about)
{
	const char *unit = in->unit ? in->unit : "";

	if (in->running)
		return;
	if (in->load && is(in->load, "not-found"))
		find(about, DOCTOR_ERROR, "service-not-installed",
		     "espatd is not on the bus, and systemd has no unit espatd.service\n"
		     "install espatd, and run: systemctl daemon-reload");
	else if (in->load && is(in->load, "masked"))
		find(about, DOCTOR_ERROR, "service-masked",
		     "espatd is not on the bus: its unit is masked\n"
		     "run: systemctl unmask espatd && systemctl start espatd");
	else if (is(unit, "failed"))
		find(about, DOCTOR_ERROR, "service-failed",
		     "espatd has failed\n"
		     "see why: journalctl -u espatd -n 30; is the configuration right: "
		     "sudo " ESPATD_PATH " -c " ESPATD_CONFIG " --check");
	else if (is(unit, "active"))
		find(about, DOCTOR_ERROR, "service-without-bus",
		     "espatd runs, but is not on this bus\n"
		     "is it started with another --bus? see: journalctl -u espatd");
	else if (is(unit, "activating") || is(unit, "reloading"))
		find(about, DOCTOR_ERROR, "service-starting",
		     "espatd is being started\nwait, and ask again");
	else
		find(about, DOCTOR_ERROR, "service-not-running",
		     "espatd does not run\nstart it: systemctl start espatd");
}

/* ---- devices ---- */

/* What systemd keeps the service from; NULL: it is something else. */
static const char *sandbox_advice(const char *port, const char *error)
{
	bool forbidden = has(error, "Operation not permitted");

	if (strncmp(port, "tcp:", 4) == 0 && (forbidden || has(error, "Address family")))
		return "the service's sandbox has no network: copy " ESPATD_DOC "/espatd-tcp.conf "
		       "to /etc/systemd/system/espatd.service.d/, and name the host in it, see "
		       "espatd(8)";
	if (has(error, "DeviceAllow") || (forbidden && strncmp(port, "unix:", 5) != 0))
		return "the service's sandbox has ttyUSB and ttyACM only: give it others by a "
		       "drop-in (systemctl edit espatd) with [Service] and `DeviceAllow=char-ttyS "
		       "rw`, see espatd(8)";
	return NULL;
}

/* Why the port cannot be had, by what the service was told. */
static const char *port_advice(const char *port, const char *error)
{
	const char *sandbox = sandbox_advice(port, error);

	if (sandbox)
		return sandbox;
	if (has(error, "busy") || has(error, "another program") || has(error, "used by") ||
	    has(error, "held by") || has(error, "in use"))
		return "somebody else has the port: `fuser -v` on it says who; end that program "
		       "(ModemManager, a serial console, brltty?)";
	if (has(error, "permission"))
		return "the user espat must be in the group of the device file (dialout, on some "
		       "systems uucp)";
	if (has(error, "no such") || has(error, "plugged in") || has(error, "there is no"))
		return "is it plugged in, and the name right? `ls -l /dev/serial/by-id` shows what "
		       "there is";
	if (has(error, "not a serial port"))
		return "correct `port` of the device in the configuration";
	if (has(error, "connect"))
		return "is the other end of the line running?";
	return "check cable and adapter; see also `journalctl -k`";
}

#define AT_PORT "an ESP32 talks AT on UART1 (GPIO16 and 17), not on the USB port of its board"

static const char probing_advice[] =
	"is this the AT port? " AT_PORT ", where it only boots; is `baud` that of the firmware "
	"(115200 as delivered); are RX and TX crossed, and where the firmware uses flow control, "
	"RTS and CTS wired?";

static const struct silence {
	const char *said; /* by the service, see hearsay_describe() */
	const char *id, *advice;
} silences[] = {
	{ "boot loader", "wrong-uart",
	  AT_PORT ", where it boots and logs: connect the adapter to RX and TX of the AT port, and "
		  "correct `port`; does the chip only ever restart, it has no ESP-AT firmware, or "
		  "too weak a power supply" },
	{ "no text", "wrong-rate",
	  "is `baud` that of the firmware (115200 as delivered, ESP8266 boots at 74880)? if it is: "
	  "are the grounds connected, the levels 3.3 V, and the lines short?" },
	{ "not that of ESP-AT", "no-answer",
	  "is something else connected to that port (a login console, another instrument, a chip "
	  "without ESP-AT firmware), or RX to TX of the adapter itself?" },
	{ "is silent", "no-answer",
	  "has the chip power, and is it not held in reset; are RX and TX crossed, and the grounds "
	  "connected; " AT_PORT "; where the firmware uses flow control, are RTS and CTS wired?" },
	{ "answered before", "no-answer",
	  "has the chip power, and are RX and TX still connected? one that hangs needs its reset "
	  "pin or its power cycled; `reset` in espatd.conf(5) does that by DTR and RTS" },
};

static void examine_silence(const struct about *about, const char *error)
{
	for (size_t i = 0; i < sizeof(silences) / sizeof(*silences); i++)
		if (has(error, silences[i].said)) {
			find(about, DOCTOR_ERROR, silences[i].id, "%s\n%s", error,
			     silences[i].advice);
			return;
		}
	find(about, DOCTOR_ERROR, "no-answer", "%s\n%s", error, probing_advice);
}

/* What is said behind the name of a network, which may have any. */
static const char *behind_name(const char *error)
{
	const char *quote = strncmp(error, "cannot join Wi-Fi", 17) == 0 ? strrchr(error, '"')
									 : NULL;

	return quote ? quote : error;
}

static void examine_failed(const struct about *about, const struct snap_device *d)
{
	const char *e = d->last_error, *why = behind_name(e);

	/* Before Wi-Fi: what it lacks may be for that. */
	if (has(why, "too old") || has(why, "this firmware") || has(why, "AT+GMR"))
		find(about, DOCTOR_ERROR, "firmware", "%s\nput another ESP-AT firmware on the chip",
		     e);
	else if (has(why, "own clock"))
		find(about, DOCTOR_ERROR, "clock-waits",
		     "%s\nis the clock of this host right and synchronized (timedatectl)?", e);
	else if (has(why, "password"))
		find(about, DOCTOR_ERROR, "wifi-password",
		     "%s\ncorrect the password: espatctl wifi join %s SSID, or `password_file` in "
		     "the "
		     "configuration",
		     e, d->name);
	else if (has(e, "access point") || has(e, "Wi-Fi"))
		find(about, DOCTOR_ERROR, "wifi-join",
		     "%s\nis the network there? espatctl wifi scan %s (ESP32 has 2.4 GHz only)", e,
		     d->name);
	else if (has(e, "no answer from a chip"))
		examine_silence(about, e);
	else if (has(e, "time servers"))
		find(about, DOCTOR_ERROR, "time-servers",
		     "%s\ncan the chip reach `ntp_servers`? `time = \"host\"` needs none", e);
	else
		find(about, DOCTOR_ERROR, "failed",
		     "%s\nit is tried again by itself; see: journalctl -u espatd",
		     *e ? e : "the chip cannot be brought up");
}

/* It was wanted, and the service goes on without. */
static void examine_flow_control(const struct about *about, const struct snap_device *d)
{
	const char *why = d->flow_control_error;
	bool refused = has(why, "refuses") || has(why, "this port");

	if (*why)
		find(about, DOCTOR_WARNING, "no-rts",
		     "RTS/CTS are wanted at %u baud, and do not work: %s\n%s", d->baud, why,
		     refused ? "another adapter or firmware; or set `flow_control = \"none\"`"
			     : "wire the chip's RTS to CTS of the adapter and its CTS to RTS "
			       "(ESP32: "
			       "RTS is GPIO14, CTS is GPIO15), and plug the adapter in again; "
			       "where "
			       "they are not wired on purpose: `flow_control = \"none\"`");
}

static void examine_ready(const struct about *about, const struct snap_device *d)
{
	char heap[32];

	text_bytes(heap, sizeof(heap), d->free_heap);
	if (is(d->clock, "unset"))
		find(about, DOCTOR_ERROR, "clock-unset",
		     "the chip's clock is not set: every certificate looks invalid to it\n"
		     "is the clock of this host right (timedatectl)? then: espatctl sync-time %s",
		     d->name);
	if (d->free_heap && d->free_heap < DOCTOR_HEAP_LOW)
		find(about, DOCTOR_WARNING, "heap-low",
		     "the chip has %s of free memory, too little for another TLS connection\n"
		     "fewer connections at a time, smaller certificate chains; if nothing is "
		     "connected: espatctl reset %s",
		     heap, d->name);
	if (d->rssi && d->rssi < DOCTOR_RSSI_WEAK)
		find(about, DOCTOR_WARNING, "signal-weak",
		     "the signal is weak: %d dBm from %s\n"
		     "move the antenna or the access point; good is -67 dBm and more",
		     d->rssi, d->ssid);
	examine_flow_control(about, d);
}

bool doctor_is_transient(const struct snap_device *d)
{
	static const char *const states[] = { "probing",      "identifying",  "configuring",
					      "tuning",       "provisioning", "joining",
					      "setting-clock" };

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (is(d->state, states[i]))
			return true;
	return false;
}

static void examine_transient(const struct doctor_input *in, const struct about *about,
			      const struct snap_device *d)
{
	if (*d->last_error && !is(d->state, "provisioning")) {
		examine_failed(about, d);
		return;
	}
	if (is(d->state, "probing")) {
		if (in->watched > 0)
			find(about, DOCTOR_ERROR, "no-answer",
			     "no chip has answered on %s at %u baud for %u seconds\n%s", d->port,
			     d->baud, in->watched, probing_advice);
		return;
	}
	if (is(d->state, "setting-clock") && in->watched > 0) {
		find(about, DOCTOR_WARNING, "clock-waits",
		     "the chip's clock is not set yet\n"
		     "is the clock of this host right and synchronized (timedatectl), or can the "
		     "chip "
		     "reach its time servers?");
		return;
	}
	find(about, DOCTOR_NOTE, "on-its-way", "it is not ready yet: %s\nwait, and ask again",
	     d->state);
}

static void examine_device(const struct doctor_input *in, const struct about *about,
			   const struct snap_device *d)
{
	if (is(d->state, "absent"))
		find(about, DOCTOR_ERROR, "port", "%s%s\n%s",
		     *d->last_error ? "" : "cannot open its port ",
		     *d->last_error ? d->last_error : d->port, port_advice(d->port, d->last_error));
	else if (is(d->state, "unknown-chip"))
		find(about, DOCTOR_ERROR, "unknown-chip",
		     "%s%s is not the chip that belongs here, and gets no key and no password\n"
		     "if it was exchanged on purpose: espatctl adopt %s",
		     *d->mac ? "the chip " : "the chip on the port", d->mac, d->name);
	else if (is(d->state, "failed"))
		examine_failed(about, d);
	else if (is(d->state, "offline"))
		find(about, DOCTOR_NOTE, "offline",
		     "it has left its network\nback again: espatctl wifi join %s SSID, or espatctl "
		     "reset %s",
		     d->name, d->name);
	else if (is(d->state, "ready"))
		examine_ready(about, d);
	else if (doctor_is_transient(d))
		examine_transient(in, about, d);
}

static void examine_modem_manager(const struct doctor_input *in, const struct about *about,
				  size_t device)
{
	if (!in->modem_manager || !in->needs_rule || !in->needs_rule[device] ||
	    (in->has_rule && in->has_rule[device]))
		return;
	find(about, DOCTOR_WARNING, "modem-manager",
	     "ModemManager runs, and no udev rule keeps it away from %s\n"
	     "run: espatctl udev --write, then udevadm control --reload, and plug the adapter in "
	     "again",
	     in->snap->devices[device].port);
}

static void examine_orphans(const struct about *about, const struct snap_device *d)
{
	if (d->n_orphans > 0)
		find(about, DOCTOR_NOTE, "orphans",
		     "%zu value%s on the chip that espatd has written and nobody needs\n"
		     "see: espatctl certs orphans %s; each goes by: espatctl certs erase %s "
		     "NAMESPACE SLOT",
		     d->n_orphans, d->n_orphans == 1 ? "" : "s", d->name, d->name);
}

/* ---- certificates ---- */

/* @who: as a sentence begins. */
static void examine_dates(const struct about *about, const char *who, int64_t from, int64_t to,
			  int64_t now, const char *advice)
{
	char date[32];

	if (to != 0 && to <= now) {
		text_date(date, sizeof(date), to);
		find(about, DOCTOR_ERROR, "expired", "%s has expired on %s\n%s", who, date, advice);
	} else if (from != 0 && from > now) {
		text_date(date, sizeof(date), from);
		find(about, DOCTOR_ERROR, "not-valid-yet", "%s is not valid before %s\n%s", who,
		     date, "is the clock of this host right (timedatectl)?");
	} else if (to != 0 && to - now < DOCTOR_EXPIRY_SOON) {
		text_date(date, sizeof(date), to);
		find(about, DOCTOR_WARNING, "expires-soon",
		     "%s expires on %s, in %" PRId64 " days\n%s", who, date, (to - now) / 86400,
		     advice);
	}
}

static bool has_name(const struct snap_value *v)
{
	for (size_t i = 0; v->used_by && v->used_by[i]; i++)
		if (strncmp(v->used_by[i], "authority:", 10) == 0 ||
		    strncmp(v->used_by[i], "identity:", 9) == 0)
			return true;
	return false;
}

/* Values that belong to a name are looked at by that name. */
static void examine_values(const struct about *about, const struct snap_device *d, int64_t now)
{
	char who[128], key[64];

	for (size_t i = 0; i < d->n_values; i++) {
		const struct snap_value *v = &d->values[i];

		if (has_name(v) || !v->used_by || !v->used_by[0])
			continue;
		snap_key(key, sizeof(key), v->namespace, v->slot);
		snprintf(who, sizeof(who), "what stands in %s (used by %s)", key, v->used_by[0]);
		examine_dates(about, who, v->not_before, v->not_after, now,
			      "put a new file in its place, and run: espatctl reload");
	}
}

static void examine_material(struct doctor_findings *out, const char *object,
			     const struct snap_material *m, size_t n, int64_t now)
{
	bool authority = is(object, "authority");

	for (size_t i = 0; i < n; i++) {
		const struct about about = { out, object, m[i].name };

		if (m[i].generation == 0)
			find(&about, DOCTOR_WARNING, "no-material",
			     "nothing was set for it so far\nset it: espatctl certs set-%s %s %s",
			     object, m[i].name, authority ? "FILE" : "CERT KEY");
		else
			examine_dates(&about, "its certificate", m[i].not_before, m[i].not_after,
				      now,
				      authority ? "get a new one: espatctl certs set-authority, or "
						  "put it in the file and espatctl reload"
						: "get a new one: espatctl certs set-identity, or "
						  "put it in the files and espatctl reload");
	}
}

/* ---- tunnels ---- */

#define NOT_TRUSTED "not-trusted-or-handshake-failed"

static const struct reason {
	const char *reason, *advice;
} reasons[] = {
	{ "no-such-host",
	  "is `host` right? the chip asks the DNS servers of its network; `dns` of the "
	  "device's Wi-Fi names others" },
	{ "refused", "does the server run on that port, and can the chip's network reach it "
		     "(firewall, client isolation of the access point)?" },
	{ "timeout", "is the server reachable from the chip's network? if only links are scarce: "
		     "fewer clients at a time, or a second chip" },
	{ NOT_TRUSTED, NULL }, /* see put_tls_advice() */
	{ "no-material",
	  "espatctl certs verify and espatctl certs authorities say what is missing" },
	{ "clock-not-set",
	  "is the clock of this host right (timedatectl)? then: espatctl sync-time" },
	{ "out-of-memory", "fewer connections at a time on that chip; smaller certificate chains" },
	{ "wifi-down",
	  "espatctl wifi status, espatctl wifi scan: is the network there, and the signal "
	  "good?" },
	{ "chip-reset", "does it happen often (espatctl devices shows the resets)? then the power "
			"supply is weak, as a chip that sends takes 500 mA" },
	{ "unexplained", "see: journalctl -u espatd; espatctl trace records what the chip says" },
};

/* NULL: one that we do not know. */
static const struct reason *find_reason(const char *reason)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (is(reasons[i].reason, reason))
			return &reasons[i];
	return NULL;
}

static bool is_used_by(const struct snap_material *m, const char *tunnel)
{
	for (size_t i = 0; m->tunnels && m->tunnels[i]; i++)
		if (is(m->tunnels[i], tunnel))
			return true;
	return false;
}

static bool has_material(const struct snap_material *m, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (is(m[i].name, name))
			return true;
	return false;
}

/* The material of the tunnel that can be taken back, if any. */
static const struct snap_material *find_previous(const struct snap_material *m, size_t n,
						 const struct snap_tunnel *t)
{
	for (size_t i = 0; i < n; i++)
		if (m[i].previous && is_used_by(&m[i], t->name))
			return &m[i];
	return NULL;
}

/* @both: the name alone would not tell which one is meant. */
static void put_rollback(FILE *f, const char *kind, const struct snap_material *m, bool both)
{
	if (m)
		fprintf(f, "; if it began with the new %s: espatctl certs rollback %s%s%s", kind,
			both ? kind : "", both ? ":" : "", m->name);
}

/* The bus does not tell `server_name`; without one it is the host, which as an address is none. */
static void put_openssl(FILE *f, const struct snap_tunnel *t)
{
	bool v6 = strchr(t->host, ':');
	bool address = v6 || t->host[strspn(t->host, "0123456789.")] == '\0';

	fprintf(f, "openssl s_client -tls1_2 -connect %s%s%s:%u -servername %s%s", v6 ? "[" : "",
		t->host, v6 ? "]" : "", t->port, address ? "NAME" : t->host,
		address ? " (the tunnel's `server_name`)" : " (or the tunnel's `server_name`)");
}

static void put_tls_advice(FILE *f, const struct snapshot *snap, const struct snap_tunnel *t)
{
	const struct snap_material *authority, *identity;

	authority = find_previous(snap->authorities, snap->n_authorities, t);
	identity = find_previous(snap->identities, snap->n_identities, t);
	fputs("compare with: ", f);
	put_openssl(f, t);
	fputs("; does `authority` have the server's root, is `server_name` in its certificate, "
	      "does it accept `identity`, has it TLS 1.2?",
	      f);
	put_rollback(f, "authority", authority,
		     authority &&
			     has_material(snap->identities, snap->n_identities, authority->name));
	put_rollback(f, "identity", identity,
		     identity &&
			     has_material(snap->authorities, snap->n_authorities, identity->name));
}

/* NULL: no memory. */
static char *tls_advice(const struct snapshot *snap, const struct snap_tunnel *t)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	put_tls_advice(f, snap, t);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static void examine_last_error(const struct doctor_input *in, const struct about *about,
			       const struct snap_tunnel *t)
{
	const struct reason *reason = find_reason(t->last_error_reason);
	const char *advice = reason ? reason->advice : "see: journalctl -u espatd";
	_cleanup_free_ char *tls = NULL;

	if (!advice) {
		tls = tls_advice(in->snap, t);
		if (!tls) {
			about->out->failed = true;
			return;
		}
		advice = tls;
	}
	find(about, DOCTOR_WARNING, reason ? reason->reason : "last-error",
	     "connecting to %s port %u has failed: %s (%" PRIu64 " of %" PRIu64 ")\n%s", t->host,
	     t->port, t->last_error, t->failures, t->failures + t->connects, advice);
}

/* The device that it could use now; NULL: none is ready. */
static const struct snap_device *ready_device(const struct snapshot *snap,
					      const struct snap_tunnel *t)
{
	for (size_t i = 0; i < snap->n_devices; i++) {
		const struct snap_device *d = &snap->devices[i];

		if ((is(t->device, SNAP_DEVICE_ANY) || is(t->device, d->name)) &&
		    is(d->state, "ready"))
			return d;
	}
	return NULL;
}

static void examine_tunnel(const struct doctor_input *in, const struct about *about,
			   const struct snap_tunnel *t)
{
	bool any = is(t->device, SNAP_DEVICE_ANY);
	const struct snap_device *ready = ready_device(in->snap, t);

	if (is(t->state, "failed"))
		find(about, DOCTOR_ERROR, "socket",
		     "its socket cannot be made: %s\n"
		     "has the user espat the right to write there, and has nobody else a file of "
		     "that name?",
		     *t->last_error ? t->last_error : t->socket_path);
	else if (is(t->state, "waiting") && ready)
		find(about, DOCTOR_ERROR, "not-listening",
		     "the chip of %s is ready, but it does not listen on %s\n"
		     "see: journalctl -u espatd",
		     ready->name, t->socket_path);
	else if (is(t->state, "waiting"))
		find(about, DOCTOR_NOTE, "waits", "it waits for %s\nsee what is said of %s",
		     any          ? "any of the devices"
		     : *t->device ? t->device
				  : "its device",
		     any ? "them" : "that device");
	else if (is(t->state, "draining"))
		find(about, DOCTOR_NOTE, "draining",
		     "it takes no clients any more\nit goes when the last one has gone");
	if (!is(t->state, "failed") && *t->last_error)
		examine_last_error(in, about, t);
	if (!t->verified)
		find(about, DOCTOR_WARNING, "insecure",
		     "the server is not verified: whoever stands between can read and change "
		     "everything\n"
		     "give it an `authority` instead of `insecure = true`");
}

/* ---- all of it ---- */

void doctor_examine(const struct doctor_input *in, struct doctor_findings *out)
{
	const struct snapshot *snap = in->snap;

	examine_service(in, &(struct about){ out, "service", "espatd" });
	for (size_t i = 0; i < snap->n_devices; i++) {
		const struct about about = { out, "device", snap->devices[i].name };

		examine_device(in, &about, &snap->devices[i]);
		examine_modem_manager(in, &about, i);
		examine_values(&about, &snap->devices[i], in->now);
		examine_orphans(&about, &snap->devices[i]);
	}
	for (size_t i = 0; i < snap->n_tunnels; i++)
		examine_tunnel(in, &(struct about){ out, "tunnel", snap->tunnels[i].name },
			       &snap->tunnels[i]);
	examine_material(out, "authority", snap->authorities, snap->n_authorities, in->now);
	examine_material(out, "identity", snap->identities, snap->n_identities, in->now);
}
