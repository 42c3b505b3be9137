"""Transcripts: one choice's tokens made into what its caller reads."""

from services.gateway.transcripts.detailed import DetailedTranscript, SilentTranscript
from services.gateway.transcripts.interface import Transcript
from services.gateway.transcripts.parsed import ParsedTranscript
from services.gateway.transcripts.plain import BareTranscript, PlainTranscript

__all__ = [
    "BareTranscript",
    "DetailedTranscript",
    "ParsedTranscript",
    "PlainTranscript",
    "SilentTranscript",
    "Transcript",
]
