"""One vLLM step -> one `StepOutput`."""

import json
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFailed,
    JobFinished,
    JobKind,
    StepOutput,
    TokenLogprobs,
)
from services.common.domain.tokens import tokens
from services.worker.engine.constraints import STRUCTURE, nothing_left
from services.worker.engine.vllm.counters import NOTHING, Counters, Pulled
from services.worker.engine.vllm.jobs import LiveJob
from services.worker.engine.vllm.pooling import to_vector

_STOP, _LENGTH, _ERROR, _REPETITION = "stop", "length", "error", "repetition"
_FINISH = {_STOP: FinishReason.STOP, _REPETITION: FinishReason.STOP, _LENGTH: FinishReason.LENGTH}


@dataclass(slots=True)
class Offers:
    """Handoffs that this engine has offered and whose KV it still holds."""

    request_of: dict[str, str] = field(default_factory=dict)
    handoff_of: dict[str, str] = field(default_factory=dict)

    def add(self, handoff_id: str, request_id: str) -> None:
        """Note an offer."""
        self.request_of[handoff_id] = request_id
        self.handoff_of[request_id] = handoff_id

    def pop(self, request_id: str) -> str | None:
        """The handoff of a request whose KV is free, once."""
        handoff_id = self.handoff_of.pop(request_id, None)
        if handoff_id is not None:
            del self.request_of[handoff_id]
        return handoff_id


@dataclass(slots=True)
class Translator:
    """Reads vLLM's step outputs and keeps the tables of live jobs and offers in step with them."""

    live: dict[str, LiveJob]
    offers: Offers
    counters: Counters
    engine_id: str
    kv_block_size_bytes: int
    lease_ms: int
    drop_offer: Callable[[str], None]
    """Called with the request id of an offer that nobody waits for."""
    abort: Callable[[str], None]
    """Called with the id of a request whose rest nobody wants."""

    def translate(self, outputs: Any) -> StepOutput:
        """This step's news, tables updated."""
        step = StepOutput()
        stats = outputs.scheduler_stats
        news = stats.kv_connector_stats if stats is not None else None
        if news:
            self._pulling(news)
        for output in outputs.outputs:
            if output.finish_reason is not None and str(output.finish_reason) == _ERROR:
                self._fail(output, step)
        if news:
            self._handoffs(news, step)
        for output in outputs.outputs:
            self._output(output, outputs.timestamp, step)
        return step

    def _fail(self, output: Any, step: StepOutput) -> None:
        """vLLM ends one request and goes on: its KV did not come, or it is the request's own fault.

        A grammar is made before KV is pulled, so without a pull it is the grammar.
        """
        live = self._end(output.request_id)
        if live is None:
            return
        stream, sampling = live.job.stream, live.job.sampling
        in_handoff = live.job.kind is JobKind.ADOPT and not live.adopted
        if in_handoff and (live.pulling or live.pull_failure or sampling.structured is None):
            message = live.pull_failure or "the KV could not be pulled"
            step.failed.append(JobFailed(stream, FailureKind.HANDOFF, message))
        elif sampling.structured is None:
            step.failed.append(JobFailed(stream, FailureKind.ENGINE, "vLLM failed the request"))
        elif isinstance(output.stop_reason, str):
            message = f"{STRUCTURE}: {output.stop_reason}"
            step.failed.append(JobFailed(stream, FailureKind.INVALID, message, STRUCTURE))
        else:
            step.failed.append(nothing_left(stream, sampling))

    def _pulling(self, news: dict[str, list[Any]]) -> None:
        for request_id in news.get("pulling", ()):
            if request_id in self.live:
                self.live[request_id].pulling = True
        for request_id, why in news.get("failed", ()):
            if request_id in self.live:
                self.live[request_id].pull_failure = why

    def _handoffs(self, news: dict[str, list[Any]], step: StepOutput) -> None:
        pulled = self.counters.take_in(news)
        for request_id in news.get("settled", ()):
            moved = pulled.pop(request_id, NOTHING)
            if (live := self.live.get(request_id)) is not None:
                self._adopt(live, moved, step)
        expired = set(news.get("expired", ()))
        for request_id in news.get("freed", ()):
            handoff_id = self.offers.pop(request_id)
            if handoff_id is not None:
                step.released.append(HandoffReleased(handoff_id, expired=request_id in expired))

    def _adopt(self, live: LiveJob, moved: Pulled, step: StepOutput) -> None:
        live.adopted = True
        live.settle()
        if live.job.handoff is not None:
            handoff_id = live.job.handoff.handoff_id
            took_ms = moved.seconds * 1_000
            step.adopted.append(
                HandoffAdopted(live.job.stream, handoff_id, moved.size_bytes, took_ms, moved.transport)
            )

    def _output(self, output: Any, timestamp: float, step: StepOutput) -> None:
        live = self.live.get(output.request_id)
        if live is None:
            if output.kv_transfer_params and output.kv_transfer_params.get("remote_block_ids"):
                self.drop_offer(output.request_id)
            return
        if output.prefill_stats is not None:
            live.cached_tokens = output.prefill_stats.num_local_cached_tokens
            self.counters.count_prefill(output.prefill_stats)
        if output.pooling_output is not None:
            self._vector(live, output, step)
            return
        if output.new_token_ids:
            live.started = True
        if live.constraints is not None and (broken := live.constraints.broken_by(output.new_token_ids)):
            self._contradict(live, output, broken, step)
            return
        if live.offers and output.kv_transfer_params:
            self._offer(live, output, timestamp, step)
            return
        if live.job.kind is JobKind.ADOPT and not live.adopted:
            # All of it was in this engine's own prefix cache: nothing moved.
            self._adopt(live, NOTHING, step)
        self._tokens(live, output, step)

    def _contradict(self, live: LiveJob, output: Any, broken: str, step: StepOutput) -> None:
        """vLLM said what it may not, since nothing else was left: that is no part of an answer."""
        self._end(live.request_id)
        if output.finish_reason is None:
            self.abort(live.request_id)
        elif live.offers and output.kv_transfer_params:
            self.drop_offer(live.request_id)
        step.failed.append(nothing_left(live.job.stream, live.job.sampling, broken))

    def _vector(self, live: LiveJob, output: Any, step: StepOutput) -> None:
        self._end(output.request_id)
        made = to_vector(output.pooling_output)
        if made is None:
            message = "the vector has numbers that are none"
            step.failed.append(JobFailed(live.job.stream, FailureKind.ENGINE, message))
        else:
            end = JobFinished(live.job.stream, FinishReason.STOP, live.cached_tokens, made)
            step.finished.append(end)

    def _tokens(self, live: LiveJob, output: Any, step: StepOutput) -> None:
        fresh = _not_replayed(live, output.new_token_ids) if live.replay else output.new_token_ids
        if fresh is None:
            self._give_up(live, step)
            return
        match fresh:
            case []:
                pass
            case [token_id]:
                step.tokens.add_one(live.job.stream, token_id)
            case many:
                step.tokens.add(live.job.stream, tokens(many))
        if fresh and (described := _described(live, output, len(fresh))) is not None:
            step.tokens.add_logprobs(live.job.stream, described)
        if output.finish_reason is None:
            return
        self._end(output.request_id)
        reason = _FINISH.get(str(output.finish_reason))
        if reason is None or (live.offers and reason is FinishReason.LENGTH):
            message = f"vLLM ended the request: {output.finish_reason}"
            step.failed.append(JobFailed(live.job.stream, FailureKind.ENGINE, message))
        else:
            step.finished.append(JobFinished(live.job.stream, reason, live.cached_tokens))

    def _give_up(self, live: LiveJob, step: StepOutput) -> None:
        """The engine went another way than before: nothing that follows would be the same answer's."""
        self._end(live.request_id)
        self.abort(live.request_id)
        message = "the engine did not generate the delivered tokens again"
        step.failed.append(JobFailed(live.job.stream, FailureKind.ENGINE, message))

    def _offer(self, live: LiveJob, output: Any, timestamp: float, step: StepOutput) -> None:
        self._end(output.request_id)
        params = output.kv_transfer_params
        blocks = sum(len(group) for group in params["remote_block_ids"])
        handoff_id = f"{self.engine_id}-{output.request_id}"
        self.offers.add(handoff_id, output.request_id)
        age_ms = (time.monotonic() - timestamp) * 1_000
        step.offered.append(
            HandoffOffered(
                stream=live.job.stream,
                handoff_id=handoff_id,
                connector_params=json.dumps(params).encode(),
                kv_tokens=live.text_tokens,
                kv_blocks=blocks,
                kv_size_bytes=blocks * self.kv_block_size_bytes,
                lease_ms=max(0, int(self.lease_ms - age_ms)),
                token_ids=tokens(output.new_token_ids),
                cached_tokens=live.cached_tokens,
                logprobs=_described(live, output, len(output.new_token_ids)),
            )
        )

    def _end(self, request_id: str) -> LiveJob | None:
        live = self.live.pop(request_id, None)
        if live is not None:
            live.settle()
        return live


def _described(live: LiveJob, output: Any, count: int) -> TokenLogprobs | None:
    """Logprobs of a step's last `count` tokens, if the job asked."""
    alternatives = live.job.sampling.logprobs
    if alternatives is None or output.new_logprobs is None:
        return None
    return to_logprobs(output.new_logprobs, alternatives, count)


def to_logprobs(lists: Any, alternatives: int, count: int) -> TokenLogprobs:
    """The last `count` rows of vLLM's LogprobsLists, whose first column is the chosen token's.

    The rows are as wide as the batch's most demanding request wants them.
    """
    values = lists.logprobs[-count:].astype("float32")
    beside = slice(1, 1 + alternatives)
    return TokenLogprobs(
        alternatives,
        array("f", values[:, 0].tobytes()),
        array("I", lists.logprob_token_ids[-count:, beside].astype("uint32").tobytes()),
        array("f", values[:, beside].tobytes()),
    )


def _not_replayed(live: LiveJob, token_ids: list[int]) -> list[int] | None:
    """A step's tokens without those that the caller already has; None when these are others than it has."""
    again = min(len(live.replay), len(token_ids))
    if live.replay[:again] != token_ids[:again]:
        return None
    del live.replay[:again]
    return token_ids[again:]
