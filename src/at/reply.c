/* SPDX-License-Identifier: MIT */
/* Reply lines of commands -> typed values. */
#include "at/reply.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "at/report.h"
#include "at/scan.h"
#include "util/mac.h"

bool at_reply_version(const char *text, size_t len, struct at_version *ret)
{
	struct at_scan s = at_scan_at(text, len, 0);
	struct at_version v = { 0 };
	const char *open, *dash, *end;
	size_t n;

	if (!at_scan_literal(&s, "AT version:"))
		return false;
	if (sscanf(text + s.pos, "%3d.%3d.%3d", &v.major, &v.minor, &v.patch) != 3 || v.major < 0 ||
	    v.minor < 0 || v.patch < 0)
		return false;
	open = strchr(text + s.pos, '(');
	n = open ? (size_t)(open - (text + s.pos)) : strlen(text + s.pos);
	if (n >= sizeof(v.core))
		return false;
	memcpy(v.core, text + s.pos, n);
	/* "(<hash> - <CHIP> - <date>)" */
	dash = open ? strstr(open, " - ") : NULL;
	end = dash ? strstr(dash + 3, " - ") : NULL;
	if (end && (size_t)(end - (dash + 3)) < sizeof(v.chip))
		memcpy(v.chip, dash + 3, (size_t)(end - (dash + 3)));
	*ret = v;
	return true;
}

bool at_reply_bin_version(const char *text, size_t len, char *version, size_t size)
{
	struct at_scan s = at_scan_at(text, len, 0);

	if (!at_scan_literal(&s, "Bin version:") || len - s.pos >= size)
		return false;
	memcpy(version, text + s.pos, len - s.pos + 1);
	return true;
}

bool at_reply_cmd(const char *text, size_t len, char name[AT_NAME_MAX])
{
	struct at_scan s = at_scan_at(text, len, 0);
	long index;

	return at_scan_literal(&s, "+CMD:") && at_scan_number(&s, &index) &&
	       at_scan_char(&s, ',') && at_scan_string(&s, name, AT_NAME_MAX);
}

bool at_reply_mac(const char *text, size_t len, char mac[AT_MAC_MAX + 1])
{
	struct at_scan s = at_scan_at(text, len, 0);
	char found[AT_MAC_MAX + 1];

	if (!at_scan_literal(&s, "+CIPSTAMAC:") || !at_scan_string(&s, found, sizeof(found)) ||
	    !at_scan_end(&s) || !mac_is_valid(found))
		return false;
	strcpy(mac, found);
	return true;
}

bool at_reply_cwstate(const char *text, size_t len, int *state, char ssid[AT_SSID_MAX + 1])
{
	struct at_scan s = at_scan_at(text, len, 0);
	long number;

	if (!at_scan_literal(&s, "+CWSTATE:") || !at_scan_number(&s, &number) || number > 4)
		return false;
	*state = (int)number;
	/* The SSID stands unescaped between the first quote and the last one. */
	ssid[0] = '\0';
	if (!at_scan_char(&s, ',') || !at_scan_char(&s, '"') || text[len - 1] != '"' ||
	    len - 1 < s.pos || len - 1 - s.pos > AT_SSID_MAX)
		return true;
	memcpy(ssid, text + s.pos, len - 1 - s.pos);
	ssid[len - 1 - s.pos] = '\0';
	return true;
}

/*
 * An SSID stands unescaped and may hold anything, also quotes and commas; but behind the address there
 * are only numbers. So the address is looked for from the end. @first: where the SSID begins. Returns
 * where the address begins, or 0.
 */
static size_t reply_find_bssid(const char *text, size_t first, char bssid[AT_MAC_MAX + 1])
{
	const char *quote = strrchr(text, '"');
	size_t start;

	if (!quote || (size_t)(quote - text) < first + 3 + AT_MAC_MAX)
		return 0;
	start = (size_t)(quote - text) - AT_MAC_MAX;
	memcpy(bssid, text + start, AT_MAC_MAX);
	bssid[AT_MAC_MAX] = '\0';
	if (text[start - 1] != '"' || text[start - 2] != ',' ||
	    strspn(bssid, "0123456789abcdefABCDEF:") != AT_MAC_MAX)
		return 0;
	return start;
}

/* The SSID from @first up to the quote before @end; false if it is too long, or there is no quote. */
static bool reply_ssid(const char *text, size_t first, size_t end, char ssid[AT_SSID_MAX + 1])
{
	if (end <= first || text[end - 1] != '"' || end - 1 - first > AT_SSID_MAX)
		return false;
	memcpy(ssid, text + first, end - 1 - first);
	ssid[end - 1 - first] = '\0';
	return true;
}

bool at_reply_bssid(const char *text, size_t len, char bssid[AT_MAC_MAX + 1])
{
	struct at_ap ap;

	if (!at_reply_cwjap(text, len, &ap))
		return false;
	memcpy(bssid, ap.bssid, sizeof(ap.bssid));
	return true;
}

bool at_reply_cwjap(const char *text, size_t len, struct at_ap *ap)
{
	struct at_scan s = at_scan_at(text, len, 0);
	size_t first, start;

	*ap = (struct at_ap){ .security = -1 };
	if (!at_scan_literal(&s, "+CWJAP:\""))
		return false;
	first = s.pos;
	start = reply_find_bssid(text, first, ap->bssid);
	if (start == 0 || !reply_ssid(text, first, start - 2, ap->ssid))
		return false;
	s.pos = start + AT_MAC_MAX + 1;
	if (!at_scan_char(&s, ',') || !at_scan_number(&s, &ap->channel))
		ap->channel = 0;
	else if (!at_scan_char(&s, ',') || !at_scan_signed(&s, &ap->rssi))
		ap->rssi = 0;
	return true;
}

bool at_reply_cwlap(const char *text, size_t len, struct at_ap *ap)
{
	struct at_scan s = at_scan_at(text, len, 0);
	size_t first, start, comma;
	long number;

	*ap = (struct at_ap){ .security = -1 };
	if (!at_scan_literal(&s, "+CWLAP:(") || !at_scan_number(&s, &number) ||
	    !at_scan_literal(&s, ",\""))
		return false;
	ap->security = (int)number;
	first = s.pos;
	start = reply_find_bssid(text, first, ap->bssid);
	if (start == 0)
		return false;
	/* `<ssid>",<rssi>,"<bssid>`: the signal's comma is the last one before it. */
	for (comma = start - 3; comma > first && text[comma] != ','; comma--)
		;
	s.pos = comma + 1;
	if (!at_scan_signed(&s, &ap->rssi) || s.pos != start - 2 ||
	    !reply_ssid(text, first, comma, ap->ssid))
		return false;
	s.pos = start + AT_MAC_MAX + 1;
	return at_scan_char(&s, ',') && at_scan_number(&s, &ap->channel);
}

bool at_reply_cwjeap_timeout(const char *text, size_t len)
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, "+CWJEAP:Timeout") && at_scan_end(&s);
}

bool at_reply_hostname(const char *text, size_t len, char name[AT_HOSTNAME_MAX + 1])
{
	struct at_scan s = at_scan_at(text, len, 0);

	if (!at_scan_literal(&s, "+CWHOSTNAME:") || len - s.pos > AT_HOSTNAME_MAX)
		return false;
	memcpy(name, text + s.pos, len - s.pos + 1);
	return true;
}

bool at_reply_cipsta(const char *text, size_t len, const char *what, char address[AT_IPV4_MAX + 1])
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, "+CIPSTA:") && at_scan_literal(&s, what) &&
	       at_scan_char(&s, ':') && at_scan_string(&s, address, AT_IPV4_MAX + 1) &&
	       at_scan_end(&s);
}

bool at_reply_cipdns(const char *text, size_t len, bool *manual)
{
	struct at_scan s = at_scan_at(text, len, 0);
	long number;

	if (!at_scan_literal(&s, "+CIPDNS:") || !at_scan_number(&s, &number) || number > 1 ||
	    (!at_scan_end(&s) && !at_scan_peek(&s, ',')))
		return false;
	*manual = number == 1;
	return true;
}

bool at_reply_mfg_entry(const char *text, size_t len, char key[AT_NVS_NAME_MAX + 1], int *type)
{
	struct at_scan s = at_scan_at(text, len, 0);
	size_t ns_len;
	long number;

	if (!at_scan_literal(&s, "+SYSMFG:") || !at_scan_quoted(&s, &ns_len) ||
	    !at_scan_char(&s, ',') || !at_scan_string(&s, key, AT_NVS_NAME_MAX + 1) ||
	    !at_scan_char(&s, ',') || !at_scan_number(&s, &number) || !at_scan_end(&s) ||
	    number < 1 || number > 8)
		return false;
	*type = (int)number;
	return true;
}

bool at_reply_cipstate(const char *text, size_t len, long *link)
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, "+CIPSTATE:") && at_scan_number(&s, link) &&
	       at_scan_char(&s, ',');
}

bool at_reply_sslconf(const char *text, size_t len, struct at_sslconf *ret)
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, "+CIPSSLCCONF:") && at_scan_number(&s, &ret->link) &&
	       at_scan_char(&s, ',') && at_scan_number(&s, &ret->auth) && at_scan_char(&s, ',') &&
	       at_scan_number(&s, &ret->pki) && at_scan_char(&s, ',') &&
	       at_scan_number(&s, &ret->ca) && at_scan_end(&s);
}

bool at_reply_number(const char *text, size_t len, const char *prefix, long *ret)
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, prefix) && at_scan_number(&s, ret) && at_scan_end(&s);
}

bool at_reply_domain(const char *text, size_t len, char *address, size_t size)
{
	struct at_scan s = at_scan_at(text, len, 0);
	unsigned char binary[sizeof(struct in6_addr)];
	char found[INET6_ADDRSTRLEN];

	if (!at_scan_literal(&s, "+CIPDOMAIN:") || !at_scan_string(&s, found, sizeof(found)) ||
	    !at_scan_end(&s) || strlen(found) >= size)
		return false;
	if (inet_pton(AF_INET, found, binary) != 1 && inet_pton(AF_INET6, found, binary) != 1)
		return false;
	strcpy(address, found);
	return true;
}

bool at_reply_hex(const char *text, size_t len, const char *prefix, long *ret)
{
	struct at_scan s = at_scan_at(text, len, 0);
	size_t digits;

	if (!at_scan_literal(&s, prefix) || !at_scan_literal(&s, "0x"))
		return false;
	digits = strspn(text + s.pos, "0123456789abcdefABCDEF");
	if (digits == 0 || digits > 8 || s.pos + digits != len)
		return false;
	*ret = strtol(text + s.pos, NULL, 16);
	return true;
}

bool at_reply_free_heap(const char *text, size_t len, long *ret)
{
	struct at_scan s = at_scan_at(text, len, 0);

	return at_scan_literal(&s, "+SYSRAM:") && at_scan_number(&s, ret) &&
	       (at_scan_end(&s) || at_scan_peek(&s, ','));
}
