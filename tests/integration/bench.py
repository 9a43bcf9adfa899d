# SPDX-License-Identifier: MIT
"""A chip, a daemon and servers, put together."""
import pathlib
import shutil
import tempfile

from harness import PASSWORD, Espatd, Program, Sim


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


class Bench:
    """A chip, a daemon, servers; a folder of their own. Its path is short: sockets are in it."""

    def __init__(self, pki):
        self.pki = pki
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="espat-"))
        self.parts = []
        self.daemon = None
        self.wifi = {}  # more settings of these groups; None leaves a usual one out
        self.device = {}
        (self.dir / "hosts").write_text("broker.test 10.9.9.9\n10.9.9.9 127.0.0.1\n")
        secret = self.dir / "wifi.secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)

    def sim(self, *options):
        self.chip = Sim(self.dir, *options)
        self.parts.append(self.chip)
        return self.chip

    def config(self, *tunnels):
        def group(**items):
            return "{ " + settings(items) + " }"

        pki = self.pki
        wifi = {"ssid": "lab", "password_file": f"{self.dir}/wifi.secret", **self.wifi}
        device = group(name="esp0", port=f"{self.dir}/tty", wifi=wifi, **self.device)
        authority = group(name="corp", file=f"{pki}/ca.pem")
        identity = group(name="gateway", cert=f"{pki}/client.pem", key=f"{pki}/client.key")
        return (f"devices = ( {device} );\n"
                f"authorities = ( {authority} );\n"
                f"identities = ( {identity} );\n"
                f"tunnels = ( {', '.join(group(**t) for t in tunnels)} );\n")

    def espatd(self, *tunnels, text=None, options=()):
        """Started, not waited for."""
        self.daemon = Espatd(self.dir, text or self.config(*tunnels), *options)
        self.parts.append(self.daemon)
        return self.daemon

    def up(self, *tunnels, sim=(), options=()):
        """The usual start: an empty chip, the daemon, and its tunnels."""
        self.sim(*sim)
        return self.espatd(*tunnels, options=options).await_tunnels()

    def close(self):
        status = 0
        for part in reversed(self.parts):
            if part is self.daemon and part.process.poll() is None:
                status = part.end()
            elif isinstance(part, Program):
                part.kill()
            else:
                part.close()
        shutil.rmtree(self.dir)
        # A sanitizer's complaint is an exit status, too.
        assert status == 0, "\n".join(self.daemon.log()[-30:])


def tunnel(server, name="broker", host="broker.test", **items):
    """A tunnel to @server (or to that port), verified and with the client certificate."""
    port = server if isinstance(server, int) else server.port
    trust = {} if items.get("insecure") else {"authority": "corp"}
    return {"name": name, "host": host, "port": port, **trust, **items}
