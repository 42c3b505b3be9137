"""Claude Code: one question that it answers with its own tool."""

import json
from pathlib import Path

from tests.clients.conftest import ASKED, NOTE, TOLD, WORD, looks_up
from tests.clients.program import Outside, Ran, run
from tests.mesh.harness import Mesh
from tests.npm import needs_node
from tests.wire.gateway.conftest import Edge

pytestmark = [needs_node]


async def ask(programs: Path, directory: Path, url: str, model: str, question: str, outside: Outside) -> Ran:
    """One run of `claude -p`, with the environment that docs/clients.md shows."""
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "4000",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    # Its own start script, which finds the program for this machine.
    starter = programs / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
    command = ["node", str(starter), "-p", question, "--output-format", "json"]
    return await run(command, directory, environment, outside)


async def test_it_reads_a_file_and_answers(
    edge: Edge, programs: Path, tmp_path: Path, outside: Outside
) -> None:
    (tmp_path / NOTE).write_text(f"The secret word is {WORD}.\n")
    looks_up(edge, "Read", file_path=str(tmp_path / NOTE))
    ran = await ask(programs, tmp_path, edge.url, "tiny", ASKED, outside)
    assert ran.code == 0, ran.output + ran.errors
    said = json.loads(ran.output)
    assert (said["result"], said["is_error"], said["stop_reason"]) == (TOLD, False, "end_turn")
    assert len(edge.router.jobs) == 2
    # The second prompt holds the first and the tool's result: what is cached of the first is used.
    first, second = (list(job.request.prompt) for job in edge.router.jobs)
    assert second[: len(first) - 100] == first[: len(first) - 100]


async def test_a_mesh_answers_it(sim_mesh: Mesh, programs: Path, tmp_path: Path, outside: Outside) -> None:
    ran = await ask(programs, tmp_path, sim_mesh.url, "demo", "Say hello.", outside)
    assert ran.code == 0, ran.output + ran.errors
    assert json.loads(ran.output)["usage"]["output_tokens"] > 0
