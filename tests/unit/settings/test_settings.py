"""Where a setting's value comes from, and what is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import BadSetting
from services.common.settings import StrictParser, add_flags, group, leaves, load, parse_flags, setting

NEAREST = "; did you mean PDMESH_GATEWAY_PORT?"


@dataclass(frozen=True, slots=True)
class Tuning:
    dtype: str | None = setting(None, "Weights' type")
    chunked: bool | None = setting(None, "Chunk long prompts")


@dataclass(frozen=True, slots=True)
class Settings:
    port: int = setting(8000, "TCP port")
    host: str = setting("127.0.0.1", "Address, 100% local")
    ratio: float = setting(0.5, "Share")
    admin_port: int = setting(0, "Another TCP port", least=0, most=65535)
    grace_ms: int = setting(0, "Time to finish", least=0)
    reflection: bool = setting(True, "Serve reflection")
    routers: tuple[str, ...] = setting((), "Routers to dial")
    engine: str = setting("sim", "Engine", choices=("sim", "vllm"))
    both: Tuning = group(Tuning)
    decode: Tuning = group(Tuning, "decode_")

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"port {self.port} is not a port")


def loaded(*arguments: str, environ: dict[str, str] | None = None, file: Path | None = None) -> Settings:
    parser = StrictParser(prog="test")
    add_flags(parser, Settings, "gateway")
    flags = parse_flags(parser, arguments)
    return load(Settings, service="gateway", flags=flags, environ=environ or {}, file=file)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "mesh.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_stand_where_nothing_is_given() -> None:
    assert loaded() == Settings()


def test_flag_beats_variable_beats_file_beats_default(config: Any) -> None:
    file = config('[gateway]\nport = 1\nhost = "file"\nratio = 0.1\n[router]\nanything = 1\n')
    environ = {"PDMESH_GATEWAY_PORT": "2", "PDMESH_GATEWAY_HOST": "variable", "PDMESH_ROUTER_PORT": "9"}
    assert loaded("--port", "3", environ=environ, file=file) == Settings(port=3, host="variable", ratio=0.1)


def test_every_type_parses_from_flags() -> None:
    settings = loaded(
        "--port=7", "--ratio", "1", "--no-reflection", "--routers", "a", "--routers", "b,c",
        "--engine", "vllm", "--dtype", "half", "--no-decode-chunked",
    )  # fmt: skip
    assert settings == Settings(
        port=7, ratio=1.0, reflection=False, routers=("a", "b,c"), engine="vllm",
        both=Tuning(dtype="half"), decode=Tuning(chunked=False),
    )  # fmt: skip


def test_every_type_parses_from_variables() -> None:
    environ = {
        "PDMESH_GATEWAY_ROUTERS": "a,b", "PDMESH_GATEWAY_REFLECTION": "off", "PDMESH_GATEWAY_RATIO": "2",
        "PDMESH_GATEWAY_DECODE_CHUNKED": "true", "PDMESH_GATEWAY_DTYPE": "none", "HOME": "/root",
    }  # fmt: skip
    settings = loaded(environ=environ)
    assert settings == Settings(routers=("a", "b"), reflection=False, ratio=2.0, decode=Tuning(chunked=True))


def test_list_variable_takes_json_where_items_have_commas() -> None:
    assert loaded(environ={"PDMESH_GATEWAY_ROUTERS": '["a,b", "c"]'}).routers == ("a,b", "c")


def test_every_type_parses_from_a_file(config: Any) -> None:
    file = config('[gateway]\nratio = 1\nreflection = false\nrouters = ["a"]\ndecode_dtype = "half"\n')
    wanted = Settings(ratio=1.0, reflection=False, routers=("a",), decode=Tuning(dtype="half"))
    assert loaded(file=file) == wanted


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prot", "1"], "unknown flag --prot; did you mean --port?"),
        (["--decode-dtyp=half"], "unknown flag --decode-dtyp; did you mean --decode-dtype?"),
        (["--por", "1"], "unknown flag --por; did you mean --port?"),
        (["extra"], "unknown argument extra"),
        (["--port", "abc"], "--port: 'abc' is not a whole number"),
        (["--port", "1.5"], "--port: '1.5' is not a whole number"),
        (["--ratio", "nan"], "--ratio: 'nan' is not a number"),
        (["--engine", "vlm"], "--engine: 'vlm' is not one of sim, vllm; did you mean vllm?"),
        (["--port", "70000"], "gateway: port 70000 is not a port"),
        (["--admin-port", "99999"], "--admin-port: 99999 is not between 0 and 65535"),
        (["--admin-port=-1"], "--admin-port: -1 is not between 0 and 65535"),
        (["--grace-ms=-1"], "--grace-ms: -1 is not at least 0"),
        (["--port"], "argument --port: expected one argument"),
    ],
)
def test_bad_flags_are_refused_in_one_line(arguments: list[str], line: str) -> None:
    with pytest.raises(BadSetting) as refused:
        loaded(*arguments)
    assert refused.value.message == line


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        (
            "PDMESH_GATEWAY_PROT",
            "1",
            "unknown variable PDMESH_GATEWAY_PROT; did you mean PDMESH_GATEWAY_PORT?",
        ),
        ("PDMESH_GATWAY_PORT", "1", "unknown variable PDMESH_GATWAY_PORT; did you mean PDMESH_GATEWAY_PORT?"),
        ("PDMESH_GATEWAY_PORT", "", "PDMESH_GATEWAY_PORT: '' is not a whole number"),
        ("PDMESH_GATEWAY_PORT", "none", "PDMESH_GATEWAY_PORT: 'none' is not a whole number"),
        ("PDMESH_GATEWAY_GRACE_MS", "-1", "PDMESH_GATEWAY_GRACE_MS: -1 is not at least 0"),
        ("PDMESH_GATEWAY_REFLECTION", "maybe", "PDMESH_GATEWAY_REFLECTION: 'maybe' is not true or false"),
        ("PDMESH_GATEWAY_ROUTERS", "[1]", "PDMESH_GATEWAY_ROUTERS: '[1]' is not a list of texts"),
    ],
)
def test_bad_variables_are_refused_in_one_line(variable: str, text: str, line: str) -> None:
    with pytest.raises(BadSetting) as refused:
        loaded(environ={variable: text})
    assert refused.value.message == line


SERVICE_LINKS = {
    "PDMESH_GATEWAY_SERVICE_HOST": "10.0.0.7",
    "PDMESH_GATEWAY_SERVICE_PORT": "8000",
    "PDMESH_GATEWAY_SERVICE_PORT_HTTP": "8000",
    "PDMESH_GATEWAY_PORT": "tcp://10.0.0.7:8000",
    "PDMESH_GATEWAY_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "PDMESH_GATEWAY_PORT_8000_TCP_PROTO": "tcp",
    "PDMESH_GATEWAY_PORT_8000_TCP_PORT": "8000",
    "PDMESH_GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.7",
    "PDMESH_GATEWAY_METRICS_PORT": "udp://10.0.0.8:9",
    "PDMESH_OTHER_SERVICE_HOST": "10.0.0.9",
    "PDMESH_SERVICE_HOST": "10.0.0.10",
    "PDMESH_PORT": "tcp://10.0.0.10:80",
}
"""What Kubernetes puts into every container for services whose names begin with `pdmesh`."""


@pytest.mark.parametrize("name", SERVICE_LINKS)
def test_what_kubernetes_says_of_services_is_no_setting(name: str) -> None:
    assert loaded(environ={name: SERVICE_LINKS[name]}) == Settings()


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("[gateway]\nprot = 1\n", "[gateway]: prot; did you mean port?"),
        ("[gatewy]\nport = 1\n", "gatewy; did you mean gateway?"),
        ("zzz = 1\n", "zzz"),
        ('[gateway]\nport = "1"\n', "[gateway] port: '1' is not a whole number"),
        ("[gateway]\nport = true\n", "[gateway] port: True is not a whole number"),
        ("[gateway]\nadmin_port = 65536\n", "[gateway] admin_port: 65536 is not between 0 and 65535"),
        ("[gateway]\nreflection = 1\n", "[gateway] reflection: 1 is not true or false"),
        ("[gateway]\nrouters = [1]\n", "[gateway] routers: [1] is not a list of texts"),
        ('[gateway]\nengine = "simm"\n', "'simm' is not one of sim, vllm; did you mean sim?"),
        ("[gateway\n", "(at line 1, column 9)"),
    ],
)
def test_bad_files_are_refused_in_one_line(config: Any, text: str, end: str) -> None:
    file = config(text)
    with pytest.raises(BadSetting) as refused:
        loaded(file=file)
    assert str(file) in refused.value.message
    assert refused.value.message.endswith(end)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="No such file"):
        loaded(file=tmp_path / "absent.toml")


def test_help_shows_default_and_variable() -> None:
    parser = StrictParser(prog="test")
    add_flags(parser, Settings, "gateway")
    shown = parser.format_help()
    assert "[8000; PDMESH_GATEWAY_PORT]" in shown
    assert "--reflection, --no-reflection" in shown
    assert "Address, 100% local" in shown
    assert "PDMESH_GATEWAY_DECODE_DTYPE" in shown


def test_unsupported_declarations_are_programming_errors() -> None:
    @dataclass(frozen=True)
    class Undeclared:
        port: int = 1

    @dataclass(frozen=True)
    class Odd:
        port: list[int] = setting((), "no flag can give this")

    for cls in (Undeclared, Odd):
        with pytest.raises(TypeError, match="port"):
            leaves(cls)


@given(st.integers(0, 65535), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_what_is_written_as_text_reads_back(port: int, ratio: float, reflection: bool) -> None:
    environ = {
        "PDMESH_GATEWAY_PORT": str(port),
        "PDMESH_GATEWAY_RATIO": repr(ratio),
        "PDMESH_GATEWAY_REFLECTION": str(reflection),
    }
    assert loaded(environ=environ) == Settings(port=port, ratio=ratio, reflection=reflection)
