/* SPDX-License-Identifier: MIT */
/* Lines of the log about a tunnel. */
#pragma once

#include "device/device.h"
#include "tunnel/tunnel.h"
#include "util/log.h"

/* @why: one of the words of link_end_reason(), or NULL. */
#define tunnel_log(level, t, why, ...)                                                             \
	log_object((level),                                                                        \
		   &(struct log_object){ .device = (t)->dev ? (t)->dev->settings->name : NULL,     \
					 .tunnel = (t)->config->name,                              \
					 .reason = (why) },                                        \
		   __VA_ARGS__)

#define tunnel_log_error(t, ...) tunnel_log(LOG_LEVEL_ERROR, t, NULL, __VA_ARGS__)
#define tunnel_log_warning(t, ...) tunnel_log(LOG_LEVEL_WARNING, t, NULL, __VA_ARGS__)
#define tunnel_log_notice(t, ...) tunnel_log(LOG_LEVEL_NOTICE, t, NULL, __VA_ARGS__)
#define tunnel_log_info(t, ...) tunnel_log(LOG_LEVEL_INFO, t, NULL, __VA_ARGS__)
#define tunnel_log_debug(t, ...)                                                                   \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			tunnel_log(LOG_LEVEL_DEBUG, t, NULL, __VA_ARGS__);                         \
	} while (0)
/* A connection that failed, or was cut off, for a reason of the fixed set. */
#define tunnel_log_failure(t, why, ...) tunnel_log(LOG_LEVEL_WARNING, t, why, __VA_ARGS__)
