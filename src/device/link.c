/* SPDX-License-Identifier: MIT */
/* One of the chip's five links. */
#include "device/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/internal.h"
#include "util/log.h"

/*
 * The chip gives up on a server that does not answer after 10 s per packet and takes up to 60 s in
 * all (field notes 2.2); until then the command channel is blocked and nothing can be done about it.
 */
#define LINK_TIMEOUT_START (75 * TIMERS_S)
/* Where CIPSTART was told how long it may take: what it may be late. */
#define LINK_TIMEOUT_MARGIN (5 * TIMERS_S)
#define LINK_TIMEOUT_RESOLVE (30 * TIMERS_S)
#define LINK_TIMEOUT_CLOSE (10 * TIMERS_S)
/* A CLOSED that comes after the OK of its CIPCLOSE must not hit the link's next user. */
#define LINK_LATE_CLOSED (1 * TIMERS_S)

#define CONF_UNKNOWN (-1)

static void link_finish(struct link *link);
static void link_step(struct link *link);

static const struct {
	const char *reason, *text;
} link_ends[] = {
	[LINK_END_PEER] = { NULL, "closed by the server" },
	[LINK_END_NO_HOST] = { "no-such-host", "no such host" },
	[LINK_END_REFUSED] = { "refused", "connection refused, or the server cannot be reached" },
	[LINK_END_TIMEOUT] = { "timeout", "the server did not answer in time" },
	[LINK_END_TLS] = { "not-trusted-or-handshake-failed",
			   "the TLS handshake failed: the server's certificate or name is not what "
			   "the tunnel trusts, it does not accept ours, or it has no TLS 1.2" },
	[LINK_END_NO_MATERIAL] = { "no-material",
				   "the certificates, keys or PSK that it needs are not there" },
	[LINK_END_CLOCK] = { "clock-not-set", "the chip's clock is wrong" },
	[LINK_END_MEMORY] = { "out-of-memory",
			      "the chip has too little memory for another TLS connection" },
	[LINK_END_WIFI] = { "wifi-down", "the chip has lost its Wi-Fi network" },
	[LINK_END_RESET] = { "chip-reset", "the chip was reset or lost" },
	[LINK_END_SETTINGS] = { "unexplained", "the chip refused the TLS settings" },
	[LINK_END_UNEXPLAINED] = { "unexplained", "the chip could not connect" },
	[LINK_END_VOID] = { "not-trusted-or-handshake-failed", "closed while it was being set up" },
	[LINK_END_SEND] = { NULL, "a send failed or is in doubt" },
	[LINK_END_FLOW] = { NULL, "the chip refused to change the receive type" },
	[LINK_END_LOST] = { NULL, "bytes were lost on the serial line" },
};

const char *link_end_text(enum link_end end)
{
	return link_ends[end].text;
}

const char *link_end_reason(enum link_end end)
{
	return link_ends[end].reason;
}

/*
 * What @link->target points into is of no use any more: only the slots are looked at from here on. Who
 * looks all the same finds NULL.
 */
static void link_release_target(struct link *link)
{
	struct link_target *t = &link->target;

	t->owner = config_free(t->owner);
	t->host = NULL;
	t->server_name = NULL;
	t->psk = NULL;
	t->alpn = NULL;
	t->ciphers = NULL;
	t->n_ciphers = 0;
}

/* Settings, CIPSTART and the diagnosis are made from the target, and only for a user. */
static bool link_state_needs_target(enum link_state state)
{
	switch (state) {
	case LINK_SETTING:
	case LINK_CONNECTING:
		return true;
	case LINK_FREE:
	case LINK_OPEN:
	case LINK_CLOSING:
		return false;
	}
	return false;
}

static void link_enter_state(struct link *link, enum link_state state)
{
	bool counts = (link->state == LINK_FREE) != (state == LINK_FREE);

	link->state = state;
	if (!link_state_needs_target(state))
		link_release_target(link);
	if (counts)
		device_note(link->dev, DEVICE_FACT_LINKS);
}

/* The user's last call; whatever the link still has to do, it does for itself. */
static void link_end_user(struct link *link, enum link_end end)
{
	const struct link_ops *ops = link->ops;

	link->ops = NULL;
	if (ops)
		ops->closed(link->user, end);
}

static void link_become_free(struct link *link)
{
	timer_cancel(&link->timer);
	free(link->tx);
	link->tx = NULL;
	link->tx_len = 0;
	link_receive_end(link);
	link->diagnosing = false;
	/* What an established link had is forgotten when it closes (capture 44). */
	if (link->established)
		link->left &= ~(unsigned int)(LINK_LEFT_ALPN | LINK_LEFT_PSK);
	link_enter_state(link, LINK_FREE);
	device_receive_update(link->dev);
	device_link_freed(link->dev);
	device_notify_room(link->dev);
}

void link_shut(struct link *link)
{
	timer_cancel(&link->timer); /* what was gathered to be sent */
	link_enter_state(link, LINK_CLOSING);
	link_receive_end(link);
	/* What is being read for it must not be there for the next one. */
	if (!link->running && !link->fetching)
		link_finish(link);
}

void link_abort(struct link *link, enum link_end end)
{
	link_end_user(link, end);
	link_shut(link);
}

/* ---- commands ---- */

void link_run(struct link *link, enum chan_lane lane, uint64_t timeout,
	      void (*done)(struct chan_cmd *cmd, enum chan_result result))
{
	link->cmd.timeout = timeout;
	link->cmd.done = done;
	link->running = true;
	chan_submit(&link->dev->chan, lane, &link->cmd);
}

struct link *link_of_cmd(struct chan_cmd *cmd)
{
	struct link *link = container_of(cmd, struct link, cmd);

	link->running = false;
	return link;
}

void link_begin(struct link *link, const char *name)
{
	chan_cmd_begin(&link->cmd, name);
}

void link_plain(struct link *link, const char *name)
{
	link_begin(link, name);
	at_line_int(&link->cmd.line, link->id);
}

void link_wait(struct link *link, uint64_t delay, void (*fn)(struct timer *timer))
{
	link->timer.fn = fn;
	timer_arm(&link->timer, delay);
}

/* ---- closing ---- */

static void link_late_closed_over(struct timer *timer)
{
	link_become_free(container_of(timer, struct link, timer));
}

static void link_close_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	/*
	 * ERROR: it was closed already (capture 31). Without a CLOSED it may as well have been the line that has
	 * damaged the command.
	 */
	link->maybe_open = result == CHAN_E_ERROR && link->connected && !link->closed;
	if (link->closed || !link->connected || result == CHAN_E_ERROR)
		link_become_free(link);
	else
		link_wait(link, LINK_LATE_CLOSED, link_late_closed_over);
}

static void link_finish(struct link *link)
{
	if (link->closed) {
		link_become_free(link);
		return;
	}
	link_plain(link, "AT+CIPCLOSE");
	at_line_end(&link->cmd.line);
	link_run(link, CHAN_CONTROL, LINK_TIMEOUT_CLOSE, link_close_done);
}

void link_close(struct link *link)
{
	if (!link->ops)
		return;
	link->ops = NULL;
	/* Nobody wants to know any more. */
	if (link->diagnosing)
		timer_cancel(&link->timer);
	if (link->state == LINK_SETTING && !link->running) {
		link_become_free(link);
		return;
	}
	link_shut(link);
}

/* ---- connecting ---- */

enum link_step {
	LINK_STEP_CLOSE, /* what may have been left open */
	LINK_STEP_RESOLVE,
	LINK_STEP_CONF,
	LINK_STEP_CONF_IS, /* whether it is what was set */
	LINK_STEP_ALPN,
	LINK_STEP_PSK,
	LINK_STEP_CIPHERS,
	LINK_STEP_SNI,
	LINK_STEP_CN,
	LINK_STEP_START,
};

void link_fail(struct link *link, enum link_end end)
{
	/* Reports of Wi-Fi come by themselves, and explain everything. */
	if (link->dev->wifi_lost && end != LINK_END_NO_MATERIAL)
		end = LINK_END_WIFI;
	link_abort(link, end);
}

static void link_start_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result != CHAN_OK) {
		/* There is nothing to close; a CLOSED that comes all the same is ignored when free. */
		link->closed = true;
		/*
		 * Unless it was open: the chip answers with ERROR then (protocol fact 6), and a CLOSED that came late
		 * may have been of the connection before.
		 */
		link->maybe_open = true;
		sample_doubt(link->dev);
		if (link->ops && !link->dev->wifi_lost)
			diagnose_start(link);
		else
			link_fail(link, LINK_END_UNEXPLAINED);
		return;
	}
	link->established = true;
	link->maybe_open = false;
	/*
	 * A link that closed again before this OK: whose CLOSED it was cannot be told, and with it
	 * the trust settings were forgotten (protocol facts 3, 4).
	 */
	if (link->closed || !link->connected) {
		link->closed = false;
		link_abort(link, LINK_END_VOID);
		return;
	}
	if (!link->ops) {
		link_shut(link);
		return;
	}
	link_enter_state(link, LINK_OPEN);
	link->moved = link->dev->timers->now;
	link_send_start(link);
	link->ops->opened(link->user);
	link_expects(link);
	/* A handshake blocks the channel; the next one may begin. */
	device_notify_room(link->dev);
}

/* An attempt that ends before CIPSTART: there is nothing to close. */
static void link_give_up(struct link *link, enum link_end end)
{
	link_end_user(link, end);
	link_become_free(link);
}

/* Those that any mode but 0 has set, see link_conf_line(). */
static bool link_conf_equals(const struct at_sslconf *conf, int auth, int pki, int ca)
{
	if (conf->auth != auth)
		return false;
	return auth == LINK_AUTH_NONE || ((auth == LINK_AUTH_SERVER || conf->pki == pki) &&
					  (auth == LINK_AUTH_CLIENT || conf->ca == ca));
}

/* The settings of all links. */
static void link_conf_told(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct link *link = container_of(cmd, struct link, cmd), *other;
	struct at_sslconf conf;

	if (!at_reply_sslconf(text, len, &conf) || conf.link >= AT_LINKS)
		return;
	other = &link->dev->links[conf.link];
	if (other == link) {
		link->conf_seen = true;
		link->conf_wrong = link->conf_wrong ||
				   !link_conf_equals(&conf, (int)link->target.auth,
						     link->target.pki, link->target.ca);
	} else if (other->conf_auth != CONF_UNKNOWN &&
		   !link_conf_equals(&conf, other->conf_auth, other->conf_pki, other->conf_ca)) {
		link->conf_wrong = true;
	}
}

/*
 * A digit that the line has changed may have told the chip to verify nothing, or to do this for another link: OK is
 * not believed, as what was set stays for all connections that follow.
 */
static bool link_conf_holds(struct link *link)
{
	if (!link->conf_seen || link->conf_wrong)
		return false;
	link->conf_auth = (int)link->target.auth;
	link->conf_pki = link->target.pki;
	link->conf_ca = link->target.ca;
	return true;
}

/* Whether the step's setting is wanted, or else to be cleared. @left: what its command leaves on the chip, or clears. */
static bool link_step_sets(const struct link *link, unsigned int *left)
{
	const struct link_target *t = &link->target;

	switch ((enum link_step)link->step) {
	case LINK_STEP_ALPN:
		*left = LINK_LEFT_ALPN;
		return t->alpn && t->alpn->n > 0;
	case LINK_STEP_PSK:
		*left = LINK_LEFT_PSK;
		return t->psk;
	case LINK_STEP_CIPHERS:
		*left = LINK_LEFT_CIPHERS;
		return t->n_ciphers > 0;
	default:
		*left = 0;
		return true;
	}
}

static void link_setting_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);
	unsigned int left;

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (link->step == LINK_STEP_CLOSE)
		link->closed = false; /* that was the one before */
	if (link->closed || !link->ops) {
		link_give_up(link, LINK_END_VOID);
		return;
	}
	/* CIPSTART would fail after 10 s, and take the channel from whatever brings the network back (capture 02). */
	if (link->dev->wifi_lost) {
		link_give_up(link, LINK_END_WIFI);
		return;
	}
	if (result != CHAN_OK && link->step != LINK_STEP_CLOSE) {
		link_give_up(link, link->step == LINK_STEP_RESOLVE ? LINK_END_NO_HOST
								   : LINK_END_SETTINGS);
		return;
	}
	if (link->step == LINK_STEP_CONF_IS && !link_conf_holds(link)) {
		device_recover(link->dev, "TLS settings are not what they were set to");
		return;
	}
	if (!link_step_sets(link, &left))
		link->left &= ~left;
	if (link->step == LINK_STEP_RESOLVE && link->address[0] == '\0') {
		link_give_up(link, LINK_END_NO_HOST);
		return;
	}
	link->step++;
	link_step(link);
}

static bool link_host_is_long(const struct link *link)
{
	return strlen(link->target.host) > CONFIG_SERVER_NAME_MAX;
}

static bool link_wants_ipv6(const struct link *link)
{
	return config_wants_ipv6(link->target.family, link->target.host);
}

static void link_address_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct link *link = container_of(cmd, struct link, cmd);

	/* There may be several: the first one (AT+CIPDOMAIN of v5.0). */
	if (link->address[0] == '\0')
		at_reply_domain(text, len, link->address, sizeof(link->address));
}

/*
 * 3 is IPv6 only, 2 IPv4 only: another address would be of no use to the connect that follows. Where no reason
 * is looked for, older firmware is not told what it does by itself: it prefers IPv4. Only from v4.1 on there
 * is a time-out (field notes 1.2).
 */
void link_domain_line(struct link *link, unsigned int timeout)
{
	bool timed = timeout > 0 && (link->dev->features & DEVICE_HAS_CIPSTART_TIMEOUT);

	link_begin(link, "AT+CIPDOMAIN");
	at_line_string(&link->cmd.line, link->target.host);
	if (timed || link->diagnosing || link_wants_ipv6(link))
		at_line_int(&link->cmd.line, link_wants_ipv6(link) ? 3 : 2);
	if (timed)
		at_line_int(&link->cmd.line, (long)timeout * 1000);
}

void link_start_line(struct link *link, bool tls, unsigned int timeout)
{
	const struct link_target *t = &link->target;
	const char *type = tls ? "SSL" : "TCP";

	if (link_wants_ipv6(link))
		type = tls ? "SSLv6" : "TCPv6";
	link_plain(link, "AT+CIPSTART");
	at_line_string(&link->cmd.line, type);
	at_line_string(&link->cmd.line, link->address[0] ? link->address : t->host);
	at_line_int(&link->cmd.line, (long)t->port);
	/* Left out, it would be that of the last connection (ESP-AT documentation). */
	at_line_int(&link->cmd.line, (long)t->keep_alive);
	if (timeout > 0 && (link->dev->features & DEVICE_HAS_CIPSTART_TIMEOUT)) {
		at_line_empty(&link->cmd.line); /* the local address */
		at_line_int(&link->cmd.line, (long)timeout * 1000);
	}
}

/* All three modes but 0 need both numbers (capture 40), whichever of them matters. */
static void link_conf_line(struct link *link)
{
	const struct link_target *t = &link->target;

	/* Whose user leaves before the answer leaves this to the next one. */
	link->conf_auth = CONF_UNKNOWN;
	link_plain(link, "AT+CIPSSLCCONF");
	at_line_int(&link->cmd.line, t->auth);
	if (t->auth == LINK_AUTH_NONE)
		return;
	at_line_int(&link->cmd.line, t->auth == LINK_AUTH_SERVER ? 0 : t->pki);
	at_line_int(&link->cmd.line, t->auth == LINK_AUTH_CLIENT ? 0 : t->ca);
}

static bool link_conf_is_set(const struct link *link)
{
	return link->conf_auth == (int)link->target.auth && link->conf_pki == link->target.pki &&
	       link->conf_ca == link->target.ca;
}

/* With none the count 0 clears what an attempt that failed has left (capture 40). */
static void link_alpn_line(struct link *link)
{
	const struct config_strings *alpn = link->target.alpn;

	link_plain(link, "AT+CIPSSLCALPN");
	at_line_int(&link->cmd.line, alpn ? (long)alpn->n : 0);
	for (size_t i = 0; alpn && i < alpn->n; i++)
		at_line_string(&link->cmd.line, alpn->items[i]);
}

static void link_ciphers_line(struct link *link)
{
	char number[8];

	link_plain(link, "AT+CIPSSLCCIPHER");
	at_line_int(&link->cmd.line, (long)link->target.n_ciphers);
	for (size_t i = 0; i < link->target.n_ciphers; i++) {
		snprintf(number, sizeof(number), "0x%04X", link->target.ciphers[i]);
		at_line_word(&link->cmd.line, number);
	}
}

/* The key is read when it is needed, and only then. Returns 0 or -errno. */
static int link_psk_line(struct link *link)
{
	const struct config_psk *psk = link->target.psk;
	struct device *dev = link->dev;
	char key[2 * CONFIG_PSK_MAX + 1] = "";
	int r = 0;

	if (psk)
		r = dev->ops->secret(dev->userdata, psk->file, key, sizeof(key));
	if (r == 0 && psk && (key[0] == '\0' || (!psk->hex && strlen(key) > CONFIG_PSK_MAX)))
		r = -EINVAL;
	/* Empty strings clear it (capture 40). */
	link_plain(link, psk && psk->hex ? "AT+CIPSSLCPSKHEX" : "AT+CIPSSLCPSK");
	at_line_secret_string(&link->cmd.line, key);
	at_line_string(&link->cmd.line, psk ? psk->identity : "");
	link->cmd.secret = true;
	explicit_bzero(key, sizeof(key));
	return r;
}

/* From v5.0 on, with AT+SYSLOG=1 (field notes 1.2). */
static void link_errno_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_hex(text, len, "+ERRNO:", &container_of(cmd, struct link, cmd)->error_number);
}

/* A setting that is not made each time: one that is wanted, or that must go. */
static bool link_step_is_due(const struct link *link)
{
	unsigned int left;

	switch ((enum link_step)link->step) {
	case LINK_STEP_CLOSE:
		return link->maybe_open;
	case LINK_STEP_RESOLVE:
		return link_host_is_long(link);
	case LINK_STEP_CONF:
	case LINK_STEP_CONF_IS:
		return !link_conf_is_set(link);
	case LINK_STEP_ALPN:
	case LINK_STEP_PSK:
	case LINK_STEP_CIPHERS:
		return link_step_sets(link, &left) || (link->left & left);
	case LINK_STEP_SNI:
	case LINK_STEP_CN:
	case LINK_STEP_START:
		return true;
	}
	return false;
}

/* The line of a step that is due. Returns 0 or -errno (a PSK that cannot be read). */
static int link_step_line(struct link *link)
{
	const struct link_target *t = &link->target;

	switch ((enum link_step)link->step) {
	case LINK_STEP_CLOSE:
		link_plain(link, "AT+CIPCLOSE");
		return 0;
	case LINK_STEP_RESOLVE:
		link_domain_line(link, t->timeout);
		link->cmd.on_line = link_address_line;
		return 0;
	case LINK_STEP_CONF:
		link_conf_line(link);
		return 0;
	case LINK_STEP_CONF_IS:
		link_begin(link, "AT+CIPSSLCCONF?");
		link->cmd.on_line = link_conf_told;
		link->conf_seen = link->conf_wrong = false;
		return 0;
	case LINK_STEP_ALPN:
		link_alpn_line(link);
		return 0;
	case LINK_STEP_PSK:
		return link_psk_line(link);
	case LINK_STEP_CIPHERS:
		link_ciphers_line(link);
		return 0;
	case LINK_STEP_SNI:
		link_plain(link, "AT+CIPSSLCSNI");
		at_line_string(&link->cmd.line, t->server_name);
		return 0;
	case LINK_STEP_CN:
		/* The name that is checked is SNI, else CN: both, so that no old one is left (fact 2). */
		link_plain(link, "AT+CIPSSLCCN");
		at_line_string(&link->cmd.line, t->server_name);
		return 0;
	case LINK_STEP_START:
		link_start_line(link, true, t->timeout);
		link->cmd.on_line = link_errno_line;
		return 0;
	}
	return 0;
}

static uint64_t link_step_timeout(const struct link *link)
{
	if (link->step == LINK_STEP_RESOLVE)
		return LINK_TIMEOUT_RESOLVE;
	if (link->step != LINK_STEP_START)
		return DEVICE_TIMEOUT_FLASH;
	/* Where the firmware keeps to a time, an answer that does not come is lost. */
	if (link->target.timeout > 0 && (link->dev->features & DEVICE_HAS_CIPSTART_TIMEOUT))
		return link->target.timeout * TIMERS_S + LINK_TIMEOUT_MARGIN;
	return LINK_TIMEOUT_START;
}

static void link_step(struct link *link)
{
	unsigned int left;
	bool start;
	int r;

	while (!link_step_is_due(link))
		link->step++;
	start = link->step == LINK_STEP_START;
	r = link_step_line(link);
	if (at_line_end(&link->cmd.line) < 0 || r < 0) {
		/* Only a PSK's file can be it: link_open() has tried the others. */
		at_line_wipe(&link->cmd.line);
		link_give_up(link, LINK_END_NO_MATERIAL);
		return;
	}
	link_step_sets(link, &left);
	link->left |= left;
	if (start) {
		link->started = link->dev->timers->now;
		link_enter_state(link, LINK_CONNECTING);
	}
	link_run(link, CHAN_CONTROL, link_step_timeout(link),
		 start ? link_start_done : link_setting_done);
}

/* Whether every command of @link's target can be expressed. Returns 0, -EINVAL or -E2BIG. */
static int link_try_lines(struct link *link)
{
	int r = 0;

	/* What is looked up first is an address then, of at most this length. */
	if (link_host_is_long(link))
		memset(link->address, '0', LINK_ADDRESS_MAX);
	for (link->step = LINK_STEP_RESOLVE; link->step <= LINK_STEP_START && r == 0;
	     link->step++) {
		if (link->step == LINK_STEP_PSK || !link_step_is_due(link))
			continue;
		link_step_line(link);
		r = at_line_end(&link->cmd.line);
	}
	return r;
}

int link_open(struct link *link, const struct link_target *target, const struct link_ops *ops,
	      void *user)
{
	int r;

	assert(link->state == LINK_FREE && link->dev->state == DEVICE_READY);
	link->target = *target;
	link->target.owner = NULL; /* until it is sure to be used */
	memset(link->address, 0, sizeof(link->address));
	r = link_try_lines(link);
	memset(link->address, 0, sizeof(link->address));
	if (r == 0 && target->n_ciphers > 0 && !(link->dev->features & DEVICE_HAS_CIPSSLCCIPHER))
		r = -EOPNOTSUPP;
	link->tx = r == 0 ? malloc(LINK_BLOCK_MAX) : NULL;
	link->tx_size = LINK_BLOCK_MAX;
	if (!link->tx) {
		link_release_target(link);
		return r < 0 ? r : -ENOMEM;
	}
	if (target->owner)
		link->target.owner = config_ref(target->owner);
	link->ops = ops;
	link->user = user;
	link->connected = false;
	link->established = false;
	link->closed = false;
	link->missing = 0;
	link->diagnosing = false;
	link->error_number = 0;
	link_receive_open(link);
	link->tx_len = 0;
	link->tx_off = 0;
	link->step = LINK_STEP_CLOSE;
	link_enter_state(link, LINK_SETTING);
	link_step(link);
	return 0;
}

/* ---- what the chip says ---- */

void link_report_connect(struct link *link)
{
	/* A CIPSTART of this link is under way, of its own or of the diagnosis. */
	if (!link->running || (link->step != LINK_STEP_START && !link->diagnosing) ||
	    (link->state != LINK_CONNECTING && link->state != LINK_CLOSING)) {
		device_recover(link->dev, "a connection that nobody asked for");
		return;
	}
	link->connected = true;
}

void link_report_closed(struct link *link)
{
	switch (link->state) {
	case LINK_FREE: /* it may follow the ERROR of a CIPSTART (field notes 2.2) */
		link->maybe_open = false;
		return;
	case LINK_SETTING:
	case LINK_CONNECTING:
		link->closed = true; /* voids the attempt, when its command has ended */
		return;
	case LINK_OPEN:
		link->closed = true;
		/*
		 * A send under way ends with SEND FAIL (capture 30); what was received is whole,
		 * unless it is Wi-Fi that has gone (protocol fact 23).
		 */
		if (!link_drains(link))
			link_fail(link, LINK_END_PEER);
		return;
	case LINK_CLOSING:
		link->closed = true;
		if (timer_armed(&link->timer) && !link->diagnosing)
			link_become_free(link);
		return;
	}
}

/* The chip has forgotten everything. */
void link_reset(struct link *link)
{
	timer_cancel(&link->timer);
	link->running = false;
	link->recv_running = false;
	link->fetching = false;
	link_receive_end(link);
	link->passive = false;
	link->conf_auth = CONF_UNKNOWN;
	link->diagnosing = false;
	link->maybe_open = false;
	if (link->state == LINK_FREE)
		return;
	free(link->tx);
	link->tx = NULL;
	link->tx_len = 0;
	link_enter_state(link, LINK_FREE);
	link_end_user(link, LINK_END_RESET);
}

int link_init(struct link *link, struct device *dev, int id)
{
	int r;

	link->dev = dev;
	link->id = id;
	link->conf_auth = CONF_UNKNOWN;
	r = link_receive_init(link);
	return r < 0 ? r : timer_init(&link->timer, dev->timers, NULL);
}

void link_deinit(struct link *link)
{
	if (!link->dev)
		return;
	link->ops = NULL;
	link_reset(link);
	timer_deinit(&link->timer);
	timer_deinit(&link->look);
	link->dev = NULL;
}
