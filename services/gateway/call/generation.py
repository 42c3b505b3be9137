"""What an API call asks for, however it was put."""

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Any

from services.common.domain import SHAPE_REFUSED, Sampling, ServiceClass
from services.common.domain.record import record
from services.common.errors import InvalidField, MeshError, PromptTooLong
from services.gateway.call.edits import Edit, Measure, Messages, Rendered, render_edited
from services.gateway.call.renamed import renamed, reworded
from services.gateway.models.rendering import Renderer
from services.gateway.retrieval.ask import RetrievalAsk

EDITED_TIMES_MAX = 8
"""A conversation that is to be cut to fit may be so many times as long as the model takes."""
TOKENS_UNLIMITED = 2**31 - 1
OPEN_ANSWER_SHARE = 4
"""One over the share of the context that an answer of open length keeps when the prompt is cut to fit."""


@record
class ChatPrompt:
    """A conversation, for the model's chat template."""

    messages: Sequence[Mapping[str, Any]]
    """As templates take them: `content` is text, and the arguments of tool calls are objects."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What the template is given beside its own: `tools`, `documents`, `add_generation_prompt`, ..."""
    continues_last: bool = False
    """The answer goes on in the last message instead of beginning a new one."""
    field_name: str = "messages"
    edits: Sequence[Edit] = ()
    """Changes to make before it is rendered, in this order."""
    report: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, object]] | None = None
    """Fields of the answer that tell which edits were made; `None` where it does not tell."""

    def render(self, renderer: Renderer, model_len: int) -> "array[int]":
        """The prompt's token ids, with every edit made that needs no limit on the prompt."""
        return self.rendered(renderer, TOKENS_UNLIMITED, model_len).ids

    def rendered(self, renderer: Renderer, room_tokens: int, model_len: int) -> Rendered:
        """The prompt's token ids, which are to be `room_tokens` at most where an edit can see to it.

        Raises `PromptTooLong` without encoding what has too many characters for the model.
        """
        tokens_max = model_len * EDITED_TIMES_MAX if self.edits else model_len

        def render(messages: Messages) -> "array[int]":
            return renderer.chat(
                messages, self.variables, continues_last=self.continues_last, tokens_max=tokens_max
            )

        with renamed({"messages": self.field_name}):
            return render_edited(self.messages, self.edits, Measure(render, room_tokens))


@record
class TextPrompt:
    """Plain text to go on from."""

    text: str
    field_name: str = "prompt"
    begins: bool = True
    """Whether the tokenizer's own beginning stands before it."""

    def render(self, renderer: Renderer, model_len: int) -> "array[int]":
        """The prompt's token ids; raises `PromptTooLong` as a conversation does."""
        renderer.check_length(self.text, model_len, self.field_name)
        with renamed({"prompt": self.field_name}):
            return renderer.text(self.text, add_special_tokens=self.begins)


@record
class TokenPrompt:
    """Token ids to go on from, as they are."""

    ids: "array[int]"
    field_name: str = "prompt"

    def render(self, renderer: Renderer, model_len: int) -> "array[int]":
        """The prompt's token ids; raises `InvalidField` on ids outside the vocabulary."""
        if self.ids and max(self.ids) >= renderer.vocabulary_size:
            size, name = renderer.vocabulary_size, self.field_name
            raise InvalidField(f"{name}: token ids must be below {size}, the vocabulary", field=name)
        return self.ids


Prompt = ChatPrompt | TextPrompt | TokenPrompt


@record
class ToolUse:
    """Which tools a conversation may call, and whether it must."""

    tools: Sequence[Mapping[str, Any]]
    """As OpenAI writes them: `type`, and `function` with `name`, `description` and `parameters`."""
    choice: str = "auto"
    """"auto", "required" (one at least) or "none"."""
    named: str = ""
    """The one tool that must be called; then `choice` says nothing."""
    in_parallel: bool = True
    """Whether several may be called at once."""

    @property
    def is_on(self) -> bool:
        """Whether any may be called."""
        return bool(self.named) or self.choice != "none"

    @property
    def is_demanded(self) -> bool:
        """Whether one must be called."""
        return bool(self.named) or self.choice == "required"


@record
class Generation:
    """One call, validated as far as it can be without the model."""

    model: str
    prompts: tuple[Prompt, ...]
    """At least one; each gets `n` choices."""
    sampling: Sampling
    """Its `max_tokens` is 0 where the caller left it open."""
    n: int = 1
    """Choices of each prompt."""
    max_tokens_field: str = "max_tokens"
    max_tokens_default: int = 0
    """For an open `max_tokens`; 0 is all that fits the model."""
    stops: tuple[str, ...] = ()
    shows_stop: bool = False
    shape_field: str = ""
    """What the caller calls the shape that the answer is to have."""
    bad_words: tuple[str, ...] = ()
    """Texts of which none is completed; they become tokens with the prompt."""
    tools: ToolUse | None = None
    thinking_field: str = "thinking_token_budget"
    """What the caller calls the budget of reasoning tokens."""
    includes_reasoning: bool = True
    """False leaves out what the model thinks before it answers."""
    is_stream: bool = False
    includes_usage: bool = False
    includes_running_usage: bool = False
    """Every event of a stream says how many tokens there are so far."""
    returns_text: bool = True
    returns_token_ids: bool = False
    names_token_ids: bool = False
    """Tokens of logprobs are shown by id, as `token_id:42`."""
    shows_special: bool = False
    """Special tokens are shown as their text."""
    echoes: bool = False
    """The answer begins with the prompt."""
    includes_receipt: bool = False
    strict_disaggregation: bool = False
    session_key: str = ""
    request_id: str = ""
    """The name that the body gives the request; one that comes beside the body has precedence."""
    cache_salt: str = ""
    """The caller's own salt of the prefix cache, beside that of its tenant; empty for none."""
    service_class: ServiceClass | None = None
    """`None` is the caller's own."""
    deadline_ms: int | None = None
    priority: int = 0
    delivered: Mapping[int, "array[int]"] = field(default_factory=dict)
    """Tokens that the caller has already, by choice: the answer goes on after them, and counts them."""
    retrieval: RetrievalAsk | None = None
    """Passages to look up and put into the prompts."""
    asked: Any = None
    """What only the answer's own format needs to know of the body; the format's module says what it is."""
    size_bytes: int = 0
    """About how long the prompts are together; long ones are rendered off the event loop."""

    def in_callers_words(self, error: MeshError) -> MeshError:
        """An error about a field, whoever found it, under the caller's name of the field."""
        if error.message.startswith(SHAPE_REFUSED):
            words = error.message.removeprefix(SHAPE_REFUSED)
            error = InvalidField(f"structured_outputs: {words}", field="structured_outputs")
        names = {
            "structured_outputs": self.shape_field or "tools",
            "prompt": self.prompts[0].field_name,
            "max_tokens": self.max_tokens_field,
            "thinking_token_budget": self.thinking_field,
        }
        return reworded(error, names)


def no_text(model: str) -> InvalidField:
    """The refusal of a generation by a model that gives vectors."""
    return InvalidField(
        f"model: {model[:200]!r} gives embeddings and generates no text; ask /v1/embeddings", field="model"
    )


def check_vocabulary(generation: Generation, vocabulary_size: int) -> None:
    """Raise `InvalidField` for sampling parameters and delivered tokens outside the vocabulary."""
    sampling, delivered = generation.sampling, generation.delivered
    biased, stops, allowed = sampling.logit_bias, sampling.stop_token_ids, sampling.allowed_token_ids
    if not (biased or stops or allowed or delivered):
        return
    named: list[tuple[str, Collection[int]]] = [("delivered", ids) for ids in delivered.values()]
    named += [("logit_bias", biased), ("stop_token_ids", stops), ("allowed_token_ids", allowed)]
    for name, ids in named:
        if ids and max(ids) >= vocabulary_size:
            raise InvalidField(
                f"{name}: token ids must be below {vocabulary_size}, the vocabulary", field=name
            )


def check_delivered(generation: Generation, model_len: int) -> None:
    """Raise `InvalidField` for more delivered tokens than an answer can have."""
    if any(len(ids) > model_len for ids in generation.delivered.values()):
        raise InvalidField(f"delivered: at most {model_len} tokens, the model's length", field="delivered")


def check_texts(generation: Generation, renderer: Renderer, model_len: int) -> None:
    """Raise `PromptTooLong` for a plain text that has too many characters for the model."""
    for prompt in generation.prompts:
        if isinstance(prompt, TextPrompt):
            renderer.check_length(prompt.text, model_len, prompt.field_name)


def check_thinking(generation: Generation, *, is_limited: bool) -> None:
    """Raise `InvalidField` for a budget of reasoning tokens that nobody would keep."""
    if generation.sampling.thinking_tokens_max is not None and not is_limited:
        name = generation.thinking_field
        raise InvalidField(
            f"{name}: the workers of this model keep no budget of reasoning tokens", field=name
        )


def prompt_room_tokens(generation: Generation, model_len: int) -> int:
    """Tokens that a prompt may have where it can be made to fit; an answer of open length keeps a share."""
    answer_tokens = generation.sampling.max_tokens or model_len // OPEN_ANSWER_SHARE
    return max(1, model_len - answer_tokens)


def fit_max_tokens(generation: Generation, prompt_tokens: int, model_len: int) -> int:
    """How many tokens each choice of a prompt may have; raises `PromptTooLong` when the two do not fit."""
    name = generation.prompts[0].field_name
    room = model_len - prompt_tokens
    if prompt_tokens == 0:
        raise InvalidField(f"{name}: the prompt is empty", field=name)
    if room <= 0:
        raise PromptTooLong(
            f"This model's maximum context length is {model_len} tokens, and the prompt has {prompt_tokens}.",
            field=name,
        )
    asked = generation.sampling.max_tokens
    if asked > room:
        raise PromptTooLong(
            f"This model's maximum context length is {model_len} tokens: the prompt has {prompt_tokens}, "
            f"so {generation.max_tokens_field} can be {room} at most, not {asked}.",
            field=generation.max_tokens_field,
        )
    return asked or min(room, generation.max_tokens_default or room)
