# SPDX-License-Identifier: MIT
"""Chips that lie, beside one that does not; and hosts that have nothing to give."""
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import threading
import time
import tty

import pytest

from bench import tunnel
from clients import exchange, works, works_again
from fixtures import TOP, bench, pki, serve  # noqa: F401 (used by name)
from harness import DEADLINE, wait_for

# It writes the same again and again, as fast as it is taken.
FLOOD = """
import os, sys
piece = open(sys.argv[1], "rb").read()
piece *= 65536 // len(piece) + 1
while True:
    os.write(0, piece)
"""

# What the other chip's clients may notice of it, and what memory it may take. Sanitizers need their own.
LATENCY_MAX = 0.05
MEMORY_MAX = 2 << 20
CPU_MAX = 0.5
LINES_MAX = 40 + 15 * 6
# Of one client, see espatd(8).
CLIENT_MAX = 8 << 20


class Liar:
    """A Unix socket for the daemon in front of a chip's line, that says something else when it is told to."""

    def __init__(self, dir, chip):
        self.path = dir / "liar"
        self.pattern = dir / "flood"
        self.flood = None
        self.edit = None
        self.host = None
        self.tty = os.open(chip.tty, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.tty)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.wake, self.waker = os.pipe()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def lie(self, piece):
        self.pattern.write_bytes(piece)
        self.flood = subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(self.pattern)],
                                      stdin=self.host.fileno())

    def behave(self):
        self.flood.kill()
        self.flood.wait()
        self.flood = None

    def _run(self):
        while True:
            ready, _, _ = select.select([self.host or self.listener, self.tty, self.wake], [], [])
            if self.wake in ready:
                return
            if self.tty in ready:
                data = os.read(self.tty, 65536)
                if self.host and not self.flood:
                    self.host.sendall(self.edit(data) if self.edit else data)
            if self.host in ready:
                data = self._receive()
                if not data:
                    self.host = None
                elif not self.flood:
                    os.write(self.tty, data)
            elif self.listener in ready:
                self.host, _ = self.listener.accept()

    def _receive(self):
        try:
            return self.host.recv(65536)
        except ConnectionResetError:
            return b""

    def close(self):
        if self.flood:
            self.behave()
        os.write(self.waker, b"x")
        self.thread.join()
        for fd in self.tty, self.wake, self.waker:
            os.close(fd)


def memory(daemon):
    """Of its own, in bytes."""
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def cpu(daemon):
    """Seconds that it has used."""
    fields = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def echoes(s, seconds):
    """64 bytes there and back, again and again; what each took, sorted."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        assert exchange(s, b"%064d" % len(took)) == b"%064d" % len(took)
        took.append(time.monotonic() - start)
    return sorted(took)


@pytest.fixture
def made_liar(bench, serve):
    """A good chip, for the tunnel broker, and one that may lie, for the tunnel other; no daemon yet."""
    bench.sim()
    made = Liar(bench.dir, bench.another("esp1"))
    bench.parts.append(made)
    bench.more["devices"][0]["port"] = f"unix:{made.path}"
    server = serve()
    made.tunnels = tunnel(server, device="esp0"), tunnel(server, "other", device="esp1")
    return made


@pytest.fixture
def liar(bench, made_liar):
    daemon = bench.espatd(*made_liar.tunnels).await_tunnels()
    daemon.await_line("^esp0: ready$")
    daemon.await_line("^esp1: ready$")
    return made_liar


def check(daemon, liar, lie, seconds=1, most=MEMORY_MAX, say=lambda: None):
    """The clients of the other chip do not notice, nor does whoever pays for CPU, memory and the log."""
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        before, seen, used, start = memory(daemon), daemon.mark(), cpu(daemon), time.monotonic()
        liar.lie(lie)
        took = echoes(s, seconds)
        used = (cpu(daemon) - used) / (time.monotonic() - start)
        grown, said = memory(daemon) - before, len(daemon.log()) - seen
        assert exchange(s, b"behind") == b"behind"
    p99 = took[len(took) * 99 // 100]
    print(f"{lie[:20]}: p99 {p99 * 1000:.1f} ms, {grown >> 10} KiB, {used * 100:.0f} % CPU, {said} lines")
    assert p99 < LATENCY_MAX
    assert grown < most or "ASAN_OPTIONS" in os.environ
    assert used < CPU_MAX or "ASAN_OPTIONS" in os.environ
    assert said < LINES_MAX
    return seen


LIES = {
    "reports": b"WIFI GOT IP\r\n4,CLOSED\r\n\r\n+IPD,0,4294967295\r\n+TIME_UPDATED\r\nERR CODE:0x010b0000\r\n",
    "blocks": b"\r\n+IPD,9,5:abcde\r\n\r\n+IPD,0,99999999999:abc\r\n\r\n+IPD,0,-1:\r\n3,CONNECT\r\n",
    "answers": b"\r\nOK\r\n>\r\n\r\nSEND OK\r\nRecv 5 bytes\r\n\r\nbusy p...\r\n+CIPSENDL:9,9\r\n+CIPRECVDATA:2,ab\r\n",
    "noise": bytes(range(256)) + b"\xff" * 200 + b"\0" * 200,
    "a line": b"x",
}


def test_flood(bench, liar):
    daemon = bench.daemon
    for name, lie in LIES.items():
        assert works(daemon, "other")
        seen = check(daemon, liar, lie)
        liar.behave()
        if name != "reports":
            daemon.await_line("^esp1: lost step with the chip", seen)
            daemon.await_line("^esp1: ready$", seen)
    assert works(daemon, "other")
    assert not daemon.matching("^(esp0|broker): .*(lost|abort|restart)")


def test_restarts_without_end(bench, liar):
    """It is set aside, which is told once, and is in service again when it behaves."""
    daemon = bench.daemon
    seen = check(daemon, liar, b"\r\nready\r\n", seconds=2)
    daemon.await_line("^esp1: the chip has restarted or lost step more than 15 times within a minute; "
                      "is its power supply good\\?; trying again", seen)
    liar.behave()
    behind = daemon.mark()
    daemon.await_line("^esp1: ready$", behind)
    assert works(daemon, "other")
    assert len(daemon.matching("power supply", seen)) == 1


def test_data_without_end(bench, liar):
    """For a client that does not read: as much as is said of that is kept for it, and then no more."""
    daemon = bench.daemon
    with daemon.connect("other") as client:
        assert exchange(client, b"it is open") == b"it is open"
        check(daemon, liar, b"\r\n+IPD,0,2920:" + bytes(2920) + b"\r\n", seconds=5, most=CLIENT_MAX + MEMORY_MAX)
        print(daemon.log()[-4:])
        daemon.await_line("^other: connection 1 aborted: ")


ESCAPES = "\x9b31m\N{SECTION SIGN}\x9b2J".encode() + b"\x9b31m\x85"


@pytest.mark.parametrize("escapes", [ESCAPES, b"\x1b[31m"])
def test_version_with_escapes(bench, made_liar, escapes):
    """It is shown to nobody's terminal as it is."""
    pytest.importorskip("dbus")
    bus = bench.with_bus()
    made_liar.edit = lambda data: data.replace(b"Bin version:", b"Bin version:" + escapes)
    daemon = bench.espatd(*made_liar.tunnels)
    daemon.await_line("^esp0: ready$")
    if escapes == ESCAPES:
        daemon.await_line("^esp1: ready$")
        assert "31m\N{SECTION SIGN}" in bus.chip("esp1")["Firmware"]
    else:
        daemon.await_line(r"^esp1: lost step with the chip \(control character in a line\)")
        made_liar.edit = None
        daemon.await_line("^esp1: ready$")
    assert not [line for line in daemon.log() if re.search("[\0-\x1f\x7f-\x9f\ufffd]", line)]
