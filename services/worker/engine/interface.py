"""The engine as a worker sees it. No other module of the mesh knows which engine runs."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from services.common.domain import Capacity, EmbeddingModel, Fingerprint, Job, LoadReport, StepOutput

LOOPBACK = "127.0.0.1"
"""Where KV is handed over unless the worker knows better: to workers of this host alone."""


class EngineSink(Protocol):
    """Takes an engine's news, on the event loop's thread; must not block and must not raise."""

    def on_step(self, output: StepOutput) -> None:
        """Take one step's news for all streams."""

    def on_engine_dead(self, why: str) -> None:
        """Take notice that the engine is gone for good; no further step will come."""


class Engine(Protocol):
    """A model being run.

    Every submitted job ends in exactly one of: `JobFinished`, `JobFailed`, `HandoffOffered`
    (a PREFILL job; its KV then ends in exactly one `HandoffReleased`), or silence after `abort`
    (nothing is reported for a stream once `abort` has returned).
    All methods are called on the event loop's thread.
    """

    @property
    def fingerprint(self) -> Fingerprint:
        """What must agree with a handoff's other side; valid after `start`."""

    @property
    def capacity(self) -> Capacity:
        """What the engine can hold; valid after `start`."""

    @property
    def role_is_fixed(self) -> bool:
        """Whether it runs the jobs of the role that it was created for alone; valid after `start`."""

    @property
    def can_replay(self) -> bool:
        """Whether a job's delivered tokens can be run as generated ones, where its sampling tells them
        from the prompt (`Sampling.continues_exactly` is False); valid after `start`."""

    @property
    def adapters(self) -> Mapping[str, str]:
        """LoRA adapters that jobs may name: name -> digest of its content; valid after `start`."""

    @property
    def limits_thinking(self) -> bool:
        """Whether it keeps a job's `Sampling.thinking_tokens_max`; valid after `start`."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids that the model can read lie below it; 0 where that is unknown; valid after `start`."""

    @property
    def embedding_model(self) -> EmbeddingModel | None:
        """Of an engine that runs EMBED jobs and no others; `None` where it generates; valid after `start`."""

    @property
    def handoff_address(self) -> str:
        """HOST:PORT at which others take KV over; "" where nothing is handed over; valid after `start`."""

    async def start(self, sink: EngineSink, handoff_host: str = LOOPBACK) -> None:
        """Load the model, to hand KV over at this IP address of the host.

        Raises `EngineStartFailed` with one clear line.
        """

    def submit(self, job: Job) -> None:
        """Queue a job. Never blocks, never raises for the job's sake: a bad job is reported as failed."""

    def abort(self, streams: Iterable[int]) -> None:
        """End jobs and free all they hold within one step. Unknown streams are ignored.

        A PREFILL job aborted after its offer is not touched: that KV is settled by `release`.
        An ADOPT job aborted before its adoption drops the handoff, so that the prefill side frees it.
        """

    def release(self, handoff_ids: Iterable[str]) -> None:
        """Free offered KV that nobody will adopt. Unknown ids are ignored; idempotent."""

    def load(self) -> LoadReport:
        """What the engine holds at the moment; cheap."""

    def stats(self) -> dict[str, float]:
        """Numbers of this kind of engine alone, for metrics: running totals, and gauges, by name."""

    async def check(self) -> None:
        """Deep health: really generate a few tokens, or make a vector; raises `EngineUnhealthy`."""

    async def close(self) -> None:
        """Stop the engine and free everything; idempotent."""
