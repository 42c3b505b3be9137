"""What a forked engine process must not share with the process that serves."""

import subprocess
import sys

SCRIPT = """
import asyncio, os, signal, sys, types
from services.cli.serve import until_stopped

async def serve(settings, stop, ready):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.pause()
    await asyncio.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    await asyncio.sleep(0.1)
    print("stopped" if stop.is_set() else "serving", flush=True)

sys.modules["services.forking.main"] = types.SimpleNamespace(serve=serve)
settings = types.SimpleNamespace(process=types.SimpleNamespace(redis_url=""), service=None)
asyncio.run(until_stopped("forking", settings, 0))
"""


def test_a_signal_to_a_forked_child_is_not_ours() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30)
    assert ended.stdout == "serving\n", ended.stderr
