/* SPDX-License-Identifier: MIT */
/* Inside of the simulated chip: shared by core.c and the command files, by nobody else. */
#pragma once

#include "core.h"
#include "buf.h"
#include "nvs.h"
#include "profile.h"

#define LINE_MAX_AT 256 /* the longest command line (capture 01) */
#define PARAMS_MAX 20
#define IPD_MAX 2920     /* data in one active +IPD (capture 62) */
#define SEND_MAX 8192    /* one CIPSEND (capture 31) */
#define WINDOW_TCP 5760  /* what lwIP keeps of an unread TCP link (capture 32) */
#define RECORD_MAX 16384 /* of an unread TLS link one record is kept (capture 62) */
#define STREAM_MAX 8192  /* CIPSENDL and passthrough bytes that wait for the network */
#define CA_FOUND_MAX 10

enum op {
	OP_TEST,
	OP_QUERY,
	OP_SET,
	OP_EXEC,
};

enum result {
	RES_OK,
	RES_OK_BARE, /* OK without the empty line before it, as some queries have it (capture 04) */
	RES_ERROR,
	RES_PENDING, /* sim_done() follows */
	RES_PROMPT,  /* the handler has opened a data prompt */
	RES_SILENT,  /* all has been said */
};

enum param_kind {
	PARAM_EMPTY,
	PARAM_NUM,
	PARAM_STR,
	PARAM_BAD,
};

struct param {
	enum param_kind kind;
	long long num;
	char *str; /* PARAM_STR: NUL-terminated, unescaped, in call.raw */
};

struct cmd;

struct call {
	const struct cmd *cmd;
	enum op op;
	struct param par[PARAMS_MAX];
	int n;
	bool too_many;
	char raw[LINE_MAX_AT + 1];
};

typedef enum result (*cmd_fn)(struct sim_core *c, struct call *call);

struct cmd {
	const char *name; /* without AT */
	cmd_fn fn[4];     /* by enum op; NULL: this form does not exist */
	unsigned profiles;
};

extern const struct cmd sim_cmds[];
extern const int sim_n_cmds;

enum in_state {
	IN_OFF, /* in reset: nobody reads the UART */
	IN_COMMAND,
	IN_QUEUED, /* a line is complete and runs when the chunk has been read */
	IN_BUSY,
	IN_DATA,      /* at a prompt */
	IN_DATA_DONE, /* the block is complete */
	IN_PASS,      /* passthrough */
	IN_HUNG,
};

enum prompt {
	PROMPT_SEND,
	PROMPT_SENDEX,
	PROMPT_SENDL,
	PROMPT_MFG,
	PROMPT_FLASH,
};

enum link_state {
	LINK_FREE,
	LINK_CONNECTING,
	LINK_OPEN,
};

struct link {
	enum link_state state;
	enum sim_type type;
	bool v6, server;
	char ip[SIM_NAME_MAX + 1];
	uint16_t port, local_port;
	bool readable, wanted, announced, peer_closed;
	struct buf rx; /* passive: read and not fetched */
	uint64_t last_io;
	/* Forgotten when an established TLS link closes (capture 44). */
	char sni[SIM_NAME_MAX + 1], cn[SIM_NAME_MAX + 1];
	char alpn[SIM_ALPN_MAX][SIM_NAME_MAX + 1];
	int n_alpn;
	uint8_t psk[32];
	int psk_len;
	char psk_hint[33];
	bool psk_hex;
	uint16_t ciphers[SIM_CIPHER_MAX];
	int n_ciphers;
};

enum wifi_state { /* the numbers are those of CWSTATE */
	WIFI_NONE,
	WIFI_ASSOCIATED,
	WIFI_UP,
	WIFI_JOINING,
	WIFI_DOWN,
};

/* The addresses come one after the other, if IPv6 was on when the access point was joined. */
enum ip6_state {
	IP6_NONE,
	IP6_LOCAL,
	IP6_GLOBAL,
};

/* What CWJAP says beyond name and password; saved as it is. */
struct jap {
	uint8_t has_bssid, bssid[6];
	uint8_t threshold; /* pci_en, or with newer firmware the lowest authmode */
	uint8_t listen, scan, pmf;
	uint16_t reconn;
};

/* Enterprise Wi-Fi; saved as it is. */
struct eap {
	uint8_t on; /* the last join was a CWJEAP */
	uint8_t method, security, authmode;
	char identity[33], username[33], password[33];
};

enum conn_stage {
	CONN_NONE,
	CONN_NAME, /* the address of the host is asked for */
	CONN_OPENING,
	CONN_HANDSHAKE, /* open, but the chip would still be calculating */
	CONN_NO_NET,    /* nothing will come but the timeout (capture 02) */
	CONN_PAUSE,     /* before passthrough connects again */
};

/* A CIPSTART on its way. */
struct connect {
	int link;
	enum sim_type type;
	bool v6;
	char host[SIM_NAME_MAX + 1];
	char ip[SIM_NAME_MAX + 1];
	uint16_t port, local_port;
	unsigned udp_mode;
	unsigned timeout_ms; /* for the connection, behind the question for the name */
	enum conn_stage stage;
	bool reconnect; /* passthrough re-opens its link by itself */
};

struct sim_core {
	const struct sim_core_ops *ops;
	void *ud;
	struct sim_config cfg;
	const struct profile *prof;
	uint64_t now;
	struct buf out;
	size_t said; /* total, for switches of the rate */

	enum in_state in;
	char line[LINE_MAX_AT + 2];
	size_t line_len;
	bool line_cr, line_long;
	bool echo, syslog, no_store;
	unsigned sleep, rfpower, transintvl;
	unsigned sysmsg;
	unsigned err_code;
	uint64_t run_at; /* IN_QUEUED, IN_DATA_DONE: when to go on */
	struct call call;

	enum prompt prompt;
	int send_link;
	size_t send_need; /* of the whole block */
	size_t send_got;  /* taken from the host */
	size_t send_done; /* given to the network */
	size_t send_reported;
	bool sending; /* the block is on its way to the network */
	bool send_failed, send_escape;
	struct buf send;
	unsigned sendl_report, sendl_chunk;
	char mfg_ns[16], mfg_key[16];
	int mfg_type;
	uint32_t flash_off;
	int flash_part;

	/* What an asynchronous command waits for. */
	uint64_t done_at;
	enum result done_res;
	struct connect conn;
	uint64_t conn_deadline, conn_wait;
	bool domain_query, ping_query;
	bool had_link, persist;
	int tcpopt[SIM_LINKS][4];
	uint64_t scan_at;
	char scan_ssid[33];
	bool scan_has_bssid;
	uint8_t scan_bssid[6];
	int scan_channel;

	bool mux;
	unsigned cipmode;
	bool dinfo;
	uint8_t passive[SIM_LINKS];
	struct link link[SIM_LINKS];
	uint8_t ssl_conf[SIM_LINKS]
			[3]; /* mode, client_cert and client_key number, client_ca number */
	int pump_first;
	struct nvs nvs;
	bool dirty;
	struct buf image;

	bool server_on;
	uint16_t server_port;
	enum sim_type server_type;
	bool server_v6, server_ca;
	unsigned server_max, server_timeout;

	unsigned mode; /* 1 station, 2 SoftAP, 3 both */
	bool autoconn;
	enum wifi_state wifi;
	char wifi_ssid[33], wifi_psk[65]; /* last tried */
	struct jap jap;
	unsigned jap_timeout; /* s; 0: its own patience */
	struct eap eap;
	int wifi_ap;   /* index, while joining or joined */
	int wifi_step; /* 1 associate, 2 address */
	bool wifi_by_cmd;
	int wifi_fail;    /* CWJAP code of the attempt under way, 0 if it will succeed */
	uint64_t wifi_at; /* next step of the join */
	uint64_t wifi_retry_at;
	uint64_t wifi_away; /* until then no access point is there */
	bool ipv6;          /* CIPV6 */
	enum ip6_state ip6;
	uint64_t ip6_at; /* the next address comes */
	struct sta_ip {
		char ip[16], gateway[16], netmask[16];
	} own;         /* of the station without DHCP; empty: none */
	unsigned dhcp; /* bit 0 station, bit 1 SoftAP */
	bool dns_manual;
	char dns[3][48];
	char hostname[33], country[4];
	unsigned country_policy, country_first, country_count, country_5ghz;
	unsigned reconn_count, cwconfig[3];

	int64_t clock_base; /* seconds, at clock_at */
	uint64_t clock_at;
	bool sntp_on;
	int sntp_tz;
	char sntp_server[3][SIM_NAME_MAX + 1];
	unsigned sntp_interval;
	uint64_t sntp_at;
	bool sntp_resolving;
	int sntp_index;

	unsigned reconn_interval; /* 100 ms */
	unsigned uart_baud, uart_flow;
	unsigned cwlap_sort, cwlap_mask;
	unsigned heap_min;

	uint64_t boot_at;  /* "ready" */
	uint64_t reset_at; /* the reset that a command asked for */
	bool reset_restore;
	bool ready;

	long fault[SIM_FAULT_COUNT]; /* by enum sim_fault; 0: not armed */
	bool mute;
	uint64_t fault_at; /* the reset that a fault asked for */
	bool fault_rom;
	uint64_t late_at; /* a CLOSED that is late */
	char late[16];
};

/* core.c */
bool sim_has_cmd(const struct sim_core *c, const struct cmd *cmd);
void sim_say(struct sim_core *c, const void *data, size_t len);
void sim_sayf(struct sim_core *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_done(struct sim_core *c, enum result res);
/* Done after ms; RES_PENDING to return, or the result itself when ms is 0. */
enum result sim_later(struct sim_core *c, unsigned ms, enum result res);
enum result sim_flash_done(struct sim_core *c, enum result res);
void sim_open_prompt(struct sim_core *c, enum prompt prompt, int link, size_t need);
void sim_link_say(struct sim_core *c, int link, const char *what);
void sim_link_closed(struct sim_core *c, int link, bool say);
void sim_pump(struct sim_core *c);
void sim_connect_abort(struct sim_core *c);
bool sim_any_link(const struct sim_core *c);
void sim_restart(struct sim_core *c, unsigned after_ms, bool restore);
unsigned sim_heap_free(struct sim_core *c);
uint64_t ms_after(const struct sim_core *c, unsigned ms);

/* Parameters: 0, -ENOENT if it is missing or empty, -EINVAL if it is something else. */
int arg_num(struct sim_core *c, struct call *call, int i, long long *ret);
int arg_range(struct sim_core *c, struct call *call, int i, long long min, long long max,
	      long long *ret);
int arg_str(struct sim_core *c, struct call *call, int i, const char **ret);
bool arg_given(const struct call *call, int i);
/* A number that may be left out: what is not given keeps its value in *ret. False if it is wrong. */
bool arg_option(struct sim_core *c, struct call *call, int i, long long min, long long max,
		long long *ret);
/* Six bytes as 24:0a:c4:12:34:56. */
int arg_mac(struct sim_core *c, struct call *call, int i, uint8_t mac[6]);
/* The link parameter that stands in front with CIPMUX=1 and is absent with CIPMUX=0: moves *i past it. */
int arg_link(struct sim_core *c, struct call *call, int *i, int max, int *link);

/* cmd-wifi.c */
void wifi_boot(struct sim_core *c);
void wifi_tick(struct sim_core *c);
uint64_t wifi_next(const struct sim_core *c);
void wifi_leave(struct sim_core *c, bool say);
void wifi_join_lost(struct sim_core *c);
void wifi_scan_done(struct sim_core *c);
bool wifi_is_up(const struct sim_core *c);
/* Joins what c->eap says; bssid may be NULL. */
enum result wifi_join_eap(struct sim_core *c, const char *ssid, const uint8_t *bssid,
			  unsigned timeout);

/* cmd-eap.c */
/* Whether that access point can be joined with c->eap. */
bool eap_fits(struct sim_core *c, int ap);
void eap_failed(struct sim_core *c);
/* The namespace, and the key in it, of "ca", "cert" or "key". */
void eap_space(const struct sim_core *c, const char *what, char name[NVS_NAME_MAX + 1]);

/* cmd-ip.c */
void ip_tick(struct sim_core *c);
void ip_on_resolved(struct sim_core *c, int token, int err, const char *ip);
void ip_on_open(struct sim_core *c, int link, int err, uint16_t local_port);
void ip_block_done(struct sim_core *c);
void ip_stream(struct sim_core *c);
void ip_send_cancel(struct sim_core *c);
void ip_on_sntp(struct sim_core *c, int err, int64_t seconds);
void ip_net_lost(struct sim_core *c);
void ip_close_all(struct sim_core *c, bool say);
void ip4_changed(struct sim_core *c);
void ip_pass_lost(struct sim_core *c);
void ip_boot(struct sim_core *c);
const char *type_name(enum sim_type t, bool v6);

/* addr.c */
bool is_ip4(const char *text);
bool is_ip6(const char *text);
bool is_link_local(const char *text);
/* As the firmware writes it: an IPv6 address in lwIP's way. */
void addr_text(char *to, size_t size, const char *from);
void addr_eui64(char *to, size_t size, const char *prefix, const uint8_t mac[6]);

/* cmd-ssl.c */
int ssl_fill(struct sim_core *c, int link, const char *host, struct sim_tls *tls);
void ssl_forget(struct sim_core *c, int link);
void ssl_boot(struct sim_core *c);

/* cmd-mfg.c */
void mfg_block_done(struct sim_core *c);
void flash_block_done(struct sim_core *c);
void mfg_factory(struct sim_core *c);

#define HANDLER(name) enum result name(struct sim_core *c, struct call *call)
