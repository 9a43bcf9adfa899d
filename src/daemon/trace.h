/* SPDX-License-Identifier: MIT */
/*
 * Records what goes over the line of one or more chips. One line per event:
 *
 *     <seconds since the start> H>D "<bytes>"     to the chip
 *     <seconds since the start> D>H "<bytes>"     from the chip
 *     <seconds since the start> # <comment>
 *
 * Bytes are C escapes: \r \n \t \" \\ \xHH, all else is printable ASCII; `<` and `{` are always \xHH.
 * What is not shown stands between the quotes as `<secret>` (a password or key of a command) or
 * `<N bytes>` (data of clients, values of the chip's NVS, and what could be a piece of such). That is
 * the format of recordings that a simulator replays. The chip's side may be cut anywhere: a line
 * is one message if it is whole when the next event comes.
 *
 * A comment `device NAME` comes first, and wherever the lines from there on are of another chip than
 * those before: one file can hold several, each of which is a recording of its own when the others'
 * lines are taken out. The first comment says when it was begun, the last one why it has ended.
 *
 * Never blocks: a reader that is too slow loses lines, and a comment says how many.
 */
#pragma once

#include <stdint.h>

#include "chan/chan.h"
#include "util/timers.h"

#define TRACE_BYTES_DEFAULT (16ull << 20)
/* The least in which a beginning and an end have place, and what nobody reads any more. */
#define TRACE_BYTES_MIN 4096
#define TRACE_BYTES_MAX (1ull << 30)
#define TRACE_SECONDS_DEFAULT 600
#define TRACE_SECONDS_MAX 86400
/* As long as it runs. */
#define TRACE_SECONDS_ENDLESS UINT32_MAX

struct trace;

/*
 * Records into @fd, which it takes, also on error: a regular file, a pipe, a socket or a terminal, open
 * for writing. All but a file and a socket are made non-blocking until the end. @title: of the first
 * comment, one line. Limits of 0 are the defaults.
 *
 * @ended is called when it ends by itself, once, from a timer; from then on nothing is recorded, and
 * trace_free() is all that is left to do, also within. @why lives as long as the trace.
 *
 * Returns 0, -EINVAL (an fd or limits of another kind), or another -errno.
 */
int trace_new(struct trace **ret, struct timers *timers, int fd, const char *title,
	      uint64_t max_bytes, uint32_t max_seconds,
	      void (*ended)(void *userdata, const char *why), void *userdata);
/* Ends it if it runs, with the last comment "end: @why". NULL is allowed; returns NULL. */
struct trace *trace_free(struct trace *trace, const char *why);

/* @device: its name; is copied where it is needed. */
void trace_piece(struct trace *trace, const char *device, const struct chan_piece *piece);
/* A comment among the device's lines, as "the port is gone". */
void trace_note(struct trace *trace, const char *device, const char *text);

/* Makes a new file for a trace, for its owner only. Returns the fd, or -errno (-EEXIST: it is there). */
int trace_open_file(const char *path);
