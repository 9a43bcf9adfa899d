/* SPDX-License-Identifier: MIT */
/*
 * Looking for a chip that answers, whatever it was doing before.
 *
 * The proof that chip and host agree is an echo: with echo on, a line with a random word in it comes
 * back. All that was said before that line is history, and nothing that a server sends through a
 * link that somebody left open can forge it.
 *
 * A chip that was reset is at the rate of its start; one that another espatd has left is perhaps still at
 * the rate that it was raised to. So all of them are tried. What is counted is silence (see the channel's
 * time-outs): an idle chip answers within milliseconds, one that has much to say says it first, and one
 * that waits for the rest of a block says nothing. What comes first is never harmful: `+++` before
 * anything else where a CIPSEND may wait for bytes, and what fills up a block only after that.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "util/log.h"

/* An idle chip answers within milliseconds; adapters and hosts may be late by some tens of them. */
#define PROBE_SHORT (150 * TIMERS_MS)
#define PROBE_TIMEOUT (300 * TIMERS_MS)
/* One that joins a network, or has lost its block's last byte just now, may be deaf for 1.7 s (capture 20). */
#define PROBE_PATIENCE (2 * TIMERS_S)
/* `+++` must stand alone, or it is data; passthrough wants 20 ms, a CIPSEND 2 ms (captures 51, 54). */
#define PROBE_GUARD (150 * TIMERS_MS)
/* Between two rates: what it is at the wrong ones comes too late to count. */
#define PROBE_RATE_GUARD (30 * TIMERS_MS)
/* So long after `+++` passthrough has ended (capture 51). */
#define PROBE_AFTER_PLUS (1100 * TIMERS_MS)
/*
 * What comes before the prompt is lost, with "busy p...", and the prompt then eats what comes next (capture 62): so
 * many times `+++` is repeated while the chip is busy. One that is so for longer works on something else.
 */
#define PROBE_BUSY_MAX 12
/* Bytes of the echo of `+++`. */
#define PROBE_ECHO 3
/* Answers to what stood in front of our line in the chip's line buffer, or to the command of one before us. */
#define PROBE_AGAIN_MAX 5
/* By DTR and RTS: as long as flash tools take for it, and what a chip takes to say `ready` then. */
#define PROBE_PULSE (100 * TIMERS_MS)
#define PROBE_BOOT (3 * TIMERS_S)
/* An unfinished data block is at most this long (CIPSEND 8192, SYSMFG 8191). */
#define PROBE_FILL LINK_BLOCK_MAX

enum probe_attempt {
	PROBE_CANCEL, /* only if a CIPSEND may be open: the server must not get our commands as data */
	PROBE_BLOCK, /* only if we have left a block for the NVS unfinished: how much may be missing is known */
	PROBE_RATES,
	PROBE_PLUS, /* leaves passthrough, and cancels a CIPSEND (capture 54), if CANCEL has not done that */
	PROBE_FILL_RATES, /* completes a SYSMFG block, which nothing cancels (capture 54) */
	PROBE_PLUS_AGAIN,
	PROBE_RATES_AGAIN, /* and with patience */
	PROBE_ATTEMPTS,
};

static void probe_attempt(struct device *dev);

/* ---- rates ---- */

/*
 * The @i-th one to be tried: that which the chip was told last, and then that of the start. To fill up a
 * block the highest ones come first: it takes the least time, and blocks are written at a raised rate.
 * Returns how many there are.
 */
static size_t probe_rate(const struct device *dev, size_t i, unsigned int *ret)
{
	unsigned int rates[LINE_RATES_MAX];
	size_t n = line_rates(dev, rates);

	if (dev->attempt == PROBE_FILL_RATES)
		i = (i + 1) % n;
	else if (n > 1 && rates[1] == dev->chip_baud && i < 2)
		i = 1 - i;
	*ret = rates[i];
	return n;
}

/* The host's end. */
static void probe_at(struct device *dev, unsigned int rate)
{
	if (dev->baud != rate)
		line_set(dev, rate, false);
}

static bool probe_tries_rates(const struct device *dev)
{
	return dev->attempt == PROBE_RATES || dev->attempt == PROBE_FILL_RATES ||
	       dev->attempt == PROBE_RATES_AGAIN;
}

static void probe_next(struct device *dev)
{
	unsigned int rate;

	if (probe_tries_rates(dev) && dev->rate + 1 < probe_rate(dev, 0, &rate)) {
		dev->rate++;
	} else {
		dev->attempt++;
		dev->rate = 0;
	}
	probe_attempt(dev);
}

/* ---- the proof ---- */

static void probe_quiet(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		probe_next(dev);
		return;
	}
	/* It has restarted, and what it said of that was noise. */
	if (dev->heard && dev->baud == dev->settings->baud && dev->chip_baud != dev->baud) {
		dev->resets++;
		device_note(dev, DEVICE_FACT_RESETS);
	}
	dev->chip_baud = dev->baud;
	dev->heard = true;
	dev->forced = false;
	if (dev->reset_due)
		device_reset_now(dev);
	else
		device_enter_state(dev, DEVICE_IDENTIFYING);
}

static void nonce_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);
	size_t n = strlen(dev->nonce);

	/* Something without a line end may stand in front. */
	if (len >= n && strcmp(text + len - n, dev->nonce) == 0)
		dev->nonce_seen = true;
}

static void probe_ask(struct device *dev);

/* It has said something that was not for us, as ERROR to what stood in front, or OK to what it was busy with. */
static void probe_again(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT || dev->step_no++ >= PROBE_AGAIN_MAX) {
		probe_next(dev);
		return;
	}
	chan_reset(&dev->chan);
	probe_ask(dev);
}

static void probe_nonce(struct device *dev, enum chan_result result)
{
	/* The word is no command: ERROR is the right answer. */
	if (dev->nonce_seen && result == CHAN_E_ERROR)
		device_run_plain(dev, "ATE0", PROBE_TIMEOUT, NULL, probe_quiet);
	else
		probe_again(dev, result);
}

static void probe_answered(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		probe_again(dev, result);
		return;
	}
	dev->nonce_seen = false;
	snprintf(dev->nonce, sizeof(dev->nonce), "ATESPATD%016" PRIX64,
		 dev->ops->random(dev->userdata));
	device_run_plain(dev, dev->nonce, PROBE_TIMEOUT, nonce_line, probe_nonce);
}

/* ---- asking ---- */

static uint64_t probe_patience(const struct device *dev)
{
	/* What a block was filled up for is being written; where it was too much, the chip says so at once. */
	if (dev->attempt == PROBE_BLOCK || dev->attempt == PROBE_FILL_RATES)
		return PROBE_TIMEOUT;
	if (dev->attempt != PROBE_RATES_AGAIN)
		return PROBE_SHORT;
	return dev->baud == dev->settings->baud || dev->baud == dev->chip_baud ? PROBE_PATIENCE
									       : PROBE_TIMEOUT;
}

static void probe_ask(struct device *dev)
{
	device_run_plain(dev, "ATE1", probe_patience(dev), NULL, probe_answered);
}

static void probe_ask_now(struct timer *timer)
{
	probe_ask(device_of_timer(timer));
}

/* ---- `+++` ---- */

static void probe_flushed(struct device *dev, enum chan_result result)
{
	/* ERROR; or nothing, where it was taken for what it is or the chip has another rate. */
	probe_next(dev);
}

static void probe_plus_over(struct device *dev)
{
	dev->chan.send_open = false;
	if (dev->attempt != PROBE_CANCEL) {
		probe_next(dev);
		return;
	}
	if (dev->chan.said & CHAN_SAID_BUSY)
		dev_notice(dev, "the chip is busy with what was begun before, waiting for it");
	device_run_plain(dev, "", PROBE_SHORT, NULL, probe_flushed);
}

/*
 * The @i-th rate for `+++`: that which the chip has been told, then the others, and that of the start last.
 * Where we have spoken with a chip it begins with that of the start, too, if that is where it was left: at
 * any other rate it is noise, and in a CIPSEND that would be data. Returns 0 behind the last.
 */
static unsigned int probe_plus_rate(const struct device *dev, size_t i)
{
	unsigned int rates[LINE_RATES_MAX];
	size_t n = line_rates(dev, rates);

	if (dev->attempt == PROBE_CANCEL && dev->mac[0] && n > 1 && dev->chip_baud == rates[0]) {
		if (i == 0)
			return rates[0];
		i--;
	}
	if (i + 1 < n)
		return rates[i + 1];
	return i + 1 == n ? rates[0] : 0;
}

/* More than an echo, and nothing that would tell what it was. */
static bool probe_hears_noise(const struct device *dev)
{
	unsigned int said = dev->chan.said;

	return dev->chan.heard_bytes > dev->plus_bytes + PROBE_ECHO &&
	       ((said & CHAN_SAID_NOISE) || !(said & CHAN_SAID_MESSAGE));
}

/*
 * Whether it is to be repeated at the same rate. A chip that is busy has heard it, or its OK and its prompt have come
 * only then: that is its rate, and the next one is awaited by the prompt. Noise may stand for that, where the chip is
 * believed to be.
 */
static bool probe_plus_again(struct device *dev)
{
	if (dev->rate == 0)
		return false;
	if (!(dev->chan.said & CHAN_SAID_BUSY))
		return dev->attempt == PROBE_CANCEL && dev->baud == dev->chip_baud &&
		       probe_hears_noise(dev) && dev->plus_noises++ < PROBE_BUSY_MAX;
	if (dev->step_no >= PROBE_BUSY_MAX)
		return false;
	dev->step_no++;
	dev->plus_heard = true;
	return true;
}

/*
 * When a send of ours has been cancelled, or the chip is busy no more, that is over; unless the host was so late that it
 * was another rate which it was heard at.
 */
static unsigned int probe_plus_next(struct device *dev)
{
	if (dev->rate > 0 && dev->attempt == PROBE_CANCEL &&
	    (dev->chan.said & (CHAN_SAID_CANCELED | CHAN_SAID_BUSY)) == CHAN_SAID_CANCELED)
		return 0;
	if (probe_plus_again(dev))
		return dev->baud;
	if (dev->plus_heard && dev->baud == dev->chip_baud)
		return 0;
	if (dev->plus_heard)
		dev->rate = 0;
	dev->plus_heard = false;
	return probe_plus_rate(dev, dev->rate++);
}

/* Behind the last one comes what a chip that still waits for what may follow must not get. */
static uint64_t probe_plus_pause(const struct device *dev, bool last)
{
	if (last && dev->attempt != PROBE_CANCEL && !dev->plus_at && !dev->plus_heard)
		return PROBE_AFTER_PLUS;
	/* Where it is believed to be it must stand alone, however late a busy host lets it go. */
	return last || dev->baud == dev->chip_baud ? PROBE_GUARD : PROBE_RATE_GUARD;
}

/*
 * At each rate. Where nothing was open it stands in the chip's line buffer, and makes an ERROR of the next
 * line: at the rate of the start that is an empty one.
 */
static void probe_plus(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);
	unsigned int rate = probe_plus_next(dev);
	bool last;

	if (rate == 0) {
		probe_plus_over(dev);
		return;
	}
	probe_at(dev, rate);
	dev->chan.said = 0;
	dev->plus_bytes = dev->chan.heard_bytes;
	chan_write(&dev->chan, "+++", 3);
	last = dev->plus_heard || probe_plus_rate(dev, dev->rate) == 0;
	device_wait(dev, probe_plus_pause(dev, last), probe_plus);
	if (last)
		dev->plus_at = dev->timers->now;
}

/*
 * Where it was written before, once what that may have brought to an end is over: what comes next would be a
 * server's, had the first one not stood alone.
 */
static void probe_plus_soon(struct device *dev)
{
	uint64_t now = dev->timers->now, soon = now + PROBE_GUARD;
	uint64_t over = dev->plus_at ? dev->plus_at + PROBE_AFTER_PLUS : 0;

	device_wait(dev, (over > soon ? over : soon) - now, probe_plus);
}

/* ---- filling up a block ---- */

static void probe_fill(struct device *dev, size_t missing)
{
	uint8_t fill[PROBE_FILL + 2];

	/*
	 * Spaces: in command mode they are one overlong line, which is one ERROR (capture 01). What
	 * the block was meant for is found damaged and written again when provisioning.
	 */
	memset(fill, ' ', missing);
	memcpy(fill + missing, "\r\n", 2);
	chan_write(&dev->chan, fill, missing + 2);
	device_wait(dev, (missing + 2) * dev->chan.byte_time / 1000 + PROBE_RATE_GUARD,
		    probe_ask_now);
}

/* ---- by force ---- */

static void probe_reset_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	/* It did not say `ready`, or not at this rate; perhaps it answers all the same. */
	dev->attempt = PROBE_RATES;
	dev->rate = 0;
	probe_attempt(dev);
}

static void probe_reset_pulsed(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	device_end_reset(dev);
	device_wait(dev, PROBE_BOOT, probe_reset_over);
}

/* Nothing else has helped. Returns false if this does not, either. */
static bool probe_reset(struct device *dev)
{
	if (dev->settings->reset == CONFIG_RESET_NONE || dev->forced || !dev->ops->set_reset)
		return false;
	dev->forced = true;
	/* RTS has its part in it, and must be the host's. */
	line_was_reset(dev);
	if (dev->ops->set_reset(dev->userdata, true) < 0)
		return false;
	dev->in_reset = true;
	dev_notice(dev, "no answer, resetting the chip by DTR and RTS");
	device_wait(dev, PROBE_PULSE, probe_reset_pulsed);
	return true;
}

/* ---- the attempts ---- */

static void probe_attempt(struct device *dev)
{
	size_t missing = dev->chan.block_open;
	unsigned int rate;
	size_t n = probe_rate(dev, dev->rate, &rate);

	/* What is half read or still to come of an earlier attempt must not count for this one. */
	chan_reset(&dev->chan);
	dev->step_no = 0;
	dev->plus_noises = 0;
	dev->plus_heard = false;
	if (probe_tries_rates(dev))
		probe_at(dev, rate);
	switch ((enum probe_attempt)dev->attempt) {
	case PROBE_CANCEL:
		device_wait(dev, chan_on_its_way(&dev->chan) + PROBE_GUARD, probe_plus);
		return;
	case PROBE_BLOCK:
		dev->chan.block_open = 0;
		if (missing == 0) {
			probe_next(dev);
			return;
		}
		probe_at(dev, dev->chip_baud);
		probe_fill(dev, missing < PROBE_FILL ? missing : PROBE_FILL);
		return;
	case PROBE_RATES:
	case PROBE_RATES_AGAIN:
		probe_ask(dev);
		return;
	case PROBE_PLUS:
		probe_plus_soon(dev);
		return;
	case PROBE_FILL_RATES:
		probe_fill(dev, PROBE_FILL);
		return;
	case PROBE_PLUS_AGAIN:
		dev->plus_at = 0;
		probe_plus_soon(dev);
		return;
	case PROBE_ATTEMPTS:
		break;
	}
	if (probe_reset(dev))
		return;
	device_fail(dev,
		    "no answer from a chip at %u baud%s: %s (tried AT, leaving passthrough with "
		    "+++, and "
		    "completing an unfinished data block)",
		    dev->settings->baud, n > 1 ? ", nor at a higher rate" : "",
		    dev->heard ? "it has answered before" : hearsay_describe(&dev->hearsay));
}

void probe_start(struct device *dev)
{
	if (dev->booted) {
		dev->chan.send_open = false;
		dev->chan.block_open = 0;
	}
	dev->booted = false;
	dev->attempt = dev->chan.send_open ? PROBE_CANCEL : PROBE_BLOCK;
	dev->plus_at = 0;
	dev->rate = 0;
	line_listen(dev);
	probe_attempt(dev);
}
