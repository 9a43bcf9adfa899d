/* SPDX-License-Identifier: MIT */
/* What the files of chan/ share and nobody else needs. */
#pragma once

#include "chan/chan.h"
#include "util/log.h"

/* A line of the log about the chip; not evaluated if nobody wants it. */
#define chan_debug(chan, ...)                                                                      \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			log_object(LOG_LEVEL_DEBUG,                                                \
				   &(struct log_object){ .device = (chan)->name }, __VA_ARGS__);   \
	} while (0)

/* What of the command's line must not be shown: returns how many bytes, from *at on. */
size_t chan_cmd_secret(const struct chan_cmd *cmd, size_t *at);
/* If what the chip says while it runs may hold what must not be shown. */
bool chan_cmd_is_private(const struct chan_cmd *cmd);

/*
 * If a line that is no message may be taken for the answer of @cmd (NULL: none is in flight) while
 * links are open. The rest of a block whose head was damaged comes as lines, also among the answer to a
 * command about links, which may take as long as a handshake.
 */
bool chan_line_is_answer(const struct chan_cmd *cmd, const char *text);

/* chan-trace.c: each before the channel acts upon it, and of no effect while nobody traces. */
void chan_trace_line(const struct chan *chan, const struct chan_cmd *cmd);
void chan_trace_payload(const struct chan *chan, size_t len);
void chan_trace_written(const struct chan *chan, const void *data, size_t len);
/* @data is what comes next; of no effect if the lexer does not skip it. */
void chan_trace_skipped(const struct chan *chan, const uint8_t *data, size_t len);
void chan_trace_token(const struct chan *chan, const struct at_token *token);
/* Bytes that nobody looks at. */
void chan_trace_ignored(const struct chan *chan, size_t len);
/* What the lexer holds, before it is reset. */
void chan_trace_rest(const struct chan *chan);
