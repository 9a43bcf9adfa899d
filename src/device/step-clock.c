/* SPDX-License-Identifier: MIT */
/* The chip's clock, without which it cannot judge a certificate; it starts at 1970 (protocol fact 5). */
#include <time.h>

#include "device/internal.h"

static void clock_set(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK) {
		device_fail(dev, "the chip refuses to set its clock");
		return;
	}
	device_enter_state(dev, DEVICE_READY);
}

void clock_start(struct device *dev)
{
	time_t now = dev->ops->wallclock(dev->userdata);

	if (now < CLOCK_EARLIEST) {
		device_fail(dev, "the host's own clock is not set, certificates cannot be judged");
		return;
	}
	device_begin(dev, "AT+SYSTIMESTAMP");
	at_line_int(&dev->cmd.line, (long)now);
	at_line_end(&dev->cmd.line);
	device_run(dev, DEVICE_TIMEOUT, NULL, clock_set);
}
