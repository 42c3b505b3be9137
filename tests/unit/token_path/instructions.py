"""How much the interpreter does for a call: the same number each time, on every machine."""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Work:
    """What a call took."""

    instructions: int
    """Of bytecode, in all frames below the call."""
    library_calls: int
    """Of functions that are not Python: what they do themselves is not seen."""

    def per(self, number: int) -> "tuple[float, float]":
        """Both, for each of so many."""
        return self.instructions / number, self.library_calls / number


def work_of(call: Callable[[], object]) -> Work:
    """Count what a call does. It is called twice, so nothing may depend on how often."""
    gc.disable()  # whoever wants to hear of collections would be counted too
    try:
        return Work(_instructions(call), _library_calls(call))
    finally:
        gc.enable()


def _instructions(call: Callable[[], object]) -> int:
    count = 0

    def on_event(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def _library_calls(call: Callable[[], object]) -> int:
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count
