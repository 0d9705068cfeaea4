"""One loader for every model: hub name, directory, checkpoint, the embedded nano, or a shape with random weights."""

from evalsuite.loading.adopting import adopt, known_report, remember
from evalsuite.loading.compiling import drop_compile
from evalsuite.loading.loader import estimate_bytes, load, load_model
from evalsuite.loading.report import LoadedModel, LoadReport

__all__ = [
    "LoadReport",
    "LoadedModel",
    "adopt",
    "drop_compile",
    "estimate_bytes",
    "known_report",
    "load",
    "load_model",
    "remember",
]
