# SPDX-License-Identifier: MIT
"""The main job: an unmodified program, a server that wants a certificate, the chip in between."""
import subprocess

from bench import tunnel
from clients import exchange, refused, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import PASSWORD
from tlsserver import echo


def http(conn):
    while b"\r\n\r\n" not in conn.received:
        conn.read()
    conn.tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")


def test_curl_with_client_certificate(bench, serve):
    server = serve(http, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    result = subprocess.run(["curl", "-sS", "--max-time", "20", "--unix-socket",
                             daemon.socket_path(), "http://broker.test/"],
                            capture_output=True, check=True)
    assert result.stdout == b"hello\n"
    conn = server.connection()
    assert conn.peer["subject"] == ((("commonName", "device-0001"),),)
    assert conn.sni == "broker.test"
    assert conn.received.startswith(b"GET / HTTP/1.1\r\nHost: broker.test\r\n")


def test_without_identity_the_server_refuses(bench, serve):
    daemon = bench.up(tunnel(serve(echo, client_ca="ca")))
    assert refused(daemon)


def test_nothing_is_written_twice(bench, serve):
    there = tunnel(serve(), identity="gateway")
    daemon = bench.up(there)
    assert len(bench.chip.commands("+SYSMFG=2,")) == 4  # with the record of what is ours
    assert works(daemon)
    assert daemon.end() == 0
    seen = bench.chip.mark()
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon)
    assert bench.chip.commands("+SYSMFG=1,", seen)
    assert not bench.chip.commands("+SYSMFG=2,", seen)
    assert not bench.chip.commands("+SYSMFG=0,", seen)


def test_chip_keeps_certificates_over_power_off(bench, serve):
    there = tunnel(serve(client_ca="ca"), identity="gateway")
    bench.up(there).end()
    bench.chip.end()
    daemon = bench.up(there)
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=2,")


def test_name_is_set_before_every_connect(bench, serve):
    daemon = bench.up(tunnel(serve(), "one"), tunnel(serve(), "two", server_name="127.0.0.1"))
    for name in "one", "two", "one", "one":
        assert works(daemon, name)
    fresh, names = {}, []
    for command in bench.chip.commands("+CIP"):
        verb, _, rest = command.partition("=")
        link, _, value = rest.partition(",")
        if verb in ("AT+CIPSSLCSNI", "AT+CIPSSLCCN"):
            fresh.setdefault(link, {})[verb] = value
        elif verb == "AT+CIPSTART":
            assert set(fresh.get(link, ())) == {"AT+CIPSSLCSNI", "AT+CIPSSLCCN"}, command
            names.append(set(fresh.pop(link).values()))
    assert names == [{'"broker.test"'}, {'"127.0.0.1"'}, {'"broker.test"'}, {'"broker.test"'}]


def test_wrong_name_is_refused_on_the_second_connection_too(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server))
    assert works(daemon)
    server.use("wrongname")
    assert refused(daemon)
    assert len(server.handshakes()) == 2
    server.use("server")
    assert works(daemon)


def test_insecure_takes_any_server(bench, serve):
    server = serve(cert="otherca")
    daemon = bench.up(tunnel(server, "open", insecure=True), tunnel(server, "strict"))
    assert works(daemon, "open")
    assert refused(daemon, "strict")
    # The trust of one tunnel does not rub off on the next, whatever the order.
    assert works(daemon, "open")
    assert refused(daemon, "strict")
    assert daemon.matching("open: listening .*INSECURE")
    assert not daemon.matching("strict: listening .*INSECURE")


def test_log_keeps_secrets_and_payload(bench, serve):
    def answer(conn):
        conn.read()
        conn.tls.sendall(b"from-the-server")
    server = serve(answer, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"), options=["-v"])
    with daemon.connect() as s:
        assert exchange(s, b"from-the-client") == b"from-the-server"
    daemon.await_line("connection 1 ended")
    log = "\n".join(daemon.log())
    assert "AT+CIPSEND=" in log and "AT+SYSMFG=2" in log  # traffic is logged, all the same
    lines = (bench.pki / "client.key").read_text().split()
    secrets = [PASSWORD, "PRIVATE KEY", "from-the-client", "from-the-server"]
    for secret in secrets + [x for x in lines if len(x) > 20]:
        assert secret not in log


def test_changed_certificate_is_rewritten(bench, serve):
    server = serve(client_ca="ca")
    there = tunnel(server, identity="gateway")
    assert bench.up(there).end() == 0
    seen = bench.chip.mark()
    text = bench.config(there).replace("/client.", "/ecclient.")
    daemon = bench.espatd(text=text).await_tunnels()
    assert works(daemon)
    assert server.connection().peer["subject"] == ((("commonName", "device-0002"),),)
    written = bench.chip.commands("+SYSMFG=2,", seen)
    material = [x for x in written if '"espatd"' not in x]
    assert len(material) == 2 and not any("client_ca" in x for x in material)
    # Recorded before (in the copy first) and after, and what was there before is gone.
    assert len(written) == 5
    assert len(bench.chip.commands("+SYSMFG=0,", seen)) == 2
