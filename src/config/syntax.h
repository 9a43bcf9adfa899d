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
