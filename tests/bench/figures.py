# SPDX-License-Identifier: MIT
"""The figures of the paced line, and the list of all of them."""
import re
import shutil
import socket
import time

import limits
from load import Broken, Client, Load
from result import Row, amount, jain, quantile, rate
from rig import Rig, wait_for

BAUD = 921600  # that of the bars
RATES = [115200, 921600, 3000000]
FIFO = 8192  # the simulator's output buffer
WARM = 0.7  # seconds until a stream is even

FIGURES = {}  # name: (function of Env, whether it is in --quick)


def figure(name, function, quick=False, **args):
    FIGURES[name] = (lambda env: function(env, name, **args), quick)


def streams(env, rig, load, mode, count):
    """So many bulk connections, all of which move data when this returns."""
    clients = [load.add(Client(mode, rig.path(mode))) for _ in range(count)]
    load.run(until=lambda: env.server.established(mode) == count)
    load.run(WARM)
    return clients


# Goodput

GOODPUT_BARS = {("down", "auto"): 0.98, ("down", "active"): 0.98, ("down", "passive"): 0.95,
                ("up", "auto"): 0.96}
BOTH_BARS = {"none": 1.30, "rtscts": 1.80}


def settings(env, receive, flow):
    """Of the device; a daemon that does not know these keys behaves as auto and none."""
    wanted = {"receive": receive, "flow_control": flow}
    return {} if (receive, flow) == ("auto", "none") and env.refuses(device=wanted) else wanted


def why_not(env, receive, flow):
    """Why these settings cannot be measured, or None: by what espatd says to a chip."""
    def look():
        device = settings(env, receive, flow)
        if env.refuses(device=device):
            return "not supported"
        trace = env.dir / f"trace-{receive}-{flow}"
        with Rig(env, ["down"], baud=BAUD, device=device, options=["--trace", trace]) as rig:
            load = Load()
            streams(env, rig, load, "down", 1)
            load.close()
        said = trace.read_text()
        # Sent, that is: the chip's list of commands has it anyway.
        if receive == "passive" and 'H>D "AT+CIPRECVDATA=' not in said:
            return "not supported (nothing was fetched)"
        if flow == "rtscts" and not re.search(r'H>D "AT\+UART_CUR=\d+,8,1,0,3', said):
            return "not supported (the chip was not told)"
        return None

    return None if (receive, flow) == ("auto", "none") else env.once(("why not", receive, flow), look)


def goodput(env, name, baud, direction, links, receive, flow):
    missing = why_not(env, receive, flow)
    if missing:
        return [Row(name, missing=missing)]
    line_down, line_up = limits.down(env, baud), limits.up(env, baud)
    # At 115200 a full block takes 0.7 s.
    seconds = env.seconds(3, 1.2) if baud > 115200 else env.seconds(6, 4)
    with Rig(env, [direction], baud=baud, device=settings(env, receive, flow)) as rig:
        load = Load()
        clients = streams(env, rig, load, direction, links)
        start = time.monotonic()
        end = load.run(seconds)
        rig.healthy()
        down = [s for x in clients for s in x.received]
        up = [s for x in env.server.connections(direction) for s in x["received"]]
        load.close()
    if direction == "both":
        a, b = rate(down, start, end), rate(up, start, end)
        return [Row(name, a + b, "bytes/s", "raw line, one way", (line_down + line_up) / 2,
                    least=BOTH_BARS[flow] if baud == BAUD else None,
                    note=f"down {a / line_down:.3f}, up {b / line_up:.3f} of the raw line")]
    value, line = (rate(down, start, end), line_down) if direction == "down" else \
        (rate(up, start, end), line_up)
    return [Row(name, value, "bytes/s", f"raw line (nominal {baud / 10000:.2f})", line,
                least=GOODPUT_BARS.get((direction, receive)) if baud == BAUD else None)]


def raised(env, name, direction):
    """A line that the daemon itself brings to a higher rate."""
    device = {"baud": 115200, "max_baud": 3000000}
    if env.refuses(device=device):
        return [Row(name, missing="not supported")]
    limit = limits.down(env, 3000000) if direction == "down" else limits.up(env, 3000000)
    with Rig(env, [direction], baud=115200, device=device) as rig:
        load = Load()
        client, = streams(env, rig, load, direction, 1)
        start = time.monotonic()
        end = load.run(env.seconds(3, 1.5))
        rig.healthy()
        came = client.received if direction == "down" else \
            env.server.connections(direction)[0]["received"]
        load.close()
    value = rate(came, start, end)
    if value < 12000:
        return [Row(name, missing="not supported (the line stays at 115200)")]
    return [Row(name, value, "bytes/s", "raw line (nominal 300.00)", limit)]


# Small requests

def request(env, name, baud, latency):
    raw, wire = limits.request(env, baud, latency)
    with Rig(env, ["echo"], baud=baud, latency=latency) as rig:
        load = Load()
        client = load.add(Client("echo", rig.path("echo")))
        load.run(until=lambda: len(client.times) >= 5)
        load.run(env.seconds(4, 1.5))
        rig.healthy()
        load.close()
    times = [1000 * t for _, t in client.times[5:]]
    p50, p99 = quantile(times, 0.5), quantile(times, 0.99)
    note = f"its bytes take {1000 * wire:.2f} ms on the wire"
    bars = baud == BAUD and latency == 0
    return [
        Row(f"{name}/p50", p50, "ms", "by hand on the raw line", 1000 * raw, note=note),
        Row(f"{name}/p99", p99, "ms", "by hand, p50", 1000 * raw,
            note=f"{note}; {len(times)} requests"),
        Row(f"{name}/p50-beyond-wire", p50 - 1000 * wire, "ms", "by hand", 1000 * (raw - wire),
            judged="value", most=1.0 if bars else None),
        Row(f"{name}/p99-beyond-wire", p99 - 1000 * wire, "ms", "by hand, p50", 1000 * (raw - wire)),
    ]


# Connecting

CONNECTIONS = 15


def first_byte(env, rig):
    """Seconds from connect() until the server's greeting is there."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        start = time.monotonic()
        s.connect(str(rig.path("hello")))
        if s.recv(1) != b"!":
            raise Broken("no greeting")
        taken = time.monotonic() - start
    wait_for(lambda: all(x["ended"] for x in env.server.connections("hello")), "the end")
    time.sleep(0.05)  # until the chip has said so, too: there is nothing to be waited for
    return taken


def commands(trace):
    """Those of each connection, in the order in which they were sent."""
    said = [x.replace("\\r\\n", "").replace('\\"', '"')
            for x in re.findall(r'^ *[\d.]+ H>D "(AT.*)"$', trace, re.MULTILINE)]
    start = next(i for i, x in enumerate(said) if x.startswith("AT+CIPSSLCCONF"))
    found, current = [], []
    for x in said[start:]:
        if x.startswith("AT+CIPCLOSE"):
            continue
        current.append(x)
        if x.startswith("AT+CIPSTART"):
            found.append(current)
            current = []
    return found


def connect(env, name):
    trace, flash = env.dir / "trace-connect", env.dir / "flash-connect"
    trace.unlink(missing_ok=True)
    with Rig(env, ["hello"], baud=BAUD, options=["--trace", trace]) as rig:
        for _ in range(3):
            first_byte(env, rig)
        shutil.copyfile(rig.chips[0].dir / "flash", flash)
        rig.daemon.end()
    said = commands(trace.read_text())
    with Rig(env, ["hello"], baud=BAUD) as rig:
        first_byte(env, rig)
        times = [1000 * first_byte(env, rig) for _ in range(CONNECTIONS)]
        rig.healthy()
    # The same connection by hand: the chip has what it must trust, and what comes before is not counted.
    by_hand = []
    with limits.raw(env, BAUD, flash=flash) as line:
        line.command(f"AT+SYSTIMESTAMP={int(time.time())}")
        line.command("AT+CIPMUX=1")
        line.command(said[0][0])
        for _ in range(CONNECTIONS):
            for x in said[-1][:-1]:
                line.command(x)
            start = time.monotonic()
            line.write(said[-1][-1].encode() + b"\r\n")
            line.until(rb"\+IPD,0,1:!")
            by_hand.append(1000 * (time.monotonic() - start))
            line.settle(0.03)
            line.command("AT+CIPCLOSE=0")
            line.settle(0.03)
    mean, hand = quantile(times, 0.5), quantile(by_hand, 0.5)
    most = max(said, key=len)
    names = [re.match(r"AT\+(\w+)", x)[1] for x in most]
    return [
        Row(f"{name}/first-byte", mean, "ms", "CIPSTART to the byte, by hand", hand),
        Row(f"{name}/beyond-handshake", mean - hand, "ms", judged="value", most=5.0,
            note="first-byte less the same by hand"),
        # The first one on a link: what stays is read back, and what another program may have left is cleared.
        Row(f"{name}/commands", len(most), "", judged="value", most=7,
            note=f"{' '.join(names)}; from the second on {len(said[-1])}"),
    ]


# Fairness

def jain_index(env, name, direction):
    with Rig(env, [direction], baud=BAUD) as rig:
        load = Load()
        clients = streams(env, rig, load, direction, 5)
        start = time.monotonic()
        end = load.run(env.seconds(8, 4))
        rig.healthy()
        came = [x.received for x in clients] if direction == "down" else \
            [x["received"] for x in env.server.connections("up")]
        load.close()
    shares = [amount(x, start, end) / (end - start) for x in came]
    return [Row(name, jain(shares), "", "equal shares", 1.0, least=0.98,
                note="kB/s: " + " ".join(f"{x / 1000:.1f}" for x in sorted(shares)))]


def beside(env, name, mode, count, most):
    """A small request while others load the line."""
    with Rig(env, ["echo", mode], baud=BAUD) as rig:
        load = Load()
        clients = streams(env, rig, load, mode, count)
        asking = load.add(Client("echo", rig.path("echo"), gap=0.02))
        load.run(until=lambda: len(asking.times) >= 2)
        first = len(asking.times)
        start = time.monotonic()
        end = load.run(env.seconds(10, 3))
        rig.healthy()
        came = [s for x in clients for s in x.received] if mode == "down" else \
            [s for x in env.server.connections(mode) for s in x["received"]]
        load.close()
    times = [1000 * t for _, t in asking.times[first:]]
    if not times:
        raise Broken("no request was answered")
    line = limits.down(env, BAUD) if mode == "down" else limits.up(env, BAUD)
    if mode == "down":
        label, hand = "by hand, beside the same", limits.request_beside(env, BAUD, mode, count)
    else:
        label, hand = "by hand, alone", [limits.request(env, BAUD, 1)[0]]
    return [
        Row(f"{name}/p99", quantile(times, 0.99), "ms", label, 1000 * quantile(hand, 0.99),
            judged="value", most=most and most(line), note=f"{len(times)} requests"),
        Row(f"{name}/p50", quantile(times, 0.5), "ms", label, 1000 * quantile(hand, 0.5)),
        Row(f"{name}/others", rate(came, start, end), "bytes/s", "raw line", line),
    ]


for _baud in RATES:
    for _direction in ("down", "up", "both"):
        for _links in (1, 5):
            for _flow in ("none", "rtscts"):
                for _receive in ("auto", "active", "passive"):
                    if _direction == "up" and _receive != "auto":
                        continue  # nothing is received
                    figure(f"goodput/{_baud}/{_direction}/{_links}/{_receive}/{_flow}", goodput,
                           _baud == BAUD and _receive == "auto" and _flow == "none",
                           baud=_baud, direction=_direction, links=_links, receive=_receive, flow=_flow)
figure("raised/3000000/down", raised, direction="down")
figure("raised/3000000/up", raised, direction="up")
for _baud in RATES:
    for _latency in (0, 1):
        figure(f"request/{_baud}/latency-{_latency}", request, _baud == BAUD and _latency == 0,
               baud=_baud, latency=_latency)
figure("connect", connect, True)
figure("fairness/up", jain_index, True, direction="up")
figure("fairness/down", jain_index, True, direction="down")
figure("fairness/beside-4-up", beside, True, mode="up", count=4, most=lambda line: 60)
figure("fairness/beside-4-down", beside, True, mode="down", count=4,
       most=lambda line: 1000 * 2 * FIFO / line + 20)
figure("fairness/beside-plus", beside, True, mode="plus", count=1, most=None)

import costs  # noqa: E402,F401: its figures come behind these
