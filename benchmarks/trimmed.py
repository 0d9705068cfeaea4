"""What a record keeps of the run that it was trimmed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def setting_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's `summary.json`: which model, how, by what; nothing of whose machine it was."""
    provenance = run["provenance"]
    config = provenance["options"]["config"]
    return {"model": config["model"], "dtype": config["dtype"], "versions": provenance["versions"]}
