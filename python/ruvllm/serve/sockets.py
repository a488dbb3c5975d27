"""What the system knows of a client that says nothing, and how long it waits for one.

Only Linux is asked and told; elsewhere the bounds of the protocol itself stand alone.
"""

import asyncio
import socket
import struct
import sys
from contextlib import suppress

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["bound_silence", "unread_bytes"]


def bound_silence(transport: asyncio.Transport, seconds: float) -> None:
    """Let the system end a connection whose other side is gone, or takes nothing, for so long.

    A cable that was pulled says nothing: without this, a request that has nothing to send yet would never
    learn of it, and neither would a connection that is closed here and still has bytes to deliver.
    """
    if sys.platform != "linux":
        return
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # it is gone already, or a system within the system knows less
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 4)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def unread_bytes(transport: asyncio.Transport) -> int:
    """What the other side has not taken yet: it waits here, or in the system."""
    num_bytes = transport.get_write_buffer_size()
    if sys.platform == "linux" and (connection := transport.get_extra_info("socket")) is not None:
        with suppress(OSError):
            # Some megabytes may wait there, and no room is told of until a third of them are gone.
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            num_bytes += struct.unpack("i", answer)[0]
    return num_bytes
