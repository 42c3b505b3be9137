"""A setting that may hold a secret can be had from a file, by any source that names one."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.errors import BadSetting
from services.common.settings import leaves, load, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """One that may hold a secret, one that may not."""

    redis_url: str = setting("", "address", is_secret=True)
    name: str = setting("", "name")


def read(file: Path | None = None, environ: dict[str, str] | None = None, **flags: str) -> Settings:
    return load(Settings, service="gateway", flags=flags, environ=environ or {}, file=file)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (tmp_path / "secret").write_text("redis://:pw@host\n")
    return str(tmp_path / "secret")


def test_only_secrets_have_a_second_setting() -> None:
    assert [leaf.flag for leaf in leaves(Settings)] == ["--redis-url", "--redis-url-file", "--name"]


def test_a_file_is_named_by_flag_variable_or_key(secret: str, tmp_path: Path) -> None:
    wanted = Settings(redis_url="redis://:pw@host")
    assert read(redis_url_file=secret) == wanted
    assert read(environ={"PDMESH_GATEWAY_REDIS_URL_FILE": secret}) == wanted
    config = tmp_path / "pdmesh.toml"
    config.write_text(f'[gateway]\nredis_url_file = "{secret}"\n')
    assert read(config) == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"--redis-url-file: .*secret: No such file"),
        (b"\n", "--redis-url-file: .* is empty"),
        (b"\xff\xfe", "--redis-url-file: .* is no text"),
    ],
)
def test_a_file_that_holds_no_secret_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(BadSetting, match=message):
        read(redis_url_file=str(tmp_path / "secret"))


def test_a_value_beside_its_file_is_ambiguous(secret: str) -> None:
    with pytest.raises(BadSetting, match="--redis-url and --redis-url-file: one of them"):
        read(redis_url="redis://other", redis_url_file=secret)
