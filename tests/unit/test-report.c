/* SPDX-License-Identifier: MIT */
/* at/report: every line that the chip says by itself, and lines that only look like one. */
#include "test.h"

#include <string.h>

#include "at/report.h"

static const struct {
	const char *text;
	enum at_report_type type;
	int link;
	long value;
} rows[] = {
	{ "OK", AT_REPORT_OK, -1, 0 },
	{ "ERROR", AT_REPORT_ERROR, -1, 0 },
	{ "FAIL", AT_REPORT_ERROR, -1, 0 },
	{ "SEND OK", AT_REPORT_SEND_OK, -1, 0 },
	{ "SEND FAIL", AT_REPORT_SEND_FAIL, -1, 0 },
	{ "SEND Canceled", AT_REPORT_SEND_CANCELED, -1, 0 },
	{ "SEND CANCELLED", AT_REPORT_SEND_CANCELED, -1, 0 },
	{ "Recv 2048 bytes", AT_REPORT_RECV, -1, 2048 },
	{ "busy p...", AT_REPORT_BUSY, -1, 0 },
	{ "busy s...", AT_REPORT_BUSY, -1, 0 },
	{ "ready", AT_REPORT_READY, -1, 0 },
	{ "Will force to restart!!!", AT_REPORT_RESTARTING, -1, 0 },
	{ "CONNECT", AT_REPORT_CONNECT, -1, 0 },
	{ "0,CONNECT", AT_REPORT_CONNECT, 0, 0 },
	{ "+LINK_CONN:0,3,\"SSL\",0,\"10.0.2.2\",8443,60443", AT_REPORT_CONNECT, 3, 0 },
	{ "+LINK_CONN:1,3,\"SSL\",0,\"10.0.2.2\",8443,60443", AT_REPORT_OTHER, 3, 0 },
	{ "CLOSED", AT_REPORT_CLOSED, -1, 0 },
	{ "4,CLOSED", AT_REPORT_CLOSED, 4, 0 },
	{ "+IPD,11", AT_REPORT_IPD, -1, 11 },
	{ "+IPD,3,1440", AT_REPORT_IPD, 3, 1440 },
	{ "WIFI CONNECTED", AT_REPORT_WIFI_CONNECTED, -1, 0 },
	{ "WIFI GOT IP", AT_REPORT_WIFI_GOT_IP, -1, 0 },
	{ "WIFI DISCONNECT", AT_REPORT_WIFI_DISCONNECT, -1, 0 },
	{ "+TIME_UPDATED", AT_REPORT_TIME_UPDATED, -1, 0 },
	{ "ERR CODE:0x010b0000", AT_REPORT_ERR_CODE, -1, 0x010b0000 },
	{ "+QUITT", AT_REPORT_OTHER, -1, 0 },
	{ "WIFI GOT IPv6 LL", AT_REPORT_OTHER, -1, 0 },
	{ "WIFI GOT IPv6 GL", AT_REPORT_WIFI_GOT_IP6, -1, 0 },
	/* none of them */
	{ "OK ", AT_REPORT_NONE, -1, 0 },
	{ " OK", AT_REPORT_NONE, -1, 0 },
	{ "ok", AT_REPORT_NONE, -1, 0 },
	{ "OKAY", AT_REPORT_NONE, -1, 0 },
	{ "AT", AT_REPORT_NONE, -1, 0 },
	{ "5,CLOSED", AT_REPORT_NONE, -1, 0 },
	{ "5,CONNECT", AT_REPORT_NONE, -1, 0 },
	{ "-1,CLOSED", AT_REPORT_NONE, -1, 0 },
	{ "4294967296,CLOSED", AT_REPORT_NONE, -1, 0 },
	{ "0,CLOSED,", AT_REPORT_NONE, -1, 0 },
	{ "0,CONNECT FAIL", AT_REPORT_NONE, -1, 0 },
	{ "0,CONNECTED", AT_REPORT_NONE, -1, 0 },
	{ ",CLOSED", AT_REPORT_NONE, -1, 0 },
	{ "0;CLOSED", AT_REPORT_NONE, -1, 0 },
	{ "0,", AT_REPORT_NONE, -1, 0 },
	{ "+IPD,", AT_REPORT_NONE, -1, 0 },
	{ "+IPD,5,10", AT_REPORT_NONE, -1, 0 },
	{ "+IPD,1,10,", AT_REPORT_NONE, -1, 0 },
	{ "+IPD,1,x", AT_REPORT_NONE, -1, 0 },
	{ "+LINK_CONN:0,5,\"SSL\"", AT_REPORT_NONE, -1, 0 },
	{ "+LINK_CONN:x", AT_REPORT_NONE, -1, 0 },
	{ "Recv bytes", AT_REPORT_NONE, -1, 0 },
	{ "Recv 5 byte", AT_REPORT_NONE, -1, 0 },
	{ "Recv 5 bytes!", AT_REPORT_NONE, -1, 0 },
	{ "ERR CODE:0x", AT_REPORT_NONE, -1, 0 },
	{ "ERR CODE:0x01zz", AT_REPORT_NONE, -1, 0 },
	{ "AT+CIPSEND=0,5", AT_REPORT_NONE, -1, 0 },
	{ "+CIPRECVLEN:0,11", AT_REPORT_NONE, -1, 0 },
};

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct at_report report = at_report_parse(rows[i].text, strlen(rows[i].text));

		if (report.type != rows[i].type || report.link != rows[i].link ||
		    report.value != rows[i].value)
			fail_msg("%s: type %d, link %d, value %ld", rows[i].text, report.type,
				 report.link, report.value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
