/* SPDX-License-Identifier: MIT */
#include "daemon/status.h"

#include <stdio.h>
#include <string.h>

#include "util/utf8.h"

/* "; and 64 more, 64 of them ready" */
#define STATUS_MORE 48

void status_begin(struct status *status, const char *head)
{
	*status = (struct status){ 0 };
	if (*head)
		status_add(status, head, false);
}

void status_add(struct status *status, const char *text, bool ready)
{
	const char *between = status->len > 0 ? "; " : "";
	char *to = status->text + status->len;
	size_t left = sizeof(status->text) - status->len;

	if (status->more > 0 || strlen(between) + strlen(text) + STATUS_MORE >= left) {
		status->more++;
		status->more_ready += ready;
		return;
	}
	status->len += (size_t)snprintf(to, left, "%s%s", between, text);
	utf8_clean(to);
}

void status_end(struct status *status)
{
	if (status->more > 0)
		snprintf(status->text + status->len, sizeof(status->text) - status->len,
			 "%sand %u more, %u of them ready", status->len > 0 ? "; " : "",
			 status->more, status->more_ready);
}
