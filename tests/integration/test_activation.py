# SPDX-License-Identifier: MIT
"""Sockets that somebody else has made and gives to the daemon open, as systemd does."""
import os
import signal
import socket
import stat
import sys

import pytest

from bench import tunnel
from clients import exchange, half_close, read_all, read_exactly
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import say

# What systemd does between fork and exec: sd_listen_fds(3). They come by GIVEN="NAME=FD ...".
LAUNCHER = f"""#!{sys.executable} -B
import fcntl, os, sys
given = [x.split("=") for x in os.environ.pop("GIVEN").split()]
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 64) for _, fd in given]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.environ["LISTEN_FDS"] = str(len(given))
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in given)
os.execv(os.environ["ESPATD"], ["espatd", *sys.argv[1:]])
"""


class Systemd:
    """Holds the sockets, and starts the daemon with them."""

    def __init__(self, bench):
        self.bench = bench
        self.launcher = bench.dir / "launcher"
        self.launcher.write_text(LAUNCHER)
        self.launcher.chmod(0o755)
        self.given = []
        bench.parts.append(self)

    def close(self):
        for _, s in self.given:
            s.close()

    def give(self, name, s):
        self.given.append((name, s))
        return s

    def unix(self, name, path, kind=socket.SOCK_STREAM):
        s = self.give(name, socket.socket(socket.AF_UNIX, kind))
        s.bind(str(path))
        path.chmod(0o604)
        if kind == socket.SOCK_STREAM:
            s.listen(16)
        return s

    def tcp(self, name):
        s = self.give(name, socket.create_server(("127.0.0.1", 0)))
        return s.getsockname()

    def start(self, *tunnels):
        given = " ".join(f"{name}={s.fileno()}" for name, s in self.given)
        return self.bench.espatd(*tunnels, how={
            "executable": str(self.launcher), "pass_fds": [s.fileno() for _, s in self.given],
            "env": {**os.environ, "GIVEN": given}})


@pytest.fixture
def systemd(bench):
    return Systemd(bench)


@pytest.fixture
def path(bench):
    return bench.dir / "given.sock"


def connect(address):
    s = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    s.settimeout(20)
    s.connect(address if isinstance(address, tuple) else str(address))
    return s


@pytest.mark.parametrize("name", ["broker", "espat-broker.socket"])
def test_client_before_the_daemon(bench, serve, systemd, path, name):
    systemd.unix(name, path)
    with connect(path) as s:
        bench.sim()
        daemon = systemd.start(tunnel(serve()))
        daemon.await_line(f"^broker: listening on {path}")
        assert exchange(s, b"early") == b"early"
    assert not daemon.socket_path().exists()
    assert daemon.end() == 0
    assert path.is_socket()


def test_path_and_address(bench, serve, systemd, path):
    systemd.unix("broker", path)
    address = systemd.tcp("broker")
    systemd.unix("espat-other.socket", bench.dir / "other.sock")
    bench.sim()
    server = serve()
    daemon = systemd.start(tunnel(server), tunnel(server, "other"), tunnel(server, "own"))
    daemon.await_tunnels()
    for where in path, address, bench.dir / "other.sock", daemon.socket_path("own"):
        with connect(where) as s:
            assert exchange(s, b"hello") == b"hello"


def test_tcp_client_that_half_closes(bench, serve, systemd):
    address = systemd.tcp("broker")
    bench.sim()
    systemd.start(tunnel(serve())).await_tunnels()
    with connect(address) as s:
        s.sendall(b"hello")
        half_close(s)
        assert read_exactly(s, 5) == b"hello"


def test_none_is_lost_over_restarts(bench, serve, systemd, path):
    systemd.unix("broker", path)
    before = path.stat()
    bench.sim()
    server = serve()
    daemon = systemd.start(tunnel(server)).await_tunnels()
    daemon.await_line("^esp0: ready$")
    for _ in range(3):
        with connect(path) as s:
            assert exchange(s, b"before") == b"before"
        daemon.process.send_signal(signal.SIGTERM)
        with connect(path):  # it may be taken still, and ended with the old one
            assert daemon.wait() == 0
            with connect(path) as t:
                daemon = systemd.start(tunnel(server))
                assert exchange(t, b"during") == b"during"
    after = path.stat()
    assert (after.st_ino, after.st_mode, after.st_uid, after.st_gid, after.st_ctime_ns) == \
        (before.st_ino, before.st_mode, before.st_uid, before.st_gid, before.st_ctime_ns)
    assert stat.S_IMODE(after.st_mode) == 0o604


def test_changed_tunnel_keeps_its_socket(bench, serve, systemd, path):
    systemd.unix("broker", path)
    bench.sim()
    server, other = serve(), serve(say(b"other"))
    daemon = systemd.start(tunnel(server)).await_tunnels()
    with connect(path) as s:
        assert exchange(s, b"one") == b"one"
        daemon.config.write_text(bench.config(tunnel(other)))
        seen = bench.reload()
        daemon.await_line("^broker: listening on", after=seen)
        assert read_all(s) == b""
    with connect(path) as s:
        assert read_all(s, 5) == b"other"


@pytest.mark.parametrize("items", [{"allow_uids": [0]}, {"allow_gids": [0]}])
def test_users_cannot_be_told_by_tcp(bench, systemd, path, items):
    systemd.unix("broker", path)
    systemd.tcp("broker")
    daemon = systemd.start(tunnel(1, **items))
    assert daemon.wait() == 78
    assert daemon.matching(r"espatd.conf:\d+: tunnel broker .*127.0.0.1.*expected Unix sockets only")


def test_socket_of_a_wrong_kind(bench, systemd, path):
    systemd.unix("broker", path, socket.SOCK_DGRAM)
    daemon = systemd.start(tunnel(1))
    assert daemon.wait() == 78
    assert daemon.matching("tunnel broker .* is no stream socket")
