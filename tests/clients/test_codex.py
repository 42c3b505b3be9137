"""Codex CLI: one question that it answers with its own tool."""

import json
from pathlib import Path
from typing import Any

from tests.clients.conftest import ASKED, NOTE, TOLD, WORD, looks_up
from tests.clients.program import Outside, Ran, run
from tests.mesh.harness import Mesh
from tests.npm import needs_node
from tests.wire.gateway.conftest import Edge

pytestmark = [needs_node]

CONFIG = """\
model = "{model}"
model_provider = "mesh"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
apps = false
plugins = false
remote_plugin = false

[model_providers.mesh]
name = "mesh"
base_url = "{url}/v1"
wire_api = "responses"
"""


async def ask(programs: Path, directory: Path, url: str, model: str, question: str, outside: Outside) -> Ran:
    """One run of `codex exec`, with the configuration that docs/clients.md shows."""
    home = directory / "codex"
    home.mkdir()
    (home / "config.toml").write_text(CONFIG.format(model=model, url=url))
    starter = programs / ".bin" / "codex"
    command = [str(starter), "exec", "--json", "--skip-git-repo-check", question]
    return await run(command, directory, {"CODEX_HOME": str(home)}, outside)


def items(ran: Ran) -> list[dict[str, Any]]:
    """What it tells of its work, whole items only."""
    events = [json.loads(line) for line in ran.output.splitlines()]
    return [event["item"] for event in events if event["type"] == "item.completed"]


async def test_it_reads_a_file_and_answers(
    edge: Edge, programs: Path, tmp_path: Path, outside: Outside
) -> None:
    (tmp_path / NOTE).write_text(f"The secret word is {WORD}.\n")
    looks_up(edge, "exec_command", cmd=f"cat {NOTE}")
    ran = await ask(programs, tmp_path, edge.url, "tiny", ASKED, outside)
    assert ran.code == 0, ran.output + ran.errors
    told = {item["type"]: item for item in items(ran)}
    assert told["command_execution"]["aggregated_output"] == f"The secret word is {WORD}.\n"
    assert told["agent_message"]["text"] == TOLD
    assert len(edge.router.jobs) == 2


async def test_a_mesh_answers_it(sim_mesh: Mesh, programs: Path, tmp_path: Path, outside: Outside) -> None:
    ran = await ask(programs, tmp_path, sim_mesh.url, "demo", "Say hello.", outside)
    assert ran.code == 0, ran.output + ran.errors
    last = json.loads(ran.output.splitlines()[-1])
    assert last["type"] == "turn.completed"
    assert last["usage"]["output_tokens"] > 0
