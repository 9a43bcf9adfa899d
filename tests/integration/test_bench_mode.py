# SPDX-License-Identifier: MIT
"""A bench that provisions chips: espatd --provision-only, its lines of JSON, its exit status."""
import hashlib
import json
import os
import re
import subprocess
import time

import pytest

from bench import RECORDS, tunnel
from fixtures import bench, pki  # noqa: F401 (used by name)
from harness import Program

NAMES = "esp0", "esp1", "esp2"
FIELDS = {"device": str, "port": str, "ok": bool, "mac": str, "model": str, "core": str,
          "firmware": str, "writes": int, "writes_ever": int, "keys": list, "orphans": list}
KEY_FIELDS = {"key": str, "kind": str, "name": str, "generation": int, "length": int, "sha256": str}


def mac_of(name):
    return f"24:0a:c4:00:00:0{name[-1]}"


def chips(bench, *names, sim=()):
    """The simulators by name, and a configuration with a tunnel for each."""
    made = {}
    for name in names:
        options = ["--mac", mac_of(name), *sim]
        made[name] = bench.sim(*options) if name == "esp0" else bench.another(name, *options)
    return made


def tunnels(*names):
    return [tunnel(7, f"t-{name}", identity="gateway", device=name) for name in names]


def read_key(chip, key):
    """A value of its NVS, as it says it."""
    namespace = key.split(".")[0]
    got = chip.ask(f'AT+SYSMFG=1,"{namespace}","{key}"')
    head = re.search(rb'\+SYSMFG:"%s","%s",8,(\d+),' % (namespace.encode(), key.encode()), got)
    return got[head.end():head.end() + int(head[1])]


def check_fields(told, types):
    assert set(told) == set(types), told
    for name, value in told.items():
        assert type(value) is types[name], (name, value)


def has_provisioned(chip, told):
    """The line of JSON says what is so."""
    check_fields(told, FIELDS)
    for key in told["keys"]:
        check_fields(key, KEY_FIELDS)
        value = read_key(chip, key["key"])
        assert len(value) == key["length"]
        assert hashlib.sha256(value).hexdigest() == key["sha256"], key
    return True


# ---- what is good ----

def test_three_chips_at_once(bench):
    made = chips(bench, *NAMES, sim=["--flash-ms", "150"])
    begin = time.monotonic()
    done = bench.provision(*tunnels(*NAMES)).good(writes=4)
    took = time.monotonic() - begin
    assert set(done) == set(NAMES)
    for name, told in done.items():
        assert told["mac"] == mac_of(name)
        assert told["port"] == str(made[name].tty)
        assert (told["model"], told["core"]) == ("ESP32", "3.5.0.0-dev")
        assert told["firmware"].startswith("v4.1.0.0")
        assert told["writes_ever"] == 4 and told["orphans"] == []
        assert {(x["kind"], x["name"], x["generation"]) for x in told["keys"]} == {
            ("ca", "corp", 1), ("certificate", "gateway", 1), ("key", "gateway", 1)}
        assert has_provisioned(made[name], told)
        # Nothing that is not needed for it.
        assert not made[name].commands("+CWJAP") and not made[name].commands("+CIPSTART")
        assert not made[name].commands("+SYSTIMESTAMP=")
    assert not list(bench.dir.glob("run/*.sock"))
    # One after the other would take three times as long, less what is no flash.
    one = bench.provision(*tunnels(*NAMES), options=["--device", "esp0"], state="other")
    assert set(one.good()) == {"esp0"}
    operations = sum(len(made["esp0"].commands(f"+SYSMFG={op},")) for op in (1, 2))
    assert took < 2 * 0.15 * operations


def test_second_time_nothing_is_written(bench):
    made = chips(bench, *NAMES)
    first = bench.provision(*tunnels(*NAMES)).good(writes=4)
    seen = {name: chip.mark() for name, chip in made.items()}
    second = bench.provision().good(writes=0)
    for name, chip in made.items():
        assert second[name] == {**first[name], "writes": 0}
        assert not chip.commands("+SYSMFG=2,", seen[name])
        assert not chip.commands("+SYSMFG=0,", seen[name])


def test_one_device_of_several(bench):
    made = chips(bench, *NAMES)
    done = bench.provision(*tunnels(*NAMES), options=["--device", "esp1"]).good(writes=4)
    assert set(done) == {"esp1"}
    done = bench.provision(options=["--device", "esp1", "--device", "esp2"]).good()
    assert {name: told["writes"] for name, told in done.items()} == {"esp1": 0, "esp2": 4}
    assert not made["esp0"].commands()


def test_each_chip_gets_what_it_needs(bench):
    """Identities of other chips, NVS entries of other devices: not for this one."""
    raw = bench.dir / "raw"
    raw.write_bytes(bytes(range(256)))
    raw.chmod(0o600)
    made = chips(bench, "esp0", "esp1")
    bench.more["nvs"] = [
        {"namespace": "mqtt_ca", "file": f"{bench.pki}/ca2.pem"},
        {"device": "esp1", "namespace": "mqtt_cert", "slot": 3, "kind": "raw", "file": str(raw)}]
    done = bench.provision(tunnel(7, "one", device="esp0"),
                           tunnel(7, "two", device="esp1", identity="gateway")).good()
    assert {x["key"].rstrip("0123456789") for x in done["esp0"]["keys"]} == {"client_ca.", "mqtt_ca"}
    assert {x["key"].rstrip("0123456789") for x in done["esp1"]["keys"]} == {
        "client_ca.", "client_cert.", "client_key.", "mqtt_ca", "mqtt_cert."}
    for name, told in done.items():
        assert has_provisioned(made[name], told)
    entry, = (x for x in done["esp1"]["keys"] if x["kind"] == "raw")
    assert (entry["key"], entry["name"], entry["generation"]) == ("mqtt_cert.3", "mqtt_cert", 0)
    assert made["esp1"].flash()["mqtt_cert/mqtt_cert.3"] == bytes(range(256))
    bench.provision().good(writes=0)


def test_orphans(bench):
    made = chips(bench, "esp0", "esp1")
    before = {name: chip.flash() for name, chip in made.items()}
    bench.more["nvs"] = [{"namespace": "mqtt_ca", "file": f"{bench.pki}/ca2.pem"}]
    first = bench.provision(*tunnels("esp0", "esp1")).good(writes=5)
    bench.more["nvs"] = []
    fewer = [tunnel(7, "t-esp0", device="esp0"), tunnel(7, "t-esp1", device="esp1")]
    done = bench.provision(*fewer).good(writes=0)
    for name, told in done.items():
        assert {x["key"].split(".")[0] for x in told["orphans"]} == {
            "client_cert", "client_key", "mqtt_ca"}
        was = {x["key"]: x for x in first[name]["keys"]}
        for orphan in told["orphans"]:
            check_fields(orphan, {"key": str, "generation": int, "sha256": str})
            assert orphan["sha256"] == was[orphan["key"]]["sha256"]
            assert orphan["generation"] == was[orphan["key"]]["generation"]
            value = read_key(made[name], orphan["key"])
            assert hashlib.sha256(value).hexdigest() == orphan["sha256"]
    # One of the two only: three erased, and the record and its copy.
    done = bench.provision(options=["--device", "esp1", "--erase-orphans"]).good(writes=5)
    assert done["esp1"]["orphans"] == []
    there = made["esp1"].flash()
    kept = {f"{x['key'].split('.')[0]}/{x['key']}" for x in done["esp1"]["keys"]}
    assert len(kept) == 1 and {k: v for k, v in there.items()
                               if k not in kept and k not in RECORDS} == before["esp1"]
    done = bench.provision().good(writes=0)
    assert len(done["esp0"]["orphans"]) == 3 and done["esp1"]["orphans"] == []


def test_two_processes_at_once(bench):
    """Different devices of one configuration, one state folder: neither waits for the other's chip."""
    made = chips(bench, "esp0", "esp1", sim=["--flash-ms", "100"])
    (bench.dir / "espatd.conf").write_text(bench.config(*tunnels("esp0", "esp1")))
    running = [subprocess.Popen(
        [os.environ["ESPATD"], "-c", bench.dir / "espatd.conf", "--runtime-dir", bench.dir / "run",
         "--state-dir", bench.dir / "state", "--provision-only", "--device", name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for name in made]
    for process in running:
        out, err = process.communicate(timeout=20)
        told = json.loads(out)
        assert process.returncode == 0 and told["ok"], (out, err)
        assert has_provisioned(made[told["device"]], told)
    # Both at the same time: each was asked who it is before the other one was done.
    bench.provision().good(writes=0)
    assert sorted(x.name for x in (bench.dir / "state/chips").iterdir()) == ["esp0", "esp1"]


# ---- what is not ----

def failed(outcome, name, error):
    """This one has failed, and nothing else."""
    assert outcome.status == 1
    bad = {x: told for x, told in outcome.chips.items() if not told["ok"]}
    assert list(bad) == [name], (outcome.chips, outcome.log)
    check_fields(bad[name], {**FIELDS, "error": str})
    assert re.search(error, bad[name]["error"]), bad[name]
    return bad[name]


def test_chip_that_never_answers(bench):
    made = chips(bench, *NAMES)
    made["esp1"].fault("hang")
    begin = time.monotonic()
    done = bench.provision(*tunnels(*NAMES), options=["--timeout", "3"])
    took = time.monotonic() - begin
    told = failed(done, "esp1", "not done in time|no answer")
    assert told["mac"] == "" and told["keys"] == [] and told["writes"] == 0
    assert all(has_provisioned(made[x], done.chips[x]) for x in ("esp0", "esp2"))
    assert 3 <= took < 5


def test_chip_that_never_answers_is_given_up_without_a_timeout(bench):
    made = chips(bench, "esp0", "esp1")
    made["esp1"].fault("hang")
    bench.device["baud"] = bench.more["devices"][0]["baud"] = 3000000
    done = bench.provision(*tunnels("esp0", "esp1"))
    failed(done, "esp1", "no answer from a chip at 3000000 baud")


def test_port_that_is_not_there(bench):
    made = chips(bench, "esp0", "esp1")
    made["esp1"].kill()
    made["esp1"].tty.unlink(missing_ok=True)
    done = bench.provision(*tunnels("esp0", "esp1"), options=["--timeout", "2"])
    told = failed(done, "esp1", "there is no")
    assert str(made["esp1"].tty) in told["error"]


def test_chip_that_dies_in_the_middle(bench):
    """What it was about is told, and the next run completes it."""
    made = chips(bench, "esp0", "esp1")
    made["esp1"].fault('cmd AT+SYSMFG=2,"client_key" 1 hang')
    done = bench.provision(*tunnels("esp0", "esp1"), options=["--timeout", "4"])
    told = failed(done, "esp1", ".")
    assert told["mac"] == mac_of("esp1") and told["writes"] >= 3
    made["esp1"].fault("reset")
    done = bench.provision().good()
    assert done["esp0"]["writes"] == 0 and done["esp1"]["writes"] == 1


def test_unknown_chip(bench):
    made = chips(bench, "esp0", "esp1")
    bench.provision(*tunnels("esp0", "esp1")).good()
    made["esp1"].kill()
    made["esp1"] = bench.another("esp1", "--mac", "24:0a:c4:00:00:99")
    begin = time.monotonic()
    done = bench.provision()
    told = failed(done, "esp1", "24:0a:c4:00:00:99 .* 24:0a:c4:00:00:01")
    assert told["mac"] == "24:0a:c4:00:00:99" and told["keys"] == []
    assert done.chips["esp0"]["writes"] == 0
    assert not made["esp1"].commands("+SYSMFG")
    assert time.monotonic() - begin < 10
    assert bench.run("--adopt", "esp1=24:0a:c4:00:00:99").returncode == 0
    bench.provision().good(writes=0)


def test_unknown_device(bench):
    made = chips(bench, "esp0", "esp1")
    done = bench.provision(*tunnels("esp0", "esp1"), options=["--device", "esp1", "--device", "esp7"])
    assert done.status == 1 and not done.chips
    assert "no device has the name esp7" in done.log
    assert not any(chip.commands() for chip in made.values())


DAMAGE = {
    "no-pem": ("cert", b"this is no certificate\n"),
    "cut-off": ("cert", None),
    "other-key": ("key", "ecclient.key"),
    "no-ca": ("ca", "client.pem"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file(bench, damage):
    """The configuration is not right, and no chip is touched."""
    what, content = DAMAGE[damage]
    made = chips(bench, "esp0", "esp1")
    bench.own_files()
    path = bench.dir / "pki" / f"{what}.pem"
    if content is None:
        content = path.read_bytes()[:400]
    elif isinstance(content, str):
        content = (bench.pki / content).read_bytes()
    path.write_bytes(content)
    done = bench.provision(*tunnels("esp0", "esp1"))
    assert done.status == 78 and not done.chips
    assert str(path) in done.log and "expected" in done.log
    assert not any(chip.commands() for chip in made.values())
    assert not list((bench.dir / "state").glob("material/*"))


def test_no_slot_is_left(bench):
    """It cannot be had: that is no success. The rest is there."""
    made = chips(bench, "esp0")
    bench.more["authorities"] = [{"name": f"a{i}", "file": f"{bench.pki}/{name}.pem"}
                                 for i, name in enumerate(("ca2", "both"))]
    made["esp0"].await_line("^D>H .*ready")
    for slot in range(2, 9):
        value = b"%d of somebody else" % slot
        made["esp0"].ask(f'AT+SYSMFG=2,"client_ca","client_ca.{slot}",8,{len(value)}', value)
    before = made["esp0"].flash()
    done = bench.provision(tunnel(7, "one"), tunnel(7, "two", authority="a0"),
                           tunnel(7, "three", authority="a1"))
    told = failed(done, "esp0", "cannot be had")
    assert len(told["keys"]) == 1 and "no slot is free" in done.log
    there = made["esp0"].flash()
    assert {k: v for k, v in there.items() if k in before} == before
    assert has_provisioned(made["esp0"], {k: v for k, v in told.items() if k != "error"})


@pytest.mark.parametrize("options", [["--device", "esp0"], ["--erase-orphans"],
                                     ["--provision-only", "--check"],
                                     ["--provision-only", "--timeout", "0"],
                                     ["--provision-only", "--timeout", "1x"],
                                     ["--provision-only", "--adopt", "esp0=24:0a:c4:00:00:01"]])
def test_wrong_usage(bench, options):
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    result = bench.run(*options)
    assert result.returncode == 2 and result.stderr and not result.stdout


def test_ended_by_a_signal(bench):
    """It has not done what was asked."""
    bench.device["baud"] = 3000000
    made = chips(bench, "esp0", sim=["--flash-ms", "100"])
    (bench.dir / "espatd.conf").write_text(bench.config(*tunnels("esp0")))
    daemon = Program([os.environ["ESPATD"], "-c", bench.dir / "espatd.conf",
                      "--state-dir", bench.dir / "state", "--provision-only"])
    made["esp0"].await_line(r"AT\+SYSMFG=2,")
    assert daemon.end() == 1
    bench.provision().good()
    bench.provision().good(writes=0)
