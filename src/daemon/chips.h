/* SPDX-License-Identifier: MIT */
/*
 * Which chip belongs to a device: its MAC address, in one line of <state_dir>/chips/NAME. People
 * may write or remove these files too.
 */
#pragma once

#define CHIPS_MAC_SIZE 18 /* "24:0a:c4:12:34:56" and its NUL */

/*
 * The MAC address that is remembered for the device; "" if none is. Returns 0, -EBADMSG if the file
 * holds something else, -EINVAL if @device is no name of the configuration, or another -errno.
 */
int chips_recall(const char *state_dir, const char *device, char mac[CHIPS_MAC_SIZE]);
/*
 * Remembers @mac instead of what was; nothing is written if that is the same. Returns 0, -EINVAL
 * (@device or @mac is malformed), or another -errno.
 */
int chips_remember(const char *state_dir, const char *device, const char *mac);
/* Returns 0, also if none was remembered, or as chips_recall(). */
int chips_forget(const char *state_dir, const char *device);
/* NULL if @mac is "xx:xx:xx:xx:xx:xx", else what is expected; lower-cases it in place. */
const char *chips_check_mac(char *mac);
