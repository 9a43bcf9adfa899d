/* SPDX-License-Identifier: MIT */
/* The cipher suites that ESP-AT has (capture 40), by their names at IANA. */
#pragma once

/* The number of @name, as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; 0: there is none. */
unsigned int cipher_number(const char *name);
