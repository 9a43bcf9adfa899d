/* SPDX-License-Identifier: MIT */
/*
 * The serial line between host and chip in virtual time: 10 bits a byte, the receive FIFO with its threshold and idle
 * time-out, the driver's ring, RTS/CTS, and noise while the ends disagree on the rate. Pure: time and bytes come from outside.
 */
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

#define UART_FIFO 128
#define UART_FIFO_FULL 120 /* at which the driver empties it: the border of a chunk */
#define UART_LINE 4096     /* of the host's own output queue */
#define UART_PACKET_MS 1   /* a USB adapter hands over what has come once in a millisecond */

struct uart {
	/* set by the owner */
	unsigned chip_baud;
	int host_baud;           /* -1: the same */
	bool chip_rts, host_cts; /* the chip stops the host only if both ends play along */
	uint64_t packet;         /* ns: of a long output, what is delivered to the host at once */
	size_t rx_size;          /* of the ring */
	bool rts_cut;            /* the chip's RTS is not wired to the host */
	bool cts_cut;            /* nothing is wired to its CTS, which is off so */
	unsigned max_baud;       /* above it the line is bad; 0: never */
	/* state */
	struct buf line;            /* written by the host, not yet on the wire */
	struct buf rx;              /* FIFO and ring: read by the chip's driver, or not yet */
	size_t fifo;                /* how many of them are still in the FIFO, at its end */
	uint64_t in_free, out_free; /* ns: until when the wire is taken */
	uint64_t last_in;           /* ns: when the last byte was complete */
	bool out_busy;
	unsigned next_baud; /* UART_CUR: after next_after more bytes of output */
	size_t next_after;
	bool next_rts, next_cts;
	bool chip_cts; /* it waits for CTS */
	size_t come;   /* on a bad line, since the last damaged byte */
	uint32_t noise;
	uint64_t lost;
};

void uart_init(struct uart *u, unsigned baud, size_t rx_size);
void uart_free(struct uart *u);
/* Bytes that the host may still write. */
size_t uart_room(const struct uart *u);
void uart_host_wrote(struct uart *u, uint64_t now_us, const uint8_t *data, size_t len);
/* The chunk that the chip can read now, 0 if there is none; eaten with uart_chunk_taken(). */
size_t uart_chunk(struct uart *u, uint64_t now_us, const uint8_t **data);
void uart_chunk_taken(struct uart *u, size_t len);
/* How many of queued bytes have left the chip by now; the owner delivers up to that many and says how many it did. */
size_t uart_out(struct uart *u, uint64_t now_us, size_t queued);
void uart_out_taken(struct uart *u, uint64_t now_us, size_t len, size_t wanted, size_t queued);
void uart_garble(struct uart *u, uint8_t *data, size_t len);
/* What the chip says is noise: the rates differ, or this one is too high for the line. */
bool uart_noisy(const struct uart *u);
bool uart_mismatch(const struct uart *u);
/* A new rate of the chip, once `after` more bytes have gone out. flow: 1 RTS, 2 CTS. */
void uart_rate(struct uart *u, unsigned baud, unsigned flow, size_t after);
/* us; UINT64_MAX: nothing to wait for. */
uint64_t uart_next(const struct uart *u, size_t queued);
