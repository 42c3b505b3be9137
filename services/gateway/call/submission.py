"""One call's streams at the router."""

import asyncio
import dataclasses
from array import array
from collections.abc import Sequence
from functools import partial

from services.common.clock import Clock
from services.common.domain import FinishReason, Receipt, Request, Sampling
from services.common.errors import MeshError
from services.gateway.call.answer import Answer
from services.gateway.call.call import Call
from services.gateway.call.choice import Choice
from services.gateway.call.parts import Route
from services.gateway.call.prepared import Prepared
from services.gateway.call.transcripts import (
    BareTranscript,
    DetailedTranscript,
    ParsedTranscript,
    PlainTranscript,
    SilentTranscript,
    Transcript,
    name_by_id,
)
from services.gateway.links.streams import LiveStream, Streams
from services.gateway.models.served import ServedModel

SEEDS = 2**64
"""Seeds are signed 64-bit."""


class Submission:
    """Submits a call's choices.

    Of several choices of one prompt the first goes alone; the others follow once it has a token, and find
    the prompt in the prefix cache: one prefill serves them all.
    """

    def __init__(
        self,
        streams: Streams,
        call: Call,
        route: Route,
        model: ServedModel,
        prepared: Prepared,
        answer: Answer,
        clock: Clock,
    ) -> None:
        self._streams = streams
        self._call = call
        self._route = route
        self._model = model
        self._prepared = prepared
        self._reading = prepared.reading
        self._answer = answer
        self._clock = clock

    def submit(self, samplings: Sequence[Sampling]) -> None:
        """Submit the first choice of each prompt, and see to the others; `samplings` are by prompt."""
        prompts = self._prepared.prompts
        choices = [
            [self._answer.add_choice(self._transcript(nth)) for _ in range(self._call.generation.n)]
            for nth in range(len(prompts))
        ]
        for prompt, sampling, (first, *others) in zip(prompts, samplings, choices, strict=True):
            if others:
                self._answer.after_first_token(first, partial(self._follow, others, prompt, sampling))
            self._submit(first, prompt, sampling)

    def _follow(self, others: Sequence[Choice], prompt: "array[int]", sampling: Sampling) -> None:
        try:
            for nth, choice in enumerate(others, 1):
                self._submit(choice, prompt, _nth(sampling, nth))
        except MeshError as error:
            self._answer.fail(error)

    def _submit(self, choice: Choice, prompt: "array[int]", sampling: Sampling) -> None:
        request = self._request(choice.number, prompt, sampling)
        choice.is_open = True
        final_ids = _final_ids(sampling, self._model)
        if request.delivered:
            is_stopped = choice.resume(request.delivered)
            if is_stopped or LiveStream(0, request, choice, final_ids).is_complete():
                asyncio.get_running_loop().call_soon(_end, choice, request, final_ids)
                return
        try:
            live = self._streams.submit(request, choice, final_ids)
        except MeshError:
            choice.is_open = False
            raise
        choice.cancel = partial(self._streams.cancel, live)

    def _request(self, number: int, prompt: "array[int]", sampling: Sampling) -> Request:
        call, generation = self._call, self._call.generation
        is_alone = generation.n * len(generation.prompts) == 1
        request = Request(
            request_id=call.request_id if is_alone else f"{call.request_id}-{number}",
            model=self._route.model,
            prompt=prompt,
            sampling=sampling,
            tenant=call.caller.tenant,
            tenant_weight=call.caller.weight,
            service_class=call.service_class,
            deadline_ms=self._left_ms(),
            cache_salt=call.cache_salt,
            strict_disaggregation=generation.strict_disaggregation,
            # Choices of one prompt belong together, and so to one worker.
            session_key=call.session_key or (call.request_id if generation.n > 1 else ""),
            lora=self._route.lora,
            priority=call.priority,
        )
        delivered = generation.delivered.get(number)
        return request if delivered is None else dataclasses.replace(request, delivered=delivered)

    def _left_ms(self) -> int | None:
        """What is left of the caller's deadline; one that has passed is for the router to refuse."""
        if self._call.deadline_ms is None:
            return None
        spent_ms = self._clock.now_ms() - self._call.received_ms
        return max(1, int(self._call.deadline_ms - spent_ms))

    def _transcript(self, nth: int) -> Transcript:
        """What makes pieces of one of the n-th prompt's choices; plain text needs only the first."""
        prompt = self._prepared.prompts[nth]
        generation, reading = self._call.generation, self._reading
        made: Transcript = self._plain(nth) if generation.returns_text else SilentTranscript()
        has_details = generation.returns_token_ids or generation.sampling.logprobs is not None
        if reading is not None and isinstance(made, PlainTranscript):
            named = generation.tools.named if generation.tools is not None else ""
            made = ParsedTranscript(made, reading.open(prompt), named=named)
            has_details = has_details and not reading.hides_reasoning
        if has_details:
            name = name_by_id if generation.names_token_ids else self._model.renderer.token
            made = DetailedTranscript(made, name, has_ids=generation.returns_token_ids)
        return made

    def _plain(self, nth: int) -> PlainTranscript:
        prepared, generation, renderer = self._prepared, self._call.generation, self._model.renderer
        shows_special = generation.shows_special or (
            self._reading is not None and self._reading.shows_special
        )
        detokenizer = renderer.open_detokenizer(prepared.prompts[nth], shows_special=shows_special)
        hidden_ids = () if generation.shows_stop else generation.sampling.stop_token_ids
        if not (generation.stops or generation.echoes or hidden_ids):
            return BareTranscript(detokenizer)
        return PlainTranscript(
            detokenizer,
            generation.stops,
            shows_stop=generation.shows_stop,
            min_tokens=generation.sampling.min_tokens,
            begins_with=prepared.echoes[nth] if generation.echoes else "",
            hidden_ids=hidden_ids,
        )


def _end(choice: Choice, request: Request, final_ids: frozenset[int]) -> None:
    """The caller has all tokens of this choice; only the word of its end was missing."""
    is_stop = request.delivered[-1] in final_ids
    receipt = Receipt(
        request_id=request.request_id,
        prompt_tokens=len(request.prompt),
        generated_tokens=len(request.delivered),
    )
    choice.on_ended(FinishReason.STOP if is_stop else FinishReason.LENGTH, receipt)


def _nth(sampling: Sampling, nth: int) -> Sampling:
    """Sampling of a prompt's n-th choice: another seed, or all choices would be the same."""
    if sampling.seed is None:
        return sampling
    seed = (sampling.seed + nth + SEEDS // 2) % SEEDS - SEEDS // 2  # after the highest comes the lowest
    return dataclasses.replace(sampling, seed=seed)


def _final_ids(sampling: Sampling, model: ServedModel) -> frozenset[int]:
    """Tokens after which an engine says nothing more."""
    own = frozenset() if sampling.ignore_eos else model.renderer.eos_ids
    return own | frozenset(sampling.stop_token_ids)
