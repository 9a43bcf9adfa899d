# SPDX-License-Identifier: MIT
"""Server to client, in each of the ways in which a chip gives up what it has received."""
import hashlib
import random
import threading

import pytest

from bench import tunnel
from clients import exchange, half_close, read_all, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo, say, say_and_hold

FIRMWARE = ["3.2", "3.4", "4.1", "5.0"]
WAYS = ["auto", "active", "passive"]


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


def blob(size, seed=0):
    return random.Random(size + seed).randbytes(size)


def up(bench, *tunnels, receive, firmware="4.1", sim=()):
    bench.device["receive"] = receive
    return bench.up(*tunnels, sim=("--firmware", firmware, *sim))


@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize("receive", WAYS)
def test_there_and_back(bench, serve, firmware, receive):
    data = blob(200000)
    daemon = up(bench, tunnel(serve(echo)), receive=receive, firmware=firmware)
    with daemon.connect() as s:
        assert digest(exchange(s, data)) == digest(data)
        for size in 1, 2920, 8192, 8193:
            assert digest(exchange(s, blob(size))) == digest(blob(size))
    switch = r"\+CIPRECVMODE=1" if firmware == "3.2" else r"\+CIPRECVTYPE=5,1"
    assert bool(bench.chip.matching(f"H>D AT{switch}")) == (receive == "passive")
    assert bool(bench.chip.matching(r"H>D AT\+CIPRECVDATA=")) == (receive == "passive")
    assert not bench.chip.matching(r"D>H .*\+IPD,\d,\d+:") or receive != "passive"
    assert not daemon.matching("aborted|failed|lost step")


@pytest.mark.parametrize("difference", [29, 16384, -29, -16384, -1000])
def test_announced_lengths_are_wrong(bench, serve, difference):
    """Over TLS they are; and nothing but the blocks' own numbers may be believed (field notes 2.3)."""
    data = blob(300000)
    daemon = up(bench, tunnel(serve(say(data)), "down"), tunnel(serve(echo), "both"), receive="passive")
    bench.chip.fault(f"tls-length {difference}")
    with daemon.connect("both") as s:
        for size in 1, 100, 20000:
            assert digest(exchange(s, blob(size))) == digest(blob(size))
        with daemon.connect("down") as down:
            assert digest(read_all(down)) == digest(data)
    assert not daemon.matching("aborted|failed|lost step")


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_server_closes_with_data_unread(bench, serve, firmware):
    """CLOSED comes when all has been read, and not before."""
    data = blob(1500000)
    daemon = up(bench, tunnel(serve(say(data))), receive="passive", firmware=firmware)
    with daemon.connect() as s:
        first = read_exactly(s, 10)
        assert digest(first + read_all(s)) == digest(data)
    daemon.await_line("connection 1 ended")
    assert works_not_aborted(daemon)


def works_not_aborted(daemon):
    return not daemon.matching("aborted|failed|lost step")


def test_server_says_nothing_and_closes(bench, serve):
    daemon = up(bench, tunnel(serve(say(b""))), receive="passive")
    with daemon.connect() as s:
        assert read_all(s) == b""
    daemon.await_line("connection 1 ended")


def test_client_goes_first(bench, serve):
    """What nobody wants is not read: the link is closed, and the next client gets nothing of it."""
    noise, server = serve(say_and_hold(b"N" * 3000000)), serve(echo)
    daemon = up(bench, tunnel(noise, "noise"), tunnel(server, "quiet"), receive="passive")
    for n in range(4):
        with daemon.connect("noise") as s:
            assert read_exactly(s, 5000) == b"N" * 5000
        assert noise.connection(n).ended.wait(20)
        with daemon.connect("quiet") as s:
            assert digest(exchange(s, blob(30000))) == digest(blob(30000))
    assert works_not_aborted(daemon)


@pytest.mark.parametrize("firmware", ["3.2", "4.1"])
@pytest.mark.parametrize("receive", WAYS)
def test_client_stalls_and_goes_on(bench, serve, firmware, receive):
    data = blob(3000000)
    daemon = up(bench, tunnel(serve(say(data)), "slow"), tunnel(serve(echo), "quick"), receive=receive,
                firmware=firmware)
    with daemon.connect("slow") as slow, daemon.connect("quick") as quick:
        if receive == "auto":
            bench.chip.await_line(r"AT\+CIPRECV(TYPE=0,|MODE=)1")
        for size in 1, 10000, 100000:
            assert digest(exchange(quick, blob(size))) == digest(blob(size))
        assert works(daemon, "quick")
        assert digest(read_all(slow)) == digest(data)
        assert exchange(quick, b"and now?") == b"and now?"
    assert not bench.chip.matching(r"H>D AT\+CIPRECV(TYPE|MODE)=.*1") or receive != "active"
    assert works_not_aborted(daemon)


def test_active_client_that_never_reads(bench, serve):
    """Its neighbour does not notice, and it is told why it was cut off."""
    daemon = up(bench, tunnel(serve(say_and_hold(bytes(12000000))), "slow"), tunnel(serve(echo), "quick"),
                receive="active")
    with daemon.connect("slow"), daemon.connect("quick") as quick:
        daemon.await_line("slow: connection 1 aborted: the client reads too slowly", timeout=40)
        assert digest(exchange(quick, blob(10000))) == digest(blob(10000))


@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize("receive", WAYS)
def test_each_byte_in_its_own_tunnel(bench, serve, firmware, receive):
    """Five links, all busy in both directions, each with bytes that only it has."""
    count, size = 5, 60000
    daemon = up(bench, *[tunnel(serve(say(bytes([65 + n]) * size) if n % 2 else echo), f"t{n}")
                         for n in range(count)], receive=receive, firmware=firmware)
    clients = [daemon.connect(f"t{n}") for n in range(count)]
    threads = [send_in_background(s, bytes([97 + n]) * size) for n, s in enumerate(clients) if n % 2 == 0]
    got = [None] * count

    def run(n):
        got[n] = read_all(clients[n]) if n % 2 else read_exactly(clients[n], size)

    readers = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in readers:
        thread.start()
    for thread in [*readers, *threads]:
        thread.join(50)
    for n in range(count):
        assert got[n] == bytes([65 + n if n % 2 else 97 + n]) * size, n
        clients[n].close()
    assert works_not_aborted(daemon)


def test_half_closed_client_still_receives(bench, serve):
    data = blob(100000)

    def handler(conn):
        conn.read_exactly(8)
        conn.tls.sendall(data)

    daemon = up(bench, tunnel(serve(handler)), receive="passive")
    with daemon.connect() as s:
        s.sendall(b"question")
        half_close(s)
        assert digest(read_all(s)) == digest(data)
    daemon.await_line("connection 1 ended")
