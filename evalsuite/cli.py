"""The command `evalsuite`, for what is done with runs once they are on disk. A command is a module of `commands/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from evalsuite.errors import EvalsuiteError

COMMANDS: dict[str, str] = {
    "compare": "paired tests, changed answers and speed of two runs, checkpoints or strategies",
    "export": "write a run in the results and samples format of lm-evaluation-harness",
    "gate": "time a base and this working tree in turns, and fail where a case became slower",
    "report": "make one HTML page of runs: scores, speed-ups, verdicts, and every question",
    "rerun": "run a run again, and say whether its answers were the same",
    "selftest": "try out on this machine that answers do not depend on the batch, bit for bit",
    "track": "evaluate a training run's checkpoints, each once, and plot scores against the step",
}
"""Name to one line of help. `commands/NAME.py` has `add_arguments(parser)` and `run(arguments)`, the exit code; and
`PASSES_ON = True` where options that it does not know are no error but stand in `arguments.passed_on`."""
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its own, or 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="evalsuite", description="What is done with the runs of pytest benchmarks/.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparsers.add_parser(name, help=summary, add_help=False)
    given, rest = parser.parse_known_args(argv)
    module = import_module(f"evalsuite.commands.{given.command}")
    passes_on = getattr(module, "PASSES_ON", False)
    own = argparse.ArgumentParser(
        prog=f"evalsuite {given.command}", description=module.__doc__, allow_abbrev=not passes_on
    )
    module.add_arguments(own)
    arguments, unknown = own.parse_known_args(rest)
    if unknown and not passes_on:
        own.error(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.passed_on = unknown
    try:
        return int(module.run(arguments))
    except EvalsuiteError as error:
        print(f"evalsuite {given.command}: {error}", file=sys.stderr)
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
