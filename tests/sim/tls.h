/* SPDX-License-Identifier: MIT */
/* The chip's TLS: version 1.2 only, non-blocking on a connected socket, verified as the firmware does it. */
#pragma once

#include "core.h"

struct tls;

/* -EBADMSG for material that is not what it should be. */
int tls_client_new(struct tls **ret, int fd, const struct sim_tls *t, bool verbose, int link);
int tls_server_new(struct tls **ret, int fd, const struct sim_tls *t, bool verbose);
struct tls *tls_free(struct tls *t);
/* 0: done; -EAGAIN: call again when readable, or writable if *wants_write; -EPROTO, or that it is not
 * verified: -EKEYEXPIRED, -EKEYREVOKED (not yet valid), -ENOTUNIQ (another name), -EKEYREJECTED. */
int tls_handshake(struct tls *t, bool *wants_write);
/* Bytes, -EAGAIN, -EPIPE for the peer's close, -ECONNRESET. A read returns data of one record at most. */
ssize_t tls_read(struct tls *t, void *data, size_t len);
ssize_t tls_write(struct tls *t, const void *data, size_t len);
void tls_shutdown(struct tls *t);
/* Enterprise Wi-Fi: whether a server that trusts server_ca (data NULL: anybody) and the chip accept each other. */
int tls_eap(const struct sim_blob *server_ca, const struct sim_eap *e, bool verbose);
bool tls_has_cert(const struct sim_blob *pem);
void tls_describe(struct tls *t, int link);
