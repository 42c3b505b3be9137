"""What an engine reports after one step, for all its streams at once."""

from array import array
from dataclasses import dataclass, field
from enum import IntEnum

from services.common.domain.logprobs import LogprobColumns, TokenLogprobs
from services.common.domain.record import record
from services.common.domain.tokens import no_tokens, tokens

_ONE = tokens([1])


class FinishReason(IntEnum):
    """Why generation ended."""

    STOP = 1
    LENGTH = 2
    CANCELLED = 3
    ERROR = 4


class FailureKind(IntEnum):
    """Whose fault a failed job is, which decides what happens next."""

    INVALID = 1
    """No engine can run this job: the caller's fault."""
    HANDOFF = 2
    """The KV did not arrive; the job can run locally."""
    ENGINE = 3
    """The engine failed; the job can run elsewhere."""
    LEAVING = 4
    """The worker leaves; the job can run elsewhere."""
    FULL = 5
    """The worker has too many jobs; this one can run elsewhere."""


@dataclass(slots=True)
class TokenColumns:
    """Tokens of one step as a structure of arrays.

    `streams` and `counts` have one entry per stream, `token_ids` holds all tokens, stream after stream.
    """

    streams: "array[int]" = field(default_factory=no_tokens)
    counts: "array[int]" = field(default_factory=no_tokens)
    token_ids: "array[int]" = field(default_factory=no_tokens)
    logprobs: LogprobColumns | None = None
    """Of the streams that asked; each has as many there as it has tokens here."""

    @classmethod
    def one_each(cls, streams: "array[int]", token_ids: "array[int]") -> "TokenColumns":
        """One token for each stream."""
        return cls(streams, _ONE * len(streams), token_ids)

    def add(self, stream: int, ids: "array[int]") -> None:
        """Append one stream's tokens."""
        self.streams.append(stream)
        self.counts.append(len(ids))
        self.token_ids.extend(ids)

    def add_one(self, stream: int, token_id: int) -> None:
        """Append one stream's single token."""
        self.streams.append(stream)
        self.counts.append(1)
        self.token_ids.append(token_id)

    def extend(self, other: "TokenColumns") -> None:
        """Append another step's tokens."""
        self.streams.extend(other.streams)
        self.counts.extend(other.counts)
        self.token_ids.extend(other.token_ids)
        if other.logprobs is not None:
            self._logprob_columns().extend(other.logprobs)

    def add_logprobs(self, stream: int, of_tokens: TokenLogprobs) -> None:
        """Append the logprobs of tokens that are added for the same stream."""
        self._logprob_columns().add(stream, of_tokens)

    def _logprob_columns(self) -> LogprobColumns:
        if self.logprobs is None:
            self.logprobs = LogprobColumns()
        return self.logprobs

    def is_one_each(self) -> bool:
        """Whether every entry is one token without logprobs."""
        return self.logprobs is None and self.counts.count(1) == len(self.counts)

    def is_well_formed(self) -> bool:
        """Whether the columns' lengths agree, and logprobs are those of the tokens."""
        agree = len(self.streams) == len(self.counts) and sum(self.counts) == len(self.token_ids)
        return agree and (self.logprobs is None or self._describes_tokens(self.logprobs))

    def _describes_tokens(self, columns: LogprobColumns) -> bool:
        if not columns.is_well_formed():
            return False
        wanted = dict.fromkeys(columns.streams, 0)
        for stream, count in zip(self.streams, self.counts, strict=True):
            if stream in wanted:
                wanted[stream] += count
        for stream, count in zip(columns.streams, columns.counts, strict=True):
            wanted[stream] -= count
        return not any(wanted.values())


@record
class HandoffOffered:
    """A prefill job is done: its first token, and its KV waiting under a lease."""

    stream: int
    handoff_id: str
    connector_params: bytes
    kv_tokens: int
    kv_blocks: int
    kv_size_bytes: int
    lease_ms: int
    token_ids: "array[int]"
    cached_tokens: int = 0
    logprobs: TokenLogprobs | None = None
    """Of the tokens, if the job asked."""


@record
class HandoffAdopted:
    """The decode worker owns the KV."""

    stream: int
    handoff_id: str
    kv_size_bytes: int
    transfer_ms: float
    transport: str = ""
    """What the KV travelled by, in the engine's words, such as "tcp (tcp/eth0)"; "" where not known."""


@record
class HandoffReleased:
    """The prefill worker has freed the blocks; once for each offer, however it ended."""

    handoff_id: str
    expired: bool = False
    """True when the lease ran out before anybody settled it."""


@record
class JobFinished:
    """A successful end, after the last token. A prefill job that offers does not finish: it is offered."""

    stream: int
    reason: FinishReason
    cached_tokens: int = 0
    vector: "array[float] | None" = None
    """Of an EMBED job."""


@record
class JobFailed:
    """A job's unsuccessful end."""

    stream: int
    kind: FailureKind
    message: str
    field: str = ""
    """Of the request, where the fault is a field's; as REST bodies call it."""


@record
class KvChange:
    """A change of the prefix cache: everything cleared, then blocks removed, then blocks stored."""

    stored_block_hashes: tuple[bytes, ...] = ()
    parent_block_hash: bytes = b""
    """Empty for a text's first block."""
    removed_block_hashes: tuple[bytes, ...] = ()
    token_ids: "array[int]" = field(default_factory=no_tokens)
    """Tokens of the stored blocks."""
    block_size_tokens: int = 0
    cache_salt: str = ""
    """Known where the parent is empty."""
    lora: str = ""
    cleared: bool = False


@dataclass(slots=True)
class StepOutput:
    """One engine step's news. Consumers take the parts in this order."""

    offered: list[HandoffOffered] = field(default_factory=list)
    adopted: list[HandoffAdopted] = field(default_factory=list)
    tokens: TokenColumns = field(default_factory=TokenColumns)
    finished: list[JobFinished] = field(default_factory=list)
    failed: list[JobFailed] = field(default_factory=list)
    released: list[HandoffReleased] = field(default_factory=list)
    kv_changes: list[KvChange] = field(default_factory=list)

    def has_news(self) -> bool:
        """Whether there is anything in it."""
        parts = (self.offered, self.adopted, self.finished, self.failed, self.released, self.kv_changes)
        return bool(self.tokens.streams) or any(parts)
