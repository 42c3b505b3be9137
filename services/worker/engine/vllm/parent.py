"""Keeps a process in step with the one that started it through `multiprocessing`."""

import multiprocessing
import os
import signal
import threading
import time

PARENT_CHECK_S = 0.5


def follow_parent() -> None:
    """End this process when its parent is gone, or is gone already: it would keep its memory for ever.

    Who started it is taken from `multiprocessing`: the system names another parent once the first has died.
    The kernel's own signal for this would come as soon as the thread that started it had ended.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True, name="mesh-parent-watch").start()


def leave_ctrl_c_to_parent() -> None:
    """A terminal's Ctrl-C reaches both, and would end this process before the worker has drained."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)
