#!/usr/bin/env python3
"""Set evalsuite up in .venv and run it. Needs Python 3.11 or later and git, nothing else.

    python3 run.py bench [pytest options]     the five evaluations by every strategy
    python3 run.py bench PATH or -k NAMES     any benchmarks; e.g. python3 run.py bench -k "mmlu or compile"
    python3 run.py test  [pytest options]     the tests

The first call installs; later ones start at once, until pyproject.toml or the constraints change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("EVALSUITE_VENV") or ROOT / ".venv")
CPU_CONSTRAINTS = ROOT / "constraints-cpu.txt"

EXTRAS = {"bench": "", "test": "[dev]"}
"""The extras that each command needs; `test`'s include `bench`'s."""
ARGUMENTS = {
    "bench": ["benchmarks", "-rs", "--benchmark-columns=min,median,max,rounds", "--benchmark-sort=fullname"],
    "test": ["tests", "-n", "auto", "--benchmark-disable"],
}
ON_REQUEST = {
    "bench": (
        "benchmarks/test_optimisations.py",
        "benchmarks/test_attention.py",
        "benchmarks/test_claims.py",
        "benchmarks/test_determinism.py",
    ),
    "test": (),
}
"""Left out unless a path or -k asks for them: they time single optimisations, and no evaluation."""
ONE_THREAD_A_WORKER = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main(arguments: Sequence[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  # this runs before anything could refuse to be installed
        sys.exit(f"evalsuite needs Python 3.11 or later; this is {sys.version.split()[0]}")
    if not arguments or arguments[0] not in ARGUMENTS:
        print(__doc__.strip())
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    command, *options = arguments
    set_up(EXTRAS[command])
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    if command == "test":
        environment |= {name: os.environ.get(name, count) for name, count in ONE_THREAD_A_WORKER.items()}
    pytest = [str(python()), "-m", "pytest", *pytest_arguments(command, options)]
    say("$ pytest " + " ".join(without_key(pytest[3:])))
    return exit_code(subprocess.Popen(pytest, cwd=ROOT, env=environment))


def pytest_arguments(command: str, options: Sequence[str]) -> list[str]:
    """What is given, with the defaults of the command: its folder, unless a path in it replaces that, and settings."""
    folder, *settings = ARGUMENTS[command]
    if any(_is_path_in(ROOT / folder, option) for option in options):
        return [*settings, *options]
    left_out = [] if any(map(_is_keyword, options)) else [f"--ignore={path}" for path in ON_REQUEST[command]]
    return [folder, *settings, *left_out, *options]


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Wait however often Ctrl-C is pressed: the process gets it too, and needs time to say what it leaves behind."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def set_up(extras: str) -> None:
    """Make the environment and install into it, unless a stamp says that just this was done."""
    constraints = [] if has_nvidia_gpu() else ["--constraint", str(CPU_CONSTRAINTS)]
    stamp, wanted = ENVIRONMENT / "evalsuite-stamp.json", fingerprint(constraints)
    done = json.loads(stamp.read_text()) if stamp.exists() else {}
    if done.get("fingerprint") == wanted and extras in done["extras"]:
        return
    if not python().exists():
        say(f"making a virtual environment in {ENVIRONMENT}")
        venv.create(ENVIRONMENT, with_pip=True, clear=ENVIRONMENT.exists())
    if constraints:
        say("no NVIDIA GPU found: installing torch for the CPU")
        refuse_cuda_build(constraints)
    say("installing evalsuite and what it needs: minutes the first time")
    pip("install", "-qq", *constraints, "--editable", f"{ROOT}{extras}")
    covered = sorted({extras, ""} | set(done["extras"] if done.get("fingerprint") == wanted else ()))
    stamp.write_text(json.dumps({"fingerprint": wanted, "extras": covered}))
    say("set up")


def refuse_cuda_build(constraints: Sequence[str]) -> None:
    """Stop before gigabytes of CUDA packages come to a machine that cannot use them.

    Which build of torch pip finds depends on the sources that it is configured with; a dry run reads only metadata.
    Builds for other systems than Linux have no CUDA packages, though their metadata name those of Linux.
    """
    if sys.platform != "linux":
        return
    dry_run = ["install", "-qq", "--dry-run", "--no-deps", "--ignore-installed", "--report", "-"]
    report = json.loads(pip(*dry_run, *constraints, "torch", capture=True))
    (torch,) = (item["metadata"] for item in report["install"])
    if any(requirement.startswith(("nvidia-", "cuda-")) for requirement in torch.get("requires_dist", ())):
        sys.exit(
            f"This machine has no NVIDIA GPU, and pip's sources offer torch {torch['version']} only with CUDA.\n"
            'Give pip a source of CPU builds (PyTorch\'s "Start locally" page names one) by the environment variable\n'
            "PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS, and run this again."
        )


def has_nvidia_gpu() -> bool:
    """Whether the driver's own tool lists a GPU."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and "GPU" in subprocess.run([tool, "-L"], capture_output=True, text=True).stdout


def fingerprint(constraints: Sequence[str]) -> str:
    """Changes with what is to be installed, and with the Python that it is installed for."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [ROOT / "pyproject.toml", *map(Path, constraints[1:])]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def pip(*arguments: str, capture: bool = False) -> str:
    command = [str(python()), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        sys.exit(f"pip failed ({done.returncode}); its own message is above. Nothing was marked as set up: run again")
    return done.stdout or ""


def python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(text: str) -> None:
    print(f"[evalsuite] {text}", flush=True)


def without_key(options: Sequence[str]) -> list[str]:
    """The command line as it may be shown: without the key of --judge-api-key."""
    flag = "--judge-api-key"
    shown = [f"{flag}=***" if option.startswith(f"{flag}=") else option for option in options]
    return ["***" if before == flag else option for before, option in zip(["", *options], shown, strict=False)]


def _is_path_in(folder: Path, option: str) -> bool:
    """`benchmarks/test_mmlu.py::test_mmlu`, but not the file in `--expected benchmarks/expected.json`."""
    path = (ROOT / option.split("::")[0]).resolve()
    return path.is_relative_to(folder) and (path.suffix == ".py" or os.path.isdir(path))


def _is_keyword(option: str) -> bool:
    """`-k`, `-kmmlu`, or behind other flags, `-xk`."""
    return re.match("-[lqsvx]*k", option) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
