/* SPDX-License-Identifier: MIT */
/* Firmware profiles: what the releases answer differently. */
#pragma once

#include <stdbool.h>

/* Bits of struct cmd.profiles. */
enum {
	P32 = 1,
	P34 = 2,
	P41 = 4,
	P42 = 8,
	P50 = 16,
	PALL = P32 | P34 | P41 | P42 | P50,
	PEAP = 32, /* any, if it was built so */
};

struct profile {
	const char *name;
	unsigned bit;
	const char *gmr; /* four lines */
	const char *chip;
	bool auto_name;     /* sends and checks the host name by itself (capture 90) */
	bool start_timeout; /* CIPSTART ...,<timeout ms>, CIPDOMAIN ...,<timeout ms> */
	bool recvlen_minus; /* CIPRECVLEN? says -1 for a closed link */
	bool authmode;      /* CWJAP's fourth parameter is one, not <pci_en> */
	bool has_5ghz;
	bool ent_names;         /* wpa_ent_ca, not wpa2_ca; CWJEAP has more parameters */
	bool err_no;            /* +ERRNO after a failed CIPSTART, with SYSLOG=1 */
	const char *partitions; /* of SYSFLASH? */
	unsigned heap;
};

const struct profile *profile_find(const char *name);
extern const struct profile sim_profiles[];
extern const int sim_n_profiles;
