/* SPDX-License-Identifier: MIT */
/* Wi-Fi: modes, scan, join with its failures, automatic join, addresses, DNS servers. */
#include "cmds.h"

#include <errno.h>
#include <stdio.h>

#define STA_IP "10.0.2.15"
#define STA_GATEWAY "10.0.2.2"
#define STA_NETMASK "255.255.255.0"
#define STA_DNS "10.0.2.3"
#define STA_PREFIX "fd00::"

enum {
	JOIN_TIMEOUT = 1,
	JOIN_WRONG_PASSWORD,
	JOIN_NO_AP,
	JOIN_FAILED,
};

/* The numbers are those of CWLAP. */
enum {
	AUTH_OPEN = 0,
	AUTH_WPA_PSK = 2,
	AUTH_WPA2_PSK = 3,
	AUTH_WPA2_ENTERPRISE = 5,
	AUTH_MAX = 16,
};

static const struct jap default_jap = { .listen = 3, .pmf = 1, .reconn = 1 };

/* lwIP's servers before DHCP or CIPDNS names others (capture 04). */
static const char *const default_dns[3] = { "208.67.222.222", "114.114.114.114", "8.8.8.8" };

static bool keep(struct sim_core *c)
{
	return !c->no_store;
}

static void save(struct sim_core *c, const char *key, const void *data, size_t len)
{
	nvs_save(&c->nvs, key, data, len);
	c->dirty = true;
}

static void save_text(struct sim_core *c, const char *key, const char *text)
{
	save(c, key, text, strlen(text) + 1);
}

static unsigned saved_num(struct sim_core *c, const char *key, unsigned otherwise)
{
	const unsigned *v = nvs_saved(&c->nvs, key, NULL);

	return v ? *v : otherwise;
}

static void set_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

bool wifi_is_up(const struct sim_core *c)
{
	return c->wifi == WIFI_UP;
}

static int ap_authmode(const struct sim_ap *ap)
{
	if (ap->eap)
		return AUTH_WPA2_ENTERPRISE;
	return ap->psk[0] ? AUTH_WPA2_PSK : AUTH_OPEN;
}

/* Of several with that name the first one. */
static int find_ap(struct sim_core *c)
{
	unsigned lowest = c->prof->authmode  ? c->jap.threshold
			  : c->jap.threshold ? AUTH_WPA_PSK
					     : AUTH_OPEN;

	if (c->now < c->wifi_away)
		return -1;
	for (int i = 0; i < c->cfg.n_ap; i++) {
		const struct sim_ap *ap = &c->cfg.ap[i];

		if (!strcmp(ap->ssid, c->wifi_ssid) && ap_authmode(ap) >= (int)lowest &&
		    (!c->jap.has_bssid || !memcmp(ap->bssid, c->jap.bssid, 6)))
			return i;
	}
	return -1;
}

/* 0 if joining would succeed, else the code of +CWJAP. */
static int try_ap(struct sim_core *c, int i, const char *psk)
{
	if (i < 0)
		return JOIN_NO_AP;
	if (c->eap.on)
		return eap_fits(c, i) ? 0 : JOIN_FAILED;
	if (c->cfg.ap[i].eap)
		return JOIN_WRONG_PASSWORD;
	/* A password for an open network, and one that no WPA2 password can be (capture 20). */
	if (!c->cfg.ap[i].psk[0])
		return psk[0] ? JOIN_FAILED : 0;
	if (strlen(psk) < 8)
		return JOIN_FAILED;
	return strcmp(c->cfg.ap[i].psk, psk) ? JOIN_WRONG_PASSWORD : 0;
}

static void begin_join(struct sim_core *c, unsigned assoc_ms)
{
	unsigned patience = c->wifi_by_cmd ? 1000 * c->jap_timeout : 0;
	unsigned first, all;

	c->wifi_ap = find_ap(c);
	c->wifi_fail = try_ap(c, c->wifi_ap, c->wifi_psk);
	first = c->wifi_fail ? c->cfg.times.join_fail : assoc_ms;
	all = c->wifi_fail ? first : first + c->cfg.times.join / 3;
	if (patience && patience < all) {
		c->wifi_fail = JOIN_TIMEOUT;
		first = patience;
	}
	c->wifi = WIFI_JOINING;
	c->wifi_retry_at = SIM_NEVER;
	c->wifi_step = 1;
	c->wifi_at = ms_after(c, first);
}

/* The addresses that a join brings come by themselves, after it. */
static void ip6_start(struct sim_core *c)
{
	c->ip6 = IP6_NONE;
	c->ip6_at = c->ipv6 ? ms_after(c, c->cfg.times.join / 6) : SIM_NEVER;
}

static void ip6_stop(struct sim_core *c)
{
	c->ip6 = IP6_NONE;
	c->ip6_at = SIM_NEVER;
}

static void ip6_step(struct sim_core *c)
{
	c->ip6++;
	c->ip6_at = c->ip6 == IP6_LOCAL ? ms_after(c, c->cfg.times.join / 6) : SIM_NEVER;
	if (c->ipv6)
		sim_sayf(c, "WIFI GOT IPv6 %s\r\n", c->ip6 == IP6_LOCAL ? "LL" : "GL");
}

static bool with_dhcp(const struct sim_core *c)
{
	return c->dhcp & 1;
}

/* Servers that were not set by hand: lwIP's, or after DHCP that which it named. */
static void auto_dns(struct sim_core *c, bool leased)
{
	if (c->dns_manual)
		return;
	for (int i = 0; i < 3; i++)
		set_text(c->dns[i], sizeof(c->dns[i]), default_dns[i]);
	if (leased)
		set_text(c->dns[0], sizeof(c->dns[0]), STA_DNS);
}

void wifi_boot(struct sim_core *c)
{
	const char *ssid = nvs_saved(&c->nvs, "ssid", NULL);
	const char *dns = nvs_saved(&c->nvs, "dns0", NULL);
	uint32_t len, len_eap, len_own;
	const struct jap *jap = nvs_saved(&c->nvs, "jap", &len);
	const struct eap *eap = nvs_saved(&c->nvs, "eap", &len_eap);
	const struct sta_ip *own = nvs_saved(&c->nvs, "sta_ip", &len_own);

	c->mode = saved_num(c, "mode", 2);
	c->autoconn = saved_num(c, "autoconn", 1);
	c->wifi = WIFI_NONE;
	c->wifi_by_cmd = false;
	c->wifi_at = c->wifi_retry_at = SIM_NEVER;
	c->ipv6 = saved_num(c, "ipv6", 0);
	ip6_stop(c);
	set_text(c->wifi_ssid, sizeof(c->wifi_ssid), ssid);
	set_text(c->wifi_psk, sizeof(c->wifi_psk), nvs_saved(&c->nvs, "psk", NULL));
	c->jap = jap && len == sizeof(*jap) ? *jap : default_jap;
	if (!jap && !ssid)
		c->jap.reconn = 0; /* capture 04: CWRECONNCFG of a new chip */
	c->jap_timeout = 0;
	c->eap = eap && len_eap == sizeof(*eap) ? *eap : (struct eap){ 0 };
	set_text(c->hostname, sizeof(c->hostname), "espressif");
	set_text(c->country, sizeof(c->country), "CN");
	c->country_policy = c->country_first = 1;
	c->country_count = 13;
	c->country_5ghz = 0;
	c->dhcp = saved_num(c, "dhcp", 3);
	c->own = own && len_own == sizeof(*own) ? *own : (struct sta_ip){ 0 };
	c->reconn_count = 0;
	memset(c->cwconfig, 0, sizeof(c->cwconfig));
	c->dns_manual = false;
	auto_dns(c, false);
	if (dns) {
		/* The slots that are not saved keep lwIP's fallback (capture 55). */
		c->dns_manual = true;
		set_text(c->dns[0], sizeof(c->dns[0]), dns);
		set_text(c->dns[1], sizeof(c->dns[1]), nvs_saved(&c->nvs, "dns1", NULL));
		dns = nvs_saved(&c->nvs, "dns2", NULL);
		if (dns)
			set_text(c->dns[2], sizeof(c->dns[2]), dns);
	}
	/* It may well be associated before it says "ready" (capture 20). */
	if ((c->mode & 1) && c->autoconn && ssid)
		begin_join(c, c->cfg.times.boot - c->cfg.times.boot / 8);
}

void wifi_leave(struct sim_core *c, bool say)
{
	bool was = c->wifi == WIFI_UP || c->wifi == WIFI_ASSOCIATED;

	if (was && say)
		sim_sayf(c, "WIFI DISCONNECT\r\n");
	if (c->wifi != WIFI_NONE)
		c->wifi = WIFI_DOWN;
	c->wifi_at = c->wifi_retry_at = SIM_NEVER;
	ip6_stop(c);
	if (was) {
		/* CIPCONNPERSIST: the links wait for the network to come back. */
		if (!c->persist)
			ip_close_all(c, say);
		ip_net_lost(c);
		auto_dns(c, false);
	}
}

/* Said to whom waits for it. */
static void join_failed(struct sim_core *c, int code)
{
	if (!c->wifi_by_cmd)
		return;
	c->wifi_by_cmd = false;
	if (c->eap.on)
		eap_failed(c);
	else
		sim_sayf(c, "+CWJAP:%d\r\n", code);
	sim_done(c, RES_ERROR);
}

/* Lost before it had an address: the command goes on looking for as long as for a network that is not there. */
void wifi_join_lost(struct sim_core *c)
{
	c->wifi_fail = JOIN_TIMEOUT;
	c->wifi = WIFI_JOINING;
	c->wifi_at = ms_after(c, c->cfg.times.join_fail);
}

static void join_step(struct sim_core *c)
{
	bool by_cmd;

	if (c->wifi_fail) {
		c->wifi = WIFI_DOWN;
		join_failed(c, c->wifi_fail);
		return;
	}
	if (c->wifi_step == 1) {
		c->wifi = WIFI_ASSOCIATED;
		c->wifi_step = 2;
		sim_sayf(c, "WIFI CONNECTED\r\n");
		c->wifi_at = ms_after(c, c->cfg.times.join / 3);
		return;
	}
	if (!with_dhcp(c) && !c->own.ip[0]) {
		join_failed(c, JOIN_TIMEOUT); /* nobody gives it an address */
		return;
	}
	by_cmd = c->wifi_by_cmd;
	c->wifi_by_cmd = false;
	c->wifi = WIFI_UP;
	auto_dns(c, with_dhcp(c));
	sim_sayf(c, "WIFI GOT IP\r\n");
	if (by_cmd)
		sim_done(c, RES_OK);
	if (c->ip6 == IP6_NONE) /* else it is only the IPv4 address that is new */
		ip6_start(c);
	if (c->sntp_on)
		c->sntp_at = c->now;
}

void wifi_tick(struct sim_core *c)
{
	if (c->wifi_at <= c->now) {
		c->wifi_at = SIM_NEVER;
		join_step(c);
	}
	if (c->ip6_at <= c->now)
		ip6_step(c);
	if (c->wifi_retry_at <= c->now) {
		c->wifi_retry_at = SIM_NEVER;
		if (!(c->mode & 1) || c->wifi != WIFI_DOWN)
			return;
		if (c->now >= c->wifi_away)
			begin_join(c, c->cfg.times.join * 2 / 3);
		else if (c->jap.reconn)
			c->wifi_retry_at = ms_after(c, 1000 * c->jap.reconn);
	}
}

uint64_t wifi_next(const struct sim_core *c)
{
	uint64_t t = c->wifi_at < c->wifi_retry_at ? c->wifi_at : c->wifi_retry_at;

	return t < c->ip6_at ? t : c->ip6_at;
}

/* ---- commands ---- */

HANDLER(cwinit_query)
{
	sim_sayf(c, "+CWINIT:1\r\n");
	return RES_OK;
}

HANDLER(cwinit_set)
{
	long long on;

	return call->n == 1 && !arg_range(c, call, 0, 0, 1, &on) ? RES_OK : RES_ERROR;
}

HANDLER(cwmode_query)
{
	sim_sayf(c, "+CWMODE:%u\r\n", c->mode);
	return RES_OK;
}

HANDLER(cwmode_set)
{
	long long mode, autoconn;
	unsigned v;

	if (call->n > 2 || arg_num(c, call, 0, &mode) < 0 ||
	    (arg_given(call, 1) && arg_range(c, call, 1, 0, 1, &autoconn) < 0))
		return RES_ERROR;
	if (mode < 0 || mode > 3) {
		c->err_code = 0x01070001; /* capture 02 */
		return RES_ERROR;
	}
	if (!(mode & 1)) {
		wifi_leave(c, true);
		c->wifi = WIFI_NONE;
	}
	v = mode;
	if (v == c->mode)
		return RES_OK;
	c->mode = v;
	if ((v & 1) && c->wifi == WIFI_NONE && c->autoconn && c->wifi_ssid[0])
		begin_join(c, c->cfg.times.join * 2 / 3);
	if (!keep(c))
		return RES_OK;
	save(c, "mode", &v, sizeof(v));
	return sim_flash_done(c, RES_OK);
}

HANDLER(cwstate_query)
{
	sim_sayf(c, "+CWSTATE:%d,\"%s\"\r\n", c->wifi, c->wifi == WIFI_NONE ? "" : c->wifi_ssid);
	return RES_OK;
}

static void say_bssid(struct sim_core *c, int ap)
{
	const uint8_t *m = c->cfg.ap[ap].bssid;

	sim_sayf(c, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", m[0], m[1], m[2], m[3], m[4], m[5]);
}

HANDLER(cwjap_query)
{
	if (c->wifi != WIFI_UP && c->wifi != WIFI_ASSOCIATED)
		return RES_OK;
	sim_sayf(c, "+CWJAP:\"%s\",", c->wifi_ssid);
	say_bssid(c, c->wifi_ap);
	sim_sayf(c, ",%d,%ld,%u,%u,%u,%u,%u\r\n", c->cfg.ap[c->wifi_ap].channel,
		 c->fault[SIM_FAULT_RSSI] ? c->fault[SIM_FAULT_RSSI] : -24, c->jap.threshold,
		 c->jap.reconn, c->jap.listen, c->jap.scan, c->jap.pmf);
	return RES_OK;
}

static enum result join(struct sim_core *c)
{
	wifi_leave(c, true);
	c->wifi_by_cmd = true;
	begin_join(c, c->cfg.times.join * 2 / 3);
	return RES_PENDING;
}

/* From the third parameter on. */
static int jap_args(struct sim_core *c, struct call *call, struct jap *jap, long long *timeout)
{
	long long threshold = 0, reconn = jap->reconn, listen = jap->listen, scan = 0,
		  pmf = jap->pmf;

	if (arg_given(call, 2) && arg_mac(c, call, 2, jap->bssid) < 0)
		return -EINVAL;
	if (!arg_option(c, call, 3, 0, c->prof->authmode ? AUTH_MAX : 1, &threshold) ||
	    !arg_option(c, call, 4, 0, 7200, &reconn) || !arg_option(c, call, 5, 1, 100, &listen) ||
	    !arg_option(c, call, 6, 0, 1, &scan) || !arg_option(c, call, 7, 3, 600, timeout) ||
	    !arg_option(c, call, 8, 0, 3, &pmf))
		return -EINVAL;
	jap->has_bssid = arg_given(call, 2);
	jap->threshold = threshold;
	jap->reconn = reconn;
	jap->listen = listen;
	jap->scan = scan;
	jap->pmf = pmf;
	return 0;
}

static void save_join(struct sim_core *c)
{
	if (!keep(c))
		return;
	save_text(c, "ssid", c->wifi_ssid);
	save_text(c, "psk", c->wifi_psk);
	save(c, "jap", &c->jap, sizeof(c->jap));
	save(c, "eap", &c->eap, c->eap.on ? sizeof(c->eap) : 0);
}

HANDLER(cwjap_set)
{
	bool last = !arg_given(call, 0) && !arg_given(call, 1) && c->wifi_ssid[0];
	const char *ssid = c->wifi_ssid, *psk = last ? c->wifi_psk : "";
	struct jap jap = default_jap;
	long long timeout = 0;

	if (call->n > 9 || (!last && arg_str(c, call, 0, &ssid) < 0) || strlen(ssid) > 32 ||
	    !ssid[0] ||
	    (arg_given(call, 1) && (arg_str(c, call, 1, &psk) < 0 || strlen(psk) > 64)) ||
	    jap_args(c, call, &jap, &timeout) < 0) {
		c->err_code = 0; /* capture 02 */
		return RES_ERROR;
	}
	if (!(c->mode & 1))
		return RES_ERROR;
	wifi_leave(c, true);
	if (!last) {
		set_text(c->wifi_ssid, sizeof(c->wifi_ssid), ssid);
		set_text(c->wifi_psk, sizeof(c->wifi_psk), psk);
	}
	if (!last)
		c->eap.on = false;
	c->jap = jap;
	c->jap_timeout = timeout;
	save_join(c);
	return join(c);
}

enum result wifi_join_eap(struct sim_core *c, const char *ssid, const uint8_t *bssid,
			  unsigned timeout)
{
	wifi_leave(c, true);
	set_text(c->wifi_ssid, sizeof(c->wifi_ssid), ssid);
	c->wifi_psk[0] = 0;
	c->jap = default_jap;
	if (bssid) {
		c->jap.has_bssid = true;
		memcpy(c->jap.bssid, bssid, 6);
	}
	c->jap_timeout = timeout;
	save_join(c);
	return join(c);
}

HANDLER(cwjap_exec)
{
	if (!(c->mode & 1) || !c->wifi_ssid[0])
		return RES_ERROR;
	return join(c);
}

HANDLER(cwqap_exec)
{
	if (!(c->mode & 1))
		return RES_ERROR;
	wifi_leave(c, true);
	return RES_OK;
}

HANDLER(cwlapopt_set)
{
	long long sort = 0, mask;

	if (call->n < 2 || call->n > 4 || !arg_option(c, call, 0, 0, 1, &sort) ||
	    arg_range(c, call, 1, 0, 4095, &mask) < 0)
		return RES_ERROR;
	c->cwlap_sort = sort;
	c->cwlap_mask = mask;
	return RES_OK;
}

static enum result scan(struct sim_core *c)
{
	if (!(c->mode & 1))
		return RES_ERROR;
	c->scan_at = ms_after(c, c->cfg.times.scan);
	return RES_PENDING;
}

HANDLER(cwlap_exec)
{
	c->scan_ssid[0] = 0;
	c->scan_has_bssid = false;
	c->scan_channel = 0;
	return scan(c);
}

HANDLER(cwlap_set)
{
	const char *ssid = "";
	long long channel = 0, v;

	if (call->n > (c->prof->has_5ghz ? 8 : 7) ||
	    (arg_given(call, 0) && arg_str(c, call, 0, &ssid) < 0) ||
	    (arg_given(call, 1) && arg_mac(c, call, 1, c->scan_bssid) < 0) ||
	    !arg_option(c, call, 2, 0, 177, &channel) || !arg_option(c, call, 3, 0, 1, &v) ||
	    !arg_option(c, call, 4, 0, 1500, &v) || !arg_option(c, call, 5, 0, 1500, &v))
		return RES_ERROR;
	set_text(c->scan_ssid, sizeof(c->scan_ssid), ssid);
	c->scan_has_bssid = arg_given(call, 1);
	c->scan_channel = channel;
	return scan(c);
}

static bool scan_shows(const struct sim_core *c, const struct sim_ap *ap)
{
	return !ap->hidden && (!c->scan_ssid[0] || !strcmp(ap->ssid, c->scan_ssid)) &&
	       (!c->scan_has_bssid || !memcmp(ap->bssid, c->scan_bssid, 6)) &&
	       (!c->scan_channel || ap->channel == c->scan_channel);
}

void wifi_scan_done(struct sim_core *c)
{
	for (int i = 0; i < c->cfg.n_ap; i++) {
		const struct sim_ap *ap = &c->cfg.ap[i];
		bool open = ap_authmode(ap) == AUTH_OPEN;
		const char *comma = "";

		if (!scan_shows(c, ap))
			continue;
		sim_sayf(c, "+CWLAP:(");
		for (int bit = 0; bit < 11; bit++) {
			if (!(c->cwlap_mask & 1 << bit))
				continue;
			sim_sayf(c, "%s", comma);
			comma = ",";
			switch (bit) {
			case 0:
				sim_sayf(c, "%d", ap_authmode(ap));
				break;
			case 1:
				sim_sayf(c, "\"%s\"", ap->ssid);
				break;
			case 2:
				sim_sayf(c, "%d", -27 - 6 * i);
				break;
			case 3:
				say_bssid(c, i);
				break;
			case 4:
				sim_sayf(c, "%d", ap->channel);
				break;
			case 5:
			case 6:
				sim_sayf(c, "-1");
				break;
			case 7:
			case 8:
				sim_sayf(c, "%d", open ? 0 : 4);
				break;
			case 9:
				sim_sayf(c, "3");
				break;
			default:
				sim_sayf(c, "0");
				break;
			}
		}
		sim_sayf(c, ")\r\n");
	}
	sim_done(c, RES_OK);
}

HANDLER(cwautoconn_query)
{
	sim_sayf(c, "+CWAUTOCONN:%d\r\n", c->autoconn);
	return RES_OK_BARE;
}

HANDLER(cwautoconn_set)
{
	long long on;
	unsigned v;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	v = c->autoconn = on;
	save(c, "autoconn", &v, sizeof(v)); /* whatever SYSSTORE says */
	return sim_flash_done(c, RES_OK);
}

HANDLER(cwreconncfg_query)
{
	sim_sayf(c, "+CWRECONNCFG:%u,%u\r\n", c->jap.reconn, c->reconn_count);
	return RES_OK;
}

HANDLER(cwreconncfg_set)
{
	long long interval, count;

	if (call->n != 2 || arg_range(c, call, 0, 0, 7200, &interval) < 0 ||
	    arg_range(c, call, 1, 0, 1000, &count) < 0)
		return RES_ERROR;
	c->jap.reconn = interval;
	c->reconn_count = count;
	if (keep(c))
		save(c, "jap", &c->jap, sizeof(c->jap));
	return RES_OK;
}

HANDLER(cwconfig_query)
{
	sim_sayf(c, "+CWCONFIG:%u,%u,%u\r\n", c->cwconfig[0], c->cwconfig[1], c->cwconfig[2]);
	return RES_OK;
}

HANDLER(cwconfig_set)
{
	long long v;

	if (!call->n || call->n > 3)
		return RES_ERROR;
	for (int i = 0; i < call->n; i++) {
		if (arg_range(c, call, i, 0, 65535, &v) < 0)
			return RES_ERROR;
		c->cwconfig[i] = v;
	}
	return RES_OK;
}

HANDLER(cwhostname_query)
{
	sim_sayf(c, "+CWHOSTNAME:%s\r\n", c->hostname);
	return RES_OK;
}

HANDLER(cwhostname_set)
{
	const char *name;

	if (!(c->mode & 1) || call->n != 1 || arg_str(c, call, 0, &name) < 0 || strlen(name) > 32 ||
	    !name[0])
		return RES_ERROR;
	set_text(c->hostname, sizeof(c->hostname), name);
	return RES_OK;
}

HANDLER(cwcountry_query)
{
	sim_sayf(c, "+CWCOUNTRY:%u,\"%s\",%u,%u", c->country_policy, c->country, c->country_first,
		 c->country_count);
	if (c->prof->has_5ghz)
		sim_sayf(c, ",%u", c->country_5ghz);
	sim_sayf(c, "\r\n");
	return RES_OK;
}

HANDLER(cwcountry_set)
{
	long long policy, first, count, bitmap = 0;
	const char *code;

	if (call->n < 4 || call->n > (c->prof->has_5ghz ? 5 : 4) ||
	    arg_range(c, call, 0, 0, 1, &policy) < 0 || arg_str(c, call, 1, &code) < 0 ||
	    !code[0] || strlen(code) > 3 || arg_range(c, call, 2, 1, 14, &first) < 0 ||
	    arg_range(c, call, 3, 1, 15 - first, &count) < 0 ||
	    !arg_option(c, call, 4, 0, UINT32_MAX, &bitmap))
		return RES_ERROR;
	set_text(c->country, sizeof(c->country), code);
	c->country_policy = policy;
	c->country_first = first;
	c->country_count = count;
	c->country_5ghz = bitmap;
	return RES_OK;
}

/* ---- addresses ---- */

/* An own address is there without a network, too. */
static struct sta_ip sta(const struct sim_core *c)
{
	static const struct sta_ip leased = { STA_IP, STA_GATEWAY, STA_NETMASK },
				   none = { "0.0.0.0", "0.0.0.0", "0.0.0.0" };

	if (with_dhcp(c))
		return wifi_is_up(c) ? leased : none;
	return c->own.ip[0] ? c->own : none;
}

/* Joined, it gets an address after so long. */
static void address_again(struct sim_core *c, unsigned ms)
{
	c->wifi = WIFI_ASSOCIATED;
	c->wifi_step = 2;
	c->wifi_at = ms_after(c, ms);
}

static enum result sta_changed(struct sim_core *c, const struct sta_ip *before)
{
	struct sta_ip now = sta(c);

	if (wifi_is_up(c) && strcmp(before->ip, now.ip))
		ip4_changed(c);
	if (!keep(c))
		return RES_OK;
	save(c, "sta_ip", &c->own, sizeof(c->own));
	save(c, "dhcp", &c->dhcp, sizeof(c->dhcp));
	return sim_flash_done(c, RES_OK);
}

HANDLER(cwdhcp_query)
{
	sim_sayf(c, "+CWDHCP:%u\r\n", c->dhcp);
	return RES_OK_BARE;
}

HANDLER(cwdhcp_set)
{
	struct sta_ip before = sta(c);
	bool was = with_dhcp(c), joined = c->wifi == WIFI_UP || c->wifi == WIFI_ASSOCIATED;
	long long on, which;

	if (call->n != 2 || arg_range(c, call, 0, 0, 1, &on) < 0 ||
	    arg_range(c, call, 1, 1, 3, &which) < 0)
		return RES_ERROR;
	c->dhcp = on ? c->dhcp | which : c->dhcp & ~which;
	/* What it has it keeps, unless it once got an address of its own. */
	if (was && !with_dhcp(c) && wifi_is_up(c) && !c->own.ip[0])
		c->own = before;
	if (!was && with_dhcp(c) && joined) {
		ip4_changed(c);
		address_again(c, c->cfg.times.join / 3);
	}
	if (was && !with_dhcp(c))
		auto_dns(c, false);
	return sta_changed(c, &before);
}

static void mac_of(const struct sim_core *c, bool ap, uint8_t m[6])
{
	memcpy(m, c->cfg.mac, 6);
	m[5] += ap;
}

static void say_mac(struct sim_core *c, bool ap)
{
	uint8_t m[6];

	mac_of(c, ap, m);
	sim_sayf(c, "\"%02x:%02x:%02x:%02x:%02x:%02x\"\r\n", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* Only the addresses that there are, each in a line that begins so; the SoftAP's local one comes with CIPV6. */
static void say_ip6(struct sim_core *c, bool ap, const char *local, const char *global)
{
	char text[48];
	uint8_t m[6];

	if (!c->ipv6)
		return;
	mac_of(c, ap, m);
	if (ap || c->ip6 >= IP6_LOCAL) {
		addr_eui64(text, sizeof(text), "fe80::", m);
		sim_sayf(c, "%s\"%s\"\r\n", local, text);
	}
	if (!ap && c->ip6 == IP6_GLOBAL) {
		addr_eui64(text, sizeof(text), STA_PREFIX, m);
		sim_sayf(c, "%s\"%s\"\r\n", global, text);
	}
}

HANDLER(cipsta_query)
{
	struct sta_ip a = sta(c);

	sim_sayf(c, "+CIPSTA:ip:\"%s\"\r\n+CIPSTA:gateway:\"%s\"\r\n+CIPSTA:netmask:\"%s\"\r\n",
		 a.ip, a.gateway, a.netmask);
	say_ip6(c, false, "+CIPSTA:ip6ll:", "+CIPSTA:ip6gl:");
	return RES_OK;
}

HANDLER(cipsta_set)
{
	const char *text[3] = { NULL, STA_GATEWAY, STA_NETMASK };
	struct sta_ip before = sta(c);

	if (call->n != 1 && call->n != 3)
		return RES_ERROR;
	for (int i = 0; i < call->n; i++)
		if (arg_str(c, call, i, &text[i]) < 0 || !is_ip4(text[i]))
			return RES_ERROR;
	set_text(c->own.ip, sizeof(c->own.ip), text[0]);
	set_text(c->own.gateway, sizeof(c->own.gateway), text[1]);
	set_text(c->own.netmask, sizeof(c->own.netmask), text[2]);
	c->dhcp &= ~1u;
	auto_dns(c, false);
	if (c->wifi == WIFI_ASSOCIATED && c->wifi_at == SIM_NEVER)
		address_again(c, 0);
	return sta_changed(c, &before);
}

HANDLER(cipap_query)
{
	sim_sayf(c, "+CIPAP:ip:\"192.168.4.1\"\r\n+CIPAP:gateway:\"192.168.4.1\"\r\n+CIPAP:netmask:"
		    "\"255.255.255.0\"\r\n");
	say_ip6(c, true, "+CIPAP:ip6ll:", NULL);
	return RES_OK;
}

HANDLER(cipap_set)
{
	const char *ip;

	return (c->mode & 2) && !arg_str(c, call, 0, &ip) ? RES_OK : RES_ERROR;
}

HANDLER(cipstamac_query)
{
	sim_sayf(c, "+CIPSTAMAC:");
	say_mac(c, false);
	return RES_OK;
}

HANDLER(cipstamac_set)
{
	uint8_t mac[6];

	if (call->n != 1 || arg_mac(c, call, 0, mac) < 0 || (mac[0] & 1))
		return RES_ERROR;
	memcpy(c->cfg.mac, mac, 6);
	return RES_OK;
}

HANDLER(cipapmac_query)
{
	sim_sayf(c, "+CIPAPMAC:");
	say_mac(c, true);
	return RES_OK;
}

HANDLER(cipapmac_set)
{
	return RES_ERROR;
}

HANDLER(cifsr_exec)
{
	if (c->mode & 2) {
		sim_sayf(c, "+CIFSR:APIP,\"192.168.4.1\"\r\n");
		say_ip6(c, true, "+CIFSR:APIP6LL,", NULL);
		sim_sayf(c, "+CIFSR:APMAC,");
		say_mac(c, true);
	}
	if (c->mode & 1) {
		sim_sayf(c, "+CIFSR:STAIP,\"%s\"\r\n", sta(c).ip);
		say_ip6(c, false, "+CIFSR:STAIP6LL,", "+CIFSR:STAIP6GL,");
		sim_sayf(c, "+CIFSR:STAMAC,");
		say_mac(c, false);
	}
	return RES_OK;
}

HANDLER(cipv6_query)
{
	sim_sayf(c, "+CIPV6:%d\r\n", c->ipv6);
	return RES_OK;
}

HANDLER(cipv6_set)
{
	long long on;
	unsigned v;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	v = c->ipv6 = on;
	if (!keep(c) || saved_num(c, "ipv6", 0) == v)
		return RES_OK;
	save(c, "ipv6", &v, sizeof(v));
	return sim_flash_done(c, RES_OK);
}

HANDLER(cipdns_query)
{
	sim_sayf(c, "+CIPDNS:%d", c->dns_manual);
	for (int i = 0; i < 3; i++)
		if (c->dns[i][0])
			sim_sayf(c, ",\"%s\"", c->dns[i]);
	sim_sayf(c, "\r\n");
	return RES_OK;
}

HANDLER(cipdns_set)
{
	static const char *const key[3] = { "dns0", "dns1", "dns2" };
	const char *server[3] = { 0 };
	long long on;

	if (call->n > 4 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	for (int i = 1; i < call->n; i++) {
		if (arg_str(c, call, i, &server[i - 1]) < 0 ||
		    !(is_ip4(server[i - 1]) || is_ip6(server[i - 1])))
			return RES_ERROR;
		for (int k = 1; on && k < i; k++)
			if (!strcmp(server[k - 1], server[i - 1]))
				return RES_ERROR;
	}
	if (on && !server[0])
		memcpy(server, default_dns, sizeof(server));
	/* Without DHCP's: that comes back with the next lease. */
	c->dns_manual = on;
	auto_dns(c, false);
	for (int i = 0; i < 3; i++) {
		if (on)
			addr_text(c->dns[i], sizeof(c->dns[i]), server[i] ? server[i] : "");
		if (keep(c))
			save(c, key[i], c->dns[i], on && server[i] ? strlen(c->dns[i]) + 1 : 0);
	}
	return keep(c) ? sim_flash_done(c, RES_OK) : RES_OK;
}
