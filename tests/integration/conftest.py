# SPDX-License-Identifier: MIT
import os
import pathlib
import subprocess

import pytest

import bench as benches
import tlsserver

TOP = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    for name in "ESPATD", "ESPAT_SIM":
        if not os.environ.get(name):
            pytest.exit(f"{name} must name a binary", returncode=2)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Made by certs/mkpki for broker.test; see there for what each file is."""
    dir = pathlib.Path(tmp_path_factory.mktemp("pki"))
    subprocess.run([TOP / "certs/mkpki", "--host", "broker.test", dir], check=True,
                   stdout=subprocess.DEVNULL)
    return dir


@pytest.fixture
def bench(pki):
    bench = benches.Bench(pki)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def serve(bench):
    """serve(handler, cert=...): a TLS server."""
    def make(*args, **items):
        server = tlsserver.TlsServer(bench.pki, *args, **items)
        bench.parts.append(server)
        return server
    return make
