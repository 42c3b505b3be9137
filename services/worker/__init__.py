"""The worker around an engine, the same for both tiers.

settings, engine_arguments   what can be set
factory                      which engine
process                      load, check, attach, serve, drain
attachment                   one router: attached again whenever it was lost
session                      one stream to a router: frames in, news out
shell, jobs, sharing         which session gave which job, and who hears of what
load, metrics                what the engine holds, for routers and for Prometheus
"""

from services.worker.engine_arguments import EngineArguments
from services.worker.process import check_worker, serve_worker
from services.worker.settings import WorkerSettings

__all__ = ["EngineArguments", "WorkerSettings", "check_worker", "serve_worker"]
