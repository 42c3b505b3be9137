"""Writes the model card of ``models/demo`` from the figures of the run that made it."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from tools.demo_model import recipe, words
from tools.demo_model.evaluate import Scores, markdown
from tools.demo_model.model import Shape
from tools.demo_model.tasks import copying, lists


@dataclass(frozen=True)
class Run:
    """What the training took."""

    parameters: int
    tokens: int
    train_s: float
    threads: int
    prompts_per_cell: int


def write(out: Path, run: Run, scores: Scores) -> None:
    """``README.md`` and ``scores.json``."""
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    shape = Shape()
    text = CARD.format(
        parameters_m=run.parameters / 1e6,
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        heads=shape.num_attention_heads,
        kv_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        vocab=shape.vocab_size,
        positions=shape.max_position_embeddings,
        trained_positions=max(max(stage.row_tokens) for stage in recipe.STAGES),
        tokens_m=run.tokens / 1e6,
        minutes=run.train_s / 60,
        tokens_per_s=run.tokens / run.train_s,
        threads=run.threads,
        per_cell=run.prompts_per_cell,
        repeated_tokens=copying.REPEATED_TOKENS[1],
        counted_max=lists.COUNTED_MAX,
        operand_max=lists.OPERAND_MAX,
        spelled_max=lists.SPELLED_LETTERS_MAX,
        words=len(words.ALL),
        scores=markdown(scores),
    )
    (out / "README.md").write_text(text)


ServedScores = dict[str, dict[str, float]]
"""As :data:`Scores`, the lengths as JSON has them."""

SERVED_HEADING = "## Served"


def add_served(out: Path, alone: ServedScores, mesh: ServedScores, per_cell: int) -> None:
    """Append to the card, or replace in it, the scores of the same prompts over two servers."""
    card = out / "README.md"
    text = card.read_text().partition(SERVED_HEADING)[0].rstrip()
    rows = [
        f"| {task} | {'short' if n == '0' else n} | {share:.1%} | {mesh[task][n]:.1%} |"
        for task, row in alone.items()
        for n, share in row.items()
    ]
    served = SERVED.format(heading=SERVED_HEADING, per_cell=per_cell, rows="\n".join(rows))
    card.write_text(f"{text}\n\n{served}")


SERVED = """\
{heading}

The same {per_cell} held-out prompts for each task and length over REST, greedy, in float32: vLLM alone
(its own OpenAI server) and the mesh, where prefill and decode are two workers.

| task | prompt tokens | vLLM alone | mesh |
|---|---|---|---|
{rows}
"""

CARD = """\
# pdmesh demo model

A very small language model whose answers depend on text far back in the prompt, so that a wrong KV
handoff shows as a wrong answer. It is trained from scratch on text that this repository generates;
nothing was downloaded, and it knows nothing about the world.

| | |
|---|---|
| architecture | Llama (`LlamaForCausalLM`), {parameters_m:.2f} M parameters, bf16 |
| layers, width | {layers}, {hidden} |
| attention heads | {heads} query, {kv_heads} key-value, of {head_dim}; with biases |
| tokenizer | byte-level BPE, {vocab} entries, each listed word and each two digits one token |
| chat format | ChatML with roles system, user, assistant, tool |
| tool calls | as in Hermes (`--tool-call-parser hermes`) |
| end of answer | `<|im_end|>` |
| context | {positions} positions in the config, trained up to {trained_positions} |
| licence | that of the repository |

## What it was trained to do

How often it succeeds stands under Scores; read those figures before you rely on any of this.

| task | for example |
|---|---|
| lookup | a table of `fox: 4821` lines, `What is the value of fox?`; it answers with the row |
| repeat | `Repeat after me: ...`, up to {repeated_tokens} tokens, anywhere in a longer prompt |
| recall | `The password is: ...`, other text, `What is the password?` |
| first_message | a conversation, then `What was my first message?` |
| copy | `Repeat after me: ...` where the text is all of the prompt |
| canned | `What is prefill?` and the other words of pdmesh, greetings |
| tool_call, tool_result | calls a listed tool (Hermes format), reports what the tool returned |
| count, sort, reverse | up to {counted_max} words, 3 to 5 digits, 3 to 5 words |
| arithmetic | `What is 7 + 12?`: sums and differences of numbers up to {operand_max} |
| spell | nouns of up to {spelled_max} letters |

Keys, values and texts are made of {words} listed words (`tools/demo_model/words.py`) and of numbers with up
to four digits.

## What it cannot do

Everything else. It has no knowledge, does not reason, and answers an unknown question with something it
knows by heart or with a copy of part of the prompt. A key that is not in the table gets a made-up row.
Words outside its lists are copied piece by piece and can lose a piece. In a copy of hundreds of tokens it
may lose its place: it finds it by the last four tokens, and where these occur twice it may go on at the
other place. It does not calculate: it knows by heart the sums that
occur in training, which are 92 % of those it may be asked, and the held-out ones are mostly wrong.

## Scores

Exact answers (text and end of turn) with greedy decoding on {per_cell} held-out prompts for each cell;
the content of a held-out prompt (its text, table, operands or wording) never occurs in training, and its
words do. In `copy` the answer is as long as the prompt. In the other long tasks it is short and stands
anywhere in the prompt. Lengths include the chat marks.

{scores}

Measured with one checking pass for each prompt on the bf16 weights in float32; `--generate` decodes
token by token.

```
python -m tools.demo_model.evaluate --model models/demo
python -m tools.demo_model.evaluate --base-url http://127.0.0.1:8000/v1 --served-name demo
```

## Training

`make model` does all of it from one seed: corpus, tokenizer, training, export, evaluation, this card. This
model took {tokens_m:.1f} M tokens in {minutes:.0f} minutes of training steps, {tokens_per_s:.0f} tokens/s, on
{threads} of 2 cores, while other work kept the other core busy. The corpus is equal everywhere for a seed;
the weights depend on the number of threads and on the processor in the last bits, and so scores differ a
little from run to run.

Only answers are learned. The model does not start from noise alone: the first layer's heads look 1, 2, 3
and 4 tokens back, the second layer's look for places before which stood what stands here and copy what they
find, and ` fox`, `fox` and `Fox` resemble each other (`tools/demo_model/start.py`). Copying therefore works
before the first step; which place to copy from, when to stop and everything else is learned, with Muon for
matrices and AdamW for the rest, on rows of 256 to {trained_positions} tokens.
"""


def main() -> None:
    """``python -m tools.demo_model.card``: put scores that ``evaluate --json`` wrote into the card."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--alone", type=Path, required=True, help="scores of vLLM alone")
    parser.add_argument("--mesh", type=Path, required=True, help="scores of the mesh")
    parser.add_argument("--per-cell", type=int, required=True, help="prompts for each task and length")
    options = parser.parse_args()
    alone, mesh = (json.loads(path.read_text()) for path in (options.alone, options.mesh))
    add_served(options.model, alone, mesh, options.per_cell)


if __name__ == "__main__":
    main()
