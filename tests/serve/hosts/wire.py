"""`python -m tests.serve.hosts.wire DELAY_MS LOSS SEED HOST=ADDRESS ...`: a slow, lossy wire between hosts.

Each host is a network namespace and gets a device with its address; this process carries what they send each
other, packet by packet, each later and some never, as `tc netem` does in kernels that have it. Connections
are the kernel's own: what is lost they send again. `ready` is written once the hosts are joined; at the end
of the input, how many packets were carried and how many lost.
"""

import fcntl
import heapq
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500
DEVICE = "wire0"


def device(host: str, address: str, number: int) -> int:
    """A device in a host; gives what its packets are read from here, and written to."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # Of another name until it is in its host, since here it stands beside the others.
    passing = f"w{os.getpid()}-{number}"[:15]
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", passing.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        f"link set {passing} netns {host}",
        f"-n {host} link set {passing} name {DEVICE}",
        f"-n {host} addr add {address}/24 dev {DEVICE}",
        f"-n {host} link set {DEVICE} mtu {MTU} up",
        f"-n {host} link set lo up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    return descriptor


def main() -> None:
    """Join the hosts, and carry packets until the input ends."""
    delay, loss, seed, *hosts = sys.argv[1:]
    delay_seconds, share, chance = float(delay) / 1000, float(loss), random.Random(seed)
    ends = {}
    for number, host in enumerate(hosts):
        name, _, address = host.partition("=")
        ends[socket.inet_aton(address)] = device(name, address, number)
    print("ready", flush=True)
    carried = lost = 0
    under_way: list[tuple[float, int, int, bytes]] = []
    with selectors.DefaultSelector() as ready:
        for descriptor in (sys.stdin.fileno(), *ends.values()):
            ready.register(descriptor, selectors.EVENT_READ)
        while True:
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            for key, _ in ready.select(wait):
                if key.fd == sys.stdin.fileno():
                    print(f"{carried} {lost}", flush=True)
                    return
                for packet in packets(key.fd):
                    to = ends.get(packet[16:20])
                    if to is None or chance.random() < share:
                        lost += to is not None
                        continue
                    carried += 1
                    heapq.heappush(under_way, (time.monotonic() + delay_seconds, carried, to, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(under_way)
                # A host that is cut off takes nothing.
                with suppress(OSError):
                    os.write(to, packet)


def packets(descriptor: int) -> list[bytes]:
    """All that a host has sent since."""
    found = []
    with suppress(OSError):
        while len(found) < 256:
            found.append(os.read(descriptor, MTU + 64))
    return found


if __name__ == "__main__":
    main()
