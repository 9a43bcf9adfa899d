/* SPDX-License-Identifier: MIT */
/* The network behind the chip's antenna: real sockets, DNS, SNTP and TLS 1.2, one epoll loop. */
#pragma once

#include "core.h"

#include <stdio.h>

struct net;

struct net_options {
	const char *hosts; /* file, or NULL */
	bool allow_network;
	bool verbose;
	unsigned tls_rate; /* bytes a second of TLS each way; 0: as fast as it goes */
};

/* A descriptor in the loop; cb gets the epoll events. */
struct watch {
	int fd; /* -1: none */
	uint32_t events;
	bool in;
	void (*cb)(void *ud, uint32_t events);
	void *ud;
};

uint64_t now_us(void);
void watch_set(int epfd, struct watch *w, uint32_t events);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* On a wrong hosts file says so on stderr and returns -EINVAL. */
int net_new(struct net **ret, int epfd, const struct net_options *opt);
struct net *net_free(struct net *n);
void net_attach(struct net *n, struct sim_core *core);
extern const struct sim_core_ops net_ops; /* ud of all but flash and uart is the net */
uint64_t net_next(const struct net *n);
void net_run(struct net *n, uint64_t now);
/* Faults: the peer resets, or the link stops. */
void net_reset_link(struct net *n, int link);
