"""A prefill engine in a process of its own: prints its offers as JSON lines and waits to be killed."""

import asyncio
import json
import sys

from services.common.domain import JobKind, Role
from tests.unit.engine_sim.recording import job, running


async def main() -> None:
    async with running(Role.PREFILL) as (engine, sink):
        for stream in (1, 2):
            engine.submit(job(stream, JobKind.PREFILL))
        await sink.until(lambda: len(sink.offered) == 2)
        for stream, offered in sink.offered.items():
            line = {
                "stream": stream,
                "handoff_id": offered.handoff_id,
                "params": offered.connector_params.decode(),
                "first": list(offered.token_ids),
            }
            print(json.dumps(line))
        sys.stdout.flush()
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())
