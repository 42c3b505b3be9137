"""Jobs in the engine: built into vLLM requests, kept while they live."""

import asyncio
import dataclasses
import json
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.domain import (
    SHAPE_REFUSED,
    EmbeddingAsk,
    EmbeddingModel,
    HandoffTicket,
    Job,
    JobKind,
    Sampling,
)
from services.common.domain.address import join_address
from services.common.domain.tokens import no_tokens
from services.worker.engine.constraints import STRUCTURE, Constraints
from services.worker.engine.handoff_failure import stuck
from services.worker.engine.vllm import pooling
from services.worker.engine.vllm.adapters import Adapter
from services.worker.engine.vllm.refusal import refusal
from services.worker.engine.vllm.sampling import extra_args, to_vllm

PULL_DEADLINE = "mesh_pull_deadline"
"""Key in a request's kv_transfer_params: `time.monotonic()` before which its pull must begin."""

_TICKET_KEYS = (
    "remote_block_ids",
    "remote_engine_id",
    "remote_request_id",
    "remote_host",
    "remote_port",
    "remote_num_tokens",
    "tp_size",
    "dcp_size",
    "pp_size",
    "transfer_mode",
)


_FIELDS = frozenset(field.name for field in dataclasses.fields(Sampling))
_STATE = "penalties, a seed, bad words or a structure"


class BadTicket(ValueError):
    """A handoff's ticket does not fit the job or this engine."""


class BadField(ValueError):
    """A field of the request, by its name in REST bodies, has a value that no engine can serve."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(slots=True)
class LiveJob:
    """One job that the engine holds."""

    job: Job
    request_id: str
    offers: bool
    """A prefill whose KV is to be offered."""
    text_tokens: int
    """Prompt and delivered tokens."""
    started: bool = False
    """Has generated a token."""
    pulling: bool = False
    pull_failure: str = ""
    """Why the KV did not come, in the connector's words."""
    adopted: bool = False
    cached_tokens: int = 0
    replay: list[int] = field(default_factory=list)
    """Delivered tokens that the engine has still to generate again; they are not reported."""
    constraints: Constraints | None = None
    """What it may not say, for one that may not say everything."""
    expiry: asyncio.TimerHandle | None = None

    def settle(self) -> None:
        """Stop the ticket's clock."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Makes vLLM requests with vLLM's own input processor."""

    inputs: Any
    block_size_tokens: int
    max_model_len_tokens: int
    can_replay: bool
    adapters: Mapping[str, Adapter]
    vocabulary_size: int
    embedding_model: EmbeddingModel | None = None

    def build(self, job: Job, request_id: str) -> tuple[LiveJob, Any]:
        """The job's entry and its EngineCoreRequest.

        Raises `BadTicket`, or ValueError with one line for what vLLM refuses.
        """
        from vllm.exceptions import VLLMClientError

        if (job.embedding is None) != (self.embedding_model is None):
            raise ValueError("a model generates or gives vectors, and not the other")
        try:
            if job.embedding is not None:
                return self._build_embedding(job, job.embedding, request_id)
            return self._build(job, request_id)
        except VLLMClientError as error:
            raise _bad_field(job, error) from error

    def _build(self, job: Job, request_id: str) -> tuple[LiveJob, Any]:
        text = job.prompt + job.delivered
        self._check_tokens(job)
        replays = self._replays(job)
        offers = self._offers(job, len(text))
        connector_params = self._connector_params(job.handoff, len(text)) if job.kind is JobKind.ADOPT else {}
        params = to_vllm(
            job.sampling,
            delivered_tokens=0 if replays else len(job.delivered),
            one_token=job.kind is JobKind.PREFILL,
            extra_args=extra_args(job, offers=offers, replays=replays, connector_params=connector_params),
        )
        request = self._request(job, request_id, job.prompt if replays else text, params, "generate")
        live = LiveJob(job=job, request_id=request_id, offers=offers, text_tokens=len(text))
        live.replay = job.delivered.tolist() if replays else []
        said = no_tokens() if replays else job.delivered  # what is replayed comes again
        live.constraints = Constraints.of(job.sampling, request.sampling_params.all_stop_token_ids, said)
        return live, request

    def _build_embedding(self, job: Job, ask: EmbeddingAsk, request_id: str) -> tuple[LiveJob, Any]:
        self._check_tokens(job)
        request = self._request(job, request_id, job.prompt, pooling.to_vllm(ask), pooling.TASK)
        return LiveJob(job=job, request_id=request_id, offers=False, text_tokens=len(job.prompt)), request

    def _request(self, job: Job, request_id: str, ids: "array[int]", params: Any, task: str) -> Any:
        """vLLM's EngineCoreRequest."""
        prompt = {"type": "token", "prompt_token_ids": ids.tolist(), "cache_salt": job.cache_salt or None}
        return self.inputs.process_inputs(
            request_id,
            prompt,
            params,
            supported_tasks=(task,),
            lora_request=self._adapter(job.lora),
            priority=job.priority,
        )

    def _adapter(self, name: str) -> Any:
        if name and name not in self.adapters:
            raise ValueError(f"there is no adapter {name!r} here")
        return self.adapters[name].request() if name else None

    def _check_tokens(self, job: Job) -> None:
        """Raise `BadField` for a token that the model cannot read or say: its engine process would end.

        vLLM itself lets tokens pass that the tokenizer alone knows.
        """
        words = job.sampling.bad_words
        if any(not word for word in words):
            raise BadField("bad_words: a word has no tokens", "bad_words")
        highest = {
            "prompt": max(job.prompt, default=0),
            "delivered": max(job.delivered, default=0),
            "bad_words": max(map(max, words), default=0),
        }
        for name, token_id in highest.items():
            if token_id >= self.vocabulary_size:
                raise BadField(
                    f"{name}: token id {token_id} is unknown to the model, whose ids lie below "
                    f"{self.vocabulary_size}",
                    name,
                )

    def _replays(self, job: Job) -> bool:
        """Whether delivered tokens must be generated again; raises ValueError where that cannot be."""
        if job.sampling.continues_exactly or not job.delivered:
            return False
        if not self.can_replay:
            raise ValueError(f"this engine cannot go on after delivered tokens with {_STATE}")
        if job.kind is JobKind.PREFILL:
            raise ValueError(f"a prefill cannot follow delivered tokens with {_STATE}")
        if job.kind is JobKind.ADOPT and len(job.delivered) > 1:
            raise BadTicket(f"with {_STATE}, only the prompt's KV can be adopted")
        if job.tokens_left < 1:
            raise ValueError("all tokens are delivered")
        return True

    def _offers(self, job: Job, text_tokens: int) -> bool:
        """Whether anything is left to generate after a prefill's token."""
        room = text_tokens + 1 < self.max_model_len_tokens
        return job.kind is JobKind.PREFILL and job.tokens_left > 1 and room

    def _connector_params(self, ticket: HandoffTicket | None, text_tokens: int) -> dict[str, Any]:
        if ticket is None:
            raise BadTicket("an ADOPT job without a ticket")
        if ticket.kv_tokens != text_tokens - 1:
            raise BadTicket(f"the ticket covers {ticket.kv_tokens} tokens, the job needs {text_tokens - 1}")
        if ticket.expires_in_ms <= 0:
            raise BadTicket("the ticket has expired")
        params = _parse_params(ticket.connector_params)
        blocks = -(-ticket.kv_tokens // self.block_size_tokens)
        # vLLM's decode side dies on a block list of another length.
        if max((len(group) for group in params["remote_block_ids"]), default=0) != blocks:
            raise BadTicket(f"the ticket does not name the {blocks} blocks of {ticket.kv_tokens} tokens")
        deadline = time.monotonic() + ticket.expires_in_ms / 1_000
        return params | {"do_remote_prefill": True, "do_remote_decode": False, PULL_DEADLINE: deadline}


def _bad_field(job: Job, error: Exception) -> BadField:
    """What vLLM objects to, and in which field; of an answer's shape it names none."""
    field, message = str(getattr(error, "parameter", "")), refusal(str(error.args[0]), job)
    if message.startswith(SHAPE_REFUSED):
        return BadField(message, STRUCTURE)
    return BadField(f"{field}: {message}", field) if field in _FIELDS else BadField(message, "")


def _parse_params(encoded: bytes) -> dict[str, Any]:
    try:
        given = json.loads(encoded)
        return {key: given[key] for key in _TICKET_KEYS}
    except (ValueError, KeyError, TypeError) as error:
        raise BadTicket(f"the ticket's connector parameters are not NIXL's: {error!r}") from error


def why_expired(live: LiveJob) -> str:
    """Why the KV of a job did not come before its ticket's end, for the operator."""
    ticket = live.job.handoff
    if ticket is None or live.pull_failure:
        return live.pull_failure or "there was no ticket"
    params = json.loads(ticket.connector_params)
    address = join_address(str(params["remote_host"]), int(params["remote_port"]))
    return stuck(address, ticket.expires_in_ms / 1_000)
