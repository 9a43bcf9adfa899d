# SPDX-License-Identifier: MIT
"""Chips that restart, lines that lose bytes, networks that go: what was received is right, and all comes back."""
import random
import socket

import pytest

from bench import tunnel
from clients import exchange, read_all, read_exactly, send_in_background, works, works_again
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo, say_and_hold, swallow

BIG = random.Random(7).randbytes(4000000)
READY = "^esp0: ready"
# A server that does not read holds a chip up; a chip that lost bytes is found out within seconds.
BACK = 25


def broken_in_transfer(bench, daemon, fault):
    """Something happens while much goes both ways; what arrived, at the client."""
    with daemon.connect() as s:
        thread = send_in_background(s, BIG)
        head = read_exactly(s, 20000)
        bench.chip.fault(fault)
        s.settimeout(BACK)
        got = head + read_all(s, len(BIG) - len(head))
        s.shutdown(socket.SHUT_RDWR)
        thread.join()
    return got


def test_reset_while_idle(bench, serve):
    daemon = bench.up(tunnel(serve(echo, client_ca="ca"), identity="gateway"))
    assert works(daemon)
    for fault in "reset", "reset-rom":
        seen, told = daemon.mark(), bench.chip.mark()
        bench.chip.fault(fault)
        daemon.await_line(READY, seen)
        assert works(daemon)
        # All of it is set up again, and what is in the flash is not written again.
        for command in "+CIPMUX=1", "+SYSTIMESTAMP=", "+CIPSSLCCONF=0,3,":
            assert bench.chip.commands(command, told), command
        assert not bench.chip.commands("+SYSMFG=2,", told)


def test_reset_ends_the_connections(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    clients = [daemon.connect() for _ in range(3)]
    for s in clients:
        assert exchange(s, b"before") == b"before"
    seen = daemon.mark()
    bench.chip.fault("reset")
    for s in clients:
        assert read_all(s) == b""
        s.close()
    daemon.await_line("aborted: the chip was reset or lost", count=3)
    # Who comes while the chip starts waits for it.
    assert works(daemon)
    daemon.await_line(READY, seen)


FAULTS = ["reset", "reset-rom", "link-reset 0", "wifi-drop 1", "unplug 200", "drop out 1",
          "drop out 2", "drop out 7", "drop out 300", "double out 1", "drop in 1", "drop in 2",
          "double in 1"]  # the bytes are those at the head of what is next


@pytest.mark.parametrize("fault", FAULTS)
def test_in_transfer(bench, serve, fault):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    got = broken_in_transfer(bench, daemon, fault)
    assert works_again(daemon)
    conn = server.connection()
    assert conn.ended.wait(20)
    # What it says is what it was told.
    assert conn.received.startswith(got)
    # A byte too many changes a block unseen: the chip only counts, and sends it.
    if fault != "double in 1":
        assert BIG.startswith(conn.received)


@pytest.mark.parametrize("fault", ["drop out 1", "drop out 2", "drop out 3000", "double out 1"])
@pytest.mark.parametrize("where", [100000, 101777])
def test_in_the_middle_of_a_block(bench, serve, where, fault):
    """No count of bytes tells that one is missing; what stands behind the block does."""
    bench.sim()
    bench.chip.fault(f"out {where} {fault}")
    daemon = bench.espatd(tunnel(serve(say_and_hold(BIG)))).await_tunnels()
    with daemon.connect() as s:
        s.settimeout(BACK)
        got = read_all(s)
    assert BIG.startswith(got)
    assert 50000 < len(got) < where
    daemon.await_line("connection 1 aborted: the chip was reset or lost")


@pytest.mark.parametrize("fault", ["no-prompt", "busy 3", "busy-after 2", "send-fail 10", "reset"])
def test_send_goes_wrong(bench, serve, fault):
    server = serve(swallow)
    daemon = bench.up(tunnel(server), tunnel(serve(echo), "other"))
    data = BIG[:20000]
    with daemon.connect() as s:
        s.settimeout(BACK)
        bench.chip.fault(f"cmd AT+CIPSEND 2 {fault}")
        thread = send_in_background(s, data)
        thread.join()
        s.shutdown(1)
        if "busy" not in fault:
            assert read_all(s) == b""
    assert server.connection().ended.wait(BACK)
    received = bytes(server.connection().received)
    if "busy" in fault:
        assert received == data
    else:
        assert data.startswith(received)
        daemon.await_line("connection 1 aborted")


@pytest.mark.parametrize("fault", ["drop in 1", "no-prompt", "mute", "drop out 20"])
def test_our_commands_never_become_data(bench, serve, fault):
    """The chip still waits for bytes of a block; what is said to it next must not be sent as such."""
    server = serve(swallow)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as s:
        s.settimeout(BACK)
        bench.chip.fault(f"cmd AT+CIPSEND 1 {fault}")
        s.sendall(b"abc")
        assert read_all(s) == b""
    conn = server.connection()
    assert conn.ended.wait(20)
    assert b"abc".startswith(conn.received)
    daemon.await_line(READY, count=2)


@pytest.mark.parametrize("step", ["CIPSTART reset", "CIPSSLCCONF reset", "CIPSSLCSNI reset",
                                  "CIPSSLCCN reset", "CIPSSLCCN mute"])
def test_connect_goes_wrong(bench, serve, step):
    daemon = bench.up(tunnel(serve(echo), connect_timeout=2))
    bench.chip.fault("cmd AT+" + step.replace(" ", " 1 "))
    with daemon.connect() as s:
        assert read_all(s) == b""
    assert works_again(daemon)
