"""A model's shape, read from its Hugging Face config: what its weights and its KV weigh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.common.errors import ModelMissing
from services.planner.hardware.precision import Precision

KEYS_AND_VALUES = 2


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a decoder-only transformer is made of."""

    name: str
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    intermediate_size: int
    vocab_size: int
    context_tokens_max: int
    experts: int = 1
    """Feed-forward blocks of each layer; 1 is a dense model."""
    experts_per_token: int = 1
    expert_intermediate_size: int = 0
    """Width of one expert; 0 where it is `intermediate_size`."""
    ties_embeddings: bool = False
    """Whether input and output embeddings are one matrix."""

    @classmethod
    def of_config(cls, name: str, config: Mapping[str, Any]) -> "ModelShape":
        """The shape that a config.json says; raises `ModelMissing` for a config without one."""
        config = config.get("text_config", config)
        try:
            heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
            return cls(
                name=name,
                layers=int(config["num_hidden_layers"]),
                hidden_size=hidden,
                attention_heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_size=int(config.get("head_dim") or hidden // heads),
                intermediate_size=int(config["intermediate_size"]),
                vocab_size=int(config["vocab_size"]),
                context_tokens_max=int(config.get("max_position_embeddings") or 0),
                experts=_experts(config),
                experts_per_token=int(config.get("num_experts_per_tok") or 1),
                expert_intermediate_size=int(config.get("moe_intermediate_size") or 0),
                ties_embeddings=bool(config.get("tie_word_embeddings", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMissing(
                f"{name}: its config.json says no decoder's shape that the planner knows: {error!r}"
            ) from error

    @property
    def kv_token_values(self) -> int:
        """Numbers of KV that one token takes: 2 x layers x KV heads x head size."""
        return KEYS_AND_VALUES * self.layers * self.kv_heads * self.head_size

    def kv_token_bytes(self, precision: Precision) -> float:
        """Bytes of KV that one token takes, over all GPUs of an engine."""
        return self.kv_token_values * precision.size_bytes

    @property
    def embedding_parameters(self) -> int:
        """Input and output embeddings, which quantised checkpoints keep in 16 bits."""
        return self.vocab_size * self.hidden_size * (1 if self.ties_embeddings else 2)

    @property
    def layer_parameters(self) -> int:
        """Of all layers: attention and feed-forward matrices."""
        return self.layers * (self._attention_parameters + self.experts * self._expert_parameters)

    @property
    def active_layer_parameters(self) -> int:
        """Of all layers, those that one token is multiplied with."""
        return self.layers * (self._attention_parameters + self.experts_per_token * self._expert_parameters)

    @property
    def parameters(self) -> int:
        """All of them; norms, which do not count, left out."""
        return self.layer_parameters + self.embedding_parameters

    def weights_bytes(self, precision: Precision) -> float:
        """Bytes of a checkpoint whose layers are in this format and whose embeddings are in 16 bits."""
        return (
            self.layer_parameters * precision.size_bytes
            + self.embedding_parameters * Precision.BF16.size_bytes
        )

    @property
    def _attention_parameters(self) -> int:
        queries_and_output = 2 * self.attention_heads * self.head_size
        return self.hidden_size * (queries_and_output + KEYS_AND_VALUES * self.kv_heads * self.head_size)

    @property
    def _expert_parameters(self) -> int:
        width = self.expert_intermediate_size if self.experts > 1 else 0
        return 3 * self.hidden_size * (width or self.intermediate_size)


def _experts(config: Mapping[str, Any]) -> int:
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        if config.get(key):
            return int(config[key])
    return 1
