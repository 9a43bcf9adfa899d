/* SPDX-License-Identifier: MIT */
/* metrics: shown, written to a file, or served. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/http.h"
#include "ctl/metrics.h"
#include "ctl/wait.h"
#include "util/file.h"

/* In memory, so that it is whole or not at all. A service that is not there is a number, too. */
static enum ctl_exit collect(struct ctl *ctl, char **ret, size_t *len)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	enum ctl_exit status = fetch_objects(ctl, &snap);
	FILE *f;

	if (status == CTL_OK)
		status = fetch_material(ctl, &snap);
	f = open_memstream(ret, len);
	if (!f)
		return ctl_oom();
	metrics_write(f, status == CTL_OK ? &snap : NULL);
	if (fclose(f) != 0) {
		free(*ret);
		*ret = NULL;
		return ctl_oom();
	}
	return status;
}

/* For each one who asks the bus is connected to anew: so its restart does no harm. */
static char *body(void *userdata, size_t *len)
{
	struct ctl *ctl = userdata;
	char *text = NULL;

	collect(ctl, &text, len);
	ctl_disconnect(ctl);
	return text;
}

static enum ctl_exit serve(struct ctl *ctl)
{
	struct http_server server;
	_cleanup_waiter_ struct waiter w = WAITER_NULL;
	enum ctl_exit status = http_listen(&server, ctl->opt.listen);

	/* Whoever asks waits no longer than for us. */
	ctl->read_timeout = HTTP_TIMEOUT;
	if (status == CTL_OK)
		status = wait_begin(&w, 0);
	w.other = server.fd;
	while (status == CTL_OK) {
		enum wait_result result = wait_next(&w, ctl);

		if (result == WAIT_SIGNAL)
			break;
		if (result == WAIT_OTHER)
			http_serve(&server, body, ctl);
	}
	http_close(&server);
	return status;
}

enum ctl_exit cmd_metrics(struct ctl *ctl)
{
	_cleanup_free_ char *text = NULL;
	enum ctl_exit status;
	size_t len = 0;
	int r;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	if (ctl->opt.textfile && ctl->opt.listen)
		return ctl_usage("--textfile and --listen do not go together");
	if (ctl->opt.listen)
		return serve(ctl);
	status = collect(ctl, &text, &len);
	if (!text)
		return status;
	if (!ctl->opt.textfile) {
		fwrite(text, 1, len, stdout);
		return status;
	}
	r = file_write_atomic(ctl->opt.textfile, text, len, 0644);
	if (r < 0) {
		ctl_error("cannot write %s: %s", ctl->opt.textfile, strerror(-r));
		return CTL_FAILED;
	}
	return status;
}
