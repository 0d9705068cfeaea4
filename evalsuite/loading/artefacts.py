"""Where compiled code is kept between runs: torch's and Triton's caches, in a folder that a restart does not empty.

torch keeps what it compiled by itself (its FX graph and autograd caches, on by default) and looks it up by the graph,
its own release and the device; only the place is volatile, `/tmp/torchinductor_USER`. An environment variable names
it, which torch reads whenever it compiles; Triton reads one of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_VARIABLE = "EVALSUITE_COMPILE_CACHE"
"""Names the folder itself."""
INDUCTOR_VARIABLE, TRITON_VARIABLE = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"


def artefacts_folder() -> Path | None:
    """What `EVALSUITE_COMPILE_CACHE` names, else `evalsuite/compiled` in the user's cache directory.

    That is `XDG_CACHE_HOME`, or `~/.cache` where it is unset, empty or relative (as the XDG specification says). None
    for a user without a home directory.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    return cache / "evalsuite" / "compiled"


def keep_artefacts() -> None:
    """Point torch's and Triton's caches to the folder, made for this user alone: it holds code that will be run.

    What the user's environment names stays. A folder that cannot be made is no reason to stop: torch uses its own.
    """
    folder = artefacts_folder()
    if folder is None or not _is_torchs_own(os.environ.get(INDUCTOR_VARIABLE)):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK | os.X_OK):
        os.environ[INDUCTOR_VARIABLE] = str(folder / "inductor")
        os.environ.setdefault(TRITON_VARIABLE, str(folder / "triton"))


def _is_torchs_own(folder: str | None) -> bool:
    """Whether nobody named it: unset, or what torch itself writes there as soon as its compiler is imported."""
    if folder is None:
        return True
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    try:
        return folder == os.path.abspath(default_cache_dir())
    except (KeyError, OSError):  # no name belongs to this user's id, so torch had none to make up a folder by
        return False
