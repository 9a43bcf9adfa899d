/* SPDX-License-Identifier: MIT */
/* What is in mfg_nvs of a new chip: namespaces, keys and types as in capture 10, certificates of our own making. */
#include "factory.h"
#include "factory-pki.h"

#define PEM(ns, key, what)                                                                         \
	{                                                                                          \
		ns, key, 8, what, sizeof(what)                                                     \
	}
#define EAP(ns, what)                                                                              \
	{                                                                                          \
		ns, NULL, 8, what, sizeof(what)                                                    \
	}
#define NUM(key, type, ...)                                                                        \
	{                                                                                          \
		"factory_param", key, type, (const uint8_t[]){ __VA_ARGS__ }, 4                    \
	}
#define STR(ns, key, text)                                                                         \
	{                                                                                          \
		ns, key, 7, (const uint8_t *)text, sizeof(text) - 1                                \
	}

const struct sim_factory_item sim_factory[] = {
	PEM("server_cert", "server_cert", server_cert),
	PEM("server_key", "server_key", server_key),
	PEM("server_ca", "server_ca", client_cert),
	PEM("client_cert", "client_cert.0", client_cert),
	PEM("client_cert", "client_cert.1", client_cert),
	PEM("client_key", "client_key.0", client_key),
	PEM("client_key", "client_key.1", client_key),
	PEM("client_ca", "client_ca.0", server_cert),
	PEM("client_ca", "client_ca.1", server_cert),
	EAP("cert", client_cert),
	EAP("key", client_key),
	EAP("ca", server_cert),
	NUM("version", 2, 3, 0, 0, 0),
	STR("factory_param", "module_name", "WROOM-32"),
	NUM("max_tx_power", 2, 78, 0, 0, 0),
	STR("factory_param", "country_code", "CN"),
	NUM("start_channel", 1, 1, 0, 0, 0),
	NUM("channel_num", 1, 13, 0, 0, 0),
	NUM("uart_port", 2, 1, 0, 0, 0),
	NUM("uart_baudrate", 6, 0x00, 0xc2, 0x01, 0x00),
	NUM("uart_tx_pin", 6, 17, 0, 0, 0),
	NUM("uart_rx_pin", 6, 16, 0, 0, 0),
	NUM("uart_cts_pin", 6, 15, 0, 0, 0),
	NUM("uart_rts_pin", 6, 14, 0, 0, 0),
	NUM("sys_store", 1, 1, 0, 0, 0),
	STR("ble_data", "cfg0", "0"),
};

const int sim_n_factory = sizeof(sim_factory) / sizeof(sim_factory[0]);
