# SPDX-License-Identifier: MIT
"""The daemon of a message bus of the test's own; for who needs no more than its address."""
import socket

from harness import DEADLINE, Program, wait_for

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


class BusDaemon(Program):
    """It is there when it answers: its socket is there before anybody listens."""

    def __init__(self, dir):
        self.path = dir / "bus"
        (dir / "bus.conf").write_text(CONFIG.format(socket=self.path))
        self.address = f"unix:path={self.path}"
        self.path.unlink(missing_ok=True)
        super().__init__(["dbus-daemon", "--nofork", f"--config-file={dir / 'bus.conf'}"])
        wait_for(self._answers, "the bus")
        self.path.chmod(0o777)

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            try:
                s.connect(str(self.path))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            s.sendall(b"\0AUTH\r\n")
            return s.recv(200).startswith(b"REJECTED")
