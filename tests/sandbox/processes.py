"""What the kernel says about a process: whether it has ended, and where it listens."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import Path

WAIT_SECONDS = 30


def ended(pidfd: int) -> bool:
    """Waits for a process that is not our child."""
    try:
        return bool(select.select([pidfd], [], [], WAIT_SECONDS)[0])
    finally:
        os.close(pidfd)


def listening_addresses(pid: int) -> set[str]:
    """The local addresses on which a process listens, from /proc; any IPv6 one as it stands there."""
    inodes = sockets_of(pid)
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [fields[1].split(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes]
    return {socket.inet_ntoa(bytes.fromhex(each)[::-1]) if len(each) == 8 else each for each in listening}


def sockets_of(pid: int) -> set[str]:
    inodes = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            target = str(each.readlink())
            if target.startswith("socket:"):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    return inodes
