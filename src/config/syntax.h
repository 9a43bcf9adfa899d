/* SPDX-License-Identifier: MIT */
/* What single values must look like. Each returns NULL if @value is good, else what is expected. */
#pragma once

/* A name of ours: fit for a file name and for AT and D-Bus. */
const char *syntax_name(const char *value);
/* A DNS name or an IP address. */
const char *syntax_host(const char *value);
/* As syntax_host(), and short enough for SNI and CN. */
const char *syntax_server_name(const char *value);
/* A serial port. */
const char *syntax_port(const char *value);
const char *syntax_ssid(const char *value);
const char *syntax_path(const char *value);
/* "24:0a:c4:12:34:56", of a station and not of a group. */
const char *syntax_mac(const char *value);
const char *syntax_ipv4(const char *value);
/* Two capital letters. */
const char *syntax_country(const char *value);
/* A station's name: one DNS label, short enough for the chip. */
const char *syntax_hostname(const char *value);
/* An NVS namespace that may be written to. */
const char *syntax_namespace(const char *value);
const char *syntax_alpn(const char *value);
const char *syntax_psk_identity(const char *value);
const char *syntax_eap_identity(const char *value);
