"""A call in the model's own terms."""

import dataclasses
from array import array
from collections.abc import Mapping, Sequence

from services.common.domain import Sampling
from services.common.domain.record import record
from services.gateway.call.call import Call
from services.gateway.call.generation import ChatPrompt, prompt_room_tokens
from services.gateway.models.parsing import Reading
from services.gateway.models.served import ServedModel


@record
class Prepared:
    """A call in the model's own terms."""

    prompts: "Sequence[array[int]]"
    sampling: Sampling
    """Complete but for its `max_tokens`."""
    reading: Reading | None
    """How to read the answers; `None` where they are plain text."""
    echoes: Sequence[str]
    """Each prompt's text, for answers that begin with it; else none."""
    extra: Mapping[str, object]
    """Fields of the answer beside the API's own."""


def prepare(call: Call, model: ServedModel) -> Prepared:
    """Render the prompts, and find out how to read the answers; raises `InvalidField`.

    Thread-safe: long prompts are prepared off the event loop.
    """
    generation, renderer = call.generation, model.renderer
    reading = model.parsing.reading_of(generation)
    sampling = generation.sampling
    if generation.bad_words:
        sampling = dataclasses.replace(sampling, bad_words=renderer.words(generation.bad_words))
    if reading is not None and reading.structured is not None:
        sampling = dataclasses.replace(sampling, structured=reading.structured)
    first = generation.prompts[0]
    if not (isinstance(first, ChatPrompt) and (first.edits or first.report)):
        prompts = [prompt.render(renderer, model.model_len) for prompt in generation.prompts]
        echoes = [renderer.shown(prompt) for prompt in prompts] if generation.echoes else ()
        return Prepared(prompts, sampling, reading, echoes, {})
    rendered = first.rendered(renderer, prompt_room_tokens(generation, model.model_len), model.model_len)
    told = first.report(rendered.applied) if first.report is not None else {}
    return Prepared([rendered.ids], sampling, reading, (), told)
