# SPDX-License-Identifier: MIT
"""Simulated chips, the daemon and the server, started for one figure and ended with it."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(1, str(TOP / "tests/integration"))
from harness import PASSWORD, Espatd, Program, wait_for  # noqa: E402

MODES = ["down", "up", "both", "echo", "hello", "plus"]
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_us():
    """In a child: whatever happens to the bench, nothing of it stays."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """server.py."""

    def __init__(self, pki):
        self.process = subprocess.Popen(
            [sys.executable, "-B", TOP / "tests/bench/server.py", pki / "ecserver.pem",
             pki / "ecserver.key", *MODES],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_us)
        self.ports = json.loads(self.process.stdout.readline())

    def ask(self, what):
        self.process.stdin.write(what.encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def reset(self):
        self.ask("reset")

    def connections(self, mode=None):
        """What it knows of its connections, oldest first; bytes that were wrong are an error."""
        found = [x for x in self.ask("tell") if mode in (None, x["mode"])]
        for x in found:
            if x["wrong"] is not None:
                raise RuntimeError(f"wrong bytes at the server from position {x['wrong']}")
        return found

    def established(self, mode):
        """How many have got through their handshake."""
        return self.ask("count").count(mode)

    def close(self):
        self.process.kill()
        self.process.wait()


def cpu_seconds(pid):
    """What a process has used in user and kernel mode."""
    try:
        # In nanoseconds; the ticks of stat are too coarse for a figure of a second.
        return sum(int(x.read_text().split()[0]) / 1e9
                   for x in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))
    except (OSError, IndexError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_anon(pid):
    """In bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def host_cpu():
    """Seconds of all CPUs: (idle, all)."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    tick = os.sysconf("SC_CLK_TCK")
    return (fields[3] + fields[4]) / tick, sum(fields) / tick


class Chip(Program):
    """espat-sim without its log, which would cost more than what is measured."""

    def __init__(self, program, dir, *options):
        dir.mkdir(exist_ok=True)
        self.dir = dir
        self.tty = dir / "tty"
        self.tty.unlink(missing_ok=True)
        (dir / "hosts").write_text("broker.test 10.9.9.9\n10.9.9.9 127.0.0.1\n")
        super().__init__([program, "--tty", self.tty, "--state", dir / "flash", "--hosts", dir / "hosts",
                          "--ssid", "lab", "--psk", PASSWORD, *options], preexec_fn=die_with_us)

    def await_up(self):
        wait_for(self.tty.exists, "the simulator's line")
        return self


def chip_options(baud, latency, *more):
    return [*(["--baud", str(baud)] if baud else []), "--latency-ms", str(latency), *map(str, more)]


def value(item):
    return f'"{item}"' if isinstance(item, (str, pathlib.Path)) else str(item).lower()


def group(**items):
    return "{ " + " ".join(f"{k} = {value(v)};" for k, v in items.items()) + " }"


class Rig:
    """
    @chips simulated chips (@baud None: unpaced) and a daemon with a tunnel to each of the server's
    @modes on each chip; `tunnel` and `device` are more settings of theirs.
    """

    def __init__(self, env, modes=(), chips=1, baud=None, latency=1, device={}, tunnel={},
                 sim=(), options=()):
        self.env = env
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="b-", dir=env.dir))
        self.parts = []
        self.modes = modes
        env.server.reset()
        try:
            self._start(chips, baud, latency, device, tunnel, sim, options)
        except BaseException:
            self.close()
            raise

    def _start(self, chips, baud, latency, device, tunnel, sim, options):
        secret = self.dir / "wifi.secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        self.chips = []
        for i in range(chips):
            self.chips.append(Chip(self.env.sim, self.dir / f"esp{i}", *chip_options(baud, latency, *sim)))
            self.parts.append(self.chips[-1])
        for chip in self.chips:
            chip.await_up()
        text = self.text(self.chips, baud, device, tunnel, secret)
        self.daemon = Espatd(self.dir, text, *options, preexec_fn=die_with_us)
        self.parts.append(self.daemon)
        for i in range(chips):
            self.daemon.await_line(f"^esp{i}: ready$", timeout=60)
        self.daemon.await_tunnels()

    def text(self, chips, baud, device, tunnel, secret):
        """The configuration."""
        wifi = group(ssid="lab", password_file=secret)
        rate = {"baud": baud} if baud else {}
        devices = ", ".join(group(name=x.dir.name, port=x.tty, **{**rate, **device})[:-1]
                            + f"wifi = {wifi}; }}" for x in chips)
        tunnels = ", ".join(group(name=f"{x.dir.name}-{mode}", host="broker.test",
                                  port=self.env.server.ports[mode], authority="bench",
                                  device=x.dir.name, **tunnel)
                            for x in chips for mode in self.modes)
        return (f"drain_timeout = 0;\ndevices = ( {devices} );\ntunnels = ( {tunnels} );\n"
                f'authorities = ( {group(name="bench", file=self.env.pki / "ca.pem")} );\n')

    @property
    def pid(self):
        return self.daemon.process.pid

    def path(self, mode, chip=0):
        return self.daemon.socket_path(f"esp{chip}-{mode}")

    def cpu(self):
        return cpu_seconds(self.pid)

    def sims_cpu(self):
        return sum(cpu_seconds(x.process.pid) for x in self.chips)

    def healthy(self):
        """What was measured counts only if nothing went wrong meanwhile."""
        if self.daemon.process.poll() is not None:
            raise RuntimeError("espatd has ended: " + "; ".join(self.daemon.log()[-3:]))

    def close(self):
        for part in reversed(self.parts):
            part.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, Exception):
            # The reason may be there.
            usual = re.compile(" is open on | listening on |: ready$")
            error.add_note("espatd: " + " / ".join(
                [x for x in self.daemon.log() if not usual.search(x)][-8:]))
        self.close()


class Env:
    """What is the same for all figures of a run."""

    def __init__(self, espatd, sim, quick):
        os.environ["ESPATD"] = str(espatd)
        self.espatd = espatd
        self.sim = str(sim)
        self.quick = quick
        self.known = {}  # limits that several figures are measured against
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="espat-bench-"))
        try:
            self.pki = self.dir / "pki"
            subprocess.run([TOP / "certs/mkpki", "--host", "broker.test", self.pki], check=True,
                           stdout=subprocess.DEVNULL)
            self.server = Server(self.pki)
        except BaseException:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise

    def once(self, what, measure):
        if what not in self.known:
            self.known[what] = measure()
        return self.known[what]

    def seconds(self, usual, quick):
        return quick if self.quick else usual

    def refuses(self, device={}, tunnel={}):
        """Whether this daemon does not know such settings."""
        config = self.dir / "check.conf"
        group_of = group(name="esp0", port="/dev/null", **device)
        config.write_text(f"devices = ( {group_of} );\ntunnels = ( "
                          + group(name="t", host="h", port=1, insecure=True, **tunnel) + " );\n")
        return subprocess.run([self.espatd, "-c", config, "--check"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode != 0

    def close(self):
        self.server.close()
        shutil.rmtree(self.dir, ignore_errors=True)
