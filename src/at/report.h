/* SPDX-License-Identifier: MIT */
/* Lines that the chip says: final results of commands, and reports that come by themselves. */
#pragma once

#include <stddef.h>

#include "espatd/espatd.h"

/* The links of one chip, 0..AT_LINKS-1 (AT+CIPMUX=1); a compile-time constant of the firmware. */
#define AT_LINKS ESPATD_LINKS

enum at_report_type {
	AT_REPORT_NONE, /* none of these: a reply line, or unknown */
	/* final results */
	AT_REPORT_OK,
	AT_REPORT_ERROR, /* also FAIL */
	AT_REPORT_SEND_OK,
	AT_REPORT_SEND_FAIL,
	AT_REPORT_SEND_CANCELED,
	AT_REPORT_RECV, /* "Recv <value> bytes": a CIPSEND block is complete, the verdict follows */
	AT_REPORT_BUSY, /* "busy p...": the last command was not executed */
	/* by themselves */
	AT_REPORT_READY,      /* the chip has started: everything but its flash is forgotten */
	AT_REPORT_RESTARTING, /* "Will force to restart!!!" */
	AT_REPORT_CONNECT,    /* link */
	AT_REPORT_CLOSED,     /* link */
	AT_REPORT_IPD,        /* link, value: data waits (passive receive) */
	AT_REPORT_WIFI_CONNECTED,
	AT_REPORT_WIFI_GOT_IP,
	AT_REPORT_WIFI_GOT_IP6, /* a global address; a link-local one is OTHER */
	AT_REPORT_WIFI_DISCONNECT,
	AT_REPORT_TIME_UPDATED,
	AT_REPORT_ERR_CODE, /* "ERR CODE:0x...", with AT+SYSLOG=1; value */
	AT_REPORT_OTHER,    /* known, and of no use to us */
};

struct at_report {
	enum at_report_type type;
	int link; /* -1 without a link number (CIPMUX=0) */
	long value;
};

/* Reads one line. */
struct at_report at_report_parse(const char *text, size_t len);
