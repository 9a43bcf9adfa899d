# SPDX-License-Identifier: MIT
"""Bad configurations are found without a chip, told in one line each, and never reach one."""
import os
import re
import shutil
import subprocess

import pytest

from bench import tunnel
from fixtures import bench, pki  # noqa: F401 (used by name)

GOOD = """\
devices = (
  { name = "esp0"; port = "@DIR@/tty"; baud = 115200; }
);
authorities = (
  { name = "corp"; file = "@PKI@/ca.pem"; }
);
identities = (
  { name = "gateway"; cert = "@PKI@/client.pem"; key = "@PKI@/client.key"; }
);
tunnels = (
  { name = "one"; device = "esp0"; host = "a.test"; port = 8883; authority = "corp"; identity = "gateway"; },
  { name = "two"; device = "esp0"; host = "b.test"; port = 8884; authority = "corp"; }
);
"""
# What is put instead of what, and what the complaint, at the line where that stands, has to say.
CASES = {
    "unknown-key-of-the-file": ("authorities = (", "colour = 1; authorities = (", "unknown key `colour`.*expected"),
    "unknown-key-of-a-device": ("baud = 115200", "speed = 1", "unknown key `speed` .*expected one of: .*baud"),
    "unknown-key-of-a-tunnel": ("port = 8883;", "port = 8883; prot = 1;", "unknown key `prot`.*expected one of"),
    "string-for-a-number": ("8883", '"8883"', "`port` is a string, expected an integer"),
    "number-for-a-string": ('"a.test"', "1", "`host` is an integer, expected a string"),
    "out-of-range": ("8883", "65536", "`port` is 65536, expected an integer from 1 to 65535"),
    "syntax": ("baud = 115200", "baud = =", "syntax error"),
    "no-host": ('host = "a.test"; ', "", "no `host` in tunnel `one`, expected"),
    "no-ca-file": ("/ca.pem", "/nowhere.pem", r"nowhere\.pem.*(No such|no such|not there)"),
    "no-cert-file": ("/client.pem", "/nowhere.pem", r"nowhere\.pem"),
    "no-key-file": ("/client.key", "/nowhere.key", r"nowhere\.key"),
    "folder-for-a-file": ("/ca.pem", "/", "directory|folder|regular file"),
    "other-key": ("/client.key", "/ecclient.key", "does not belong to the certificate"),
    "expired-identity": ("/client.pem", "/oldclient.pem", "expired on .* expected"),
    "expired-authority": ("/ca.pem", "/oldca.pem", "expired on .* expected"),
    "future-authority": ("/ca.pem", "/newca.pem", "not yet valid.* expected"),
    "future-identity": ("/client.pem", "/newclient.pem", "not yet valid.* expected"),
    "key-as-authority": ("/ca.pem", "/ca.key", "private key"),
    "server-as-authority": ("/ca.pem", "/server.pem", "CA"),
    "duplicate-tunnel": ('"two"', '"one"', "second tunnel with the name `one`.*line 11"),
    "name-with-slash": ('"two"', '"../two"', r"`name` is \"\.\./two\", expected"),
    "name-empty": ('"two"', '""', '`name` is "", expected'),
    "name-with-space": ('"two"', '"t wo"', '`name` is "t wo", expected'),
    "host-with-quote": ('"a.test"', r'"a\".test"', "`host` is .*expected"),
    "no-authority": (' authority = "corp"; }', " }", "authority.*insecure|insecure.*authority"),
    "authority-and-insecure": ('authority = "corp"; }', 'authority = "corp"; insecure = true; }', "insecure"),
    "unknown-authority": ('authority = "corp"; }', 'authority = "cprp"; }', "cprp.*corp"),
    "unknown-identity": ('identity = "gateway"', 'identity = "gate"', "gate.*gateway"),
    "unknown-device": ('device = "esp0"; host = "a', 'device = "esp9"; host = "a', "esp9.*esp0"),
}


@pytest.fixture(scope="session")
def odd_pki(pki):
    """A CA and a client certificate of other times: mkpki needs its own CAs to be valid."""
    (pki / "index").touch()
    (pki / "odd.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {pki}/index\nnew_certs_dir = {pki}\nserial = {pki}/odd.serial\ndefault_md = sha256\n"
        "policy = p\nunique_subject = no\nx509_extensions = ca_ext\n[p]\ncommonName = supplied\n"
        "[ca_ext]\nbasicConstraints = critical,CA:TRUE\n[cli_ext]\nbasicConstraints = CA:FALSE\n")

    def make(name, key, start, end, *how):
        subprocess.run(["openssl", "req", "-new", "-key", pki / f"{key}.key", "-subj", f"/CN={name}",
                        "-out", pki / "odd.csr"], check=True, capture_output=True)
        subprocess.run(["openssl", "ca", "-batch", "-config", pki / "odd.cnf", "-rand_serial", "-notext",
                        "-in", pki / "odd.csr", "-startdate", start, "-enddate", end,
                        "-out", pki / f"{name}.pem", *how], check=True, capture_output=True)

    old, new = ("20200101000000Z", "20210101000000Z"), ("20900101000000Z", "20910101000000Z")
    make("oldca", "ca", *old, "-selfsign", "-keyfile", pki / "ca.key")
    make("newca", "ca", *new, "-selfsign", "-keyfile", pki / "ca.key")
    make("newclient", "client", *new, "-cert", pki / "ca.pem", "-keyfile", pki / "ca.key", "-extensions", "cli_ext")
    return pki


def text_of(bench, old="", new=""):
    assert old in GOOD
    return GOOD.replace(old, new, 1).replace("@DIR@", str(bench.dir)).replace("@PKI@", str(bench.pki))


def check(bench, text, *options):
    path = bench.dir / "espatd.conf"
    path.write_text(text)
    return subprocess.run([os.environ["ESPATD"], "-c", path, "--bus", "none", "--runtime-dir", bench.dir / "run",
                           "--state-dir", bench.dir / "state", *options], capture_output=True, text=True, timeout=20)


def line_of(old):
    return GOOD[:GOOD.index(old)].count("\n") + 1


def complaints(result):
    return [x for x in result.stderr.splitlines() if re.search(r"espatd\.conf:\d+: ", x)]


def test_good_one(bench):
    result = check(bench, text_of(bench), "--check")
    assert result.returncode == 0 and not complaints(result), result.stderr
    assert not (bench.dir / "run").exists() and not (bench.dir / "state").exists()


@pytest.mark.parametrize("case", CASES)
def test_bad_one(bench, odd_pki, case):
    old, new, what = CASES[case]
    result = check(bench, text_of(bench, old, new), "--check")
    assert result.returncode == 78, result.stderr
    lines = complaints(result)
    assert len(lines) == 1, result.stderr
    assert re.search(rf"espatd\.conf:{line_of(old)}: .*({what})", lines[0]), lines[0]


def test_all_at_once(bench):
    text = text_of(bench, "8883", "0").replace("8884", '"x"').replace("baud", "bauds")
    result = check(bench, text, "--check")
    assert result.returncode == 78
    found = sorted(int(re.search(r"espatd\.conf:(\d+): ", x)[1]) for x in complaints(result))
    assert found == [2, 11, 12], result.stderr


def test_no_such_configuration(bench):
    result = subprocess.run([os.environ["ESPATD"], "-c", bench.dir / "none.conf", "--check"],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 78
    assert re.search(r"none\.conf.*no such file, expected", result.stderr), result.stderr


def test_key_that_others_can_read(bench):
    """Not wrong enough to refuse, but it is said."""
    key = bench.dir / "open.key"
    shutil.copyfile(bench.pki / "client.key", key)
    key.chmod(0o644)
    text = text_of(bench).replace(f"{bench.pki}/client.key", str(key))
    result = check(bench, text, "--check")
    assert result.returncode == 0, result.stderr
    assert re.search(rf"espatd\.conf:{line_of('gateway')}: .*open\.key", result.stderr), result.stderr
    key.chmod(0o600)
    assert "open.key" not in check(bench, text, "--check").stderr


def test_nothing_reaches_the_chip(bench, odd_pki):
    chip = bench.sim()
    for case in "unknown-key-of-a-tunnel", "no-authority", "other-key", "no-ca-file":
        old, new, _ = CASES[case]
        result = check(bench, text_of(bench, old, new))
        assert result.returncode == 78, (case, result.stderr)
    assert check(bench, text_of(bench), "--check").returncode == 0
    assert chip.end() == 0
    assert not chip.matching("^H>D")
    # And with nothing wrong, something does: the log would show it.
    chip = bench.sim()
    daemon = bench.espatd(tunnel(1))
    chip.await_line("^H>D")
    assert daemon.end() == 0
