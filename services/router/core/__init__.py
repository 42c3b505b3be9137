"""The router's core: a pure state machine. Events in, actions out, time as an argument.

    Event --> RouterCore.on_event(event, now_ms) --> list[Action]

Standard library and the domain only: no I/O, no asyncio, no gRPC, no clock. The same core runs in
production behind a thin shell, under seeded simulation, and in the planner.

A request's life, and the module that tells each part:

1. `intake`    checks and admits it, or refuses at once.
2. `queues`    it waits in its tier's queue; late binding keeps the depth a true signal.
3. `placing`   a decode worker is reserved first, then the path, then a prefill worker is chosen.
4. `progress`  the prefill worker offers; the first token leaves; the decode worker adopts; tokens flow.
5. `recovery`  what a worker's failure, death or silence turns into.
6. `ending`    exactly one outcome; every seat, lease and timer is closed.
"""

from services.router.core.config import CoreConfig
from services.router.core.core import RouterCore

__all__ = ["CoreConfig", "RouterCore"]
