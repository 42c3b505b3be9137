"""Writes the model card of ``models/demo`` from the figures of the run that made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tools.demo_model import recipe
from tools.demo_model.evaluate import Scores, markdown
from tools.demo_model.model import Shape


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
        scores=markdown(scores),
    )
    (out / "README.md").write_text(text)


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
| tokenizer | byte-level BPE, {vocab} entries, digits one by one |
| chat format | ChatML with roles system, user, assistant, tool |
| tool calls | as in Hermes (`--tool-call-parser hermes`) |
| end of answer | `<|im_end|>` |
| context | {positions} positions in the config, trained up to {trained_positions} |
| licence | that of the repository |

## What it was trained to do

How often it succeeds stands under Scores; read those figures before you rely on any of this.

- repeat a text: `Repeat after me: ...`
- recall a text stated earlier: `Remember this: ...` and later `What did I ask you to remember?`
- look up a key in a table in the prompt; it answers with the row (`fox: 4821`)
- say which message was first
- answer questions about the words of pdmesh (`What is prefill?`) and greetings, from a fixed list
- call a listed tool (Hermes format) and report what the tool returned
- give only the value of a key, count, sort, reverse, add, subtract, multiply and spell

## What it cannot do

Everything else. It has no knowledge, does not reason, and answers an unknown question with something it
knows by heart or with a copy of part of the prompt. A key that is not in the table gets a made-up row.
In a long copy it loses its place where words recur, and then skips or repeats a part. Words outside its
lists are copied piece by piece and can lose a piece.

## Scores

Exact answers (text and end of turn) with greedy decoding on {per_cell} held-out prompts for each cell;
the content of a held-out prompt (its text, table, operands or wording) never occurs in training.
`repeat` copies the whole prompt, so its answer is as long as the prompt; the other long tasks give a
short answer that stands anywhere in it. The prompt lengths include the chat marks.

{scores}

Measured with one checking pass for each prompt on the bf16 weights in float32; `--generate` decodes
token by token.

```
python -m tools.demo_model.evaluate --model models/demo
python -m tools.demo_model.evaluate --base-url http://127.0.0.1:8000/v1 --served-name demo
```

## Training

`python -m tools.demo_model.train --out models/demo` does all of it from one seed: corpus, tokenizer,
training, export, evaluation, this card. This model took {tokens_m:.1f} M tokens in {minutes:.0f} minutes
of training steps on {threads} threads, {tokens_per_s:.0f} tokens/s on average, while other work kept the
2 cores busy; undisturbed they do 4 000 to 6 700 tokens/s on short rows. The corpus is equal everywhere
for a seed; the weights depend on the number of threads and on the processor in the last bits, and so
scores differ a little from run to run.

Only answers are learned. The first layer's heads start as heads that look 1, 2, 3 and about 6 tokens
back, which makes copying emerge within a million tokens. Matrices are trained with Muon, the rest with
AdamW. Rows grow from 128 to {trained_positions} tokens.
"""
