/* SPDX-License-Identifier: MIT */
/* The decoders of reply lines and reports: each line of the input, as the lexer would hand it over. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "at/lexer.h"
#include "at/reply.h"
#include "at/report.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(const char *text, size_t len)
{
	struct at_report report = at_report_parse(text, len);
	char name[AT_NAME_MAX], mac[AT_MAC_MAX + 1], key[AT_NVS_NAME_MAX + 1];
	char ssid[AT_SSID_MAX + 1], bin[16];
	char host[AT_HOSTNAME_MAX + 1], address[AT_IPV4_MAX + 1];
	bool manual;
	struct at_version version;
	struct at_ap ap;
	int number;
	long value;

	MUST(report.type <= AT_REPORT_OTHER);
	MUST(report.link >= -1 && report.link < AT_LINKS);
	MUST(report.value >= 0 && report.value <= 4294967295L);
	if (at_reply_version(text, len, &version))
		MUST(strlen(version.core) < sizeof(version.core) &&
		     strlen(version.chip) < sizeof(version.chip) && version.major >= 0 &&
		     version.minor >= 0 && version.patch >= 0);
	if (at_reply_bin_version(text, len, bin, sizeof(bin)))
		MUST(strlen(bin) < sizeof(bin));
	if (at_reply_cmd(text, len, name))
		MUST(strlen(name) < sizeof(name));
	if (at_reply_mac(text, len, mac))
		MUST(strlen(mac) == AT_MAC_MAX);
	if (at_reply_cwstate(text, len, &number, ssid))
		MUST(number >= 0 && number <= 4 && strlen(ssid) <= AT_SSID_MAX);
	if (at_reply_bssid(text, len, mac))
		MUST(strlen(mac) == AT_MAC_MAX);
	if (at_reply_cwjap(text, len, &ap) || at_reply_cwlap(text, len, &ap))
		MUST(strlen(ap.bssid) == AT_MAC_MAX && strlen(ap.ssid) <= AT_SSID_MAX &&
		     ap.channel >= 0 && ap.channel <= 4294967295L);
	if (at_reply_hostname(text, len, host))
		MUST(strlen(host) <= AT_HOSTNAME_MAX);
	if (at_reply_cipsta(text, len, "ip", address))
		MUST(strlen(address) <= AT_IPV4_MAX);
	at_reply_cwjeap_timeout(text, len);
	at_reply_cipdns(text, len, &manual);
	if (at_reply_mfg_entry(text, len, key, &number))
		MUST(number >= 1 && number <= 8 && strlen(key) <= AT_NVS_NAME_MAX);
	if (at_reply_number(text, len, "+CWMODE:", &value))
		MUST(value >= 0 && value <= 4294967295L);
	if (at_reply_domain(text, len, address, sizeof(address)))
		MUST(strlen(address) < sizeof(address));
	if (at_reply_hex(text, len, "+ERRNO:", &value))
		MUST(value >= 0 && value <= 0xffffffffL);
	if (at_reply_free_heap(text, len, &value))
		MUST(value >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Lines have no control characters, are not empty and end with NUL. */
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		size_t keep = len < AT_LEXER_LINE_MAX ? len : AT_LEXER_LINE_MAX;
		char *text = malloc(keep + 1);

		MUST(text);
		for (size_t i = 0; i < keep; i++)
			text[i] = data[i] < 0x20 || data[i] == 0x7f ? '?' : (char)data[i];
		text[keep] = '\0';
		if (keep > 0)
			one_line(text, keep);
		free(text);
		len += end ? 1 : 0;
		data += len;
		size -= len;
	}
	return 0;
}
