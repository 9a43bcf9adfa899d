/* SPDX-License-Identifier: MIT */
/* What people want to know of a certificate. Pure. */
#pragma once

#include <stddef.h>
#include <time.h>

/* Names longer than that are cut, at a character's end. */
#define CERT_NAME_MAX 255

struct cert_info {
	char subject[CERT_NAME_MAX + 1]; /* RFC 2253 form, UTF-8, no control characters; "": none */
	char issuer[CERT_NAME_MAX + 1];
	time_t not_before, not_after; /* 0: none */
};

/* Of the first certificate in @len bytes of PEM; all empty if there is none. Returns 0 or -EINVAL. */
int cert_info_of(struct cert_info *ret, const void *pem, size_t len);
