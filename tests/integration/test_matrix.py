# SPDX-License-Identifier: MIT
"""
Who is trusted: servers and client certificates of each kind, real servers, each firmware. Who is not
gets no byte and gives none, and one reason of a fixed set is told.
"""
from dataclasses import dataclass

import pytest

from bench import tunnel
from clients import refused
from firmwares import FIRMWARE, bench, bench_of_each, each_firmware  # noqa: F401 (bench: by name)
from fixtures import pki  # noqa: F401 (used by name)
from servers import Full, Nginx, Nobody, Openssl, TcpServer, Unknown
from tlsserver import TlsServer, tokens

WITH_CIPHERS = ["4.1", "4.2", "5.0"]  # AT+CIPSSLCCIPHER came with v4.1
NO_HOST, REFUSED, TIMEOUT = "no-such-host", "refused", "timeout"
UNTRUSTED, NO_MATERIAL, UNEXPLAINED = "not-trusted-or-handshake-failed", "no-material", "unexplained"

HOST = "broker.test"
LONG = "a-name-that-is-longer-than-what-the-chip-takes.and-on-it-goes." + HOST
HOSTS = (f"{HOST} 10.9.9.9\n{LONG} 10.9.9.9\nold.test 10.9.9.9\nnew.test fd00::2\nunanswered.test -\n"
         "10.9.9.9 127.0.0.1\nfd00::2 127.0.0.1\n")
KEY = "31c7e9a05b"
AES128 = "ECDHE-RSA-AES128-GCM-SHA256"

# nginx: a certificate (None: plain text) and more directives.
SITES = {cert: (cert,) for cert in (
    "server", "ecserver", "sanonly", "cnonly", "wild", "noip", "chained", "unchained",
    "expired", "future", "wrongname", "otherca", "selfsigned")}
SITES["asks"] = "server", "ssl_client_certificate {pki}/ca.pem", "ssl_verify_client optional"
SITES["aes128"] = "server", f"ssl_ciphers {AES128}"
SITES["plain"] = None,


def s_servers(pki):
    demands = ["-CAfile", pki / "ca.pem", "-Verify", "2", "-verify_return_error", "-tls1_2"]
    psk = ["-tls1_2", "-psk_identity", "gw", "-psk"]
    return {
        "demands": Openssl(pki, *demands),
        "tls13": Openssl(pki, "-tls1_3"),
        "alpn": Openssl(pki, "-tls1_2", "-alpn", "mqtt,x-amzn-mqtt-ca"),
        "psk": Openssl(pki, *psk, KEY.encode().hex(), cert=None),
        "psk-hex": Openssl(pki, *psk, KEY, "-psk_hint", "a hint", cert=None),
    }


@dataclass
class Row:
    server: str
    reason: str | None  # None: accepted
    seen: dict  # what the server must have seen, where it can tell
    firmware: list
    tunnel: dict


def row(server, reason=None, seen=None, firmware=None, **items):
    """A tunnel with @items to the server of that name, and what comes of it."""
    return Row(server, reason, seen or {}, firmware or FIRMWARE, items)


def psk(file, **items):
    return {"psk": {"identity": "gw", "file": file, **items}}


NAMED = {"sni": HOST, "subject": None, "alpn": None}
OURS = {"subject": "CN=device-0001"}
ROWS = {
    # servers that are trusted
    "good": row("server", seen=NAMED),
    "ec": row("ecserver", seen=NAMED),
    "san-only": row("sanonly", seen=NAMED),
    "cn-only": row("cnonly", seen=NAMED),
    "wildcard": row("wild", seen=NAMED),
    "intermediate": row("chained", seen=NAMED),
    "server-name": row("wrongname", server_name="wrong.test", seen={"sni": "wrong.test"}),
    "ip-san": row("server", host="127.0.0.1", seen={"sni": "127.0.0.1"}),
    "ip-host": row("noip", host="127.0.0.1", server_name=HOST, seen=NAMED),
    "long-host": row("server", host=LONG, server_name=HOST, seen=NAMED),
    # and that are not
    "expired": row("expired", UNTRUSTED),
    "not-yet-valid": row("future", UNTRUSTED),
    "wrong-name": row("wrongname", UNTRUSTED),
    "other-ca": row("otherca", UNTRUSTED),
    "self-signed": row("selfsigned", UNTRUSTED),
    "san-not-cn": row("sanonly", UNTRUSTED, server_name="internal-name"),
    "cn-of-another": row("cnonly", UNTRUSTED, server_name="other.test"),
    "wildcard-for-two": row("wild", UNTRUSTED, server_name="a.broker.test"),
    "no-intermediate": row("unchained", UNTRUSTED),
    "server-name-of-another": row("server", UNTRUSTED, server_name="other.test"),
    "no-ip-san": row("noip", UNTRUSTED, host="127.0.0.1"),
    "other-ip-san": row("server", UNTRUSTED, host="10.9.9.9"),
    "long-host-wrong-name": row("wrongname", UNTRUSTED, host=LONG, server_name=HOST),
    # nothing is verified
    **{f"insecure-{cert}": row(cert, insecure=True, seen=NAMED)
       for cert in ("expired", "future", "wrongname", "otherca", "selfsigned", "unchained")},
    "insecure-identity": row("asks", insecure=True, identity="gateway", seen=NAMED | OURS),
    # client certificates
    "client": row("demands", identity="gateway", seen={"subject": "CN = device-0001"}),
    "client-asked": row("asks", identity="gateway", seen=NAMED | OURS | {"verified": "SUCCESS"}),
    "client-chain": row("demands", identity="chain", seen={"subject": "CN = device-0001"}),
    "client-not-asked": row("server", identity="gateway", seen={"subject": None}),
    "client-none-asked": row("asks", seen={"subject": None, "verified": "NONE"}),
    "client-other-ca": row("demands", UNTRUSTED, identity="client2"),
    "client-none": row("demands", UNTRUSTED),
    "client-expired": row("demands", UNTRUSTED, identity="oldclient"),
    # pre-shared keys; what a chip that has one makes of a server with a certificate is not known
    "psk": row("psk", seen={"subject": None, "psk": True}, **psk("key")),
    "psk-hex": row("psk-hex", seen={"psk": True}, **psk("key", hex=True)),
    "psk-wrong": row("psk", UNTRUSTED, **psk("other-key")),
    "psk-hex-wrong": row("psk-hex", UNTRUSTED, **psk("other-key", hex=True)),
    "psk-no-hex": row("psk-hex", UNTRUSTED, **psk("key")),
    "certificate-for-a-psk": row("psk", UNTRUSTED),
    # ALPN; a server of another kind goes on without when there is nothing in common (capture 42)
    "alpn": row("alpn", alpn=["http/1.1", "mqtt"], seen={"alpn": "mqtt"}),
    "alpn-nginx": row("server", alpn=["mqtt", "http/1.1"], seen={"alpn": "http/1.1"}),
    "alpn-none": row("alpn", seen={"alpn": None}),
    "alpn-nothing-in-common": row("alpn", UNTRUSTED, alpn=["nomatch"]),
    "alpn-ignored": row("alpn-lenient", alpn=["nomatch"], seen=NAMED),
    # cipher suites
    "ciphers": row("server", firmware=WITH_CIPHERS, ciphers=["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
                   seen={"cipher": AES128}),
    "ciphers-number": row("server", firmware=WITH_CIPHERS, ciphers=[0xC02F], seen={"cipher": AES128}),
    "ciphers-nothing-in-common": row("aes128", UNTRUSTED, firmware=WITH_CIPHERS,
                                     ciphers=["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]),
    # no TLS 1.2, or none at all
    "tls13": row("tls13", UNTRUSTED),
    "plain-text": row("plain", UNTRUSTED),
    "hangs-up": row("hangs-up", UNTRUSTED),
    "silent": row("silent", TIMEOUT, host="10.9.9.9", server_name=HOST, connect_timeout=1),
    # nobody
    "no-such-host": row("unknown", NO_HOST, host="nobody.test"),
    "no-dns-answer": row("unknown", NO_HOST, host="unanswered.test"),
    "long-host-unknown": row("unknown", NO_HOST, host="x." + LONG, server_name=HOST),
    "refused": row("nobody", REFUSED),
    "refused-insecure": row("nobody", REFUSED, insecure=True),
    "no-answer": row("full", TIMEOUT, host="10.9.9.9", server_name=HOST, connect_timeout=1),
    # IPv6
    "ipv6": row("server", host="fd00::2", seen={"sni": "fd00::2"}),
    "ipv6-named": row("server", host="new.test", server_name=HOST, address_family="ipv6", seen=NAMED),
    "ipv6-client": row("demands", host="fd00::2", identity="gateway", seen={"subject": "CN = device-0001"}),
    "ipv6-insecure": row("otherca", host="fd00::2", server_name=HOST, insecure=True, seen=NAMED),
    "ipv6-no-ip-san": row("noip", UNTRUSTED, host="fd00::2"),
    "ipv6-wrong-name": row("wrongname", UNTRUSTED, host="new.test", server_name=HOST, address_family="ipv6"),
    "ipv6-other-ca": row("otherca", UNTRUSTED, host="fd00::2", server_name=HOST),
    "ipv6-silent": row("silent", TIMEOUT, host="fd00::2", server_name=HOST, connect_timeout=1),
    "ipv6-refused": row("nobody", REFUSED, host="fd00::2", server_name=HOST),
    "ipv6-only-name": row("unknown", NO_HOST, host="new.test", server_name=HOST),
    "ipv6-no-such-host": row("unknown", NO_HOST, host="old.test", server_name=HOST, address_family="ipv6"),
}
# Those of single tests.
OTHERS = {
    "first": row("nobody"),
    "second": row("changing"),
    "psk-gone": row("psk", **psk("gone")),
    "ciphers-unknown": row("unknown", ciphers=[0xC02F]),
}


@pytest.fixture(scope="module")
def servers(pki, tmp_path_factory):
    """By name, the same ones for all firmware."""
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), pki, SITES)
    made = {"changing": TlsServer(pki), "alpn-lenient": TlsServer(pki, alpn=["mqtt"]), **s_servers(pki),
            "hangs-up": TcpServer(b""), "silent": TcpServer(), "unknown": Unknown(),
            "nobody": Nobody(), "full": Full()}
    yield nginx.sites | made
    for server in nginx, *made.values():
        server.close()


@pytest.fixture(scope="module")
def benches(pki, servers):
    """One daemon with the tunnels of all rows."""
    def start(bench):
        (bench.dir / "hosts").write_text(HOSTS)
        for name, key in ("key", KEY), ("other-key", "31c7e9a05c"), ("gone", KEY):
            (bench.dir / name).write_text(key + "\n")
            (bench.dir / name).chmod(0o600)
        # What nobody answers takes the chip's own time, where it cannot be told another one.
        bench.sim("--firmware", bench.firmware, "--dns-timeout-ms", "300", "--connect-timeout-ms", "3000")
        tunnels = [tunnel(servers[r.server], name, **r.tunnel) for name, r in (ROWS | OTHERS).items()]
        bench.more["identities"] = [{"name": name, "cert": f"{pki}/{name}.pem", "key": f"{pki}/client.key"}
                                    for name in ("client2", "chain", "oldclient")]
        bench.espatd(*tunnels, options=["-v"]).await_tunnels()
        # From the first failure on +ERRNO is told, where there is one.
        assert refused(bench.daemon, "first")

    yield from bench_of_each(pki, start)


def with_rows(rows):
    """Of each firmware the rows that it has."""
    cases = [(firmware, name) for firmware in FIRMWARE for name, r in rows.items() if firmware in r.firmware]
    return pytest.mark.parametrize("bench, name", cases, indirect=["bench"],
                                   ids=["-".join(case) for case in cases])


def accepts(bench, server, name, seen):
    """Bytes go both ways, and the server saw what it should."""
    bench.await_idle()
    saw = server.visit(bench.daemon, name)
    assert {key: saw[key] for key in seen} == seen
    return saw


def refuses(bench, server, name):
    """No byte goes either way; the line that tells why."""
    bench.await_idle()
    daemon, seen, told = bench.daemon, server.mark(), bench.daemon.mark()
    assert refused(daemon, name, b"GET /%s HTTP/1.1\r\nHost: any\r\n\r\n" % next(tokens))
    line = daemon.await_line(f"^{name}: connection failed: ", told)
    server.await_refusal(seen)
    return line


@with_rows({name: r for name, r in ROWS.items() if r.reason is None})
def test_accepted(bench, servers, name):
    accepts(bench, servers[ROWS[name].server], name, ROWS[name].seen)


@with_rows({name: r for name, r in ROWS.items() if r.reason})
def test_refused(bench, servers, name):
    line = refuses(bench, servers[ROWS[name].server], name)
    assert line.endswith(f" [{ROWS[name].reason}]")


def links_of(bench, mark, count):
    """The links of the @count TLS connects, in their order."""
    bench.chip.await_line(r'^H>D AT\+CIPSTART=\d,"SSL"', mark, count)
    starts = bench.chip.commands("+CIPSTART=", mark)
    return [line.split("=")[1].split(",")[0] for line in starts if '"SSL"' in line]


@each_firmware()
def test_wrong_name_on_the_second_connection(bench, servers):
    """The chip forgets the name when a link closes: set once, it would be checked once."""
    bench.await_idle()
    server, mark = servers["changing"], bench.chip.mark()
    server.use("server")
    accepts(bench, server, "second", NAMED)
    server.use("wrongname")
    line = refuses(bench, server, "second")
    assert line.endswith(f"[{UNTRUSTED}]")
    # And that of an attempt that has failed is not in the way.
    server.use("server")
    accepts(bench, server, "second", NAMED)
    assert links_of(bench, mark, 3) == ["0", "0", "0"]
    # It is SNI if that is set, and else CN: none of another server may be left.
    for command in "+CIPSSLCSNI=", "+CIPSSLCCN=":
        assert bench.chip.commands(command, mark) == [f'AT{command}0,"{HOST}"'] * 3


@with_rows({name: r for name, r in ROWS.items() if name in ("alpn", "alpn-nothing-in-common", "ciphers")})
def test_others_do_not_get_what_one_has_set(bench, servers, name):
    """ALPN stays set when a connect fails, cipher suites always do (captures 40, 44)."""
    bench.await_idle()
    mark = bench.chip.mark()
    if ROWS[name].reason:
        refuses(bench, servers[ROWS[name].server], name)
    else:
        accepts(bench, servers[ROWS[name].server], name, ROWS[name].seen)
    accepts(bench, servers["alpn"], "alpn-none", {"alpn": None})
    assert "AES128" not in accepts(bench, servers["server"], "good", NAMED)["cipher"]
    assert links_of(bench, mark, 3) == ["0", "0", "0"]


@each_firmware(["3.2"])
def test_ciphers_that_the_firmware_cannot_be_told(bench, servers):
    line = refuses(bench, servers["unknown"], "ciphers-unknown")
    assert line.endswith(f"this firmware has no AT+CIPSSLCCIPHER for its `ciphers` [{UNEXPLAINED}]")


@each_firmware()
def test_key_that_is_gone(bench, servers):
    (bench.dir / "gone").rename(bench.dir / "away")
    assert refused(bench.daemon, "psk-gone")
    bench.daemon.await_line(rf"^psk-gone: connection failed: .* \[{NO_MATERIAL}\]")
    (bench.dir / "away").rename(bench.dir / "gone")
    accepts(bench, servers["psk"], "psk-gone", {"psk": True})
