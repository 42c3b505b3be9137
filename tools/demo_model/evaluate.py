"""``python -m tools.demo_model.evaluate``: accuracy on held-out prompts by task and prompt length.

The answers come from transformers (``--model``) or from any OpenAI-compatible server (``--base-url``).
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from tools.demo_model import prompts
from tools.demo_model.backends import Forced, Generated, Judge, OpenAiServer
from tools.demo_model.prompts import Prompt
from tools.demo_model.text import SizeTokens

Scores = dict[str, dict[int, float]]
"""Task to prompt length in tokens (0: short) to share of right answers."""


def token_counter(folder: Path) -> SizeTokens:
    """Counts tokens with the model's own tokenizer."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lru_cache(maxsize=100_000)(lambda text: len(tokenizer.encode(text).ids))


def score(judge: Judge, suite: Sequence[tuple[int, Prompt]], concurrency: int = 1) -> Scores:
    """Share of right answers in every cell of the suite."""
    with ThreadPoolExecutor(concurrency) as pool:
        verdicts = list(pool.map(lambda cell: judge.right(cell[1]), suite))
    cells: dict[str, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for (length_tokens, prompt), right in zip(suite, verdicts, strict=True):
        cells[prompt.task][length_tokens].append(right)
    return {task: {n: sum(seen) / len(seen) for n, seen in row.items()} for task, row in cells.items()}


def markdown(scores: Scores) -> str:
    """Two tables in percent: long tasks by prompt length, short tasks."""
    lengths = sorted({n for row in scores.values() for n in row if n})
    lines = [
        "| task | " + " | ".join(f"{n} tokens" for n in lengths) + " |",
        "|---" * (len(lengths) + 1) + "|",
    ]
    for task, row in scores.items():
        if 0 not in row:
            lines.append(f"| {task} | " + " | ".join(_percent(row.get(n)) for n in lengths) + " |")
    lines += ["", "| short task | right |", "|---|---|"]
    lines += [f"| {task} | {_percent(row[0])} |" for task, row in scores.items() if 0 in row]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def selection(tasks: str, tokens_min: int, tokens_max: int) -> Callable[[str, int], bool]:
    """Chooses cells of the named tasks (all when empty) between two lengths; short tasks have none."""
    names = set(tasks.split(",")) if tasks else None

    def wanted(task: str, length_tokens: int) -> bool:
        in_range = not length_tokens or tokens_min <= length_tokens <= tokens_max
        return in_range and (names is None or task in names)

    return wanted


def _judge(options: argparse.Namespace) -> Judge:
    if options.base_url:
        key = os.environ.get(options.api_key_env, "none")
        return OpenAiServer(options.base_url, options.served_name, key, options.model)
    return Generated(options.model) if options.generate else Forced(options.model)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=Path("models/demo"), help="model folder (tokenizer, weights)"
    )
    parser.add_argument("--base-url", help="OpenAI-compatible server, up to and including /v1")
    parser.add_argument("--served-name", default="demo", help="model name at that server")
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", help="environment variable with the key")
    parser.add_argument(
        "--generate", action="store_true", help="decode token by token, not one checking pass"
    )
    parser.add_argument("--per-cell", type=int, default=50, help="prompts for each task and length")
    parser.add_argument("--tasks", default="", help="comma-separated task names")
    parser.add_argument("--tokens-min", type=int, default=0, help="leave out shorter prompts of long tasks")
    parser.add_argument("--tokens-max", type=int, default=10_000, help="leave out longer prompts")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the scores here")
    options = parser.parse_args()
    wanted = selection(options.tasks, options.tokens_min, options.tokens_max)
    cells = prompts.suite(token_counter(options.model), options.per_cell, wanted)
    scores = score(_judge(options), cells, options.concurrency)
    print(markdown(scores))
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
