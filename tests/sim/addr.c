/* SPDX-License-Identifier: MIT */
/* Addresses as texts. */
#include "core-priv.h"

#include <arpa/inet.h>
#include <stdio.h>

bool is_ip4(const char *text)
{
	struct in_addr a;

	return inet_pton(AF_INET, text, &a) == 1;
}

bool is_ip6(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, text, &a) == 1;
}

bool is_link_local(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, text, &a) == 1 && IN6_IS_ADDR_LINKLOCAL(&a);
}

/* lwIP: capitals, and "::" for the first run of two or more zero groups, not for the longest. */
static void ip6_text(char *to, size_t size, const struct in6_addr *a)
{
	char text[INET6_ADDRSTRLEN] = "";
	size_t at = 0;
	int run = -1;

	if (IN6_IS_ADDR_V4MAPPED(a)) {
		snprintf(to, size, "::FFFF:%u.%u.%u.%u", a->s6_addr[12], a->s6_addr[13],
			 a->s6_addr[14], a->s6_addr[15]);
		return;
	}
	for (int i = 0; i < 8; i++) {
		unsigned group = a->s6_addr[2 * i] << 8 | a->s6_addr[2 * i + 1];
		bool next_zero = i < 7 && !a->s6_addr[2 * i + 2] && !a->s6_addr[2 * i + 3];

		if (!group && run < 0 && next_zero) {
			run = i;
			while (i < 7 && !a->s6_addr[2 * i + 2] && !a->s6_addr[2 * i + 3])
				i++;
			at += sprintf(text + at, i == 7 ? "::" : ":");
			continue;
		}
		at += sprintf(text + at, "%s%X", i ? ":" : "", group);
	}
	snprintf(to, size, "%s", text);
}

void addr_text(char *to, size_t size, const char *from)
{
	struct in6_addr a;

	if (inet_pton(AF_INET6, from, &a) == 1)
		ip6_text(to, size, &a);
	else
		snprintf(to, size, "%s", from);
}

void addr_eui64(char *to, size_t size, const char *prefix, const uint8_t mac[6])
{
	uint8_t id[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };
	struct in6_addr a = { 0 };

	inet_pton(AF_INET6, prefix, &a);
	memcpy(a.s6_addr + 8, id, 8);
	ip6_text(to, size, &a);
}
