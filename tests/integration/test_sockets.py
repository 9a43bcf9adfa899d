# SPDX-License-Identifier: MIT
"""The sockets in the runtime folder: who gets in by their mode, and whose file it is."""
import os
import socket
import stat

import pytest

from bench import tunnel
from clients import read_all, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import Espatd
from strangers import connect_as, needs_root, open_up


def run_dir(bench):
    return bench.dir / "run"


def listen_at(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.listen(8)
    s.settimeout(20)
    return s


def dead_socket_at(path):
    listen_at(path).close()


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("mode, expected", [(None, 0o660), ("0600", 0o600), ("0666", 0o666)])
def test_mode(bench, serve, mode, expected, umask):
    bench.sim()
    daemon = bench.espatd(tunnel(serve(), mode=mode), how={"umask": umask}).await_tunnels()
    assert stat.S_IMODE(daemon.socket_path().stat().st_mode) == expected
    assert works(daemon)
    assert sorted(os.listdir(run_dir(bench))) == ["broker.sock", "espatd.lock"]


@needs_root
def test_mode_keeps_others_out(bench, serve):
    open_up(bench)
    server = serve()
    daemon = bench.up(tunnel(server, "mine", mode="0600"), tunnel(server, "all", mode="0666"))
    assert connect_as(daemon.socket_path("all"), 60001) == "served"
    assert connect_as(daemon.socket_path("mine"), 60001) == "denied"


@needs_root
def test_group_of_the_folder(bench, serve):
    open_up(bench)
    run_dir(bench).mkdir()
    os.chown(run_dir(bench), -1, 60010)
    run_dir(bench).chmod(0o2755)
    daemon = bench.up(tunnel(serve()))
    assert daemon.socket_path().stat().st_gid == 60010
    assert connect_as(daemon.socket_path(), 60001, groups=[60010]) == "served"
    assert connect_as(daemon.socket_path(), 60001) == "denied"


def test_dead_socket_is_replaced(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server))
    daemon.kill()
    assert daemon.socket_path().is_socket()
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    assert works(daemon)
    assert sorted(os.listdir(run_dir(bench))) == ["broker.sock", "espatd.lock"]


def place_file(path):
    path.write_text("mine")


def place_link(path):
    dead_socket_at(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("place, why", [
    (place_file, "there is something that is not a socket"),
    (place_link, "there is something that is not a socket"),
    (listen_at, "another program serves it"),
])
def test_what_is_somebodys_is_left_alone(bench, serve, place, why):
    run_dir(bench).mkdir()
    path = run_dir(bench) / "one.sock"
    placed = place(path)
    before = path.lstat()
    server = serve()
    bench.sim()
    daemon = bench.espatd(tunnel(server, "one"), tunnel(server, "two"))
    daemon.await_line(f"^one: cannot listen on {path}: {why}$")
    daemon.await_line("^two: listening on")
    assert works(daemon, "two")
    assert daemon.end() == 0
    after = path.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert path.resolve().exists()  # what a link leads to, too
    if placed:
        # It can still be connected to, behind the one who looked whether anybody is there.
        with daemon.connect("one") as s:
            with placed.accept()[0] as looked:
                assert read_all(looked) == b""
            with placed.accept()[0] as got:
                s.sendall(b"you?")
                assert got.recv(4) == b"you?"
        placed.close()


def test_what_has_taken_its_place_stays(bench, serve):
    daemon = bench.up(tunnel(serve()))
    daemon.socket_path().unlink()
    with listen_at(daemon.socket_path()):
        assert daemon.end() == 0
        assert daemon.socket_path().is_socket()
        with daemon.connect():
            pass


def test_second_one_takes_nothing(bench, serve):
    daemon = bench.up(tunnel(serve()))
    before = daemon.socket_path().stat()
    second = Espatd(bench.dir, daemon.config.read_text())
    assert second.wait() == 1
    after = daemon.socket_path().stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert works(daemon)
