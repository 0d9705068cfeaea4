"""Work of one step of decoding: the chunks of positions that rows attend to, each once for the rows that share it.

Neighbours in the batch share a chunk whose keys stand in the same slots for both. A slot stands for a node of the
prefix tree of all prompts, so one look at the chunk's last position tells: equal there means equal from the root.
"""

from __future__ import annotations

import numpy as np

from evalsuite.planning.packs import Ints


def decode_items(lasts: Ints, ends: Ints, chunk: int, most_members: int) -> tuple[Ints, Ints]:
    """Every chunk of every row in one item, alone or with neighbours that share it.

    Which rows share an item is work saved and nothing else: a row's result does not depend on it.

    Args:
        lasts: [batch, whole chunks of a table]: the slot at the last position of each chunk, place by place; 0 where
            unused.
        ends: [batch]: most keys that each row will see before items are made again. A place with 0
            has no items.
        chunk: positions in a chunk.
        most_members: most rows in an item.

    Returns:
        items: [n, 3]: first member (index into `members`), members, chunk. Those of several members come first, since
            they take longest; then by chunk, then by place.
        members: [m]: places.
    """
    batch, whole = lasts.shape
    chunks = -(-int(ends.max(initial=0)) // chunk)
    begins = np.arange(chunks, dtype=np.int64)[:, None] * chunk
    held = begins < ends  # [chunks, batch]
    last = np.zeros((chunks, batch), dtype=np.int32)  # slot at the chunk's last position; 0 where it has no such
    whole = min(whole, chunks)
    last[:whole] = lasts[:, :whole].T
    last[begins + chunk > ends] = 0
    alone = np.ones((chunks, batch), dtype=np.bool_)  # the place does not share the chunk with the one before it
    alone[:, 1:] = (last[:, 1:] != last[:, :-1]) | (last[:, 1:] == 0)

    numbers, members = np.nonzero(held)
    begin = alone[held]
    index = np.arange(len(members))
    within = index - np.maximum.accumulate(np.where(begin, index, 0)) if len(index) else index
    first = np.flatnonzero(within % most_members == 0)
    items = np.stack([first, np.diff(first, append=len(members)), numbers[first]], axis=1)
    items = items[np.argsort(items[:, 1] == 1, kind="stable")]
    return np.ascontiguousarray(items, dtype=np.int32), members.astype(np.int32)
