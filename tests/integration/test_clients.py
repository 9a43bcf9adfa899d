# SPDX-License-Identifier: MIT
"""Local programs that are slow, many, gone, or half gone: each one's trouble stays its own."""
import random
import select
import time

import pytest

from bench import tunnel
from clients import exchange, half_close, read_all, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo, say, say_and_hold, swallow

LINKS = 5  # of the chip


def blob(size):
    return random.Random(size).randbytes(size)


def many(daemon, count=LINKS):
    """So many clients, each with a connection that works."""
    clients = []
    for _ in range(count):
        clients.append(daemon.connect())
        assert exchange(clients[-1], b"here") == b"here"
    return clients


def is_silent(s, neighbour):
    """Nothing has happened to @s by the time that a whole exchange of its neighbour is over."""
    assert exchange(neighbour, b"meanwhile") == b"meanwhile"
    return not select.select([s], [], [], 0)[0]


def test_each_client_has_a_connection_of_its_own(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    for n in range(1, 4):
        assert works(daemon)
        assert len(server.connections) == n
        assert server.connection(n - 1).ended.wait(20)


def test_half_closed_client_still_receives(bench, serve):
    data = blob(300000)

    def handler(conn):
        conn.read_exactly(8)
        conn.tls.sendall(data)

    server = serve(handler)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as s:
        s.sendall(b"question")
        half_close(s)
        assert read_all(s) == data
    daemon.await_line("connection 1 ended")


def test_half_closed_for_too_long(bench, serve):
    server = serve(say_and_hold(b"hi"))
    daemon = bench.up(tunnel(server, half_close_timeout=1))
    with daemon.connect() as s:
        assert read_exactly(s, 2) == b"hi"
        begin = time.monotonic()
        half_close(s)
        assert read_all(s) == b""
        assert 0.9 < time.monotonic() - begin < 5
    daemon.await_line("connection 1 aborted: half-closed for too long")
    assert server.connection().ended.wait(20)


def test_server_closes_first(bench, serve):
    data = blob(20000)
    daemon = bench.up(tunnel(serve(say(data))))
    with daemon.connect() as s:
        daemon.await_line("connection 1 ended")  # before the client has read a byte
        assert read_all(s) == data


def test_server_closes_on_a_client_that_is_slow(bench, serve):
    """More than the socket holds: the rest is not lost although the link is gone."""
    data = blob(2000000)
    daemon = bench.up(tunnel(serve(say(data))))
    with daemon.connect() as s:
        bench.chip.await_line(r"AT\+CIPRECVTYPE=0,1")
        assert read_all(s) == data
    assert not daemon.matching("aborted")


def test_client_gone_in_mid_transfer(bench, serve):
    server, there = serve(echo), blob(400000)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as good:
        thread = send_in_background(good, there)
        head = read_exactly(good, 50000)
        bad = daemon.connect()
        bad_thread = send_in_background(bad, blob(4000000))
        read_exactly(bad, 10000)
        bad.shutdown(2)
        bad.close()
        assert head + read_exactly(good, len(there) - len(head)) == there
        thread.join()
        bad_thread.join()
        assert server.connection(1).ended.wait(20)
        assert exchange(good, b"still here") == b"still here"
    assert works(daemon)


def test_slow_reader_loses_nothing_and_disturbs_nobody(bench, serve):
    data = blob(3000000)
    daemon = bench.up(tunnel(serve(say(data)), "slow"), tunnel(serve(echo), "quick"))
    with daemon.connect("slow") as slow, daemon.connect("quick") as quick:
        bench.chip.await_line(r"AT\+CIPRECVTYPE=0,1")
        for size in 1, 10000, 100000:
            assert exchange(quick, blob(size)) == blob(size)
        assert works(daemon, "quick")
        assert read_all(slow) == data
        assert exchange(quick, b"and now?") == b"and now?"
    assert not daemon.matching("aborted")


def test_sixth_client_waits_and_is_served(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    clients = many(daemon)
    with daemon.connect() as sixth:
        sixth.sendall(b"early")
        assert is_silent(sixth, clients[0])
        assert len(server.connections) == LINKS
        clients.pop(2).close()
        assert read_exactly(sixth, 5) == b"early"
        assert len(server.connections) == LINKS + 1
    for s in clients:
        assert exchange(s, b"still here") == b"still here"
        s.close()


def test_client_that_waits_too_long(bench, serve):
    daemon = bench.up(tunnel(serve(echo), wait_timeout=1))
    clients = many(daemon)
    begin = time.monotonic()
    with daemon.connect() as sixth:
        assert read_all(sixth) == b""
        assert 0.9 < time.monotonic() - begin < 5
    daemon.await_line("connection failed: no link of the chip became free in time")
    assert exchange(clients[0], b"still here") == b"still here"


def test_too_many_wait(bench, serve):
    daemon = bench.up(tunnel(serve(echo), max_waiting=1))
    clients = many(daemon)
    with daemon.connect() as sixth, daemon.connect() as seventh:
        assert read_all(seventh) == b""
        daemon.await_line("connection failed: too many clients wait already")
        assert is_silent(sixth, clients[0])
        clients.pop().close()
        assert exchange(sixth, b"at last") == b"at last"


def test_client_that_hangs_up_while_waiting(bench, serve):
    """It frees its place in the queue, and no connection is made for it."""
    server = serve(echo)
    daemon = bench.up(tunnel(server, max_waiting=1))
    clients = many(daemon)
    gone = daemon.connect()
    assert is_silent(gone, clients[0])
    gone.close()
    end = time.monotonic() + 10
    while True:
        s = daemon.connect()
        if is_silent(s, clients[0]):
            break  # it may wait
        assert time.monotonic() < end, "the one who has gone still has its place"
        s.close()
    clients.pop().close()
    assert exchange(s, b"my turn") == b"my turn"
    assert len(server.connections) == LINKS + 1


def test_client_that_hangs_up_during_the_handshake(bench, serve):
    server = serve(swallow)
    daemon = bench.up(tunnel(server), tunnel(serve(echo), "other"), sim=["--handshake-ms", "600"])
    with daemon.connect():
        bench.chip.await_line(r"AT\+CIPSTART")
    assert works(daemon, "other")
    assert server.connection().ended.wait(20)
    assert server.connection().received == b""


@pytest.mark.parametrize("count", [20])
def test_more_clients_than_links(bench, serve, count):
    daemon = bench.up(tunnel(serve(echo)))
    clients = [daemon.connect() for _ in range(count)]
    for n, s in enumerate(clients):
        s.sendall(b"%d" % n)
    for n, s in enumerate(clients):
        assert read_exactly(s, len(b"%d" % n)) == b"%d" % n
        s.close()
