# SPDX-License-Identifier: MIT
"""What the line and the simulator allow, measured without espatd."""
import contextlib
import pathlib
import shutil
import tempfile
import time

from harness import PASSWORD
from load import REQUEST
from rawline import Line
from result import quantile
from rig import Chip, chip_options


@contextlib.contextmanager
def raw(env, baud, latency=1, mode=None, flash=None):
    """A chip with its line in our own hands, connected to the server's @mode."""
    dir = pathlib.Path(tempfile.mkdtemp(prefix="r-", dir=env.dir))
    if flash:
        shutil.copyfile(flash, dir / "flash")
    chip = Chip(env.sim, dir, *chip_options(baud, latency)).await_up()
    line = None
    try:
        line = Line(chip.tty, baud)
        line.join(PASSWORD)
        if mode:
            line.connect(env.server.ports[mode])
        yield line
    finally:
        if line:
            line.close()
        chip.kill()


def down(env, baud):
    """Bytes per second that come over the line, +IPD heads included."""
    def measure():
        with raw(env, baud, mode="down") as line:
            return line.stream(env.seconds(2, 1))

    return env.once(("down", baud), measure)


def up(env, baud):
    """Bytes per second that go over the line."""
    def measure():
        with raw(env, baud) as line:
            return line.pushed(env.seconds(3, 1.5), baud)

    return env.once(("up", baud), measure)


def request(env, baud, latency):
    """
    A small request by a program that does nothing else: its median in seconds, and what its bytes
    alone take on the wire.
    """
    def measure():
        with raw(env, baud, latency, mode="echo") as line:
            line.settle()
            line.received = line.sent = 0
            count = 40
            times = [line.request(b"%-*d" % (REQUEST, i)) for i in range(count)]
            line.settle()
            wire = (line.received + line.sent) / count * 10 / baud
            return quantile(times, 0.5), wire

    return env.once(("request", baud, latency), measure)


def request_beside(env, baud, mode, count):
    """Seconds of each small request on link 0 while @count other links receive."""
    def measure():
        with raw(env, baud, mode="echo") as line:
            for i in range(1, 1 + count):
                line.connect(env.server.ports[mode], i)
            line.stream(0.1)
            line.skip_to_block()
            end = time.monotonic() + env.seconds(8, 3)
            times = []
            while time.monotonic() < end:
                times.append(line.request(b"%-*d" % (REQUEST, len(times))))
            return times

    return env.once(("request beside", baud, mode, count), measure)
