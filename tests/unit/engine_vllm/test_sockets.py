"""Sockets of killed engines do not stay for ever."""

import os
import subprocess
import sys
from pathlib import Path

from services.worker.engine.vllm.sockets import PREFIX, kv_events_endpoint


def test_a_new_socket_takes_the_place_of_dead_ones_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    kept = [f"{PREFIX}{os.getpid()}-a", f"{PREFIX}1-b", f"{PREFIX}old", "another-9-c"]
    for name in (*kept, f"{PREFIX}{dead.pid}-d", f"{PREFIX}{dead.pid}-e"):
        (tmp_path / name).touch()
    endpoint = kv_events_endpoint(str(tmp_path))
    assert endpoint.startswith(f"ipc://{tmp_path}/{PREFIX}{os.getpid()}-")
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_each_address_is_another(tmp_path: Path) -> None:
    assert kv_events_endpoint(str(tmp_path)) != kv_events_endpoint(str(tmp_path))
