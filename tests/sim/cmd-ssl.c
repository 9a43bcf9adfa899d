/* SPDX-License-Identifier: MIT */
/* TLS settings of the links, and what a connect makes of them. */
#include "cmds.h"

#include <errno.h>
#include <stdio.h>

enum {
	AUTH_NONE,
	AUTH_CLIENT, /* we show a certificate */
	AUTH_SERVER, /* we verify theirs */
	AUTH_BOTH,
};

/* The cipher suites of the recorded firmware, in its order (capture 40). */
static const uint16_t all_ciphers[] = {
	0xC02C, 0xC030, 0x009F, 0xC0AD, 0xC09F, 0xC024, 0xC028, 0x006B, 0xC00A, 0xC014, 0x0039,
	0xC0AF, 0xC0A3, 0xC05D, 0xC061, 0xC053, 0xC049, 0xC04D, 0xC045, 0xC02B, 0xC02F, 0x009E,
	0xC0AC, 0xC09E, 0xC023, 0xC027, 0x0067, 0xC009, 0xC013, 0x0033, 0xC0AE, 0xC0A2, 0xC05C,
	0xC060, 0xC052, 0xC048, 0xC04C, 0xC044, 0x00AB, 0xC0A7, 0xC038, 0x00B3, 0xC036, 0x0091,
	0xC0AB, 0xC06D, 0xC071, 0xC067, 0x00AA, 0xC0A6, 0xC037, 0x00B2, 0xC035, 0x0090, 0xC0AA,
	0xC06C, 0xC070, 0xC066, 0x009D, 0xC09D, 0x003D, 0x0035, 0xC032, 0xC02A, 0xC00F, 0xC02E,
	0xC026, 0xC005, 0xC0A1, 0xC05F, 0xC063, 0xC051, 0xC04B, 0xC04F, 0xC03D, 0x009C, 0xC09C,
	0x003C, 0x002F, 0xC031, 0xC029, 0xC00E, 0xC02D, 0xC025, 0xC004, 0xC0A0, 0xC05E, 0xC062,
	0xC050, 0xC04A, 0xC04E, 0xC03C, 0x00AD, 0x00B7, 0x0095, 0xC06F, 0xC069, 0x00AC, 0x00B6,
	0x0094, 0xC06E, 0xC068, 0x00A9, 0xC0A5, 0x00AF, 0x008D, 0xC0A9, 0xC06B, 0xC065, 0x00A8,
	0xC0A4, 0x00AE, 0x008C, 0xC0A8, 0xC06A, 0xC064,
};

#define N_CIPHERS (sizeof(all_ciphers) / sizeof(all_ciphers[0]))

static int n_links(const struct sim_core *c)
{
	return c->mux ? SIM_LINKS : 1;
}

void ssl_boot(struct sim_core *c)
{
	uint32_t len;
	const uint8_t *saved = nvs_saved(&c->nvs, "sslconf", &len);

	memset(c->ssl_conf, 0, sizeof(c->ssl_conf));
	if (saved && len == sizeof(c->ssl_conf))
		memcpy(c->ssl_conf, saved, len);
}

void ssl_forget(struct sim_core *c, int link)
{
	struct link *l = &c->link[link];

	l->sni[0] = l->cn[0] = 0;
	l->n_alpn = 0;
	l->psk_len = 0;
	memset(l->psk, 0, sizeof(l->psk));
	l->psk_hint[0] = 0;
}

static struct sim_blob material(struct sim_core *c, const char *ns, uint8_t number)
{
	const struct nvs_entry *e;
	char key[NVS_NAME_MAX + 1];

	snprintf(key, sizeof(key), "%s.%d", ns, number);
	e = nvs_get(&c->nvs, ns, key);
	if (!e || e->type != NVS_BINARY)
		return (struct sim_blob){ 0 };
	return (struct sim_blob){ e->data, e->len };
}

/* The firmware counts the keys of the namespace, so that a lone key with a high number is "not found" (capture 60). */
static bool found(struct sim_core *c, const char *ns, uint8_t number)
{
	return number < nvs_count(&c->nvs, ns) && material(c, ns, number).data;
}

/* What this link's next TLS connection uses; the material is read anew each time (capture 48). */
int ssl_fill(struct sim_core *c, int link, const char *host, struct sim_tls *tls)
{
	const struct link *l = &c->link[link];
	const uint8_t *conf = c->ssl_conf[link];
	bool ip = is_ip4(host) || is_ip6(host);

	memset(tls, 0, sizeof(*tls));
	tls->time = sim_core_clock(c, c->now);
	tls->verify = conf[0] == AUTH_SERVER || conf[0] == AUTH_BOTH;
	if (tls->verify) {
		tls->ca = material(c, "client_ca", conf[2]);
		if (!tls->ca.data)
			return -ENOKEY;
	}
	if (conf[0] == AUTH_CLIENT || conf[0] == AUTH_BOTH) {
		tls->cert = material(c, "client_cert", conf[1]);
		tls->key = material(c, "client_key", conf[1]);
		if (!tls->cert.data || !tls->key.data)
			return -ENOKEY;
	}
	if (l->sni[0])
		tls->name = l->sni;
	else if (l->cn[0])
		tls->name = l->cn;
	else if (c->prof->auto_name && !ip)
		tls->name = host;
	for (int i = 0; i < l->n_alpn; i++)
		tls->alpn[i] = l->alpn[i];
	tls->n_alpn = l->n_alpn;
	/* esp-tls takes the PSK only where there is no CA. */
	if (l->psk_len && !tls->verify) {
		tls->psk = (struct sim_blob){ l->psk, l->psk_len };
		tls->psk_hint = l->psk_hint;
	}
	memcpy(tls->ciphers, l->ciphers, sizeof(tls->ciphers));
	tls->n_ciphers = l->n_ciphers;
	return 0;
}

HANDLER(cipsslcconf_query)
{
	for (int i = 0; i < n_links(c); i++)
		sim_sayf(c, "+CIPSSLCCONF:%d,%u,%u,%u\r\n", i, c->ssl_conf[i][0], c->ssl_conf[i][1],
			 c->ssl_conf[i][2]);
	return RES_OK;
}

HANDLER(cipsslcconf_set)
{
	long long auth, pki = 0, ca = 0;
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 ||
	    arg_range(c, call, i, AUTH_NONE, AUTH_BOTH, &auth) < 0) {
		c->err_code = 0; /* capture 02 */
		return RES_ERROR;
	}
	/* Both numbers with every mode but 0, and none with that (capture 40). */
	if (call->n != i + (auth == AUTH_NONE ? 1 : 3))
		return RES_ERROR;
	if (auth != AUTH_NONE && (arg_range(c, call, i + 1, 0, 255, &pki) < 0 ||
				  arg_range(c, call, i + 2, 0, 255, &ca) < 0))
		return RES_ERROR;
	if (auth & AUTH_CLIENT) {
		if (!found(c, "client_cert", pki))
			sim_sayf(c, "NO CERT FOUND\r\n");
		if (!found(c, "client_key", pki))
			sim_sayf(c, "NO PRVT_KEY FOUND\r\n");
	}
	if ((auth & AUTH_SERVER) && !found(c, "client_ca", ca))
		sim_sayf(c, "NO CA FOUND\r\n");
	/* With CIPMUX=0 it is set for all links at once (capture 44). */
	for (int k = 0; k < SIM_LINKS; k++)
		if (!c->mux || link == SIM_LINKS || link == k) {
			c->ssl_conf[k][0] = auth;
			c->ssl_conf[k][1] = pki;
			c->ssl_conf[k][2] = ca;
		}
	if (!c->no_store) {
		nvs_save(&c->nvs, "sslconf", c->ssl_conf, sizeof(c->ssl_conf));
		c->dirty = true;
	}
	return sim_flash_done(c, RES_OK);
}

/* ---- one name per link: SNI and CN ---- */

static void say_name(struct sim_core *c, const char *cmd, size_t offset)
{
	for (int i = 0; i < n_links(c); i++) {
		const char *name = (const char *)&c->link[i] + offset;

		if (name[0])
			sim_sayf(c, "+%s:%d,%s\r\n", cmd, i, name);
	}
}

static enum result set_name(struct sim_core *c, struct call *call, size_t offset)
{
	const char *name;
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 || call->n != i + 1 ||
	    arg_str(c, call, i, &name) < 0 || strlen(name) > SIM_NAME_MAX)
		return RES_ERROR;
	for (int k = 0; k < SIM_LINKS; k++)
		if (link == SIM_LINKS || link == k)
			strcpy((char *)&c->link[k] + offset, name);
	return RES_OK;
}

HANDLER(cipsslcsni_query)
{
	say_name(c, "CIPSSLCSNI", offsetof(struct link, sni));
	return RES_OK;
}

HANDLER(cipsslcsni_set)
{
	return set_name(c, call, offsetof(struct link, sni));
}

HANDLER(cipsslccn_query)
{
	say_name(c, "CIPSSLCCN", offsetof(struct link, cn));
	return RES_OK;
}

HANDLER(cipsslccn_set)
{
	return set_name(c, call, offsetof(struct link, cn));
}

/* ---- ALPN, PSK, cipher suites ---- */

HANDLER(cipsslcalpn_query)
{
	for (int i = 0; i < n_links(c); i++) {
		const struct link *l = &c->link[i];

		if (!l->n_alpn)
			continue;
		sim_sayf(c, "+CIPSSLCALPN:%d", i);
		for (int k = 0; k < l->n_alpn; k++)
			sim_sayf(c, ",%s", l->alpn[k]);
		sim_sayf(c, "\r\n");
	}
	return RES_OK;
}

HANDLER(cipsslcalpn_set)
{
	const char *name[SIM_ALPN_MAX];
	long long count;
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 ||
	    arg_range(c, call, i, 0, SIM_ALPN_MAX, &count) < 0 || call->n != i + 1 + count)
		return RES_ERROR;
	for (int k = 0; k < count; k++)
		if (arg_str(c, call, i + 1 + k, &name[k]) < 0 || !name[k][0] ||
		    strlen(name[k]) > SIM_NAME_MAX)
			return RES_ERROR;
	for (int k = 0; k < SIM_LINKS; k++) {
		if (link != SIM_LINKS && link != k)
			continue;
		c->link[k].n_alpn = count;
		for (int a = 0; a < count; a++)
			strcpy(c->link[k].alpn[a], name[a]);
	}
	return RES_OK;
}

static enum result say_psk(struct sim_core *c, bool hex)
{
	for (int i = 0; i < n_links(c); i++) {
		const struct link *l = &c->link[i];

		if (!l->psk_len || l->psk_hex != hex)
			continue;
		sim_sayf(c, "+CIPSSLCPSK%s:%d,", hex ? "HEX" : "", i);
		for (int k = 0; hex && k < l->psk_len; k++)
			sim_sayf(c, "%02x", l->psk[k]);
		if (!hex)
			sim_say(c, l->psk, l->psk_len);
		sim_sayf(c, ",%s\r\n", l->psk_hint);
	}
	return RES_OK;
}

/* Bytes of a hexadecimal text, or -EINVAL. */
static int unhex(const char *text, uint8_t *out, size_t max)
{
	size_t n = strlen(text);
	unsigned v;

	if (n % 2 || n / 2 > max || strspn(text, "0123456789abcdefABCDEF") != n)
		return -EINVAL;
	for (size_t i = 0; i < n / 2; i++) {
		sscanf(text + 2 * i, "%2x", &v);
		out[i] = v;
	}
	return n / 2;
}

static enum result set_psk(struct sim_core *c, struct call *call, bool hex)
{
	const char *key, *hint;
	uint8_t psk[32];
	int i = 0, link, len;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 || call->n != i + 2 ||
	    arg_str(c, call, i, &key) < 0 || arg_str(c, call, i + 1, &hint) < 0 ||
	    strlen(hint) > 32)
		return RES_ERROR;
	len = strlen(key);
	if (hex)
		len = unhex(key, psk, sizeof(psk));
	else if (len <= (int)sizeof(psk))
		memcpy(psk, key, len);
	if (len < 0 || len > (int)sizeof(psk))
		return RES_ERROR;
	for (int k = 0; k < SIM_LINKS; k++) {
		struct link *l = &c->link[k];

		if (link != SIM_LINKS && link != k)
			continue;
		memcpy(l->psk, psk, len);
		l->psk_len = len;
		l->psk_hex = hex;
		strcpy(l->psk_hint, hint);
	}
	return RES_OK;
}

HANDLER(cipsslcpsk_query)
{
	return say_psk(c, false);
}

HANDLER(cipsslcpsk_set)
{
	return set_psk(c, call, false);
}

HANDLER(cipsslcpskhex_query)
{
	return say_psk(c, true);
}

HANDLER(cipsslcpskhex_set)
{
	return set_psk(c, call, true);
}

HANDLER(cipsslccipher_query)
{
	for (int i = 0; i < n_links(c); i++) {
		const struct link *l = &c->link[i];
		const uint16_t *list = l->n_ciphers ? l->ciphers : all_ciphers;
		int n = l->n_ciphers ? l->n_ciphers : (int)N_CIPHERS;

		/* The number in front is that of the suite, not of the link: there is one list with CIPMUX=0. */
		for (int k = 0; k < n; k++)
			sim_sayf(c, "+CIPSSLCCIPHER:%d,0x%04X\r\n", c->mux ? i : k, list[k]);
	}
	return RES_OK;
}

/* <link>[,<count>,<suite>...], the link also with CIPMUX=0: there "0" alone resets, and "1,0xC02F" is refused (40). */
HANDLER(cipsslccipher_set)
{
	long long link, count = 0, id;
	uint16_t list[SIM_CIPHER_MAX];

	if (arg_range(c, call, 0, 0, c->mux ? SIM_LINKS : 0, &link) < 0 ||
	    (arg_given(call, 1) && arg_range(c, call, 1, 0, SIM_CIPHER_MAX, &count) < 0) ||
	    call->n != (call->n == 1 ? 1 : 2 + count))
		return RES_ERROR;
	for (int k = 0; k < count; k++) {
		size_t known = 0;

		if (arg_range(c, call, 2 + k, 1, 0xffff, &id) < 0)
			return RES_ERROR;
		while (known < N_CIPHERS && all_ciphers[known] != id)
			known++;
		if (known == N_CIPHERS)
			return RES_ERROR;
		list[k] = id;
	}
	for (int k = 0; k < SIM_LINKS; k++) {
		if (link != SIM_LINKS && link != k)
			continue;
		c->link[k].n_ciphers = count;
		if (count)
			memcpy(c->link[k].ciphers, list, count * sizeof(list[0]));
	}
	return RES_OK;
}
