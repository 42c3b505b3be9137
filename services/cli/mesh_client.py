"""The mesh's REST API as the terminal uses it: standard library only, blocking."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from services.cli.access import NOBODY, Access, unverified
from services.common.errors import MeshError, RouterUnavailable, by_reason

TIMEOUT_S = 600.0
"""Silence of the mesh that is taken for its end."""
READY_TIMEOUT_S = 5.0


def get_json(url: str, access: Access = NOBODY, timeout_s: float = 5.0) -> Any:
    """The JSON body of a GET; raises as `open_url` does, and `RouterUnavailable` for what is no JSON."""
    request = urllib.request.Request(url, headers=access.headers())
    with open_url(request, timeout_s, access.context()) as answer:
        try:
            return json.load(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RouterUnavailable(f"no mesh answers at {url}: {error}") from None


def models_served(url: str, access: Access = NOBODY) -> list[str]:
    """Names of the models that the mesh at `url` serves at the moment."""
    return [model["id"] for model in get_json(f"{url}/v1/models", access)["data"]]


def is_ready(url: str) -> bool:
    """Whether the gateway at `url`, which is ours, says that it serves a model."""
    try:
        with open_url(urllib.request.Request(f"{url}/ready"), READY_TIMEOUT_S, unverified()):
            return True
    except MeshError:
        return False


def stream_events(url: str, body: dict[str, Any], access: Access = NOBODY) -> Iterator[dict[str, Any]]:
    """POST `body` and yield the JSON of each server-sent event until `[DONE]`.

    Leaving the iterator closes the connection, which cancels the request. Raises `MeshError`, of which
    `RouterUnavailable` says that the connection ended first: what came is not the whole answer.
    """
    headers = {"Content-Type": "application/json", **access.headers()}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with open_url(request, TIMEOUT_S, access.context()) as answer:
        while (data := next_data(answer)) != b"[DONE]":
            event = _json_or_none(data)
            if event is None:
                raise RouterUnavailable("the mesh sent an event that is no JSON")
            if "error" in event:
                raise mesh_error(event)
            yield event


def next_data(answer: http.client.HTTPResponse) -> bytes:
    """What the next event carries; raises `RouterUnavailable` when the stream ends or breaks instead."""
    why: object = "the connection was closed"
    try:
        while line := answer.readline():
            if line.startswith(b"data:") and line.endswith(b"\n"):
                return line[len(b"data:") :].strip()
    except (OSError, http.client.HTTPException) as error:
        why = error
    raise RouterUnavailable(f"the mesh was gone before the answer was whole: {why}")


def open_url(
    request: urllib.request.Request, timeout_s: float, context: ssl.SSLContext | None = None
) -> http.client.HTTPResponse:
    """Open a request; raises `MeshError` in the mesh's own words, `RouterUnavailable` when none answers."""
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s, context=context)
        return answer
    except urllib.error.HTTPError as refused:
        with refused:
            raise mesh_error(_json_or_none(refused.read())) from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise RouterUnavailable(f"no mesh answers at {request.full_url}: {why}") from None


def mesh_error(body: Any) -> MeshError:
    """The error of an OpenAI-style error body."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    kind = by_reason(error.get("code") or "")
    return kind(error.get("message") or "the mesh answered with an error", field=error.get("param") or "")


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
