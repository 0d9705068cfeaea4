"""Real architectures with random weights: `shape:qwen3-4b` measures a machine's speed without a download.

The figures are those of the released models' config.json. The weights are normal with deviation 0.02, drawn on the
device itself from a seed, so the same seed gives the same model on the same kind of device and no other. What the
model says is noise, so its accuracy is never reported; what it takes to say it is what the real model takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evalsuite.config import SHAPE_PREFIX
from evalsuite.errors import ConfigError

WEIGHT_DEVIATION = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The figures of one dense Qwen3 model; what is left out is the same for all of them."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    tie_word_embeddings: bool
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151_936
    max_position_embeddings: int = 40_960
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6

    @property
    def parameters(self) -> int:
        """Count of distinct parameters: embeddings, then per layer attention, query and key norms, SwiGLU, norms."""
        query, key_value = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (2 * query + 2 * key_value) + 2 * self.head_dim
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + self.hidden_size


def _shape(hidden: int, layers: int, heads: int, intermediate: int, *, tied: bool) -> Shape:
    return Shape(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        tie_word_embeddings=tied,
    )


SHAPES = {
    "qwen3-0.6b": _shape(1024, 28, 16, 3072, tied=True),
    "qwen3-1.7b": _shape(2048, 28, 16, 6144, tied=True),
    "qwen3-4b": _shape(2560, 36, 32, 9728, tied=True),
    "qwen3-8b": _shape(4096, 36, 32, 12_288, tied=False),
    "qwen3-14b": _shape(5120, 40, 40, 17_408, tied=False),
    "qwen3-32b": _shape(5120, 64, 64, 25_600, tied=False),
}


def get_shape(model: str) -> Shape:
    """The shape that `shape:NAME` names; ConfigError listing the names if there is none."""
    name = model.removeprefix(SHAPE_PREFIX).lower()
    if name not in SHAPES:
        raise ConfigError(f"model: expected {SHAPE_PREFIX} and one of {', '.join(SHAPES)}; got {model!r}")
    return SHAPES[name]


def shape_config(shape: Shape, *, eos_token_id: int) -> Any:
    """The transformers configuration of `shape`."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
        rms_norm_eps=shape.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_word_embeddings,
        attention_bias=False,
        eos_token_id=eos_token_id,
        pad_token_id=eos_token_id,
        architectures=["Qwen3ForCausalLM"],
    )


def random_model(config: Any, *, attention: str, dtype: str, device: str, seed: int) -> Any:
    """A causal LM of `config` with weights drawn on `device`, in `dtype`: no copy is ever made on the host."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    auto: Any = AutoModelForCausalLM  # untyped in transformers
    with torch.device(device), no_init_weights():
        model = auto.from_config(config, dtype=getattr(torch, dtype), attn_implementation=attention)
    model.tie_weights()
    generator = torch.Generator(device=device).manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.dim() == 1:  # norms scale by one
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, WEIGHT_DEVIATION, generator=generator)
    return model
