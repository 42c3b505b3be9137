"""Transcripts: one choice's tokens made into what its caller reads."""

from services.gateway.transcripts.interface import Transcript
from services.gateway.transcripts.plain import PlainTranscript

__all__ = ["PlainTranscript", "Transcript"]
