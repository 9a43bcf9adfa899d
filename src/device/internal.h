/* SPDX-License-Identifier: MIT */
/* What the files of device/ share and nobody else needs. */
#pragma once

#include "device/device.h"
#include "util/log.h"

/* Lines of the log about a device. */
#define dev_log(level, dev, ...)                                                                   \
	log_object((level), &(struct log_object){ .device = (dev)->settings->name }, __VA_ARGS__)

#define dev_error(dev, ...) dev_log(LOG_LEVEL_ERROR, dev, __VA_ARGS__)
#define dev_warning(dev, ...) dev_log(LOG_LEVEL_WARNING, dev, __VA_ARGS__)
#define dev_notice(dev, ...) dev_log(LOG_LEVEL_NOTICE, dev, __VA_ARGS__)
#define dev_info(dev, ...) dev_log(LOG_LEVEL_INFO, dev, __VA_ARGS__)
#define dev_debug(dev, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			dev_log(LOG_LEVEL_DEBUG, dev, __VA_ARGS__);                                \
	} while (0)

/* What a command that touches neither flash nor network may take. */
#define DEVICE_TIMEOUT (3 * TIMERS_S)
/* Flash: writes take 0.1..0.8 s, erasing 0.4..1 s on the recorded chip (protocol fact 12). */
#define DEVICE_TIMEOUT_FLASH (15 * TIMERS_S)
/*
 * From the last byte of a value to OK: twice the longest (1.2 s in capture 63). Nothing can be asked
 * meanwhile, and a chip that has lost a byte of it waits for ever; one that is given up too soon is found
 * busy, and what it has written is read before it is written again.
 */
#define DEVICE_TIMEOUT_WRITE (2400 * TIMERS_MS)
/* From a reset to `ready`: 1..3 s (field notes), the recorded chip takes up to 8 s (capture 20). */
#define DEVICE_TIMEOUT_BOOT (15 * TIMERS_S)

/* AT+CWSTATE?: joined, without an address and with one; joining */
#define DEVICE_CWSTATE_NO_ADDRESS 1
#define DEVICE_CWSTATE_CONNECTED 2
#define DEVICE_CWSTATE_JOINING 3

/* The only writer of dev->state; also starts what the state is there for. */
void device_enter_state(struct device *dev, enum device_state state);

/* The bring-up cannot go on: says why (once, while the reason stays the same) and tries again later. */
__attribute__((format(printf, 2, 3))) void device_fail(struct device *dev, const char *format, ...);
/* Chip and host no longer agree: all links end, the chip is looked for again. */
void device_recover(struct device *dev, const char *why);
/* It has restarted, which starts it over; unless we have asked for that, it counts like losing step. */
void device_has_restarted(struct device *dev);
/* Whether that was asked of it, by AT+RST. */
bool device_awaits_ready(const struct device *dev);
/* Lets a chip go that is held in reset by DTR and RTS. */
void device_end_reset(struct device *dev);
/* Resets the chip by command and waits for `ready`. */
void device_restart_chip(struct device *dev, const char *why);

/* Starts the line of a plain command in dev->cmd. */
void device_begin(struct device *dev, const char *name);
/*
 * Runs the command in dev->cmd.line (made and ended by the caller); then @step is called, unless the
 * chip was reset or lost meanwhile. @on_line may be NULL.
 */
void device_run(struct device *dev, uint64_t timeout,
		void (*on_line)(struct chan_cmd *cmd, const char *text, size_t len),
		void (*step)(struct device *dev, enum chan_result result));
/* The same for a command without arguments. */
void device_run_plain(struct device *dev, const char *command, uint64_t timeout,
		      void (*on_line)(struct chan_cmd *cmd, const char *text, size_t len),
		      void (*step)(struct device *dev, enum chan_result result));
/* dev->timer with @fn as its end. */
void device_wait(struct device *dev, uint64_t delay, void (*fn)(struct timer *timer));

void device_notify_room(struct device *dev);
/* Tells the observers what has changed: bits of enum device_fact. */
void device_note(struct device *dev, unsigned int facts);
/* What was wrong last; "": nothing. */
__attribute__((format(printf, 2, 3))) void device_set_error(struct device *dev, const char *format,
							    ...);
/* Looks for the chip anew, and resets it as soon as it answers if @reset. */
void device_start_over(struct device *dev, bool reset);
/* Resets the chip, that has just answered. */
void device_reset_now(struct device *dev);

static inline struct device *device_of_cmd(struct chan_cmd *cmd)
{
	return container_of(cmd, struct device, cmd);
}

static inline struct device *device_of_timer(struct timer *timer)
{
	return container_of(timer, struct device, timer);
}

/* The step machines; each ends in device_enter_state() or device_fail(). */
void probe_start(struct device *dev);
void identify_start(struct device *dev);
/* dev->mac has consequences that stay, and was not told twice: chip_check() is called again with the next answer. */
void identify_mac_again(struct device *dev);
void configure_start(struct device *dev);
/* step-line.c: DEVICE_TUNING if there is anything to be done about the line, else what comes after. */
void line_begin(struct device *dev);
void line_start(struct device *dev);
/* The proof that runs is given up. */
void line_stop(struct device *dev);
/* Bytes of a proof. */
void line_feed(struct device *dev, const uint8_t *data, size_t len);
/* The host's end, and what depends on it. 0 or as device_ops.set_line(). */
int line_set(struct device *dev, unsigned int baud, bool rtscts);
/* For whoever looks for the chip: it cannot be held up, and is not listened to as in a proof. */
void line_listen(struct device *dev);
/* It has just said `ready`, or answered at the rate that it has after a reset. */
void line_was_reset(struct device *dev);
/* Where the chip may be: the rate after a reset first. Returns how many. */
#define LINE_RATES_MAX 16
size_t line_rates(const struct device *dev, unsigned int rates[LINE_RATES_MAX]);
/* AT+UART_CUR, written while nobody listens. */
void line_write_rate(struct device *dev, unsigned int baud);
/* Bytes have come: if they are no message, the chip may have another rate by now. */
void line_watch_noise(struct device *dev);
void line_on_noise(struct timer *timer);
/* A report that came among other bytes. */
void device_report(struct device *dev, const struct at_report *report);
void provision_start(struct device *dev);
void provision_stop(struct device *dev);
/* As device_provision(), but nothing has changed. */
void provision_again(struct device *dev);
/* dev->lost_timer */
void lost_timer_is_due(struct timer *timer);
/* dev->unread_timer */
void provision_unread_is_due(struct timer *timer);
/* Reads again what stands in these slots (-1: none), and repairs it; false if there is nothing to read, or
 * something else is being done. Ends in diagnose_rechecked(), perhaps at once. */
bool provision_recheck(struct device *dev, int ca, int pki);
/* A slot that new connections would use is being written. */
bool provision_is_in_place(const struct device *dev);
/* step-value.c: one value is being read or written by itself; provisioning comes after it. */
bool values_are_busy(const struct device *dev);
/* A provisioning has ended: who waits for that goes on. */
void values_resume(struct device *dev);
/* No answer: the chip leaves service. */
void values_time_out(struct device *dev);
/* What was found under a key stands there no longer. */
void values_forget(struct device *dev, const char *key);
/* What was found on another chip is forgotten. */
void values_check_chip(struct device *dev);
void values_free(struct device *dev);
/* step-chip.c: goes on only with the chip that belongs here. */
void chip_check(struct device *dev);
void unknown_chip_start(struct device *dev);
/* Makes the settings that come before a join, then calls join_prepared(). */
void wifi_prepare(struct device *dev);
void join_start(struct device *dev);
void join_prepared(struct device *dev);
void join_report(struct device *dev, const struct at_report *report);
/* Another network is wanted, or none: goes there from wherever the chip is now. */
void join_again(struct device *dev);
/* As join_again(), for whoever has waited for the end of a command. */
void join_is_due(struct device *dev);
/* What the chip knows of Wi-Fi is not known any more. */
void wifi_forget(struct device *dev);
void clock_start(struct device *dev);
/* `+TIME_UPDATED` */
void clock_report(struct device *dev);
/* Of a chip in service: whatever its time is, it gets it anew. */
void clock_set_now(struct device *dev);
void clock_set_source(struct device *dev, enum device_clock source);
static inline bool device_wants_enterprise(const struct device *dev)
{
	return dev->settings->has_wifi && dev->settings->wifi.has_enterprise;
}

/* An enterprise network is what it joins now. */
static inline bool device_joins_enterprise(const struct device *dev)
{
	return !dev->network && device_wants_enterprise(dev);
}

/* If a tunnel of this chip goes to an IPv6 address, or wants one. */
bool device_wants_ipv6(const struct device *dev);

/* request.c; see request-internal.h */
int requests_init(struct device *dev);
void requests_deinit(struct device *dev);
/* For those that make one: an error frees it. @ret may be NULL. */
int request_submit_or_free(struct device_request *req, struct device_request **ret);
struct device_network *network_free(struct device_network *network);

/* sample.c: what is asked of a chip in service now and then, in idle time. */
int sample_init(struct device *dev);
void sample_deinit(struct device *dev);
/* Soon, from the beginning. */
void sample_soon(struct device *dev);
/* A connection has failed: is there a network at all? */
void sample_doubt(struct device *dev);

/* link.c, called by the device */
int link_init(struct link *link, struct device *dev, int id);
void link_deinit(struct link *link);
void link_reset(struct link *link);
void link_report_connect(struct link *link);
void link_report_closed(struct link *link);

/* link-send.c */
/* A link is open now. */
void link_send_start(struct link *link);
/* A block of its data, in either direction: less where others want the channel or may want it soon. */
size_t link_block_max(const struct link *link);
/* link-receive.c: @data NULL: the block was right. */
void link_ipd(struct link *link, const uint8_t *data, size_t len);
/* `+IPD` without data: a passive link has something, perhaps @len bytes. */
void link_announced(struct link *link, size_t len);
int link_receive_init(struct link *link);
/* It is being opened, for a new user; and that has ended. */
void link_receive_open(struct link *link);
void link_receive_end(struct link *link);
/* It has just been opened, or all was sent: an answer may come soon. */
void link_expects(struct link *link);
/* Reads or waits, as the link is. */
void link_read_on(struct link *link);
/* The chip has said CLOSED: true if the link is read once more, and ended then. */
bool link_drains(struct link *link);
/* The receive types as they should be, wherever they are not. */
void device_receive_update(struct device *dev);
/* The chip was told so, for all links. */
void device_receive_is_set(struct device *dev);
/* All links are passive, from the beginning. */
static inline bool device_is_passive(const struct device *dev)
{
	return dev->settings->receive == CONFIG_RECEIVE_PASSIVE;
}

/* link.c, for the other files of a link */
/* Tells the user and closes. */
void link_abort(struct link *link, enum link_end end);
/* The same, but if Wi-Fi is gone that is the reason. */
void link_fail(struct link *link, enum link_end end);
/* The user is gone and the chip may not be: closes, unless a command of this link still runs. */
void link_shut(struct link *link);
/* Runs link->cmd, whose line was made and ended. */
void link_run(struct link *link, enum chan_lane lane, uint64_t timeout,
	      void (*done)(struct chan_cmd *cmd, enum chan_result result));
/* link->timer with @fn as its end. */
void link_wait(struct link *link, uint64_t delay, void (*fn)(struct timer *timer));
/* The link of an ended command, first thing in done(). */
struct link *link_of_cmd(struct chan_cmd *cmd);
/* Start the line of a plain command: without, and with the link's number. */
void link_begin(struct link *link, const char *name);
void link_plain(struct link *link, const char *name);
/* AT+CIPDOMAIN for the target's host, AT+CIPSTART for the target, both without their end. */
/* @timeout in s, 0: as the firmware likes. */
void link_domain_line(struct link *link, unsigned int timeout);
void link_start_line(struct link *link, bool tls, unsigned int timeout);

/* link-diagnose.c: CIPSTART has failed; ends in link_abort() with the reason. */
void diagnose_start(struct link *link);
/* What was suspected has been read again; @wrote: and it was not what it should be. */
void diagnose_rechecked(struct device *dev, bool wrote);

/* Nothing moves and nobody connects on the other links: a command that takes its time harms nobody. */
bool device_is_quiet(const struct device *dev, const struct link *except);
/* A link has become free: what only it was using may go. */
void device_link_freed(struct device *dev);

/*
 * 2026-01-01: the host's clock cannot be before the time this was written. A host without a battery
 * clock starts there or at 1970, and its chip would accept what has expired.
 */
#define CLOCK_EARLIEST 1767225600
