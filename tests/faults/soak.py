#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Three chips, five tunnels, clients and servers that do what they like, and faults at any time. What was
received is always a beginning of what was sent, memory stays within bounds, and at the end every chip serves.
"""
import argparse
import collections
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import traceback

from rig import Plan, Rig, make_pki

# From rig's path.
from harness import wait_for  # noqa: E402

WORKERS = 8
# Three chips with five links, their clients' rings and blocks, and what malloc keeps.
MEMORY_MAX = 8 << 20
MEMORY_LEFT = 1 << 20  # more than at the beginning, when all have gone
FILES_MAX = 100
# To service on every chip, from the last fault or from a start with faults still to come: a server that does not
# read holds up its chip for 60 s (espatd(8)), and one that was given up is tried again every 15 s.
RESTORED = 90
GREETING = 64
# What the daemon may say of all this.
EXPECTED = re.compile("|".join([
    r"connection \d+ is open on esp\d/\d$", r"connection \d+ ended$", r"connection \d+ aborted: [^\[]*$",
    r"connection failed: .* \[(chip-reset|wifi-down|out-of-memory|clock-not-set|timeout|refused|no-such-host|"
    r"not-trusted-or-handshake-failed|no-material|unexplained)\]$",
    r"(ready|SIGTERM, stopping)$", r"joined \"lab\"$", r"listening on ", r"opened .* at \d+ baud$", r"found ESP32",
    r"the line runs at \d+ baud", r"the line does not work at", r"RTS/CTS do not work",
    r"is the chip of this device from now on$", r"authority corp is in slot", r"wrote (client_ca|slots)", r"flash writes?, ",
    r"lost step with the chip|the chip has restarted", r"Wi-Fi is gone$", r"waiting for the chip to join",
    r"the port .* is gone", r"there is no .*; waiting for it$", r"no answer from a chip at", r"resetting the chip$",
    r"the record of what is ours on the chip is damaged", r"trying again until it works$", r"even after a reset",
    r"keeps the rate|goes back|is set aside", r"is busy with what was begun before", r"more than \d+ times within a minute",
]))
COMMANDS = ["AT+CIPSTART", "AT+CIPSEND", "AT+CIPCLOSE", "AT+CIPRECVDATA", "AT+CIPSSLC", "AT+CWJAP", "ATE0",
            "AT+SYSTIMESTAMP", "AT+CIPMUX", "AT+SYSMFG=1", "AT+GMR", "AT+UART_CUR"]


class Life:
    """What happens by chance. Each of them has its own chance, so that one does not move the others."""

    def __init__(self, seed, who):
        self.random = random.Random(f"{seed}/{who}")

    def client(self):
        r = self.random
        size = r.choice([0, 1, 100, 3000, 40000])
        return r.choice([
            Plan(size=r.choice([20000, 100000, 300000]), shut=r.random() < 0.5, last=r.uniform(1, 5)),
            Plan(size=200 * r.randint(1, 40), piece=200, answer=300, last=r.uniform(0.5, 3)),
            Plan(size=size, gulp=500, slow=0.02, last=r.uniform(1, 4)),
            Plan(size=size, shut=True, last=r.uniform(1, 5)),
            Plan(size=size, leave=r.choice([1, 1000, 50000]), last=5),
            Plan(last=r.uniform(0.1, 2)),
        ])

    def server(self):
        r = self.random
        return r.choice([
            Plan(size=r.choice([50000, 200000, 600000]), shut=r.random() < 0.5),
            Plan(size=10 ** 6, piece=300, answer=200),
            Plan(size=GREETING),
            Plan(size=GREETING * r.randint(1, 1500), shut=True),
            Plan(size=GREETING * r.randint(1, 300), last=r.uniform(0.1, 3), abort=True),
            Plan(size=20000, gulp=800, slow=0.02),
            Plan(size=3000, piece=100, pause=0.2),
        ])

    def fault(self):
        """
        A rule of the simulator and what ends it. What nobody can see is left to the matrix: flipped bytes, such
        as come twice on their way in, a loss as long as the shortest block with its head and line ends, and what the
        boot ROM says in the middle of a block.
        """
        r = self.random
        n = r.choice([1, 2, 7, 40])
        action, then = r.choice([
            (f"drop out {n}", "mend"), (f"drop out {n}", "mend"), (f"drop in {n}", "mend"),
            (f"double out {n}", "mend"), ("split 1", "split 0"), (f"delay {r.randint(1, 3000)}", None),
            ("mute", None), ("no-prompt", None), (f"busy {r.randint(1, 8)}", None), ("busy-after 2", None),
            (f"reset {r.choice([0, 0, 700])}", None),
            ("hang", f"reset {r.randint(0, 4000)}"), (f"send-fail {r.randint(0, 3000)}", None),
            (f"late-closed {r.randint(1, 2000)}", None), (f"tls-length {r.choice([29, -29])}", "tls-length 0"),
            ("heap 20000", "heap 0"), ("wifi-drop 1", None), ("wifi-drop 0", None),
            (f"unplug {r.randint(50, 3000)}", None), (f"link-reset {r.randrange(5)}", None), ("clock 0", None),
        ])
        # What must be ended is not begun by a command of later, or it would be after its end, and last for ever.
        if then in (None, "mend") and r.random() < 0.5:
            action = f"cmd {r.choice(COMMANDS)} {r.randint(1, 3)} {action}"
        return action, then


class Soak:
    def __init__(self, pki, seed, seconds, verbose):
        self.seed, self.seconds, self.verbose = seed, seconds, verbose
        self.rig = Rig(pki, seed)
        self.events = collections.deque(maxlen=60)
        self.began = time.monotonic()
        self.over = threading.Event()
        self.failed = None
        self.counts = collections.Counter()
        self.most = collections.Counter()
        self.dead_logs = []
        self.chips = []

    def note(self, text):
        line = f"{time.monotonic() - self.began:8.3f} {text}"
        self.events.append(line)
        if self.verbose:
            print(line, flush=True)

    # ---- the bench ----

    def start(self):
        rig, bench = self.rig, self.rig.bench
        life = Life(self.seed, "servers")
        bench.device.update(max_baud=921600)
        self.chips = [bench.sim("--baud", "115200", "--firmware", "4.1"),
                      bench.another("esp1", "--firmware", "5.0", "--mac", "24:0a:c4:12:34:57"),
                      bench.another("esp2", "--firmware", "3.2", "--mac", "24:0a:c4:12:34:58")]
        bench.more["devices"][0].update(receive="passive")
        self.names = ["esp0", "esp1", "esp2", "any", "second"]
        self.tunnels = [{**rig.serve(name, life.server), "device": name} for name in self.names[:3]]
        self.tunnels += [{**rig.serve("any", life.server), "device": "any"},
                         {**rig.serve("second", life.server), "device": "esp1"}]
        bench.espatd(*self.tunnels).await_tunnels()
        for n in range(3):
            bench.daemon.await_line(f"^esp{n}: ready$")
        self.note("all are ready")
        self.least = self.costs()

    def costs(self):
        pid = self.rig.bench.daemon.process.pid
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            memory = re.search(r"RssAnon:\s+(\d+)", f.read())
        if not memory:  # it has been killed, and nobody has asked for its status yet
            raise ProcessLookupError(pid)
        return int(memory[1]) << 10, len(os.listdir(f"/proc/{pid}/fd"))

    # ---- what goes on ----

    def work(self, number):
        """One local program after the other."""
        life = Life(self.seed, f"client {number}")
        while not self.over.is_set():
            name, plan = life.random.choice(self.names), life.client()
            try:
                client = self.rig.client(name, plan)
            except OSError as error:  # the daemon was killed
                self.counts["not connected"] += 1
                self.over.wait(0.2)
                continue
            client.thread.join()
            self.rig.clients.remove(client)
            self.counts["connections"] += 1
            self.counts["bytes"] += client.inbox.size
            self.over.wait(life.random.random() * 0.2)

    def break_things(self):
        life = Life(self.seed, "faults")
        while not self.over.wait(life.random.uniform(0.1, 1.5)):
            n = life.random.randrange(len(self.chips))
            action, then = life.fault()
            pause = life.random.uniform(0.1, 1)
            if life.random.random() < 0.03:
                self.kill()
                continue
            # Behind a loss a long block goes on, AT+CIPSENDL: see espatd(8). The first chip alone has RTS/CTS.
            if n == 0 and "drop in" in action:
                continue
            self.note(f"esp{n}: {action}")
            self.counts["faults"] += 1
            self.chips[n].fault(action)
            if then and not self.over.wait(pause):
                self.note(f"esp{n}: {then}")
            if then:
                self.chips[n].fault(then)

    def kill(self):
        """As the kernel would, short of memory; another one is started."""
        bench = self.rig.bench
        self.note("the daemon is killed")
        self.counts["kills"] += 1
        bench.daemon.process.send_signal(signal.SIGKILL)
        bench.daemon.wait()
        self.dead_logs += bench.daemon.log()
        bench.espatd(*self.tunnels).await_tunnels(RESTORED)

    def watch(self):
        """Until the time is over, or something is wrong."""
        while not self.over.wait(0.2):
            if time.monotonic() - self.began > self.seconds:
                return
            self.look()

    def look(self):
        wrong = self.rig.ledger.wrong
        assert not wrong, "\n".join(wrong)
        for chip in self.chips:
            with chip.changed:
                del chip.lines[:-2000]
        self.rig.ledger.forget()
        daemon = self.rig.bench.daemon
        if daemon.process.poll() is not None:
            # By kill(), which starts another one.
            assert daemon.process.returncode == -signal.SIGKILL, f"the daemon has ended: {daemon.process.returncode}"
            return
        try:
            memory, files = self.costs()
        except OSError:
            return
        self.most["memory"] = max(self.most["memory"], memory)
        self.most["files"] = max(self.most["files"], files)
        assert memory <= MEMORY_MAX, f"{memory >> 10} KiB of memory"
        assert files <= FILES_MAX, f"{files} files are open"

    # ---- the end ----

    def serves(self, name):
        """One whole greeting comes through that tunnel."""
        client = self.rig.client(name, Plan(size=10, leave=GREETING, last=20))
        client.thread.join()
        self.rig.clients.remove(client)
        return client.inbox.size >= GREETING and not client.inbox.wrong

    def restored(self):
        for n, chip in enumerate(self.chips):
            for action in "mend", "heap 0", "tls-length 0", "plug", "reset":
                chip.fault(action)
        self.note("no more faults")
        began = time.monotonic()
        for n in range(len(self.chips)):
            wait_for(lambda n=n: self.serves(f"esp{n}"), f"esp{n} serves again", RESTORED)
            self.note(f"esp{n} serves after {time.monotonic() - began:.1f} s")
        for client in list(self.rig.clients):
            client.end()
        def back():
            memory, files = self.costs()
            return memory <= self.least[0] + MEMORY_LEFT and files <= self.least[1]
        wait_for(back, f"from {self.least} back, but {self.costs()}", 30)

    def run(self):
        threads = []
        try:
            self.start()
            threads = [threading.Thread(target=self._guard, args=(f, *args)) for f, *args in
                       [(self.break_things,), *((self.work, n) for n in range(WORKERS))]]
            for thread in threads:
                thread.start()
            self.watch()
            self.over.set()
            for thread in threads:
                thread.join(40)
            if not self.failed:
                self.restored()
                self.look()
                self.rig.settle()
                self.look_at_logs()
        except Exception:  # pylint: disable=broad-except
            self.failed = self.failed or traceback.format_exc(limit=3)
        finally:
            self.over.set()
        return self.failed

    def _guard(self, function, *args):
        try:
            function(*args)
        except Exception:  # pylint: disable=broad-except
            self.failed = self.failed or traceback.format_exc(limit=3)
            self.over.set()

    def look_at_logs(self):
        odd = [x for x in [*self.dead_logs, *self.rig.bench.daemon.log()] if not EXPECTED.search(x)]
        assert not odd, "unexpected in the log:\n" + "\n".join(odd[:20])

    def report(self):
        print(f"seed {self.seed} has failed: {self.failed}\nthe last events:", *self.events, sep="\n")
        if self.rig.bench.daemon:
            lines = [x for x in self.rig.bench.daemon.log() if "onnection" not in x]
            print("the daemon has said (but of connections):", *lines[-60:], sep="\n")
        for n, chip in enumerate(self.chips):
            print(f"the last of chip {n}:", *(x[:150] for x in chip.log()[-60:]), sep="\n")


def parse():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    parser.add_argument("-v", "--verbose", action="store_true", help="tells each event")
    return parser.parse_args()


def main():
    options = parse()
    pki, bad = make_pki(), 0
    for seed in range(options.seed, options.seed + options.seeds):
        soak = Soak(pki, seed, options.minutes * 60, options.verbose)
        failed = soak.run()
        if failed:
            bad += 1
            soak.report()
        try:
            soak.rig.close()
        except (AssertionError, OSError) as error:
            print(f"seed {seed}: {error}")
            bad += not failed
        counts, most = soak.counts, soak.most
        print(f"seed {seed}: {'FAILED' if failed else 'clean'}: {counts['connections']} connections, "
              f"{counts['bytes'] >> 20} MiB to clients, {counts['faults']} faults, {counts['kills']} kills; "
              f"at most {most['memory'] >> 10} KiB of memory and {most['files']} files", flush=True)
    shutil.rmtree(pki)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
