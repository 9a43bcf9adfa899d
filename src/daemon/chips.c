/* SPDX-License-Identifier: MIT */
/* Which chip belongs to a device, kept in a file. */
#include "daemon/chips.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/syntax.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/mac.h"

static int path_of(char **ret, const char *state_dir, const char *device)
{
	if (syntax_name(device))
		return -EINVAL;
	if (asprintf(ret, "%s/chips/%s", state_dir, device) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

const char *chips_check_mac(char *mac)
{
	if (!mac_is_valid(mac))
		return "a MAC address, as in 24:0a:c4:12:34:56";
	for (char *c = mac; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return NULL;
}

int chips_recall(const char *state_dir, const char *device, char mac[CHIPS_MAC_SIZE])
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ void *data = NULL;
	size_t len;
	char *text;
	int r;

	mac[0] = '\0';
	r = path_of(&path, state_dir, device);
	if (r < 0)
		return r;
	r = file_read(path, CHIPS_MAC_SIZE, &data, &len);
	if (r == -ENOENT)
		return 0;
	if (r == -EINVAL || r == -E2BIG)
		return -EBADMSG;
	if (r < 0)
		return r;
	/* Without a line end is good too: people write it by hand. */
	text = data;
	if (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	if (strlen(text) != len || chips_check_mac(text))
		return -EBADMSG;
	memcpy(mac, text, CHIPS_MAC_SIZE);
	return 0;
}

int chips_remember(const char *state_dir, const char *device, const char *mac)
{
	_cleanup_free_ char *path = NULL, *dir = NULL;
	char text[CHIPS_MAC_SIZE + 1], old[CHIPS_MAC_SIZE];
	int r;

	r = path_of(&path, state_dir, device);
	if (r < 0)
		return r;
	if (strlen(mac) >= CHIPS_MAC_SIZE)
		return -EINVAL;
	strcpy(text, mac);
	if (chips_check_mac(text))
		return -EINVAL;
	/* Whatever is in the way of reading it, is in the way of writing too, or is overwritten. */
	if (chips_recall(state_dir, device, old) == 0 && strcmp(text, old) == 0)
		return 0;
	if (asprintf(&dir, "%s/chips", state_dir) < 0) {
		dir = NULL;
		return -ENOMEM;
	}
	r = file_make_dir(dir, 0755);
	if (r < 0)
		return r;
	strcat(text, "\n");
	return file_write_atomic(path, text, strlen(text), 0644);
}

int chips_forget(const char *state_dir, const char *device)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = path_of(&path, state_dir, device);
	if (r < 0)
		return r;
	r = file_remove(path);
	return r == -ENOENT ? 0 : r;
}
