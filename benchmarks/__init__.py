"""Benchmark cases for pytest (test_*.py), and the older app's functions (*_eval.py).

A package, so that no other distribution's `benchmarks` stands before it on the path.
"""
