"""What the models file can say of one name: the keys of its tables."""

from dataclasses import dataclass

from services.common.settings import setting

STICKY = ("conversation", "tenant")


@dataclass(frozen=True, slots=True)
class VersionsEntry:
    """`[versions.NAME]`: a name shared by several models. Its weights are in `[versions.NAME.weights]`."""

    sticky: str = setting(
        "conversation",
        "what always gets the same version: a conversation (else the tenant), or all of a tenant",
        choices=STICKY,
    )


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """`[adapters.NAME]`: a name for a LoRA adapter of a model, where its own name will not do."""

    model: str = setting("", "model that the adapter belongs to")
    adapter: str = setting("", "the adapter's name at the workers; NAME where not set")


@dataclass(frozen=True, slots=True)
class FilesEntry:
    """`[models.NAME]`: a model with another tokenizer or chat template than --model."""

    path: str = setting("", "directory with tokenizer and chat template, or a name on the Hugging Face hub")
    tool_call_parser: str = setting("", "as --tool-call-parser")
    reasoning_parser: str = setting("", "as --reasoning-parser")


@dataclass(frozen=True, slots=True)
class AutoEntry:
    """`[auto]`: the name `auto`, which stands for a small or a large model."""

    small: str = setting("", "name for what is easy")
    large: str = setting("", "name for the rest")
    classifier: str = setting("points", "who decides: points, or MODULE:CLASS of your own")
    large_points: int = setting(2, "points from which the large model answers", least=1)
    long_prompt_chars: int = setting(4_000, "prompts from this length get points", least=1)
    long_prompt_points: int = setting(2, "for a long prompt", least=0)
    code_points: int = setting(2, "for a code fence", least=0)
    question_points: int = setting(1, "for one of question_words in the last message", least=0)
    question_words: tuple[str, ...] = setting(
        ("why", "how", "explain", "compare", "prove", "derive", "analyze", "design", "debug", "refactor"),
        "words of questions that take thought",
    )
    long_conversation_messages: int = setting(
        8, "conversations from this number of messages get points", least=1
    )
    long_conversation_points: int = setting(1, "for a long conversation", least=0)
    long_answer_tokens: int = setting(1_000, "a max_tokens from here on gets points", least=1)
    long_answer_points: int = setting(1, "for room for a long answer", least=0)
    tools_points: int = setting(1, "for tools", least=0)
