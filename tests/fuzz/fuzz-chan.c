/* SPDX-License-Identifier: MIT */
/*
 * A whole channel: the input is a program of submits, resets, clock ticks and bytes from the chip.
 * Checked all the time: one command in flight, a payload only after its prompt, done exactly once and
 * never inside submit, silence after trouble until the reset; that a trace accounts for each byte from
 * the chip once.
 *
 * An input byte below 0x20 that is none of \r, \n and NUL is an instruction, the rest are bytes from
 * the chip; \x01..\x03 submit a command of each kind, \x04 resets, \x05..\x08 let time pass, \x0e
 * switches syncing, \x0f makes the next done() reset, \x10 makes the next done() submit again, \x11
 * submits a stream. Submits of data have one of two shares.
 */
#include <stdbool.h>
#include <string.h>

#include "chan/chan.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_CMDS 4

struct job {
	struct chan_cmd cmd;
	bool submitted;
};

static struct {
	struct timers timers;
	struct chan chan;
	struct job jobs[N_CMDS];
	struct chan_share shares[2];
	bool submitting, deinit, troubled, syncing;
	bool reset_in_done, submit_in_done;
	bool owed;                      /* a time-out was told, the trouble about it not yet */
	size_t prompts;                 /* '>' fed since the last line was written */
	const struct chan_cmd *writing; /* whose line went last */
	size_t fed, traced;
} f;

static void reset_now(void)
{
	f.troubled = false;
	f.owed = false;
	chan_reset(&f.chan);
}

static void job_submit(struct job *job, size_t kind)
{
	static const char payload[] = "hello";
	bool nested = f.submitting;
	/* Every other one is asked about. */
	uint64_t timeout = ((job - f.jobs) % 2 ? 20 : 1 + kind) * TIMERS_S;

	if (job->submitted)
		return;
	at_line_plain(&job->cmd.line, "AT+X");
	job->cmd.kind = (enum chan_kind)kind;
	job->cmd.payload = kind == CHAN_PLAIN ? NULL : payload;
	job->cmd.payload_len = kind == CHAN_PLAIN ? 0 : strlen(payload);
	job->cmd.timeout = timeout;
	job->submitted = true;
	f.submitting = true;
	job->cmd.share = kind >= CHAN_SEND ? &f.shares[(job - f.jobs) % 2] : NULL;
	chan_submit(&f.chan, kind >= CHAN_SEND ? CHAN_DATA : CHAN_CONTROL, &job->cmd);
	f.submitting = nested;
}

static void on_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct job *job = container_of(cmd, struct job, cmd);

	MUST(job->submitted); /* once */
	MUST(!f.submitting);
	MUST(result <= CHAN_E_RESET);
	MUST(!f.troubled || result == CHAN_E_RESET);
	MUST(result != CHAN_E_DOUBT || cmd->kind != CHAN_PLAIN);
	job->submitted = false;
	f.owed = result == CHAN_E_TIMEOUT && !f.syncing;
	if (f.deinit)
		return;
	if (f.submit_in_done) {
		f.submit_in_done = false;
		job_submit(job, (size_t)cmd->kind);
	}
	if (f.reset_in_done) {
		f.reset_in_done = false;
		reset_now();
	}
}

static void on_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	MUST(container_of(cmd, struct job, cmd)->submitted && strlen(text) == len && len > 0);
}

static void on_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		    size_t len)
{
	MUST(container_of(cmd, struct job, cmd)->submitted);
	MUST(data ? len > 0 && len <= block->len : len == 0);
}

/* Whether a command still runs, never where bytes of a block are awaited. */
static bool is_question(const void *data, size_t len)
{
	static const char question[] = "AT+CIPMUX?\r\n";

	return len == sizeof(question) - 1 && memcmp(data, question, len) == 0;
}

static void on_write(void *userdata, const void *data, size_t len)
{
	MUST(!f.troubled && !f.owed && f.chan.current && len > 0);
	MUST(container_of(f.chan.current, struct job, cmd)->submitted);
	if (data == f.chan.current->payload) {
		MUST(len == f.chan.current->payload_len && f.prompts > 0);
		MUST(f.writing == f.chan.current);
		f.writing = NULL; /* not twice */
		return;
	}
	if (is_question(data, len)) {
		MUST(!f.syncing && f.chan.current->phase == (f.chan.current->kind == CHAN_PLAIN
								     ? CHAN_PHASE_HEAD
								     : CHAN_PHASE_VERDICT));
		return;
	}
	MUST(data == f.chan.current->line.text && len == f.chan.current->line.len);
	f.writing = f.chan.current;
	f.prompts = 0;
}

static void on_report(void *userdata, const struct at_report *report)
{
	MUST(!f.troubled);
	MUST(report->link >= -1 && report->link < AT_LINKS);
	if (report->type == AT_REPORT_READY)
		reset_now();
}

static void on_ipd(void *userdata, int link, const uint8_t *data, size_t len)
{
	MUST(!f.troubled && link >= 0 && link < AT_LINKS);
	MUST(data ? len > 0 : len == 0);
}

static void on_trouble(void *userdata, const char *what)
{
	MUST(!f.troubled && !f.syncing && what);
	f.troubled = true;
	f.owed = false;
}

static void on_trace(void *userdata, const struct chan_piece *piece)
{
	volatile uint8_t last = 0;

	MUST(!piece->secret); /* no command has one */
	if (piece->data && piece->len > 0)
		last = ((const uint8_t *)piece->data)[piece->len - 1];
	(void)last;
	if (!piece->sent)
		f.traced += piece->len;
	MUST(f.traced <= f.fed);
}

static const struct chan_ops ops = { on_write, on_report, on_ipd, on_trouble, on_trace };

static void pass(uint64_t delay)
{
	uint64_t end = f.timers.now + delay;

	while (timers_next(&f.timers) <= end) {
		timers_set_now(&f.timers, timers_next(&f.timers));
		timers_run(&f.timers);
	}
	timers_set_now(&f.timers, end);
}

static void instruction(uint8_t code)
{
	switch (code) {
	case 1:
	case 2:
	case 3:
	case 17:
		for (size_t i = 0; i < N_CMDS; i++)
			if (!f.jobs[i].submitted) {
				job_submit(&f.jobs[i], code == 17 ? CHAN_STREAM : code - 1u);
				return;
			}
		return;
	case 4:
		reset_now();
		return;
	case 5:
		pass(50 * TIMERS_MS);
		return;
	case 6:
		pass(1 * TIMERS_S);
		return;
	case 7:
		pass(5 * TIMERS_S);
		return;
	case 8:
		pass(100 * TIMERS_S);
		return;
	case 14:
		f.syncing = !f.syncing;
		chan_set_syncing(&f.chan, f.syncing);
		return;
	case 15:
		f.reset_in_done = true;
		return;
	case 16:
		f.submit_in_done = true;
		return;
	default:
		return;
	}
}

static bool is_instruction(uint8_t c)
{
	return c < 0x20 && c != '\r' && c != '\n' && c != '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&f, 0, sizeof(f));
	timers_init(&f.timers);
	MUST(chan_init(&f.chan, "fuzz", &f.timers, &ops, NULL) == 0);
	chan_set_trace(&f.chan, true);
	for (size_t i = 0; i < N_CMDS; i++) {
		f.jobs[i].cmd.done = on_done;
		f.jobs[i].cmd.on_line = on_line;
		f.jobs[i].cmd.on_data = i % 2 ? on_data : NULL;
	}
	while (size > 0) {
		size_t n = 0;

		if (is_instruction(*data)) {
			instruction(*data);
			MUST(!f.owed);
			n = 1;
		} else {
			/* A prompt goes by itself, so that it is counted for whoever waits by then. */
			f.prompts += *data == '>';
			do
				n++;
			while (*data != '>' && n < size && !is_instruction(data[n]) &&
			       data[n] != '>');
			f.fed += n;
			chan_feed(&f.chan, data, n);
		}
		data += n;
		size -= n;
	}
	f.deinit = true;
	f.troubled = false;
	chan_deinit(&f.chan);
	MUST(f.traced == f.fed);
	for (size_t i = 0; i < N_CMDS; i++)
		MUST(!f.jobs[i].submitted);
	timers_deinit(&f.timers);
	return 0;
}
