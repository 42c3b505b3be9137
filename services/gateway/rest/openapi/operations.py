"""Every URL of the REST API, with what goes in and what comes out."""

from dataclasses import dataclass

from services.gateway.rest.anthropic.body import CountBody, MessagesBody, TokenCount
from services.gateway.rest.openai.chat import ChatBody
from services.gateway.rest.openai.completion import CompletionBody
from services.gateway.rest.openai.embeddings import EmbeddingsBody
from services.gateway.rest.openai.tokenize import DetokenizeBody, Detokenized, TokenizeBody, Tokenized
from services.gateway.rest.openapi import answers
from services.gateway.rest.responses.body import ResponsesBody
from services.gateway.rest.responses.door import Deleted, InputTokens

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    body: type | None = None
    answer: type | None = None
    """`None` is plain text, or nothing but errors."""
    is_generation: bool = False
    """Streams, beside what a call does."""
    is_call: bool = False
    """Takes the headers of a call, and may be retried with a key; every generation does."""
    is_open: bool = False
    """Needs no credential."""
    is_anthropic: bool = False


OPERATIONS = (
    Operation(
        "post", "/v1/chat/completions", "A conversation's next message", ChatBody, answers.ChatAnswer, True
    ),
    Operation("post", "/v1/completions", "A text goes on", CompletionBody, answers.CompletionAnswer, True),
    Operation(
        "post",
        "/v1/responses",
        "The same, by items",
        ResponsesBody,
        answers.ResponseAnswer,
        True,
    ),
    Operation("post", "/v1/responses/input_tokens", "Tokens of such a prompt", ResponsesBody, InputTokens),
    Operation("get", "/v1/responses/{id}", "A stored response", answer=answers.ResponseAnswer),
    Operation("delete", "/v1/responses/{id}", "Forget a stored response", answer=Deleted),
    Operation(
        "post",
        "/v1/messages",
        "The same, in Anthropic's words",
        MessagesBody,
        answers.MessageAnswer,
        True,
        is_anthropic=True,
    ),
    Operation(
        "post",
        "/v1/messages/count_tokens",
        "Tokens of a conversation",
        CountBody,
        TokenCount,
        is_anthropic=True,
    ),
    Operation(
        "post", "/v1/embeddings", "Vectors of texts", EmbeddingsBody, answers.EmbeddingsAnswer, is_call=True
    ),
    Operation("post", "/tokenize", "Tokens of a text or conversation", TokenizeBody, Tokenized),
    Operation("post", "/detokenize", "Text of tokens", DetokenizeBody, Detokenized),
    Operation("get", "/v1/models", "What can be asked for", answer=answers.ModelList),
    Operation("get", "/v1/models/{model}", "One of them", answer=answers.ModelEntry),
    Operation("get", "/health", "Whether the process runs", answer=answers.Health, is_open=True),
    Operation("get", "/ping", "The same", answer=answers.Health, is_open=True),
    Operation("get", "/version", "Which pdmesh this is", answer=answers.Version, is_open=True),
    Operation("get", "/load", "How many requests are in flight", answer=answers.Load),
    Operation("get", "/ready", "Whether requests can be answered", answer=answers.Readiness, is_open=True),
    Operation("get", "/metrics", "Prometheus metrics"),
    Operation("get", "/openapi.json", "This description", answer=dict, is_open=True),
    Operation("get", "/admin/usage", "What tenants used"),
)
