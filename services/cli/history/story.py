"""`pdmesh why ID`: one request's story in a few lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.cli import configuration
from services.cli.history.archive import open_archive
from services.cli.history.record import Record
from services.common.settings import StrictParser, setting

DESCRIPTION = """\
Tell what became of one request: where it waited and for how long, which workers ran it, why it took that way,
and why it failed. It is found in the request log by its id, or by the beginning of it."""
PATH_REASONS = {
    "long_prompt": "its prompt is long enough to be handed over",
    "short_prompt": "its prompt is so short that a handoff would not pay",
    "cached_prompt": "so much of its prompt is cached that a handoff would not pay",
    "demanded": "its caller demanded a handoff",
    "replay": "tokens that its caller has are generated again, which a handoff cannot do",
    "no_prefill_worker": "no prefill worker served",
    "pair_suspended": "handoffs of its pairs of workers have failed lately",
    "pair_refused": "its pairs of workers cannot hand over; `pdmesh doctor` says why",
    "pair_untried": "its pairs of workers are new and not yet tried",
    "handoff_failed": "the handoff failed, so the decode worker computed the prompt itself",
    "handoff_timeout": "the decode worker did not take the KV in time and computed the prompt itself",
    "handoff_expired": "the lease ran out before the decode worker took the KV",
    "sampling": "its sampling cannot be continued after a handoff on these engines",
}
PHASES = {
    "queue_ms": "waiting for a worker",
    "prefill_ms": "computing the prompt",
    "handoff_ms": "handing the KV over",
    "decode_ms": "generating",
}


@dataclass(frozen=True, slots=True)
class WhySettings:
    """Where to look."""

    request_log_dir: str = setting("", "Directory of the request log, as the gateway was given it")


def run(arguments: Sequence[str]) -> int:
    """Print the story of each request with this id; 1 where there is none."""
    parser = StrictParser(prog="pdmesh why", description=DESCRIPTION)
    parser.add_argument("request_id", help="The request's id: `x-request-id` of its answer, or its beginning")
    settings, options = configuration.read(parser, WhySettings, "why", arguments)
    table = open_archive(settings.request_log_dir)
    prefix = options["request_id"]
    query = "SELECT * FROM requests WHERE substr(request_id, 1, ?) = ? ORDER BY time"
    found = [dict(row) for row in table.execute(query, (len(prefix), prefix))]
    if not found:
        print(f"no request whose id begins with {prefix} is in {settings.request_log_dir}")
        return 1
    print("\n\n".join("\n".join(story(record)) for record in found))
    return 0


def story(record: Record) -> Iterator[str]:
    """What happened, a line for each part."""
    tenant = f", tenant {record['tenant']}" if record["tenant"] else ""
    took = (record["took_ms"] or 0.0) / 1e3
    yield f"{record['request_id']}: {record['route']}, model {record['model']}{tenant}"
    yield f"ended {record['time']} with status {record['status']} after {took:.2f} s"
    if record["error"]:
        message = f": {record['error_message']}" if record["error_message"] else ""
        yield f"it got no answer, because {record['error']}{message}"
    yield from _way(record)
    yield from _phases(record)
    if record["retries"]:
        yield f"it was placed again {record['retries']} times after a worker failed"
    yield _conclusion(record)


def _way(record: Record) -> Iterator[str]:
    if not record["path"]:
        yield "it never reached a worker"
        return
    workers = " and ".join(filter(None, (record["prefill_worker"], record["decode_worker"])))
    why = PATH_REASONS.get(record["path_reason"] or "", record["path_reason"])
    yield f"it took the {record['path']} path on {workers}, because {why}"


def _phases(record: Record) -> Iterator[str]:
    queue_ms, prefill_ms, handoff_ms, decode_ms = (record[name] or 0.0 for name in PHASES)
    if queue_ms >= 1.0:
        yield f"{_seconds(queue_ms)} waiting in the router for a worker with room"
    if prefill_ms:
        cached = f", {record['cached_tokens']} of them cached" if record["cached_tokens"] else ""
        yield (
            f"{_seconds(prefill_ms)} from its worker's turn to the first token, "
            f"{record['prompt_tokens']} prompt tokens{cached}"
        )
    if handoff_ms:
        size_mb = (record["kv_size_bytes"] or 0) / 1e6
        speed = f" at {record['handoff_gb_per_s']:.2f} GB/s" if record["handoff_gb_per_s"] else ""
        yield f"{_seconds(handoff_ms)} handing {size_mb:.1f} MB of KV over{speed}"
    tokens = record["generated_tokens"] or 0
    if decode_ms:
        each = f", {decode_ms / (tokens - 1):.1f} ms each" if tokens > 1 else ""
        yield f"{_seconds(decode_ms)} generating {tokens} tokens{each}"


def _conclusion(record: Record) -> str:
    spent = {name: record[name] or 0.0 for name in PHASES}
    slowest = max(spent, key=lambda name: spent[name])
    whole = record["took_ms"] or 0.0
    elsewhere = whole - sum(spent.values())
    if elsewhere > max(spent.values()):
        return (
            f"most of its time, {_seconds(elsewhere)}, went outside the workers: at the gateway or its client"
        )
    return f"most of its time, {_seconds(spent[slowest])}, went into {PHASES[slowest]}"


def _seconds(ms: float) -> str:
    return f"{ms / 1e3:.2f} s" if ms >= 1_000 else f"{ms:.1f} ms"
