"""Where passages come from, and how much of them: the same for the gateway and for `pdmesh up`."""

from dataclasses import dataclass

from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """Settings of the retrieval hook; without an address, requests that ask for it are refused."""

    address: str = setting(
        "", "RetrieverService that looks up passages for prompts, HOST:PORT; none: no retrieval"
    )
    timeout_ms: int = setting(500, "how long a prompt waits for its passages", least=1)
    passages_max: int = setting(8, "passages at most, where a request does not say", least=1, most=64)
    tokens_max: int = setting(2_000, "tokens of all passages of a prompt together, at most", least=1)
