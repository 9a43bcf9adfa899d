# SPDX-License-Identifier: MIT
"""How espatd begins and ends as a program: options, exit status, what it leaves behind."""
import os
import signal
import subprocess

import pytest

from bench import tunnel
from clients import exchange, read_all, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import Espatd


def run(*options):
    return subprocess.run([os.environ["ESPATD"], *options], capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_on_a_signal(bench, serve, number):
    server = serve()
    daemon = bench.up(tunnel(server, "one"), tunnel(server, "two"))
    with daemon.connect("one") as s:
        assert exchange(s, b"hello") == b"hello"
        assert daemon.socket_path("one").is_socket() and daemon.socket_path("two").is_socket()
        daemon.process.send_signal(number)
        assert daemon.wait() == 0
        assert read_all(s) == b""
    assert not list((bench.dir / "run").glob("*.sock"))


def test_ends_on_a_signal_while_the_chip_is_set_up(bench, serve):
    chip = bench.sim("--flash-ms", "400")
    daemon = bench.espatd(tunnel(serve(), identity="gateway"))
    chip.await_line(r"AT\+SYSMFG=2")
    assert daemon.end() == 0


def test_ends_on_a_signal_without_a_chip(bench):
    daemon = bench.espatd(tunnel(1))
    daemon.await_line("esp0: .*waiting")
    assert daemon.end() == 0


def test_second_one_in_the_same_place_is_refused(bench, serve):
    daemon = bench.up(tunnel(serve()))
    second = Espatd(bench.dir, daemon.config.read_text())
    assert second.wait() == 1
    assert second.matching(rf"another espatd .process {daemon.process.pid}. uses")
    assert works(daemon)


def test_second_one_on_the_same_port_is_refused(bench, serve):
    daemon = bench.up(tunnel(serve()))
    second = Espatd(bench.dir, daemon.config.read_text(), "--runtime-dir", str(bench.dir / "run2"))
    assert second.wait() == 1
    assert second.matching(rf"esp0: another espatd .process {daemon.process.pid}. uses .*/tty")
    assert works(daemon)


def test_second_one_in_the_same_place_with_another_port_is_refused(bench, serve):
    daemon = bench.up(tunnel(serve()))
    text = daemon.config.read_text().replace("/tty", "/other-tty")
    second = Espatd(bench.dir, text)
    assert second.wait() == 1
    assert second.matching(rf"another espatd .process {daemon.process.pid}. uses .*/run$")
    assert works(daemon)


# ---- the end with open connections ----

def test_open_connections_go_on_for_a_while(bench, serve):
    """Nobody else gets in, and when the last one has gone the end does not wait any longer."""
    bench.root["drain_timeout"] = 60
    daemon = bench.up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        daemon.process.send_signal(signal.SIGTERM)
        daemon.await_line("^SIGTERM, stopping$")
        assert exchange(s, b"still there?") == b"still there?"
        with pytest.raises(OSError):
            daemon.connect()
    assert daemon.wait() == 0


def test_second_signal_ends_at_once(bench, serve):
    bench.root["drain_timeout"] = 60
    daemon = bench.up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        daemon.process.send_signal(signal.SIGTERM)
        daemon.await_line("^SIGTERM, stopping$")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert read_all(s) == b""


def test_draining_has_an_end(bench, serve):
    bench.root["drain_timeout"] = 1
    daemon = bench.up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        assert daemon.end() == 0
        assert read_all(s) == b""


def test_socket_of_another_program_is_left_alone(bench, serve):
    (bench.dir / "run").mkdir()
    (bench.dir / "run" / "one.sock").write_text("mine")
    server = serve()
    bench.sim()
    daemon = bench.espatd(tunnel(server, "one"), tunnel(server, "two"))
    daemon.await_line("one: cannot listen on .*one.sock")
    daemon.await_line("two: listening on")
    assert works(daemon, "two")
    assert daemon.end() == 0
    assert (bench.dir / "run" / "one.sock").read_text() == "mine"


def test_help_and_version():
    result = run("--help")
    assert result.returncode == 0 and result.stdout.startswith("Usage: espatd -c FILE")
    result = run("--version")
    assert result.returncode == 0 and result.stdout.startswith("espatd ")


@pytest.mark.parametrize("options", [[], ["--nonsense"], ["-c"], ["-c", "x", "y"], ["-c", "x", "--bus", "tram"]])
def test_wrong_usage(options):
    result = run(*options)
    assert result.returncode == 2 and "espatd" in result.stderr and result.stdout == ""
