# SPDX-License-Identifier: MIT
"""Programs under test: started, listened to, ended. Whatever is waited for has a deadline."""
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import termios
import threading
import time
import tty

PASSWORD = "wifi-password-9431"
# Under a wrapper such as valgrind all takes its time.
DEADLINE = 200 if os.environ.get("ESPATD_WRAPPER") else 20
FLASH_MAGIC = b"espat-sim flash 1\n"


def wait_for(condition, what, timeout=DEADLINE):
    """Asks again and again: for what tells nobody that it has happened, such as files."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def as_nobody(*command):
    """The command as a user who owns nothing."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


def why_not_nobody():
    """Why as_nobody() is not possible here, or None."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return "needs root, to become somebody else"
    program = os.environ.get("ESPATD", "true")
    if subprocess.run(as_nobody(program, "--version"), capture_output=True).returncode != 0:
        return "the binary stands where nobody may go"
    return None


def read_flash(path):
    """What a simulator's flash holds in its manufacturing NVS: {key of its namespace: bytes}."""
    image = path.read_bytes()
    assert image.startswith(FLASH_MAGIC)
    at, found = len(FLASH_MAGIC), {}
    while image[at:at + 1] != b"E":
        head = at + 2 + image[at + 1]
        size = int.from_bytes(image[head:head + 4], "little")
        if image[at:at + 1] == b"M":
            namespace, _, rest = image[at + 2:head].partition(b"\0")
            key = f"{namespace.decode()}/{rest[:-1].decode()}"
            assert key not in found, f"{key} has values of two types"
            found[key] = image[head + 4:head + 4 + size]
        at = head + 4 + size
    return found


class Program:
    """A process whose output is kept line by line and can be waited for."""

    def __init__(self, args, stdout=subprocess.DEVNULL, **how):
        self.name = os.path.basename(args[0])
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=stdout,
                                        stderr=subprocess.PIPE, **how)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def log(self):
        with self.changed:
            return list(self.lines)

    def mark(self):
        """Where the log ends now: for await_line() and matching()."""
        with self.changed:
            return len(self.lines)

    def matching(self, pattern, after=0):
        return [line for line in self.log()[after:] if re.search(pattern, line)]

    def await_line(self, pattern, after=0, count=1, timeout=DEADLINE):
        """The count-th line that matches, among those behind @after."""
        def found():
            lines = [x for x in self.lines[after:] if re.search(pattern, x)]
            return lines[count - 1] if len(lines) >= count else None

        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, timeout)
            line = found()
            tail = "\n".join(self.lines[-15:])
        assert line, f"{self.name}: no line {pattern!r}, but\n{tail}"
        return line

    def wait(self, timeout=DEADLINE):
        status = self.process.wait(timeout)
        self.reader.join(timeout)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def end(self):
        """By SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()


class Sim(Program):
    """espat-sim; the same @dir means the same flash."""

    def __init__(self, dir, *options):
        self.dir = dir
        self.tty = dir / "tty"
        self.control = dir / "ctl"
        self.tty.unlink(missing_ok=True)
        self.control.unlink(missing_ok=True)
        super().__init__([os.environ["ESPAT_SIM"], "--tty", str(self.tty),
                          "--state", str(dir / "flash"), "--hosts", str(dir / "hosts"),
                          "--ssid", "lab", "--psk", PASSWORD, "--control", str(self.control),
                          "-v", *options])
        there = self.tty, self.control, dir / "flash"
        wait_for(lambda: all(x.exists() for x in there), "the simulator's line and flash")

    def fault(self, line):
        """A line of a fault script; returns when the simulator has taken it."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(str(self.control))
            s.sendall(line.encode() + b"\n")
            answer = s.recv(200)
        assert answer == b"ok\n", (line, answer)

    def ask(self, command, block=None, rate=termios.B115200):
        """What it says to a command of somebody else than the daemon, and to its block (b"": it waits for one)."""
        fd = os.open(self.tty, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(fd)
            # A paced one hears those who have its rate.
            mode = termios.tcgetattr(fd)
            mode[4:6] = [rate] * 2
            termios.tcsetattr(fd, termios.TCSANOW, mode)
            end = rb"\r\n(OK|ERROR)\r\n$"
            got = self._hear(fd, command.encode() + b"\r\n", end if block is None else b">$")
            if block:
                got = self._hear(fd, block, end)
        finally:
            os.close(fd)
        assert b"OK\r\n" in got, (command, got)
        return got

    @staticmethod
    def _hear(fd, said, end):
        os.write(fd, said)
        got, until = b"", time.monotonic() + DEADLINE
        while not re.search(end, got):
            ready, _, _ = select.select([fd], [], [], until - time.monotonic())
            assert ready, (said, got)
            got += os.read(fd, 65536)
        return got

    def flash(self):
        """Its manufacturing NVS as it is now."""
        return read_flash(self.dir / "flash")

    def commands(self, prefix="", after=0):
        """The command lines that the chip got, of those that begin with AT and @prefix."""
        lines = [x for x in self.log()[after:] if x.startswith("H>D AT" + prefix)]
        return [x[4:-4] for x in lines if x.endswith("\\r\\n")]


class Espatd(Program):
    """ESPATD_WRAPPER is a command that it runs under, as valgrind."""

    def __init__(self, dir, text, *options, **how):
        self.dir = dir
        self.config = dir / "espatd.conf"
        self.config.write_text(text)
        self.tunnels = re.findall(r'name = "([^"]+)"; host', text)
        wrapper = shlex.split(os.environ.get("ESPATD_WRAPPER", ""))
        super().__init__([*wrapper, os.environ["ESPATD"], "-c", str(self.config), "--bus", "none",
                          "--runtime-dir", str(dir / "run"), "--state-dir", str(dir / "state"),
                          *options], **how)

    def socket_path(self, tunnel="broker"):
        return self.dir / "run" / f"{tunnel}.sock"

    def await_tunnels(self, timeout=DEADLINE):
        for name in self.tunnels:
            self.await_line(f"{name}: listening on", timeout=timeout)
        return self

    def connect(self, tunnel="broker"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(DEADLINE)
        s.connect(str(self.socket_path(tunnel)))
        return s
