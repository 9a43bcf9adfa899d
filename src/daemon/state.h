/* SPDX-License-Identifier: MIT */
/* The state folder, which has one writer at a time. */
#pragma once

#include <stdbool.h>

/*
 * Makes @dir if it is missing, and locks it; closing *ret_fd unlocks it. Returns 0, -EWOULDBLOCK
 * (somebody has it, and @wait is false), or another -errno.
 */
int state_lock(const char *dir, bool wait, int *ret_fd);
