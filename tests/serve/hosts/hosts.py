"""Hosts on this machine: network namespaces, joined by a slow and lossy wire."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

CLONE_NEWNET = 0x40000000
# Then the process that made it, and which.
OURS = "ruvllm-"
Result = TypeVar("Result")


def require_hosts() -> None:
    """Skip the test where no hosts can be made, and say why."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip`: on Debian, apt install iproute2")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/net/tun, of which the hosts' devices are made")
    name = f"{OURS}{os.getpid()}-tried"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    if made.returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")


class Host:
    """One of them."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    @property
    def within(self) -> Sequence[str]:
        """What a command begins with that is to run there."""
        return ("ip", "netns", "exec", self.name)

    def enter(self) -> None:
        """Have this thread's connections made there."""
        with Path(f"/run/netns/{self.name}").open() as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"{self.name} cannot be entered")

    def do(self, ask: Callable[[], Result]) -> Result:
        """What a function gives that is called there."""
        with ThreadPoolExecutor(1, initializer=self.enter) as there:
            return there.submit(ask).result()

    def cut_off(self) -> None:
        """Pull the plug."""
        subprocess.run(["ip", "-n", self.name, "link", "set", "wire0", "down"], check=True)

    def back(self) -> None:
        """Put it in again."""
        subprocess.run(["ip", "-n", self.name, "link", "set", "wire0", "up"], check=True)


class Joined:
    """Hosts, and once they are gone, what became of their packets."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self.carried = self.lost = 0


@contextmanager
def joined(count: int, *, delay_ms: float, loss: float) -> Iterator[Joined]:
    """So many hosts while the block runs; each packet takes so long, or is lost by that chance."""
    hosts = [Host(f"{OURS}{os.getpid()}-{number}", f"10.213.77.{number + 1}") for number in range(count)]
    remove_abandoned()
    with ExitStack() as there:
        for host in hosts:
            subprocess.run(["ip", "netns", "add", host.name], check=True)
            there.callback(remove, host.name)
        names = [f"{host.name}={host.address}" for host in hosts]
        wire = subprocess.Popen(
            [sys.executable, "-m", "tests.serve.hosts.wire", str(delay_ms), str(loss), "1", *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with wire:
            try:
                assert wire.stdout is not None
                assert wire.stdout.readline() == "ready\n"
                together = Joined(hosts)
                yield together
                assert wire.stdin is not None
                wire.stdin.close()
                together.carried, together.lost = map(int, wire.stdout.readline().split())
            finally:
                wire.kill()


def remove(name: str) -> None:
    """Remove a host; what keeps it is told of by the next that needs the name."""
    subprocess.run(["ip", "netns", "del", name], check=False)


def remove_abandoned() -> None:
    """Remove the hosts of processes that died."""
    for place in Path("/run/netns").glob(f"{OURS}*"):
        pid = place.name.removeprefix(OURS).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            remove(place.name)
