"""The recipe, step by step:

python -m evalsuite.nano data                      # the sample data
python -m evalsuite.nano tokenizer                 # the tokenizer
python -m evalsuite.nano shards --to SHARDS &      # the training stream, pre-tokenised, on all cores
python -m evalsuite.nano train --shards SHARDS --to BASE --compile
python -m evalsuite.nano shards --mixture lessons --batch-tokens 4096 --to LESSONS &      # how to grade
python -m evalsuite.nano train --start BASE/model.pt --answers-only --learning-rate 1e-3 --shards LESSONS --to JUDGE
python -m evalsuite.nano export --checkpoint JUDGE/model.pt
python -m evalsuite.nano figures                   # what the saved model scores, and how it grades
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from evalsuite.nano import DATA_DIR, MODEL_DIR


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evalsuite.nano", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model-dir", type=Path, default=MODEL_DIR, help="tokenizer and weights (default: the package)"
    )
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="sample data (default: the package)")
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("data", "tokenizer"):
        steps.add_parser(name)
    shards = steps.add_parser("shards")
    shards.add_argument("--to", type=Path, required=True)
    shards.add_argument("--count", type=int, default=400, help="shards of 2 M tokens")
    shards.add_argument("--processes", type=int)
    shards.add_argument(
        "--mixture",
        choices=("lessons", "revision", "contrast"),
        help="for a trained model (default: the base's)",
    )
    shards.add_argument("--batch-tokens", type=int, default=32_768)
    train = steps.add_parser("train")
    train.add_argument("--shards", type=Path, required=True)
    train.add_argument("--count", type=int, default=400, help="how many shards there will be")
    train.add_argument("--to", type=Path, required=True)
    train.add_argument("--seconds", type=float, default=240.0)
    train.add_argument(
        "--start", type=Path, help="checkpoint or exported folder to go on from (default: random weights)"
    )
    train.add_argument("--learning-rate", type=float, default=3e-3)
    train.add_argument("--answers-only", action="store_true", help="prompts weigh nothing: half the work")
    train.add_argument("--layers", type=int, default=3)
    train.add_argument("--report-seconds", type=float, default=20.0)
    train.add_argument("--watched", type=int, default=200)
    train.add_argument("--compile", action="store_true")
    export = steps.add_parser("export")
    export.add_argument("--checkpoint", type=Path, required=True)
    figures = steps.add_parser("figures")
    figures.add_argument("--shots", type=int, nargs="*", default=[0, 3])
    _run(parser.parse_args())


def _run(a: argparse.Namespace) -> None:
    if a.step == "data":
        from evalsuite.nano.samples import write_samples

        write_samples(a.data_dir)
    elif a.step == "tokenizer":
        from evalsuite.nano.tokenizer import train_tokenizer

        train_tokenizer(a.model_dir)
    elif a.step == "shards":
        from evalsuite.nano.shards import StreamPlan, write_shards

        plan = StreamPlan(shards=a.count, mixture=a.mixture, batch_tokens=a.batch_tokens)
        print(f"{write_shards(a.to, a.model_dir, plan, a.processes):,} tokens, padding included")
    elif a.step == "train":
        _train(a)
    elif a.step == "export":
        from evalsuite.nano.export import export

        export(a.checkpoint, a.model_dir)
    else:
        from evalsuite.nano.agreement import agreement, agreement_by_kind, judge_sample, judge_summaries
        from evalsuite.nano.figures import measure

        for dtype in ("float32", "bfloat16"):
            for shots in a.shots:
                found = measure(a.model_dir, a.data_dir, dtype=dtype, shots=shots)
                print(json.dumps({"dtype": dtype, "shots": shots, **found}))
            verdicts = judge_sample(a.model_dir, a.data_dir, dtype=dtype)
            print(json.dumps({"dtype": dtype, "grades follow exact match": agreement(verdicts)}))
            print(json.dumps({"dtype": dtype, "of every kind": agreement_by_kind(verdicts)}, ensure_ascii=False))
            stories = agreement_by_kind(judge_summaries(a.model_dir, a.data_dir, dtype=dtype))
            print(json.dumps({"dtype": dtype, "summaries in the same words": stories}))


def _train(a: argparse.Namespace) -> None:
    from evalsuite.nano.train import Shape, TrainPlan, train

    plan = TrainPlan(
        shape=Shape(layers=a.layers),
        seconds=a.seconds,
        learning_rate=a.learning_rate,
        answers_only=a.answers_only,
        report_seconds=a.report_seconds,
        watched=a.watched,
        compile=a.compile,
    )
    train(plan, shards=a.shards, count=a.count, tokenizer=a.model_dir, data=a.data_dir, out=a.to, start=a.start)


if __name__ == "__main__":
    main()
