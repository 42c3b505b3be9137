"""Vectors of texts: what a model gives that makes them, and what is asked of it."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass


def vector(values: Iterable[float] = ()) -> "array[float]":
    """Numbers of 32 bits each."""
    return array("f", values)


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that gives one vector of length 1 for each text, and generates nothing."""

    dimensions: int
    """Numbers of a whole vector."""
    may_cut: bool = False
    """Whether a vector's beginning, normalised anew, is one too (a Matryoshka model)."""
    cuts: tuple[int, ...] = ()
    """The only sizes to which it may be cut; none: all."""

    def gives(self, dimensions: int) -> bool:
        """Whether it makes vectors of this size; 0 is its own."""
        if dimensions in (0, self.dimensions):
            return True
        may_be_cut = self.may_cut and 0 < dimensions < self.dimensions
        return may_be_cut and (not self.cuts or dimensions in self.cuts)


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """A wish for the vector of a text instead of tokens after it."""

    dimensions: int = 0
    """Numbers of it; 0 is the model's own."""
