/* SPDX-License-Identifier: MIT */
/* Complaints about certificate files: "file:line of the config: NAME: what, expected what". */
#pragma once

#include "cert/check.h"
#include "util/problems.h"

/* Returns 0 or -ENOMEM. */
__attribute__((format(printf, 4, 5))) int cert_complain(const struct cert_source *source,
							struct problems *problems,
							enum problem_severity severity,
							const char *format, ...);
