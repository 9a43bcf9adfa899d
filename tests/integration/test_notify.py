# SPDX-License-Identifier: MIT
"""What systemd is told in words, of as many chips as there may be."""
import os
import re
import socket

import pytest

from fixtures import bench, pki  # noqa: F401 (used by name)
from harness import DEADLINE


@pytest.fixture
def manager(bench):
    """The socket that systemd would have, with an @ of the abstract namespace as it may be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(f"\0{bench.dir}/notify")
        s.settimeout(DEADLINE)
        yield s


def devices(bench, ports):
    return "devices = (" + ", ".join(
        f'{{ name = "chip{i}"; port = "{port}"; }}' for i, port in enumerate(ports)) + ");\n"


def start(bench, ports):
    return bench.espatd(text=devices(bench, ports),
                        how={"env": {**os.environ, "NOTIFY_SOCKET": f"@{bench.dir}/notify"}})


def await_status(manager, pattern):
    while True:
        message = manager.recv(65536)
        assert len(message) < 4096, "more than systemd takes"
        name, _, status = message.decode().partition("=")
        if name == "STATUS":
            assert "\n" not in status
            if re.search(pattern, status):
                return status


def test_all_of_them(bench, manager):
    """What has no room is counted, and a character is never cut in two (the message would not decode)."""
    start(bench, [f"{bench.dir}/h\u00f4te-{i}" for i in range(64)])
    status = await_status(manager, "chip0: there is no .*/h\u00f4te-0")
    told = re.findall(r"chip(\d+): there is no", status)
    assert told == [str(i) for i in range(len(told))]
    end = "" if len(told) == 64 else f"; and {64 - len(told)} more, 0 of them ready"
    assert status.endswith(f"/h\u00f4te-{len(told) - 1}{end}")


def test_many_more(bench, manager):
    long = "\u00e9" * 40
    start(bench, [f"{bench.dir}/h\u00f4te-{i}-{long}" for i in range(64)])
    status = await_status(manager, "chip0: there is no ")
    told = status.count("there is no ")
    assert 10 < told < 64 and status.endswith(f"\u00e9; and {64 - told} more, 0 of them ready")


def test_port_of_any_name(bench, manager):
    """What a terminal would obey is cleaned, as in the log; a line end is refused by the configuration."""
    start(bench, [f"{bench.dir}/x\u009b31m"])
    assert "/x??31m" in await_status(manager, "there is no ")
