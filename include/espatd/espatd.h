/* SPDX-License-Identifier: MIT */
/* What a program that uses espatd's tunnels may want to know; see espatd(8). */
#pragma once

/* Where the sockets are, if the configuration does not say otherwise. */
#define ESPATD_RUNTIME_DIR "/run/espat"
/* Where state is kept, likewise. */
#define ESPATD_STATE_DIR "/var/lib/espat"
/* A tunnel's socket is <runtime dir>/<tunnel><suffix>: a Unix stream socket. */
#define ESPATD_SOCKET_SUFFIX ".sock"
/* Connections that one chip has at a time, a constant of its firmware; more clients wait. */
#define ESPATD_LINKS 5
