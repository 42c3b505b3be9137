"""`pdmesh key`."""

import re
import stat
from pathlib import Path

import pytest

from services.cli.main import main
from services.common.credentials import KeyRecord, MeshSettings
from services.gateway.tenants.read import read_tenants


def test_a_new_key_opens_the_door_of_the_line_that_comes_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new"]) == 0
    shown, line = capsys.readouterr().out.splitlines()
    key = shown.split()[-1]
    written = line.partition("file: ")[2]
    caller = read_tenants(f"[tenants.acme]\n{written}".encode(), "tenants.toml").by_key(key)
    assert caller is not None
    assert caller.tenant == "acme"
    assert re.findall(r'"(.*)"', written) == [str(KeyRecord.of(key))]
    assert key not in line


@pytest.mark.parametrize("arguments", [[], ["old"], ["new", "--id", "x"], ["new", "file"], ["secret"]])
def test_what_it_does_not_know_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pdmesh: bad_setting: ")


def test_a_secret_is_made_once_and_for_its_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    assert main(["key", "secret", str(file)]) == 0
    made = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert MeshSettings(secret_file=str(file)).security().secrets == (made.strip(),)
    assert main(["key", "secret", str(file)]) == 0
    assert file.read_text() == made
    assert made.strip() not in capsys.readouterr().out


def test_a_secret_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "secret", str(tmp_path / "none" / "secret")]) == 2
    assert "No such file" in capsys.readouterr().err
