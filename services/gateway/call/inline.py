"""Which prompts are rendered on the event loop, because a thread would cost more than it frees."""

from services.gateway.call.generation import ChatPrompt, Generation, Prompt
from services.gateway.models.rendering import Renderer

INLINE_BODY_BYTES_MAX = 4_096
"""Of any call. `tokenizers` takes 1.5 ms for so much text, and a template 3 ms for as many empty messages as
fit in it; handing over to a thread and back takes about 0.2 ms."""
INLINE_FAST_BODY_BYTES_MAX = 49_152
"""Of a few plain texts that `fastokens` encodes: 0.5 ms for so much English, 1.5 ms for the hardest text."""
INLINE_TEXTS_MAX = 32


def renders_inline(generation: Generation, renderer: Renderer) -> bool:
    """Whether a call's prompts are short enough to be rendered on the event loop."""
    if not renderer.is_ready:
        return False
    if generation.size_bytes <= INLINE_BODY_BYTES_MAX:
        return True
    if generation.size_bytes > INLINE_FAST_BODY_BYTES_MAX or not renderer.encoder.is_fast:
        return False
    return sum(map(_text_count, generation.prompts)) <= INLINE_TEXTS_MAX


def _text_count(prompt: Prompt) -> int:
    """How many texts are rendered. What templates walk through or render twice counts as too many."""
    if not isinstance(prompt, ChatPrompt):
        return 1
    walks = prompt.edits or prompt.variables.get("tools") or prompt.variables.get("documents")
    if walks or any("tool_calls" in message for message in prompt.messages):
        return INLINE_TEXTS_MAX + 1
    return len(prompt.messages)
