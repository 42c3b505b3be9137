"""How a tokenizer's decoder makes text of tokens, as far as it does so token by token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class DecoderChain:
    """A decoder under which a token's text depends on the token alone, and on whether it is the first.

    A run of byte tokens is one text: whole characters if it is UTF-8.
    """

    first_differs: bool = False
    """Whether the first token's text is another than it would be after others."""
    has_bytes: bool = False
    """Whether tokens such as <0x0A> are single bytes."""
    replaced_after: tuple[tuple[str, str], ...] = ()
    """Characters of a run of bytes and what stands for them."""
    stripped: str = ""
    """A character that is taken from the beginning of the whole text."""
    stripped_max: int = 0


def chain_of(spec: Mapping[str, Any] | None) -> DecoderChain | None:
    """The chain of a decoder as `tokenizer.json` writes it; `None` where texts depend on more."""
    chain: DecoderChain | None = DecoderChain(
        first_differs=spec is None
    )  # without one, spaces between tokens
    is_fused = False
    for step in _steps(spec):
        if chain is None or chain.stripped_max:
            return None
        if step["type"] == "Fuse":
            is_fused = True
        elif step["type"] == "Strip":
            chain = _stripping(chain, step) if is_fused else None
        elif step["type"] == "Replace":
            chain = _replacing(chain, step, is_fused=is_fused)
        else:
            chain = None if is_fused else _with(chain, step)
    return chain


def _steps(spec: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    if spec is None:
        return ()
    return spec["decoders"] if spec["type"] == "Sequence" else (spec,)


def _with(chain: DecoderChain, step: Mapping[str, Any]) -> DecoderChain | None:
    kind = step["type"]
    if kind == "ByteFallback":
        return replace(chain, has_bytes=True)
    if kind == "Metaspace":
        after = ((step["replacement"], " "),) if chain.has_bytes else ()
        return replace(chain, first_differs=True, replaced_after=chain.replaced_after + after)
    if kind == "WordPiece" and not chain.has_bytes:
        return replace(chain, first_differs=True)
    return None


def _replacing(chain: DecoderChain, step: Mapping[str, Any], *, is_fused: bool) -> DecoderChain | None:
    """What a replacement looks for lies within one token, or is one character."""
    pattern = step["pattern"].get("String")
    if pattern is None or (len(pattern) != 1 and (is_fused or chain.has_bytes)):
        return None
    if not chain.has_bytes:
        return chain
    return replace(chain, replaced_after=(*chain.replaced_after, (pattern, step["content"])))


def _stripping(chain: DecoderChain, step: Mapping[str, Any]) -> DecoderChain | None:
    if step["stop"] or len(step["content"]) != 1 or chain.first_differs:
        return None
    return replace(chain, stripped=step["content"], stripped_max=step["start"])
