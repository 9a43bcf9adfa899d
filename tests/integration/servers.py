# SPDX-License-Identifier: MIT
"""
`openssl s_server` and nginx, which tell what they saw of a client, and servers that speak no TLS.

Like TlsServer they have mark(), await_refusal(mark) for what was tried behind it and must have failed,
and, if they are any good, visit(daemon, tunnel) for a whole connection through that tunnel.
"""
import re
import socket
import threading

from clients import exchange, read_all
from harness import DEADLINE, Program
from tlsserver import tokens


class Openssl(Program):
    """`openssl s_server`: one connection at a time, each line comes back reversed."""

    def __init__(self, pki, *options, cert="server"):
        shown = ["-nocert"] if cert is None else [
            "-cert", pki / f"{cert}.pem", "-key", pki / "server.key"]
        # Its output is one stream, by lines.
        super().__init__(["sh", "-c", 'exec stdbuf -oL "$@" 1>&2', "sh", "openssl", "s_server", "-rev",
                          "-accept", "127.0.0.1:0", *shown, *options])
        self.name = "s_server"
        self.port = int(self.await_line(r"^ACCEPT .*:\d+$").rsplit(":", 1)[1])

    def visit(self, daemon, tunnel):
        """What it saw: subject (of the client's certificate), alpn, cipher; an absent one is None."""
        seen, token = self.mark(), next(tokens)
        with daemon.connect(tunnel) as s:
            assert exchange(s, token + b"\n") == token[::-1] + b"\n"
        self.await_line("^CONNECTION CLOSED", seen)
        lines = self.log()[seen:]
        assert lines.count("CONNECTION ESTABLISHED") == 1, "\n".join(lines)

        def told(pattern):
            found = [m for m in (re.match(pattern, line) for line in lines) if m]
            return found[0][1] if found else None

        # A PSK that another identity was named for is taken all the same.
        assert not told("(PSK warning)"), "\n".join(lines)
        return {"subject": told("Peer certificate: (.*)"), "alpn": told("ALPN protocols selected: (.*)"),
                "cipher": told("Ciphersuite: (.*)"), "psk": bool(told("Ciphersuite: .*(PSK)"))}

    def await_refusal(self, mark):
        # In the order in which they came: a connection that was established would be the first.
        self.await_line("^CONNECTION FAILURE", mark)
        lines = self.log()[mark:]
        assert "CONNECTION ESTABLISHED" not in lines, "\n".join(lines)

    def close(self):
        self.kill()


class Nginx(Program):
    """nginx with a server for each of @sites: name to certificate (None: plain text) and directives."""

    def __init__(self, dir, pki, sites):
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in sites]
        ports = [s.getsockname()[1] for s in listeners]
        blocks = [self._block(pki, port, *site) for port, site in zip(ports, sites.values())]
        temp = "".join(f"{x}_temp_path {dir}/{x};\n"
                       for x in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        # What it saw is told in the answer, and the answered request in the log.
        (dir / "nginx.conf").write_text(
            f"daemon off;\npid {dir}/pid;\nerror_log stderr info;\nevents {{ }}\n"
            f"http {{\n{temp}"
            "log_format request 'request to $server_port: $status \"$request\"';\n"
            f"access_log /dev/stderr request;\n{''.join(blocks)}}}\n")
        for s in listeners:
            s.set_inheritable(True)
        fds = [s.fileno() for s in listeners]
        # It listens already: so it is given its sockets as if by an older nginx.
        super().__init__(["nginx", "-p", dir, "-e", "stderr", "-c", dir / "nginx.conf"], pass_fds=fds,
                         env={"NGINX": "".join(f"{fd};" for fd in fds), "PATH": "/usr/sbin:/usr/bin"})
        for s in listeners:
            s.close()
        self.sites = {name: Site(self, port) for name, port in zip(sites, ports)}

    def close(self):
        self.end()  # with its worker

    @staticmethod
    def _block(pki, port, cert, *directives):
        tls = [f"ssl_certificate {pki}/{cert}.pem", "ssl_protocols TLSv1.2", "ssl_certificate_key "
               f"{pki}/{cert if (pki / f'{cert}.key').exists() else 'server'}.key"] if cert else []
        saw = ("uri=$request_uri\\nsni=$ssl_server_name\\nsubject=$ssl_client_s_dn\\n"
               "verified=$ssl_client_verify\\nalpn=$ssl_alpn_protocol\\ncipher=$ssl_cipher\\n")
        directives = [x.format(pki=pki) for x in directives]
        lines = [f"listen 127.0.0.1:{port}{' ssl' if cert else ''}", *tls, *directives,
                 f'location / {{ return 200 "{saw}"; }}']
        return "server {\n" + "".join(f"\t{x}{'' if x.endswith('}') else ';'}\n" for x in lines) + "}\n"


class Site:
    """One of nginx's servers."""

    def __init__(self, nginx, port):
        self.nginx = nginx
        self.port = port

    def mark(self):
        return self.nginx.mark()

    def visit(self, daemon, tunnel):
        """What it saw: sni, subject, alpn, cipher, ...; an absent one is None."""
        token = next(tokens)
        with daemon.connect(tunnel) as s:
            s.sendall(b"GET /%s HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n" % token)
            answer = read_all(s).decode()
        head, body = answer.split("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 "), answer
        saw = dict(line.split("=", 1) for line in body.splitlines())
        assert saw.pop("uri") == "/" + token.decode()
        return {key: value or None for key, value in saw.items()}

    def await_refusal(self, mark):
        # A request of the same connection would be told first. Plain text takes a handshake for one.
        self.nginx.await_line(rf"request to {self.port}: |while SSL handshaking.*:{self.port}$", mark)
        requests = self.nginx.matching(rf'request to {self.port}: \d+ "(?!\\x16)', mark)
        assert not requests, requests


class TcpServer:
    """
    Speaks no TLS: says @answer to the first bytes of each connection, unless `go` is cleared, and
    closes it; None: is silent.
    """

    def __init__(self, answer=None):
        self.answer = answer
        self.go = threading.Event()
        self.go.set()
        self.changed = threading.Condition()
        self.connections = []  # for each one what it has sent
        self.ended = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections.append(bytearray())
                received = self.connections[-1]
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(raw, received), daemon=True).start()

    def _serve(self, raw, received):
        with raw:
            try:
                while data := raw.recv(65536):
                    with self.changed:
                        received += data
                        self.changed.notify_all()
                    if self.answer is not None:
                        self.go.wait(DEADLINE)
                        raw.sendall(self.answer)
                        break
            except OSError:
                pass
        with self.changed:
            self.ended += 1
            self.changed.notify_all()

    def mark(self):
        with self.changed:
            return len(self.connections)

    def await_hello(self, mark=0):
        """A handshake has begun, behind @mark."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: any(x[:1] == b"\x16" for x in self.connections[mark:]), DEADLINE)

    def settled(self, mark=0):
        """What each connection behind @mark has sent, when all have ended."""
        token = next(tokens)
        # They are accepted in their order: what was there is known when this one is.
        with socket.create_connection(("127.0.0.1", self.port)) as s, self.changed:
            s.sendall(token)
            s.shutdown(socket.SHUT_WR)
            assert self.changed.wait_for(lambda: token in self.connections and
                                         self.ended == len(self.connections), DEADLINE), self.connections
            return [bytes(x) for x in self.connections[mark:] if not x.startswith(b"token-")]

    def await_refusal(self, mark):
        """A handshake began, and at most one probe came behind it."""
        hello, *probes = self.settled(mark)
        assert hello[:1] == b"\x16" and probes in ([], [b""])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # or accept() goes on
        self.listener.close()


class Unknown(TcpServer):
    """Who must not be found."""

    def await_refusal(self, mark):
        assert self.settled(mark) == []


class Nobody:
    """A port that is taken, and that nobody listens on."""

    def __init__(self):
        self.sockets = [socket.socket()]
        self.sockets[0].bind(("127.0.0.1", 0))
        self.port = self.sockets[0].getsockname()[1]

    def mark(self):
        return 0

    def await_refusal(self, mark):
        pass

    def close(self):
        for s in self.sockets:
            s.close()


class Full(Nobody):
    """A port whose queue is full: whoever comes gets no answer at all."""

    def __init__(self):
        super().__init__()
        self.sockets[0].listen(0)
        self.sockets.append(socket.create_connection(("127.0.0.1", self.port), DEADLINE))
