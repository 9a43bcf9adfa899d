# SPDX-License-Identifier: MIT
"""Chips that lie, beside one that does not; and hosts that have nothing to give."""
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

import pytest

from bench import tunnel
from between import Between
from clients import exchange, works
from fixtures import TOP, bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import say_and_hold

# It writes the same again and again, as fast as it is taken.
FLOOD = """
import os, sys
piece = open(sys.argv[1], "rb").read()
piece *= 65536 // len(piece) + 1
while True:
    os.write(0, piece)
"""

# What the other chip's clients may notice of it, what it may take, and how often the log may tell of it: a chip
# has 15 tries, of six lines each. Sanitizers need more memory and time.
LATENCY_MAX = 0.05
MEMORY_MAX = 2 << 20
CPU_MAX = 0.5
LINES_MAX = 15 * 6
# Of one client, see espatd(8). While its buffer grows the old one and the new one are there.
CLIENT_MAX = 8 << 20


class Liar(Between):
    """A line that says something else when it is told to."""

    def __init__(self, dir, chip):
        self.pattern = dir / "flood"
        self.flood = None
        self.edit = None
        super().__init__(dir / "liar", chip)

    def lie(self, piece):
        self.pattern.write_bytes(piece)
        self.flood = subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(self.pattern)],
                                      stdin=self.host.fileno(), stderr=subprocess.DEVNULL)

    def behave(self):
        self.flood.kill()
        self.flood.wait()
        self.flood = None

    def from_host(self, data):
        if not self.flood:
            self.to_chip(data)

    def from_chip(self, data):
        if not self.flood:
            self.to_host(self.edit(data) if self.edit else data)

    def close(self):
        if self.flood:
            self.behave()
        super().close()


def memory(daemon):
    """Of its own, in bytes."""
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def cpu(daemon):
    """Seconds that it has used."""
    fields = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cost:
    """What a daemon uses, and says, from here on."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.memory = self.peak = memory(daemon)
        self.cpu, self.start, self.seen = cpu(daemon), time.monotonic(), daemon.mark()
        self.latencies = []

    def watch(self, s, seconds):
        """64 bytes there and back, again and again."""
        end = time.monotonic() + seconds
        while (start := time.monotonic()) < end:
            data = b"%064d" % len(self.latencies)
            assert exchange(s, data) == data
            self.latencies.append(time.monotonic() - start)
            self.peak = max(self.peak, memory(self.daemon))
        self.cpu = (cpu(self.daemon) - self.cpu) / (time.monotonic() - self.start)
        self.lines = len(self.daemon.log()) - self.seen


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


def check(daemon, liar, lie, seconds=0.7, most=MEMORY_MAX):
    """The clients of the other chip do not notice, nor does whoever pays for CPU, memory and the log."""
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        cost = Cost(daemon)
        liar.lie(lie)
        cost.watch(s, seconds)
    p99, grown = sorted(cost.latencies)[len(cost.latencies) * 99 // 100], cost.peak - cost.memory
    print(f"{lie[:12]}: 64 bytes {p99 * 1000:.1f} ms (p99), RssAnon +{grown >> 10} KiB, "
          f"CPU {cost.cpu * 100:.0f} %, {cost.lines} lines")
    assert cost.lines < LINES_MAX
    if "ASAN_OPTIONS" not in os.environ:
        assert grown < most
        assert cost.cpu < CPU_MAX
    return p99, cost.seen


LIES = {
    "reports": b"WIFI GOT IP\r\n4,CLOSED\r\n\r\n+IPD,0,4294967295\r\n+TIME_UPDATED\r\nERR CODE:0x010b0000\r\n",
    "blocks": b"\r\n+IPD,9,5:abcde\r\n\r\n+IPD,0,99999999999:abc\r\n\r\n+IPD,0,-1:\r\n3,CONNECT\r\n",
    "answers": b"\r\nOK\r\n>\r\n\r\nSEND OK\r\nRecv 5 bytes\r\n\r\nbusy p...\r\n+CIPSENDL:9,9\r\n+CIPRECVDATA:2,ab\r\n",
    "noise": bytes(range(256)) + b"\xff" * 200 + b"\0" * 200,
    "a line": b"x",
}


def test_flood(bench, liar):
    daemon = bench.daemon

    def told(name, lie):
        assert works(daemon, "other")
        p99, seen = check(daemon, liar, lie)
        liar.behave()
        if name != "reports":
            daemon.await_line("^esp1: lost step with the chip", seen)
            daemon.await_line("^esp1: ready$", seen)
        return p99

    for name, lie in LIES.items():
        # The host may have had something else to do, but not each time.
        assert any(told(name, lie) < LATENCY_MAX for _ in range(3)), name
    assert works(daemon, "other")
    assert not daemon.matching("^(esp0|broker): .*(lost|abort|restart)")


def test_restarts_without_end(bench, liar):
    """It is set aside, which is told once, and is in service again when it behaves."""
    daemon = bench.daemon
    _, seen = check(daemon, liar, b"\r\nready\r\n", seconds=1)
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
        check(daemon, liar, b"\r\n+IPD,0,2920:" + bytes(2920) + b"\r\n", seconds=2.5, most=2 * CLIENT_MAX + MEMORY_MAX)
        daemon.await_line("^other: connection 1 aborted: the client reads too slowly$")


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


# ---- commands ----

def sources():
    return [(path.relative_to(TOP / "src"), path.read_text()) for path in sorted((TOP / "src").rglob("*.[ch]"))]


def test_only_the_encoder_makes_commands():
    """What is written to a chip comes from at/encode.c, but for numbers and words that the daemon makes itself."""
    strings = re.compile(r'"((?:[^"\\]|\\.)*)"')
    made = {(str(path), text) for path, source in sources() for text in strings.findall(source)
            if re.match("AT[A-Z+_]*[=%]", text) and "%" in text}
    assert made == {("device/step-line.c", "AT+UART_CUR=%u,8,1,0,%d"), ("device/step-probe.c", "ATESPATD%016")}
    # Bytes that are no command, and words that are not quoted.
    for call, users in {"chan_write": {"chan/chan.c", "chan/chan.h", "device/step-line.c", "device/step-probe.c"},
                        "at_line_word": {"at/encode.c", "at/encode.h", "device/link.c"},
                        "at_line_raw": {"at/encode.c", "at/encode.h"}}.items():
        assert {str(path) for path, source in sources() if re.search(rf"\b{call}\(", source)} == users
    # Whoever copies into a line by himself.
    assert not [path for path, source in sources() if str(path) != "at/encode.c" and
                re.search(r"(printf|strcpy|strcat|memcpy|stpcpy)\([^;]*line[.>-]+text\b", source)]


# ---- the host ----

def mounted(path, options):
    """A small file system of its own, that the test may fill or lock."""
    path.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")


@pytest.fixture
def folder(bench):
    """folder(name, options): one of the bench's is such a file system."""
    made = []

    def make(name, options):
        mounted(bench.dir / name, options)
        made.append(bench.dir / name)
        return made[-1]
    yield make
    for path in made:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    with pytest.raises(OSError, match="No space left"), open(path / "full", "wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_state_is_full(bench, serve, folder):
    """Another authority cannot be kept, so all stays as it was, until there is room."""
    bench.own_files()
    state = folder("state", "size=128k")
    daemon = bench.up(tunnel(serve()))
    fill(state)
    bench.replace(ca="both")
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        seen = bench.reload()
        daemon.await_line(f"^not reloaded, all stays as it was: cannot keep certificates and keys in {state}: "
                          "No space left on device$", seen)
        assert exchange(s, b"behind") == b"behind"
    assert works(daemon)
    (state / "full").unlink()
    seen = bench.reload()
    daemon.await_line("^reloaded", seen)
    daemon.await_line("^esp0: authority corp is generation 2 now", seen)
    assert works(daemon)
    # And one that starts needs nothing more of it.
    assert daemon.end() == 0
    fill(state)
    assert works(bench.espatd(tunnel(serve())).await_tunnels())


@pytest.mark.parametrize("name, file", [("state", ""), ("run", "/espatd.lock")])
def test_read_only_at_the_start(bench, serve, folder, name, file):
    path = folder(name, "ro")
    bench.sim()
    daemon = bench.espatd(tunnel(serve()))
    assert daemon.wait() == 1
    assert daemon.matching(f" {path}{file}: Read-only file system$")
    bench.daemon = None


def test_state_becomes_read_only(bench, serve, folder):
    """What is there is served."""
    bench.own_files()
    state = folder("state", "size=1m")
    daemon = bench.up(tunnel(serve()))
    subprocess.run(["mount", "-o", "remount,ro", state], check=True)
    seen = bench.reload()
    daemon.await_line("^not reloaded, all stays as it was: cannot keep certificates and keys in "
                      f"{state}: Read-only file system$", seen)
    assert works(daemon)
    subprocess.run(["mount", "-o", "remount,rw", state], check=True)
    bench.replace(ca="both")
    seen = bench.reload()
    daemon.await_line("^esp0: authority corp is generation 2 now", seen)
    assert works(daemon)


def test_configuration_that_cannot_be_read(bench, serve):
    daemon = bench.up(tunnel(serve()))
    kept = daemon.config.rename(bench.dir / "kept")
    for place, why in (lambda: None, "no such file"), (daemon.config.mkdir, "is a folder"):
        place()
        with daemon.connect() as s:
            seen = bench.reload()
            daemon.await_line("^not reloaded, all stays as it was", seen)
            assert daemon.matching(f"{daemon.config}: .*{why}", seen), "\n".join(daemon.log()[seen:])
            assert exchange(s, b"still") == b"still"
    daemon.config.rmdir()
    kept.rename(daemon.config)
    seen = bench.reload()
    daemon.await_line("^reloaded", seen)


def test_folder_of_the_sockets_goes_away(bench, serve):
    daemon = bench.up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        shutil.rmtree(bench.dir / "run")
        seen = bench.reload()
        daemon.await_line(f"^broker: cannot listen on {daemon.socket_path()}: No such file or directory$", seen)
        assert exchange(s, b"behind") == b"behind"
    (bench.dir / "run").mkdir()
    seen = bench.reload()
    daemon.await_line("^broker: listening on", seen)
    assert works(daemon)


def test_no_more_descriptors(bench, serve):
    daemon = bench.up(tunnel(serve()))
    pid = daemon.process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, used + 2))
    clients = [daemon.connect() for _ in range(4)]
    daemon.await_line("^broker: cannot accept clients: Too many open files; trying again every 1 s$")
    for s in clients[:2]:
        assert exchange(s, b"one of the first") == b"one of the first"
        s.close()
    for s in clients[2:]:
        assert exchange(s, b"one of the last") == b"one of the last"
        s.close()
    assert works(daemon)


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="takes terabytes of addresses")
def test_no_more_memory(bench, serve):
    """Whose buffer cannot grow is cut off, and nobody else."""
    bench.device["receive"] = "active"
    daemon = bench.up(tunnel(serve(say_and_hold(bytes(6 << 20))), "slow"), tunnel(serve(), "quick"))
    pid = daemon.process.pid
    size = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size + (1 << 20), size + (1 << 20)))
    with daemon.connect("quick") as s, daemon.connect("slow"):
        daemon.await_line("^slow: connection 1 aborted: espatd is out of memory$")
        assert exchange(s, b"still") == b"still"
    assert works(daemon, "quick")
