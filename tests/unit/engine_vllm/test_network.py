"""What vLLM and UCX are told of the network."""

import os
import socket
from pathlib import Path

import pytest

from services.worker.engine.vllm import network

TOLD = ("VLLM_HOST_IP", "VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_NIXL_SIDE_CHANNEL_PORT", "UCX_NET_DEVICES")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is set, and none stays set."""
    for name in TOLD:
        monkeypatch.setenv(name, "to be undone")
        monkeypatch.delenv(name)


DEVICES = {
    "lo": ["127.0.0.1", "::1"],
    "docker0": ["172.17.0.1"],
    "eth0": ["10.0.0.2", "10.0.0.3", "fd00::2"],
}


@pytest.mark.parametrize(
    ("host", "device"),
    [
        ("127.0.0.1", "lo"),
        ("127.0.0.9", "lo"),
        ("::1", "lo"),
        ("some.name", ""),
        ("10.0.0.2", "eth0"),
        ("10.0.0.3", "eth0"),
        ("fd00::2", "eth0"),
        ("10.9.9.9", ""),
    ],
)
def test_ucx_is_told_the_device_of_the_address(host: str, device: str, tmp_path: Path) -> None:
    assert network.devices_for(host, DEVICES, tmp_path) == device


def test_where_there_is_rdma_ucx_chooses(tmp_path: Path) -> None:
    (tmp_path / "infiniband/mlx5_0").mkdir(parents=True)
    assert network.devices_for("10.0.0.2", DEVICES, tmp_path) == ""
    assert network.devices_for("127.0.0.1", DEVICES, tmp_path) == "lo"


def test_the_environment_of_an_address() -> None:
    address = network.prepare_environment("127.0.0.3", 0)
    told = {name: os.environ.get(name) for name in TOLD}
    port = told.pop("VLLM_NIXL_SIDE_CHANNEL_PORT")
    assert address == f"127.0.0.3:{port}"
    assert told == {
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.3",
        "UCX_NET_DEVICES": "lo",
    }


def test_the_operators_variables_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_HOST_IP", "127.0.0.4")
    monkeypatch.setenv("UCX_NET_DEVICES", "mlx5_0:1")
    assert network.prepare_environment("127.0.0.1", 7) == "127.0.0.4:7"
    assert os.environ["UCX_NET_DEVICES"] == "mlx5_0:1"
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.5")
    assert network.prepare_environment("127.0.0.1", 7) == "127.0.0.5:7"


def test_a_port_is_free_on_its_own_address() -> None:
    with socket.socket() as taken:
        first = network.free_port("127.0.0.3")
        taken.bind(("127.0.0.3", first))
        assert network.free_port("127.0.0.3") > first
        assert network.free_port("127.0.0.1") == first
