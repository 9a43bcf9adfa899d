# SPDX-License-Identifier: MIT
"""Bytes arrive as they were sent, whatever they are and however many, both ways."""
import hashlib
import random

import pytest

from bench import tunnel
from clients import exchange, read_all, read_exactly, send_in_background
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo, say, swallow

SIZES = [1, 2919, 2920, 2921, 8191, 8192, 8193]
LOOKS_LIKE_AT = (b"\r\nOK\r\n\r\nERROR\r\n0,CLOSED\r\n\r\n+IPD,0,5:hello\r\n>\r\nready\r\n"
                 b"busy p...\r\nRecv 5 bytes\r\n\r\nSEND OK\r\n\r\nSEND FAIL\r\nWIFI DISCONNECT\r\nAT+RST\r\n")
PAYLOADS = {
    "plus": b"+++",
    "plus-at-end": b"abc+++",
    "plus-at-start": b"+++abc",
    "plus-inside": b"abc+++def++++++ghi++",
    "100000-plus": b"+" * 100000,
    "every-byte": bytes(range(256)) * 20,
    "every-byte-backwards": bytes(reversed(range(256))) * 20,
    "looks-like-at": LOOKS_LIKE_AT * 20,
    **{str(size): random.Random(size).randbytes(size) for size in SIZES},
    "1000000": random.Random(1).randbytes(1000000),
}


def digest(data):
    """Instead of the bytes: a million of them is no message."""
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", PAYLOADS)
def test_there_and_back(bench, serve, name):
    data = PAYLOADS[name]
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as s:
        assert digest(exchange(s, data)) == digest(data)
        # Nothing was left behind, in either direction.
        assert exchange(s, b"more") == b"more"
    assert digest(server.connection().received) == digest(data + b"more")
    assert not daemon.matching("aborted|failed")


def test_sizes_on_one_connection(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    all = b""
    with daemon.connect() as s:
        for size in SIZES * 3:
            data = random.Random(len(all)).randbytes(size)
            assert digest(exchange(s, data)) == digest(data)
            all += data
    assert digest(server.connection().received) == digest(all)


def test_only_down(bench, serve):
    """All of it comes before the end does."""
    data = PAYLOADS["1000000"]
    daemon = bench.up(tunnel(serve(say(data))))
    with daemon.connect() as s:
        assert digest(read_all(s)) == digest(data)


def test_only_up(bench, serve):
    data = PAYLOADS["1000000"]

    def handler(conn):
        conn.read_exactly(len(data))
        conn.tls.sendall(b"got it")

    server = serve(handler)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as s:
        s.sendall(data)
        assert read_all(s) == b"got it"
    assert digest(server.connection().received) == digest(data)


def test_plus_in_pieces(bench, serve):
    """Each piece comes back before the next is sent: so each reaches the chip as a block of its own."""
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    pieces = [b"++", b"+", b"+", b"++", b"abc", b"+++", b"++++", b"+", b"+", b"+", b"def", b"+++"]
    with daemon.connect() as s:
        for piece in pieces:
            assert exchange(s, piece) == piece
    assert bytes(server.connection().received) == b"".join(pieces)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 7])
def test_plus_on_a_line_that_cuts(bench, serve, chunk):
    """What reaches the chip as one chunk is up to the line; `+++` alone in one would end a send."""
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    data = b"+++abc+++" + b"+" * 50 + b"def++++ghi+++"
    with daemon.connect() as s:
        assert exchange(s, b"x") == b"x"
        bench.chip.fault(f"split {chunk}")
        assert exchange(s, data) == data
    assert not daemon.matching("aborted|failed|lost step")


def test_plus_around_the_border_of_a_block(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    all = b""
    with daemon.connect() as s:
        for size in range(8187, 8195):
            data = b"x" * size + b"+++" + b"y"
            assert digest(exchange(s, data)) == digest(data)
            all += data
    assert digest(server.connection().received) == digest(all)


def test_both_ways_at_once_on_three_links(bench, serve):
    """Blocks of several links come in between each other, never into each other."""
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    clients = [daemon.connect() for _ in range(3)]
    pieces = [random.Random(n).randbytes(60000) for n in range(3)]
    threads = [send_in_background(s, data) for s, data in zip(clients, pieces)]
    for s, data, thread in zip(clients, pieces, threads):
        assert digest(read_exactly(s, len(data))) == digest(data)
        thread.join()
        s.close()


@pytest.mark.parametrize("data", [PAYLOADS["8193"], b"+" * 3000], ids=["8193", "3000-plus"])
def test_sent_and_gone(bench, serve, data):
    """Who sends and closes at once has still sent it all."""
    server = serve(swallow)
    daemon = bench.up(tunnel(server))
    with daemon.connect() as s:
        s.sendall(data)
    conn = server.connection()
    assert conn.ended.wait(20)
    assert digest(conn.received) == digest(data)
