"""One call's answer: all its choices, and what it took."""

from collections.abc import Callable
from operator import attrgetter

from services.common.clock import Clock
from services.common.domain import PATH_NAMES
from services.common.errors import MeshError
from services.gateway.accounts.metering.kv_seconds import kv_seconds
from services.gateway.call.call import Call
from services.gateway.call.choice import Choice
from services.gateway.call.metrics import AnswerSeries
from services.gateway.call.parts import Meter, Reservation, Route, Use
from services.gateway.call.prepared import Prepared
from services.gateway.call.receipt import receipts_json
from services.gateway.call.timed_choice import TimedChoice
from services.gateway.call.transcripts import Transcript
from services.gateway.call.writers import Ending, Piece, Template, Usage, Writer
from services.gateway.links.streams import Placement
from services.gateway.metrics import Metrics
from services.gateway.tenants.internals import told

_generated_tokens = attrgetter("generated_tokens")
_reasoning_tokens = attrgetter("reasoning_tokens")
_cached_tokens = attrgetter("receipt.cached_tokens")


class Answer:
    """Brings the choices together: the answer ends with its last one, and fails with the first that fails.

    However it ends, quota is settled and use is booked exactly once: with the last word of the router, which
    says of streams that were cancelled whether a worker had the prompt.
    """

    def __init__(
        self,
        call: Call,
        route: Route,
        prepared: Prepared,
        writer: Writer,
        reservation: Reservation,
        meter: Meter,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.write: Callable[[int, Piece], None] = writer.write
        """The writer's own method, for it is called once per token."""
        self._call = call
        self._route = route
        self._prompts_tokens = list(map(len, prepared.prompts))
        self._prompt_tokens = sum(self._prompts_tokens)
        self._extra = prepared.extra
        self._sees_internals = call.caller.sees_internals
        self._writer = writer
        self._reservation = reservation
        self._meter = meter
        self._metrics = metrics
        self._clock = clock
        self._choices: list[Choice] = []
        self._on_began: dict[int, Callable[[], None]] = {}
        self._is_over = self._is_settled = False
        self._first_ms = 0.0
        self._path = ""
        self._series: AnswerSeries | None = None
        """What the answer is counted in, once its first token is there."""

    def add_choice(self, transcript: Transcript) -> Choice:
        """The next choice; all are added before the first is submitted."""
        number, metrics = len(self._choices), self._metrics.answers
        if metrics.times_next_choice():
            choice: Choice = TimedChoice(number, transcript, self, metrics.itl_seconds, self._clock)
        else:
            choice = Choice(number, transcript, self)
        self._choices.append(choice)
        return choice

    def after_first_token(self, choice: Choice, then: Callable[[], None]) -> None:
        """Call `then` once a choice has its first token, or ended without any."""
        self._on_began[choice.number] = then

    def generated_tokens(self, number: int) -> int:
        """Tokens that a choice has so far."""
        return self._choices[number].generated_tokens

    # What the choices say.

    def placed(self, choice: Choice, placement: Placement) -> None:
        """Tell where the first choice runs."""
        if choice.number == 0 and not self._is_over:
            self._path = PATH_NAMES[placement.path]
            self._writer.on_placed(placement if self._sees_internals else placement.without_names())

    def template(self, number: int) -> Template | None:
        """What writes a choice's text from now on, if nothing but text is to be written."""
        return self._writer.template(number)

    def began(self, choice: Choice) -> None:
        """Note the first token of all, and let those go that waited for this choice's."""
        if not self._first_ms:
            self._first_ms = self._clock.now_ms()
            call = self._call
            self._series = self._metrics.answers.series(self._route.model, self._path, call.service_class)
            self._series.ttft_seconds.observe((self._first_ms - call.received_ms) / 1000.0)
        self._release_waiting(choice)

    def ended(self, choice: Choice) -> None:
        """Write a choice's end, and the answer's with the last."""
        if self._is_over:
            return
        self._writer.end_choice(choice.number, choice.finish_reason, choice.stop_reason)
        self._release_waiting(choice)
        if all(choice.finish_reason for choice in self._choices):
            self._finish()

    def failed(self, choice: Choice, error: MeshError) -> None:
        """Half an answer is none: end the other choices too."""
        self.fail(self._call.generation.in_callers_words(error))

    def left(self, choice: Choice) -> None:
        """Settle with the last stream of an answer that is over."""
        self._settle()

    # The end.

    def fail(self, error: MeshError) -> None:
        """End with an error."""
        if not self._is_over:
            self._close()
            self._abandon()
            self._writer.fail(told(error, self._call.caller))

    def on_gone(self, _: MeshError) -> None:
        """Nobody reads any more."""
        if not self._is_over:
            self._close()
            self._abandon()

    def take_back(self) -> None:
        """The call was refused after all: nothing of it is to be left, and nobody hears of it."""
        self._is_over = True
        self._abandon()
        self._settle()

    def _release_waiting(self, choice: Choice) -> None:
        if self._on_began and (then := self._on_began.pop(choice.number, None)) is not None:
            then()

    def _abandon(self) -> None:
        self._on_began.clear()
        for choice in self._choices:
            choice.abandon()

    def _finish(self) -> None:
        generated = self._close()
        self._count_objectives(generated)
        receipts = [choice.receipt for choice in self._choices] if self._sees_internals else []
        extra: dict[str, object] = {**self._extra}
        if self._call.generation.includes_receipt and self._sees_internals:
            extra["pdmesh"] = receipts_json(receipts, self._route.reason)
        if self._call.retrieval is not None:
            extra["retrieval"] = self._call.retrieval.as_json()
        self._call.notes["finish_reason"] = self._choices[0].finish_reason
        self._writer.finish(Ending(self._usage(generated), receipts, extra))

    def _usage(self, generated: int) -> Usage:
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=generated,
            cached_tokens=self._cached_tokens(),
            reasoning_tokens=sum(map(_reasoning_tokens, self._choices)),
        )

    def _cached_tokens(self) -> int:
        """Each prompt counts once, as its first choice found it."""
        found: int = sum(map(_cached_tokens, self._choices[:: self._call.generation.n]))
        return found

    def _close(self) -> int:
        """Nothing follows: settle, book, and say to the log line and the metrics what the answer took.

        Returns how many tokens were generated.
        """
        self._is_over = True
        generated: int = sum(map(_generated_tokens, self._choices))
        notes = self._call.notes
        notes["prompt_tokens"] = self._prompt_tokens
        notes["generated_tokens"] = generated
        self._metrics.answers.count_prompt(self._route.model, self._prompt_tokens, self._cached_tokens())
        if self._series is not None:
            notes["ttft_ms"] = round(self._first_ms - self._call.received_ms, 3)
            self._series.generated_tokens.inc(generated)
            if generated > len(self._choices):
                self._series.tpot_seconds.observe(self._tpot_ms(generated) / 1000.0)
        if self._choices and self._choices[0].receipt.request_id:
            notes["receipt"] = self._choices[0].receipt
        self._settle()
        return generated

    def _settle(self) -> None:
        """Settle and book once, when no choice is at the router any more."""
        choices = self._choices
        if self._is_settled or [choice for choice in choices if choice.is_open]:  # `any` would be dearer
            return
        self._is_settled = True
        placed = [choice for choice in choices if choice.is_placed]
        prompt_tokens = self._prompt_tokens if len(placed) == len(choices) else self._placed_tokens()
        generated: int = sum(map(_generated_tokens, placed))
        cost_nano = self._book(prompt_tokens, generated) if placed else 0
        self._reservation.settle(prompt_tokens + generated, cost_nano)

    def _placed_tokens(self) -> int:
        """Tokens of the prompts that a worker was given; each counts once, however many choices it has."""
        n = self._call.generation.n
        return sum(
            tokens
            for nth, tokens in enumerate(self._prompts_tokens)
            if any(choice.is_placed for choice in self._choices[nth * n : (nth + 1) * n])
        )

    def _book(self, prompt_tokens: int, generated: int) -> int:
        return self._meter.record(
            Use(
                request_id=self._call.request_id,
                tenant=self._call.caller.tenant,
                model=self._route.booked_name,
                base_model=self._route.model,
                prompt_tokens=prompt_tokens,
                cached_tokens=min(prompt_tokens, self._cached_tokens()),
                generated_tokens=generated,
                kv_seconds=sum(map(self._kv_seconds, self._choices)),
            )
        )

    def _kv_seconds(self, choice: Choice) -> float:
        """By the receipt; where an unfinished choice has none that says it, by the time since the first
        token here."""
        by_receipt = kv_seconds(choice.receipt)
        if by_receipt or choice.finish_reason:
            return by_receipt
        has_held = self._first_ms and choice.is_placed and choice.generated_tokens
        held_ms = self._clock.now_ms() - self._first_ms if has_held else 0.0
        prompt_tokens = self._prompt_tokens // len(self._call.generation.prompts)
        return (prompt_tokens + choice.generated_tokens / 2) * held_ms / 1000.0

    def _tpot_ms(self, generated: int) -> float:
        """Mean time between the tokens of a choice; 0.0 for choices of one token."""
        gaps = generated / len(self._choices) - 1
        return (self._clock.now_ms() - self._first_ms) / gaps if gaps > 0 else 0.0

    def _count_objectives(self, generated: int) -> None:
        """Count a whole answer, and whether it kept the objectives."""
        if self._series is None:
            return
        e2e_ms, ttft_ms = (at_ms - self._call.received_ms for at_ms in (self._clock.now_ms(), self._first_ms))
        self._series.e2e_seconds.observe(e2e_ms / 1000.0)
        met = self._metrics.answers.objectives.are_met(ttft_ms, self._tpot_ms(generated), e2e_ms)
        (self._series.good if met else self._series.late).inc()
