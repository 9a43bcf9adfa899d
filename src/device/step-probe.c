/* SPDX-License-Identifier: MIT */
/*
 * Looking for a chip that answers, whatever it was doing before.
 *
 * The proof that chip and host agree is an echo: with echo on, a line with a random word in it comes
 * back. All that was said before that line is history, and nothing that a server sends through a
 * link that somebody left open can forge it.
 *
 * A chip that was reset is at the rate of its start; one that another espatd has left is perhaps still at
 * the rate that it was raised to. So all of them are tried, shortly, before anything that takes its time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "util/log.h"

/* An idle chip answers within milliseconds, one with a full output FIFO when that is out (the
 * channel adds the time on the line). */
#define PROBE_TIMEOUT (300 * TIMERS_MS)
/* `+++` must stand alone, or it is data; after it passthrough takes 1 s to end (capture 51). */
#define PROBE_GUARD (150 * TIMERS_MS)
/* Between two rates, where it is meant for a CIPSEND only: 2 ms are enough (capture 54). */
#define PROBE_RATE_GUARD (20 * TIMERS_MS)
/* A short attempt; at a raised rate it waits for the chip's output FIFO on top, see PROBE_FIFO. */
#define PROBE_SHORT (100 * TIMERS_MS)
#define PROBE_FIFO 8192
#define PROBE_AFTER_PLUS (1100 * TIMERS_MS)
/* Lines answered with ERROR because of what stood in front of them in the chip's line buffer. */
#define PROBE_ERRORS_MAX 5
/* An unfinished data block is at most this long (CIPSEND 8192, SYSMFG 8191). */
#define PROBE_FILL (LINK_BLOCK_MAX + 2)

enum probe_attempt {
	PROBE_CANCEL, /* only if a CIPSEND may be open: the server must not get our commands as data */
	PROBE_RATES, /* only if there are others than that of the start, and this one is tried first */
	PROBE_PLAIN,
	PROBE_PLAIN_AGAIN,
	PROBE_PLUS, /* leaves passthrough, cancels a CIPSEND (capture 54) */
	PROBE_PLUS_AFTER,
	PROBE_FILLED, /* completes a SYSMFG block, which nothing cancels (capture 54) */
	PROBE_RATES_AGAIN,
	PROBE_FILLED_AGAIN,
	PROBE_ATTEMPTS,
};

static void probe_attempt(struct device *dev);

static bool probe_is_short(const struct device *dev)
{
	return dev->attempt == PROBE_RATES || dev->attempt == PROBE_RATES_AGAIN;
}

/* The host's end, at the rate with this number. */
static void probe_at(struct device *dev, unsigned int rate)
{
	unsigned int rates[LINE_RATES_MAX];

	line_rates(dev, rates);
	if (dev->baud != rates[rate])
		line_set(dev, rates[rate], false);
}

static void probe_next(struct device *dev)
{
	unsigned int rates[LINE_RATES_MAX];

	timer_cancel(&dev->timer);
	dev->step_no = 0;
	if (probe_is_short(dev) && dev->rate + 1 < line_rates(dev, rates)) {
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

static void probe_nonce(struct device *dev, enum chan_result result)
{
	/* The word is no command: ERROR is the right answer. */
	if (!dev->nonce_seen || result != CHAN_E_ERROR) {
		probe_next(dev);
		return;
	}
	device_run_plain(dev, "ATE0", PROBE_TIMEOUT, NULL, probe_quiet);
}

static void probe_answered(struct device *dev, enum chan_result result)
{
	timer_cancel(&dev->timer);
	if (result == CHAN_E_ERROR && dev->step_no++ < PROBE_ERRORS_MAX) {
		probe_attempt(dev);
		return;
	}
	if (result != CHAN_OK) {
		probe_next(dev);
		return;
	}
	dev->nonce_seen = false;
	snprintf(dev->nonce, sizeof(dev->nonce), "ATESPATD%016" PRIX64,
		 dev->ops->random(dev->userdata));
	device_run_plain(dev, dev->nonce, PROBE_TIMEOUT, nonce_line, probe_nonce);
}

/* ---- the attempts ---- */

static void probe_ask(struct device *dev)
{
	device_run_plain(dev, "ATE1", PROBE_TIMEOUT, NULL, probe_answered);
}

static void probe_short_is_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	/* One that is busy has been found; it goes on when it is done. */
	if (dev->chan.current != &dev->cmd || dev->cmd.busy == 0)
		probe_next(dev);
}

static void probe_shortly(struct device *dev)
{
	uint64_t wait = 3 * PROBE_SHORT;

	if (dev->rate > 0)
		wait = PROBE_SHORT + PROBE_FIFO * dev->chan.byte_time / 1000;
	device_wait(dev, wait, probe_short_is_over);
	probe_ask(dev);
}

static void probe_flushed(struct device *dev, enum chan_result result)
{
	/* ERROR, or nothing where it was taken for what it is; something old may have come instead. */
	probe_ask(dev);
}

static void probe_wait_over(struct timer *timer);

/* At each rate, that of the start last: it is the next one to be tried. */
static void probe_cancel(struct device *dev)
{
	unsigned int rates[LINE_RATES_MAX];
	size_t n = line_rates(dev, rates);

	dev->step_no = (int)n;
	dev->rate = (dev->rate + 1) % (unsigned int)n;
	probe_at(dev, dev->rate);
	chan_write(&dev->chan, "+++", 3);
	if (dev->rate == 0)
		dev->chan.send_open = 0;
	device_wait(dev, dev->rate == 0 ? PROBE_GUARD : PROBE_RATE_GUARD, probe_wait_over);
}

static void probe_wait_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	if (dev->attempt == PROBE_CANCEL && dev->chan.send_open) {
		probe_cancel(dev);
		return;
	}
	if (dev->attempt == PROBE_CANCEL && dev->step_no > 1) {
		/* What stands in its line buffer makes an ERROR of the next line. */
		probe_next(dev);
		return;
	}
	if (dev->attempt == PROBE_CANCEL) {
		/* Where nothing was open, it stands in the chip's line buffer. */
		device_run_plain(dev, "", PROBE_TIMEOUT, NULL, probe_flushed);
		return;
	}
	if (dev->attempt == PROBE_PLUS) {
		chan_write(&dev->chan, "+++", 3);
		dev->attempt = PROBE_PLUS_AFTER;
		device_wait(dev, PROBE_AFTER_PLUS, probe_wait_over);
		return;
	}
	probe_ask(dev);
}

static void probe_fill(struct device *dev)
{
	uint8_t fill[PROBE_FILL];

	/*
	 * Spaces: in command mode they are one overlong line, which is one ERROR (capture 01). What
	 * the block was meant for is found damaged and written again when provisioning.
	 */
	memset(fill, ' ', sizeof(fill));
	memcpy(fill + sizeof(fill) - 2, "\r\n", 2);
	chan_write(&dev->chan, fill, sizeof(fill));
	device_wait(dev, sizeof(fill) * dev->chan.byte_time / 1000 + PROBE_TIMEOUT,
		    probe_wait_over);
}

static void probe_attempt(struct device *dev)
{
	unsigned int rates[LINE_RATES_MAX];
	size_t n;

	/* What is half read or still to come of an earlier attempt must not count for this one. */
	chan_reset(&dev->chan);
	n = line_rates(dev, rates);
	if (probe_is_short(dev) && n == 1)
		dev->attempt++;
	if (dev->attempt != PROBE_CANCEL)
		probe_at(dev, dev->rate);
	switch ((enum probe_attempt)dev->attempt) {
	case PROBE_CANCEL:
		if (dev->chan.send_open)
			device_wait(dev,
				    dev->chan.send_open * dev->chan.byte_time / 1000 + PROBE_GUARD,
				    probe_wait_over);
		else
			probe_ask(dev);
		return;
	case PROBE_RATES:
	case PROBE_RATES_AGAIN:
		probe_shortly(dev);
		return;
	case PROBE_PLAIN:
	case PROBE_PLAIN_AGAIN:
	case PROBE_FILLED_AGAIN:
		probe_ask(dev);
		return;
	case PROBE_PLUS:
		device_wait(dev, PROBE_GUARD, probe_wait_over);
		return;
	case PROBE_PLUS_AFTER:
		probe_ask(dev);
		return;
	case PROBE_FILLED:
		if (dev->step_no == 0)
			probe_fill(dev);
		else
			probe_ask(dev);
		return;
	case PROBE_ATTEMPTS:
		break;
	}
	device_fail(
		dev,
		"no answer from a chip at %u baud%s (tried AT, leaving passthrough with +++, and "
		"completing an unfinished data block); is this the AT port, and its rate?",
		dev->settings->baud, n > 1 ? ", nor at a higher rate" : "");
}

void probe_start(struct device *dev)
{
	if (dev->booted)
		dev->chan.send_open = 0;
	dev->booted = false;
	dev->attempt = dev->chan.send_open ? PROBE_CANCEL : PROBE_RATES;
	dev->step_no = 0;
	dev->rate = 0;
	line_listen(dev);
	probe_attempt(dev);
}
