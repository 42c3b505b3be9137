"""One generating call from its first attempt to its last message. No I/O: both clients drive it."""

import uuid

from pdmesh.client.answer import Answer, Choice, Delta, Response, answer_of, deltas_of
from pdmesh.client.errors import Unreachable
from pdmesh.client.retry import Retrier
from pdmesh.inference.v1 import answer_pb2, inference_pb2
from services.common.errors import MeshError

Request = inference_pb2.ChatRequest | inference_pb2.CompleteRequest | inference_pb2.GenerateRequest


class Course:
    """What was asked, what has come, and how to go on after a failure.

    A stream that broke goes on after the tokens that came: the next attempt carries them, so that nothing is
    lost and nothing comes twice.
    """

    def __init__(self, request: Request, retrier: Retrier) -> None:
        self.retrier = retrier
        self._request = request
        # One name for all attempts, in the logs and receipts of however many gateways it took.
        request.options.request_id = request.options.request_id or uuid.uuid4().hex
        self._choices: dict[int, Choice] = {}
        self._summary: answer_pb2.Summary | None = None

    @property
    def is_over(self) -> bool:
        """Whether the last message has come."""
        return self._summary is not None

    @property
    def choices(self) -> list[Choice]:
        """What has come so far."""
        return list(self._choices.values())

    @property
    def answer(self) -> Answer:
        """The whole answer, once it is over; raises RuntimeError before."""
        if self._summary is None:
            raise RuntimeError("the answer is not whole yet: read the stream to its end")
        return answer_of(self._choices.values(), self._summary)

    def request(self) -> Request:
        """What the next attempt sends."""
        del self._request.delivered[:]
        for choice in self._choices.values():
            self._request.delivered.add(index=choice.index, token_ids=choice.token_ids)
        return self._request

    def take(self, response: Response) -> list[Delta]:
        """The news of one message."""
        deltas = [delta for delta in deltas_of(response) if self._is_news(delta)]
        for delta in deltas:
            self._choices.setdefault(delta.index, Choice(delta.index)).add(delta)
        if deltas:
            self.retrier.progressed()
        if response.HasField("summary"):
            self._summary = response.summary
            self.retrier.succeeded()
        return deltas

    def wait_ms(self, error: MeshError | None) -> float:
        """How long to wait before going on; None is a stream that ended before its last message.

        Raises the error when there is to be no further attempt.
        """
        error = error or Unreachable("the stream ended before the answer")
        if not all(choice.is_resumable for choice in self._choices.values()):
            raise error
        return self.retrier.wait_ms(error)

    def _is_news(self, delta: Delta) -> bool:
        """A gateway that goes on with several choices says again of a finished one that it is."""
        choice = self._choices.get(delta.index)
        return choice is None or choice.finish_reason is None
