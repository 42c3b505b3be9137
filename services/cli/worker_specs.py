"""Further workers like those that a mesh began with."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from services.cli.cores import share_cores
from services.cli.plan import LOCAL, ChildSpec
from services.common.errors import PortInUse


class WorkerSpecs:
    """Makes them after a tier's first worker: another name, port and share of cores, the rest the same."""

    def __init__(
        self, planned: Sequence[ChildSpec], ports: Iterator[int], cores: Sequence[int], workers_most: int
    ) -> None:
        self._models = {spec.service: spec for spec in reversed(planned)}
        self._ports = ports
        self._shares = [",".join(map(str, share)) for share in share_cores(cores, workers_most)]

    def new(self, service: str, running: Sequence[ChildSpec], *, standby: bool) -> ChildSpec:
        """One more; its name is the first that none of the running ones has."""
        model, names = self._models[service], {spec.name for spec in running}
        name = next(name for number in count(1) if (name := f"{service}-{number}") not in names)
        command = [word for word in model.command if word != "--standby"]
        _set(command, "--worker-id", name)
        _set(command, "--host", LOCAL)
        for flag in ("--port", "--metrics-port"):
            _set(command, flag, str(self._next_port()))
        if "--cores" in command:
            _set(command, "--cores", self._free_share(running))
        return replace(model, name=name, command=(*command, *(("--standby",) if standby else ())))

    def _next_port(self) -> int:
        port = next(self._ports, None)
        if port is None:  # as the iterator has said once
            raise PortInUse("no port is free")
        return port

    def _free_share(self, running: Sequence[ChildSpec]) -> str:
        used = {_value(spec.command, "--cores") for spec in running if "--cores" in spec.command}
        return next((share for share in self._shares if share not in used), self._shares[-1])


def _set(command: list[str], flag: str, value: str) -> None:
    command[command.index(flag) + 1] = value


def _value(command: Sequence[str], flag: str) -> str:
    return command[command.index(flag) + 1]
