/* SPDX-License-Identifier: MIT */
/*
 * A whole device, from an open port to data on its links, on a simulated chip: see chip-rig.h for what is
 * checked. The first three bytes choose the firmware and the settings; then the input is a program, an
 * instruction and its argument in two bytes each, of what chip, line, network, servers, clients, host and people do. At
 * the end all trouble stops, and the device must come into service by itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chip-rig.h"
#include "input.h"
#include "must.h"

/* What a device and a chip with five full links may take. */
#define MEMORY_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the chip, the line and the network ---- */

/* Up to 15 of a unit. */
static void let_pass(struct rig *rig, uint8_t arg)
{
	static const uint64_t units[] = { 1 * TIMERS_MS, 30 * TIMERS_MS, 1 * TIMERS_S,
					  20 * TIMERS_S };

	rig_pass(rig, units[arg / 16 % 4] * (1u + arg % 16));
}

static void fault(struct rig *rig, uint8_t arg, uint8_t value)
{
	enum sim_fault kind = arg % SIM_FAULT_COUNT;

	rig->reset_due = rig->reset_due || kind == SIM_FAULT_HANG;
	sim_core_fault(rig->core, rig->timers.now, kind, value);
}

static void drop_wifi(struct rig *rig, uint8_t arg)
{
	bool comes_back = arg & 1;

	rig->reset_due = rig->reset_due || !comes_back;
	sim_core_wifi_drop(rig->core, rig->timers.now, comes_back);
}

static void reset_link(struct rig *rig, uint8_t arg)
{
	int link = arg % SIM_LINKS;

	if (!rig->peers[link].used)
		return;
	/* The chip says CLOSED, too: who loses what was unread cannot know. */
	if (rig->peers[link].connection)
		rig->peers[link].connection->closed = false;
	sim_core_link_reset(rig->core, rig->timers.now, link);
}

static void say_what_is_not_so(struct rig *rig, struct input *in, uint8_t arg)
{
	size_t n = arg < in->size ? arg : in->size;

	rig_inject(rig, in->data, n);
	in->data += n;
	in->size -= n;
}

static void injure_line(struct rig *rig, uint8_t arg)
{
	size_t n = 1u << arg / 4 % 13;

	switch (arg % 4) {
	case 0:
		rig->drop_out += n;
		break;
	case 1:
		rig->flip_out += n;
		break;
	case 2:
		rig->twice_out += n;
		break;
	case 3:
		rig->drop_in += n;
		rig->hurt_in = true;
		break;
	}
	rig->hurt_out = true;
}

static void handle_port(struct rig *rig, uint8_t arg)
{
	switch (arg % 6) {
	case 0:
		rig_plug(rig);
		break;
	case 1:
		rig_unplug(rig);
		break;
	case 2:
		device_port_waiting(rig->dev, "there is no such port");
		break;
	case 3:
		device_bytes_lost(rig->dev, "overrun");
		break;
	case 4:
		device_port_closing(rig->dev);
		rig_run(rig);
		rig_unplug(rig);
		break;
	case 5:
		rig->chunk = 1u + arg;
		break;
	}
}

/* A bit for each that goes wrong from now on. */
static void misbehave(struct rig *rig, uint8_t arg)
{
	rig->open_error = arg & 1 ? -ECONNREFUSED : 0;
	rig->resolve_error = arg & 2 ? -ENOENT : 0;
	rig->deaf_network = arg & 4;
	rig->slow_server = arg & 8;
	rig->sntp_error = arg & 16 ? -ETIMEDOUT : 0;
	rig->probe = (enum link_probe)(arg / 32 % 3);
	rig->not_alone = arg & 128;
}

static void trouble_host(struct rig *rig, uint8_t arg)
{
	rig->load_error = arg & 1 ? -EIO : 0;
	rig->secret_error = arg & 2 ? -ENOENT : 0;
	rig->unsynchronized = arg & 4;
	rig->wallclock = arg & 8 ? 1000 : 1790000000 + arg;
	if (arg & 16)
		device_sync_clock(rig->dev);
}

/* ---- clients and people ---- */

static void use_link(struct rig *rig, uint8_t what, uint8_t arg)
{
	/* The higher bits say which; those of the last five that were opened. */
	size_t back = 1 + arg / 32 % 5;
	struct rig_connection *c;

	if (rig->n_connections < back)
		return;
	c = &rig->connections[rig->n_connections - back];
	switch (what % 4) {
	case 0:
		rig_send(c, 1u << arg % 18);
		break;
	case 1:
		if (c->link)
			link_hold(c->link, arg & 1);
		break;
	case 2:
		rig_close(c);
		break;
	case 3:
		rig_send(c, arg);
		break;
	}
}

static int submit_join(struct rig *rig, struct rig_request *req, uint8_t arg)
{
	const struct device_join join = {
		.ssid = arg & 1   ? "other"
			: arg & 2 ? "nowhere"
				  : "",
		.password = arg & 2 ? RIG_SECRET : "",
		.hidden = arg & 4,
	};

	return device_join(rig->dev, &join, rig_request_done, req, &req->request);
}

static int submit_load(struct rig *rig, struct rig_request *req, uint8_t arg)
{
	static const char text[] = "a value\r\nOK\r\n" RIG_SECRET;
	struct cert_blob *blob = NULL;

	MUST(cert_blob_new(&blob, CERT_KIND_RAW, text, 1 + arg % sizeof(text)) == 0);
	return device_load(rig->dev, "mqtt_ca", arg / 8 % 10, blob, rig_request_done, req,
			   &req->request);
}

static int submit(struct rig *rig, struct rig_request *req, uint8_t arg)
{
	static const char *const lines[] = { "AT+GMR", "AT+CMD?", "AT+CIPSTATUS", "AT+CWQAP",
					     "AT+CWJAP=\"other\",\"\"" };
	struct device *dev = rig->dev;

	switch (arg % 10) {
	case 0:
		return device_reset(dev, rig_request_done, req, &req->request);
	case 1:
		return device_reprobe(dev, rig_request_done, req, &req->request);
	case 2:
		return device_set_clock(dev, rig_request_done, req, &req->request);
	case 3:
		return device_scan(dev, rig_request_done, req, &req->request);
	case 4:
		return submit_join(rig, req, arg / 10);
	case 5:
		return device_leave(dev, rig_request_done, req, &req->request);
	case 6:
		return device_command(dev, lines[arg / 10 % 5], rig_request_done, req,
				      &req->request);
	case 7:
		return submit_load(rig, req, arg);
	case 8:
		return device_erase(dev, "mqtt_ca", arg / 8 % 10, rig_request_done, req,
				    &req->request);
	default:
		return device_verify(dev, rig_request_done, req, &req->request);
	}
}

static void ask(struct rig *rig, uint8_t arg)
{
	struct rig_request *req = rig_request(rig);

	if (req)
		rig_request_made(req, submit(rig, req, arg));
}

static void change(struct rig *rig, uint8_t arg)
{
	switch (arg % 5) {
	case 0:
		rig_reload(rig);
		break;
	case 1:
		device_provision(rig->dev);
		break;
	case 2:
		device_keep_old(rig->dev, arg & 16);
		break;
	case 3:
		device_erase_name(rig->dev, "authority", arg & 16 ? "corp" : "gone");
		break;
	case 4:
		if (rig->n_requests > 0)
			rig_request_cancel(&rig->requests[arg % rig->n_requests]);
		break;
	}
}

static void deed(struct rig *rig, struct input *in, uint8_t what, uint8_t arg)
{
	switch (what % 16) {
	case 0:
	case 1:
		let_pass(rig, arg);
		break;
	case 2:
		fault(rig, arg, next(in));
		break;
	case 3:
		drop_wifi(rig, arg);
		break;
	case 4:
		reset_link(rig, arg);
		break;
	case 5:
		say_what_is_not_so(rig, in, arg);
		break;
	case 6:
		injure_line(rig, arg);
		break;
	case 7:
		handle_port(rig, arg);
		break;
	case 8:
		misbehave(rig, arg);
		break;
	case 9:
		trouble_host(rig, arg);
		break;
	case 10:
		rig_open(rig, arg % 4, arg & 4);
		break;
	case 11:
		use_link(rig, what / 16, arg);
		break;
	case 12:
		rig_server_says(rig, arg % SIM_LINKS, 1u << arg / 8 % 16);
		break;
	case 13:
		if (arg & 1)
			rig_server_closes(rig, arg / 2 % SIM_LINKS);
		else
			rig_cut_power(rig);
		break;
	case 14:
		ask(rig, arg);
		break;
	case 15:
		change(rig, arg);
		break;
	}
}

static void choose(struct rig_options *options, struct input *in)
{
	static const char *const firmware[] = { "4.1", "3.2", "3.4", "4.2", "5.0" };
	uint8_t a = next(in), b = next(in), c = next(in);

	*options = (struct rig_options){
		.firmware = firmware[a % 5],
		.receive = (enum config_receive)(a / 8 % 3),
		.slow = a & 128,
		.max_baud = b & 1 ? 921600 : 0,
		.flow_control = (enum config_flow)(b / 2 % 3),
		.time = b & 16 ? CONFIG_TIME_SNTP : CONFIG_TIME_HOST,
		.trace = b & 32,
		.max_links = 1u + c % CONFIG_LINKS_MAX,
	};
}

/* AddressSanitizer's; a build without it looks for other faults, faster. */
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static size_t allocated(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
						       : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig rig;
	struct input in = { data, size };
	struct rig_options options;
	size_t before = allocated();

	/* libFuzzer sees what is searched for: here a chip would say it that was never told. */
	if (memmem(data, size, RIG_SECRET, strlen(RIG_SECRET)))
		return 0;
	choose(&options, &in);
	rig_init(&rig, &options);
	rig_plug(&rig);
	while (in.size > 0) {
		uint8_t what = next(&in), arg = next(&in);

		deed(&rig, &in, what, arg);
		/* The others happen in the middle of what there is to say. */
		if (what & 128)
			rig_run(&rig);
		rig_check(&rig);
		MUST(allocated() - before < MEMORY_MAX);
	}
	rig_heal(&rig);
	rig_free(&rig);
	return 0;
}
