"""Prometheus metrics of the tokenizers."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.gateway.models.rendering import Encoder


class TokenizerMetrics(Collector):
    """What the encoders have counted, read when scraped; one sample for each model."""

    def __init__(self, encoders: Callable[[], Mapping[str, Encoder]], registry: CollectorRegistry) -> None:
        self._encoders = encoders
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        is_fast = GaugeMetricFamily(
            "pdmesh_gateway_tokenizer_fast",
            "1 where fastokens encodes the model's prompts, 0 where it is `tokenizers` at ten times the cost",
            labels=["model"],
        )
        refused = CounterMetricFamily(
            "pdmesh_gateway_tokenizer_refused_texts",
            "Texts that fastokens could not encode, so that `tokenizers` did",
            labels=["model"],
        )
        hits = CounterMetricFamily(
            "pdmesh_gateway_tokenizer_cache_hits",
            "Texts between control tokens whose ids were known from an earlier prompt",
            labels=["model"],
        )
        misses = CounterMetricFamily(
            "pdmesh_gateway_tokenizer_cache_misses",
            "Texts between control tokens that had to be encoded",
            labels=["model"],
        )
        size = GaugeMetricFamily(
            "pdmesh_gateway_tokenizer_cache_bytes",
            "Texts and ids that are kept for later prompts",
            labels=["model"],
        )
        for model, encoder in self._encoders().items():
            use = encoder.cache_use()
            is_fast.add_metric([model], encoder.is_fast)
            refused.add_metric([model], encoder.refused_texts)
            hits.add_metric([model], use.hits)
            misses.add_metric([model], use.misses)
            size.add_metric([model], use.size_bytes)
        return iter((is_fast, refused, hits, misses, size))
