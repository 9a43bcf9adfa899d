/* SPDX-License-Identifier: MIT */
/* System commands: echo, versions, reset, clock, UART, settings of the AT core. */
#include "cmds.h"

#include <stdio.h>

/* SYSSTORE is itself not kept: it is 1 again after a reset (capture 62). */
static bool store(struct sim_core *c)
{
	return !c->no_store;
}

static void save_num(struct sim_core *c, const char *key, unsigned v)
{
	nvs_save(&c->nvs, key, &v, sizeof(v));
	c->dirty = true;
}

HANDLER(at_exec)
{
	return RES_OK;
}

HANDLER(e0_exec)
{
	c->echo = false;
	return RES_OK;
}

HANDLER(e1_exec)
{
	c->echo = true;
	return RES_OK;
}

HANDLER(rst_exec)
{
	sim_sayf(c, "\r\nOK\r\n");
	sim_restart(c, 20, false);
	return RES_SILENT;
}

HANDLER(restore_exec)
{
	sim_sayf(c, "\r\nOK\r\n");
	sim_restart(c, 20, true);
	return RES_SILENT;
}

HANDLER(gmr_exec)
{
	sim_sayf(c, "%s", c->prof->gmr);
	return RES_OK;
}

HANDLER(cmd_query)
{
	int n = 0;

	for (int i = 0; i < sim_n_cmds; i++) {
		const struct cmd *cmd = &sim_cmds[i];

		if (!sim_has_cmd(c, cmd))
			continue;
		sim_sayf(c, "+CMD:%d,\"AT%s\",%d,%d,%d,%d\r\n", n++, cmd->name, !!cmd->fn[OP_TEST],
			 !!cmd->fn[OP_QUERY], !!cmd->fn[OP_SET], !!cmd->fn[OP_EXEC]);
	}
	return RES_OK;
}

HANDLER(systimestamp_query)
{
	sim_sayf(c, "+SYSTIMESTAMP:%lld\r\n", (long long)sim_core_clock(c, c->now));
	return RES_OK_BARE;
}

HANDLER(systimestamp_set)
{
	long long t;

	if (call->n != 1 || arg_range(c, call, 0, 0, 4294967295LL, &t) < 0)
		return RES_ERROR;
	sim_core_set_clock(c, c->now, t);
	return RES_OK;
}

/* What it was down to once. */
static unsigned heap_least(const struct sim_core *c)
{
	return c->heap_min - c->heap_min / 27;
}

HANDLER(sysram_query)
{
	unsigned heap = sim_heap_free(c);

	sim_sayf(c, "+SYSRAM:%u,%u\r\n", heap, heap_least(c));
	return RES_OK_BARE;
}

HANDLER(sysram_set)
{
	long long caps;
	unsigned heap;

	if (call->n != 1 || arg_range(c, call, 0, 0, 0x7fffffff, &caps) < 0)
		return RES_ERROR;
	/* The largest block, what is free, what it was down to, all. */
	heap = sim_heap_free(c);
	sim_sayf(c, "+SYSRAM:%u,%u,%u,%u\r\n", heap / 2, heap, heap_least(c),
		 c->prof->heap / 2 * 3);
	return RES_OK_BARE;
}

HANDLER(sysstore_query)
{
	sim_sayf(c, "+SYSSTORE:%d\r\n", store(c));
	return RES_OK;
}

HANDLER(sysstore_set)
{
	long long on;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	c->no_store = !on;
	return RES_OK;
}

HANDLER(syslog_query)
{
	sim_sayf(c, "+SYSLOG:%d\r\n", c->syslog);
	return RES_OK;
}

HANDLER(syslog_set)
{
	long long on;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	c->syslog = on;
	return RES_OK;
}

HANDLER(sysmsg_query)
{
	sim_sayf(c, "+SYSMSG:%u\r\n", c->sysmsg);
	return RES_OK_BARE;
}

HANDLER(sysmsg_set)
{
	long long v;

	if (call->n != 1 || arg_range(c, call, 0, 0, 7, &v) < 0)
		return RES_ERROR;
	c->sysmsg = v;
	if (!store(c))
		return RES_OK;
	save_num(c, "sysmsg", v);
	return sim_flash_done(c, RES_OK);
}

/* ---- UART ---- */

/* What the divider of an 80 MHz clock with four fractional bits really makes: 115201 for 115200 (capture 04). */
static unsigned real_rate(unsigned baud)
{
	unsigned divider = 1280000000u / baud;

	return 1280000000u / (divider ? divider : 1);
}

HANDLER(uart_cur_query)
{
	sim_sayf(c, "+UART_CUR:%u,8,1,0,%u\r\n", real_rate(c->uart_baud), c->uart_flow);
	return RES_OK;
}

HANDLER(uart_query)
{
	sim_sayf(c, "+UART:%u,8,1,0,%u\r\n", real_rate(c->uart_baud), c->uart_flow);
	return RES_OK;
}

HANDLER(uart_def_query)
{
	const unsigned *v = nvs_saved(&c->nvs, "uart", NULL);

	sim_sayf(c, "+UART_DEF:%u,8,1,0,%u\r\n", v ? v[0] : c->cfg.baud, v ? v[1] : 1);
	return RES_OK;
}

static int uart_args(struct sim_core *c, struct call *call, unsigned v[2])
{
	long long baud, bits, stop, parity, flow;

	if (call->n != 5 || arg_range(c, call, 0, 80, 5000000, &baud) < 0 ||
	    arg_range(c, call, 1, 5, 8, &bits) < 0 || arg_range(c, call, 2, 1, 3, &stop) < 0 ||
	    arg_range(c, call, 3, 0, 2, &parity) < 0 || arg_range(c, call, 4, 0, 3, &flow) < 0)
		return -1;
	v[0] = baud;
	v[1] = flow;
	return 0;
}

/* The answer still goes out at the old rate. */
static enum result uart_change(struct sim_core *c, struct call *call, bool keep)
{
	unsigned v[2];

	if (uart_args(c, call, v) < 0)
		return RES_ERROR;
	if (keep) {
		nvs_save(&c->nvs, "uart", v, sizeof(v));
		c->dirty = true;
	}
	sim_sayf(c, "\r\nOK\r\n");
	c->uart_baud = v[0];
	c->uart_flow = v[1];
	if (c->ops->uart)
		c->ops->uart(c->ud, v[0], v[1]);
	return RES_SILENT;
}

HANDLER(uart_cur_set)
{
	return uart_change(c, call, false);
}

HANDLER(uart_def_set)
{
	return uart_change(c, call, true);
}

HANDLER(uart_set)
{
	return uart_change(c, call, true);
}

/* ---- the rest ---- */

HANDLER(sleep_query)
{
	sim_sayf(c, "+SLEEP:%u\r\n", c->sleep);
	return RES_OK;
}

HANDLER(sleep_set)
{
	long long v;

	if (call->n != 1 || arg_range(c, call, 0, 0, 3, &v) < 0)
		return RES_ERROR;
	c->sleep = v;
	return RES_OK;
}

HANDLER(rfpower_query)
{
	sim_sayf(c, "+RFPOWER:%u\r\n", c->rfpower);
	return RES_OK;
}

HANDLER(rfpower_set)
{
	long long v;

	if (arg_range(c, call, 0, 40, 84, &v) < 0)
		return RES_ERROR;
	c->rfpower = v;
	return RES_OK;
}

HANDLER(transintvl_query)
{
	sim_sayf(c, "+TRANSINTVL:%u\r\n", c->transintvl);
	return RES_OK;
}

HANDLER(transintvl_set)
{
	long long v;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1000, &v) < 0)
		return RES_ERROR;
	c->transintvl = v;
	return RES_OK;
}

HANDLER(userram_query)
{
	sim_sayf(c, "+USERRAM:0\r\n");
	return RES_OK;
}

HANDLER(userram_set)
{
	return RES_ERROR;
}

HANDLER(userdocs_query)
{
	sim_sayf(c, "+USERDOCS:\"https://docs.espressif.com/projects/esp-at/en/latest/esp32/"
		    "index.html\"\r\n");
	sim_sayf(c, "+USERDOCS:\"https://docs.espressif.com/projects/esp-at/zh_CN/latest/esp32/"
		    "index.html\"\r\n");
	return RES_OK;
}

/* Asks an update server and, without one, never comes back (captures 04, 05): only RST helps. */
HANDLER(cipfwver_query)
{
	return RES_PENDING;
}
