# SPDX-License-Identifier: MIT
"""espatctl against a service that is none, on a bus of its own."""
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import threading
import time

from harness import DEADLINE, Program


class Talking(Program):
    """A program that is spoken to on its standard input and whose standard output is read."""

    def __init__(self, args, **how):
        self.name = os.path.basename(args[0])
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, **how)
        # What Program reads.
        self.process.stderr = self.process.stdout
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()


class Bench:
    def __init__(self, dir, bus):
        self.dir = dir
        self.bus = bus
        self.fake = None
        self.running = []

    def start(self, *options):
        """The service, instead of one that was there."""
        if self.fake:
            self.fake.kill()
        self.fake = Talking([os.environ["FAKE_ESPATD"], self.bus, *options])
        self.fake.await_line("fake: ready")
        return self.fake

    def command(self, *args):
        return [os.environ["ESPATCTL"], "--bus", self.bus, *args]

    def run(self, *args, status=0, input=None, **how):
        """Its standard output; standard error stays in `errors`."""
        done = subprocess.run(self.command(*args), capture_output=True, timeout=DEADLINE,
                              input=input if input is not None else b"", **how)
        self.errors = done.stderr.decode()
        assert done.returncode == status, (args, done.returncode, done.stdout, self.errors)
        return done.stdout.decode()

    def json(self, *args, **how):
        return json.loads(self.run("--json", *args, **how))

    def go(self, *args):
        """In the background."""
        program = Talking(self.command(*args))
        self.running.append(program)
        return program

    def called(self, pattern):
        """The line of the call, when it has come."""
        return self.fake.await_line(pattern)

    def end(self):
        for program in [*self.running, *([self.fake] if self.fake else [])]:
            program.kill()


class Terminal:
    """A program on a terminal of its own, which is also its /dev/tty."""

    def __init__(self, args, env=None):
        pid, self.fd = pty.fork()
        if pid == 0:
            try:
                os.execve(args[0], args, {**os.environ, "TERM": "xterm", **(env or {})})
            finally:
                os._exit(127)
        self.pid = pid
        self.text = b""

    def read(self, until=None):
        """What it shows, up to @until, or to its end."""
        end = time.monotonic() + DEADLINE
        while until is None or until not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"not shown: {until!r}, but {self.text!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # its other end is closed
                data = b""
            if not data:
                assert until is None, f"not shown: {until!r}, but {self.text!r}"
                break
            self.text += data
        return self.text

    def type(self, data):
        os.write(self.fd, data)

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def completion_file():
    return pathlib.Path(__file__).parents[2] / "src/ctl/completion"


def interrupt(program):
    program.process.send_signal(signal.SIGINT)
    return program.wait()
