/* SPDX-License-Identifier: MIT */
/* The command channel of one chip. */
#include "chan/chan.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chan/internal.h"

/*
 * "busy p..." means that the chip still works on something that we do not know of and has thrown our
 * line away (capture 02, 20). It is written again after a pause that grows from the first to the
 * second figure, for as long as the longest thing that the chip may be doing can take: a CWJAP that
 * fails takes 16 s (capture 20), a CIPSTART up to 60 s.
 */
#define CHAN_BUSY_PAUSE (100 * TIMERS_MS)
#define CHAN_BUSY_PAUSE_MAX (1 * TIMERS_S)
#define CHAN_BUSY_TRIES 75

/*
 * What may stand in front of an answer: the chip's output FIFO (8192 bytes, field of the UART driver), and as
 * much again in the buffers of an adapter and of the host. As long as there is something it comes, without a
 * pause: so long a silence means that nothing is left. (Adapters hold bytes back for 16 ms, hosts with much to
 * do for some time more.) And where less came than the line could carry, it was silent for the rest of the time.
 */
#define CHAN_FIFO_BYTES (2 * 8192)
#define CHAN_QUIET (300 * TIMERS_MS)
#define CHAN_HELD_BACK (100 * TIMERS_MS)
/*
 * Blocks come at a stretch, from the chip's output FIFO. One that does not go on for so long has lost bytes, or
 * its chip has been reset: then what it says is taken for data, and `ready`, which comes 0.5 s after a reset or
 * later (field notes 3), may fill the block up to its end. While the chip writes to its flash it may pause for
 * longer (0.8 s, protocol fact 12).
 */
#define CHAN_BLOCK_STALL (450 * TIMERS_MS)
#define CHAN_BLOCK_STALL_FLASH (1500 * TIMERS_MS)
/*
 * So far behind the others is nobody put, whatever he has used: a server that did not read for a minute is no
 * reason to hold its client up for another one.
 */
#define CHAN_SHARE_DEBT (500 * TIMERS_MS)
/*
 * And so far ahead of the others is one who was away, or uses little: as long as it stays below its share, it never
 * waits for more than the command that is in flight.
 */
#define CHAN_SHARE_CREDIT (50 * TIMERS_MS)

/*
 * Answers that need neither flash nor network: the prompt, and the receipt of a CIPSEND block, which
 * comes when its last byte has come in (captures 31, 47).
 */
#define CHAN_TIMEOUT_PROMPT (2 * TIMERS_S)

/* A length that lost a digit on its way: the chip reads what is behind that as commands, so it ends at once. */
#define CHAN_SHORT "a block that was shorter for the chip"

/*
 * A command that may take CHAN_ASK_WORTH or longer is asked about after each CHAN_ASK of silence. A chip that
 * works on it says "busy p..." to anything, and forgets the question (captures 41, 46; within 0.2 s); one that
 * has done it answers, and then the command's own answer was lost. Should both come at once, its own is the one
 * without the line that the question brings. Nothing at all for CHAN_ASK_TIMEOUT is a chip that hangs; but one
 * that joins a network has no time even for that (1.7 s in capture 20), and is left alone. The question, too,
 * may be lost, or what is said to it: it is asked again. As answers keep their order, what is to come to both
 * comes at once, or after such a pause: CHAN_ASK_REST.
 */
#define CHAN_ASK "AT+CIPMUX?"
#define CHAN_ASK_TOLD "+CIPMUX:"
#define CHAN_ASK_AFTER (2 * TIMERS_S)
#define CHAN_ASK_WORTH (5 * TIMERS_S)
#define CHAN_ASK_TIMEOUT (5 * TIMERS_S)
#define CHAN_ASK_AGAIN (2500 * TIMERS_MS)
#define CHAN_ASK_MAX 8
#define CHAN_ASK_REST (2 * TIMERS_S)
/* When the command has ended in the meantime, the chip has nothing else to do. */
#define CHAN_ASK_ENDED (1 * TIMERS_S)

/*
 * So much of a stream may be on its way to the chip, and so long at most: until the chip says how much it has
 * taken its output FIFO goes by, and what it says is some KB late by itself. A chip that is reset takes longer
 * than that to start (0.5 s and more, field notes 3), and what comes before is lost on it.
 */
#define CHAN_STREAM_WINDOW 32768
#define CHAN_STREAM_TIME (360 * TIMERS_MS)

static void chan_kick(struct chan *chan);

const char *chan_result_text(enum chan_result result)
{
	switch (result) {
	case CHAN_OK:
		return "OK";
	case CHAN_E_ERROR:
		return "ERROR";
	case CHAN_E_DOUBT:
		return "send in doubt";
	case CHAN_E_TIMEOUT:
		return "no answer";
	case CHAN_E_RESET:
		return "chip reset or lost";
	}
	return "?";
}

static size_t cmd_payload(const struct chan_cmd *cmd)
{
	return cmd->kind == CHAN_PLAIN ? 0 : cmd->payload_len;
}

static uint64_t chan_now(const struct chan *chan)
{
	return chan->timer.timers->now;
}

static bool begins(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* While it runs a question may stay without an answer. */
static bool cmd_deafens(const struct chan_cmd *cmd)
{
	return begins(cmd->line.text, "AT+CW");
}

/* The question is a command: it must not come where bytes are awaited, from which they would be a client's. */
static bool chan_may_ask(const struct chan *chan, const struct chan_cmd *cmd)
{
	/* What lists networks takes any line for a piece of a name. */
	if (chan->syncing || cmd->names || cmd->timeout < CHAN_ASK_WORTH)
		return false;
	if (cmd->kind == CHAN_PLAIN)
		return cmd->phase == CHAN_PHASE_HEAD;
	/* All of the block has come, as the chip counts it. */
	return cmd->phase == CHAN_PHASE_VERDICT && !cmd->doubt;
}

/* When it is too late for what was due at @at: not while bytes come that may stand in front of it. */
static uint64_t chan_too_late(const struct chan *chan, uint64_t at)
{
	uint64_t front = chan->heard_bytes < CHAN_FIFO_BYTES ? chan->heard_bytes : CHAN_FIFO_BYTES;
	uint64_t most = at + front * chan->byte_time / 1000 + CHAN_HELD_BACK;
	uint64_t quiet = chan->heard + CHAN_QUIET;

	if (quiet <= at)
		return at;
	return quiet < most ? quiet : most;
}

/* When the answer is due, or that to a question. */
static uint64_t chan_told_by(const struct chan *chan)
{
	if (chan->question != CHAN_QUESTION_NONE && chan->told_by < chan->deadline)
		return chan->told_by;
	return chan->deadline;
}

/* When something is to be done if nothing comes. */
static uint64_t chan_next(const struct chan *chan)
{
	uint64_t at = chan_too_late(chan, chan_told_by(chan));

	return chan->ask_at < at ? chan->ask_at : at;
}

static void chan_wait(struct chan *chan)
{
	uint64_t at = chan_next(chan), now = chan_now(chan);

	timer_arm(&chan->timer, at > now ? at - now : 0);
}

static void chan_ask_later(struct chan *chan)
{
	chan->question = CHAN_QUESTION_NONE;
	chan->ask_at = chan_may_ask(chan, chan->current) ? chan_now(chan) + CHAN_ASK_AFTER
							 : UINT64_MAX;
}

static void chan_arm(struct chan *chan, uint64_t timeout)
{
	const struct chan_cmd *cmd = chan->current;
	size_t bytes = cmd->line.len + cmd_payload(cmd);

	chan->deadline = chan_now(chan) + timeout + bytes * chan->byte_time / 1000;
	chan->heard_bytes = 0;
	chan_ask_later(chan);
	chan_wait(chan);
}

static void chan_log_command(struct chan *chan, const char *what, const struct chan_cmd *cmd)
{
	const struct at_line *line = &cmd->line;
	size_t at, secret = chan_cmd_secret(cmd, &at), end = at + secret;

	chan_debug(chan, "%s%.*s%s%.*s", what, (int)at, line->text, secret > 0 ? "<secret>" : "",
		   (int)(line->len - 2 - end), line->text + end);
}

static void chan_put(struct chan *chan, const void *data, size_t len)
{
	chan->gone_by = chan_now(chan) + chan_on_its_way(chan) + len * chan->byte_time / 1000;
	chan->ops->write(chan->userdata, data, len);
}

static void chan_write_head(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;

	chan_log_command(chan, "> ", cmd);
	chan_trace_line(chan, cmd);
	cmd->phase = CHAN_PHASE_HEAD;
	chan->lexer.names = cmd->names;
	chan->commands++;
	chan->hush = chan->hush || chan_cmd_is_private(cmd);
	chan_arm(chan, cmd->kind == CHAN_PLAIN ? cmd->timeout : CHAN_TIMEOUT_PROMPT);
	chan_put(chan, cmd->line.text, cmd->line.len);
}

/* ---- who is next ---- */

static uint64_t cmd_used(const struct chan_cmd *cmd)
{
	return cmd->share ? cmd->share->used : 0;
}

/* Of those who have used the line equally, the one that has waited longest. */
static struct list *chan_next_data(struct chan *chan)
{
	struct list *best = list_first(&chan->lanes[CHAN_DATA]);

	list_for_each(node, &chan->lanes[CHAN_DATA])
		if (cmd_used(container_of(node, struct chan_cmd, node)) <
		    cmd_used(container_of(best, struct chan_cmd, node)))
			best = node;
	return best;
}

bool chan_is_wanted(const struct chan *chan, enum chan_lane lane, const struct chan_cmd *except)
{
	list_for_each(node, &chan->lanes[lane])
		if (container_of(node, struct chan_cmd, node) != except)
			return true;
	return false;
}

static void share_join(const struct chan *chan, struct chan_share *share)
{
	if (!share)
		return;
	if (share->used + CHAN_SHARE_CREDIT < chan->used)
		share->used = chan->used - CHAN_SHARE_CREDIT;
	else if (share->used > chan->used + CHAN_SHARE_DEBT)
		share->used = chan->used + CHAN_SHARE_DEBT;
}

static void share_begin(struct chan *chan, struct chan_cmd *cmd)
{
	cmd->began = chan_now(chan);
	if (cmd->share && cmd->share->used > chan->used)
		chan->used = cmd->share->used;
}

/*
 * The chip may have answered sooner than its bytes can have gone over the line: then nothing paces it, and
 * they are what it is counted by.
 */
static void share_end(struct chan *chan, struct chan_cmd *cmd)
{
	uint64_t took = chan_now(chan) - cmd->began;
	uint64_t bytes = (cmd->line.len + cmd_payload(cmd)) * chan->byte_time / 1000;

	if (cmd->share)
		cmd->share->used += took > bytes ? took : bytes;
}

static void chan_kick(struct chan *chan)
{
	struct list *node;

	if (chan->current || chan->deaf)
		return;
	node = list_first(&chan->lanes[CHAN_CONTROL]);
	if (!node)
		node = chan_next_data(chan);
	if (!node)
		return;
	list_remove(node);
	chan->current = container_of(node, struct chan_cmd, node);
	share_begin(chan, chan->current);
	chan->asked = false;
	if (chan->current->turn)
		chan->current->turn(chan->current);
	chan_write_head(chan);
}

static void cmd_finish(struct chan_cmd *cmd, enum chan_result result)
{
	cmd->phase = CHAN_PHASE_IDLE;
	if (cmd->secret || cmd->line.secret_len > 0)
		at_line_wipe(&cmd->line);
	cmd->done(cmd, result);
}

/* The chip answers in order: nothing of before is still to come behind a plain end. */
static void chan_note_end(struct chan *chan, const struct chan_cmd *cmd, enum chan_result result)
{
	if (chan->syncing || (result != CHAN_OK && result != CHAN_E_ERROR))
		return;
	/* The head of a block may have been damaged, and that end have been in it. */
	if (cmd->on_data && cmd->strays)
		return;
	chan->hush = false;
}

static void chan_note_echo(struct chan *chan, const struct chan_cmd *cmd, enum chan_result result)
{
	if (result == CHAN_OK && begins(cmd->line.text, "ATE"))
		chan->echo_off = cmd->line.text[3] == '0';
}

static void chan_done(struct chan *chan, enum chan_result result)
{
	struct chan_cmd *cmd = chan->current;
	unsigned int epoch = chan->epoch;

	timer_cancel(&chan->timer);
	share_end(chan, cmd);
	chan->question = CHAN_QUESTION_NONE;
	chan->answered = false;
	chan->current = NULL;
	chan->lexer.names = false;
	if (cmd->secret || cmd->line.secret_len > 0)
		at_lexer_wipe(&chan->lexer);
	if (result == CHAN_OK && cmd->doubt)
		result = CHAN_E_DOUBT;
	chan_note_end(chan, cmd, result);
	chan_note_echo(chan, cmd, result);
	cmd_finish(cmd, result);
	if (epoch == chan->epoch)
		chan_kick(chan);
}

/* Its payload is for a server: `+++` may cancel it. */
static bool cmd_sends(const struct chan_cmd *cmd)
{
	return cmd->kind == CHAN_SEND || cmd->kind == CHAN_STREAM;
}

/* The command in flight is given up: whatever comes next may become bytes of its block. */
static void chan_give_up(struct chan *chan)
{
	const struct chan_cmd *cmd = chan->current;

	if (!cmd || cmd->phase >= CHAN_PHASE_VERDICT)
		return;
	if (cmd_sends(cmd))
		chan->send_open = true;
	else if (cmd->kind == CHAN_BLOCK)
		chan->block_open = cmd->payload_len;
}

static void chan_trouble(struct chan *chan, const char *what)
{
	if (chan->deaf || chan->syncing)
		return;
	chan->deaf = true;
	timer_cancel(&chan->timer);
	chan->ops->trouble(chan->userdata, what);
}

/* ---- blocks that do not go on ---- */

/* When a block that is not whole has not gone on for too long. */
static uint64_t chan_block_end(const struct chan *chan)
{
	bool writes = chan->current && chan->current->kind == CHAN_BLOCK;

	return chan->heard + (writes ? CHAN_BLOCK_STALL_FLASH : CHAN_BLOCK_STALL);
}

static void chan_watch_block(struct chan *chan)
{
	uint64_t end = chan_block_end(chan), now = chan_now(chan);

	if (!timer_armed(&chan->block_timer) && at_lexer_in_block(&chan->lexer))
		timer_arm(&chan->block_timer, end > now ? end - now : 0);
}

static void chan_on_block_timer(struct timer *timer)
{
	struct chan *chan = container_of(timer, struct chan, block_timer);

	if (chan_now(chan) < chan_block_end(chan))
		chan_watch_block(chan);
	else if (at_lexer_in_block(&chan->lexer))
		chan_trouble(chan, "a block that does not go on");
}

/* ---- whether it still runs ---- */

static void chan_ask(struct chan *chan, uint64_t timeout)
{
	static const char question[] = CHAN_ASK "\r\n";
	uint64_t again = chan_now(chan) + CHAN_ASK_AGAIN;

	chan_debug(chan, "> %s, to see whether it is still busy", CHAN_ASK);
	if (chan->question == CHAN_QUESTION_NONE) {
		chan->told_by = cmd_deafens(chan->current) ? UINT64_MAX : chan_now(chan) + timeout;
		chan->one_told = false;
		chan->unanswered = 0;
	}
	chan->asked = true;
	chan->question = CHAN_QUESTION_ASKED;
	chan->ask_at = ++chan->unanswered < CHAN_ASK_MAX && again < chan->told_by ? again
										  : UINT64_MAX;
	chan->commands++;
	chan_write(chan, question, sizeof(question) - 1);
	chan_wait(chan);
}

void chan_ask_now(struct chan *chan, uint64_t timeout)
{
	if (chan->current && chan->question == CHAN_QUESTION_NONE && !chan->deaf &&
	    chan_may_ask(chan, chan->current))
		chan_ask(chan, timeout);
}

/* What else there is to be said to questions. */
static void chan_await_rest(struct chan *chan, uint64_t patience)
{
	chan->told_by = chan_now(chan) + patience;
	chan->ask_at = UINT64_MAX;
	chan_wait(chan);
}

/* Its own answer has come. It ends when the other one has come, too: else that would be the next one's. */
static void chan_end(struct chan *chan, enum chan_result result)
{
	if (chan->question == CHAN_QUESTION_NONE) {
		chan_done(chan, result);
		return;
	}
	if (chan->answered) {
		chan_trouble(chan, "two answers to one command");
		return;
	}
	chan->answered = true;
	chan->result = result;
	chan_await_rest(chan, chan->one_told ? CHAN_ASK_REST : CHAN_ASK_ENDED);
}

static void chan_is_lost(struct chan *chan);

/* All has been said to the questions. */
static void chan_settle(struct chan *chan)
{
	if (chan->answered) {
		chan_done(chan, chan->result);
	} else {
		chan_ask_later(chan);
		chan_wait(chan);
	}
}

/* @busy: the chip has said so, and the question is forgotten. */
static void chan_on_told(struct chan *chan, bool busy)
{
	if (!busy && !chan->answered) {
		chan_is_lost(chan);
		return;
	}
	/* Of one of them the line may have been read, and it is another one that this is said to. */
	if (!busy)
		chan->question = CHAN_QUESTION_ASKED;
	else if (chan->question == CHAN_QUESTION_TOLD && chan->unanswered == 1) {
		chan_trouble(chan, "two answers to one question");
		return;
	}
	chan->one_told = true;
	if (--chan->unanswered > 0)
		chan_await_rest(chan, CHAN_ASK_REST);
	else
		chan_settle(chan);
}

/* A line of the answer to a question; true if it is one, and not the command's own. */
static bool chan_is_told(struct chan *chan, const char *text)
{
	/* With AT+SYSLOG=1 it stands in front of "busy p..." (capture 02). */
	if (chan->question != CHAN_QUESTION_NONE && begins(text, "ERR CODE:"))
		return true;
	if (!chan->asked || !begins(text, CHAN_ASK_TOLD))
		return false;
	if (chan->question == CHAN_QUESTION_ASKED)
		chan->question = CHAN_QUESTION_TOLD;
	else
		chan_trouble(chan, "an answer to what was not asked");
	return true;
}

/* ---- time ---- */

static void chan_is_lost(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;

	chan_log_command(chan, "no answer to ", cmd);
	/* Deaf first, so that done() cannot start the next command. */
	chan->deaf = !chan->syncing;
	chan_give_up(chan);
	chan_done(chan, CHAN_E_TIMEOUT);
	if (chan->deaf)
		chan->ops->trouble(chan->userdata, "no answer to a command");
}

static void chan_on_timer(struct timer *timer)
{
	struct chan *chan = container_of(timer, struct chan, timer);

	if (chan->current->phase == CHAN_PHASE_BUSY) {
		chan_write_head(chan);
		return;
	}
	if (chan_now(chan) < chan_next(chan)) {
		chan_wait(chan); /* bytes have come */
		return;
	}
	if (chan_now(chan) >= chan->ask_at && chan_now(chan) < chan_told_by(chan)) {
		if (chan->question != CHAN_QUESTION_TOLD && chan_may_ask(chan, chan->current)) {
			chan_ask(chan, CHAN_ASK_TIMEOUT);
			return;
		}
		/* What is in doubt by now, or the chip is being looked for. */
		chan->ask_at = UINT64_MAX;
		chan_wait(chan);
		return;
	}
	if (chan->question == CHAN_QUESTION_ASKED && chan->one_told)
		chan_settle(chan);
	else if (chan->answered && cmd_deafens(chan->current))
		chan_done(chan, chan->result);
	else
		chan_is_lost(chan);
}

static void chan_on_busy(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;
	uint64_t pause;

	switch (cmd->phase) {
	case CHAN_PHASE_HEAD:
		if (++cmd->busy > CHAN_BUSY_TRIES) {
			chan_trouble(chan, "busy for too long");
			return; /* while syncing, the command's time-out ends it */
		}
		pause = CHAN_BUSY_PAUSE * cmd->busy;
		cmd->phase = CHAN_PHASE_BUSY;
		timer_arm(&chan->timer, pause < CHAN_BUSY_PAUSE_MAX ? pause : CHAN_BUSY_PAUSE_MAX);
		return;
	case CHAN_PHASE_BUSY:
		return;
	case CHAN_PHASE_PROMPT:
	case CHAN_PHASE_PAYLOAD:
	case CHAN_PHASE_VERDICT:
		/* The chip got more than it asked for (captures 11, 30): a byte came twice. */
		cmd->doubt = true;
		return;
	case CHAN_PHASE_IDLE:
	case CHAN_PHASE_QUEUED:
		return;
	}
}

static void chan_on_ok(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;

	if (cmd->phase == CHAN_PHASE_HEAD || cmd->phase == CHAN_PHASE_BUSY) {
		if (cmd->kind == CHAN_PLAIN) {
			chan_end(chan, CHAN_OK);
			return;
		}
		cmd->phase = CHAN_PHASE_PROMPT;
		chan_arm(chan, CHAN_TIMEOUT_PROMPT);
		return;
	}
	if (cmd->phase == CHAN_PHASE_PAYLOAD && cmd->kind == CHAN_BLOCK) {
		chan_end(chan, CHAN_OK);
		return;
	}
	chan_trouble(chan, "OK at the wrong time");
}

/* How far the payload may be written: of a stream as far as the chip has room, as far as is known. */
static size_t payload_end(const struct chan *chan, const struct chan_cmd *cmd)
{
	uint64_t window = CHAN_STREAM_TIME * 1000 / chan->byte_time;

	if (cmd->kind != CHAN_STREAM)
		return cmd->payload_len;
	if (window > CHAN_STREAM_WINDOW)
		window = CHAN_STREAM_WINDOW;
	return cmd->payload_len - cmd->taken > window ? cmd->taken + (size_t)window
						      : cmd->payload_len;
}

static void chan_write_payload(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;
	size_t from = cmd->written, end = payload_end(chan, cmd);

	if (end <= from)
		return;
	cmd->written = end;
	chan_debug(chan, "> [%zu bytes]", end - from);
	chan_trace_payload(chan, end - from);
	chan_put(chan, (const uint8_t *)cmd->payload + from, end - from);
}

/* "+CIPSENDL:<sent>,<received>" (capture 62) */
static void chan_on_progress(struct chan *chan, const char *text)
{
	struct chan_cmd *cmd = chan->current;
	unsigned long taken;

	if (cmd->kind != CHAN_STREAM || cmd->phase != CHAN_PHASE_PAYLOAD ||
	    sscanf(text, "+CIPSENDL:%*u,%lu", &taken) != 1)
		return;
	if (taken > cmd->written) {
		cmd->doubt = true; /* a byte came twice */
		taken = cmd->written;
	}
	if (taken <= cmd->taken)
		return;
	cmd->taken = taken;
	chan_arm(chan, cmd->timeout);
	chan_write_payload(chan);
}

static void chan_on_prompt(struct chan *chan)
{
	struct chan_cmd *cmd = chan->current;

	if (!cmd || cmd->phase != CHAN_PHASE_PROMPT) {
		chan->said |= CHAN_SAID_BUSY;
		chan_trouble(chan, "a prompt that was not asked for");
		return;
	}
	chan->prompt_took = chan_now(chan) - cmd->began;
	cmd->phase = CHAN_PHASE_PAYLOAD;
	chan_arm(chan, cmd->kind == CHAN_SEND ? CHAN_TIMEOUT_PROMPT : cmd->timeout);
	chan_write_payload(chan);
}

/* A verdict on a payload; the first one counts. */
static void chan_on_verdict(struct chan *chan, enum chan_result result)
{
	struct chan_cmd *cmd = chan->current;

	if (!cmd_sends(cmd) || cmd->phase < CHAN_PHASE_PROMPT) {
		chan_trouble(chan, "a send verdict that was not asked for");
		return;
	}
	if (cmd->phase != (cmd->kind == CHAN_SEND ? CHAN_PHASE_VERDICT : CHAN_PHASE_PAYLOAD))
		cmd->doubt = true;
	/* The last report has the whole length (capture 62). */
	if (result == CHAN_OK && cmd->kind == CHAN_STREAM && cmd->taken < cmd->payload_len) {
		chan_trouble(chan, CHAN_SHORT);
		return;
	}
	chan_end(chan, result == CHAN_OK && cmd->doubt ? CHAN_E_DOUBT : result);
}

static void chan_on_final(struct chan *chan, const struct at_report *report)
{
	struct chan_cmd *cmd = chan->current;

	/* OK to what is given up may stand for a "busy p..." that the line has damaged. */
	if (report->type == AT_REPORT_BUSY || (report->type == AT_REPORT_OK && !cmd))
		chan->said |= CHAN_SAID_BUSY;
	if (report->type == AT_REPORT_SEND_CANCELED)
		chan->said |= CHAN_SAID_CANCELED;
	if (!cmd) {
		chan_trouble(chan, "a result without a command");
		return;
	}
	if (chan->question != CHAN_QUESTION_NONE && report->type == AT_REPORT_BUSY) {
		chan_on_told(chan, true);
		return;
	}
	if (chan->question == CHAN_QUESTION_TOLD && report->type == AT_REPORT_OK) {
		chan_on_told(chan, false);
		return;
	}
	switch (report->type) {
	case AT_REPORT_OK:
		chan_on_ok(chan);
		return;
	case AT_REPORT_ERROR:
		/* ERROR after the payload: some of it may be on its way. */
		chan_end(chan, cmd->phase < CHAN_PHASE_PROMPT ? CHAN_E_ERROR : CHAN_E_DOUBT);
		return;
	case AT_REPORT_SEND_OK:
		chan_on_verdict(chan, CHAN_OK);
		return;
	case AT_REPORT_SEND_FAIL:
	case AT_REPORT_SEND_CANCELED:
		chan_on_verdict(chan, CHAN_E_DOUBT);
		return;
	case AT_REPORT_RECV:
		if (cmd->kind != CHAN_SEND || cmd->phase != CHAN_PHASE_PAYLOAD) {
			chan_trouble(chan, "a receipt that was not asked for");
			return;
		}
		if ((size_t)report->value < cmd->payload_len) {
			chan_trouble(chan, CHAN_SHORT);
			return;
		}
		if ((size_t)report->value > cmd->payload_len)
			cmd->doubt = true;
		cmd->phase = CHAN_PHASE_VERDICT;
		chan_arm(chan, cmd->timeout);
		return;
	case AT_REPORT_BUSY:
		chan_on_busy(chan);
		return;
	default:
		return;
	}
}

static bool report_is_final(enum at_report_type type)
{
	return type >= AT_REPORT_OK && type <= AT_REPORT_BUSY;
}

/*
 * Each of these has an empty line in front (but OK behind reply lines, protocol fact 24). Where it is
 * missing, a block before it has swallowed it, because it had lost two of its own bytes. "Recv" comes
 * without one from some firmware (field notes 1.3), so it is let off where no block came before.
 */
static bool report_needs_blank(const struct chan *chan, enum at_report_type type)
{
	switch (type) {
	case AT_REPORT_OK:
		return !chan->current || !chan->current->lines;
	case AT_REPORT_ERROR:
	case AT_REPORT_SEND_OK:
	case AT_REPORT_SEND_FAIL:
	case AT_REPORT_BUSY:
	case AT_REPORT_IPD:
		return true;
	case AT_REPORT_RECV:
		return chan->ended >= 0;
	default:
		return false;
	}
}

/*
 * What comes behind a block tells whether its end was its end. Returns false if nothing more is to be
 * done with the token.
 */
static bool chan_frame_is_right(struct chan *chan, bool blank, bool needs_blank)
{
	unsigned int epoch = chan->epoch;
	int link = chan->ended;

	chan->ended = -1;
	if (needs_blank && !blank) {
		chan_trouble(chan, "a line without its line end in front");
		return false;
	}
	if (link >= 0)
		chan->ops->ipd(chan->userdata, link, NULL, 0);
	return epoch == chan->epoch && !chan->deaf;
}

/*
 * While the chip is looked for, or where an answer's head was damaged, a line may be a piece of a key
 * that is being read back: only what is known to be none is shown.
 */
static void chan_log_line(struct chan *chan, const struct at_token *token,
			  const struct at_report *report)
{
	const struct chan_cmd *cmd = chan->current;

	if (report->type != AT_REPORT_NONE ||
	    (cmd && !cmd->secret && !cmd->line.secret_len && !cmd->secret_reply && !chan->syncing))
		chan_debug(chan, "< %s", token->text);
	else
		chan_debug(chan, "< [a line of %zu bytes]", token->text_len);
}

/* Links that are open. */
static void chan_note_link(struct chan *chan, const struct at_report *report)
{
	unsigned int link = 1u << (report->link < 0 ? AT_LINKS : report->link);

	if (report->type == AT_REPORT_CONNECT)
		chan->links |= link;
	else if (report->type == AT_REPORT_CLOSED)
		chan->links &= ~link;
	else if (report->type == AT_REPORT_READY)
		chan->links = 0;
}

/* What we have sent comes back. */
static bool chan_is_echo(const struct chan *chan, const char *text, size_t len)
{
	const struct chan_cmd *cmd = chan->current;

	if (!cmd)
		return false;
	if (chan->question != CHAN_QUESTION_NONE && strcmp(text, CHAN_ASK) == 0)
		return true;
	return len > 0 && cmd->line.len == len + 2 && memcmp(cmd->line.text, text, len) == 0;
}

/*
 * Returns whether it may be acted upon. A chip whose echo was switched off has restarted where there is one,
 * though nobody has heard its `ready`. And while links are open, a line that is neither a message
 * nor an answer may be what is left of a block's head, and all that follows may be what a server has said.
 */
static bool chan_line_is_right(struct chan *chan, const struct at_token *token,
			       const struct at_report *report)
{
	/* Nor is an announcement without a link number, since AT+CIPMUX=1: it is the rest of a block's head, too. */
	if (report->type != AT_REPORT_NONE &&
	    !(report->type == AT_REPORT_IPD && report->link < 0 && chan->links))
		return true;
	if (chan->echo_off && !chan->syncing && chan_is_echo(chan, token->text, token->text_len)) {
		chan_trouble(chan, "an echo: the chip has restarted");
		return false;
	}
	if (!chan->links || chan_line_is_answer(chan->current, token->text))
		return true;
	chan->hush = true;
	if (chan->syncing)
		return true;
	chan_trouble(chan, "a line that is no message and no answer");
	return false;
}

/* The echo of `+++` has no line end of its own: that of whatever follows ends it. */
static bool line_is_plus(const struct at_token *token)
{
	return strspn(token->text, "+") == token->text_len;
}

static void chan_on_line(struct chan *chan, const struct at_token *token)
{
	struct at_report report = at_report_parse(token->text, token->text_len);
	struct chan_cmd *cmd;

	chan_log_line(chan, token, &report);
	if (report.type != AT_REPORT_NONE)
		chan->said |= CHAN_SAID_MESSAGE;
	else if (!line_is_plus(token))
		chan->said |= CHAN_SAID_NOISE;
	if (!chan_frame_is_right(chan, token->blanks > 0, report_needs_blank(chan, report.type)))
		return;
	chan_note_link(chan, &report);
	cmd = chan->current;
	if (cmd && chan_is_told(chan, token->text))
		return;
	if (!chan_line_is_right(chan, token, &report))
		return;
	if (report_is_final(report.type)) {
		chan_on_final(chan, &report);
		return;
	}
	if (report.type == AT_REPORT_NONE && cmd) {
		cmd->lines = true;
		cmd->strays = true;
		chan_on_progress(chan, token->text);
		if (cmd->on_line)
			cmd->on_line(cmd, token->text, token->text_len);
		return;
	}
	if (report.type != AT_REPORT_NONE)
		chan->ops->report(chan->userdata, &report);
}

/* BLOCK, DATA and END of what a link received */
static void chan_on_ipd(struct chan *chan, const struct at_token *token)
{
	int link = token->block.link;

	if (token->type == AT_TOKEN_BLOCK) {
		chan_debug(chan, "< %s[%zu bytes]", token->text, token->block.len);
		if (chan_frame_is_right(chan, token->blanks > 0, true) && link < 0)
			chan_trouble(chan, "a block without a link number");
		return;
	}
	/* Without a link number it is from before CIPMUX=1: of nobody's link. */
	if (link < 0)
		return;
	if (token->type == AT_TOKEN_DATA)
		chan->ops->ipd(chan->userdata, link, token->data, token->len);
	else
		chan->ended = link;
	chan->said |= CHAN_SAID_MESSAGE;
}

/* BLOCK, DATA and END of an answer */
static void chan_on_block(struct chan *chan, const struct at_token *token)
{
	struct chan_cmd *cmd;

	chan->hush = true; /* until its command ends */
	if (token->type == AT_TOKEN_BLOCK && !chan_frame_is_right(chan, token->blanks > 0, false))
		return;
	cmd = chan->current;
	if (!cmd || !cmd->on_data) {
		chan_trouble(chan, "a block that was not asked for");
		return;
	}
	cmd->lines = true;
	if (token->type == AT_TOKEN_DATA)
		cmd->on_data(cmd, &token->block, token->data, token->len);
	else if (token->type == AT_TOKEN_END)
		cmd->on_data(cmd, &token->block, NULL, 0);
}

static void chan_on_token(struct chan *chan, const struct at_token *token)
{
	switch (token->type) {
	case AT_TOKEN_NONE:
		return;
	case AT_TOKEN_LINE:
		chan_on_line(chan, token);
		return;
	case AT_TOKEN_PROMPT:
		if (chan_frame_is_right(chan, token->blanks > 0, true))
			chan_on_prompt(chan);
		return;
	case AT_TOKEN_BLOCK:
	case AT_TOKEN_DATA:
	case AT_TOKEN_END:
		if (token->block.type == AT_BLOCK_IPD)
			chan_on_ipd(chan, token);
		else
			chan_on_block(chan, token);
		return;
	case AT_TOKEN_BAD:
		chan->said |= CHAN_SAID_NOISE;
		chan->ended = -1;
		/* The rest of a block comes as anything. */
		if (token->bad == AT_BAD_LENGTH || token->bad == AT_BAD_NO_CRLF)
			chan->hush = true;
		chan_trouble(chan, at_bad_text(token->bad));
		return;
	}
}

void chan_feed(struct chan *chan, const uint8_t *data, size_t len)
{
	unsigned int epoch = chan->epoch;
	struct at_token token;

	if (len > 0)
		chan->heard = chan_now(chan);
	chan->heard_bytes += len;
	/* After chan_reset() the rest belongs to a past that nobody believes any more. */
	while (!chan->deaf && epoch == chan->epoch) {
		size_t n;

		chan_trace_skipped(chan, data, len);
		n = at_lexer_next(&chan->lexer, data, len, &token);
		data += n;
		len -= n;
		if (token.type == AT_TOKEN_NONE)
			break;
		chan_trace_token(chan, &token);
		chan_on_token(chan, &token);
	}
	chan_trace_ignored(chan, len);
	chan_watch_block(chan);
	/*
	 * Nothing came behind the block, not even half a line: had it swallowed the line end of what
	 * comes next, the rest of that would be here too.
	 */
	if (chan->ended >= 0 && at_lexer_idle(&chan->lexer))
		chan_frame_is_right(chan, true, false);
}

void chan_cmd_begin(struct chan_cmd *cmd, const char *name)
{
	cmd->kind = CHAN_PLAIN;
	cmd->secret = false;
	cmd->secret_reply = false;
	cmd->names = false;
	cmd->share = NULL;
	cmd->turn = NULL;
	cmd->payload = NULL;
	cmd->on_line = NULL;
	cmd->on_data = NULL;
	at_line_begin(&cmd->line, name);
}

void chan_submit(struct chan *chan, enum chan_lane lane, struct chan_cmd *cmd)
{
	assert(cmd->phase == CHAN_PHASE_IDLE && cmd->line.len > 0);
	cmd->phase = CHAN_PHASE_QUEUED;
	cmd->doubt = false;
	cmd->lines = false;
	cmd->strays = false;
	cmd->busy = 0;
	cmd->written = 0;
	cmd->taken = 0;
	share_join(chan, cmd->share);
	list_append(&chan->lanes[lane], &cmd->node);
	chan_kick(chan);
}

void chan_reset(struct chan *chan)
{
	struct chan_cmd *current = chan->current;
	struct list ending;
	struct list *node;

	/* What done() submits from here on belongs to the time after the reset. */
	list_init(&ending);
	for (size_t lane = 0; lane < 2; lane++)
		while ((node = list_first(&chan->lanes[lane]))) {
			list_remove(node);
			list_append(&ending, node);
		}
	timer_cancel(&chan->timer);
	timer_cancel(&chan->block_timer);
	chan_trace_rest(chan);
	if (chan->lexer.state == AT_LEXER_DATA)
		chan->hush = true; /* the rest of a block is to come */
	at_lexer_reset(&chan->lexer);
	chan_give_up(chan);
	chan->question = CHAN_QUESTION_NONE;
	chan->answered = false;
	chan->current = NULL;
	chan->ended = -1;
	chan->epoch++;
	chan->deaf = true; /* until all are told */
	if (current)
		cmd_finish(current, CHAN_E_RESET);
	while ((node = list_first(&ending))) {
		list_remove(node);
		cmd_finish(container_of(node, struct chan_cmd, node), CHAN_E_RESET);
	}
	chan->deaf = false;
	chan_kick(chan);
}

void chan_set_syncing(struct chan *chan, bool syncing)
{
	chan->syncing = syncing;
}

void chan_found(struct chan *chan)
{
	chan->hush = false;
}

void chan_write(struct chan *chan, const void *data, size_t len)
{
	chan_trace_written(chan, data, len);
	chan_put(chan, data, len);
}

uint64_t chan_on_its_way(const struct chan *chan)
{
	uint64_t now = chan_now(chan);

	return chan->gone_by > now ? chan->gone_by - now : 0;
}

void chan_skip(struct chan *chan, size_t len)
{
	chan_trace_ignored(chan, len);
}

void chan_set_trace(struct chan *chan, bool on)
{
	chan->tracing = on;
}

void chan_set_baud(struct chan *chan, unsigned int baud)
{
	chan->byte_time = 10000000000ull / baud; /* start, 8 data and stop bit */
}

int chan_init(struct chan *chan, const char *name, struct timers *timers,
	      const struct chan_ops *ops, void *userdata)
{
	*chan = (struct chan){
		.name = name,
		.ops = ops,
		.userdata = userdata,
		.ended = -1,
		/* It may be in the middle of anything that somebody before us has begun. */
		.hush = true,
	};
	at_lexer_reset(&chan->lexer);
	list_init(&chan->lanes[CHAN_CONTROL]);
	list_init(&chan->lanes[CHAN_DATA]);
	chan_set_baud(chan, 115200);
	if (timer_init(&chan->timer, timers, chan_on_timer) < 0)
		return -ENOMEM;
	return timer_init(&chan->block_timer, timers, chan_on_block_timer);
}

void chan_deinit(struct chan *chan)
{
	if (!chan->ops)
		return;
	chan_reset(chan);
	timer_deinit(&chan->timer);
	timer_deinit(&chan->block_timer);
	chan->ops = NULL;
}
