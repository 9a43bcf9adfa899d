/* SPDX-License-Identifier: MIT */
/*
 * Why a connection failed. The firmware says ERROR and no more (protocol fact 6), so the chip is asked
 * one thing after the other, until one of them explains it: its memory, its clock, the name, and
 * whether a plain TCP connection works, which sends no byte and is closed at once. If all is well so
 * far it is TLS, and then what the chip holds is compared with what it should hold.
 *
 * Some of that blocks the chip's command channel, so it is done only while nothing else moves; if
 * that moment does not come soon, only memory and clock are asked for, which are told at once.
 */
#include <arpa/inet.h>

#include "device/device.h"
#include "device/internal.h"

/* The firmware waits 10 s for a server that is silent (capture 46). */
#define DIAGNOSE_SILENCE (9 * TIMERS_S)
/* It was told how long to wait, and its clock is not ours. */
#define DIAGNOSE_EARLY (500 * TIMERS_MS)
#define DIAGNOSE_TIMEOUT_DNS (30 * TIMERS_S)
#define DIAGNOSE_TIMEOUT_TCP (75 * TIMERS_S)
/* s that a look-up or the TCP connection may take, where the firmware takes such a time. Where it does
 * not, nothing is asked that has taken so long already. */
#define DIAGNOSE_SECONDS 3
/* How long a quiet moment is waited for, and how often it is looked for. */
#define DIAGNOSE_PATIENCE (2 * TIMERS_S)
#define DIAGNOSE_LOOK (100 * TIMERS_MS)
/* Bytes of heap below which a handshake does not work: its peak is 30 to 40 KB (field notes 3). */
#define DIAGNOSE_HEAP 40000
/* s that the chip's clock may differ from the host's. */
#define DIAGNOSE_CLOCK 300

enum diagnose_step {
	DIAGNOSE_LOG, /* so that the next failure explains itself */
	DIAGNOSE_RAM,
	DIAGNOSE_TIME,
	DIAGNOSE_NAME,
	DIAGNOSE_CONNECT,
	DIAGNOSE_CLOSE,
	DIAGNOSE_MATERIAL,
};

#define DIAGNOSE_NOTHING (-1)

/*
 * +ERRNO, which firmware from v5.0 on tells after AT+SYSLOG=1: the first of the certificate's flags,
 * mbedTLS's and esp-tls's number that is not 0 (field notes 1.3), and what may be the reason of that.
 * What is not in here is looked into from the beginning.
 */
static const struct {
	long number;
	enum link_end end;
	int step; /* enum diagnose_step, or DIAGNOSE_NOTHING */
} diagnose_numbers[] = {
	{ 0x0001, LINK_END_TLS, DIAGNOSE_TIME },     /* expired */
	{ 0x0004, LINK_END_TLS, DIAGNOSE_NOTHING },  /* another name */
	{ 0x0008, LINK_END_TLS, DIAGNOSE_MATERIAL }, /* not trusted */
	{ 0x0200, LINK_END_TLS, DIAGNOSE_TIME },     /* not yet valid */
	{ 0x2700, LINK_END_TLS, DIAGNOSE_MATERIAL }, /* not verified */
	{ 0x7780, LINK_END_TLS, DIAGNOSE_NOTHING },  /* an alert of the server */
	{ 0x7f00, LINK_END_MEMORY, DIAGNOSE_NOTHING },
	{ 0x8001, LINK_END_NO_HOST, DIAGNOSE_NOTHING },
	{ 0x8004, LINK_END_REFUSED, DIAGNOSE_NOTHING },
	{ 0x8006, LINK_END_TIMEOUT, DIAGNOSE_NOTHING },
};

static void diagnose_step(struct link *link);

/* The slots that the connection was to use; -1: none. */
static int link_ca(const struct link *link)
{
	return link->target.auth & LINK_AUTH_SERVER ? link->target.ca : -1;
}

static int link_pki(const struct link *link)
{
	return link->target.auth & LINK_AUTH_CLIENT ? link->target.pki : -1;
}

static bool is_address(const char *host)
{
	unsigned char buf[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, buf) == 1 || inet_pton(AF_INET6, host, buf) == 1;
}

static void diagnose_next(struct link *link)
{
	link->step++;
	diagnose_step(link);
}

/* ---- answers ---- */

static void diagnose_ram_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_free_heap(text, len, &container_of(cmd, struct link, cmd)->answer);
}

static void diagnose_time_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_number(text, len, "+SYSTIMESTAMP:", &container_of(cmd, struct link, cmd)->answer);
}

static bool clock_is_wrong(const struct device *dev, long chip)
{
	time_t host = dev->ops->wallclock(dev->userdata);

	if (chip < CLOCK_EARLIEST)
		return true;
	if (dev->settings->time != CONFIG_TIME_HOST || host < CLOCK_EARLIEST)
		return false;
	return chip < host - DIAGNOSE_CLOCK || chip > host + DIAGNOSE_CLOCK;
}

/* What the answer to the present step means; LINK_END_UNEXPLAINED: nothing, go on. */
static enum link_end diagnose_verdict(struct link *link, enum chan_result result)
{
	struct device *dev = link->dev;
	uint64_t took = dev->timers->now - link->started;

	switch ((enum diagnose_step)link->step) {
	case DIAGNOSE_LOG:
		dev->tells_errno = true;
		return LINK_END_UNEXPLAINED;
	case DIAGNOSE_RAM:
		return link->answer >= 0 && link->answer < DIAGNOSE_HEAP ? LINK_END_MEMORY
									 : LINK_END_UNEXPLAINED;
	case DIAGNOSE_TIME:
		if (link->answer < 0 || !clock_is_wrong(dev, link->answer))
			return LINK_END_UNEXPLAINED;
		return LINK_END_CLOCK;
	case DIAGNOSE_NAME:
		return result != CHAN_OK ? LINK_END_NO_HOST : LINK_END_UNEXPLAINED;
	case DIAGNOSE_CONNECT:
		if (result == CHAN_OK)
			return LINK_END_UNEXPLAINED;
		link->closed = true;
		return took >= DIAGNOSE_SECONDS * TIMERS_S - DIAGNOSE_EARLY ? LINK_END_TIMEOUT
									    : LINK_END_REFUSED;
	case DIAGNOSE_CLOSE:
		link->closed = true;
		return LINK_END_UNEXPLAINED;
	case DIAGNOSE_MATERIAL:
		break;
	}
	return LINK_END_UNEXPLAINED;
}

static void diagnose_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);
	enum link_end end;

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	end = diagnose_verdict(link, result);
	if (end != LINK_END_UNEXPLAINED || !link->ops) {
		struct device *dev = link->dev;

		link_fail(link, end);
		if (end == LINK_END_CLOCK) {
			dev->clock_set = false;
			device_sync_clock(dev);
		}
		return;
	}
	diagnose_next(link);
}

/* ---- questions ---- */

static bool diagnose_is_quiet(const struct link *link)
{
	return device_is_quiet(link->dev, link) && link->ops->alone(link->user);
}

static void diagnose_ask(struct link *link, uint64_t timeout)
{
	link->answer = -1;
	at_line_end(&link->cmd.line); /* none is longer than those that were sent before */
	link_run(link, CHAN_CONTROL, timeout, diagnose_done);
}

static void diagnose_step(struct link *link)
{
	const struct device *dev = link->dev;
	bool named = !is_address(link->target.host) && link->address[0] == '\0';

	/* What is not the clock's fault is what the chip has said. */
	if (link->presumed != LINK_END_UNEXPLAINED && link->step > DIAGNOSE_TIME &&
	    link->step != DIAGNOSE_MATERIAL) {
		link_fail(link, link->presumed);
		return;
	}
	/* Where others never rest, a chip that has lost its clock would never get it back. */
	if (link->briefly && link->step > DIAGNOSE_TIME) {
		link_fail(link, link->presumed);
		return;
	}
	/* Each of these may take its time: somebody else may have come meanwhile. */
	if (link->step >= DIAGNOSE_NAME && link->step != DIAGNOSE_CLOSE &&
	    !diagnose_is_quiet(link)) {
		link_fail(link,
			  link->step == DIAGNOSE_MATERIAL ? LINK_END_TLS : LINK_END_UNEXPLAINED);
		return;
	}
	switch ((enum diagnose_step)link->step) {
	case DIAGNOSE_LOG:
		if (dev->tells_errno || !(dev->features & DEVICE_HAS_CIPCONNPERSIST)) {
			diagnose_next(link);
			return;
		}
		link_begin(link, "AT+SYSLOG=1");
		diagnose_ask(link, DEVICE_TIMEOUT);
		return;
	case DIAGNOSE_RAM:
		link_begin(link, "AT+SYSRAM?");
		link->cmd.on_line = diagnose_ram_line;
		diagnose_ask(link, DEVICE_TIMEOUT);
		return;
	case DIAGNOSE_TIME:
		link_begin(link, "AT+SYSTIMESTAMP?");
		link->cmd.on_line = diagnose_time_line;
		diagnose_ask(link, DEVICE_TIMEOUT);
		return;
	case DIAGNOSE_NAME:
		if (!named || !(dev->features & DEVICE_HAS_CIPDOMAIN)) {
			diagnose_next(link);
			return;
		}
		link_domain_line(link, DIAGNOSE_SECONDS);
		diagnose_ask(link, DIAGNOSE_TIMEOUT_DNS);
		return;
	case DIAGNOSE_CONNECT:
		link->closed = false;
		link->connected = false;
		link->started = dev->timers->now;
		link_start_line(link, false, DIAGNOSE_SECONDS);
		diagnose_ask(link, DIAGNOSE_TIMEOUT_TCP);
		return;
	case DIAGNOSE_CLOSE:
		link_plain(link, "AT+CIPCLOSE");
		diagnose_ask(link, DEVICE_TIMEOUT_FLASH);
		return;
	case DIAGNOSE_MATERIAL:
		/* Else diagnose_rechecked() has ended it, or will. */
		if (!provision_recheck(link->dev, link_ca(link), link_pki(link)))
			link_fail(link, LINK_END_TLS);
		return;
	}
}

void diagnose_rechecked(struct device *dev, bool wrote)
{
	for (int i = 0; i < AT_LINKS; i++) {
		struct link *link = &dev->links[i];

		if (link->diagnosing && !link->running && link->ops &&
		    link->step == DIAGNOSE_MATERIAL)
			link_fail(link, wrote ? LINK_END_NO_MATERIAL : LINK_END_TLS);
	}
}

/* ---- when ---- */

static void diagnose_look(struct timer *timer)
{
	struct link *link = container_of(timer, struct link, timer);
	enum link_probe probe = link->ops->may_probe(link->user, diagnose_is_quiet(link));

	if (probe == LINK_PROBE_LATER &&
	    link->dev->timers->now - link->started < DIAGNOSE_PATIENCE) {
		link_wait(link, DIAGNOSE_LOOK, diagnose_look);
		/* Whoever has waited for the end of this connect need not wait for its reason. */
		device_notify_room(link->dev);
		return;
	}
	if (probe == LINK_PROBE_NO) {
		link_fail(link, link->presumed);
		return;
	}
	link->briefly = probe == LINK_PROBE_LATER;
	diagnose_step(link);
}

/* Returns false if what the chip has said is all there is to know. */
static bool diagnose_number(struct link *link)
{
	link->presumed = LINK_END_UNEXPLAINED;
	link->step = DIAGNOSE_LOG;
	for (size_t i = 0; i < sizeof(diagnose_numbers) / sizeof(*diagnose_numbers); i++) {
		if (link->error_number != diagnose_numbers[i].number)
			continue;
		link->presumed = diagnose_numbers[i].end;
		link->step = diagnose_numbers[i].step;
	}
	return link->step != DIAGNOSE_NOTHING;
}

void diagnose_start(struct link *link)
{
	uint64_t took = link->dev->timers->now - link->started;
	uint64_t silence = DIAGNOSE_SECONDS * TIMERS_S;

	if (link->target.timeout > 0 && (link->dev->features & DEVICE_HAS_CIPSTART_TIMEOUT))
		silence = link->target.timeout * TIMERS_S - DIAGNOSE_EARLY;
	if (silence > DIAGNOSE_SILENCE)
		silence = DIAGNOSE_SILENCE;
	if (took >= silence) {
		link_fail(link, LINK_END_TIMEOUT);
		return;
	}
	if (!diagnose_number(link)) {
		link_fail(link, link->presumed);
		return;
	}
	link->diagnosing = true;
	link->started = link->dev->timers->now;
	diagnose_look(&link->timer);
}
