# SPDX-License-Identifier: MIT
"""
Secrets are in files and on the chip, and nowhere else: not in the log, not in what others see of the
process, and not in its memory once it is at rest, which is what a core dump would hold.
"""
import base64
import os
import pathlib
import re
import resource
import secrets
import signal
import stat
import subprocess

import pytest

from bench import tunnel
from clients import works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import Program, as_nobody, wait_for, why_not_nobody
from tlsserver import echo

# The shortest piece of a secret that must not be found.
WINDOW = 8
# More than the daemon has of memory, and less than what a sanitizer takes for itself.
ALL_THERE_CAN_BE = 1 << 30
NO_SLOT = 0xffffffff
READY = "^esp0: ready$"  # with -v there are others
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to read another's memory")


def windows(data):
    return {data[i:i + WINDOW] for i in range(len(data) - WINDOW + 1)}


def pem_body(path):
    """The lines between the dashes, one by one and as one: parsers join them."""
    lines = [x.encode() for x in path.read_text().split("\n") if x and not x.startswith("-")]
    return [*lines, b"".join(lines)]


def numbers(key):
    """The private numbers of a key, and its DER."""
    text = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], check=True,
                          capture_output=True, text=True).stdout
    public = ("modulus", "publicExponent", "pub")
    found = [(name, bytes.fromhex(re.sub(r"[:\s]", "", digits)).lstrip(b"\0")) for name, digits in
             re.findall(r"^(\w+):\n((?:    [0-9a-f:]+\n)+)", text, re.M)]
    assert {name for name, _ in found} & {"prime1", "priv"}, text
    return [value for name, value in found if name not in public]


def public_windows(dir, *names):
    """What is in certificates is no secret."""
    found = set()
    for path in (dir / f"{name}.pem" for name in names):
        for piece in [path.read_bytes(), *pem_body(path)]:
            found |= windows(piece)
        for part in re.findall(r"-----BEGIN[^-]+-----(.*?)-----END", path.read_text(), re.S):
            found |= windows(base64.b64decode(part))
    return found


class Secrets:
    """All pieces of all secrets, each with what it is of."""

    def __init__(self):
        self.pieces = {}

    def add(self, what, *forms):
        for form in forms:
            for piece in windows(form):
                self.pieces.setdefault(piece, what)

    def add_key(self, what, path, other):
        """@other is a key of the same form: what both have is no secret but the form."""
        forms = pem_body(path)
        form = set()
        for piece in pem_body(other):
            form |= windows(piece)
        self.add(what, *forms)
        for piece in form:
            self.pieces.pop(piece, None)
        for number in numbers(path):
            # As it is in the file, and as OpenSSL computes with it.
            self.add(f"{what}, its numbers", number, number[::-1])

    def without(self, pieces):
        for piece in pieces:
            self.pieces.pop(piece, None)

    def found_in(self, data):
        """[(what, offset, surroundings)] of the first pieces that are in there."""
        hits = windows(data) & self.pieces.keys()
        return sorted((self.pieces[x], data.index(x), data[max(0, data.index(x) - 24):][:72])
                      for x in hits)[:10]


class Memory:
    """What is in the writable memory of a process."""

    def __init__(self, pid):
        self.parts = []
        # Or what it gives back to the kernel meanwhile would be missing.
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: ") T " in pathlib.Path(f"/proc/{pid}/stat").read_text(), "it stands still")
            self.read(pid)
        finally:
            os.kill(pid, signal.SIGCONT)

    def read(self, pid):
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                span, mode, *rest = line.split(None, 5)
                begin, end = (int(x, 16) for x in span.split("-"))
                if "w" not in mode:
                    continue
                if end - begin > ALL_THERE_CAN_BE:
                    pytest.skip("a sanitizer's shadow is there, too")
                mem.seek(begin)
                data = mem.read(end - begin)
                assert len(data) == end - begin
                self.parts.append((f"{begin:x} {rest[-1].strip() if len(rest) == 4 else ''}", data))

    def find(self, secrets):
        """Of each mapping what was found there; zeros are no secrets, and most of it."""
        found = []
        for where, data in self.parts:
            for piece in re.finditer(rb"(?:[^\0]|\0{1,7}(?=[^\0]))+", data):
                found += [(where, hex(piece.start() + offset), what, around)
                          for what, offset, around in secrets.found_in(piece[0])]
        return found

    def has(self, data):
        return any(data in part for _, part in self.parts)


class Vault:
    """A configuration with a secret of each kind; the tunnels work, each by its own means."""

    def __init__(self, bench, serve):
        self.bench = bench
        self.secrets = Secrets()
        pki, dir = bench.pki, bench.dir
        bench.own_files()
        self.public = f"public-{secrets.token_hex(12)}"
        self.password = secrets.token_hex(16)
        self.psk, self.psk_hex = secrets.token_hex(14), secrets.token_hex(24)
        raw = secrets.token_bytes(8000)  # more than a line takes at once
        self.write("vault.wifi", self.password + "\n")
        self.write("text.psk", self.psk + "\n")
        self.write("hex.psk", self.psk_hex + "\n")
        token = secrets.token_hex(40)  # it fits into a line of an answer
        self.write("raw", raw)
        self.write("token", token)
        keys = dir / "keys"
        keys.mkdir()
        for name in "ec1", "ec2", "other":
            subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout",
                            "-out", keys / f"{name}.key"], check=True)
        for name in "rsa1", "other-rsa":
            subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-out",
                            keys / f"{name}.key"], check=True)
        for path in keys.iterdir():
            path.chmod(0o600)
        self.secrets.add_key("identity's RSA key", pki / "client.key", keys / "other-rsa.key")
        self.secrets.add_key("identity's EC key", pki / "ecclient.key", keys / "other.key")
        self.secrets.add_key("NVS entry's EC key", keys / "ec1.key", keys / "other.key")
        self.secrets.add_key("NVS entry's RSA key", keys / "rsa1.key", keys / "other-rsa.key")
        self.secrets.add("raw value", raw, token.encode())
        self.secrets.add("Wi-Fi password", self.password.encode())
        self.secrets.add("PSK", self.psk.encode())
        self.secrets.add("PSK in hex", self.psk_hex.encode(), self.psk_hex.upper().encode(),
                         bytes.fromhex(self.psk_hex))
        self.secrets.without(public_windows(pki, "client", "ecclient", "ca", "ca2", "server"))
        bench.wifi = {"ssid": "vault", "password_file": f"{dir}/vault.wifi"}
        bench.more["nvs"] = [
            {"namespace": "mqtt_key", "slot": 0, "file": f"{keys}/ec1.key"},
            {"namespace": "https_key", "slot": 0, "file": f"{keys}/rsa1.key"},
            {"namespace": "wss_ca", "kind": "raw", "file": f"{dir}/raw"},
            {"namespace": "wss_key", "kind": "raw", "file": f"{dir}/token"}]
        self.server = serve(echo, client_ca="ca")
        self.tunnels = [
            tunnel(self.server, identity="gateway"),
            tunnel(7, "text", authority=None,
                   psk={"identity": "text", "file": f"{dir}/text.psk"}, host=f"{self.public}.test"),
            tunnel(7, "hex", authority=None,
                   psk={"identity": "hex", "file": f"{dir}/hex.psk", "hex": True})]
        (dir / "hosts").write_text((dir / "hosts").read_text() + f"{self.public}.test 10.9.9.9\n")
        self.sim = ["--ssid", "vault", "--psk", self.password]

    def write(self, name, data):
        path = self.bench.dir / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(0o600)

    def up(self):
        self.bench.sim(*self.sim)
        return self.bench.espatd(*self.tunnels, options=["-v"]).await_tunnels()

    def use(self):
        """A connection of each tunnel; those with a PSK have nobody who listens."""
        daemon = self.bench.daemon
        assert works(daemon)
        for name in "text", "hex":
            seen = daemon.mark()
            with daemon.connect(name) as s:
                assert s.recv(10) == b""
            daemon.await_line(f"^{name}: connection failed", seen)

    def is_kept(self, data, what):
        found = self.secrets.found_in(data)
        assert not found, (what, found)
        return True


@pytest.fixture
def vault(bench, serve):
    return Vault(bench, serve)


def at_rest(vault, daemon):
    """The memory has none of it, and all of the rest: this finds what is there."""
    memory = Memory(daemon.process.pid)
    assert memory.has(vault.public.encode()), "a host's name is not found, so nothing would be"
    assert sum(len(data) for _, data in memory.parts) > 100000
    found = memory.find(vault.secrets)
    assert not found, "\n".join(map(str, found))


@needs_root
def test_memory(vault, bench):
    """After the start, after connections, after a rotation, after a reset of the chip."""
    daemon = vault.up()
    daemon.await_line(READY)
    at_rest(vault, daemon)
    vault.use()
    at_rest(vault, daemon)
    bench.replace(cert="ecclient", key="ecclient")
    seen = bench.reload()
    daemon.await_line("erased client_key", seen)
    vault.use()
    at_rest(vault, daemon)
    seen = daemon.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen)
    vault.use()
    at_rest(vault, daemon)


@needs_root
@pytest.mark.parametrize("fault", [
    'cmd AT+SYSMFG=2,"client_key" 1 flip in 40', 'cmd AT+SYSMFG=2,"client_key" 1 reset',
    'cmd AT+SYSMFG=2,"https_key" 1 brownout-old', "cmd AT+CWJAP 1 reset", "cmd AT+CWJAP 1 busy 2",
    'cmd AT+SYSMFG=1,"client_key" 2 flip out 5', 'cmd AT+SYSMFG=1,"client_key" 2 drop out 40',
    'cmd AT+SYSMFG=1,"https_key" 2 drop out 3', 'cmd AT+SYSMFG=1,"wss_key" 2 drop out 3',
    "cmd AT+CIPSSLCPSK=0 1 reset",
    "cmd AT+CIPSSLCPSKHEX=0 1 mute"])
def test_memory_after_trouble(vault, bench, fault):
    """A write, a read or a command with a secret goes wrong in the middle."""
    bench.device["baud"] = 3000000
    bench.sim(*vault.sim)
    bench.chip.fault(fault)
    daemon = bench.espatd(*vault.tunnels, options=["-v"]).await_tunnels()
    if "PSK" in fault:
        seen = daemon.mark()
        name = "hex" if "HEX" in fault else "text"
        with daemon.connect(name) as s:
            assert s.recv(10) == b""
        daemon.await_line(READY, seen)
    daemon.await_line(READY)
    assert works(daemon)
    at_rest(vault, daemon)
    assert vault.is_kept("\n".join(daemon.log()).encode(), "the log")


@needs_root
def test_memory_after_a_broken_reload(vault, bench):
    """Files are read, and thrown away again."""
    daemon = vault.up()
    bench.replace(key="ecclient")
    daemon.await_line("^not reloaded", bench.reload())
    at_rest(vault, daemon)
    with open(bench.dir / "pki/key.pem", "r+") as f:
        f.truncate(120)
    daemon.await_line("^not reloaded", bench.reload())
    at_rest(vault, daemon)


@needs_root
def test_memory_of_an_unplugged_daemon(vault, bench):
    """The line goes while a key is on its way."""
    bench.sim(*vault.sim)
    bench.chip.fault('cmd AT+SYSMFG=2,"client_key" 1 unplug')
    daemon = bench.espatd(*vault.tunnels, options=["-v"])
    daemon.await_line("esp0: .*waiting for it")
    at_rest(vault, daemon)


def test_log_and_process(vault, bench):
    """From the first line to the last, with all that can go wrong in between."""
    bench.sim(*vault.sim)
    bench.chip.fault('cmd AT+SYSMFG=2,"client_key" 1 flip in 1')
    daemon = bench.espatd(*vault.tunnels, options=["-v"]).await_tunnels()
    vault.use()
    for name in "cmdline", "environ", "status":
        with open(f"/proc/{daemon.process.pid}/{name}", "rb") as f:
            assert vault.is_kept(f.read(), name)
    bench.replace(cert="ecclient", key="ecclient")
    seen = bench.reload()
    daemon.await_line("erased client_key", seen)
    bench.chip.fault('cmd AT+SYSMFG=1,"wss_key" 1 drop out 3')
    bench.chip.fault('cmd AT+SYSMFG=1,"client_key" 1 drop out 40')
    seen = daemon.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen, timeout=40)
    vault.use()
    # Broken files are spoken of.
    bench.replace(key="client")
    daemon.await_line("^not reloaded", bench.reload())
    assert daemon.end() == 0
    log = "\n".join(daemon.log()).encode()
    assert b"AT+SYSMFG=2" in log and b"AT+CWJAP" in log and vault.public.encode() in log
    assert vault.is_kept(log, "the log")
    # What it has read from the files and said to the chip was no secret of another make.
    said = "\n".join(bench.chip.log()).encode()
    assert {what for what, *_ in vault.secrets.found_in(said)}


def test_one_shot_actions(vault, bench):
    """What they say has no secret in it either."""
    bench.sim(*vault.sim)
    done = bench.provision(*vault.tunnels, options=["-v"])
    assert vault.is_kept(done.log.encode(), "the log")
    assert vault.is_kept(str(done.good()).encode(), "the line of JSON")
    bench.replace(cert="ecclient", key="ecclient")
    bench.provision().good()
    for options in (["--check"], ["--rollback", "identity:gateway"],
                    ["--adopt", "esp0=24:0a:c4:00:00:01"]):
        result = bench.run("-v", *options)
        assert result.returncode == 0
        assert vault.is_kept((result.stdout + result.stderr).encode(), options)


# ---- by the bus ----

class Callers:
    """Calls with secrets in them: what is answered has none, and afterwards the daemon has none."""

    def __init__(self, vault):
        pytest.importorskip("dbus")
        self.vault = vault
        self.bus = vault.bench.with_bus()

    def key(self, what, algorithm="RSA"):
        """A new private key, as the text that a caller has; @what is said if it is found."""
        dir = self.vault.bench.dir / "keys"
        path = dir / f"{secrets.token_hex(4)}.key"
        options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "EC" else []
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", algorithm, *options,
                        "-out", path], check=True)
        # The same in the form of the other that it is compared with.
        other = dir / "other-pkcs8.key"
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", algorithm, *options,
                        "-out", other], check=True)
        self.vault.secrets.add_key(what, path, other)
        return path.read_text()

    def line(self, what):
        """A secret that is a line."""
        text = secrets.token_hex(20)
        self.vault.secrets.add(what, text.encode())
        return text

    @staticmethod
    def handle(text):
        """What only the call itself has open."""
        from privatebus import fd
        handle = os.memfd_create("secret")
        os.write(handle, text.encode())
        try:
            return fd(handle)
        finally:
            os.close(handle)

    def call(self, error, call, *args, rest=None, rests=True, **how):
        """
        Answered with @error, or None if it is to succeed. @rest waits for what it leads to; with @rests
        the memory has to be free of secrets then.
        """
        from privatebus import BusError
        try:
            told, name = str(call(*args, **how)), None
        except BusError as failed:
            told, name = str(failed), failed.name
        assert name == error, told
        assert self.vault.is_kept(told.encode(), "the answer")
        # It answers before it is done with the call; not this one.
        self.bus.get("/org/espat1", "Manager")
        if rest:
            rest()
        if rests:
            at_rest(self.vault, self.vault.bench.daemon)
        self.look_around()

    def look_around(self):
        """Nothing that can be asked for tells it."""
        told = [self.bus.call("/org/espat1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
                self.bus.get("/org/espat1", "Manager"), self.bus.manager("ListIdentities"),
                self.bus.manager("ListAuthorities"), self.bus.device("Certificates", "List"),
                self.bus.device("Certificates", "Verify")]
        assert self.vault.public in str(told), "a host's name is not told, so nothing would be"
        assert self.vault.is_kept(str(told).encode(), "the bus")

    def logged(self):
        return "\n".join(self.vault.bench.daemon.log()).encode()


@pytest.fixture
def callers(vault):
    return Callers(vault)


def join(callers, error, ssid, text, **how):
    """Only the first line is a password. Whatever comes of it, the chip is in a network then."""
    import dbus
    daemon = callers.vault.bench.daemon
    seen = daemon.mark()

    def call():
        behind = callers.line("what is behind the Wi-Fi password")
        callers.bus.device("Wifi", "Join", "sha{sv}", ssid, callers.handle(f"{text}\n{behind}\n"),
                           dbus.Dictionary({}, signature="sv"), timeout=60)

    def rest():
        if error != "InvalidArgument":
            daemon.await_line(READY, seen)

    callers.call(error, call, rest=rest, **how)


def certificate(bench, name):
    return (bench.pki / f"{name}.pem").read_text()


@needs_root
def test_secrets_by_descriptor(vault, bench, callers):
    """Where they belong, be they good or not."""
    bus = callers.bus
    daemon = vault.up()
    bus.await_name()
    daemon.await_line(READY)
    public = certificate(bench, "ecclient")
    for error, text in (("BadKey", callers.key("identity's wrong key")),
                        ("BadKey", callers.key("identity's wrong EC key", "EC")),
                        ("BadKey", callers.key("broken key")[:900]),
                        (None, (bench.pki / "ecclient.key").read_text())):
        callers.call(error, bus.manager, "SetIdentity", "ssh", "gateway", public,
                     callers.handle(text), timeout=60)
    for error, text in (("BadKey", callers.key("NVS entry's broken key")[:900]),
                        (None, callers.key("NVS entry's RSA key of the bus")),
                        (None, callers.key("NVS entry's EC key of the bus", "EC"))):
        callers.call(error, bus.device, "Certificates", "Load", "suh", "mqtt_key", NO_SLOT,
                     callers.handle(text), timeout=60)
    for error, text in (("ChipRefused", callers.line("wrong Wi-Fi password")),
                        ("InvalidArgument", 3 * callers.line("long Wi-Fi password"))):
        join(callers, error, "vault", text)
    # This one has no file: it is needed until the network is not wanted any more.
    join(callers, None, "vault", vault.password, rests=False)
    assert Memory(daemon.process.pid).has(vault.password.encode())
    join(callers, None, "", "")
    vault.use()
    at_rest(vault, daemon)
    log = callers.logged()
    assert b"AT+CWJAP" in log and b"bus: SetIdentity" in log and b"bus: Join" in log
    assert vault.is_kept(log, "the log")
    # It was at work with them.
    said = "\n".join(bench.chip.log()).encode()
    assert {"wrong Wi-Fi password", "NVS entry's RSA key of the bus"} <= {
        what for piece, what in vault.secrets.pieces.items() if piece in said}


@needs_root
def test_secrets_where_none_belong(vault, bench, callers):
    """Refused, and not kept: others may have them by now, but not from us."""
    bus = callers.bus
    daemon = vault.up()
    bus.await_name()
    daemon.await_line(READY)
    public = certificate(bench, "ca")
    secret = "SecretInArgument"
    for text in callers.key("authority's key"), public + callers.key("key behind an authority"):
        callers.call(secret, bus.manager, "SetAuthority", "ss", "corp", text)
    callers.call(secret, bus.manager, "SetIdentity", "ssh", "gateway",
                 certificate(bench, "client") + callers.key("key behind a certificate"),
                 callers.handle(callers.key("key that is not read")))
    for namespace in "mqtt_key", "mqtt_ca":
        callers.call(secret, bus.device, "Certificates", "LoadPem", "sus", namespace, NO_SLOT,
                     callers.key(f"PEM for {namespace}"))
    # Also what is refused before anybody has looked for a key.
    invalid, no_call = "InvalidArgument", "org.freedesktop.DBus.Error.InvalidArgs"
    callers.call(invalid, bus.manager, "SetAuthority", "ss", "no name", callers.key("bad name's key"))
    callers.call(invalid, bus.manager, "SetIdentity", "ssh", "", callers.key("empty name's key"),
                 callers.handle(""))
    callers.call("BadCertificate", bus.manager, "SetAuthority", "ss", "corp",
                 60000 * "#" + callers.key("long file's key") + 10000 * "#")
    callers.call(invalid, bus.device, "Certificates", "LoadPem", "sus", "mqtt_key", 17,
                 callers.key("bad slot's key"))
    options = {"host": "broker.test", "port": 443}
    callers.call(invalid, bus.manager, "CreateTunnel", "sa{sv}", "more",
                 {**options, "psk": callers.line("PSK of the bus")})
    callers.call(invalid, bus.manager, "CreateTunnel", "sa{sv}", "more",
                 {**options, "psk": {"identity": "more", "key": callers.line("PSK in a group")}})
    callers.call(invalid, bus.manager, "CreateTunnel", "sa{sv}", "no name",
                 {**options, "psk": callers.line("bad name's PSK")})
    # Of another signature.
    callers.call(no_call, bus.manager, "SetIdentity", "sss", "gateway",
                 certificate(bench, "client"), callers.key("key that is a string"))
    callers.call(no_call, bus.device, "Wifi", "Join", "ss", "vault",
                 callers.line("Wi-Fi password that is a string"))
    vault.use()
    at_rest(vault, daemon)
    log = callers.logged()
    assert b"SecretInArgument" in log
    assert vault.is_kept(log, "the log")


# ---- Enterprise ----

@needs_root
def test_enterprise(bench, serve, pki, tmp_path):
    """The key of Enterprise Wi-Fi."""
    kept = Secrets()
    subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-out",
                    tmp_path / "other.key"], check=True)
    kept.add_key("identity's RSA key", pki / "client.key", tmp_path / "other.key")
    kept.without(public_windows(pki, "client", "ca", "server"))
    bench.wifi = {"ssid": "corp", "password_file": None, "enterprise": {
        "identity": "chip@corp", "credential": "gateway", "authority": "corp"}}
    daemon = bench.up(tunnel(serve(echo)), options=["-v"], sim=[
        "--with-eap", "--ssid", "corp", "--eap", "--eap-identity", "chip@corp"])
    assert works(daemon)
    assert bench.chip.commands('+SYSMFG=2,"wpa2_key"')
    memory = Memory(daemon.process.pid)
    assert memory.has(b"chip@corp")
    found = memory.find(kept)
    assert not found, "\n".join(map(str, found))
    assert not kept.found_in("\n".join(daemon.log()).encode())


# ---- the process ----

@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT])
def test_no_core_dump(bench, serve, how):
    def unlimited():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

    cwd = bench.dir / "cwd"
    cwd.mkdir()
    bench.sim()
    daemon = bench.espatd(tunnel(serve(echo)), how={"cwd": cwd, "preexec_fn": unlimited})
    daemon.await_tunnels()
    with open(f"/proc/{daemon.process.pid}/limits") as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.M)
    daemon.process.send_signal(how)
    _, status = os.waitpid(daemon.process.pid, 0)
    # It died of that, if no sanitizer has caught it, and dumped nothing.
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == how
    assert os.WIFSIGNALED(status) or how == signal.SIGSEGV
    assert not os.WCOREDUMP(status)
    assert not list(cwd.iterdir())


@pytest.mark.skipif(why_not_nobody() is not None, reason=str(why_not_nobody()))
def test_not_to_be_looked_into(bench):
    """Not even by other programs of the user that it runs as."""
    def environ_of(program):
        code = f"print(len(open('/proc/{program.process.pid}/environ', 'rb').read()))"
        return subprocess.run(as_nobody("/usr/bin/python3", "-c", code), capture_output=True,
                              text=True)

    bench.dir.chmod(0o777)
    (bench.dir / "espatd.conf").write_text(
        f'devices = ( {{ name = "esp0"; port = "{bench.dir}/tty"; }} );\n')
    daemon = Program(as_nobody(os.environ["ESPATD"], "-c", str(bench.dir / "espatd.conf"),
                               "--runtime-dir", str(bench.dir / "run"),
                               "--state-dir", str(bench.dir / "state")))
    bench.parts.append(daemon)
    daemon.await_line("waiting for it")
    refused = environ_of(daemon)
    assert refused.returncode != 0 and "Permission denied" in refused.stderr
    # Of one that does nothing against it the same user can.
    other = Program(as_nobody("sh", "-c", "echo here >&2; exec sleep 60"))
    bench.parts.append(other)
    other.await_line("here")
    assert environ_of(other).returncode == 0


@pytest.mark.parametrize("mode, who", [(0o644, "everybody"), (0o640, "its group")])
@pytest.mark.parametrize("what", ["key", "wifi", "psk", "raw"])
def test_file_that_others_can_read(vault, bench, what, mode, who):
    path = {"key": bench.dir / "pki/key.pem", "wifi": bench.dir / "vault.wifi",
            "psk": bench.dir / "text.psk", "raw": bench.dir / "raw"}[what]
    path.chmod(mode)
    (bench.dir / "espatd.conf").write_text(bench.config(*vault.tunnels))
    result = bench.run("--check")
    assert result.returncode == 0
    line, = [x for x in result.stderr.splitlines() if str(path) in x]
    assert f"can be read by {who} (mode {mode:04o}), expected mode 0600" in line
    path.chmod(0o600)
    assert str(path) not in bench.run("--check").stderr


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_of_the_state_folder(bench, serve, umask):
    """Nobody else reads a key there, whatever the umask is."""
    bench.own_files()
    bench.sim()
    daemon = bench.espatd(tunnel(serve(echo, client_ca="ca"), identity="gateway"),
                          how={"umask": umask}).await_tunnels()
    bench.replace(cert="ecclient", key="ecclient")
    daemon.await_line("identity gateway is generation 2 now", bench.reload())
    assert works(daemon)
    state = bench.dir / "state"
    modes = {str(x.relative_to(state)): stat.S_IMODE(x.lstat().st_mode) for x in state.rglob("*")}
    assert modes["material"] == 0o700
    files = [x for x in modes if x.startswith("material/")]
    assert len(files) == 3, files
    assert {modes[x] for x in files} == {0o600}
    keys = [x for x in state.rglob("*") if x.is_file() and b"PRIVATE KEY" in x.read_bytes()]
    assert len(keys) == 2 and all(x.parent == state / "material" for x in keys)
    assert stat.S_IMODE(state.stat().st_mode) & 0o022 == 0
