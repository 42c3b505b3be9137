"""Every bound of the mesh in one table: name, number, unit, and what happens when it is reached."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold unless a deployment sets others. Full means a clear refusal at once."""

    body_size_bytes_max: int = 8 * 1024 * 1024
    """HTTP request body; 413 past it, without reading on."""
    bodies_size_bytes_max: int = 256 * 1024 * 1024
    """Request bodies that one gateway holds, altogether; 503 past it, for whoever holds most of it first."""
    rendering_size_bytes_max: int = 64 * 1024 * 1024
    """Bodies and prompts that one gateway has in threads, or waiting for one; 503 past it, for whoever has
    most there first."""
    unread_body_size_bytes_max: int = 4_096
    """Body of a request that needs none, such as a GET; 413 past it."""
    header_size_bytes_max: int = 32 * 1024
    """HTTP request line and headers together, and chunk extensions and trailers together; 431 past it."""
    json_depth_max: int = 64
    """Nesting of a JSON body; 400 past it."""
    json_objects_max: int = 65_536
    """Lists, maps and entries of maps in a JSON body, with those in the arguments of its tool calls; 400 past
    it, before any is made."""
    message_fields_max: int = 16_384
    """Fields of a gRPC request, with those of its submessages; 400 past it. Packed numbers count as one."""
    token_ids_max: int = 1_048_576
    """Token ids of one gRPC request; 400 past it."""
    json_elements_max: int = 262_144
    """Elements of all lists and maps of a JSON body, numbers and texts included; 400 past it."""
    request_head_ms_max: int = 10_000
    """Time for an HTTP request's line and headers, from their first byte; 408 past it."""
    request_body_ms_max: int = 60_000
    """Time for an HTTP body, from the end of its headers; 408 past it."""
    keep_alive_ms_max: int = 75_000
    """An HTTP connection without a request is closed after this."""
    client_socket_buffer_bytes: int = 128 * 1024
    """What the kernel may hold for one HTTP client (SO_SNDBUF), so that a slow one shows."""
    client_stall_ms_max: int = 30_000
    """A client that takes nothing of its answer for this long is disconnected."""
    pipelined_requests_max: int = 64
    """Requests waiting on one HTTP connection; it is not read meanwhile, and past it in one read is a 400."""
    connections_max: int = 4_096
    """Open HTTP connections per gateway; 503 past it."""
    streams_per_gateway_max: int = 4_096
    """Requests in flight per gateway; 503 past it."""
    choices_per_request_max: int = 128
    """Choices that one call may ask for, of all its prompts; 400 past it."""
    inputs_per_request_max: int = 2_048
    """Texts of one call for vectors; 400 past it."""
    inputs_in_flight_max: int = 64
    """Of these, so many are at the router at once, lest one call fill its queue."""
    answer_size_bytes_max: int = 32 * 1024 * 1024
    """One answer that is sent whole, kept until its end; 400 past it, as a stream has no such bound."""
    client_buffer_bytes_max: int = 256 * 1024
    """Text waiting for one HTTP client that does not read; the request is cancelled past it."""
    frame_size_bytes_max: int = 16 * 1024 * 1024
    """One gRPC message on an internal stream."""
    lanes_max: int = 16_384
    """Connections on one server's lane port; refused past it."""
    frames_unacknowledged_max: int = 256
    """Frames in flight to one peer; past it they merge in the sender's outbox."""
    outbox_size_bytes_max: int = 64 * 1024 * 1024
    """What may wait for one peer that does not read; its session ends past it."""
    queue_requests_max: int = 2_048
    """Requests waiting per pool and tier; refused past it."""
    queue_tokens_max: int = 4_000_000
    """Prompt tokens waiting per pool and tier; refused past it."""
    queue_wait_ms_max: int = 10_000
    """Time a request may wait to be placed; 503 past it."""
    retries_per_request_max: int = 3
    """Times a request may be placed again after workers failed it."""
    handoff_lease_ms: int = 30_000
    """How long a prefill worker keeps an offered KV."""
    handoff_margin_ms: int = 5_000
    """The pull must have begun this long before the lease ends."""
    kv_snapshot_tokens_max: int = 2_000_000
    """Tokens of its prefix cache that a worker tells a router which attaches late; the newest count."""
    workers_max: int = 10_000
    """Workers attached to one router."""
    routers_max: int = 64
    """Routers of one mesh whose queues are shown together."""
    gateways_max: int = 256
    """Gateways connected to one router."""
    logprobs_max: int = 20
    """Most likely tokens reported beside each token; 400 past it."""
    structured_chars_max: int = 65_536
    """Description of an answer's shape; 400 past it."""
    grammar_burst_ms: int = 150
    """Processor time that one answer's grammar may take of its engine's steps, beside what each token
    adds; 400 past it."""
    grammar_token_ms: int = 5
    """What each token adds to that time, until it is whole again."""
    bad_words_max: int = 128
    """Bad words of one request, counted as sequences of tokens; 400 past it."""
    priority_max: int = 1_000
    """A request's priority within its class, either way; 400 past it."""
    adapters_per_worker_max: int = 64
    """LoRA adapters of one worker; refused at its start past it."""
    request_id_chars_max: int = 128
    """Length of a caller's own request id; 400 past it."""
    tenants_max: int = 10_000
    """Tenants of one deployment; a tenants file with more is refused."""
    tenants_size_bytes_max: int = 8 * 1024 * 1024
    """Size of a tenants file; a longer one is refused."""
    key_set_size_bytes_max: int = 1024 * 1024
    """Size of a JWKS document; a longer one is refused."""
    token_chars_max: int = 8_192
    """Length of a JWT; 401 past it, because decoding one costs time by its length."""
    verified_tokens_max: int = 4_096
    """JWTs that a gateway remembers having verified; past it the oldest is forgotten."""
    models_file_size_bytes_max: int = 1024 * 1024
    """The file of aliases, versions and adapters; refused past it."""
    tokenizers_max: int = 16
    """Models with a tokenizer of their own at one gateway; the models file is refused past it."""
    tokenizer_cache_size_bytes_max: int = 16 * 1024 * 1024
    """Texts between control tokens whose ids a tokenizer keeps, since conversations repeat them; past it the
    oldest go."""
    idempotency_key_chars_max: int = 255
    """Length of an idempotency key; 400 past it."""
    idempotency_ttl_ms: int = 300_000
    """How long a finished answer is given again for its idempotency key."""
    idempotency_answer_bytes_max: int = 4 * 1024 * 1024
    """One answer that is kept for its idempotency key; a larger one is given once, and a retry is a 409."""
    idempotency_kept_bytes_max: int = 128 * 1024 * 1024
    """All answers that one gateway keeps, here and in Redis each; past it the oldest go early of the tenant
    that takes most."""
    idempotency_keys_max: int = 50_000
    """Idempotency keys that one gateway remembers; past it the oldest go early of the tenant with most."""
    response_size_bytes_max: int = 1024 * 1024
    """A stored response with its conversation; a longer one is given and not stored."""
    responses_per_tenant_max: int = 1_000
    """Stored responses of one tenant; past it the oldest go."""
    responses_per_tenant_bytes_max: int = 32 * 1024 * 1024
    """Likewise, together."""
    responses_kept_bytes_max: int = 64 * 1024 * 1024
    """Stored responses that one gateway holds: without Redis all of them, with it those that wait to be
    written; past it the oldest go of the tenant that has most."""
    response_ttl_ms: int = 24 * 60 * 60 * 1000
    """How long a response is stored."""
    descriptors_max: int = 1_048_576
    """Open files of one process, where the system would allow more."""
    descriptors_reserved: int = 128
    """Open files that a process keeps for itself, or a quarter of all where that is less; a connection that
    would need one of them is refused."""
    output_waiting_bytes_max: int = 1024 * 1024
    """Output of a process whose reader does not read, each of standard output and error; past it lines are
    dropped, and counted."""
    shutdown_grace_ms: int = 20_000
    """Time to finish what is in flight after SIGTERM."""
    scaling_watches_max: int = 256
    """Streams of one router that tell how many workers there should be; refused past it."""
    token_frame_interval_ms: int = 4
    """Tokens wait for more, and for nothing else, so that frames are so far apart on average; where streams
    tick each by itself, frames cost more than tokens. Up to 8 streams that are faster bring them nearer, down
    to half a millisecond, so that no token waits for its stream's next one. 0: they never wait."""
    frame_patience_ms: int = 50
    """What nobody waits for, such as a load report, is sent within this time, with other news if it can."""
    heartbeat_interval_ms: int = 500
    """A quiet stream carries a frame this often."""
    heartbeat_timeout_ms: int = 3_000
    """A silent peer is taken for dead after this."""


DEFAULTS = Limits()
