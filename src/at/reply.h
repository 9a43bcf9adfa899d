/* SPDX-License-Identifier: MIT */
/* Reply lines of commands -> typed values. Each returns false for a line that is not as expected. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define AT_VERSION_MAX 64
#define AT_NAME_MAX 32     /* of a command */
#define AT_NVS_NAME_MAX 15 /* namespace or key; 16 is ERROR (capture 12) */
#define AT_MAC_MAX 17
#define AT_SSID_MAX 32
#define AT_WIFI_PASSWORD_MAX 64 /* 64: a key in hexadecimal */
#define AT_HOSTNAME_MAX 32
#define AT_IPV4_MAX 15

struct at_version {
	char core[AT_VERSION_MAX]; /* "3.5.0.0-dev" */
	char chip[AT_VERSION_MAX]; /* "ESP32"; may be empty */
	int major, minor, patch;
};

/* "AT version:3.5.0.0-dev(s-33af283 - ESP32 - Mar 13 2025 10:44:34)" */
bool at_reply_version(const char *text, size_t len, struct at_version *ret);
/* "Bin version:v4.1.0.0-dev(WROOM-32)" */
bool at_reply_bin_version(const char *text, size_t len, char *version, size_t size);
/* `+CMD:5,"AT+CMD",0,1,0,0` */
bool at_reply_cmd(const char *text, size_t len, char name[AT_NAME_MAX]);
/* `+CIPSTAMAC:"24:0a:c4:12:34:56"` */
bool at_reply_mac(const char *text, size_t len, char mac[AT_MAC_MAX + 1]);
/* `+CWSTATE:2,"ssid"`: 0 nothing tried, 1 connected without address, 2 connected, 3 connecting,
 * 4 disconnected */
bool at_reply_cwstate(const char *text, size_t len, int *state, char ssid[AT_SSID_MAX + 1]);
/* `+CWJAP:"ssid","10:01:00:c4:0a:51",5,-24,0,1,3,0,1`: the access point's address */
bool at_reply_bssid(const char *text, size_t len, char bssid[AT_MAC_MAX + 1]);
/* An access point, of a scan or the one that is joined; "", 0 or -1 for what was not told. */
struct at_ap {
	int security; /* <ecn>; -1: not told */
	char ssid[AT_SSID_MAX + 1];
	char bssid[AT_MAC_MAX + 1];
	long channel;
	long rssi;
};
/* `+CWJAP:"ssid","10:01:00:c4:0a:51",5,-24,0,1,3,0,1` */
bool at_reply_cwjap(const char *text, size_t len, struct at_ap *ap);
/* `+CWLAP:(3,"ssid",-27,"10:01:00:c4:0a:51",5,-1,-1,4,4,3,0)` */
bool at_reply_cwlap(const char *text, size_t len, struct at_ap *ap);
/* `+CWJEAP:Timeout` */
bool at_reply_cwjeap_timeout(const char *text, size_t len);
/* `+CWHOSTNAME:espressif` */
bool at_reply_hostname(const char *text, size_t len, char name[AT_HOSTNAME_MAX + 1]);
/* `+CIPSTA:<what>:"10.0.2.15"`, with "ip", "gateway" or "netmask" */
bool at_reply_cipsta(const char *text, size_t len, const char *what, char address[AT_IPV4_MAX + 1]);
/* `+CIPDNS:1,"10.0.2.2"`: whether the servers were set by hand */
bool at_reply_cipdns(const char *text, size_t len, bool *manual);
/* `+SYSMFG:"ns","key",8`: an entry of a listing */
bool at_reply_mfg_entry(const char *text, size_t len, char key[AT_NVS_NAME_MAX + 1], int *type);
/* `+CIPSTATE:0,"SSL","192.0.2.7",8883,53550,0`: a link that is open */
bool at_reply_cipstate(const char *text, size_t len, long *link);
/* `+CIPSSLCCONF:0,2,0,5`: a link, its mode, and the numbers of its client certificate and its authority */
struct at_sslconf {
	long link, auth, pki, ca;
};
bool at_reply_sslconf(const char *text, size_t len, struct at_sslconf *ret);
/* `<prefix><number>`, as "+CWMODE:2", "+CWJAP:3" or "+SYSTIMESTAMP:1700000000" */
bool at_reply_number(const char *text, size_t len, const char *prefix, long *ret);
/* `+CIPDOMAIN:"192.0.2.7"`: an address of either family */
bool at_reply_domain(const char *text, size_t len, char *address, size_t size);
/* `<prefix>0x<hex>`, as "+ERRNO:0x2700" */
bool at_reply_hex(const char *text, size_t len, const char *prefix, long *ret);
/* `+SYSRAM:<free>,<least so far>`: the first */
bool at_reply_free_heap(const char *text, size_t len, long *ret);
