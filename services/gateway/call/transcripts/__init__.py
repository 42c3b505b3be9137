"""Transcripts: one choice's tokens made into what its caller reads."""

from services.gateway.call.transcripts.detailed import DetailedTranscript, SilentTranscript, name_by_id
from services.gateway.call.transcripts.interface import Transcript
from services.gateway.call.transcripts.parsed import ParsedTranscript
from services.gateway.call.transcripts.plain import BareTranscript, PlainTranscript

__all__ = [
    "BareTranscript",
    "DetailedTranscript",
    "ParsedTranscript",
    "PlainTranscript",
    "SilentTranscript",
    "Transcript",
    "name_by_id",
]
