"""The bodies that cost a gateway most, by shape: each as long as a body may be."""

from collections.abc import Iterator

from services.common.limits import DEFAULTS

SIZE = DEFAULTS.body_size_bytes_max - 1024

ROUTES: dict[str, bytes] = {
    "/v1/chat/completions": b'"model":"tiny","messages":[{"role":"user","content":"Hi"}]',
    "/v1/completions": b'"model":"tiny","prompt":"Hi"',
    "/v1/responses": b'"model":"tiny","input":"Hi"',
    "/v1/messages": b'"model":"tiny","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]',
    "/v1/messages/count_tokens": b'"model":"tiny","messages":[{"role":"user","content":"Hi"}]',
    "/v1/embeddings": b'"model":"tiny","input":"Hi"',
    "/tokenize": b'"model":"tiny","prompt":"Hi"',
    "/detokenize": b'"model":"tiny","tokens":[1]',
}
"""What each route's body needs at least."""
PROMPTS = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/responses": "input",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages",
    "/v1/embeddings": "input",
    "/tokenize": "prompt",
    "/detokenize": "tokens",
}
"""The field that each route makes a prompt of."""


def filled(before: bytes, unit: bytes, after: bytes, size: int = SIZE) -> bytes:
    """A unit as often as fits between the two."""
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def many_keys(count: int, size: int = SIZE) -> bytes:
    """A map of different keys; the count or the size ends it."""
    made: list[bytes] = []
    taken = 2
    for number in range(count):
        entry = b'"%x":0' % number
        taken += len(entry) + 1
        if taken > size:
            break
        made.append(entry)
    return b"{" + b",".join(made) + b"}"


def shapes() -> Iterator[tuple[str, bytes]]:
    """Values for any field, by name."""
    objects, elements = DEFAULTS.json_objects_max, DEFAULTS.json_elements_max
    yield "nested empty lists", filled(b"[", b"[],", b"[]]")
    yield "empty maps", filled(b"[", b"{},", b"{}]")
    yield "pairs of lists", filled(b"[", b"[[]],", b"[]]")
    yield "many keys", many_keys(SIZE)
    yield "a huge enum", filled(b'{"enum":[', b"[],", b"[]]}")
    yield "deep nesting", b"[" * (SIZE // 2) + b"]" * (SIZE // 2)
    yield "deep maps", filled(b"", b'{"a":', b"1")
    yield "escapes", filled(b'"', b"\\n", b'"')
    yield "unicode escapes", filled(b'"', b"\\u4e2d", b'"')
    yield "escaped quotes", filled(b'"', b'\\"', b'"')
    yield "backslashes", filled(b'"', b"\\\\", b'"')
    yield "brackets in a string", filled(b'"', b"[],{}:", b'"')
    yield "a number of digits", b"1" * SIZE
    yield "a fraction of digits", b"0." + b"7" * (SIZE - 2)
    yield "numbers", filled(b"[", b"1,", b"1]")
    yield "texts", filled(b"[", b'"",', b'""]')
    yield "blanks", filled(b"[", b" ", b"]")
    yield "as many lists as may be", filled(b"[", b"[],", b"[]]", 3 * (objects - 9))
    yield "as many numbers as may be", filled(b"[", b"60000,", b"1]", 6 * (elements - 9))
    yield "as many keys as may be", many_keys(objects - 9)


def worst_bodies(route: str) -> Iterator[tuple[str, bytes]]:
    """Every shape as the route's prompt, and what else is costly, for a route."""
    base, prompt = ROUTES[route], PROMPTS[route].encode()
    for name, value in shapes():
        yield f"{name} as {prompt.decode()}", b'{%b,"%b":%b}' % (base, prompt, value)
        if name.startswith(("as many", "many")):
            yield f"{name} as chat_template_kwargs", b'{%b,"chat_template_kwargs":%b}' % (base, value)
    messages = filled(b"[", b'{"role":"user","content":""},', b'{"role":"user","content":""}]', 600_000)
    yield "as many messages as may be", b'{%b,"messages":%b}' % (base, messages)
    yield "arguments", b'{%b,"messages":[%b]}' % (base, CALLING % filled(b"", b"[],", b"[]", SIZE - 500))
    schema = filled(b'{"enum":[', b"[],", b"[]]}", 6 * 10_000)
    for field in (b"guided_json", b"structured_outputs"):
        shaped = b'{"json":%b}' % schema if field == b"structured_outputs" else schema
        yield f"a schema in {field.decode()}", b'{%b,"%b":%b}' % (base, field, shaped)
    as_text = b'"%b"' % filled(b"", b"[],", b"[]", SIZE - 500)
    yield "a schema as text", b'{%b,"guided_json":%b}' % (base, as_text)


CALLING = (
    b'{"role":"assistant","content":"","tool_calls":'
    b'[{"type":"function","function":{"name":"f","arguments":"[%b]"}}]}'
)
