/* SPDX-License-Identifier: MIT */
/*
 * As much of HTTP/1.0 as a collector of metrics needs, one request after the other: whoever is slow or
 * sends much is cut off.
 */
#pragma once

#include <stddef.h>

#include "ctl/ctl.h"

/* What a request may have, and how long it and its answer may take. */
#define HTTP_REQUEST_MAX 8192
#define HTTP_TIMEOUT 5 /* s */

/* Where to listen: a path, or [ADDRESS:]PORT on loopback. */
struct http_server {
	int fd;
	char *path; /* of a socket of ours, removed by http_close(); NULL: TCP */
};

enum ctl_exit http_listen(struct http_server *server, const char *where);
void http_close(struct http_server *server);
/*
 * Takes the client that waits, and answers its request: GET / and /metrics by what @body makes, which is
 * to be freed; NULL: "503".
 */
void http_serve(struct http_server *server, char *(*body)(void *userdata, size_t *len),
		void *userdata);

/* Pure: the status of an answer to the @len bytes of a request that are there; 0: there is more to come. */
int http_status(const char *request, size_t len);
