"""What the functions in benchmarks/*_eval.py share: a bare (model, tokenizer) pair through a task and the engine.

Nothing is computed here that a run under pytest computes otherwise: prompts and grading are the task's, encoding and
batches the engine's, grades the judge's.
"""
