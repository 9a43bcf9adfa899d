#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Replays recorded transcripts of a real firmware against espat-sim and prints the table of matched steps.

  replay-captures.py SIM [CAPTURES] [--min PERCENT] [--only WORD] [--verbose] [--sim-args '...']

CAPTURES (or the variable ESPAT_CAPTURES) is a folder with the recordings, their replay.py, servers.py, mkcerts.sh and README.md; without it this exits
with 77 (skipped). The sessions and their starting states are those of its README.md. Needs the ports of servers.py.
"""
import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time

# (captures of one session, starting state): F factory, J joined, P provisioned
SESSIONS = [
    ('01 02 03 04 05', 'F'), ('10 11 12 14', 'F'), ('20 21', 'F'), ('30 31 32', 'J'), ('40 41', 'J'), ('42', 'J'),
    ('44 46 47', 'P'), ('50 51 53', 'P'), ('54 55', 'P'), ('48', 'J'), ('60', 'J'), ('62', 'J'), ('63', 'J'), ('90', 'F'),
]


def free_udp_port():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    port = s.getsockname()[1]
    s.close()
    return port


def main():
    p = argparse.ArgumentParser()
    p.add_argument('sim')
    p.add_argument('captures', nargs='?', default=os.environ.get('ESPAT_CAPTURES', ''))
    p.add_argument('--min', type=float, default=98.0)
    p.add_argument('--only', default='')
    p.add_argument('--verbose', action='store_true')
    p.add_argument('--sim-args', default='')
    a = p.parse_args()
    folder = a.captures
    if not os.path.exists(os.path.join(folder, 'replay.py')):
        print('no captures, skipped: name their folder, or set ESPAT_CAPTURES')
        return 77
    sys.path.insert(0, folder)
    with tempfile.TemporaryDirectory() as tmp:
        return run(a, folder, tmp)


def run(a, folder, tmp):
    pki, hosts, dns, ntp = os.path.join(tmp, 'pki'), os.path.join(tmp, 'hosts'), free_udp_port(), free_udp_port()
    subprocess.run([os.path.join(folder, 'mkcerts.sh'), pki], check=True, stdout=subprocess.DEVNULL)
    with open(hosts, 'w') as f:
        f.write(f'10.0.2.2 127.0.0.1\n10.0.2.2:53 127.0.0.1:{dns}\n10.0.2.2:123 127.0.0.1:{ntp}\n')
    servers = subprocess.Popen([sys.executable, '-B', os.path.join(folder, 'servers.py'), '--dir', pki,
                                '--dns-port', str(dns), '--ntp-port', str(ntp)], stdout=subprocess.PIPE, text=True)
    try:
        first = servers.stdout.readline()
        if not first.rstrip().endswith('up'):
            print(f'servers.py did not start: {first}')
            return 1
        with open(os.path.join(tmp, 'servers.log'), 'w') as log:
            import threading
            threading.Thread(target=lambda: [log.write(x) for x in servers.stdout], daemon=True).start()
            return sessions(a, folder, tmp, pki, hosts)
    finally:
        servers.kill()
        servers.wait()


def sessions(a, folder, tmp, pki, hosts):
    names = sorted(x for x in os.listdir(folder) if x.endswith('.log'))
    total = good = 0

    def replay(captures, state, firmware):
        sim = (f'exec {shlex.quote(a.sim)} --state {shlex.quote(state)} --hosts {shlex.quote(hosts)} '
               f'--firmware {firmware} {a.sim_args}')
        files = [os.path.join(folder, n) for n in captures]
        r = subprocess.run([sys.executable, '-B', os.path.join(folder, 'replay.py'), *files, '--exec', sim, '--boot',
                            '--pki', pki, '--json'], stdout=subprocess.PIPE, text=True)
        if r.returncode > 1:
            raise SystemExit('replay.py failed')
        return json.loads(r.stdout)

    def state_file(state, name):
        """A flash of that state, made by replaying the set-up on a new one."""
        path = os.path.join(tmp, name)
        setups = {'F': [], 'J': ['setup-join.log'], 'P': ['setup-join.log', 'setup-provision.log']}[state]
        for s in setups:
            result = replay([s], path, '4.1')
            if result['matched'] != result['steps']:
                print(f'{s}: {result["matched"]}/{result["steps"]}: {result}')
        return path

    for number, (wanted, state) in enumerate(SESSIONS):
        captures = [n for w in wanted.split() for n in names if n.startswith(w)]
        if a.only and not any(a.only in n for n in captures):
            continue
        began = time.monotonic()
        result = replay(captures, state_file(state, f'flash{number}'), '4.2' if wanted == '90' else '4.1')
        total, good = total + result['steps'], good + result['matched']
        for c in result['captures']:
            print(f'{c["capture"]:28} {c["matched"]:4}/{c["steps"]}', flush=True)
            for m in c['mismatches']:
                print(f'    line {m["line"]}: {"".join(m["sent"])[:100]}')
                for d in m['differences'] if a.verbose else []:
                    print(f'        {d["what"]}\n          expected {d["expected"][:300]}\n'
                          f'          actual   {d["actual"][:300]}', flush=True)
        print(f'    ({time.monotonic() - began:.0f} s)')
    percent = 100.0 * good / max(total, 1)
    print(f'total {good}/{total} steps, {percent:.2f} %')
    return 0 if total and percent >= a.min else 1


if __name__ == '__main__':
    sys.exit(main())
