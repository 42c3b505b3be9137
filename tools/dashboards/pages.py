"""The dashboards: what each is for, and its panels."""

from tools.dashboards.panels import Dashboard, Panel, Query, of, quantiles

RATE = "$__rate_interval"

OVERVIEW = Dashboard(
    "pdmesh-overview",
    "pdmesh: overview and objectives",
    "Is the mesh well, and do answers keep the objectives? Start here.",
    (
        Panel(
            "Findings",
            of("pdmesh_router_findings or on () vector(0)", "{{kind}} {{model}} {{severity}}"),
            kind="stat",
            help_text="What `pdmesh doctor` says; 0 is a healthy fleet.",
            threshold=1,
        ),
        Panel(
            "Goodput: answers that keep the objectives",
            of(
                f'sum(rate(pdmesh_gateway_slo_answers_total{{met="yes"}}[{RATE}])) '
                f"/ sum(rate(pdmesh_gateway_slo_answers_total[{RATE}]))",
                "share",
            ),
            "percentunit",
            "stat",
        ),
        Panel("Requests in flight", of("sum(pdmesh_router_open_requests)", "in flight"), kind="stat"),
        Panel(
            "Requests by status",
            of(f"sum by (status) (rate(pdmesh_gateway_requests_total[{RATE}]))", "{{status}}"),
            "reqps",
        ),
        Panel(
            "Errors by reason",
            of(
                f"sum by (reason) (rate(pdmesh_gateway_refusals_total[{RATE}])) or on () vector(0)",
                "{{reason}}",
            ),
            "reqps",
        ),
        Panel(
            "Share of requests that fail (5xx)",
            of("pdmesh:request_errors:ratio_rate5m or on () vector(0)", "5 minutes"),
            "percentunit",
            threshold=0.001,
        ),
        Panel(
            "Time to the first token",
            quantiles("pdmesh_gateway_ttft_seconds", "model", 0.5, 0.95, 0.99),
            "s",
            threshold=0.6,
        ),
        Panel(
            "Time per token",
            quantiles("pdmesh_gateway_tpot_seconds", "model", 0.5, 0.95, 0.99),
            "s",
            threshold=0.04,
        ),
        Panel("Time to the last token", quantiles("pdmesh_gateway_e2e_seconds", "model", 0.5, 0.95), "s"),
        Panel(
            "Tokens per second",
            (
                Query(
                    f"sum by (model) (rate(pdmesh_gateway_generated_tokens_total[{RATE}]))", "out {{model}}"
                ),
                Query(
                    f"sum by (model, source) (rate(pdmesh_gateway_prompt_tokens_total[{RATE}]))",
                    "in {{model}} {{source}}",
                ),
            ),
        ),
        Panel("Processes that answer", of('sum by (service) (up{job="pdmesh"})', "{{service}}")),
        Panel(
            "Slow readers and paused clients",
            (
                Query(f"sum(rate(pdmesh_gateway_slow_readers_total[{RATE}]))", "cut off per second"),
                Query("sum(pdmesh_gateway_paused_clients)", "paused"),
            ),
        ),
    ),
)

TIERS = Dashboard(
    "pdmesh-tiers",
    "pdmesh: prefill and decode side by side",
    "Which tier holds requests up?",
    (
        Panel("Requests in the queue", of("sum by (tier) (pdmesh_router_queue_requests)", "{{tier}}")),
        Panel(
            "Prompt tokens that wait, in the queue and inside the engines",
            (
                Query("sum by (tier) (pdmesh_router_queue_tokens)", "queue {{tier}}"),
                Query("sum by (tier) (pdmesh_router_engine_queue_tokens)", "engines {{tier}}"),
            ),
        ),
        Panel(
            "How long a new prompt waits for prefill",
            of('max by (model) (pdmesh_router_prefill_wait_seconds{tier="prefill"})', "{{model}}"),
            "s",
            threshold=0.5,
        ),
        Panel(
            "Oldest request in the queue",
            of("max by (tier) (pdmesh_router_queue_oldest_seconds)", "{{tier}}"),
            "s",
        ),
        Panel(
            "Seats taken",
            of(
                "sum by (tier) (pdmesh_router_seats_taken) / (sum by (tier) (pdmesh_router_seats) > 0)",
                "{{tier}}",
            ),
            "percentunit",
            threshold=0.95,
        ),
        Panel(
            "KV blocks reserved",
            of(
                "sum by (tier) (pdmesh_router_kv_blocks_reserved) "
                "/ (sum by (tier) (pdmesh_router_kv_blocks) > 0)",
                "{{tier}}",
            ),
            "percentunit",
            threshold=0.9,
        ),
        Panel(
            "Time of a request in each phase (p95)",
            quantiles("pdmesh_router_phase_seconds", "phase", 0.95),
            "s",
        ),
        Panel("Engine step", of("pdmesh_worker_step_seconds", "{{process}}"), "s"),
        Panel("Requests in each engine", of("pdmesh_worker_requests", "{{process}} {{state}}")),
        Panel(
            "Where requests run",
            of(
                f"sum by (path, reason) (rate(pdmesh_router_placements_total[{RATE}]))", "{{path}} {{reason}}"
            ),
            "reqps",
        ),
        Panel("Workers", of("sum by (role, state) (pdmesh_router_workers)", "{{role}} {{state}}")),
        Panel("KV blocks of each engine", of("pdmesh_worker_kv_blocks", "{{process}} {{state}}")),
    ),
)

PAIRS = Dashboard(
    "pdmesh-pairs",
    "pdmesh: handoffs, pair by pair",
    "Does every prefill worker hand over to every decode worker, and how fast?",
    (
        Panel(
            "Speed of the pull, GB/s",
            of("pdmesh_router_pair_gigabytes_per_second", "{{prefill_worker}} to {{decode_worker}}"),
            kind="table",
            width=12,
        ),
        Panel(
            "Usable pairs (0: held or suspended)",
            of("pdmesh_router_pair_usable", "{{prefill_worker}} to {{decode_worker}}"),
            kind="table",
            width=12,
        ),
        Panel(
            "Time from offer to adoption",
            of("pdmesh_router_pair_handoff_seconds", "{{prefill_worker}} to {{decode_worker}}"),
            "s",
        ),
        Panel(
            "Handoffs per second",
            of(
                f"rate(pdmesh_router_pair_handoffs_total[{RATE}])",
                "{{prefill_worker}} to {{decode_worker}}",
            ),
        ),
        Panel(
            "Failed handoffs per second",
            of(
                f"rate(pdmesh_router_pair_failures_total[{RATE}])",
                "{{prefill_worker}} to {{decode_worker}}",
            ),
        ),
        Panel("Open handoffs", of("sum(pdmesh_router_open_handoffs)", "open")),
        Panel("Stranded block-seconds", of("sum(pdmesh_router_stranded_block_seconds)", "blocks x seconds")),
        Panel(
            "Unreleased and expired",
            (
                Query("sum(pdmesh_router_unreleased_handoffs)", "unreleased"),
                Query("sum(pdmesh_router_expired_handoffs)", "expired"),
            ),
            threshold=1,
        ),
        Panel(
            "KV taken over, bytes per second",
            of(f"rate(pdmesh_worker_kv_adopted_bytes_total[{RATE}])", "{{process}}"),
            "Bps",
        ),
        Panel(
            "Pairs that handed over wrong KV", of("sum(pdmesh_router_canary_mismatches)", "held"), threshold=1
        ),
    ),
)

MODELS = Dashboard(
    "pdmesh-models",
    "pdmesh: model versions side by side",
    "Is the canary as good as what it replaces?",
    (
        Panel("Time to the first token (p95)", quantiles("pdmesh_gateway_ttft_seconds", "model", 0.95), "s"),
        Panel("Time per token (p95)", quantiles("pdmesh_gateway_tpot_seconds", "model", 0.95), "s"),
        Panel(
            "Answers that keep the objectives",
            of(
                f'sum by (model) (rate(pdmesh_gateway_slo_answers_total{{met="yes"}}[{RATE}])) '
                f"/ sum by (model) (rate(pdmesh_gateway_slo_answers_total[{RATE}]))",
                "{{model}}",
            ),
            "percentunit",
        ),
        Panel(
            "Answers per second",
            of(f"sum by (model) (rate(pdmesh_gateway_slo_answers_total[{RATE}]))", "{{model}}"),
            "reqps",
        ),
        Panel(
            "Tokens per second by class",
            of(
                f"sum by (model, class) (rate(pdmesh_gateway_generated_tokens_total[{RATE}]))",
                "{{model}} {{class}}",
            ),
        ),
        Panel(
            "Prompt tokens that a prefix cache had",
            of(
                f'sum by (model) (rate(pdmesh_gateway_prompt_tokens_total{{source="cached"}}[{RATE}])) '
                f"/ sum by (model) (rate(pdmesh_gateway_prompt_tokens_total[{RATE}])) or on () vector(0)",
                "{{model}}",
            ),
            "percentunit",
        ),
    ),
)

CAPACITY = Dashboard(
    "pdmesh-capacity",
    "pdmesh: capacity and scaling",
    "How many workers does each tier need, want and have?",
    (
        Panel(
            "Workers needed, wanted and there",
            (
                Query("max by (tier) (pdmesh_router_needed_workers)", "needed {{tier}}"),
                Query("max by (tier) (pdmesh_router_desired_replicas)", "wanted {{tier}}"),
                Query("max by (tier) (pdmesh_router_attached_workers)", "there {{tier}}"),
            ),
            width=12,
        ),
        Panel(
            "Most workers that the rules allow", of("max by (tier) (pdmesh_router_replicas_max)", "{{tier}}")
        ),
        Panel("Cold start", of("max by (tier) (pdmesh_router_cold_start_seconds)", "{{tier}}"), "s"),
        Panel(
            "CPU of each process",
            of(f"rate(process_cpu_seconds_total[{RATE}])", "{{process}}"),
            "percentunit",
        ),
        Panel("Memory of each process", of("process_resident_memory_bytes", "{{process}}"), "bytes"),
        Panel("Open files of each process", of("process_open_fds", "{{process}}")),
        Panel("Connections of each gateway", of("pdmesh_gateway_connections", "{{process}}")),
        Panel(
            "Lag of each event loop (p99)", quantiles("pdmesh_gateway_loop_lag_seconds", "process", 0.99), "s"
        ),
        Panel("Prompt tokens not computed yet", of("pdmesh_worker_queued_prefill_tokens", "{{process}}")),
    ),
)

TENANTS = Dashboard(
    "pdmesh-tenants",
    "pdmesh: tenants, quotas and usage",
    "Who runs into a quota, and is all use counted?",
    (
        Panel(
            "Refusals for a quota",
            of(
                f"sum by (limit) (rate(pdmesh_gateway_quota_refusals_total[{RATE}])) or on () vector(0)",
                "{{limit}}",
            ),
            "reqps",
        ),
        Panel(
            "Refused credentials",
            of(
                f"sum by (reason) (rate(pdmesh_gateway_refused_credentials_total[{RATE}])) "
                "or on () vector(0)",
                "{{reason}}",
            ),
            "reqps",
        ),
        Panel("Tenants with a quota in memory", of("sum(pdmesh_gateway_quota_accounts)", "tenants")),
        Panel("Use that waits to be counted", of("sum(pdmesh_gateway_usage_waiting)", "requests")),
        Panel(
            "Use that was counted",
            of(f"sum(rate(pdmesh_gateway_usage_counted_total[{RATE}]))", "requests per second"),
            "reqps",
        ),
        Panel(
            "Stores that answer",
            (
                Query("min(pdmesh_gateway_quota_store_up)", "quotas"),
                Query("min(pdmesh_gateway_usage_store_up)", "usage"),
                Query("min(pdmesh_router_store_up)", "router"),
            ),
        ),
    ),
)

DASHBOARDS = (OVERVIEW, TIERS, PAIRS, MODELS, CAPACITY, TENANTS)
