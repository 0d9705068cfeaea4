"""Tiny random models of three architectures and a tokenizer, made in memory in milliseconds.

Their weights are spread widely, so that a fault in masks or positions moves log-probabilities by far more
than rounding does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from evalsuite.config import InferenceConfig
from evalsuite.loading.report import LoadedModel, LoadReport

ARCHITECTURES = ("qwen3", "llama", "gpt2")
WINDOW = 96
EOS, PAD = 0, 1

_TRAINING_TEXT = (
    "The following are multiple choice questions (with answers) about rivers.\n\nQuestion\nA. B. C. D.\nAnswer:",
    " A B C D" * 4,
    "Đoạn văn: Hà Nội là thủ đô của Việt Nam.\nCâu hỏi: Thủ đô là gì?\nTrả lời: Hà Nội",
)


@lru_cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 384 ids that encodes any text, " A" as one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|endoftext|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TRAINING_TEXT * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|pad|>")


@lru_cache
def tiny_loaded(architecture: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> LoadedModel:
    """A loaded model as `evalsuite.loading.load` returns it. Shared between tests: do not change it."""
    return wrap(make_model(architecture, seed=seed).to(dtype))


def make_model(architecture: str, *, seed: int = 0) -> Any:
    """A fresh fp32 model: qwen3 (rotary, grouped heads, q/k norm), llama (rotary) or gpt2 (absolute positions)."""
    torch.manual_seed(seed)
    vocab = len(tiny_tokenizer())
    common = {"vocab_size": vocab, "bos_token_id": None, "eos_token_id": EOS, "pad_token_id": PAD}
    rotary = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": WINDOW,
        "initializer_range": 0.3,
    }
    if architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**common, **rotary, head_dim=8, tie_word_embeddings=True)).eval()
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**common, **rotary)).eval()
    config = GPT2Config(**common, n_positions=WINDOW, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


def wrap(model: Any, tokenizer: Any = None) -> LoadedModel:
    """A `LoadedModel` around a model that is in memory already."""
    settings = {"device": "cpu", "dtype": str(model.dtype), "attention": "sdpa", "torch_compile": "off"}
    return LoadedModel(
        model=model.requires_grad_(False),
        tokenizer=tokenizer or tiny_tokenizer(),
        path="memory",
        config=InferenceConfig(dtype="float32", device="cpu"),
        report=LoadReport(
            asked=settings,
            got=settings,
            fallbacks=(),
            load_seconds=0.0,
            peak_memory_bytes=0,
            parameters=sum(p.numel() for p in model.parameters()),
            model_fingerprint="0" * 12,
        ),
        eos_token_ids=(EOS,),
    )
