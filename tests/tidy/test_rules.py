"""Each rule finds what it is there for, on small made-up files."""

import pytest

from tests.tidy import banned, commands, imports, sizes, texts
from tests.tidy.source import Source

CORE = "services/router/core/new.py"
GATEWAY = "services/gateway/new.py"
MAKEFILE = "demo: setup ## start\n\t@true\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("services/common/domain/new.py", "import msgspec"),
        ("services/common/clock/new.py", "from services.common.errors import MeshError"),
        (CORE, "import grpc"),
        (CORE, "def f():\n    import msgspec"),
        (CORE, "from services.common.rpc import Link"),
        (CORE, "from services.router.shell import Shell"),
        (GATEWAY, "import torch"),
        (GATEWAY, "from vllm import LLM"),
        (GATEWAY, "import grpc.aio"),
        (GATEWAY, "import uvloop"),
        (GATEWAY, "from services.router.core import RouterCore"),
        (GATEWAY, "from services.worker.engine import Engine"),
        ("services/router/new.py", "from services.worker.shell import Shell"),
        ("services/worker/new.py", "from services.decode.main import serve"),
        (GATEWAY, "from tests.tidy import source"),
        ("services/common/rpc/new.py", "from services.gateway.rest.api import Api"),
        ("services/cli/new.py", "from services.decode.main import serve"),
        ("services/gateway/call/new.py", "from services.gateway.http import Exchange"),
        ("services/gateway/accounts/quota/new.py", "from services.gateway.rest.openai import chat"),
        ("services/gateway/http/new.py", "from services.gateway.call.call import Call"),
        ("pdmesh/client/new.py", "from services.gateway.call.call import Call"),
        (GATEWAY, "from pdmesh.client import Client"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(path: str, text: str) -> None:
    (found,) = imports.violations(Source(path, text))
    assert found.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            CORE,
            "import heapq\nfrom services.common.domain import Job\nfrom services.router.core import Core",
        ),
        (
            GATEWAY,
            "import msgspec\nfrom services.common.rpc import Link\nfrom services.gateway.rest.api import Api",
        ),
        ("services/common/rpc/new.py", "import grpc.aio\nfrom services.common.domain import Job"),
        ("services/worker/engine/vllm/new.py", "import torch\nimport vllm"),
        ("services/prefill/new.py", "from services.worker.shell import Shell"),
        ("services/gateway/rest/new.py", "from services.gateway.http import Exchange"),
    ],
)
def test_an_import_in_the_right_direction_is_none(path: str, text: str) -> None:
    assert imports.violations(Source(path, text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "print('x')",
        "asyncio.create_task(work())",
        "asyncio.get_running_loop().create_task(work())",
        "asyncio.ensure_future(work())",
        "now = time.time()",
        "now = time.monotonic()",
        "time.sleep(1)",
        "random.random()",
        "assert x",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    log()",
        "try:\n    f()\nexcept (ValueError, Exception):\n    pass",
        "context.set_code(13)",
        "def f():\n    global count\n    count = 1",
    ],
)
def test_a_banned_use_is_found(text: str) -> None:
    (found,) = banned.violations(Source(CORE, text))
    assert found.startswith(f"{CORE}:")


@pytest.mark.parametrize(
    "text",
    [
        "tasks.create_task(work())",
        "clock.now_ms()",
        "blueprint('x')",
        "try:\n    f()\nexcept Exception:\n    raise Better() from None",
        "try:\n    f()\nexcept Exception:  # a template may raise anything\n    pass",
        "try:\n    f()\nexcept ValueError:\n    pass",
    ],
)
def test_a_fitting_use_is_not_found(text: str) -> None:
    assert banned.violations(Source(CORE, text)) == []


def test_bans_hold_only_outside_their_places() -> None:
    assert banned.violations(Source("services/cli/new.py", "print('x')")) == []


def test_a_long_function_is_found_without_its_docstring() -> None:
    body = "".join(f"    x = {i}\n" for i in range(69))
    docstring = '    """' + "word\n" * 20 + '    """\n'
    assert sizes.violations(Source(CORE, f"def f():\n{docstring}{body}")) == []
    (found,) = sizes.violations(Source(CORE, f"def f():\n{docstring}{body}    x = 70\n"))
    assert "f has 71 lines" in found


def test_a_long_file_is_found() -> None:
    assert sizes.violations(Source(CORE, "x = 1\n" * 500)) == []
    assert len(sizes.violations(Source(CORE, "x = 1\n" * 501))) == 1


def test_long_usual_functions_and_many_long_files_are_found() -> None:
    long = Source(CORE, "def f():\n" + "    x = 1\n" * 350)
    assert len(sizes.overall([long, long])) == 2


@pytest.mark.parametrize(
    "text",
    [
        "see https://" + "pypi" + ".org/simple",
        "index: download.pytorch" + ".org",
        "cd /wo" + "rk/main",
        "/home/" + "me/x",
    ],
)
def test_a_registry_or_a_machine_path_is_found(text: str) -> None:
    (found,) = texts.violations("README.md", f"first\n{text}\n")
    assert found.startswith("README.md:2:")


def test_urls_and_relative_paths_are_fine() -> None:
    assert texts.violations("README.md", "http://127.0.0.1:8000/v1 services/work/x ./work/x") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```sh\nmake demoo\n```", "no target demoo"),
        ("run `make chek` first", "no target chek"),
        ("```\npdmesh upp --model x\n```", "no such command"),
        ("```sh\n$ pdmesh up --modle x\n```", "no flag --modle"),
        ("```sh\npdmesh up --model x \\\n  --prefil 2\n```", "no flag --prefil"),
        ("`pdmesh serve gatway --port 1`", "no such service"),
        ("`pdmesh serve router --prot 1`", "no flag --prot"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, why: str) -> None:
    (found,) = commands.violations("README.md", text, MAKEFILE)
    assert found.endswith(why)


def test_commands_that_exist_are_fine() -> None:
    up = "pdmesh up --model m --decode-dtype half --no-enable-prefix-caching  # yes"
    text = f"```sh\nmake demo ONCE=1\n{up}\n```\n`pdmesh serve decode --help`"
    assert commands.violations("README.md", text, MAKEFILE) == []
