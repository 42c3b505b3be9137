"""``python -m tools.demo_model.train --out models/demo``: corpus, tokenizer, training, export, evaluation."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from tools.demo_model import card, corpus, evaluate, optimizer, prompts, recipe, start, tokenizer
from tools.demo_model.backends import Forced
from tools.demo_model.export import export
from tools.demo_model.model import Model, Shape
from tools.demo_model.recipe import Stage
from tools.demo_model.rows import RowMaker

LOG_STEPS = 20
GRADIENT_NORM_MAX = 1.0
PASS_TOKENS_MAX = 4608
"""Tokens in one forward and backward pass; larger steps add up gradients."""


def schedule() -> Iterator[tuple[int, Stage, int, float]]:
    """Every step in order: its number, its stage, its row length, the factor on the learning rates."""
    step = 0
    for stage in recipe.STAGES:
        for done in range(stage.steps):
            share = done / stage.steps
            row_tokens = stage.row_tokens[done % len(stage.row_tokens)]
            yield step, stage, row_tokens, stage.rate_start + share * (stage.rate_end - stage.rate_start)
            step += 1


def batch(maker: RowMaker, step: int, stage: Stage, row_tokens: int) -> tuple[Tensor, Tensor]:
    """Ids and learned marks of one step, (rows, row_tokens) each."""
    count = stage.step_tokens // row_tokens
    rows = [maker.row(f"{step} {n}", row_tokens, stage) for n in range(count)]
    return torch.tensor([row.ids for row in rows]), torch.tensor([row.learned for row in rows])


def weigh(learned: Tensor, first_token_weight: float) -> Tensor:
    """Weight of every token: 0 if not learned, more for the first token of a learned stretch."""
    begins = learned & ~functional.pad(learned[:, :-1], (1, 0))
    return learned + begins * (first_token_weight - 1.0)


def backward(model: Model, ids: Tensor, weights: Tensor) -> float:
    """Gradients of the weighted mean cross entropy; returns that mean in nats."""
    rows_per_pass = max(1, PASS_TOKENS_MAX // ids.shape[1])
    weight = weights[:, 1:].sum()
    total = 0.0
    for begin in range(0, len(ids), rows_per_pass):
        part, marks = ids[begin : begin + rows_per_pass], weights[begin : begin + rows_per_pass, 1:]
        chosen = marks > 0
        scores = model.logits(model(part[:, :-1])[chosen])
        losses = functional.cross_entropy(scores, part[:, 1:][chosen], reduction="none")
        loss = (losses * marks[chosen]).sum() / weight
        torch.autograd.backward(loss)
        total += loss.item()
    return total


class Trainer:
    """Model, optimizers and position in the schedule; can be stopped and resumed at a checkpoint."""

    def __init__(self, work: Path, maker: RowMaker, tokenizer: Tokenizer) -> None:
        self.model = Model(Shape(), recipe.SEED)
        start.resemble(self.model, tokenizer, recipe.SEED)
        start.match(self.model, recipe.SEED)
        self._optimizers = optimizer.build(
            self.model, recipe.MUON_RATE, recipe.ADAM_RATE, recipe.CAREFUL_SHARE
        )
        self._base_rates = [[group["lr"] for group in o.param_groups] for o in self._optimizers]
        self._maker = maker
        self._checkpoint = work / "checkpoint.pt"
        self._next_step = 0
        self.seconds = 0.0
        self.tokens = 0

    def resume(self) -> None:
        """Go on from the checkpoint in the work folder, if there is one."""
        if not self._checkpoint.exists():
            return
        saved = torch.load(self._checkpoint)
        self.model.load_state_dict(saved["model"])
        for own, state in zip(self._optimizers, saved["optimizers"], strict=True):
            own.load_state_dict(state)
        self._next_step, self.seconds, self.tokens = saved["next_step"], saved["seconds"], saved["tokens"]

    def save(self) -> None:
        """Write the checkpoint; a reader never sees half of it."""
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self._optimizers],
                "next_step": self._next_step,
                "seconds": self.seconds,
                "tokens": self.tokens,
            },
            partial,
        )
        os.replace(partial, self._checkpoint)

    def run(self, save_steps: int) -> None:
        """All remaining steps of the schedule."""
        recent: list[float] = []
        for step, stage, row_tokens, factor in schedule():
            if step < self._next_step:
                continue
            began = time.perf_counter()
            ids, learned = batch(self._maker, step, stage, row_tokens)
            recent.append(self._step(ids, weigh(learned, stage.first_token_weight), factor))
            self.seconds += time.perf_counter() - began
            self.tokens += ids.numel()
            self._next_step = step + 1
            if self._next_step % LOG_STEPS == 0:
                print(
                    f"step {self._next_step} row_tokens {row_tokens} rate {factor:.3f} "
                    f"loss {sum(recent) / len(recent):.4f} tokens {self.tokens / 1e6:.2f}M "
                    f"tokens/s {self.tokens / self.seconds:.0f}",
                    flush=True,
                )
                recent.clear()
            if self._next_step % save_steps == 0:
                self.save()
        self.save()

    def _step(self, ids: Tensor, weights: Tensor, factor: float) -> float:
        for own, base_rates in zip(self._optimizers, self._base_rates, strict=True):
            for group, base in zip(own.param_groups, base_rates, strict=True):
                group["lr"] = base * factor
        loss = backward(self.model, ids, weights)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM_MAX)
        for own in self._optimizers:
            own.step()
            own.zero_grad()
        return loss


def build_tokenizer(work: Path) -> Tokenizer:
    """The tokenizer of the recipe, kept in the work folder."""
    path = work / "tokenizer.json"
    if not path.exists():
        tokenizer.build(corpus.tokenizer_texts(recipe.SEED, recipe.TOKENIZER_CONVERSATIONS)).save(str(path))
    return Tokenizer.from_file(str(path))


def evaluate_and_describe(trainer: Trainer, out: Path, threads: int, per_cell: int) -> None:
    """Score the exported files on held-out prompts and write the model card."""
    scores = evaluate.score(Forced(out), prompts.suite(evaluate.token_counter(out), per_cell))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    card.write(out, card.Run(parameters, trainer.tokens, trainer.seconds, threads, per_cell), scores)
    print(evaluate.markdown(scores))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=Path("build/demo_model"), help="folder of checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--per-cell", type=int, default=100, help="held-out prompts for each task and length")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    built = build_tokenizer(options.work)
    trainer = Trainer(options.work, RowMaker(built, recipe.SEED), built)
    trainer.resume()
    trainer.run(options.save_steps)
    export(trainer.model, built, options.out)
    evaluate_and_describe(trainer, options.out, options.threads, options.per_cell)


if __name__ == "__main__":
    main()
