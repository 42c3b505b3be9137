"""What a decode worker can be told."""

from dataclasses import dataclass

from services.common.settings import group
from services.worker import EngineArguments, WorkerSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one decode worker process."""

    worker: WorkerSettings = group(WorkerSettings)
    engine_arguments: EngineArguments = group(EngineArguments)
