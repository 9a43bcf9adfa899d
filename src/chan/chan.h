/* SPDX-License-Identifier: MIT */
/*
 * The command channel of one chip: a queue of AT commands, strictly one in flight, and what the chip
 * says in return, sorted into that command's answer and reports. Touches no fd and no clock: bytes
 * come in by chan_feed(), go out by ops->write(), and time is that of its timers.
 *
 * Invariants:
 * - a payload is written only after the chip's prompt, whole, by one call of write(); that of a stream by and
 *   by, as the chip takes it: were it reset in the middle, it would read what still comes as commands;
 * - `done` runs exactly once for each submitted command, never inside chan_submit();
 * - a command that takes long is asked about, where no byte of the question can become one of a block: it still
 *   runs, or its answer was lost;
 * - a final result, a prompt or a block that nobody asked for, a line that is neither a message nor an answer
 *   while links are open, and a command without an answer mean that chip and host no longer agree:
 *   ops->trouble() is told once, and nothing is sent and nothing is believed any more until chan_reset().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "at/encode.h"
#include "at/lexer.h"
#include "at/report.h"
#include "util/list.h"
#include "util/timers.h"

/* How a command ended. */
enum chan_result {
	CHAN_OK,
	CHAN_E_ERROR,   /* the chip said ERROR, nothing was done */
	CHAN_E_DOUBT,   /* a payload was sent and it is not sure what became of it */
	CHAN_E_TIMEOUT, /* no answer; trouble() follows */
	CHAN_E_RESET,   /* chan_reset(): the chip was reset, lost or given up */
};

enum chan_kind {
	CHAN_PLAIN, /* line -> OK */
	CHAN_BLOCK, /* line -> OK, prompt, payload -> OK (SYSMFG; capture 11) */
	CHAN_SEND,  /* line -> OK, prompt, payload -> Recv n bytes, SEND OK (CIPSEND; capture 31) */
	CHAN_STREAM, /* line -> OK, prompt, payload -> lines of progress, SEND OK (CIPSENDL; capture 62) */
};

enum chan_lane {
	CHAN_CONTROL, /* goes first */
	CHAN_DATA,
};

enum chan_phase {
	CHAN_PHASE_IDLE,
	CHAN_PHASE_QUEUED,
	CHAN_PHASE_HEAD,    /* the line was written */
	CHAN_PHASE_BUSY,    /* "busy p...": waiting to write the line again */
	CHAN_PHASE_PROMPT,  /* OK was read, the prompt is due */
	CHAN_PHASE_PAYLOAD, /* the payload was written */
	CHAN_PHASE_VERDICT, /* "Recv n bytes" was read, SEND OK is due */
};

/* Whether the command in flight still runs: see CHAN_ASK in chan.c. */
enum chan_question {
	CHAN_QUESTION_NONE,
	CHAN_QUESTION_ASKED,
	CHAN_QUESTION_TOLD, /* the line of its answer was read, OK is due */
};

/*
 * One of those that share the data lane: who has used the line least goes first (start-time fair
 * queueing). What counts is time, of all that a command takes: its line, prompt, payload and answer. Who
 * was away saves next to nothing up for later, but is the first one when he comes back.
 */
struct chan_share {
	uint64_t used; /* µs, as the channel counts them */
};

/* Embedded in its owner, who keeps it and the payload until done(). Zero it, then fill it in. */
struct chan_cmd {
	struct at_line line;
	enum chan_kind kind;
	/*
	 * Neither line nor answer is shown in logs and traces; of the line only what line.secret_len
	 * says, which alone is enough.
	 */
	bool secret;
	bool secret_reply; /* the answer is not */
	bool names;        /* the answer lists networks: see struct at_lexer */
	const void *payload;
	size_t payload_len;
	/* µs for the final answer; what the line itself takes comes on top, and what is still to be heard */
	uint64_t timeout;
	struct chan_share *share; /* weak; in the data lane: whose command it is */
	/* Both may be NULL. Reply lines other than final results and known reports; a blob's bytes. */
	void (*on_line)(struct chan_cmd *cmd, const char *text, size_t len);
	void (*on_data)(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
			size_t len);
	void (*done)(struct chan_cmd *cmd, enum chan_result result);
	/*
	 * May be NULL. It is its turn: line and payload may be made anew, as the moment has it, and nothing
	 * else may be done.
	 */
	void (*turn)(struct chan_cmd *cmd);
	/* the channel's own */
	struct list node;
	enum chan_phase phase;
	uint64_t began; /* when its line was written first, µs */
	size_t written; /* of the payload */
	size_t taken;   /* of that, by what the chip has said */
	bool doubt;
	bool lines;  /* a reply line or block was read */
	bool strays; /* a line was read that is no final result and no report */
	unsigned int busy;
};

/*
 * A piece of what goes over the line, for traces. Secrets, and what clients send and get, never come
 * into one; every other byte does, in order, and also the number of those that do not (but for the
 * secret of a line).
 */
struct chan_piece {
	bool sent;        /* to the chip; else by it */
	bool end;         /* of a line, a prompt, a block or a payload */
	bool secret;      /* a secret of a line: neither its bytes nor how many they are */
	const void *data; /* valid during the call; NULL: they are not shown */
	size_t len;
};

struct chan_ops {
	/* Queues bytes for the chip. A failure is reported by its owner by another way. */
	void (*write)(void *userdata, const void *data, size_t len);
	/* A report that came by itself, or among a reply. May call chan_reset(). */
	void (*report)(void *userdata, const struct at_report *report);
	/*
	 * Active receive: bytes of an +IPD block as they come (@data NULL: the block is complete and
	 * its frame was right; only then may they be believed).
	 */
	void (*ipd)(void *userdata, int link, const uint8_t *data, size_t len);
	/* See above; @what in words. Should end in chan_reset(), now or later. */
	void (*trouble)(void *userdata, const char *what);
	/* While chan_set_trace() says so. May be NULL; must not call the channel. */
	void (*trace)(void *userdata, const struct chan_piece *piece);
};

/* What the chip has said, whoever it was for. */
enum chan_said {
	CHAN_SAID_BUSY = 1, /* or has ended what nobody awaits */
	CHAN_SAID_CANCELED = 2,
	CHAN_SAID_MESSAGE = 4, /* of any kind, or a block of a link's */
	CHAN_SAID_NOISE = 8,   /* what is no message */
};

struct chan {
	const char *name; /* weak; for the log */
	const struct chan_ops *ops;
	void *userdata;
	struct at_lexer lexer;
	struct list lanes[2];
	struct chan_cmd *current; /* weak */
	struct timer timer;
	struct timer block_timer; /* from a look at a block that is not whole to the next one */
	/* when, in µs: the answer is due; bytes came last; it is asked about; the answer to that is due */
	uint64_t deadline, heard, ask_at, told_by;
	uint64_t heard_bytes; /* so many since the answer is waited for */
	enum chan_question question;
	unsigned int unanswered; /* questions, to which nothing was said yet */
	bool one_told;           /* something was said to one of them */
	bool asked, answered;    /* it was asked about; its own answer came first */
	enum chan_result result; /* of that */
	uint64_t used;           /* of the share that was served last */
	uint64_t prompt_took;    /* from the last command that sends something to its prompt, µs */
	int ended;          /* link of an +IPD block whose end is not yet confirmed; -1: none */
	uint64_t byte_time; /* ns that a byte takes on the line */
	unsigned int epoch; /* of chan_reset() */
	bool deaf;          /* after trouble, until chan_reset() */
	bool syncing;       /* see chan_set_syncing() */
	bool echo_off;      /* as was said last, by ATE */
	unsigned int said;  /* CHAN_SAID_*; for who asks to clear */
	bool tracing;       /* see chan_set_trace() */
	/*
	 * What the chip says beside its messages may be a secret, or a client's: something of the kind
	 * was asked for, or is not known to be over. And links that were open when last heard of.
	 */
	bool hush;
	unsigned int links;
	/*
	 * A CIPSEND was given up that may still wait for bytes; and a block for the NVS, of which so many
	 * bytes may be missing. Who reads them clears them.
	 */
	bool send_open;
	size_t block_open;
	uint64_t gone_by;  /* when the last byte that was written has gone over the line, µs */
	uint64_t commands; /* lines written */
};

/* @name and @ops must outlive it. Returns 0 or -ENOMEM. */
int chan_init(struct chan *chan, const char *name, struct timers *timers,
	      const struct chan_ops *ops, void *userdata);
/* Ends what is queued with CHAN_E_RESET. */
void chan_deinit(struct chan *chan);
/* The line's rate in bits per second, for time-outs. */
void chan_set_baud(struct chan *chan, unsigned int baud);
/* A plain command without secrets, and nobody to read its answer; the rest is for the caller to set. */
void chan_cmd_begin(struct chan_cmd *cmd, const char *name);
/* @cmd->line has been ended without error. */
void chan_submit(struct chan *chan, enum chan_lane lane, struct chan_cmd *cmd);
/* Whether it stands in its lane still. */
static inline bool chan_cmd_waits(const struct chan_cmd *cmd)
{
	return cmd->phase == CHAN_PHASE_QUEUED;
}
/* Whether somebody waits for the end of the command that is in flight; @except: but for this one. */
bool chan_is_wanted(const struct chan *chan, enum chan_lane lane, const struct chan_cmd *except);
/* Bytes from the chip. */
void chan_feed(struct chan *chan, const uint8_t *data, size_t len);
/*
 * Ends the command in flight and all that wait with CHAN_E_RESET, and forgets what was half read.
 * From then on commands are sent again.
 */
void chan_reset(struct chan *chan);
/*
 * While the chip is being looked for, what it says may be anything: then no line, block or silence is
 * trouble, and an unanswered command just ends with CHAN_E_TIMEOUT.
 */
void chan_set_syncing(struct chan *chan, bool syncing);
/* It was found, and all that it said before is history. */
void chan_found(struct chan *chan);
/* Bytes that are no command, while none is in flight: `+++`, or what completes an old block. */
void chan_write(struct chan *chan, const void *data, size_t len);
/*
 * Something is wrong, perhaps: the command in flight is asked about, if it can be, and a chip that does not
 * answer within @timeout is lost.
 */
void chan_ask_now(struct chan *chan, uint64_t timeout);
/* How long what was written may still be on the line, µs. */
uint64_t chan_on_its_way(const struct chan *chan);
/* Bytes from the chip that another looks at; traces count them. */
void chan_skip(struct chan *chan, size_t len);
/* Whether ops->trace() is called. */
void chan_set_trace(struct chan *chan, bool on);

const char *chan_result_text(enum chan_result result);
