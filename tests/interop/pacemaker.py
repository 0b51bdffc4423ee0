"""Pacemaker on the nodes of a lab: the distribution's, unmodified, as a client of whichever daemon the node runs.

Each node has a hostname of its own, and its own /run/crm and /var/lib/pacemaker inside the lab's private mounts, which end with
the lab. The log goes to the folder of the daemon's log, so that the lab's errors quote it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.lab import DEADLINE, LabError, Node, execute, remove_shared_memory, wait_until

T = TypeVar("T")

PROGRAMS = ("pacemakerd", "crm_mon", "crm_node", "crm_resource", "cibadmin")
AGENT = Path("/usr/lib/ocf/resource.d/pacemaker/Dummy")
AGENT_STATE = "/run/Dummy-*.state"
"""What the agent believes to run, as files: a node that loses power has none of them when it comes back."""
_SEED = """
<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.0" admin_epoch="0" epoch="1" num_updates="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="lab">
        <nvpair id="lab-fencing" name="stonith-enabled" value="false"/>
        <nvpair id="lab-election" name="dc-deadtime" value="2s"/>
      </cluster_property_set>
    </crm_config>
    <nodes/><resources/><constraints/>
  </configuration>
  <status/>
</cib>
"""
"""The configuration that a node starts with: no fencing, and two seconds, not twenty, to wait for a controller's voice."""
_START = """
set -e
hostname "$0"
mkdir -p /run/crm
chown hacluster:haclient /run/crm
chmod 750 /run/crm
mountpoint --quiet /var/lib/pacemaker || mount --bind "$1" /var/lib/pacemaker
export PCMK_logfile=/var/log/corosync/pacemaker.log
exec pacemakerd -f
"""


def missing_packages() -> list[str]:
    """What this machine lacks for Pacemaker, in words; empty when nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None] + ([] if AGENT.exists() else [str(AGENT)])
    return [f"{', '.join(missing)} (packages pacemaker, pacemaker-cli-utils, resource-agents)"] if missing else []


class Pacemaker:
    """Pacemaker on one node."""

    def __init__(self, node: Node) -> None:
        """Makes the folders; ``start`` starts it."""
        self.node = node
        self.name = f"node{node.number}"
        self._master: subprocess.Popen[str] | None = None
        self._state = node.folder / "pacemaker"
        for folder in (self._state, *(self._state / name for name in ("cib", "pengine", "cores", "blackbox"))):
            folder.mkdir(mode=0o750)
            shutil.chown(folder, "hacluster", "haclient")
        seed = self._state / "cib" / "cib.xml"
        seed.write_text(_SEED)
        seed.chmod(0o600)
        shutil.chown(seed, "hacluster", "haclient")

    def start(self) -> None:
        """Start pacemakerd, which starts the rest; the node's daemon must let programs in by now."""
        with (self.node.folder / "log" / "output").open("a") as output:
            # unshare and sh execute the next program in their own process: this pid is pacemakerd's.
            command = ("unshare", "--uts", "sh", "-c", _START, self.name, self._state)
            self._master = self.node.popen(*command, stdout=output, stderr=output)

    def stop(self) -> None:
        """An orderly stop, as the init system asks for it: resources go elsewhere first."""
        master, self._master = self._running(), None
        master.send_signal(signal.SIGTERM)
        status = master.wait(DEADLINE)
        if status != 0:
            raise LabError(f"{self.name}: pacemakerd ended with {status}\n{self.node.log()}")

    def kill(self) -> None:
        """SIGKILL to all of Pacemaker, the master first: it would start the others again."""
        master, self._master = self._running(), None
        master.kill()
        master.wait(DEADLINE)
        children = self.processes()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), f"{self.name}: the end of Pacemaker", explain=self.node.log)
        for pid in (master.pid, *children):
            remove_shared_memory(pid)

    def crash(self) -> None:
        """The node loses power: SIGKILL to the daemon and to Pacemaker; nothing is said to anybody."""
        self.node.kill(signal.SIGKILL)
        self.kill()
        self.node.run("sh", "-c", f"rm -f {AGENT_STATE}")

    def close(self) -> None:
        """End what runs; before the lab's end."""
        if self._master is not None:
            self.kill()

    def _running(self) -> subprocess.Popen[str]:
        if self._master is None:
            raise LabError(f"{self.name}: Pacemaker does not run")
        return self._master

    def processes(self) -> dict[int, str]:
        """Pacemaker's daemons on this node: their names (15 characters of them) by process id."""
        found = {}
        for pid in map(int, execute("ip", "netns", "pids", self.node.namespace).stdout.split()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name.startswith("pacemaker"):
                    found[pid] = name
        return found

    # What the node's administrator sees

    def run(self, *command: str) -> str:
        """The output of a command on the node; LabError where it fails."""
        return self.node.run(*command).stdout

    def wait(self, command: str, accept: Callable[[str], T], what: str) -> T:
        """Until the output of a command (words with blanks between) is accepted, and return what ``accept`` made of it."""
        last = ""

        def probe() -> T:
            nonlocal last
            self.node.check_alive()
            done = self.node.run(*command.split(), check=False)
            last = done.stdout + done.stderr
            return accept(done.stdout)

        return wait_until(probe, f"{self.name}: {what}", explain=lambda: f"{command}:\n{last}\n{self.node.log()}")
