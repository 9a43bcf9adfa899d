/* SPDX-License-Identifier: MIT */
/*
 * The simulated chip: AT command parser, links, NVS, Wi-Fi and clock, without any fd.
 *
 * The core is pure: bytes, network events and time go in, bytes come out. It never reads a clock: every entry takes
 * `now` (microseconds, monotonic), and sim_core_next() says when it wants to be ticked. Everything behind the chip's
 * antenna is reached through struct sim_core_ops; a call there never calls back into the core.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SIM_LINKS 5
#define SIM_MAX_AP 16
#define SIM_NAME_MAX 64 /* SNI, CN and host name (capture 40: 64 characters pass, 65 do not) */
#define SIM_ALPN_MAX 5
#define SIM_CIPHER_MAX 16
#define SIM_NEVER UINT64_MAX

struct sim_core;
struct sim_eap;

enum sim_type {
	SIM_TCP,
	SIM_UDP,
	SIM_SSL,
};

/* Which addresses of a name are wanted; the numbers are those of CIPDOMAIN. */
enum sim_family {
	SIM_ANY = 1, /* IPv4 rather than IPv6 */
	SIM_V4,
	SIM_V6,
};

struct sim_blob {
	const uint8_t *data; /* NULL: none */
	size_t len;
};

/* What the chip wants of one TLS connection; valid during the call that gets it. */
struct sim_tls {
	bool verify; /* chain, validity and, if name is set, the name */
	struct sim_blob ca, cert, key;
	const char *name; /* sent as SNI and checked: one value (capture 60); NULL: neither */
	const char *alpn[SIM_ALPN_MAX];
	int n_alpn;
	const char *psk_hint; /* identity; NULL: no PSK */
	struct sim_blob psk;
	uint16_t ciphers[SIM_CIPHER_MAX];
	int n_ciphers; /* 0: all */
	int64_t time;  /* the chip's clock, against which validity is checked */
};

struct sim_open {
	enum sim_type type;
	const char *ip;
	uint16_t port;
	uint16_t local_port; /* UDP; 0: any */
	unsigned udp_mode;   /* its peer: 0 fixed, 1 whoever else writes first, 2 who wrote last */
	const struct sim_tls *tls; /* for SIM_SSL */
};

/*
 * Addresses are texts in both directions, IPv4 or IPv6; the chip says IPv6 ones in its own way.
 * All calls may be NULL but those that the commands used need: a fuzz or unit test gives what it wants.
 * open, resolve and sntp return 0 (an event follows) or -errno (failed at once).
 */
struct sim_core_ops {
	int (*open)(void *ud, int link, const struct sim_open *o);
	/* Bytes taken (0: wait for sim_core_on_writable), or -errno. */
	ssize_t (*send)(void *ud, int link, const void *data, size_t len);
	/* Bytes got, 0 if there is nothing now, -EPIPE when the peer has closed, or another -errno. */
	ssize_t (*recv)(void *ud, int link, void *data, size_t len);
	/* Tells whether the core wants sim_core_on_readable(); a link with want false must not be polled. */
	void (*want_read)(void *ud, int link, bool want);
	void (*close)(void *ud, int link);
	/* Two look-ups at most are under way: token 0 for a command, 1 for SNTP. */
	int (*resolve)(void *ud, int token, const char *name, enum sim_family family,
		       const char *server);
	void (*resolve_cancel)(void *ud, int token);
	/* UDP: where the following sends go. */
	int (*udp_peer)(void *ud, int link, const char *ip, uint16_t port);
	int (*sntp)(void *ud, const char *server_ip);
	int (*ping)(void *ud, const char *ip);
	/* tls NULL: plain TCP; else cert, key and (if clients must show one) ca with verify set. */
	int (*listen)(void *ud, uint16_t port, bool v6, const struct sim_tls *tls);
	void (*unlisten)(void *ud);
	/* Enterprise Wi-Fi: 0 if the two sides of access point number ap accept each other, else -errno. */
	int (*eap)(void *ud, int ap, const struct sim_eap *e);
	/* The flash has changed: keep what sim_core_flash() gives, atomically. */
	void (*flash)(void *ud);
	/* A command line is complete and about to run. */
	void (*command)(void *ud, const char *line, size_t len);
	/* The UART's rate and flow control change after what has been said so far (flow: 1 RTS, 2 CTS). */
	void (*uart)(void *ud, unsigned baud, unsigned flow);
};

struct sim_ap {
	char ssid[33];
	char psk[65]; /* empty: open */
	int channel;
	uint8_t bssid[6];      /* all zero: one of the simulator's choice */
	bool hidden;           /* answers those that know its name */
	bool eap;              /* Enterprise, EAP-TLS */
	char eap_identity[33]; /* that it lets in; empty: any */
};

/* What the chip brings to an Enterprise access point; valid during the call that gets it. */
struct sim_eap {
	bool show;  /* certificate and key */
	bool check; /* the server, by the CA */
	struct sim_blob ca, cert, key;
	int64_t time; /* the chip's clock */
};

/* Times in milliseconds. The defaults are those of a chip in a hurry; sim_times_real() gives the recorded ones. */
struct sim_times {
	unsigned boot;      /* power-up to "ready" */
	unsigned join;      /* CWJAP to GOT IP */
	unsigned join_fail; /* CWJAP to its failure */
	unsigned scan;
	unsigned flash;     /* one NVS write or read */
	unsigned latency;   /* between command and answer, and a block's last byte and "Recv" */
	unsigned handshake; /* added to a TLS connect */
	unsigned connect_timeout; /* unless CIPSTART names one */
	unsigned dns_timeout;
};

struct sim_factory_item {
	const char *ns;  /* of Enterprise Wi-Fi: what stands behind the firmware's prefix */
	const char *key; /* NULL: Enterprise Wi-Fi, only with_eap, the same as the namespace */
	uint8_t type;
	const uint8_t *data;
	uint32_t len;
};

struct sim_config {
	const char *firmware; /* NULL: the default profile */
	struct sim_ap ap[SIM_MAX_AP];
	int n_ap;
	uint8_t mac[6];
	struct sim_times times;
	unsigned baud;    /* of a new flash's UART_DEF */
	size_t tx_buffer; /* bytes that may wait for the host before the network is no longer read */
	bool with_eap;    /* a firmware that was built with AT+CWJEAP */
	unsigned heap;    /* bytes; 0: the profile's */
	const struct sim_factory_item *factory;
	int n_factory;
};

void sim_config_init(struct sim_config *cfg);
void sim_times_fast(struct sim_times *t);
void sim_times_real(struct sim_times *t);

/* image: what sim_core_flash() once gave, or NULL for a new flash. -EBADMSG if it is not that, -EINVAL for a profile. */
int sim_core_new(struct sim_core **ret, const struct sim_config *cfg,
		 const struct sim_core_ops *ops, void *ud, const uint8_t *image, size_t len,
		 uint64_t now);
struct sim_core *sim_core_free(struct sim_core *c);
const char *sim_core_firmwares(void);

/* One chunk, that is what one read of the UART returned: where a chunk begins and ends matters (capture 54, 63). */
void sim_core_input(struct sim_core *c, uint64_t now, const uint8_t *data, size_t len);
/* False while the chip does not read its UART, because its output or a send is stuck. */
bool sim_core_can_take(const struct sim_core *c);
void sim_core_tick(struct sim_core *c, uint64_t now);
uint64_t sim_core_next(const struct sim_core *c);

/* What the chip has said and the host has not taken yet. */
const uint8_t *sim_core_output(const struct sim_core *c, size_t *len);
void sim_core_output_taken(struct sim_core *c, uint64_t now, size_t len);

/* Network events. err is 0 or -errno. */
void sim_core_on_open(struct sim_core *c, uint64_t now, int link, int err, uint16_t local_port);
/* UDP, from within recv: the peer is another one now. */
void sim_core_peer(struct sim_core *c, int link, const char *ip, uint16_t port);
void sim_core_on_readable(struct sim_core *c, uint64_t now, int link);
void sim_core_on_writable(struct sim_core *c, uint64_t now, int link);
/* An inbound client: returns its link, or -errno when it is to be dropped. */
int sim_core_on_accept(struct sim_core *c, uint64_t now, const char *ip, uint16_t port,
		       uint16_t local_port);
/* Whether one more would be taken (asked before a TLS handshake is begun). */
bool sim_core_may_accept(const struct sim_core *c);
void sim_core_on_resolved(struct sim_core *c, uint64_t now, int token, int err, const char *ip);
void sim_core_on_sntp(struct sim_core *c, uint64_t now, int err, int64_t seconds);
void sim_core_on_ping(struct sim_core *c, uint64_t now, int err, unsigned ms);

/* Misbehaviour, armed until it has happened; may be called from within ops->command. */
enum sim_fault {
	SIM_FAULT_DELAY,      /* ms before the next command runs */
	SIM_FAULT_MUTE,       /* the next command's answer is swallowed */
	SIM_FAULT_NO_PROMPT,  /* the next prompt lacks its ">" */
	SIM_FAULT_BUSY,       /* so many commands get "busy p..." though nothing runs */
	SIM_FAULT_BUSY_AFTER, /* so many OKs are followed by one */
	SIM_FAULT_RESET,      /* in so many ms */
	SIM_FAULT_RESET_ROM,  /* with the boot ROM's text */
	SIM_FAULT_HANG,       /* for good */
	SIM_FAULT_BROWNOUT_OLD, /* reset during the next NVS write or erase, which leaves the old value */
	SIM_FAULT_BROWNOUT_NEW, /* or the new one */
	SIM_FAULT_SEND_FAIL,    /* of the next block so many bytes go out, then SEND FAIL */
	SIM_FAULT_LATE_CLOSED,  /* the next CLOSED comes so many ms late */
	SIM_FAULT_TLS_LENGTH,   /* added to the announced lengths of TLS links, until set to 0 */
	SIM_FAULT_HEAP,         /* bytes of heap from now on: below 30000 no TLS connect succeeds */
	SIM_FAULT_RSSI,         /* dBm that AT+CWJAP? tells, until set to 0 */
	SIM_FAULT_COUNT,
};

void sim_core_fault(struct sim_core *c, uint64_t now, enum sim_fault fault, long value);

/* What happens to a chip: used by faults. */
void sim_core_reset(struct sim_core *c, uint64_t now, bool boot_rom_text);
void sim_core_wifi_drop(struct sim_core *c, uint64_t now, bool come_back);
/* No access point is there for so long. */
void sim_core_wifi_away(struct sim_core *c, uint64_t now, unsigned ms);
void sim_core_link_reset(struct sim_core *c, uint64_t now, int link);
void sim_core_set_clock(struct sim_core *c, uint64_t now, int64_t seconds);
/* Behind the host's back; -ENOENT if there is no such key. */
int sim_core_mfg_erase(struct sim_core *c, const char *ns, const char *key);

/* The flash image; the bytes stay valid until the next call into the core. */
const uint8_t *sim_core_flash(struct sim_core *c, size_t *len);
int64_t sim_core_clock(const struct sim_core *c, uint64_t now);
