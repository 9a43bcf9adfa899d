/* SPDX-License-Identifier: MIT */
/* The script of misbehaviour: what triggers a fault, and what it does to the wire and to the chip. Pure. */
#pragma once

#include "core.h"

struct faults;

/* What the script cannot do by itself. */
struct fault_ops {
	void (*unplug)(void *ud, unsigned back_after_ms); /* 0: stays out */
	void (*plug)(void *ud);
	void (*link_reset)(void *ud, int link);
	/* May be NULL. An action is done; "over": what it does to the wire has been done. */
	void (*told)(void *ud, const char *what);
};

struct faults *faults_new(struct sim_core **core, const struct fault_ops *ops, void *ud,
			  uint64_t now);
struct faults *faults_free(struct faults *f);
/* One line of a script, or a bare action (done at once). 0, or -EINVAL with *why. */
int faults_line(struct faults *f, uint64_t now, const char *line, const char **why);
void faults_command(struct faults *f, uint64_t now, const char *line, size_t len);
/* The wire: counts, triggers and damages. out needs room for 2 * len; returns its length. */
size_t faults_wire(struct faults *f, uint64_t now, bool to_chip, const uint8_t *in, size_t len,
		   uint8_t *out);
/* How many bytes the next chunk may have; n when nothing splits it. */
size_t faults_split(struct faults *f, size_t n);
uint64_t faults_next(const struct faults *f);
void faults_tick(struct faults *f, uint64_t now);
/* Bytes so far. */
void faults_counts(const struct faults *f, uint64_t *in, uint64_t *out);
