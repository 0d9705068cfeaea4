"""A decoder that was made to read in both directions writes no text: it is refused where it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import Gemma3TextConfig, Gemma4TextConfig, GemmaConfig, LlamaConfig, PreTrainedConfig

from evalsuite.config import InferenceConfig
from evalsuite.errors import ModelLoadError
from evalsuite.loading import load
from evalsuite.loading.architecture import not_causal_reason


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        (Gemma3TextConfig(use_bidirectional_attention=True), "`use_bidirectional_attention` is set"),
        (GemmaConfig(use_bidirectional_attention=True), "`use_bidirectional_attention` is set"),
        (Gemma4TextConfig(use_bidirectional_attention="all"), "`use_bidirectional_attention` is set"),
        (LlamaConfig(is_causal=False), "`is_causal` is off"),
    ],
    ids=["gemma3", "gemma", "gemma4", "llama"],
)
def test_a_flag_that_makes_a_decoder_read_both_ways(tmp_path: Path, config: PreTrainedConfig, flag: str) -> None:
    config.save_pretrained(tmp_path)
    said = rf"config\.json: not a causal language model: {config.model_type} reads in both directions \({flag}\)"
    with pytest.raises(ModelLoadError, match=said):
        load(InferenceConfig(model=str(tmp_path), dtype="float32", device="cpu"))


@pytest.mark.parametrize(
    "config",
    [
        Gemma3TextConfig(),
        GemmaConfig(use_bidirectional_attention=False),
        Gemma4TextConfig(use_bidirectional_attention="vision"),
    ],
    ids=["gemma3", "gemma", "gemma4-images-only"],
)
def test_text_that_is_read_in_one_direction(config: PreTrainedConfig) -> None:
    assert not_causal_reason(config) is None
