# SPDX-License-Identifier: MIT
"""
Certificates get into the chip whole, whatever happens while they are written.

Most of the time is spent waiting for time-outs, so all that a test does is done at once with the
others': see `outcome`.
"""
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench import RECORDS, Bench, tunnel
from clients import exchange, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import TlsServer, echo
from wire import CUT, Spot, Wire

# A flash may take 15 s, so that is how long a lost byte goes unnoticed.
PATIENCE = 45
# How many at once. Those that wait for time-outs cost nothing meanwhile.
QUICK_WORKERS, SLOW_WORKERS = 12, 24

# ---- what happens ----


def kill(wire):
    wire.bench.daemon.process.kill()
    return CUT


def reset(wire):
    wire.chip.fault("reset")
    return 0


def unplug(wire):
    wire.hang_up()
    return CUT


def lose(wire):
    return 1


def silence(wire):
    """The rest of what is said, longer than any answer's end and shorter than what comes next."""
    return 6


# ---- where ----

COMMANDS = {
    "rec": 'AT+SYSMFG=2,"espatd"',
    "ca": 'AT+SYSMFG=2,"client_ca"',
    "cert": 'AT+SYSMFG=2,"client_cert"',
    "key": 'AT+SYSMFG=2,"client_key"',
    "erase": "AT+SYSMFG=0,",
    "read": "AT+SYSMFG=1,",
}
VALUES = "ca", "cert", "key"
ALL_SPOTS = ("line-middle", "prompt", "data-first", "data-middle", "data-last", "ok")


def cases():
    """
    "how what where does": a first provisioning, one of changed material, or one in service; and what
    is done where.
    """
    for action in "kill", "reset", "unplug":
        for what in "rec", *VALUES:
            for how in "new", "change":
                yield from (f"{how} {what} {spot} {action}" for spot in ALL_SPOTS)
                yield f"{how} {what} back-middle {action}"
        yield f"change rec2 line-middle {action}"
        yield f"change rec2 data-middle {action}"
        yield f"change erase line-middle {action}"
        yield f"change erase answer-first {action}"
        yield f"reload cert data-middle {action}"
        yield f"reload key back-middle {action}"
        yield f"reload erase line-middle {action}"
    for what in "rec", *VALUES:
        for action in "brownout-old", "brownout-new":
            yield f"new {what} - {action}"
            yield f"change {what} - {action}"
    for action in "brownout-old", "brownout-new":
        yield f"change erase - {action}"
        yield f"change rec2 - {action}"
    for action in "flip_in_1", "double_in_1", "flip_in_40", "busy_2":
        yield f"new key - {action}"
    for what in "rec", "cert", "erase":
        yield f"change {what} - busy_2"


def slow_cases():
    for how in "new", "change":
        for what in "rec", *VALUES:
            yield f"{how} {what} line-middle lose"
            yield f"{how} {what} data-middle lose"
        yield f"{how} cert data-first lose"
        yield f"{how} cert data-last lose"
        for what in "rec", "key":
            yield f"{how} {what} prompt lose"
            yield f"{how} {what} ok silence"
            yield f"{how} {what} back-first lose"
            yield f"{how} {what} back-middle lose"
    yield "change erase line-middle lose"
    yield "change erase answer-first lose"
    for what in "rec", "ca", "key":
        yield f"new {what} - mute"
        yield f"new {what} - no-prompt"
    yield "change erase - mute"


ACTIONS = {f.__name__: f for f in (kill, reset, unplug, lose, silence)}


class Interrupted(Bench):
    """A chip with a Wire, on which one of the cases happens."""

    def __init__(self, pki, port):
        super().__init__(pki)
        self.there = tunnel(port, identity="gateway")
        self.own_files()
        # A fast line: what it may carry is part of every time-out.
        self.device.update(port=f"unix:{self.dir}/line", baud=3000000)

    def begin(self, how, what, where, action):
        self.sim()
        self.chip.await_line("^D>H .*ready")
        self.factory = self.chip.flash()
        nth = 1
        if what == "rec2":
            what, nth = "rec", 2
        phase, _, place = where.partition("-")
        spot = Spot(COMMANDS["read"] if phase == "back" else COMMANDS[what], phase, place,
                    ACTIONS.get(action), nth)
        if phase == "back":
            names = {"rec": "espatd", "ca": "client_ca", "cert": "client_cert", "key": "client_key"}
            spot.prefix += b'"%s"' % names[what].encode()
        self.how = how
        if how != "new":
            spot.fired.set()
        self.wire = Wire(self.dir, self.chip, spot)
        self.wire.bench = self
        self.parts.append(self.wire)
        if how != "new":
            self.provision(self.there).good(writes=4)
            if how == "reload":
                self.espatd(self.there).await_line("^esp0: ready")
            self.replace(ca="both", cert="ecclient", key="ecclient")
            spot.fired.clear()
        if not spot.action:
            self.chip.fault(f"cmd {COMMANDS[what]} {nth} {action.replace('_', ' ')}")

    def interrupt(self, action):
        """Until it is ready again."""
        seen = 0
        if self.how == "reload":
            daemon, seen = self.daemon, self.reload()
        else:
            daemon = self.espatd(self.there)
        if action in ACTIONS:
            self.wire.await_fired()
        if action == "kill":
            daemon.wait()
            daemon, seen = self.espatd(self.there), 0
        daemon.await_line("^esp0: ready", seen, timeout=PATIENCE)

    def check(self):
        """It works, and all is as if nothing had happened."""
        assert works(self.daemon)
        assert self.daemon.end() == 0, "\n".join(self.daemon.log()[-20:])
        assert not self.wire.wrong, self.wire.wrong
        chip, = self.provision().good(writes=0).values()
        assert chip["orphans"] == []
        there = self.chip.flash()
        ours = {f"{x['key'].split('.')[0]}/{x['key']}": x["sha256"] for x in chip["keys"]}
        assert len(ours) == 3
        assert {k: hashlib.sha256(there[k]).hexdigest() for k in ours} == ours
        # What the factory has put there is as it was, and nothing else is there.
        rest = {k: v for k, v in there.items() if k not in ours and k not in RECORDS}
        assert {k: v for k, v in rest.items() if k in self.factory} == self.factory
        assert not {k for k in rest if k not in self.factory and not self.lost_in(k, ours)}

    def lost_in(self, key, ours):
        """A name of ours that lost its byte on the way: nobody can know that it is ours."""
        return self.wire.spot.phase == "line" and any(
            key in (name[:i] + name[i + 1:] for i in range(len(name)))
            for name in (*ours, *RECORDS))


def run_case(pki, port, case):
    made = Interrupted(pki, port)
    try:
        made.begin(*case.split())
        made.interrupt(case.split()[-1])
        made.check()
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(made.daemon.log()[-20:])) from error
    finally:
        made.close()


@pytest.fixture(scope="module")
def outcome(request, pki):
    """outcome(case): waits for it. All that were chosen were begun with the first one."""
    chosen = [item.callspec.params["case"] for item in request.session.items
              if "outcome" in getattr(item, "fixturenames", ()) and item.path == request.path]
    server = TlsServer(pki, echo, client_ca="ca")
    slow = set(slow_cases())
    with ThreadPoolExecutor(QUICK_WORKERS) as quick_pool, \
         ThreadPoolExecutor(SLOW_WORKERS) as slow_pool:
        begun = {case: (slow_pool if case in slow else quick_pool).submit(
            run_case, pki, server.port, case) for case in chosen}
        try:
            yield lambda case: begun[case].result(timeout=PATIENCE + 10)
        finally:
            for future in begun.values():
                future.cancel()
    server.close()


@pytest.mark.parametrize("case", [*cases(), *slow_cases()])
def test_interrupted(outcome, case):
    outcome(case)


# ---- on a real line ----

def is_provisioned(bench, there):
    """The chip connects with what it holds, and there is nothing more to write."""
    assert works(bench.daemon)
    assert bench.daemon.end() == 0
    return bench.provision(there).good(writes=0)


def test_unplugged(bench, serve):
    """The port itself goes, while a command that writes is on its way, and comes back."""
    bench.device["baud"] = 3000000
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim("--flash-ms", "50")
    bench.chip.fault('cmd AT+SYSMFG=2,"client_key" 1 unplug 100')
    daemon = bench.espatd(there)
    daemon.await_line("esp0: the port .* is gone")
    daemon.await_tunnels()
    assert is_provisioned(bench, there)


def test_killed_while_the_flash_is_written(bench, serve):
    bench.device["baud"] = 3000000
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim("--flash-ms", "100")
    daemon = bench.espatd(there)
    bench.chip.await_line(r"AT\+SYSMFG=2,", count=3)
    daemon.kill()
    bench.espatd(there).await_tunnels()
    assert is_provisioned(bench, there)


def test_damage_is_told(bench, serve):
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim()
    bench.chip.fault('cmd AT+SYSMFG=2,"client_cert" 1 flip in 1')
    daemon = bench.espatd(there).await_tunnels()
    daemon.await_line("esp0: client_cert.* does not read back as it was written")
    assert works(daemon)


def test_killed_in_mid_transfer(bench, serve):
    """The chip has open links, and sends what comes for them: none of it reaches the next client."""
    server = serve(echo)
    there = tunnel(server)
    daemon = bench.up(there)
    for _ in range(2):
        clients = [daemon.connect() for _ in range(3)]
        for s in clients:
            send_in_background(s, b"of the time before. " * 100000)
            read_exactly(s, 20000)
        daemon.kill()
        daemon = bench.espatd(there)
        daemon.await_line("broker: listening on", timeout=PATIENCE)
        for s in clients:
            s.close()
    with daemon.connect() as s:
        assert exchange(s, b"of now") == b"of now"
    last = server.connections[-1]
    assert last.ended.wait(20)
    assert last.received == b"of now"


def test_simulator_killed_and_started_again(bench, serve):
    """A power cut: the flash stays, all else is gone."""
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    daemon = bench.up(there)
    assert works(daemon)
    bench.chip.kill()
    daemon.await_line("esp0: the port .* is gone")
    seen = daemon.mark()
    bench.sim()
    daemon.await_line("^esp0: ready", seen)
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=2,")


# ---- a chip that has it all ----

def bring_up(bench, there):
    """Seconds from the daemon's start to a chip that is ready, and the commands that it took."""
    seen = bench.chip.mark()
    begin = time.monotonic()
    daemon = bench.espatd(there)
    daemon.await_line("^esp0: ready")
    took = time.monotonic() - begin
    commands = bench.chip.commands(after=seen)
    assert daemon.end() == 0
    return took, commands


def test_bring_up_of_a_provisioned_chip(bench, serve):
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim("--baud", "115200")
    bring_up(bench, there)
    took, commands = bring_up(bench, there)
    # One of each key, and one of the record.
    reads = [x for x in commands if x.startswith("AT+SYSMFG=1,")]
    others = [x for x in commands if x not in reads]
    assert len(reads) == 4, reads
    assert len(others) + 1 <= 20, others
    assert not [x for x in commands if x.startswith(("AT+SYSMFG=2", "AT+SYSMFG=0"))]
    # The machine may have been busy with something else: once.
    assert took <= 3 or bring_up(bench, there)[0] <= 3
