/* SPDX-License-Identifier: MIT */
/* Enterprise Wi-Fi: CWJEAP, of firmware that was built with it. */
#include "cmds.h"

#include <errno.h>
#include <stdio.h>

enum {
	METHOD_TLS,
	METHOD_PEAP,
	METHOD_TTLS,
};

enum {
	SECURITY_SHOW = 1,  /* our certificate */
	SECURITY_CHECK = 2, /* theirs */
};

/* The documented codes of ERR CODE. */
enum {
	EAP_CA_MISSING = 0x8008,
	EAP_CERT_MISSING = 0x800b,
	EAP_KEY_MISSING = 0x800d,
	EAP_SSID_BAD = 0x8012,
	EAP_SSID_EMPTY = 0x8013,
	EAP_SSID_LENGTH = 0x8014,
	EAP_METHOD_BAD = 0x8015,
	EAP_TIMEOUT = 0x8016,
	EAP_IDENTITY_BAD = 0x8017,
	EAP_USERNAME_BAD = 0x8019,
	EAP_PASSWORD_BAD = 0x801b,
	EAP_SECURITY_BAD = 0x801d,
	EAP_SECURITY_RANGE = 0x801e,
	EAP_SECURITY_UNMATCHED = 0x801f,
	EAP_COUNT = 0x8020,
	EAP_NOT_STATION = 0x8022,
	EAP_METHOD_RANGE = 0x8024,
	EAP_TIMEOUT_BAD = 0x8025,
	EAP_RSSI_BAD = 0x8027,
	EAP_BSSID_BAD = 0x8029,
	EAP_CHANNEL_BAD = 0x802b,
	EAP_SCAN_BAD = 0x802d,
	EAP_AUTHMODE_BAD = 0x802f,
};

void eap_space(const struct sim_core *c, const char *what, char name[NVS_NAME_MAX + 1])
{
	snprintf(name, NVS_NAME_MAX + 1, "%s_%s", c->prof->ent_names ? "wpa_ent" : "wpa2", what);
}

static struct sim_blob material(const struct sim_core *c, const char *what)
{
	const struct nvs_entry *e;
	char name[NVS_NAME_MAX + 1];

	eap_space(c, what, name);
	e = nvs_get(&c->nvs, name, name);
	if (!e || e->type != NVS_BINARY)
		return (struct sim_blob){ 0 };
	return (struct sim_blob){ e->data, e->len };
}

/* 0, or the code of what is not there. */
static unsigned fill(struct sim_core *c, struct sim_eap *e)
{
	*e = (struct sim_eap){
		.show = c->eap.security & SECURITY_SHOW,
		.check = c->eap.security & SECURITY_CHECK,
		.time = sim_core_clock(c, c->now),
	};
	if (e->check) {
		e->ca = material(c, "ca");
		if (!e->ca.data)
			return EAP_CA_MISSING;
	}
	if (e->show) {
		e->cert = material(c, "cert");
		if (!e->cert.data)
			return EAP_CERT_MISSING;
		e->key = material(c, "key");
		if (!e->key.data)
			return EAP_KEY_MISSING;
	}
	return 0;
}

/* The access points know EAP-TLS only, and are WPA2. */
bool eap_fits(struct sim_core *c, int i)
{
	const struct sim_ap *ap = &c->cfg.ap[i];
	struct sim_eap e;

	if (!ap->eap || c->eap.method != METHOD_TLS || c->eap.authmode ||
	    (ap->eap_identity[0] && strcmp(ap->eap_identity, c->eap.identity)) || fill(c, &e))
		return false;
	return !c->ops->eap || !c->ops->eap(c->ud, i, &e);
}

void eap_failed(struct sim_core *c)
{
	sim_sayf(c, "+CWJEAP:Timeout\r\n");
	c->err_code = EAP_TIMEOUT;
}

HANDLER(cwjeap_query)
{
	const struct eap *e = &c->eap;

	if ((c->wifi == WIFI_UP || c->wifi == WIFI_ASSOCIATED) && e->on)
		sim_sayf(c, "+CWJEAP:\"%s\",%u,\"%s\",\"%s\",\"%s\",%u\r\n", c->wifi_ssid,
			 e->method, e->identity, e->username, e->password, e->security);
	return RES_OK;
}

static enum result refuse(struct sim_core *c, unsigned code)
{
	c->err_code = code;
	return RES_ERROR;
}

/* A text of 1 to 32 bytes; the code for a wrong length is the next one. */
static unsigned text(struct sim_core *c, struct call *call, int i, bool needed, unsigned code,
		     char to[33])
{
	const char *from = "";
	int r = arg_str(c, call, i, &from);

	if (r == -EINVAL)
		return code;
	if (strlen(from) > 32 || (needed && !from[0]))
		return code + 1;
	strcpy(to, from);
	return 0;
}

/* What came with newer firmware; for each a code for what is no number, and the next one for a wrong one. */
static unsigned newer_args(struct sim_core *c, struct call *call, uint8_t bssid[6],
			   long long *timeout, long long *authmode)
{
	static const struct {
		int i;
		long long min, max;
		unsigned code;
	} args[] = {
		{ 6, 3, 600, EAP_TIMEOUT_BAD }, { 7, -128, 127, EAP_RSSI_BAD },
		{ 9, 0, 177, EAP_CHANNEL_BAD }, { 10, 0, 1, EAP_SCAN_BAD },
		{ 11, 0, 2, EAP_AUTHMODE_BAD },
	};
	long long v;

	for (size_t k = 0; k < sizeof(args) / sizeof(args[0]); k++) {
		v = 0;
		if (!arg_option(c, call, args[k].i, args[k].min, args[k].max, &v))
			return args[k].code + (call->par[args[k].i].kind == PARAM_NUM);
		if (args[k].i == 6)
			*timeout = v;
		if (args[k].i == 11)
			*authmode = v;
	}
	if (arg_given(call, 8) && arg_mac(c, call, 8, bssid) < 0)
		return EAP_BSSID_BAD + (call->par[8].kind == PARAM_STR);
	return 0;
}

HANDLER(cwjeap_set)
{
	struct eap eap = { .on = true }, old = c->eap;
	long long method, security, timeout = 0, authmode = 0;
	const char *ssid;
	uint8_t bssid[6];
	struct sim_eap e;
	unsigned code;

	if (call->n < 6 || call->n > (c->prof->ent_names ? 12 : 7))
		return refuse(c, EAP_COUNT);
	if (!(c->mode & 1))
		return refuse(c, EAP_NOT_STATION);
	if (arg_str(c, call, 0, &ssid) < 0)
		return refuse(c, arg_given(call, 0) ? EAP_SSID_BAD : EAP_SSID_EMPTY);
	if (!ssid[0] || strlen(ssid) > 32)
		return refuse(c, ssid[0] ? EAP_SSID_LENGTH : EAP_SSID_EMPTY);
	if (arg_num(c, call, 1, &method) < 0)
		return refuse(c, EAP_METHOD_BAD);
	if (method < METHOD_TLS || method > METHOD_TTLS)
		return refuse(c, EAP_METHOD_RANGE);
	code = text(c, call, 2, true, EAP_IDENTITY_BAD, eap.identity);
	if (!code)
		code = text(c, call, 3, method != METHOD_TLS, EAP_USERNAME_BAD, eap.username);
	if (!code)
		code = text(c, call, 4, method != METHOD_TLS, EAP_PASSWORD_BAD, eap.password);
	if (code)
		return refuse(c, code);
	if (arg_num(c, call, 5, &security) < 0)
		return refuse(c, EAP_SECURITY_BAD);
	if (security < 0 || security > 3)
		return refuse(c, EAP_SECURITY_RANGE);
	if (method == METHOD_TLS && !(security & SECURITY_SHOW))
		return refuse(c, EAP_SECURITY_UNMATCHED);
	code = newer_args(c, call, bssid, &timeout, &authmode);
	if (code)
		return refuse(c, code);
	eap.method = method;
	eap.security = security;
	eap.authmode = authmode;
	c->eap = eap;
	code = fill(c, &e);
	if (code) {
		c->eap = old;
		return refuse(c, code);
	}
	c->err_code = 0;
	return wifi_join_eap(c, ssid, arg_given(call, 8) ? bssid : NULL, timeout);
}
