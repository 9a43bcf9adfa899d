/* SPDX-License-Identifier: MIT */
/*
 * Why a connection failed. The firmware says ERROR and no more (protocol fact 6), so: it took as long
 * as a server that does not answer; or the name cannot be looked up; or a plain TCP connection fails
 * too; or it is TLS. The TCP connection sends no byte and is closed at once.
 */
#include <arpa/inet.h>

#include "device/device.h"
#include "device/internal.h"

/* The firmware waits 10 s for a server that is silent (capture 46). */
#define DIAGNOSE_SILENCE (9 * TIMERS_S)
#define DIAGNOSE_TIMEOUT_DNS (30 * TIMERS_S)
#define DIAGNOSE_TIMEOUT_TCP (75 * TIMERS_S)

static bool is_address(const char *host)
{
	unsigned char buf[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, buf) == 1 || inet_pton(AF_INET6, host, buf) == 1;
}

static void diagnose_tcp_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result != CHAN_OK)
		link->closed = true;
	link_abort(link, result == CHAN_OK ? LINK_END_TLS : LINK_END_NO_TCP);
}

static void diagnose_tcp(struct link *link)
{
	link->closed = false;
	link_plain(link, "AT+CIPSTART");
	at_line_string(&link->cmd.line, "TCP");
	at_line_string(&link->cmd.line, link->target.host);
	at_line_int(&link->cmd.line, (long)link->target.port);
	at_line_end(&link->cmd.line); /* shorter than the one with "SSL", or as long */
	link_run(link, CHAN_CONTROL, DIAGNOSE_TIMEOUT_TCP, diagnose_tcp_done);
}

static void diagnose_dns_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result != CHAN_OK || !link->ops)
		link_abort(link, LINK_END_NO_HOST);
	else
		diagnose_tcp(link);
}

void diagnose_start(struct link *link)
{
	struct device *dev = link->dev;

	link->diagnosing = true;
	link->connected = false;
	if (dev->timers->now - link->started >= DIAGNOSE_SILENCE) {
		link_abort(link, LINK_END_TIMEOUT);
		return;
	}
	if (is_address(link->target.host) || !(dev->features & DEVICE_HAS_CIPDOMAIN)) {
		diagnose_tcp(link);
		return;
	}
	link->cmd.kind = CHAN_PLAIN;
	link->cmd.payload = NULL;
	at_line_begin(&link->cmd.line, "AT+CIPDOMAIN");
	at_line_string(&link->cmd.line, link->target.host);
	at_line_end(&link->cmd.line); /* shorter than CIPSTART's */
	link_run(link, CHAN_CONTROL, DIAGNOSE_TIMEOUT_DNS, diagnose_dns_done);
}
