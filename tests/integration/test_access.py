# SPDX-License-Identifier: MIT
"""Who may connect: entries of the ACL, and users and groups that are asked for at the door."""
import os
import struct

import pytest

from bench import tunnel
from clients import works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from strangers import connect_as, needs_root, open_up

pytestmark = needs_root

ALICE, BOB, STAFF = 60001, 60002, 60010


@pytest.fixture
def acls(bench):
    """The folder's file system has them."""
    # version 2; the owner rwx, group and others --x
    entries = struct.pack("<I" + 3 * "HHI", 2, 1, 7, 0xffffffff, 4, 1, 0xffffffff, 0x20, 1, 0xffffffff)
    try:
        os.setxattr(bench.dir, "system.posix_acl_access", entries)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    open_up(bench)


def test_acl_users(bench, serve, acls):
    daemon = bench.up(tunnel(serve(), mode="0600", acl_users=[ALICE]))
    assert connect_as(daemon.socket_path(), ALICE) == "served"
    assert connect_as(daemon.socket_path(), BOB) == "denied"


def test_acl_groups(bench, serve, acls):
    daemon = bench.up(tunnel(serve(), mode="0600", acl_groups=[STAFF]))
    assert connect_as(daemon.socket_path(), ALICE, groups=[STAFF]) == "served"
    assert connect_as(daemon.socket_path(), ALICE, gid=STAFF) == "served"
    assert connect_as(daemon.socket_path(), ALICE) == "denied"


def test_allow_uids(bench, serve):
    open_up(bench)
    daemon = bench.up(tunnel(serve(), mode="0666", allow_uids=[ALICE]))
    assert connect_as(daemon.socket_path(), ALICE) == "served"
    assert daemon.matching("refused-user") == []
    assert connect_as(daemon.socket_path(), BOB) == "closed"
    daemon.await_line(rf"^broker: a client was refused: user {BOB}, .*\[refused-user\]")
    # root is no exception; nor does the log grow with those who try
    assert connect_as(daemon.socket_path(), 0, gid=0) == "closed"
    assert connect_as(daemon.socket_path(), ALICE) == "served"
    assert len(daemon.matching("refused-user")) == 1
    assert daemon.end() == 0
    assert daemon.matching(r"1 more clients were refused.*\[refused-user\]")


def test_allow_gids(bench, serve):
    open_up(bench)
    daemon = bench.up(tunnel(serve(), mode="0666", allow_gids=[STAFF], allow_uids=[0]))
    assert connect_as(daemon.socket_path(), ALICE, groups=[1, STAFF]) == "served"
    assert connect_as(daemon.socket_path(), ALICE, gid=STAFF) == "served"
    assert connect_as(daemon.socket_path(), ALICE, groups=[1, STAFF + 1]) == "closed"
    assert connect_as(daemon.socket_path(), STAFF) == "closed"
    assert works(daemon)


def test_user_without_a_number_is_nobody(bench, serve):
    open_up(bench)
    daemon = bench.up(tunnel(serve(), mode="0666", allow_uids=[65534], allow_gids=[STAFF]))
    assert connect_as(daemon.socket_path(), 65534, groups=[STAFF]) == "closed"
    assert connect_as(daemon.socket_path(), ALICE, groups=[STAFF]) == "served"
