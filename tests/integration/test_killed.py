# SPDX-License-Identifier: MIT
"""An espatd that is killed while it sends: the server gets a prefix, and nothing of what the next one says."""
import signal
import threading

import pytest

from bench import tunnel
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import DEADLINE, wait_for

DATA = bytes(range(256)) * 2000


class Listener:
    """A server that keeps what it gets."""

    def __init__(self):
        self.got = bytearray()
        self.over = threading.Event()

    def __call__(self, conn):
        while data := conn.read():
            self.got += data
        self.over.set()


def send_all(client):
    try:
        client.sendall(DATA)
    except OSError:
        pass  # the daemon is gone


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("rate", [115200, 921600])
@pytest.mark.parametrize("firmware", ["3.2", "4.1"])
def test_in_a_block(bench, serve, firmware, rate, blocks):
    listener = Listener()
    tunnels = [tunnel(serve(listener))]
    bench.device["max_baud"] = rate
    bench.sim("--baud", "115200", "--firmware", firmware)
    daemon = bench.espatd(*tunnels).await_tunnels()
    daemon.await_line("^esp0: ready")
    with daemon.connect() as client:
        threading.Thread(target=send_all, args=(client,), daemon=True).start()
        bench.chip.await_line(r"^H>D AT\+CIPSEND", count=blocks)
        got = len(listener.got)
        # Of the next block some is there.
        wait_for(lambda: len(listener.got) > got, "the block arrives", DEADLINE)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.wait()
        bench.espatd(*tunnels).await_tunnels().await_line("^esp0: ready")
    assert listener.over.wait(DEADLINE)
    assert listener.got == DATA[:len(listener.got)]
