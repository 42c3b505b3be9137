"""Engines behind one interface: `vllm` is the real one, `sim` a timing model for tests, load and planning."""

from services.worker.engine.interface import Engine, EngineSink

__all__ = ["Engine", "EngineSink"]
