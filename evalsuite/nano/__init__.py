"""The embedded model: weights and tokenizer, sample data for every task, and the recipe that made both.

`python -m evalsuite.nano --help` lists the recipe's steps; README.md says what the model is for.
"""

from __future__ import annotations

from pathlib import Path

MODEL_DIR = Path(__file__).resolve().parent / "model"
"""config.json, model.safetensors and the tokenizer, as `from_pretrained` reads them."""

DATA_DIR = Path(__file__).resolve().parent / "data"
"""mmlu/, vmlu/, vnhsge/, viquad/, vietnews/ in the layout of the releases; held_out.json names the unseen ids."""
