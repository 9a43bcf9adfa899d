# SPDX-License-Identifier: MIT
"""The figures of CPU, memory, and of many chips."""
import os
import selectors
import shutil
import socket
import subprocess
import time
import tty

import limits
from figures import WARM, figure, streams
from load import Broken, Client, Load
from pattern import PATTERN
from result import Row, amount, quantile, rate
from rig import Rig, cpu_seconds, die_with_us, host_cpu, rss_anon, wait_for

# CPU: an unpaced line, beside socat

BLOCK = 8192
UNPACED = {"baud": None, "latency": 0}


def espatd_cpu(env, direction, size):
    """CPU seconds of espatd for so many bytes: (seconds, bytes, of what time)."""
    with Rig(env, [direction], **UNPACED) as rig:
        load = Load()
        client, = streams(env, rig, load, direction, 1)

        def moved():
            if direction == "down":
                return client.checker.position
            # The daemon holds less than what matters here.
            return client.sent

        start, before, used = time.monotonic(), moved(), rig.cpu()
        load.run(until=lambda: moved() - before >= size)
        used, bytes_, seconds = rig.cpu() - used, moved() - before, time.monotonic() - start
        rig.healthy()
        env.server.connections(direction)  # which looks at the bytes
        load.close()
    return used, bytes_, seconds


def socat_cpu(env, direction, size):
    """The same of socat, which relays them from a pty to a Unix socket or the other way."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = env.dir / "socat"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    ends = [f"{os.ttyname(slave)},rawer", f"UNIX-CONNECT:{path}"]
    process = subprocess.Popen(["socat", "-u", *(ends if direction == "down" else ends[::-1])],
                               preexec_fn=die_with_us)
    try:
        listener.settimeout(10)
        peer = listener.accept()[0]
        wait_for(lambda: cpu_seconds(process.pid) > 0, "socat")
        os.set_blocking(master, False)
        peer.setblocking(False)
        into, out = (master, peer.fileno()) if direction == "down" else (peer.fileno(), master)
        selector = selectors.DefaultSelector()
        selector.register(into, selectors.EVENT_WRITE)
        selector.register(out, selectors.EVENT_READ)
        sent = got = 0
        warm, used, before = size // 10, None, 0
        while got < size + before:
            if used is None and got >= warm:
                used, before = cpu_seconds(process.pid), got
            if process.poll() is not None:
                raise Broken("socat has ended")
            for key, events in selector.select(5):
                try:
                    if key.fd == into:
                        sent += os.write(into, PATTERN.at(sent, BLOCK if direction == "down" else 65536))
                    else:
                        data = os.read(out, 262144)
                        if PATTERN.at(got, len(data)) != data:
                            raise Broken("socat has changed bytes")
                        got += len(data)
                except BlockingIOError:
                    pass
        return cpu_seconds(process.pid) - used, got - before
    finally:
        process.kill()
        process.wait()
        listener.close()
        path.unlink()
        os.close(master)
        os.close(slave)


def cpu(env, name, direction):
    # A line that is faster than any is read for a part of the time only: see PORT_READ_MAX.
    size = env.seconds(40, 15) * 1000000 if direction == "down" else env.seconds(150, 30) * 1000000
    rival, note = None, "socat is not installed"
    if shutil.which("socat"):
        used, bytes_ = socat_cpu(env, direction, size)
        rival, note = used / bytes_ * 1e9, ""
    used, bytes_, seconds = espatd_cpu(env, direction, size)
    note = f"{bytes_ / seconds / 1e6:.1f} MB/s{'; ' if note else ''}{note}"
    return [Row(name, used / bytes_ * 1e9, "s/GB", "socat" if rival else "", rival, most=2.5, note=note)]


# Memory

def memory(env, name):
    with Rig(env, ["both"], **UNPACED) as rig:
        idle = rss_anon(rig.pid)
        load = Load()
        streams(env, rig, load, "both", 5)
        load.run(env.seconds(2, 1))
        busy = rss_anon(rig.pid)
        rig.healthy()
        load.close()
    return [
        Row(f"{name}/1-chip-idle", idle, "bytes", judged="value", most=2500000),
        Row(f"{name}/1-chip-5-links", busy, "bytes", "idle", idle, note="while they move data"),
    ]


def memory_of_chips(env, name):
    many = 17
    idle = []
    for chips in (1, many):
        with Rig(env, ["echo"], chips=chips, **UNPACED) as rig:
            idle.append(rss_anon(rig.pid))
            rig.healthy()
    return [Row(name, (idle[1] - idle[0]) / (many - 1), "bytes", judged="value", most=100000,
                note=f"of {many - 1} more idle chips")]


# Many chips

CHIPS = [1, 8, 64]
CHIP_RATES = [921600, 460800, 230400, 115200]
# So many simulators on one host: each hands over its output less often than a USB adapter would.
PACKET_MS = 8
MANY = ["--packet-ms", PACKET_MS]


def everybody_cpu(env, rig):
    return rig.sims_cpu() + rig.cpu() + cpu_seconds(env.server.process.pid) + time.process_time()


def chip_rate(env):
    """The highest rate at which 64 simulators, the server and the clients leave room on this host."""
    def measure():
        probe, baud, seconds = 8, 460800, 2
        with Rig(env, ["both"], chips=probe, baud=baud, sim=MANY) as rig:
            load = Load()
            for i in range(probe):
                for _ in range(5):
                    load.add(Client("both", rig.path("both", i)))
            load.run(until=lambda: env.server.established("both") == 5 * probe)
            load.run(WARM)
            used = everybody_cpu(env, rig)
            load.run(seconds)
            used = (everybody_cpu(env, rig) - used) / seconds
            load.close()
        cost = used / probe / baud * max(CHIPS)
        room = 0.75 * os.cpu_count()
        return next((x for x in CHIP_RATES if cost * x <= room), CHIP_RATES[-1])

    return env.once("chip rate", measure)


def idle_share(before):
    idle, total = host_cpu()
    return (idle - before[0]) / max(0.01, total - before[1])


def scale(env, name, chips):
    """Per chip two links down, two up, and one with small requests."""
    baud = chip_rate(env)
    with Rig(env, ["down", "up", "echo"], chips=chips, baud=baud, sim=MANY) as rig:
        load = Load()
        bulk, asking = [], []
        for i in range(chips):
            for mode in ("down", "up") * 2:
                bulk.append(load.add(Client(mode, rig.path(mode, i))))
            asking.append(load.add(Client("echo", rig.path("echo", i), gap=0.2, seed=i)))
        load.run(until=lambda: env.server.established("up") == 2 * chips
                 and env.server.established("down") == 2 * chips and all(x.times for x in asking))
        load.run(WARM)
        done = [len(x.times) for x in asking]
        host, used, start = host_cpu(), rig.cpu(), time.monotonic()
        end = load.run(env.seconds(8, 3))
        used, idle = rig.cpu() - used, idle_share(host)
        rig.healthy()
        down = [s for x in bulk for s in x.received]
        up = [s for x in env.server.connections("up") for s in x["received"]]
        load.close()
    moved = amount(down, start, end) + amount(up, start, end)
    times = [1000 * t for x, n in zip(asking, done) for _, t in x.times[n:]]
    if not times:
        raise Broken("no request was answered")
    known = env.known.setdefault("scale", {})
    known[chips] = cost, p50, p99 = used / moved * 1e9, quantile(times, 0.5), quantile(times, 0.99)
    one = known.get(1, known[chips])
    note = f"at {baud} baud, packets of {PACKET_MS} ms; host {100 * idle:.0f} % idle; " \
        f"{moved / (end - start) / 1000:.0f} kB/s in all"
    return [
        Row(f"{name}/cpu", cost, "ms/MB", "1 chip", one[0], note=note),
        Row(f"{name}/request-p50", p50, "ms", "1 chip", one[1], note=f"{len(times)} requests"),
        Row(f"{name}/request-p99", p99, "ms", "1 chip", one[2]),
    ]


def lowest_share(flows, start, end, window=5, step=0.5):
    """
    Of all links and windows the lowest part of a fair share; @flows has for each chip and direction
    a list of samples for each link.
    """
    lowest = None
    for links in flows:
        at = start
        while at + window <= end:
            got = [amount(x, at, at + window) for x in links]
            share = min(got) / (sum(got) / len(got)) if sum(got) else 0
            lowest = share if lowest is None else min(lowest, share)
            at += step
    return lowest


def all_links(env, name, chips=64):
    """Five links of each chip, both ways."""
    baud = chip_rate(env)
    with Rig(env, ["both"], chips=chips, baud=baud, sim=MANY) as rig:
        load = Load()
        clients = []
        began = time.monotonic()
        for i in range(chips):
            for _ in range(5):
                clients.append(load.add(Client("both", rig.path("both", i), name=i)))
        load.run(until=lambda: env.server.established("both") == len(clients))
        connected = time.monotonic() - began
        load.run(2)
        host, start = host_cpu(), time.monotonic()
        end = load.run(env.seconds(12, 7))
        idle = idle_share(host)
        memory = rss_anon(rig.pid)
        rig.healthy()
        at_server = sorted(env.server.connections("both"), key=lambda x: x["name"])
        if len(at_server) != len(clients):
            raise Broken(f"{len(at_server)} connections at the server for {len(clients)} clients")
        load.close()
    down = [[x.received for x in clients[i:i + 5]] for i in range(0, len(clients), 5)]
    up = [[x["received"] for x in at_server[i:i + 5]] for i in range(0, len(clients), 5)]
    total = sum(rate([s for link in links for s in link], start, end) for links in down + up)
    line = (limits.down(env, baud) + limits.up(env, baud)) / 2 * chips
    note = f"at {baud} baud, packets of {PACKET_MS} ms; host {100 * idle:.0f} % idle; " \
        f"all connected within {connected:.1f} s"
    return [
        Row(f"{name}/lowest-share-down", lowest_share(down, start, end), "", "fair share", 1.0,
            least=0.5, note=note),
        Row(f"{name}/lowest-share-up", lowest_share(up, start, end), "", "fair share", 1.0, least=0.5),
        Row(f"{name}/goodput", total, "bytes/s", "raw lines, one way", line),
        Row(f"{name}/memory", memory, "bytes", note="RssAnon"),
    ]


figure("cpu/down", cpu, True, direction="down")
figure("cpu/up", cpu, True, direction="up")
figure("memory", memory, True)
figure("memory/further-chip", memory_of_chips)
for _chips in CHIPS:
    figure(f"scale/{_chips}", scale, chips=_chips)
figure("scale/64x5", all_links)
