#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Asks a web server for a page through a tunnel of espatd, by the standard library alone.

    ./client.py web www.example.com

The request is plain HTTP on a Unix socket: TLS, and whether the server is the right one, is espatd's.
"""
import http.client
import socket
import sys


class TunnelConnection(http.client.HTTPConnection):
    """HTTP through the tunnel, a name or the path of a socket."""

    def __init__(self, tunnel, host, timeout=60):
        super().__init__(host, timeout=timeout)
        self.tunnel = tunnel if "/" in tunnel else f"/run/espat/{tunnel}.sock"

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.tunnel)


def main():
    if len(sys.argv) != 3:
        sys.exit(f"Usage: {sys.argv[0]} TUNNEL HOST")
    connection = TunnelConnection(sys.argv[1], sys.argv[2])
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        sys.stdout.buffer.write(answer.read())
    except (OSError, http.client.HTTPException) as why:
        sys.exit(f"{sys.argv[1]}: {why or 'no answer'}; see `espatctl tunnels`")
    sys.exit(0 if answer.status == 200 else 1)


if __name__ == "__main__":
    main()
