# SPDX-License-Identifier: MIT
"""Keys that are handed over by LoadCredential=, and what an administrator does in a shell without them."""
import pytest

from bench import tunnel
from clients import refused, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo

RELOADED = "^reloaded the configuration"
UNSET = "CREDENTIALS_DIRECTORY is not set"


@pytest.fixture
def handed_over(bench, monkeypatch):
    """The identity's key and the password are credentials; call it with False to be in a shell."""
    bench.own_files()
    folder = bench.dir / "credentials"
    folder.mkdir()
    (bench.dir / "wifi.secret").rename(folder / "wifi")
    bench.wifi["password_file"] = "credential:wifi"
    bench.identity["key"] = "credential:key"

    def put(service):
        (folder / "key").write_bytes((bench.dir / "pki/key.pem").read_bytes())
        if service:
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        else:
            monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    put(True)
    return put


def reloaded(bench):
    seen = bench.reload()
    bench.daemon.await_line(RELOADED, seen)
    return seen


def unset(result):
    return [x for x in result.stderr.splitlines() if UNSET in x]


def test_check(bench, handed_over):
    config = bench.dir / "espatd.conf"
    config.write_text(bench.config(tunnel(7, identity="gateway")))
    result = bench.run("--check")
    assert result.returncode == 0 and not unset(result)
    handed_over(False)
    result = bench.run("--check")
    assert result.returncode == 0 and "The configuration is right." in result.stdout
    assert [x.partition("credential:")[2].partition(",")[0] for x in unset(result)] == [
        f"{name}: not looked at: {UNSET}" for name in ("wifi", "key")]
    assert all(f"LoadCredential={x}:" in result.stderr for x in ("wifi", "key"))
    # All that can be read is looked at.
    (bench.dir / "pki/cert.pem").write_text("no certificate\n")
    result = bench.run("--check")
    assert result.returncode == 78 and "cert.pem" in result.stderr and len(unset(result)) == 2


@pytest.mark.parametrize("options", [[], ["--provision-only"]])
def test_running_needs_them(bench, handed_over, options):
    handed_over(False)
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    result = bench.run(*options)
    assert result.returncode == 78
    lines = unset(result)
    assert len(lines) == 2 and all(f"{bench.dir}/espatd.conf:" in x for x in lines)
    assert "LoadCredential=wifi:FILE" in lines[0] and "LoadCredential=key:FILE" in lines[1]


def test_bad_name(bench, handed_over):
    handed_over(False)
    bench.identity["key"] = "credential:../key"
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    for options in ["--check"], ["--adopt", "esp0=next"]:
        result = bench.run(*options)
        assert result.returncode == 78 and "expected credential:NAME" in result.stderr


def test_adopt_and_forget(bench, handed_over):
    handed_over(False)
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    for options in ["--adopt", "esp0=24:0a:c4:00:00:01"], ["--forget", "identity:gone"]:
        result = bench.run(*options)
        assert result.returncode == 0, result.stderr
        assert not result.stderr


def test_rollback(bench, serve, handed_over):
    """The one before wins over the files, which nobody can read, until they change."""
    daemon = bench.up(tunnel(serve(echo, client_ca="ca"), identity="gateway"))
    assert works(daemon)
    bench.replace(cert="client2", key="client")
    handed_over(True)
    daemon.await_line("identity gateway is generation 2 now", reloaded(bench))
    assert refused(daemon)
    handed_over(False)
    result = bench.run("--rollback", "identity:gateway")
    assert result.returncode == 0, result.stderr
    assert "SIGHUP" in result.stdout and not result.stderr
    daemon.await_line("identity gateway is generation 3 now", reloaded(bench))
    assert works(daemon)
    reloaded(bench)
    assert works(daemon) and not daemon.matching("generation 4")
    # Other bytes in the files are what is wanted.
    bench.replace(cert="ecclient", key="ecclient")
    handed_over(True)
    daemon.await_line("identity gateway is generation 4 now", reloaded(bench))
    assert works(daemon)


def test_rollback_of_what_can_be_read(bench, serve, handed_over):
    """The authority's file is no credential, and has changed since it was taken."""
    server = serve(echo)
    daemon = bench.up(tunnel(server))
    bench.replace(ca="ca2")
    daemon.await_line("authority corp is generation 2 now", reloaded(bench))
    bench.replace(ca="both")
    handed_over(False)
    result = bench.run("--rollback", "authority:corp")
    assert result.returncode == 0, result.stderr
    daemon.await_line("authority corp is generation 3 now", reloaded(bench))
    assert works(daemon) and not daemon.matching("generation 4")
