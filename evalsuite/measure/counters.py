"""Work counters: exact counts of what a run did. The same on any machine, so they can be gated to the digit."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from evalsuite.planning.prefix_tree import TreeSize


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The figures of an architecture that cost formulas need."""

    query_width: int
    """Query heads times their dimension, summed over the layers."""
    kv_width: int
    """The same for key heads: how many numbers a token's keys have."""
    hidden: int
    vocab: int
    body_parameters: int
    """Parameters without the embedding and the vocabulary projection."""
    bytes_per_value: int
    """Of the dtype in which keys and values are kept."""

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of keys and values for `tokens` cached tokens."""
        return 2 * self.kv_width * self.bytes_per_value * tokens


@dataclass(kw_only=True, slots=True)
class WorkCounters:
    """Counts that grow while a strategy runs.

    `forward_passes`, `tokens_computed` and `logit_rows` are counted by a hook on the model itself, so a
    strategy cannot forget to report a forward; padding and the distinct tokens only the strategy knows.
    """

    forward_passes: int = 0
    tokens_computed: int = 0
    """Token positions that went through the model, padding included."""
    padding_tokens: int = 0
    distinct_tokens: int = 0
    """Nodes of the prefix tree of all sequences: what had to be computed at least."""
    attended_pairs: int = 0
    """(query, key) pairs that the distinct tokens attend to."""
    logit_rows: int = 0
    """Positions projected onto the vocabulary."""
    kv_bytes: int = 0
    """Most bytes of keys and values cached at one time."""
    flops: int = 0
    """Floating-point operations that had to be done; see `add_required_work`."""

    @property
    def padding_share(self) -> float:
        """Padding tokens over tokens computed; 0 for a run that computed nothing."""
        return self.padding_tokens / self.tokens_computed if self.tokens_computed else 0.0

    def add(self, other: WorkCounters) -> None:
        """Take in the work of another part of the same run."""
        for name, count in asdict(other).items():
            both = (getattr(self, name), count)
            setattr(self, name, max(both) if name == "kv_bytes" else sum(both))

    def saw_kv_bytes(self, kv_bytes: int) -> None:
        self.kv_bytes = max(self.kv_bytes, kv_bytes)

    def add_required_work(self, tree: TreeSize, *, rows_read: int, shape: ModelShape) -> None:
        """Add the work that no strategy can avoid for the sequences of `tree`.

        FLOPs = 2 x body parameters x distinct tokens + 4 x heads x head_dim x layers x attended pairs
        + 2 x rows read x vocabulary x hidden.
        """
        self.distinct_tokens += tree.distinct_tokens
        self.attended_pairs += tree.attended_pairs
        self.flops += (
            2 * shape.body_parameters * tree.distinct_tokens
            + 4 * shape.query_width * tree.attended_pairs
            + 2 * rows_read * shape.vocab * shape.hidden
        )

    def to_dict(self) -> dict[str, int]:
        return asdict(self)
