# SPDX-License-Identifier: MIT
"""Who gets which link: several chips for one tunnel, and tunnels that share one chip."""
import re
import select
import socket

from bench import tunnel
from clients import exchange, refused, works, works_again
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import wait_for
from tlsserver import echo


def open_clients(daemon, count, name="broker"):
    clients = []
    for _ in range(count):
        clients.append(daemon.connect(name))
        assert exchange(clients[-1], b"here") == b"here"
    return clients


def places(daemon):
    """Which device each connection got, in the order that they opened."""
    return [m[1] for line in daemon.log()
            if (m := re.search(r"connection \d+ is open on (\w+)/\d", line))]


def test_any_device_takes_the_least_loaded(bench, serve):
    bench.another("esp1")
    daemon = bench.up(tunnel(serve(echo), device="any"))
    wait_for(lambda: len(daemon.matching(r"esp\d: ready")) == 2, "both chips are ready")
    clients = open_clients(daemon, 10)
    wait_for(lambda: len(places(daemon)) == 10, "all of them are told")
    assert sorted(places(daemon)) == 5 * ["esp0"] + 5 * ["esp1"]
    # One after the other, as each has as many in use as the other one.
    assert all({a, b} == {"esp0", "esp1"} for a, b in zip(places(daemon)[::2], places(daemon)[1::2]))
    # The eleventh waits for either of them.
    waiting = daemon.connect()
    waiting.sendall(b"x")
    clients[3].close()
    assert select.select([waiting], [], [], 20)[0] and waiting.recv(1) == b"x"
    assert places(daemon)[10] == places(daemon)[3]


def test_any_device_goes_on_when_one_is_removed(bench, serve):
    bench.another("esp1")
    server = serve(echo)
    daemon = bench.up(tunnel(server, device="any"))
    wait_for(lambda: len(daemon.matching(r"esp\d: ready")) == 2, "both chips are ready")
    clients = open_clients(daemon, 4)
    where = places(daemon)
    bench.more.pop("devices")
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(server, device="any")))
    seen = bench.reload()
    daemon.await_line("aborted: its device was removed", after=seen, count=2)
    for client, device in zip(clients, where):
        if device == "esp0":
            assert exchange(client, b"still") == b"still"
        else:
            assert client.recv(1) == b""
    assert works(daemon)


def test_any_device_with_a_limit_when_one_goes_away(bench, serve):
    """The links of the one that has gone count no longer: who waits gets one of the other."""
    other = bench.another("esp1")
    daemon = bench.up(tunnel(serve(echo), device="any", max_clients=4))
    wait_for(lambda: len(daemon.matching(r"esp\d: ready")) == 2, "both chips are ready")
    clients = open_clients(daemon, 4)
    where = places(daemon)
    waiting = [daemon.connect() for _ in range(3)]
    for s in waiting:
        s.sendall(b"x")
    assert not select.select(waiting, [], [], 0)[0]
    other.fault("unplug")
    # Two have gone, two may come.
    daemon.await_line("connection [5-7] is open on esp0", count=2)
    assert places(daemon)[4:] == ["esp0", "esp0"]
    for client, device in zip(clients, where):
        if device == "esp0":
            assert exchange(client, b"still") == b"still"
        else:
            assert client.recv(1) == b""
    assert waiting[0].recv(1) == waiting[1].recv(1) == b"x"
    assert not select.select(waiting[2:], [], [], 0)[0]


def test_reserved_links_are_left_free(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server), tunnel(server, name="alarm", reserve=2))
    held = open_clients(daemon, 3)
    waiting = daemon.connect()
    waiting.sendall(b"x")
    # Which it does not hold up.
    alarms = open_clients(daemon, 2, "alarm")
    assert not select.select([waiting], [], [], 0)[0]
    assert exchange(alarms[0], b"more") == b"more"
    assert exchange(held[0], b"more") == b"more"


def test_max_clients_and_max_links(bench, serve):
    bench.device["max_links"] = 3
    server = serve(echo)
    daemon = bench.up(tunnel(server, max_clients=1, max_waiting=1), tunnel(server, name="other"))
    held = open_clients(daemon, 1)
    waiting = daemon.connect()
    assert refused(daemon)
    others = open_clients(daemon, 2, "other")
    third = daemon.connect("other")
    third.sendall(b"x")
    others[0].close()
    assert select.select([third], [], [], 20)[0] and third.recv(1) == b"x"
    assert not select.select([waiting], [], [], 0)[0]
    assert exchange(held[0], b"more") == b"more"


def test_a_thousand_clients(bench, serve):
    """Those that are too many are turned away, a few lines tell of it, and the others do not notice."""
    daemon = bench.up(tunnel(serve(echo), max_waiting=100, wait_timeout=60))
    first = open_clients(daemon, 1)[0]
    seen = daemon.mark()
    crowd = []
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        crowd.append(s)
    left = list(crowd)
    while left:
        again = []
        for s in left:
            try:
                s.connect(str(daemon.socket_path()))
            except BlockingIOError:  # its queue of those to be accepted is full
                again.append(s)
        left = again
        assert exchange(first, b"meanwhile") == b"meanwhile"
    poll = select.poll()
    for s in crowd:
        poll.register(s, select.POLLIN)
    # Some more, where they come faster than the four free links are opened.
    wait_for(lambda: len(poll.poll(0)) >= 1000 - 4 - 100, "all that are too many have been turned away")
    assert exchange(first, b"and after") == b"and after"
    assert len(poll.poll(0)) <= 1000 - 100
    assert 1 <= len(daemon.matching("too many", after=seen)) <= 2
    for s in crowd:
        s.close()
    # As soon as the daemon has seen that those who waited are gone.
    assert works_again(daemon)


def test_idle_connections_are_closed(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server, idle_timeout=1), tunnel(server, name="patient"))
    patient = open_clients(daemon, 1, "patient")[0]
    idle = open_clients(daemon, 1)[0]
    assert idle.recv(1) == b""
    daemon.await_line("nothing has moved for 1 s")
    assert not daemon.matching("aborted")
    assert exchange(patient, b"still") == b"still"


def test_a_slow_handshake_holds_no_data_up(bench, serve):
    """What others receive flows on while a handshake blocks the chip's commands."""
    server = serve(echo)
    daemon = bench.up(tunnel(server), sim=["--handshake-ms", "1500"])
    first = open_clients(daemon, 1)[0]
    seen = bench.chip.mark()
    second = daemon.connect()
    bench.chip.await_line("CIPSTART=1", after=seen)
    server.connection(0).tls.sendall(b"x" * 50000)
    got = b""
    while len(got) < 50000:
        got += first.recv(65536)
    assert not daemon.matching("connection 2 is open")
    assert exchange(second, b"here") == b"here"
