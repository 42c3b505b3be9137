"""The words of the mesh as plain data: requests, jobs, handoffs, workers, receipts.

Standard library only. The wire's form of the same things is in `protos/`, and
`services.common.rpc.convert` is the one place that knows both.
"""

from services.common.domain.embedding import EmbeddingAsk, EmbeddingModel
from services.common.domain.grant import Grant, Want
from services.common.domain.handoff import HandoffTicket
from services.common.domain.job import Job, JobKind
from services.common.domain.logprobs import LogprobColumns, TokenLogprobs
from services.common.domain.receipt import PATH_NAMES, Path, Receipt
from services.common.domain.request import Request, ServiceClass
from services.common.domain.sampling import Sampling
from services.common.domain.step import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFailed,
    JobFinished,
    KvChange,
    StepOutput,
    TokenColumns,
)
from services.common.domain.structured import SHAPE_REFUSED, Structured, StructuredKind
from services.common.domain.worker import Capacity, Fingerprint, LoadReport, Registration, Role

__all__ = [
    "PATH_NAMES",
    "SHAPE_REFUSED",
    "Capacity",
    "EmbeddingAsk",
    "EmbeddingModel",
    "FailureKind",
    "Fingerprint",
    "FinishReason",
    "Grant",
    "HandoffAdopted",
    "HandoffOffered",
    "HandoffReleased",
    "HandoffTicket",
    "Job",
    "JobFailed",
    "JobFinished",
    "JobKind",
    "KvChange",
    "LoadReport",
    "LogprobColumns",
    "Path",
    "Receipt",
    "Registration",
    "Request",
    "Role",
    "Sampling",
    "ServiceClass",
    "StepOutput",
    "Structured",
    "StructuredKind",
    "TokenColumns",
    "TokenLogprobs",
    "Want",
]
