/* SPDX-License-Identifier: MIT */
/* Lines that the chip says by itself, and final results. */
#include "at/report.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "at/scan.h"

/* Whole lines. */
static const struct {
	const char *text;
	enum at_report_type type;
} report_lines[] = {
	{ "OK", AT_REPORT_OK },
	{ "ERROR", AT_REPORT_ERROR },
	{ "FAIL", AT_REPORT_ERROR },
	{ "SEND OK", AT_REPORT_SEND_OK },
	{ "SEND FAIL", AT_REPORT_SEND_FAIL },
	{ "SEND Canceled", AT_REPORT_SEND_CANCELED },  /* CIPSEND (capture 54) */
	{ "SEND CANCELLED", AT_REPORT_SEND_CANCELED }, /* CIPSENDL (capture 54) */
	{ "busy p...", AT_REPORT_BUSY },
	{ "busy s...", AT_REPORT_BUSY },
	{ "ready", AT_REPORT_READY },
	{ "Will force to restart!!!", AT_REPORT_RESTARTING },
	{ "CONNECT", AT_REPORT_CONNECT },
	{ "CLOSED", AT_REPORT_CLOSED },
	{ "WIFI CONNECTED", AT_REPORT_WIFI_CONNECTED },
	{ "WIFI GOT IP", AT_REPORT_WIFI_GOT_IP },
	{ "WIFI GOT IPv6 GL", AT_REPORT_WIFI_GOT_IP6 },
	{ "WIFI DISCONNECT", AT_REPORT_WIFI_DISCONNECT },
	{ "+TIME_UPDATED", AT_REPORT_TIME_UPDATED },
	{ "+QUITT", AT_REPORT_OTHER },
	{ "WIFI GOT IPv6 LL", AT_REPORT_OTHER },
};

/* "<n>,CONNECT" and "<n>,CLOSED" */
static bool report_link(struct at_scan s, struct at_report *ret)
{
	long link;

	if (!at_scan_number(&s, &link) || link >= AT_LINKS || !at_scan_char(&s, ','))
		return false;
	if (at_scan_literal(&s, "CONNECT") && at_scan_end(&s))
		ret->type = AT_REPORT_CONNECT;
	else if (at_scan_literal(&s, "CLOSED") && at_scan_end(&s))
		ret->type = AT_REPORT_CLOSED;
	else
		return false;
	ret->link = (int)link;
	return true;
}

/* "+IPD,<len>" and "+IPD,<link>,<len>": passive receive has something (capture 32) */
static bool report_ipd(struct at_scan s, struct at_report *ret)
{
	long first, second;

	if (!at_scan_literal(&s, "+IPD,") || !at_scan_number(&s, &first))
		return false;
	ret->value = first;
	if (at_scan_char(&s, ',')) {
		if (!at_scan_number(&s, &second) || first >= AT_LINKS)
			return false;
		ret->link = (int)first;
		ret->value = second;
	}
	if (!at_scan_end(&s))
		return false;
	ret->type = AT_REPORT_IPD;
	return true;
}

/*
 * With bit 1 of AT+SYSMSG in place of "<n>,CONNECT":
 * `+LINK_CONN:<failed>,<link>,"SSL",<is server>,"<ip>",<remote port>,<local port>`
 */
static bool report_link_conn(struct at_scan s, struct at_report *ret)
{
	long failed, link;

	if (!at_scan_literal(&s, "+LINK_CONN:") || !at_scan_number(&s, &failed) ||
	    !at_scan_char(&s, ',') || !at_scan_number(&s, &link) || link >= AT_LINKS)
		return false;
	ret->type = failed ? AT_REPORT_OTHER : AT_REPORT_CONNECT;
	ret->link = (int)link;
	return true;
}

static bool report_recv(struct at_scan s, struct at_report *ret)
{
	if (!at_scan_literal(&s, "Recv ") || !at_scan_number(&s, &ret->value) ||
	    !at_scan_literal(&s, " bytes") || !at_scan_end(&s))
		return false;
	ret->type = AT_REPORT_RECV;
	return true;
}

static bool report_err_code(const char *text, struct at_report *ret)
{
	char *end;
	unsigned long code;

	if (strncmp(text, "ERR CODE:0x", 11) != 0)
		return false;
	code = strtoul(text + 11, &end, 16);
	if (end == text + 11 || *end)
		return false;
	ret->type = AT_REPORT_ERR_CODE;
	ret->value = (long)(code & 0xffffffff);
	return true;
}

struct at_report at_report_parse(const char *text, size_t len)
{
	struct at_report ret = { .type = AT_REPORT_NONE, .link = -1 };
	struct at_scan s = at_scan_at(text, len, 0);

	for (size_t i = 0; i < sizeof(report_lines) / sizeof(*report_lines); i++)
		if (strcmp(report_lines[i].text, text) == 0) {
			ret.type = report_lines[i].type;
			return ret;
		}
	if (report_link(s, &ret) || report_ipd(s, &ret) || report_recv(s, &ret) ||
	    report_link_conn(s, &ret) || report_err_code(text, &ret))
		return ret;
	return (struct at_report){ .type = AT_REPORT_NONE, .link = -1 };
}
