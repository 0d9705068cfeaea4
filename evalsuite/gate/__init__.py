"""Two tiers of a gate: a run against expectations kept in the repository, and a branch's times against its base's.

The first (`pytest benchmarks/ --gate`) compares what a run did, answered and gained with `benchmarks/expected.json`.
The second (`evalsuite gate --base REV`) times two revisions in turns. No torch here, and no pytest.
"""
