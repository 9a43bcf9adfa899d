/* SPDX-License-Identifier: MIT */
/* A chip for the tests of device/. */
#include "fake-chip.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* What the fake chip and all before it hold while nobody reads. */
#define CHIP_HOLDS 20000

static const char *const plain_commands[] = {
	"AT",
	"AT+SYSSTORE=0",
	"AT+SYSLOG=1",
	"AT+CIPSERVER=0,1",
	"AT+CIPMUX=1",
	"AT+CIPDINFO=0",
	"AT+CIPRECVTYPE=",
	"AT+CIPRECVMODE=",
	"AT+CWCOUNTRY=",
	"AT+CWHOSTNAME=",
	"AT+CWDHCP=",
	"AT+CIPSTA=",
	"AT+CIPDNS=",
	"AT+CIPV6=",
	"AT+CIPSNTPCFG=",
	"AT+CIPSSLCSNI=",
	"AT+CIPSSLCCN=",
	"AT+CIPSSLCALPN=",
	"AT+CIPSSLCPSK=",
	"AT+CIPSSLCPSKHEX=",
	"AT+CIPSSLCCIPHER=",
	"AT+CIPSENDLCFG=",
};

static const char *const listed_commands[] = {
	"AT",           "AT+SYSMFG",      "AT+SYSTIMESTAMP", "AT+CIPSSLCCONF", "AT+CIPSSLCSNI",
	"AT+CIPSSLCCN", "AT+CIPRECVTYPE", "AT+CIPRECVMODE",  "AT+CIPDOMAIN",   "AT+CWJEAP",
	"AT+CIPSENDL",  "AT+CIPSTATE",
};

int count_of(const char *text, const char *part)
{
	int n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

static void out_n(struct chip *c, const void *data, size_t n)
{
	MUST(c->out_len + n < sizeof(c->out));
	memcpy(c->out + c->out_len, data, n);
	c->out_len += n;
}

static void out(struct chip *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void out(struct chip *c, const char *format, ...)
{
	static char text[65536];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	MUST(n >= 0 && (size_t)n < sizeof(text));
	out_n(c, text, (size_t)n);
}

static void told(struct chip *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void told(struct chip *c, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(c->told + c->told_len, sizeof(c->told) - c->told_len, format, ap);
	va_end(ap);
	MUST(n >= 0 && c->told_len + (size_t)n < sizeof(c->told));
	c->told_len += (size_t)n;
}

static bool begins(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static struct chip_key *key_named(struct chip *c, const char *name)
{
	struct chip_key *key;

	for (size_t i = 0; i < c->n_nvs; i++)
		if (strcmp(c->nvs[i].name, name) == 0)
			return &c->nvs[i];
	MUST(c->n_nvs < sizeof(c->nvs) / sizeof(*c->nvs));
	key = &c->nvs[c->n_nvs++];
	snprintf(key->name, sizeof(key->name), "%s", name);
	return key;
}

/* `AT+SYSMFG=<op>,"<namespace>","<key>"...`: the parts; false without a key. */
static bool parse_mfg(const char *line, char namespace[64], char name[64])
{
	MUST(sscanf(line, "AT+SYSMFG=%*d,\"%63[^\"]\"", namespace) == 1);
	return sscanf(line, "AT+SYSMFG=%*d,\"%*[^\"]\",\"%63[^\"]\"", name) == 1;
}

static struct chip_key *find_key(struct chip *c, const char *line)
{
	char namespace[64], name[64];

	if (!parse_mfg(line, namespace, name))
		return NULL;
	/* All but our own record's have the namespace in their name. */
	MUST(strcmp(namespace, CONFIG_NVS_OWN) == 0 ||
	     (begins(name, namespace) && strchr(".", name[strlen(namespace)])));
	return key_named(c, name);
}

static void chip_list(struct chip *c, const char *line)
{
	char namespace[64], name[64];
	int n = 0;

	parse_mfg(line, namespace, name);
	for (size_t i = 0; i < c->n_nvs; i++) {
		size_t len = strcspn(c->nvs[i].name, ".");

		if (!c->nvs[i].type || strlen(namespace) != len ||
		    !begins(c->nvs[i].name, namespace))
			continue;
		out(c, "+SYSMFG:\"%s\",\"%s\",%d\r\n", namespace, c->nvs[i].name, c->nvs[i].type);
		n++;
	}
	out(c, n ? "\r\nOK\r\n" : "\r\nERROR\r\n");
}

static void chip_names(struct chip *c)
{
	for (size_t i = 0; i < c->n_nvs && !c->namespaces; i++) {
		const char *name = c->nvs[i].name;
		int len = (int)strcspn(name, ".");
		bool again = !c->nvs[i].type || begins(name, "slots");

		for (size_t k = 0; k < i && !again; k++)
			again = c->nvs[k].type && strcspn(c->nvs[k].name, ".") == (size_t)len &&
				strncmp(c->nvs[k].name, name, (size_t)len) == 0;
		if (!again)
			out(c, "+SYSMFG:\"%.*s\"\r\n", len, name);
	}
	out(c, "%s\r\nOK\r\n", c->namespaces ? c->namespaces : "");
}

static void chip_mfg(struct chip *c, const char *line)
{
	struct chip_key *key = find_key(c, line);
	const char *number = strrchr(line, ',');

	/* Never a whole namespace. */
	MUST(!begins(line, "AT+SYSMFG=0") || key);

	if (begins(line, "AT+SYSMFG=1") && !key) {
		chip_list(c, line);
	} else if (begins(line, "AT+SYSMFG=1") && key->type) {
		const char *names = strchr(line, ',') + 1;

		out(c, "+SYSMFG:%s,%d,%zu,", names, key->type, key->len);
		out_n(c, key->data, key->len);
		out(c, "\r\n\r\nOK\r\n");
	} else if (begins(line, "AT+SYSMFG=2") && key) {
		c->wanted = (size_t)atoi(number + 1);
		MUST(c->wanted > 0 && c->wanted <= sizeof(key->data));
		out(c, "\r\nOK\r\n\r\n>");
	} else if (begins(line, "AT+SYSMFG=0") && key->type) {
		key->type = 0;
		key->ours = false;
		c->writes++;
		out(c, "\r\nOK\r\n");
	} else {
		out(c, "\r\nERROR\r\n");
	}
}

/* A test that sets `joined` by hand means that one. */
static const char *chip_ssid(const struct chip *c)
{
	return c->ssid[0] ? c->ssid : "lab";
}

static void chip_sslconf(struct chip *c, const char *line)
{
	int link, auth, pki = 0, ca = 0;

	MUST(sscanf(line, "AT+CIPSSLCCONF=%d,%d,%d,%d", &link, &auth, &pki, &ca) >= 2);
	MUST(link >= 0 && link < AT_LINKS);
	c->sslconf[link][0] = auth;
	c->sslconf[link][1] = pki;
	c->sslconf[link][2] = ca;
	out(c, "\r\nOK\r\n");
}

static void chip_reply(struct chip *c, const char *line)
{
	int link = strchr(line, '=') ? atoi(strchr(line, '=') + 1) : 0;

	if (strcmp(line, "ATE0") == 0 || strcmp(line, "ATE1") == 0) {
		c->echo = line[3] == '1';
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+GMR") == 0) {
		out(c, "%s\r\nSDK version:v5.4\r\nBin version:v4.1.0.0-dev(WROOM-32)\r\n\r\nOK\r\n",
		    c->gmr);
	} else if (strcmp(line, "AT+CMD?") == 0) {
		for (size_t i = 0; i < sizeof(listed_commands) / sizeof(*listed_commands); i++)
			if (!c->without || strcmp(c->without, listed_commands[i]) != 0)
				out(c, "+CMD:%zu,\"%s\",0,1,1,0\r\n", i, listed_commands[i]);
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPMUX?") == 0) {
		out(c, "+CIPMUX:1\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPSTAMAC?") == 0) {
		out(c, "+CIPSTAMAC:\"%s\"\r\n\r\nOK\r\n", c->mac);
	} else if (strcmp(line, "AT+CWMODE?") == 0) {
		out(c, "+CWMODE:%d\r\n\r\nOK\r\n", c->mode);
	} else if (begins(line, "AT+CWMODE=")) {
		c->mode = link;
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWSTATE?") == 0) {
		out(c, "+CWSTATE:%d,\"%s\"\r\n\r\nOK\r\n", c->joined ? 2 : 0,
		    c->joined ? chip_ssid(c) : "");
	} else if (strcmp(line, "AT+CWJAP?") == 0) {
		if (c->joined)
			out(c, "+CWJAP:\"%s\",\"10:01:00:c4:0a:51\",5,-24,0,1,3,0,1\r\n",
			    chip_ssid(c));
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWDHCP?") == 0) {
		out(c, "+CWDHCP:3\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPDNS?") == 0) {
		out(c, "+CIPDNS:0,\"10.0.2.3\",\"114.114.114.114\",\"8.8.8.8\"\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWHOSTNAME?") == 0) {
		out(c, "+CWHOSTNAME:espressif\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPV6?") == 0) {
		out(c, "+CIPV6:0\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPSTA?") == 0) {
		out(c, "+CIPSTA:ip:\"10.0.2.15\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"
		       "+CIPSTA:netmask:\"255.255.255.0\"\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+CIPSTATE?") == 0) {
		for (int i = 0; i < AT_LINKS; i++)
			if (c->open[i])
				out(c, "+CIPSTATE:%d,\"SSL\",\"10.0.2.2\",8883,53550,0\r\n", i);
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+SYSRAM?") == 0) {
		out(c, "+SYSRAM:186132,179252\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWQAP") == 0) {
		if (c->joined)
			out(c, "WIFI DISCONNECT\r\n");
		for (int i = 0; i < AT_LINKS; i++)
			if (c->joined && c->open[i])
				out(c, "%d,CLOSED\r\n", i);
		if (c->joined)
			memset(c->open, 0, sizeof(c->open));
		c->joined = false;
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWLAPOPT=1,2047") == 0) {
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+CWLAP") == 0) {
		out(c, "+CWLAP:(0,\"Espressif\",-27,\"10:01:00:c4:0a:51\",5,-1,-1,0,0,3,0)\r\n"
		       "+CWLAP:(0,\"MasseyWifi\",-33,\"10:01:00:c4:0a:52\",10,-1,-1,0,0,3,0)"
		       "\r\n\r\nOK\r\n");
	} else if (begins(line, "AT+CIPSSLCCONF=")) {
		chip_sslconf(c, line);
	} else if (strcmp(line, "AT+CIPSSLCCONF?") == 0) {
		for (int i = 0; i < AT_LINKS; i++)
			out(c, "+CIPSSLCCONF:%d,%d,%d,%d\r\n", i, c->sslconf[i][0],
			    c->sslconf[i][1], c->sslconf[i][2]);
		out(c, "\r\nOK\r\n");
	} else if (begins(line, "AT+SYSTIMESTAMP=")) {
		c->clock = atoll(line + strlen("AT+SYSTIMESTAMP="));
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+SYSTIMESTAMP?") == 0) {
		out(c, "+SYSTIMESTAMP:%lld\r\nOK\r\n", (long long)c->clock);
	} else if (begins(line, "AT+CWJAP") || begins(line, "AT+CWJEAP=")) {
		if (c->joined)
			out(c, "WIFI DISCONNECT\r\n");
		c->joined = true;
		/* Names without a quote do. */
		if (sscanf(line, "AT+CWJ%*[EAP]=\"%32[^\"]\"", c->ssid) != 1)
			strcpy(c->ssid, "lab");
		out(c, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	} else if (strcmp(line, "AT+SYSMFG?") == 0) {
		chip_names(c);
	} else if (begins(line, "AT+SYSMFG=")) {
		chip_mfg(c, line);
	} else if (begins(line, "AT+UART_CUR=")) {
		MUST(sscanf(line, "AT+UART_CUR=%u,8,1,0,%u", &c->next_baud, &c->next_flow) == 2);
		out(c, "\r\nOK\r\n");
	} else if (strcmp(line, "AT+RST") == 0) {
		c->next_baud = 115200;
		c->next_flow = 1;
		out(c, "\r\nOK\r\n\r\nready\r\n");
		c->echo = true;
		memset(c->open, 0, sizeof(c->open));
		memset(c->sslconf, 0, sizeof(c->sslconf));
	} else if (begins(line, "AT+CIPSTART=") && !c->open[link]) {
		c->open[link] = true;
		out(c, "%d,CONNECT\r\n\r\nOK\r\n", link);
	} else if ((begins(line, "AT+CIPSEND=") || begins(line, "AT+CIPSENDL=")) && c->open[link]) {
		c->wanted = (size_t)atoi(strrchr(line, ',') + 1);
		MUST(c->wanted > 0 &&
		     c->wanted <= (begins(line, "AT+CIPSENDL") ? LINK_STREAM_MAX : LINK_BLOCK_MAX));
		out(c, "\r\nOK\r\n\r\n>");
	} else if (strcmp(line, "AT+CIPCLOSE=5") == 0) {
		memset(c->open, 0, sizeof(c->open));
		out(c, "\r\nOK\r\n");
	} else if (begins(line, "AT+CIPCLOSE=") && link < AT_LINKS && c->open[link]) {
		c->open[link] = false;
		out(c, "%d,CLOSED\r\n\r\nOK\r\n", link);
	} else {
		for (size_t i = 0; i < sizeof(plain_commands) / sizeof(*plain_commands); i++) {
			size_t n = strlen(plain_commands[i]);

			if (strcmp(line, plain_commands[i]) == 0 ||
			    (plain_commands[i][n - 1] == '=' && begins(line, plain_commands[i]))) {
				out(c, "\r\nOK\r\n");
				return;
			}
		}
		out(c, "\r\nERROR\r\n");
	}
}

/* What is asked about once a minute, for ever, is of no interest to most tests. */
static bool is_sample(struct chip *c)
{
	struct device *dev = container_of(c, struct bench, chip)->dev;

	return dev->chan.current == &dev->sample_cmd;
}

const char chip_works[] = "";

static void chip_line(struct chip *c, const char *line)
{
	if (c->working) {
		out(c, "\r\nbusy p...\r\n");
		return;
	}
	/* The firmware's own. */
	MUST(!strstr(line, "factory_param") && !strstr(line, "ble_data"));
	if (c->tells_samples || !is_sample(c))
		told(c, "%s|", line);
	if (c->mute)
		return;
	if (c->echo)
		out(c, "%s\r\n", line);
	snprintf(c->wanted_for, sizeof(c->wanted_for), "%.256s", line);
	for (size_t i = 0; i < sizeof(c->answers) / sizeof(*c->answers); i++) {
		struct chip_answer *a = &c->answers[i];

		if (a->times == 0 || !begins(line, a->command))
			continue;
		if (a->times > 0)
			a->times--;
		if (a->reply)
			out(c, "%s", a->reply);
		c->working = a->reply == chip_works;
		return;
	}
	chip_reply(c, line);
}

static void chip_store(struct chip *c, struct chip_key *key, const uint8_t *data, size_t n)
{
	c->writes++;
	if (c->lose > 0 && strcmp(c->lost, key->name) == 0) {
		c->lose--;
		return;
	}
	/* One of another type still reads as it was (protocol fact 11). */
	if (key->type && key->type != 8)
		return;
	key->type = 8;
	key->ours = true;
	key->len = n;
	memcpy(key->data, data, n);
	if (c->corrupt > 0 && strcmp(key->name, c->corrupted) == 0) {
		key->data[0] ^= 1;
		c->corrupt--;
	}
}

/* What a test has the chip say to a payload; NULL: what it says by itself. */
static const char *payload_answer(struct chip *c)
{
	for (size_t i = 0; i < sizeof(c->answers) / sizeof(*c->answers); i++) {
		struct chip_answer *a = &c->answers[i];

		if (a->times == 0 || strcmp(a->command, "[payload]") != 0)
			continue;
		if (a->times > 0)
			a->times--;
		return a->reply;
	}
	return NULL;
}

static void chip_payload(struct chip *c, const uint8_t *data, size_t n)
{
	const char *answer = payload_answer(c);

	told(c, "[%zu]|", n);
	if (begins(c->wanted_for, "AT+SYSMFG")) {
		chip_store(c, find_key(c, c->wanted_for), data, n);
		out(c, "%s", answer ? answer : "\r\nOK\r\n");
		return;
	}
	MUST(c->sent_len + n <= sizeof(c->sent));
	memcpy(c->sent + c->sent_len, data, n);
	c->sent_len += n;
	c->blocks_with_plus += memmem(data, n, "+++", 3) != NULL;
	if (answer)
		out(c, "%s", answer);
	else if (begins(c->wanted_for, "AT+CIPSENDL"))
		out(c, "+CIPSENDL:%zu,%zu\r\n\r\nSEND OK\r\n", n, n);
	else
		out(c, "\r\nRecv %zu bytes\r\n\r\nSEND OK\r\n", n);
}

/* Whether it dies now. */
static bool chip_dies(struct chip *c)
{
	c->dead = ++c->moments == c->dies_at;
	return c->dead;
}

static void chip_take_payload(struct chip *c)
{
	size_t n = c->wanted, said = c->out_len;

	if (chip_dies(c)) {
		c->in_len = n / 2;
		return;
	}
	c->wanted = 0;
	if (!chip_dies(c)) {
		chip_payload(c, c->in, n);
		if (chip_dies(c))
			c->out_len = said;
	}
	memmove(c->in, c->in + n, c->in_len - n);
	c->in_len -= n;
}

static void chip_take_line(struct chip *c, size_t n)
{
	size_t said = c->out_len;

	c->in[n - 2] = '\0';
	if (!chip_dies(c)) {
		if (n > 256)
			told(c, "(overlong)|");
		if (n > 256 && !c->mute && c->echo)
			out(c, "%s\r\n", c->in);
		else if (n > 2 && n <= 256)
			chip_line(c, (char *)c->in);
		if (n > 256 && !c->mute)
			out(c, "\r\nERROR\r\n");
		if (chip_dies(c))
			c->out_len = said;
	}
	memmove(c->in, c->in + n, c->in_len - n);
	c->in_len -= n;
}

/* The first bytes of a long block have come. */
static bool chip_tells_progress(struct chip *c)
{
	if (!begins(c->wanted_for, "AT+CIPSENDL=") || c->in_len == c->progress)
		return false;
	c->progress = c->in_len;
	out(c, "+CIPSENDL:%zu,%zu\r\n", c->in_len, c->in_len);
	return true;
}

static bool chip_work(struct chip *c)
{
	uint8_t *end;

	if (c->in_len == 0 || c->dead)
		return false;
	if (c->wanted > 0) {
		if (c->in_len < c->wanted)
			return chip_tells_progress(c);
		c->progress = 0;
		chip_take_payload(c);
		return true;
	}
	end = memmem(c->in, c->in_len, "\r\n", 2);
	if (!end)
		return false;
	chip_take_line(c, (size_t)(end - c->in) + 2);
	return true;
}

/* ---- the bench ---- */

static void on_write(void *userdata, const void *data, size_t len)
{
	struct bench *b = userdata;
	struct chip *c = &b->chip;

	if (c->dead || c->baud != b->baud)
		return;
	if (len == 3 && memcmp(data, "+++", 3) == 0 && c->wanted > 0 &&
	    begins(c->wanted_for, "AT+CIPSEND")) {
		/* Alone it cancels a send (capture 54). */
		c->wanted = c->in_len = 0;
		out(c, "\r\nSEND Canceled\r\n");
		return;
	}
	/* The first byte of a payload. */
	/* What fills up a block comes whole. */
	if ((c->drop ||
	     (c->drops_for && begins(c->wanted_for, c->drops_for) && *(const char *)data != ' ')) &&
	    c->wanted > 0 && len > 0) {
		c->drop = false;
		data = (const uint8_t *)data + 1;
		len--;
	}
	/* The last byte of a piece that is one too many. */
	if (c->no_rts && b->held && c->in_len + len > CHIP_HOLDS)
		len--;
	MUST(c->in_len + len <= sizeof(c->in));
	memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
}

static void on_discard(void *userdata)
{
	((struct bench *)userdata)->discards++;
}

static int on_set_line(void *userdata, unsigned int baud, bool rtscts)
{
	struct bench *b = userdata;

	if (b->line_error)
		return b->line_error;
	if (b->port_max && baud > b->port_max)
		return -EINVAL;
	b->baud = baud;
	b->rtscts = rtscts;
	return 0;
}

/* A chip that has hung starts, and says so, unless it is dead. */
static int on_set_reset(void *userdata, bool on)
{
	struct bench *b = userdata;

	if (b->no_dtr)
		return -ENOTSUP;
	MUST(b->in_reset != on);
	b->in_reset = on;
	b->resets += !on;
	if (on || b->chip.dead)
		return 0;
	chip_revive(b, true);
	b->chip.mute = false;
	out_n(&b->chip, "\r\nready\r\n", 9);
	return 0;
}

static bool on_cts(void *userdata)
{
	return !((struct bench *)userdata)->unseen;
}

static void on_hold(void *userdata, bool hold)
{
	((struct bench *)userdata)->held = hold;
}

static size_t on_queued(void *userdata)
{
	struct bench *b = userdata;

	return b->held && !b->chip.no_rts && b->chip.in_len > CHIP_HOLDS ? b->chip.in_len : 0;
}

static time_t on_wallclock(void *userdata)
{
	return ((struct bench *)userdata)->wallclock;
}

static uint64_t on_random(void *userdata)
{
	return 0x0123456789abcdefull;
}

static bool on_synchronized(void *userdata)
{
	return !((struct bench *)userdata)->unsynchronized;
}

static int on_secret(void *userdata, const char *path, char *buf, size_t size)
{
	struct bench *b = userdata;

	if (!b->password)
		return -ENOENT;
	snprintf(buf, size, "%s", b->password);
	return 0;
}

static int on_load_blob(void *userdata, const struct material_item *item, size_t blob,
			struct cert_blob **ret)
{
	struct bench *b = userdata;

	b->loads++;
	if (b->load_error && (!b->load_error_name || strcmp(b->load_error_name, item->name) == 0) &&
	    (!b->load_error_kinds || (b->load_error_kinds >> item->blobs[blob]->kind & 1)))
		return b->load_error;
	return cert_blob_new(ret, item->blobs[blob]->kind, item->blobs[blob]->data,
			     item->blobs[blob]->len);
}

static int on_recall_chip(void *userdata, char mac[AT_MAC_MAX + 1])
{
	struct bench *b = userdata;

	b->recalls++;
	strcpy(mac, b->known);
	return b->recall_error;
}

static int on_remember_chip(void *userdata, const char *mac)
{
	struct bench *b = userdata;

	b->remembers++;
	if (b->remember_error == 0)
		strcpy(b->known, mac);
	return b->remember_error;
}

static const struct device_ops bench_ops = {
	.write = on_write,
	.discard = on_discard,
	.set_line = on_set_line,
	.set_reset = on_set_reset,
	.cts = on_cts,
	.hold = on_hold,
	.queued = on_queued,
	.wallclock = on_wallclock,
	.synchronized = on_synchronized,
	.random = on_random,
	.secret = on_secret,
	.load_blob = on_load_blob,
	.recall_chip = on_recall_chip,
	.remember_chip = on_remember_chip,
};

static void on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct bench *b = container_of(watch, struct bench, watch);
	size_t n = strlen(b->states);

	if (n + 32 >= sizeof(b->states))
		n = 0; /* only the last ones */
	snprintf(b->states + n, sizeof(b->states) - n, ">%s", device_state_name(dev->state));
}

static void on_room(struct device_watch *watch, struct device *dev)
{
	container_of(watch, struct bench, watch)->rooms++;
}

/* All that src/bus makes a property of; DEVICE_FACT_VALUES has none. */
static void show(const struct device *dev, struct facts *facts, unsigned int which)
{
	const struct device_wifi *wifi = device_wifi(dev);
	struct facts now = { 0 };

#define SHOW(fact, ...) snprintf(now.text[__builtin_ctz(fact)], sizeof(now.text[0]), __VA_ARGS__)
	SHOW(DEVICE_FACT_STATE, "state %s, %s", device_state_name(dev->state), dev->error);
	SHOW(DEVICE_FACT_CHIP, "chip %s %s %s %s", dev->version.chip, dev->version.core,
	     dev->firmware, dev->mac);
	SHOW(DEVICE_FACT_LINKS, "%u links", device_links_in_use(dev));
	SHOW(DEVICE_FACT_HEAP, "heap %u", device_free_heap(dev));
	SHOW(DEVICE_FACT_CLOCK, "clock %s", device_clock_source(dev));
	SHOW(DEVICE_FACT_RESETS, "%" PRIu64 " resets", device_resets(dev));
	SHOW(DEVICE_FACT_FLASH, "%" PRIu64 " flash writes", device_flash_writes(dev));
	SHOW(DEVICE_FACT_WIFI, "wifi %s %s %u %d %s %d", wifi->ssid, wifi->bssid, wifi->channel,
	     wifi->rssi, wifi->address, wifi->connected);
	SHOW(DEVICE_FACT_LINE, "line %u %d %s", device_baud(dev), dev->rtscts,
	     device_flow_error(dev));
#undef SHOW
	for (size_t i = 0; i < FACTS; i++)
		if (which >> i & 1)
			memcpy(facts->text[i], now.text[i], sizeof(now.text[i]));
}

/* Whoever watches was told of each fact that is another now, and by its own name. */
static void facts_are_told(const struct bench *b)
{
	struct facts now = { 0 };

	show(b->dev, &now, ~0u);
	for (size_t i = 0; i < FACTS; i++) {
		if (strcmp(b->shown.text[i], now.text[i]) == 0)
			continue;
		fprintf(stderr, "it is '%s', and '%s' was told\n", now.text[i], b->shown.text[i]);
		MUST(!"told");
	}
}

static void on_changed(struct device_watch *watch, struct device *dev, unsigned int facts)
{
	struct bench *b = container_of(watch, struct bench, watch);

	b->facts |= facts;
	show(dev, &b->shown, facts);
}

static void on_provisioned(struct device_watch *watch, struct device *dev)
{
	struct bench *b = container_of(watch, struct bench, watch);

	b->provisioned++;
	if (b->on_provisioned)
		b->on_provisioned(b);
}

void blob_init(struct cert_blob *blob, enum cert_kind kind, const char *text)
{
	struct cert_digest *digest = NULL;

	blob->kind = kind;
	blob->data = (uint8_t *)strdup(text);
	blob->len = strlen(text);
	MUST(blob->data && cert_digest_new(&digest) == 0 && cert_digest_reset(digest) == 0 &&
	     cert_digest_update(digest, blob->data, blob->len) == 0 &&
	     cert_digest_final(digest, blob->digest) == 0);
	cert_digest_free(digest);
}

static char bench_esp0[] = "esp0", bench_lab[] = "lab", bench_file[] = "wifi.secret",
	    bench_corp[] = "corp", bench_gateway[] = "gateway", bench_broker[] = "broker";

void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	timers_init(&b->timers);
	b->wallclock = 1790000000;
	b->password = "hunter2";
	b->settings =
		(struct config_device){ .name = bench_esp0, .baud = 115200, .has_wifi = true };
	b->settings.max_links = AT_LINKS;
	b->settings.wifi.ssid = bench_lab;
	b->settings.wifi.password_file = bench_file;
	b->authority = (struct config_authority){ .name = bench_corp, .slot = CONFIG_SLOT_AUTO };
	b->identity = (struct config_identity){ .name = bench_gateway, .slot = CONFIG_SLOT_AUTO };
	b->tunnel = (struct config_tunnel){ .name = bench_broker };
	b->tunnel.device = &b->settings;
	b->tunnel.authority = &b->authority;
	b->tunnel.identity = &b->identity;
	b->config.devices = &b->settings;
	b->config.authorities = &b->authority;
	b->config.identities = &b->identity;
	b->config.tunnels = &b->tunnel;
	b->config.n_devices = b->config.n_authorities = 1;
	b->config.n_identities = b->config.n_tunnels = 1;
	blob_init(&b->ca, CERT_KIND_CA, "the authority\n\r\nOK\r\n");
	blob_init(&b->cert, CERT_KIND_CERT, "the certificate\n");
	blob_init(&b->key, CERT_KIND_KEY, "the key\n");
	b->items[0] = (struct material_item){
		.type = MATERIAL_AUTHORITY,
		.name = bench_corp,
		.config = &b->authority,
		.blobs = { &b->ca },
		.n_blobs = 1,
		.generation = 1,
	};
	b->items[1] = (struct material_item){
		.type = MATERIAL_IDENTITY,
		.name = bench_gateway,
		.config = &b->identity,
		.blobs = { &b->cert, &b->key },
		.n_blobs = 2,
		.generation = 1,
	};
	b->material.config = &b->config;
	b->material.items = b->items;
	b->material.n_items = 2;
	b->baud = b->chip.baud = 115200;
	b->chip.echo = true;
	b->chip.mode = 2;
	b->chip.mac = "24:0a:c4:12:34:56";
	b->chip.gmr = "AT version:3.5.0.0-dev(s-33af283 - ESP32 - Mar 13 2025 10:44:34)";
	bench_remake(b);
}

void bench_make(struct bench *b, const struct config *config, const struct config_device *settings,
		const struct material *material)
{
	b->dev = device_free(b->dev);
	MUST(device_new(&b->dev, config, settings, material, &b->timers, &bench_ops, b) == 0);
	b->watch.state = on_state;
	b->watch.room = on_room;
	b->watch.changed = on_changed;
	b->watch.provisioned = on_provisioned;
	device_watch(b->dev, &b->watch);
	show(b->dev, &b->shown, ~0u);
}

void bench_remake(struct bench *b)
{
	bench_make(b, &b->config, &b->settings, &b->material);
}

struct chip_key *chip_nvs(struct bench *b, const char *name)
{
	return key_named(&b->chip, name);
}

bool chip_holds(struct bench *b, const char *name, const struct cert_blob *blob)
{
	const struct chip_key *key = chip_nvs(b, name);

	return key->type == 8 && key->len == blob->len &&
	       memcmp(key->data, blob->data, blob->len) == 0;
}

void bench_free(struct bench *b)
{
	b->dev = device_free(b->dev);
	timers_deinit(&b->timers);
	free(b->ca.data);
	free(b->cert.data);
	free(b->key.data);
}

/* What the chip says cannot be heard. */
static bool is_silent(const struct bench *b)
{
	const struct chip *c = &b->chip;

	return c->baud != b->baud || (c->silent_above && c->baud > c->silent_above) ||
	       (c->no_cts && (c->flow & 2));
}

bool bench_step(struct bench *b)
{
	bool silent = is_silent(b);
	static char text[sizeof(b->chip.out)];
	size_t n = b->chip.out_len;

	if (n == 0 || b->held)
		return chip_work(&b->chip);
	memcpy(text, b->chip.out, n);
	b->chip.out_len = 0;
	if (b->chip.next_baud) {
		b->chip.baud = b->chip.next_baud;
		b->chip.flow = b->chip.next_flow;
		b->chip.next_baud = 0;
	}
	if (silent)
		return true;
	device_feed(b->dev, (const uint8_t *)text, n);
	return true;
}

void bench_run(struct bench *b)
{
	while (bench_step(b))
		;
	facts_are_told(b);
}

void bench_pass(struct bench *b, uint64_t delay)
{
	uint64_t end = b->timers.now + delay;

	bench_run(b);
	while (timers_next(&b->timers) <= end) {
		timers_set_now(&b->timers, timers_next(&b->timers));
		timers_run(&b->timers);
		bench_run(b);
	}
	timers_set_now(&b->timers, end);
}

void bench_up(struct bench *b)
{
	b->baud = 115200;
	device_port_up(b->dev, 115200);
	for (int i = 0; i < 60; i++) {
		bench_run(b);
		if (b->dev->state == DEVICE_READY || b->dev->state == DEVICE_FAILED ||
		    b->dev->state == DEVICE_UNKNOWN_CHIP || b->dev->state == DEVICE_PROVISIONED)
			return;
		bench_pass(b, 1 * TIMERS_S);
	}
}

void bench_up_idle(struct bench *b)
{
	bench_up(b);
	MUST(b->dev->state == DEVICE_READY);
	bench_pass(b, 5 * TIMERS_S);
	chip_forget(b);
}

void chip_say(struct bench *b, const char *text)
{
	if (strstr(text, "OK\r\n") || strstr(text, "ERROR\r\n") || strstr(text, "ready\r\n"))
		b->chip.working = false;
	out_n(&b->chip, text, strlen(text));
	bench_run(b);
}

void chip_answer(struct bench *b, const char *command, const char *reply, int times)
{
	for (size_t i = 0; i < sizeof(b->chip.answers) / sizeof(*b->chip.answers); i++)
		if (b->chip.answers[i].times == 0) {
			b->chip.answers[i] = (struct chip_answer){ command, reply, times };
			return;
		}
	MUST(!"room for an answer");
}

void chip_die_at(struct bench *b, unsigned int n)
{
	b->chip.moments = 0;
	b->chip.dies_at = n;
}

void chip_revive(struct bench *b, bool power)
{
	struct chip *c = &b->chip;

	c->dead = false;
	c->dies_at = 0;
	c->out_len = 0;
	if (c->wanted == 0 || power)
		c->in_len = 0;
	if (!power)
		return;
	c->wanted = 0;
	c->echo = true;
	c->joined = false;
	memset(c->open, 0, sizeof(c->open));
}

void chip_forget(struct bench *b)
{
	b->chip.told_len = 0;
	b->chip.told[0] = '\0';
	b->states[0] = '\0';
}
