"""A mesh on two hosts: gateway, router and a prefill worker on one, a decode worker on the other."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mesh.hosts import READY_S_MAX, Host, Process

PORT = 9000
ASK_S_MAX = 150.0


@dataclass
class Hosts:
    """Both hosts, on two networks. Nothing serves before `serve`."""

    front: Host
    back: Host
    model_dir: Path
    processes: dict[str, Process] = field(default_factory=dict)
    """The newest of each name; workers are called after their role, further ones with a number behind."""
    engine_flags: Sequence[str] = ()
    worker_flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further ones by role."""
    start_s_max: float = READY_S_MAX

    def serve(self, listen: str, prefill: str, decode: str, *flags: str) -> None:
        """Start the mesh by the README's own lines; workers know the router by these addresses."""
        model = ("--model", str(self.model_dir))
        self.processes["router"] = self.front.serve("router", "--host", listen, "--port", str(PORT))
        self.start_worker("prefill", prefill, *flags)
        self.start_worker("decode", decode)
        gateway = self.front.serve("gateway", "--router", prefill, *model, "--host", "0.0.0.0")
        self.processes["gateway"] = gateway
        for process in self.processes.values():
            process.wait_ready(self.start_s_max)
        gateway.wait_for("attached")

    def start_worker(self, name: str, router: str, *flags: str) -> Process:
        """Start one, prefill workers in front, decode workers behind."""
        role = name.partition("-")[0]
        host = self.front if role == "prefill" else self.back
        model = ("--model", str(self.model_dir))
        own = (*self.engine_flags, *self.worker_flags.get(role, ()), *flags)
        process = host.serve(role, "--routers", router, "--worker-id", name, *model, *own)
        self.processes[name] = process
        return process

    def ask(self, prompt: list[int], tokens: int = 4) -> "Answer":
        """One answer, asked for on the other host."""
        body = {"model": self.model_dir.name, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        body |= {"pdmesh": {"receipt": True}, "return_token_ids": True, "ignore_eos": True}
        return self.back.call(lambda: post("http://10.77.0.1:8000/v1/completions", body))

    def stop(self) -> None:
        """End all that serves."""
        self.front.kill_all()
        self.back.kill_all()
        self.processes.clear()


@dataclass
class Answer:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def receipt(self) -> dict[str, Any]:
        """What the mesh says of it."""
        receipt: dict[str, Any] = self.body["pdmesh"]
        return receipt

    @property
    def text(self) -> str:
        """Of its only choice."""
        return str(self.body["choices"][0]["text"])

    @property
    def token_ids(self) -> list[int]:
        """Of its only choice."""
        return list(self.body["choices"][0]["token_ids"])


def post(url: str, body: dict[str, Any]) -> Answer:
    """Ask and wait for the whole answer, which may be an error."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        reply = urllib.request.urlopen(request, timeout=ASK_S_MAX)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Answer(reply.status, headers, json.loads(reply.read()))


@contextmanager
def two_hosts(model_dir: Path, directory: Path) -> Iterator[Hosts]:
    """Cabled, named and without any process."""
    with Host("front", directory) as front, Host("back", directory) as back:
        front.plug(back, "lan0", ["10.77.0.1/24", "fd77::1/64"], ["10.77.0.2/24", "fd77::2/64"])
        front.plug(back, "lan1", ["10.78.0.1/24"], ["10.78.0.2/24"])
        for host in (front, back):
            host.name_addresses({"localhost": "127.0.0.1", "router.mesh": "10.77.0.1"})
        yield Hosts(front, back, model_dir)
