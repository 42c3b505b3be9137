"""What operators are told of one thing."""

from dataclasses import dataclass
from enum import Enum

from pdmesh.operator.v1 import operator_pb2 as wire


class Verdict(Enum):
    """How a thing is."""

    WELL = "ok"
    NOTE = "note"
    """Worth knowing, not wrong."""
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: a verdict, what was found, what to do."""

    verdict: Verdict
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.verdict.value:<6} {self.text}" + (f": {self.remedy}" if self.remedy else "")


def found(told: wire.Finding) -> Finding:
    """A finding of the router's verdict."""
    verdict = Verdict.NOTE if told.severity == wire.SEVERITY_NOTE else Verdict.WRONG
    return Finding(verdict, f"{told.model}: {told.text}" if told.model else told.text, told.remedy)


def well(text: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(Verdict.WELL, text)


def note(text: str, remedy: str = "") -> Finding:
    """A thing that an operator may want to know."""
    return Finding(Verdict.NOTE, text, remedy)


def wrong(text: str, remedy: str) -> Finding:
    """A thing to be mended."""
    return Finding(Verdict.WRONG, text, remedy)
