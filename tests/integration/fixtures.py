# SPDX-License-Identifier: MIT
"""What a test file imports to have a bench."""
import pathlib
import subprocess

import pytest

import tlsserver
from bench import Bench

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Made by certs/mkpki for broker.test; see there for what each file is. `both` is ca and ca2."""
    dir = pathlib.Path(tmp_path_factory.mktemp("pki"))
    subprocess.run([TOP / "certs/mkpki", "--host", "broker.test", "--host", "fd00::2", dir],
                   check=True, stdout=subprocess.DEVNULL)
    (dir / "both.pem").write_text((dir / "ca.pem").read_text() + (dir / "ca2.pem").read_text())
    return dir


@pytest.fixture
def bench(pki):
    made = Bench(pki)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def serve(bench):
    """serve(handler, cert=...): a TLS server."""
    def make(*args, **items):
        server = tlsserver.TlsServer(bench.pki, *args, **items)
        bench.parts.append(server)
        return server
    return make
