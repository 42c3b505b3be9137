"""What people type: help, version, mistakes."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from services.cli.main import COMMANDS, main
from services.cli.serve import SERVED
from services.common.settings import leaves
from services.common.settings.leaf import Leaf
from tools.docs.settings_page import settings_classes

NO_GRPC = "import sys, services.cli.main as m; m.main(['--help']); print(sorted(sys.modules))"


def line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, without a newline."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (text,) = captured.err.splitlines()
    return text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["uup"], "unknown command uup; did you mean up?"),
        (["--versio"], "unknown flag --versio"),
        (["serve", "gatway"], "unknown service gatway; did you mean gateway?"),
        (["up", "--modle", "x"], "unknown flag --modle; did you mean --model?"),
        (["up"], "up: --model is needed: a directory, or a name on the Hugging Face hub"),
        (
            ["up", "--model", "m", "--engine", "vlm"],
            "--engine: 'vlm' is not one of vllm, sim; did you mean vllm?",
        ),
        (["up", "--model", "org/m", "--decode", "0"], "up: a mesh needs at least one decode worker"),
        (["up", "--model", "org/m", "--config", "/none.toml"], "configuration file /none.toml: No such file"),
        (["up", "--port", "99999"], "--port: 99999 is not between 0 and 65535"),
        (["serve", "router", "--metrics-port=-1"], "--metrics-port: -1 is not between 0 and 65535"),
        (["up", "--grace-ms=-1"], "--grace-ms: -1 is not at least 0"),
        (["chat", "--recipt"], "unknown flag --recipt; did you mean --receipt?"),
        (["serve", "edge", "--prt", "1"], "unknown flag --prt; did you mean --port?"),
        (["serve", "edge", "--model", "m", "--", "--prt", "1"], "unknown flag --prt; did you mean --port?"),
        (["serve", "edge", "--model", "m", "--router", "r:1"], "--router: the router of an edge is in its"),
        (["up", "--model", "org/m", "--edge", "--routers", "2"], "up: --edge has one router, in the gateway"),
        (["drain"], "the following arguments are required: worker"),
        (["role", "w", "bothh"], "argument role: invalid choice: 'bothh'"),
        (["threshold", "-1"], "a threshold is 0 to 4294967295 tokens, not -1"),
        (["fleet", "--jsn"], "unknown flag --jsn; did you mean --json?"),
        (["doctor", "--ready-file", "/none"], "--ready-file: no /none, so no mesh serves"),
        (["version", "now"], "unknown argument now"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert line(capsys).startswith(f"pdmesh: bad_setting: {said}")


@pytest.mark.parametrize("model", ["./absent", "/absent/model", "absent", "a/b/c"])
def test_a_missing_model_directory_is_one_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--model", model]) == 2
    assert line(capsys) == f"pdmesh: model_missing: {model} is no directory"


def test_a_ready_file_in_no_directory_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["up", "--model", str(tmp_path), "--ready-file", str(tmp_path / "no" / "ready")]
    assert main(arguments) == 2
    assert line(capsys) == f"pdmesh: bad_setting: --ready-file: {tmp_path / 'no'} is no directory"


@pytest.mark.parametrize("target", [".", "file/ready"])
def test_a_ready_file_that_cannot_be_one_is_one_line(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / target
    assert main(["up", "--model", str(tmp_path), "--ready-file", str(path)]) == 2
    assert line(capsys).startswith("pdmesh: bad_setting: --ready-file: ")


def test_variables_of_up_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PDMESH_UP_MODEL", "/absent/by-variable")
    assert main(["up"]) == 2
    assert line(capsys) == "pdmesh: model_missing: /absent/by-variable is no directory"


def test_version_names_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pdmesh 0")


def test_chat_without_a_mesh_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--url", "http://127.0.0.1:1", "hello"]) == 1
    assert line(capsys).startswith(
        "pdmesh: router_unavailable: no mesh answers at http://127.0.0.1:1/v1/models"
    )


def test_operators_hear_in_one_line_that_no_router_answers(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["fleet"], ["doctor"], ["drain", "w"], ["dry-run", "--model", "m"]):
        assert main([*command, "--router", "127.0.0.1:1"]) == 2
        assert line(capsys) == "pdmesh: router_unavailable: no router answers at 127.0.0.1:1"


@pytest.mark.parametrize(
    "command", [[], ["serve"], *([name] for name in COMMANDS), *(["serve", s] for s in SERVED)]
)
def test_help_is_readable(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: pdmesh")
    assert max(map(len, shown.splitlines())) <= 110


def test_help_imports_nothing_heavy() -> None:
    result = subprocess.run([sys.executable, "-c", NO_GRPC], capture_output=True, text=True, check=True)
    loaded = result.stdout.splitlines()[-1]
    for heavy in ("grpc", "vllm", "torch", "prometheus_client", "uvloop", "redis", "httpx"):
        assert f"'{heavy}'" not in loaded


def test_a_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-m", "services.cli", "--help"], stdout=write, stderr=subprocess.PIPE
    ) as process:
        os.close(write)
        _, errors = process.communicate(timeout=20)
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    "leaf", [leaf for cls in settings_classes().values() for leaf in leaves(cls)], ids=lambda leaf: leaf.name
)
def test_every_port_and_every_time_has_a_range(leaf: Leaf) -> None:
    if leaf.name.endswith("port") and leaf.kind is int:
        assert leaf.most == 65535
        assert leaf.least == (-1 if "-1 is off" in leaf.help_text else 0)
    if "_ms" in leaf.name:
        assert leaf.least >= 0
