"""What the line of a request says of its errors."""

import logging

import pytest

from services.common.errors import InvalidField, MeshError, RetriesExhausted
from services.gateway.call.request_log import log_request


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RetriesExhausted("failed 4 times, at last: the worker leaves"),
            "failed 4 times, at last: the worker leaves",
        ),
        (InvalidField("'my secret' is not a number"), None),
    ],
)
def test_the_mesh_s_own_faults_are_told_in_words_and_what_clients_wrote_is_not(
    error: MeshError, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pdmesh.request"):
        log_request("POST", "/v1/completions", 200, 1.0, {"error": error})
    (record,) = caplog.records
    assert record.__dict__["error"] == error.reason
    assert record.__dict__.get("error_message") == said
