/* SPDX-License-Identifier: MIT */
/* What single values of the configuration must look like. */
#include "config/syntax.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "util/mac.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define HEX_DIGITS DIGITS "ABCDEFabcdef"

#define DNS_LABEL_MAX 63

const char *syntax_name(const char *value)
{
	size_t len = strlen(value);

	/* Not of `.` or `-` at the start: no hidden file, no option, no `..`. */
	if (len == 0 || len > CONFIG_NAME_MAX || strspn(value, LETTERS DIGITS "_.-") != len ||
	    value[0] == '.' || value[0] == '-')
		return "1 to 48 characters of A-Z a-z 0-9 _ . -, the first no . or -";
	return NULL;
}

static bool syntax_is_address(const char *value)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1;
}

const char *syntax_host(const char *value)
{
	static const char expected[] = "a host name or an IP address";
	size_t len = strlen(value), label;
	const char *p = value;

	if (syntax_is_address(value))
		return NULL;
	if (len > CONFIG_HOST_MAX)
		return "a host name of at most 230 bytes, as AT commands take no longer one";
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c >= 0x80)
			return "a host name in ASCII (an international one in its xn-- form)";
	if (strspn(value, LETTERS DIGITS "_.-") != len)
		return expected;
	if (len > 0 && value[len - 1] == '.')
		return "a host name without a dot at its end";
	for (;; p += label + 1) {
		label = strcspn(p, ".");
		if (label == 0 || label > DNS_LABEL_MAX || p[0] == '-' || p[label - 1] == '-')
			return expected;
		if (p[label] == '\0')
			break;
	}
	/* No top-level domain is a number: this is an address with a mistake in it. */
	if (strspn(p, DIGITS) == label)
		return expected;
	return NULL;
}

const char *syntax_server_name(const char *value)
{
	if (strlen(value) > CONFIG_SERVER_NAME_MAX)
		return "a name of at most 64 bytes, as the chip takes no longer one";
	return syntax_host(value);
}

static bool syntax_is_usb(const char *p)
{
	for (int i = 0; i < 2; i++) {
		if (strspn(p, HEX_DIGITS) != 4)
			return false;
		p += 4;
		if (i == 0 && *p++ != ':')
			return false;
	}
	if (*p == '\0')
		return true;
	return p[0] == ':' && p[1] != '\0';
}

/* No names: to look one up takes an answer of the network, for which all chips would wait. */
static bool syntax_is_tcp_host(const char *p, size_t len)
{
	char host[INET6_ADDRSTRLEN];
	bool in_brackets = len >= 2 && p[0] == '[' && p[len - 1] == ']';

	if (in_brackets) {
		p++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return false;
	memcpy(host, p, len);
	host[len] = '\0';
	if (!in_brackets && strcmp(host, "localhost") == 0)
		return true;
	return syntax_is_address(host) && in_brackets == !!strchr(host, ':');
}

static bool syntax_is_tcp(const char *p)
{
	const char *colon = strrchr(p, ':');
	char *end;
	long port;

	if (!colon || strspn(colon + 1, DIGITS) != strlen(colon + 1) || strlen(colon + 1) > 5)
		return false;
	port = strtol(colon + 1, &end, 10);
	if (end == colon + 1 || port < 1 || port > 65535)
		return false;
	return syntax_is_tcp_host(p, (size_t)(colon - p));
}

const char *syntax_port(const char *value)
{
	static const char expected[] =
		"/dev/..., usb:VID:PID[:SERIAL], unix:/PATH or tcp:ADDRESS:PORT";

	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return expected;
	if (strlen(value) >= PATH_MAX)
		return expected;
	if (strncmp(value, "usb:", 4) == 0)
		return syntax_is_usb(value + 4) ? NULL
						: "usb:VID:PID[:SERIAL] with 4 hexadecimal digits "
						  "each, as in usb:10c4:ea60";
	if (strncmp(value, "tcp:", 4) == 0)
		return syntax_is_tcp(value + 4) ? NULL
						: "tcp:ADDRESS:PORT, as in tcp:127.0.0.1:3333 or "
						  "tcp:[::1]:3333";
	if (strncmp(value, "unix:", 5) == 0) {
		/* sun_path with its NUL */
		if (value[5] != '/' || strlen(value + 5) > 107)
			return "unix: and an absolute path of at most 107 bytes";
		return NULL;
	}
	if (value[0] != '/' || value[1] == '\0')
		return expected;
	return NULL;
}

const char *syntax_ssid(const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > 32)
		return "1 to 32 bytes without control characters";
	/* The chip tells the name of its network as it is: nobody could be in step with such lines. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return "1 to 32 bytes without control characters";
	return NULL;
}

const char *syntax_path(const char *value)
{
	if (value[0] == '\0')
		return "a path";
	if (strlen(value) >= PATH_MAX)
		return "a path of less than 4096 bytes";
	return NULL;
}

const char *syntax_mac(const char *value)
{
	if (!mac_is_valid(value))
		return "a MAC address, as 24:0a:c4:12:34:56";
	/* The lowest bit of the first byte marks an address of many. */
	if (strtoul(value, NULL, 16) & 1)
		return "the MAC address of one station, and not of a group";
	return NULL;
}

const char *syntax_ipv4(const char *value)
{
	struct in_addr address;

	return inet_pton(AF_INET, value, &address) == 1 ? NULL : "an IPv4 address, as 192.0.2.7";
}

const char *syntax_country(const char *value)
{
	if (strlen(value) != 2 || strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 2)
		return "a country code of two capital letters, as DE";
	return NULL;
}

const char *syntax_hostname(const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > CONFIG_HOSTNAME_MAX || strspn(value, LETTERS DIGITS "-") != len ||
	    value[0] == '-' || value[len - 1] == '-')
		return "1 to 32 characters of A-Z a-z 0-9 -, the first and the last no -";
	return NULL;
}

const char *syntax_namespace(const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > CONFIG_NVS_NAME_MAX || strspn(value, LETTERS DIGITS "_-") != len)
		return "the name of an NVS namespace: 1 to 15 characters of A-Z a-z 0-9 _ -";
	/* Pins, rates and radio calibration: a wrong value there makes the chip unreachable. */
	if (strcmp(value, "factory_param") == 0 || strcmp(value, "ble_data") == 0)
		return "a namespace of certificates, never factory_param or ble_data";
	if (strcmp(value, CONFIG_NVS_OWN) == 0)
		return "another namespace than " CONFIG_NVS_OWN
		       ", in which espatd keeps its record";
	return NULL;
}

/* What a command can carry in quotes, 1 to @max bytes. */
static bool syntax_is_text(const char *value, size_t max)
{
	size_t len = strlen(value);

	return len > 0 && len <= max && strcspn(value, "\r\n") == len;
}

const char *syntax_alpn(const char *value)
{
	return syntax_is_text(value, 64) ? NULL : "1 to 64 bytes without line ends, as mqtt";
}

const char *syntax_psk_identity(const char *value)
{
	return syntax_is_text(value, CONFIG_PSK_MAX) ? NULL : "1 to 32 bytes without line ends";
}

const char *syntax_eap_identity(const char *value)
{
	return syntax_is_text(value, CONFIG_EAP_IDENTITY_MAX) ? NULL
							      : "1 to 32 bytes without line ends";
}
