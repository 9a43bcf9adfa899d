# SPDX-License-Identifier: MIT
"""A bench of the integration tests, with tunnels whose bytes are accounted for."""
import pathlib
import subprocess
import sys
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/integration"))

# pylint: disable=wrong-import-position
from bench import Bench, tunnel  # noqa: E402
from ledger import Inbox, Ledger  # noqa: E402
from talk import Plan, Talk, answering, in_background  # noqa: E402
from tlsserver import TlsServer  # noqa: E402

# The bounds are for this chip.
TIMES = "--join-ms", "1000", "--handshake-ms", "500"


def make_pki():
    """For all that run at the same time."""
    dir = pathlib.Path(tempfile.mkdtemp(prefix="espat-pki-"))
    subprocess.run([TOP / "certs/mkpki", "--host", "broker.test", dir], check=True, stdout=subprocess.DEVNULL)
    return dir


class Client:
    """A local program that talks through a tunnel, in a thread of its own."""

    def __init__(self, rig, name, plan):
        self.stop = threading.Event()
        self.inbox = Inbox(rig.ledger, name, "server", rig.keep)
        self.stream = rig.ledger.stream(name, "client", rig.make.get(name, {}).get("client"))
        self.talk = Talk(rig.bench.daemon.connect(name), self.inbox, self.stream, plan, self.stop)
        self.thread = in_background(self._run)

    def _run(self):
        with self.talk.sock:
            self.talk.run()

    def is_over(self):
        return not self.thread.is_alive()

    def end(self):
        self.stop.set()
        self.thread.join()


class Rig:
    """Tunnels, each with a server that talks by a plan; all streams in one ledger."""

    def __init__(self, pki, seed=0, keep=False):
        self.bench = Bench(pki)
        self.pki = pki
        self.keep = keep
        self.ledger = Ledger(seed)
        self.stop = threading.Event()
        self.servers = {}
        self.inboxes = []  # of the servers
        self.clients = []
        self.make = {}     # {tunnel: {end: class of its streams}}, where not the usual one

    def serve(self, name, plan):
        handler = answering(self, name, plan)
        server = self.servers[name] = TlsServer(self.pki, handler)
        self.bench.parts.append(server)
        return tunnel(server, name)

    def client(self, name, plan):
        client = Client(self, name, plan)
        self.clients.append(client)
        return client

    def settle(self):
        """All is over, and what was on its way has come."""
        for client in self.clients:
            client.end()
        status = self.bench.daemon.end()
        assert status == 0, f"the daemon ends with {status}"
        for chip in (x for x in self.bench.parts if hasattr(x, "fault")):
            chip.kill()
        for server in self.servers.values():
            for conn in server.connections:
                assert conn.ended.wait(30), "a server's connection does not end"

    def close(self):
        self.stop.set()
        self.bench.close()
