"""The command `evalsuite`, for what is done with runs once they are on disk. A command is a module of `commands/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from evalsuite.errors import EvalsuiteError

COMMANDS: dict[str, str] = {
    "report": "make one HTML page of runs: scores, speed-ups, verdicts, and every question",
    "selftest": "try out on this machine that answers do not depend on the batch, bit for bit",
}
"""Name to one line of help. `commands/NAME.py` has `add_arguments(parser)` and `run(arguments)`, the exit code."""
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its own, or 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="evalsuite", description="What is done with the runs of pytest benchmarks/.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparsers.add_parser(name, help=summary, add_help=False)
    given, rest = parser.parse_known_args(argv)
    module = import_module(f"evalsuite.commands.{given.command}")
    own = argparse.ArgumentParser(prog=f"evalsuite {given.command}", description=module.__doc__)
    module.add_arguments(own)
    try:
        return int(module.run(own.parse_args(rest)))
    except EvalsuiteError as error:
        print(f"evalsuite {given.command}: {error}", file=sys.stderr)
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
