/* SPDX-License-Identifier: MIT */
/*
 * Looking for a chip that answers, whatever it was doing before.
 *
 * The proof that chip and host agree is an echo: with echo on, a line with a random word in it comes
 * back. All that was said before that line is history, and nothing that a server sends through a
 * link that somebody left open can forge it.
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
#define PROBE_AFTER_PLUS (1100 * TIMERS_MS)
/* Lines answered with ERROR because of what stood in front of them in the chip's line buffer. */
#define PROBE_ERRORS_MAX 5
/* An unfinished data block is at most this long (CIPSEND 8192, SYSMFG 8191). */
#define PROBE_FILL (LINK_BLOCK_MAX + 2)

enum probe_attempt {
	PROBE_CANCEL, /* only if a CIPSEND may be open: the server must not get our commands as data */
	PROBE_PLAIN,
	PROBE_PLAIN_AGAIN,
	PROBE_PLUS, /* leaves passthrough, cancels a CIPSEND (capture 54) */
	PROBE_PLUS_AFTER,
	PROBE_FILLED, /* completes a SYSMFG block, which nothing cancels (capture 54) */
	PROBE_FILLED_AGAIN,
	PROBE_ATTEMPTS,
};

static void probe_attempt(struct device *dev);

static void probe_next(struct device *dev)
{
	dev->attempt++;
	dev->step_no = 0;
	probe_attempt(dev);
}

/* ---- the proof ---- */

static void probe_quiet(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		probe_next(dev);
		return;
	}
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

static void probe_flushed(struct device *dev, enum chan_result result)
{
	/* ERROR, or nothing where it was taken for what it is; something old may have come instead. */
	probe_ask(dev);
}

static void probe_wait_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	if (dev->attempt == PROBE_CANCEL && dev->chan.send_open) {
		dev->chan.send_open = 0;
		chan_write(&dev->chan, "+++", 3);
		device_wait(dev, PROBE_GUARD, probe_wait_over);
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
	/* What is half read or still to come of an earlier attempt must not count for this one. */
	chan_reset(&dev->chan);
	switch ((enum probe_attempt)dev->attempt) {
	case PROBE_CANCEL:
		if (dev->chan.send_open)
			device_wait(dev,
				    dev->chan.send_open * dev->chan.byte_time / 1000 + PROBE_GUARD,
				    probe_wait_over);
		else
			probe_ask(dev);
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
	device_fail(dev,
		    "no answer from a chip at %u baud (tried AT, leaving passthrough with +++, and "
		    "completing an unfinished data block); is this the AT port, and its rate?",
		    dev->settings->baud);
}

void probe_start(struct device *dev)
{
	if (dev->booted)
		dev->chan.send_open = 0;
	dev->booted = false;
	dev->attempt = dev->chan.send_open ? PROBE_CANCEL : PROBE_PLAIN;
	dev->step_no = 0;
	probe_attempt(dev);
}
