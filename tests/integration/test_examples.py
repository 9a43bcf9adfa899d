# SPDX-License-Identifier: MIT
"""The examples do what they say."""
import configparser
import os
import shutil
import subprocess
import sys

import pytest

from bench import tunnel
from fixtures import TOP, bench, pki, serve  # noqa: F401 (used by name)

PAGE = b"<h1>through the chip</h1>\n"


def web(conn):
    """One request, one page."""
    while b"\r\n\r\n" not in conn.received and conn.read():
        pass
    conn.tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)


@pytest.fixture(scope="module")
def client_in_c(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("examples") / "client"
    subprocess.run([compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{TOP}/include", "-o", program,
                    TOP / "examples/client.c"], check=True)
    return [program]


@pytest.fixture(scope="module")
def client_in_python():
    return [sys.executable, "-B", TOP / "examples/client.py"]


@pytest.mark.parametrize("language", ["c", "python"])
def test_client(bench, serve, request, language):
    client = request.getfixturevalue(f"client_in_{language}")
    server = serve(web)
    daemon = bench.up(tunnel(server))
    done = subprocess.run([*client, daemon.socket_path(), "broker.test"], capture_output=True, timeout=30)
    assert done.returncode == 0 and done.stdout.endswith(PAGE), done
    assert b"Host: broker.test\r\n" in server.connection(0).received
    # And it says so where it does not work.
    server.use("otherca")
    done = subprocess.run([*client, daemon.socket_path(), "broker.test"], capture_output=True, timeout=30)
    assert done.returncode == 1 and b"see `espatctl tunnels`" in done.stderr, done
    done = subprocess.run([*client, "/nowhere/x.sock", "h"], capture_output=True, timeout=30)
    assert done.returncode == 1 and done.stderr, done
    assert subprocess.run(client, capture_output=True, timeout=30).returncode != 0


def test_socket_unit():
    """What espatd needs to know of it is in it."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(TOP / "examples/espat-example.socket")
    assert unit["Socket"]["FileDescriptorName"] == "example" and unit["Socket"]["Service"] == "espatd.service"
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                               TOP / "examples/espat-example.socket"], capture_output=True, text=True, timeout=30)
        assert not [x for x in done.stderr.splitlines() if "espat-example.socket" in x and "espatd.service" not in x]
