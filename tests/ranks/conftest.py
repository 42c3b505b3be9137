"""The model and its reference answers are those of the other tests with real vLLM."""

from tests.e2e.conftest import model, reference

__all__ = ["model", "reference"]
