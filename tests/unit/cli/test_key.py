"""`pdmesh key new`."""

import re

import pytest

from services.cli.main import main
from services.common.credentials import KeyRecord
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


@pytest.mark.parametrize("arguments", [[], ["old"], ["new", "--id", "x"]])
def test_what_it_does_not_know_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pdmesh: bad_setting: ")
