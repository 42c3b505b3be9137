"""What is read out of UCX's own log."""

from pathlib import Path

import pytest

from services.worker.engine.vllm import ucx

NOT_READS = """\
[1.1] [vm:1:0]   | d0d0 self cfg#0 |
[1.1] [vm:1:0]   | active message by ucp_am_send*(egr) from host memory |
[1.1] [vm:1:0]   | 0..inf | zero-copy | tcp/lo |
"""


def table(rows: str) -> str:
    """As UCX prints the choice for reads."""
    lines = [
        "| d0d0 intra-node cfg#1 |",
        "| remote memory read by ucp_get*(multi) into host memory |",
        "+--+",
    ]
    lines += ["| Range | Description | Config |", *rows.splitlines(), "+--+"]
    return "".join(f"[17.66] [vm:25:0]   {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("rows", "transport"),
    [
        ("| 0..inf | zero-copy | cma/memory |", "shm (cma/memory)"),
        ("| 0..16 | short | tcp/eth0 |\n| 17..inf | zero-copy | tcp/eth0 |", "tcp (tcp/eth0)"),
        ("| 0..inf | zero-copy | rc_mlx5/mlx5_0:1 |", "rdma (rc_mlx5/mlx5_0:1)"),
        ("| 0..inf | zero-copy | cuda_ipc/cuda |", "cuda_ipc (cuda_ipc/cuda)"),
        ("| 0..inf | zero-copy | strange/thing |", "strange/thing"),
        ("| 0 | short | tcp/eth0 |", ""),
    ],
)
def test_the_transport_of_large_reads(rows: str, transport: str) -> None:
    assert ucx.transport_of(NOT_READS + table(rows) + NOT_READS) == transport


def test_the_newest_choice_counts() -> None:
    log = table("| 0..inf | zero-copy | cma/memory |") + table("| 0..inf | zero-copy | tcp/eth0 |")
    assert ucx.transport_of(log) == "tcp (tcp/eth0)"
    assert ucx.transport_of("") == ucx.transport_of(NOT_READS) == ""


def test_the_newest_error_is_quoted() -> None:
    log = "[1] [vm:1:1] select.c:722  UCX  ERROR   no transport to x: tcp/lo - away\n" + NOT_READS
    assert ucx.error_in(log) == "no transport to x: tcp/lo - away"
    assert ucx.error_in(NOT_READS) == ""


def test_a_process_reads_its_own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ucx.log"
    monkeypatch.setenv("UCX_LOG_FILE", str(file))
    log = ucx.UcxLog()
    assert log.transport_to("a") == log.last_error() == ""
    log.forget("a")
    file.write_text(table("| 0..inf | zero-copy | cma/memory |"))
    assert log.transport_to("a") == log.transport_to("b") == "shm (cma/memory)"
    assert not file.exists()
    file.write_text("UCX  ERROR   no way\n")  # the next one, as the first is full
    assert log.last_error() == "no way"
    log.close()


def test_what_the_operator_asks_of_ucx_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UCX_LOG_FILE", "UCX_PROTO_INFO", "UCX_LOG_FILE_SIZE"):
        monkeypatch.setenv(name, "to be undone")
        monkeypatch.delenv(name)
    monkeypatch.setenv("UCX_PROTO_INFO", "y")
    ucx.prepare_environment()
    assert "UCX_LOG_FILE" not in ucx.os.environ
    monkeypatch.delenv("UCX_PROTO_INFO")
    ucx.prepare_environment()
    assert ucx.os.environ["UCX_LOG_FILE"].endswith("%p.log")
