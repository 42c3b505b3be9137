"""Idempotency keys: the same key and body get the same answer, byte for byte, finished or running.

A request with a key writes its answer on a tape (`Recording`, `Tape`); its client and every retry read the
tape at their own pace (`Reader`). Finished tapes wait on a shelf for five minutes. Several gateways share
their tapes through a journal in Redis: one claims the key and publishes, the others follow.

    begin -> on the shelf? read it
          -> claim in the journal -> mine: run, record, publish
                                  -> another's: wait for a sign of life, copy, read
"""

from services.gateway.idempotency.idempotency import Idempotency
from services.gateway.idempotency.key import HEADERS, IDEMPOTENCY_KEY

__all__ = ["HEADERS", "IDEMPOTENCY_KEY", "Idempotency"]
