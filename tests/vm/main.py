# SPDX-License-Identifier: MIT
"""Boots the machine in the folder WORK, and runs the tests against it: main.py WORK TOP [TEST]..."""
import os
import pathlib
import subprocess
import sys
import time
import unittest

import machine
import result
import vm

HERE = pathlib.Path(__file__).parent


class Result(result.Result):
    @staticmethod
    def mark():
        return vm.journal_cursor()

    @staticmethod
    def since(mark):
        return "".join(vm.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "80",
                              *(["--after-cursor", mark] if mark else []))[1:])


def main():
    work, top, names = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    vm.PKI = work / "pki"
    subprocess.run([f"{top}/certs/mkpki", "--host", "broker.test", vm.PKI], check=True, stdout=subprocess.DEVNULL)
    vm.WORK = work
    # KVM may be there and not work, inside of another virtual machine.
    accel = os.environ.get("ESPAT_VM_ACCEL", "tcg")
    began = time.monotonic()
    try:
        vm.MACHINE = machine.Machine(work, accel)
    except Exception as error:
        print("The machine has not booted:", repr(error))
        print((work / "console").read_text(errors="replace")[-4000:] if (work / "console").exists() else "")
        return 1
    try:
        print(f"booted Linux {vm.MACHINE.kernel} by {accel} in {time.monotonic() - began:.0f} s", flush=True)
        names = names or sorted(p.stem for p in HERE.glob("test_*.py"))
        status = result.run(unittest.defaultTestLoader.loadTestsFromNames(names), Result)
        for line in vm.RECOVERIES:
            print(line)
        return status
    finally:
        print("\n".join(vm.MACHINE.qemu.log()))
        vm.MACHINE.end()


sys.exit(main())
