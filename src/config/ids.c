/* SPDX-License-Identifier: MIT */
/* Users and groups by name. */
#include "config/ids.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "util/cleanup.h"

/* A group's entry has all its members; more than this is no answer. */
#define BUFFER_MAX (1024 * 1024)

/* One question to the host's data base. */
static int ask(bool user, const char *name, char *buf, size_t size, unsigned int *ret)
{
	struct passwd passwd, *p = NULL;
	struct group group, *g = NULL;
	int r;

	r = user ? getpwnam_r(name, &passwd, buf, size, &p)
		 : getgrnam_r(name, &group, buf, size, &g);
	if (p)
		*ret = p->pw_uid;
	else if (g)
		*ret = g->gr_gid;
	else if (r == 0 || r == ESRCH || r == EBADF || r == EPERM)
		return -ENOENT; /* getpwnam(3) names all of these */
	return p || g ? 0 : -r;
}

int ids_find(bool user, const char *name, unsigned int *ret)
{
	for (size_t size = 4096;; size *= 4) {
		_cleanup_free_ char *buf = malloc(size);
		int r = buf ? ask(user, name, buf, size, ret) : -ENOMEM;

		if (r != -ERANGE || size >= BUFFER_MAX)
			return r;
	}
}

void ids_add(struct config_ids *ids, unsigned int id)
{
	size_t i = ids->n;

	for (size_t k = 0; k < ids->n; k++)
		if (ids->items[k] == id)
			return;
	for (; i > 0 && ids->items[i - 1] > id; i--)
		ids->items[i] = ids->items[i - 1];
	ids->items[i] = id;
	ids->n++;
}
