# SPDX-License-Identifier: MIT
"""A chip, a daemon and servers, put together."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from harness import PASSWORD, Espatd, Program, Sim, wait_for


# Our record of what is ours on the chip, and its copy, as the simulator's flash has them.
RECORDS = "espatd/slots", "espatd/slots.copy"


def settings(items):
    """A group in libconfig's syntax."""
    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[ " + ", ".join(text(item) for item in value) + " ]"
        if isinstance(value, dict):
            return "{ " + settings(value) + " }"
        return str(value) if isinstance(value, int) else f'"{value}"'

    return " ".join(f"{key} = {text(value)};" for key, value in items.items()
                    if value is not None)


class Outcome:
    """How `espatd --provision-only` ended."""

    def __init__(self, process):
        self.status = process.returncode
        self.log = process.stderr
        self.chips = {}
        for line in process.stdout.splitlines():
            chip = json.loads(line)
            assert chip["device"] not in self.chips, "told twice"
            self.chips[chip["device"]] = chip

    def good(self, writes=None):
        """All of them are provisioned, with so many writes each."""
        assert self.status == 0, self.log
        for chip in self.chips.values():
            assert chip["ok"] is True and "error" not in chip, chip
            assert writes is None or chip["writes"] == writes, (chip, self.log)
        return self.chips


class Bench:
    """A chip, a daemon, servers; a folder of their own. Its path is short: sockets are in it."""

    def __init__(self, pki):
        self.pki = pki
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="espat-"))
        self.parts = []
        self.daemon = None
        self.wifi = {}  # more settings of these groups; None leaves a usual one out
        self.device = {}
        self.authority = {}
        self.identity = {}
        self.more = {}  # more groups of a list: {"nvs": [{...}]}
        self.root = {"drain_timeout": 0}  # keys of the file itself
        self.bus = None
        (self.dir / "hosts").write_text("broker.test 10.9.9.9\n10.9.9.9 127.0.0.1\n")
        secret = self.dir / "wifi.secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)

    def sim(self, *options):
        self.chip = Sim(self.dir, *options)
        self.parts.append(self.chip)
        return self.chip

    def another(self, name, *options):
        """One more chip, with a flash of its own, which becomes one more device."""
        dir = self.dir / name
        if not dir.exists():
            dir.mkdir()
            shutil.copyfile(self.dir / "hosts", dir / "hosts")
            self.more.setdefault("devices", []).append(
                {"name": name, "port": f"{dir}/tty", "wifi": self.network()})
        chip = Sim(dir, *options)
        self.parts.append(chip)
        return chip

    def network(self):
        return {"ssid": "lab", "password_file": f"{self.dir}/wifi.secret", **self.wifi}

    def config(self, *tunnels):
        pki = self.pki
        lists = {
            "devices": [{"name": "esp0", "port": f"{self.dir}/tty", "wifi": self.network(),
                         **self.device}],
            "authorities": [{"name": "corp", "file": f"{pki}/ca.pem", **self.authority}],
            "identities": [{"name": "gateway", "cert": f"{pki}/client.pem",
                            "key": f"{pki}/client.key", **self.identity}],
            "nvs": [],
            "tunnels": tunnels,
        }
        return settings(self.root) + "\n" + "".join(
            f"{name} = ( {', '.join('{ ' + settings(x) + ' }' for x in groups)} );\n"
            for name, groups in ((n, [*g, *self.more.get(n, [])]) for n, g in lists.items()))

    def own_files(self):
        """The material comes from files that the test may replace()."""
        (self.dir / "pki").mkdir()
        self.replace(ca="ca", cert="client", key="client")
        self.authority["file"] = f"{self.dir}/pki/ca.pem"
        self.identity.update(cert=f"{self.dir}/pki/cert.pem", key=f"{self.dir}/pki/key.pem")

    def replace(self, **names):
        """Files of own_files(), by others of the PKI: ca="ca2"."""
        for own, name in names.items():
            path = self.dir / "pki" / f"{own}.new"
            shutil.copyfile(self.pki / f"{name}.{'key' if own == 'key' else 'pem'}", path)
            path.chmod(0o600)
            path.rename(self.dir / "pki" / f"{own}.pem")

    def reload(self):
        """SIGHUP; where the daemon's log was by then."""
        seen = self.daemon.mark()
        self.daemon.process.send_signal(signal.SIGHUP)
        return seen

    def run(self, *options, state="state", timeout=50):
        """The program run to its end, with the configuration that was written last."""
        return subprocess.run(
            [os.environ["ESPATD"], "-c", self.dir / "espatd.conf", "--bus", "none",
             "--runtime-dir", self.dir / "run", "--state-dir", self.dir / state, *options],
            capture_output=True, text=True, timeout=timeout)

    def provision(self, *tunnels, text=None, options=(), **how):
        """`espatd --provision-only`, run to its end."""
        if tunnels or text:
            (self.dir / "espatd.conf").write_text(text or self.config(*tunnels))
        return Outcome(self.run("--provision-only", *options, **how))

    def with_bus(self):
        """The daemons from here on are on a bus of their own."""
        from privatebus import PrivateBus
        self.bus = PrivateBus(self.dir)
        self.parts.append(self.bus)
        return self.bus

    def rewrite(self, *tunnels, text=None):
        """Another configuration in the place of the present one, which nobody has read yet."""
        self.daemon.config.write_text(text or self.config(*tunnels))

    def espatd(self, *tunnels, text=None, options=(), how={}):
        """Started, not waited for; @how is for subprocess.Popen."""
        if self.bus:
            options = ("--bus", self.bus.address, *options)
        self.daemon = Espatd(self.dir, text or self.config(*tunnels), *options, **how)
        self.parts.append(self.daemon)
        return self.daemon

    def up(self, *tunnels, sim=(), options=()):
        """The usual start: an empty chip, the daemon, and its tunnels."""
        self.sim(*sim)
        daemon = self.espatd(*tunnels, options=options).await_tunnels()
        # It comes behind, and a mark() of the caller's comes behind it.
        daemon.await_line("^esp0: ready$")
        return daemon

    def await_idle(self):
        """
        No link is in use or still being closed; of a daemon with -v. Then the next connection is on
        link 0, and what it does is not delayed by others.
        """
        def idle():
            used, busy, started = set(), False, None
            for line in self.daemon.log():
                if line.endswith("to see whether it is still busy"):
                    continue
                if command := re.search(r": > AT(?:\+CIPSTART=(\d))?", line):
                    busy, started = True, command[1]
                    used |= {started} - {None}
                elif closed := re.search(r": < (\d),CLOSED", line):
                    used.discard(closed[1])
                elif line.endswith(": < OK"):
                    busy = False
                elif line.endswith(": < ERROR"):
                    busy = False
                    used.discard(started)
                elif line.endswith(": < ready"):
                    used, busy = set(), False
            return not used and not busy

        wait_for(idle, "all links closed")

    def close(self):
        status = 0
        for part in reversed(self.parts):
            if part is self.daemon and part.process.poll() is None:
                status = part.end()
            elif isinstance(part, Program) and not hasattr(part, "close"):
                part.kill()
            else:
                part.close()
        shutil.rmtree(self.dir)
        # A sanitizer's complaint is an exit status, too.
        assert status == 0, "\n".join(self.daemon.log()[-30:])


def tunnel(server, name="broker", host="broker.test", **items):
    """A tunnel to @server (or to that port), verified and with the client certificate."""
    port = server if isinstance(server, int) else server.port
    trust = {} if items.get("insecure") or "psk" in items else {"authority": "corp"}
    return {"name": name, "host": host, "port": port, **trust, **items}
