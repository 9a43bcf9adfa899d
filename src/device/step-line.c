/* SPDX-License-Identifier: MIT */
/*
 * The line: a higher rate than the one that the chip starts with, and RTS/CTS. Both last until the chip's
 * next reset; nothing is written to its flash.
 *
 * Nothing is believed of a rate, or of flow control, that was not proven: with echo on, a line longer than
 * any FIFO comes back byte for byte. The line is no command, and overlong, and so it is answered with ERROR
 * (capture 01). What has failed is not tried again with this chip as long as the port stays open.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "util/log.h"

/* OK to UART_CUR comes at the old rate, and then the chip switches (captures 04; field notes 2.5). */
#define LINE_SETTLE (20 * TIMERS_MS)
/* An idle chip answers within milliseconds, and a host that has much to do must not be taken for a bad line. */
#define LINE_HELLO (400 * TIMERS_MS)
#define LINE_HELLOS 3
/* Longer than the 128 bytes of a hardware FIFO, shorter than the 2048 of the chip's input ring. */
#define LINE_PROOF_LEN 1500
#define LINE_PROOFS 4
/* Beside what the bytes take on the wire. */
#define LINE_PROOF_MARGIN (300 * TIMERS_MS)
/*
 * A stalled round trip: more than all that may lie on the way, which is 2048 + 128 bytes of the chip's
 * input, 8192 of its output, 4 KiB and what it runs over by at the host's end, and the host's own output.
 * A pseudo-terminal takes about 20 KiB either way.
 */
#define LINE_STALL_LEN 65536
#define LINE_STALL_PIECE 2048
#define LINE_PUMP (10 * TIMERS_MS)
/* Nothing has moved for so long: what is too fast is held up. A piece takes 178 ms at 115200 baud. */
#define LINE_STALLED (400 * TIMERS_MS)
#define LINE_STALL_MARGIN (2 * TIMERS_S)
/*
 * A chip that cannot be understood, or does not speak, is told to go back; more than once, because the
 * first one may be lost, or come while it is busy with the end of a proof.
 */
#define LINE_RETURNS 3
#define LINE_RETURN_PAUSE (60 * TIMERS_MS)
/* What a restart says at another rate is no message: so long without its end makes it noise. */
#define LINE_NOISE (150 * TIMERS_MS)

#define LINE_STILL_THERE (1 * TIMERS_S)

/* Rates that adapters and drivers have. */
static const unsigned int usual_rates[] = { 4000000, 3000000, 2000000, 1500000, 1000000,
					    921600,  460800,  230400,  115200,  57600 };

#define N_USUAL (sizeof(usual_rates) / sizeof(*usual_rates))

static void line_prove(struct device *dev);
static void line_lost(struct device *dev, const char *why);

/* ---- rates ---- */

int line_set(struct device *dev, unsigned int baud, bool rtscts)
{
	int r;

	if (!dev->ops->set_line)
		return -ENOTSUP;
	r = dev->ops->set_line(dev->userdata, baud, rtscts);
	if (r < 0)
		return r;
	chan_set_baud(&dev->chan, baud);
	if (dev->baud != baud) {
		dev->baud = baud;
		device_note(dev, DEVICE_FACT_LINE);
	}
	return 0;
}

static void line_set_rtscts(struct device *dev, bool rtscts)
{
	if (dev->rtscts == rtscts)
		return;
	dev->rtscts = rtscts;
	device_note(dev, DEVICE_FACT_LINE);
}

/* No flow control at the host's end, whatever the chip was told; what a CTS that is off held back goes nowhere. */
static void line_plain(struct device *dev, unsigned int baud)
{
	line_stop(dev);
	if (dev->flow_set || dev->baud != baud)
		line_set(dev, baud, false);
	dev->flow_set = false;
	line_set_rtscts(dev, false);
}

void line_listen(struct device *dev)
{
	line_plain(dev, dev->baud);
}

void line_was_reset(struct device *dev)
{
	dev->chip_baud = dev->settings->baud;
	line_plain(dev, dev->settings->baud);
}

/* The next lower one that may be tried, above that of the start; 0: none. */
static unsigned int line_below(const struct device *dev, unsigned int limit)
{
	const struct config_device *settings = dev->settings;

	if (settings->max_baud <= settings->baud)
		return 0;
	if (settings->max_baud < limit)
		return settings->max_baud;
	for (size_t i = 0; i < N_USUAL; i++)
		if (usual_rates[i] < limit && usual_rates[i] < settings->max_baud &&
		    usual_rates[i] > settings->baud)
			return usual_rates[i];
	return 0;
}

static unsigned int line_wanted(const struct device *dev)
{
	unsigned int rate = line_below(dev, dev->line_failed ? dev->line_failed : UINT32_MAX);

	return rate && !dev->line_fixed ? rate : dev->settings->baud;
}

static void add_rate(unsigned int rates[LINE_RATES_MAX], size_t *n, unsigned int rate)
{
	for (size_t i = 0; i < *n; i++)
		if (rates[i] == rate)
			return;
	if (rate && *n < LINE_RATES_MAX)
		rates[(*n)++] = rate;
}

size_t line_rates(const struct device *dev, unsigned int rates[LINE_RATES_MAX])
{
	size_t n = 0;

	add_rate(rates, &n, dev->settings->baud);
	if (dev->line_fixed || !dev->ops->set_line)
		return n;
	add_rate(rates, &n, dev->chip_baud);
	add_rate(rates, &n, dev->line_rate);
	/* Also those that have failed here: another espatd may have found that they work. */
	for (unsigned int rate = UINT32_MAX; (rate = line_below(dev, rate));)
		add_rate(rates, &n, rate);
	return n;
}

static bool line_is_to_flow(const struct device *dev, unsigned int rate)
{
	switch (dev->settings->flow_control) {
	case CONFIG_FLOW_AUTO:
		return rate > 115200;
	case CONFIG_FLOW_RTSCTS:
		return true;
	case CONFIG_FLOW_NONE:
		return false;
	}
	return false;
}

static bool line_wants_flow(const struct device *dev, unsigned int rate)
{
	return !dev->line_fixed && !dev->flow_failed && line_is_to_flow(dev, rate);
}

const char *device_flow_error(const struct device *dev)
{
	if (dev->rtscts || !dev->flow_failed || !line_is_to_flow(dev, device_baud(dev)))
		return "";
	return dev->flow_failed;
}

/* ---- noise ---- */

void line_watch_noise(struct device *dev)
{
	if (dev->state == DEVICE_PROBING || dev->state == DEVICE_TUNING ||
	    dev->baud == dev->settings->baud || at_lexer_idle(&dev->chan.lexer))
		timer_cancel(&dev->noise_timer);
	else
		timer_arm(&dev->noise_timer, LINE_NOISE);
}

static void noise_answered(struct chan_cmd *cmd, enum chan_result result)
{
}

void line_on_noise(struct timer *timer)
{
	struct device *dev = container_of(timer, struct device, noise_timer);

	/*
	 * Half a message, and no more: asked whether it is still there. It is, if only the rest is late;
	 * no answer is the channel's trouble.
	 */
	if (dev->state <= DEVICE_PROBING || dev->state == DEVICE_FAILED)
		return;
	if (dev->chan.current) {
		chan_ask_now(&dev->chan, LINE_STILL_THERE);
		return;
	}
	chan_cmd_begin(&dev->noise_cmd, "AT");
	at_line_end(&dev->noise_cmd.line);
	dev->noise_cmd.timeout = LINE_STILL_THERE;
	dev->noise_cmd.done = noise_answered;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->noise_cmd);
}

/* ---- a proof ---- */

/*
 * No letter of these begins a report, which may come in the middle (protocol fact 18), and none ends a
 * line or makes three `+`.
 */
static const char alphabet[] = "acdefghijklmnopqstuvwxyzBCDEFGHIJKLMNOPQTUVXYZ!#$%&*-./:;<=?@^_~";

static uint8_t proof_byte(uint32_t *seed, size_t i)
{
	if (i < 3)
		return (uint8_t) "AT+"[i];
	*seed = *seed * 1664525 + 1013904223;
	return (uint8_t)alphabet[(*seed >> 16) % (sizeof(alphabet) - 1)];
}

static void proof_begin(struct device *dev, size_t len)
{
	struct line_proof *proof = &dev->proof;
	unsigned int rounds = proof->rounds;
	uint32_t seed = (uint32_t)dev->ops->random(dev->userdata) + rounds;

	*proof = (struct line_proof){
		.active = true,
		.len = len,
		.write_seed = seed,
		.read_seed = seed,
		.rounds = rounds,
	};
}

/* So many more of its bytes, and its end with the last one. */
static void proof_write(struct device *dev, size_t n)
{
	uint8_t bytes[LINE_STALL_PIECE + 2];
	struct line_proof *proof = &dev->proof;
	size_t i;

	for (i = 0; i < n && proof->written < proof->len; i++)
		bytes[i] = proof_byte(&proof->write_seed, proof->written++);
	if (proof->written == proof->len) {
		bytes[i++] = '\r';
		bytes[i++] = '\n';
	}
	chan_write(&dev->chan, bytes, i);
}

static void proof_is_good(struct device *dev);

/* A line among the bytes, or behind them. Returns false if the proof is over. */
static bool proof_line(struct device *dev)
{
	struct line_proof *proof = &dev->proof;
	struct at_report report;

	while (proof->text_len > 0 && (proof->text[proof->text_len - 1] == '\r' ||
				       proof->text[proof->text_len - 1] == '\n'))
		proof->text_len--;
	if (proof->text_len == 0)
		return true;
	proof->text[proof->text_len] = '\0';
	report = at_report_parse(proof->text, proof->text_len);
	proof->text_len = 0;
	if (report.type == AT_REPORT_ERROR && proof->matched == proof->len) {
		proof_is_good(dev);
		return false;
	}
	if (report.type < AT_REPORT_READY) {
		line_lost(dev, "what came back is not what was sent");
		return false;
	}
	device_report(dev, &report);
	return proof->active;
}

/* Returns false if the proof is over. */
static bool proof_take(struct device *dev, uint8_t byte)
{
	struct line_proof *proof = &dev->proof;
	uint32_t seed = proof->read_seed;

	if (proof->text_len == 0 && proof->matched < proof->written &&
	    byte == proof_byte(&seed, proof->matched)) {
		proof->read_seed = seed;
		proof->matched++;
		return true;
	}
	if (proof->matched < proof->len && proof->text_len == 0 && !strchr("W0123456789+", byte)) {
		line_lost(dev, "what came back is not what was sent");
		return false;
	}
	if (proof->text_len + 1 >= sizeof(proof->text)) {
		line_lost(dev, "more came back than was sent");
		return false;
	}
	proof->text[proof->text_len++] = (char)byte;
	return byte != '\n' || proof_line(dev);
}

void line_feed(struct device *dev, const uint8_t *data, size_t len)
{
	chan_skip(&dev->chan, len);
	for (size_t i = 0; i < len; i++)
		if (!proof_take(dev, data[i]))
			return;
}

void line_stop(struct device *dev)
{
	timer_cancel(&dev->noise_timer);
	if (dev->ops->hold)
		dev->ops->hold(dev->userdata, false);
	dev->proof = (struct line_proof){ 0 };
}

static void proof_time_is_up(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	line_lost(dev, dev->proof.matched == 0 ? "nothing came back" : "not all came back");
}

/* ---- the end ---- */

static void line_quiet(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		line_lost(dev, "no answer");
		return;
	}
	dev_info(dev, "the line runs at %u baud%s", dev->baud,
		 dev->rtscts ? ", with RTS/CTS" : ", without flow control");
	chan_found(&dev->chan);
	device_enter_state(dev, DEVICE_PROVISIONING);
}

static void line_done(struct device *dev)
{
	line_stop(dev);
	device_run_plain(dev, "ATE0", LINE_HELLO, NULL, line_quiet);
}

/* ---- commands for the chip's end ---- */

static void rate_line(char line[64], unsigned int baud, bool flow)
{
	snprintf(line, 64, "AT+UART_CUR=%u,8,1,0,%d", baud, flow ? 3 : 0);
}

void line_write_rate(struct device *dev, unsigned int baud)
{
	char line[64], text[80];

	rate_line(line, baud, false);
	chan_write(&dev->chan, text, (size_t)snprintf(text, sizeof(text), "%s\r\n", line));
}

/* ---- trouble: back to where it starts ---- */

static void line_returned(struct timer *timer)
{
	device_enter_state(device_of_timer(timer), DEVICE_PROBING);
}

static void line_return(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	if (dev->step_no < 2 * LINE_RETURNS) {
		/* Something without an end may stand in its line buffer; that is an ERROR first. */
		if (dev->step_no++ % 2 == 0)
			chan_write(&dev->chan, "\r\n", 2);
		else
			line_write_rate(dev, dev->settings->baud);
		device_wait(dev, LINE_RETURN_PAUSE + 64 * dev->chan.byte_time / 1000, line_return);
		return;
	}
	/* If it has heard that it is there now; else it is looked for. */
	line_set(dev, dev->settings->baud, false);
	device_wait(dev, LINE_SETTLE, line_returned);
}

/* @why: literal */
static void line_give_up_flow(struct device *dev, const char *why)
{
	dev->flow_failed = why;
	dev->flow_proven = 0;
	device_note(dev, DEVICE_FACT_LINE);
	if (dev->settings->flow_control == CONFIG_FLOW_RTSCTS)
		dev_warning(dev, "RTS/CTS do not work: %s; going on without", why);
	else
		dev_notice(dev, "RTS/CTS do not work: %s; going on without", why);
}

static void line_give_up_rate(struct device *dev, const char *why)
{
	unsigned int rate = dev->line_rate;

	dev->line_failed = rate;
	dev_warning(dev, "the line does not work at %u baud: %s; trying %u", rate, why,
		    line_wanted(dev));
}

/* Whatever is on its way, and wherever the chip is. @why: literal */
static void line_lost(struct device *dev, const char *why)
{
	line_stop(dev);
	chan_reset(&dev->chan);
	if (dev->flow_set)
		line_give_up_flow(dev, why);
	else if (dev->line_rate > dev->settings->baud)
		line_give_up_rate(dev, why);
	else
		dev_warning(dev, "the line does not work at %u baud: %s", dev->line_rate, why);
	line_set_rtscts(dev, false);
	dev->flow_set = false;
	/* What a CTS that is off held back goes nowhere. */
	line_set(dev, dev->baud, false);
	dev->step_no = 0;
	device_wait(dev, LINE_RETURN_PAUSE, line_return);
}

/* ---- flow control ---- */

static void stall_over(struct device *dev)
{
	struct line_proof *proof = &dev->proof;
	size_t left = proof->len + LINE_STALL_PIECE - proof->matched;

	/* All that has been written, and nothing more. */
	if (proof->written < proof->len)
		proof->len = proof->written + 1;
	proof_write(dev, 1);
	if (dev->ops->hold)
		dev->ops->hold(dev->userdata, false);
	device_wait(dev, 2 * left * dev->chan.byte_time / 1000 + LINE_STALL_MARGIN,
		    proof_time_is_up);
}

/* While nobody reads: until nothing moves any more. */
static void stall_pump(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);
	struct line_proof *proof = &dev->proof;
	size_t queued = dev->ops->queued ? dev->ops->queued(dev->userdata) : 0;

	if (queued < LINE_STALL_PIECE && proof->written + LINE_STALL_PIECE < proof->len) {
		proof_write(dev, LINE_STALL_PIECE);
		proof->moved = dev->timers->now;
	}
	if (queued != proof->queued)
		proof->moved = dev->timers->now;
	proof->queued = queued;
	if (dev->timers->now - proof->moved > LINE_STALLED)
		stall_over(dev);
	else
		device_wait(dev, LINE_PUMP, stall_pump);
}

static void stall_begin(struct device *dev)
{
	proof_begin(dev, LINE_STALL_LEN);
	if (dev->ops->hold)
		dev->ops->hold(dev->userdata, true);
	dev->proof.moved = dev->timers->now;
	stall_pump(&dev->timer);
}

static void flow_switched(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	if (line_set(dev, dev->line_rate, true) < 0) {
		line_lost(dev, "this port has none");
		return;
	}
	dev->proof.rounds = 0;
	if (dev->flow_proven == dev->line_rate)
		line_prove(dev);
	else
		stall_begin(dev);
}

static void flow_commanded(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		if (result == CHAN_E_ERROR) {
			/* Nothing was done. */
			dev->flow_set = false;
			line_give_up_flow(dev, "the firmware refuses");
			line_done(dev);
		} else {
			line_lost(dev, "no answer");
		}
		return;
	}
	device_wait(dev, LINE_SETTLE, flow_switched);
}

/*
 * A chip whose CTS is not wired says nothing any more, perhaps not even that it goes back: so it is not
 * asked for flow control where its own RTS cannot be seen.
 */
static void line_try_flow(struct device *dev)
{
	char line[64];

	if (dev->ops->cts && !dev->ops->cts(dev->userdata)) {
		line_give_up_flow(dev, "the chip's RTS cannot be seen");
		line_done(dev);
		return;
	}
	rate_line(line, dev->line_rate, true);
	dev->flow_set = true;
	device_run_plain(dev, line, LINE_HELLO, NULL, flow_commanded);
}

static void proof_is_good(struct device *dev)
{
	unsigned int rounds = ++dev->proof.rounds;

	timer_cancel(&dev->timer);
	dev->proof.active = false;
	if (dev->flow_set) {
		dev->flow_proven = dev->line_rate;
		line_set_rtscts(dev, true);
		line_done(dev);
	} else if (rounds < LINE_PROOFS) {
		line_prove(dev);
	} else if (line_wants_flow(dev, dev->line_rate)) {
		line_try_flow(dev);
	} else {
		line_done(dev);
	}
}

static void line_prove(struct device *dev)
{
	proof_begin(dev, LINE_PROOF_LEN);
	device_wait(dev, 3 * LINE_PROOF_LEN * dev->chan.byte_time / 1000 + LINE_PROOF_MARGIN,
		    proof_time_is_up);
	proof_write(dev, LINE_PROOF_LEN);
}

/* ---- the rate ---- */

static void line_greet(struct device *dev);

static void line_greeted(struct device *dev, enum chan_result result)
{
	if (result == CHAN_OK) {
		dev->proof.rounds = 0;
		line_prove(dev);
	} else if (++dev->step_no < LINE_HELLOS) {
		line_greet(dev);
	} else {
		line_lost(dev, "no answer");
	}
}

static void line_greet(struct device *dev)
{
	/* What the switch has made of the bytes on their way is none of this answer. */
	chan_reset(&dev->chan);
	device_run_plain(dev, "ATE1", LINE_HELLO, NULL, line_greeted);
}

static void line_switch(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	dev->chip_baud = dev->line_rate;
	if (line_set(dev, dev->line_rate, false) < 0) {
		line_lost(dev, "this port has no such rate");
		return;
	}
	dev->step_no = 0;
	line_greet(dev);
}

static void line_commanded(struct device *dev, enum chan_result result)
{
	switch (result) {
	case CHAN_OK:
		device_wait(dev, LINE_SETTLE, line_switch);
		return;
	case CHAN_E_ERROR:
		if (dev->line_rate > dev->settings->baud) {
			line_give_up_rate(dev, "the firmware refuses");
			line_begin(dev);
		} else {
			device_fail(dev, "the firmware refuses AT+UART_CUR");
		}
		return;
	case CHAN_E_TIMEOUT:
	case CHAN_E_DOUBT:
	case CHAN_E_RESET:
		/* At the rate that it has; the one that it was to have is not to blame. */
		line_stop(dev);
		device_fail(dev, "no answer to AT+UART_CUR");
		return;
	}
}

/* If the host's end can do it: a chip with a rate that nobody can reach is lost until it is reset. */
static bool line_can_do(struct device *dev)
{
	unsigned int before = dev->baud;
	int r;

	/* Also where the rate stays: a socket has no flow control, either. */
	r = line_set(dev, dev->line_rate, false);
	if (r == 0) {
		if (dev->line_rate != before)
			line_set(dev, before, false);
		return true;
	}
	if (r == -ENOTSUP) {
		dev->line_fixed = true;
		dev_notice(dev, "this port has no rate of its own: `max_baud` and `flow_control` "
				"are of no effect");
		if (dev->settings->flow_control == CONFIG_FLOW_RTSCTS) {
			dev->flow_failed = "this port has none";
			device_note(dev, DEVICE_FACT_LINE);
		}
	} else {
		line_give_up_rate(dev, "this port has no such rate");
	}
	return false;
}

static bool line_is_done(const struct device *dev)
{
	return dev->line_rate == dev->baud && dev->baud == dev->settings->baud &&
	       !line_wants_flow(dev, dev->line_rate);
}

void line_begin(struct device *dev)
{
	/* What another chip cannot do, this one may. */
	if (strcmp(dev->line_mac, dev->mac) != 0) {
		strcpy(dev->line_mac, dev->mac);
		dev->line_failed = 0;
		dev->flow_failed = NULL;
		dev->flow_proven = 0;
		device_note(dev, DEVICE_FACT_LINE);
	}
	do
		dev->line_rate = line_wanted(dev);
	while (!dev->line_fixed && !dev->provision_only && !line_is_done(dev) && !line_can_do(dev));
	/* What is written at the bench fits the rate of the start. */
	if (dev->line_fixed || dev->provision_only || line_is_done(dev))
		device_enter_state(dev, DEVICE_PROVISIONING);
	else
		device_enter_state(dev, DEVICE_TUNING);
}

void line_start(struct device *dev)
{
	char line[64];

	rate_line(line, dev->line_rate, false);
	device_run_plain(dev, line, DEVICE_TIMEOUT, NULL, line_commanded);
}
