/* SPDX-License-Identifier: MIT */
/* What all files that use OpenSSL need of it. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <time.h>

/*
 * OpenSSL's decoders leave copies of keys in memory that they free, so all that it frees is wiped.
 * It takes this only before its first allocation, so each way into it begins with this; a second call
 * is refused, which is no matter.
 */
void openssl_wipe_memory(void);
/*
 * How often OpenSSL got no memory so far. It takes that for an answer: what it says between two numbers
 * that differ, of a certificate's being damaged or a key's not fitting, is not to be believed.
 */
unsigned int openssl_shortages(void);
/* false: @time is malformed */
bool openssl_time_of(time_t *ret, const ASN1_TIME *time);
/* The certificate of a DER block, with OpenSSL's trust settings behind it or without; NULL: damaged. */
X509 *openssl_cert_of(const unsigned char *der, size_t len, bool trusted);
