/* SPDX-License-Identifier: MIT */
/*
 * One of the chip's five link numbers. It is opened for one user, serves him, and is free again only
 * when the chip has closed it; it knows no client and no tunnel.
 *
 * Before every connect the trust settings are made anew, since the firmware forgets SNI, CN, ALPN and
 * PSK each time an established link closes (capture 44); any ERROR among them, or a CLOSED of this
 * link before CIPSTART's OK, voids the attempt.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chan/chan.h"
#include "config/config.h"
#include "util/timers.h"

struct device;
struct link;

/* Largest block of AT+CIPSEND (capture 31). */
#define LINK_BLOCK_MAX 8192
/*
 * And where somebody waits for the channel, or may at any moment: 33 ms at 921600 baud, which with what it
 * takes itself keeps a request of 64 bytes below 60 ms. Commands and answers then cost a tenth of the line.
 */
#define LINK_BLOCK_SHORT 3072
/*
 * Largest block of AT+CIPSENDL, which is used where the line has flow control, and all that want the channel have
 * much to send: that long at most it holds the channel, whoever comes then. With another direction in full use a
 * block waits twice for what is in the chip's output FIFO, for prompt and verdict, so it must be many times longer.
 */
#define LINK_STREAM_MAX 131072
#define LINK_STREAM_TIME (1200 * TIMERS_MS)

enum link_state {
	LINK_FREE,
	LINK_SETTING,    /* trust settings are being made */
	LINK_CONNECTING, /* CIPSTART is under way */
	LINK_OPEN,
	LINK_CLOSING, /* the user is gone, the chip is not yet done */
};

/* CIPSSLCCONF's authentication modes (capture 40). */
enum link_auth {
	LINK_AUTH_NONE = 0,   /* nothing is verified */
	LINK_AUTH_CLIENT = 1, /* our certificate is shown, nothing is verified */
	LINK_AUTH_SERVER = 2, /* the server is verified */
	LINK_AUTH_MUTUAL = 3,
};

/* Where to, and whom to trust. */
struct link_target {
	/* What the pointers below point into: the link has its own reference while it uses them. NULL: it
	 * lives until opened() or closed(), or link_close(). */
	struct config *owner;
	const char *host;
	unsigned int port;
	const char *server_name; /* SNI, and in the verifying modes the name that is checked */
	enum link_auth auth;
	int pki;                      /* slot of certificate and key, in the modes that show one */
	int ca;                       /* slot of the CA, in the modes that verify */
	const struct config_psk *psk; /* instead of certificates, in mode 0; NULL: none */
	const struct config_strings *alpn; /* NULL: none */
	const unsigned int *ciphers;       /* IANA numbers */
	size_t n_ciphers;                  /* 0: as the firmware likes */
	unsigned int keep_alive;           /* s; 0: none */
	unsigned int timeout;              /* s that CIPSTART may take; 0: as the firmware likes */
	enum config_family family;
};

/* Why a link has ended. */
enum link_end {
	LINK_END_PEER, /* the server has closed it: all that it sent was delivered */
	/* it was never open */
	LINK_END_NO_HOST,     /* the chip cannot look the host up */
	LINK_END_REFUSED,     /* nobody listens there, or it cannot be reached */
	LINK_END_TIMEOUT,     /* the server did not answer */
	LINK_END_TLS,         /* TCP works: the handshake failed, or the server is not trusted */
	LINK_END_NO_MATERIAL, /* certificate, key or PSK are not where they should be */
	LINK_END_CLOCK,       /* the chip's clock is wrong */
	LINK_END_MEMORY,      /* the chip has too little memory for another TLS link */
	LINK_END_WIFI,        /* also when it was open: Wi-Fi is gone */
	LINK_END_RESET,       /* also when it was open: the chip was reset or lost */
	LINK_END_SETTINGS,    /* the chip refused a trust setting */
	LINK_END_UNEXPLAINED, /* the chip said ERROR, and why was not looked into */
	LINK_END_VOID,        /* closed before it was open */
	/* it was open */
	LINK_END_SEND, /* a send failed or is in doubt */
	LINK_END_FLOW, /* the chip refused to change the receive type */
	LINK_END_LOST, /* bytes were lost on the line */
};

enum link_probe {
	LINK_PROBE_NO,
	LINK_PROBE_LATER, /* it would hold somebody up now */
	LINK_PROBE_YES,
};

struct link_ops {
	void (*opened)(void *user);
	/* Received bytes; only when data_end() follows are they sure to be right. */
	void (*data)(void *user, const uint8_t *data, size_t len);
	void (*data_end)(void *user);
	/* All that link_tx_submit() was given has gone; link_tx_buffer() has room again. */
	void (*sent)(void *user);
	/*
	 * A connect has failed. May it be looked into now, by commands that take their time and, if
	 * nothing else explains it, by one plain TCP connection? @quiet: nothing else moves on this
	 * chip. LINK_PROBE_LATER: asked again soon; LINK_PROBE_YES: it is being looked into.
	 */
	enum link_probe (*may_probe)(void *user, bool quiet);
	/* Nobody waits for a link of this chip. */
	bool (*alone)(void *user);
	/* The last call, once: the user is forgotten. Not called after link_close(). */
	void (*closed)(void *user, enum link_end end);
};

/* Optional settings that may still stand on the chip for a link, from an attempt that failed. */
enum link_left {
	LINK_LEFT_ALPN = 1 << 0,
	LINK_LEFT_PSK = 1 << 1,
	LINK_LEFT_CIPHERS = 1 << 2,
};

/* "2001:db8::1" */
#define LINK_ADDRESS_MAX 45

struct link {
	struct device *dev; /* weak */
	int id;
	enum link_state state;
	const struct link_ops *ops; /* NULL without a user */
	void *user;
	struct link_target target;
	int step;
	struct chan_cmd cmd;                /* settings, connect, send, close */
	bool running;                       /* cmd is submitted */
	bool diagnosing;                    /* what comes now is not the user's */
	bool briefly;                       /* only what is answered at once is asked */
	uint64_t started;                   /* when CIPSTART was sent, µs */
	uint64_t moved;                     /* when it last sent or received, µs */
	char address[LINK_ADDRESS_MAX + 1]; /* of a host whose name is too long for CIPSTART */
	long error_number;                  /* of +ERRNO; 0: none was told */
	enum link_end presumed;             /* by that, until it has been looked into */
	long answer;                        /* what a question of the diagnosis has brought */
	unsigned int left;                  /* enum link_left */
	bool connected;                     /* the chip has said CONNECT */
	bool established;                   /* and OK to CIPSTART */
	bool closed;                        /* the chip has said CLOSED */
	int missing;                        /* open here, and not for the chip, so many times */
	bool maybe_open;                    /* for the chip; it is closed again before it is used */
	struct timer timer; /* waits for more to send, for a late CLOSED, or for a quiet moment */
	/* CIPSSLCCONF as this link has it since the last `ready`; -1: not known */
	int conf_auth, conf_pki, conf_ca;
	bool conf_seen, conf_wrong; /* by the answer to CIPSSLCCONF? */
	uint8_t *tx;                /* tx_size bytes while the link is in use */
	size_t tx_size;
	size_t tx_len;
	size_t tx_off;
	size_t tx_block; /* in flight, or about to be */
	struct chan_share share;
	uint64_t sparse_until; /* it has sent little of late: others make room for it, µs */
	/* receive type, as the chip has it for this link; not used where it is one for all */
	bool passive;
	struct chan_cmd recv_cmd;
	bool recv_running;
	bool held; /* its user has no room */
	bool kept; /* since its type was set the chip has announced data, or given it when asked */
	/* reading from a passive link */
	struct chan_cmd fetch_cmd;
	bool fetching;       /* fetch_cmd is submitted */
	size_t ahead;        /* what was announced and not read so far: a hint, it may be wrong */
	bool fresh;          /* nothing of that was read so far */
	bool fetch_told;     /* there was some when fetch_cmd was submitted */
	bool refused;        /* and the answer was ERROR: it may have been too large */
	size_t fetch_size;   /* what it asks for */
	size_t fetched;      /* what it has brought */
	size_t fetch_limit;  /* what the chip has memory for, as far as is known */
	uint64_t looked;     /* when fetch_cmd was submitted last */
	struct timer look;   /* reads although nothing was announced */
	uint64_t look_delay; /* how long it waits next time */
};

/*
 * Opens a link that device_free_link() gave. Returns 0 (then opened() or closed() follows), -ENOMEM,
 * -EOPNOTSUPP for `ciphers` that the firmware has no command for, or -EINVAL / -E2BIG for a host or
 * name that no command can carry.
 */
int link_open(struct link *link, const struct link_target *target, const struct link_ops *ops,
	      void *user);
/* The user goes away; the link closes by itself. */
void link_close(struct link *link);
/*
 * Room for *size more bytes to send, or NULL: until sent() what was given before is under way. It is not while
 * it waits for its turn, and more may be added.
 */
uint8_t *link_tx_buffer(struct link *link, size_t *size);
/* Whether something that was given to it has not gone yet. */
bool link_tx_pending(const struct link *link);
/* Sends the first @len bytes of link_tx_buffer(), 1..*size. */
void link_tx_submit(struct link *link, size_t len);
/*
 * Whether the user has no room: then the chip is to keep what is received, unless the device's `receive` is
 * "active". What is on its way still comes.
 */
void link_hold(struct link *link, bool hold);

/* For people. */
const char *link_end_text(enum link_end end);
/* One word of a fixed set, see espatd(8), for what keeps a link from opening; NULL for other ends. */
const char *link_end_reason(enum link_end end);

/*
 * The longest start of @data that may be one block, whatever its command takes. A block never has three `+` in a row: where the
 * chip's UART happens to cut it so that they stand alone, they would cancel the send, and the rest
 * of the client's bytes would be read as a command (captures 54, 63).
 */
size_t link_block_len(const uint8_t *data, size_t len);
