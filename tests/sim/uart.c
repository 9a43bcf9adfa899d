/* SPDX-License-Identifier: MIT */
/* The serial line in virtual time. */
#include "uart.h"

/* On a bad line one byte of so many to the chip is damaged: short lines get through, long ones do not. */
#define UART_BAD_EVERY 200

static uint64_t byte_ns(unsigned baud)
{
	return (10000000000ull + baud - 1) / baud; /* rounded up: never faster than nominal */
}

static unsigned host_baud(const struct uart *u)
{
	return u->host_baud > 0 ? (unsigned)u->host_baud : u->chip_baud;
}

void uart_init(struct uart *u, unsigned baud, size_t rx_size)
{
	*u = (struct uart){
		.chip_baud = baud,
		.host_baud = -1,
		.rx_size = rx_size,
		.packet = UART_PACKET_MS * 1000000ull,
		.noise = 0x5eed1,
	};
}

void uart_free(struct uart *u)
{
	buf_free(&u->line);
	buf_free(&u->rx);
}

/* A UART tolerates about 3 % before it samples the wrong bit. */
bool uart_mismatch(const struct uart *u)
{
	uint64_t a = u->chip_baud, b = host_baud(u);

	return (a > b ? a - b : b - a) * 100 > 3 * a;
}

static bool too_fast(const struct uart *u)
{
	return u->max_baud && u->chip_baud > u->max_baud;
}

bool uart_noisy(const struct uart *u)
{
	return uart_mismatch(u) || too_fast(u);
}

void uart_garble(struct uart *u, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		u->noise = u->noise * 1664525 + 1013904223;
		data[i] ^= 1 | u->noise >> 24;
	}
}

size_t uart_room(const struct uart *u)
{
	size_t have = buf_len(&u->line);

	return have < UART_LINE ? UART_LINE - have : 0;
}

void uart_host_wrote(struct uart *u, uint64_t now_us, const uint8_t *data, size_t len)
{
	if (!buf_len(&u->line) && u->in_free < now_us * 1000)
		u->in_free = now_us * 1000;
	buf_add(&u->line, data, len);
}

/* The driver empties the FIFO into its ring as long as that has room. */
static void drain_fifo(struct uart *u)
{
	size_t ring = buf_len(&u->rx) - u->fifo, room = u->rx_size > ring ? u->rx_size - ring : 0;

	u->fifo -= u->fifo < room ? u->fifo : room;
}

static bool stopped(const struct uart *u)
{
	return u->chip_rts && !u->rts_cut && u->host_cts && u->fifo >= UART_FIFO_FULL;
}

/* Moves what has come over the wire by now. */
static void advance(struct uart *u, uint64_t now)
{
	uint64_t step = byte_ns(host_baud(u));
	bool noise = uart_mismatch(u);

	while (buf_len(&u->line)) {
		uint8_t b = *buf_data(&u->line);

		if (stopped(u)) {
			drain_fifo(u);
			if (stopped(u)) {
				/* RTS is off: the wire waits. */
				if (u->in_free < now)
					u->in_free = now;
				break;
			}
		}
		if (u->in_free + step > now)
			break;
		u->in_free += step;
		u->last_in = u->in_free;
		buf_eat(&u->line, 1);
		if (noise || (too_fast(u) && ++u->come % UART_BAD_EVERY == 0))
			uart_garble(u, &b, 1);
		if (u->fifo == UART_FIFO) {
			u->lost++;
			continue;
		}
		buf_add(&u->rx, &b, 1);
		u->fifo++;
		if (u->fifo >= UART_FIFO_FULL)
			drain_fifo(u);
	}
	/* A partly filled FIFO is delivered two byte-times after its last byte. */
	if (u->fifo && u->last_in + 2 * byte_ns(u->chip_baud) <= now)
		drain_fifo(u);
}

size_t uart_chunk(struct uart *u, uint64_t now_us, const uint8_t **data)
{
	advance(u, now_us * 1000);
	*data = buf_data(&u->rx);
	return buf_len(&u->rx) - u->fifo;
}

void uart_chunk_taken(struct uart *u, size_t len)
{
	buf_eat(&u->rx, len);
}

static void maybe_switch(struct uart *u)
{
	if (!u->next_baud || u->next_after)
		return;
	u->chip_baud = u->next_baud;
	u->chip_rts = u->next_rts;
	u->chip_cts = u->next_cts;
	u->next_baud = 0;
}

size_t uart_out(struct uart *u, uint64_t now_us, size_t queued)
{
	uint64_t now = now_us * 1000, n;

	if (!queued || (u->chip_cts && u->cts_cut))
		return 0;
	if (!u->out_busy) {
		if (u->out_free < now)
			u->out_free = now;
		u->out_busy = true;
	}
	n = now > u->out_free ? (now - u->out_free) / byte_ns(u->chip_baud) : 0;
	if (u->next_baud && n > u->next_after)
		n = u->next_after;
	return n < queued ? n : queued;
}

void uart_out_taken(struct uart *u, uint64_t now_us, size_t len, size_t wanted, size_t queued)
{
	u->out_free += len * byte_ns(u->chip_baud);
	/* The host does not read: what could not be delivered has not been sent either. */
	if (len < wanted)
		u->out_free = now_us * 1000;
	if (len >= queued)
		u->out_busy = false;
	if (u->next_baud) {
		u->next_after -= len < u->next_after ? len : u->next_after;
		maybe_switch(u);
	}
}

void uart_rate(struct uart *u, unsigned baud, unsigned flow, size_t after)
{
	u->next_baud = baud;
	u->next_rts = flow & 1;
	u->next_cts = flow & 2;
	u->next_after = after;
	maybe_switch(u);
}

uint64_t uart_next(const struct uart *u, size_t queued)
{
	uint64_t t = UINT64_MAX, step = byte_ns(host_baud(u)), have = buf_len(&u->line), need, in;

	if (have && !stopped(u)) {
		need = u->fifo < UART_FIFO_FULL ? UART_FIFO_FULL - u->fifo : 1;
		in = have >= need ? u->in_free + need * step
				  : u->in_free + have * step + 2 * byte_ns(u->chip_baud);
		t = in / 1000 + 1;
	} else if (u->fifo && u->fifo < UART_FIFO_FULL && buf_len(&u->rx) - u->fifo < u->rx_size) {
		t = (u->last_in + 2 * byte_ns(u->chip_baud)) / 1000 + 1;
	}
	if (queued && !(u->chip_cts && u->cts_cut)) {
		/* Delivered in the packets of a USB adapter, or when all has gone. */
		uint64_t packet = byte_ns(u->chip_baud) * queued, at;

		if (packet > u->packet)
			packet = byte_ns(u->chip_baud) > u->packet ? byte_ns(u->chip_baud)
								   : u->packet;
		at = (u->out_free + packet) / 1000 + 1;
		if (at < t)
			t = at;
	}
	return t;
}
