/* SPDX-License-Identifier: MIT */
/*
 * Writes that end without an answer, as where the chip's supply breaks down in them, or the line loses a byte of each.
 * The chip is brought up anew then, and the value is written again; as this wears the flash out, and keeps all else
 * from being served, a value that has met this several times on end is left alone for a while, as one that the chip
 * refuses is. Values are known by their digests, so that newer material is written at once.
 */
#include <string.h>

#include "device/provision.h"

/* What happens to a cable or a supply once, or twice, is no reason. */
#define LOST_MAX 3
/* So long it is left alone: doubled from the first to the second. */
#define LOST_WAIT (5 * 60 * TIMERS_S)
#define LOST_WAIT_MAX (60 * 60 * TIMERS_S)

static struct lost_writes *lost_find(struct device *dev, const uint8_t digest[CERT_DIGEST_SIZE])
{
	for (size_t i = 0; i < LOST_WRITES_MAX; i++)
		if (dev->lost_writes[i].times > 0 &&
		    memcmp(dev->lost_writes[i].digest, digest, CERT_DIGEST_SIZE) == 0)
			return &dev->lost_writes[i];
	return NULL;
}

/* A free place, or that of the oldest. */
static struct lost_writes *lost_place(struct device *dev)
{
	struct lost_writes *oldest = &dev->lost_writes[0];

	for (size_t i = 0; i < LOST_WRITES_MAX; i++) {
		if (dev->lost_writes[i].times == 0)
			return &dev->lost_writes[i];
		if (dev->lost_writes[i].last < oldest->last)
			oldest = &dev->lost_writes[i];
	}
	return oldest;
}

static uint64_t lost_until(const struct lost_writes *lost)
{
	uint64_t wait = LOST_WAIT;

	for (unsigned int i = LOST_MAX; i < lost->times && wait < LOST_WAIT_MAX; i++)
		wait *= 2;
	return lost->last + (wait < LOST_WAIT_MAX ? wait : LOST_WAIT_MAX);
}

bool lost_is_left_alone(struct device *dev, const uint8_t digest[CERT_DIGEST_SIZE])
{
	const struct lost_writes *lost = lost_find(dev, digest);
	uint64_t now = dev->timers->now, until;

	if (!lost || lost->times < LOST_MAX)
		return false;
	until = lost_until(lost);
	if (now >= until)
		return false;
	if (!timer_armed(&dev->lost_timer))
		timer_arm(&dev->lost_timer, until - now);
	return true;
}

void lost_timer_is_due(struct timer *timer)
{
	struct device *dev = container_of(timer, struct device, lost_timer);

	/* Of a chip that is not in service it is tried when it comes back. */
	device_provision(dev);
}

void lost_write_begins(struct device *dev, const uint8_t digest[CERT_DIGEST_SIZE])
{
	dev->write_runs = true;
	memcpy(dev->write_digest, digest, CERT_DIGEST_SIZE);
}

void lost_write_ends(struct device *dev, bool good)
{
	struct lost_writes *lost = lost_find(dev, dev->write_digest);

	if (lost && good)
		lost->times = 0;
	dev->write_runs = false;
}

void lost_note(struct device *dev)
{
	struct lost_writes *lost;

	if (!dev->write_runs)
		return;
	dev->write_runs = false;
	lost = lost_find(dev, dev->write_digest);
	if (!lost) {
		lost = lost_place(dev);
		lost->times = 0;
		memcpy(lost->digest, dev->write_digest, CERT_DIGEST_SIZE);
	}
	lost->times++;
	lost->last = dev->timers->now;
}
