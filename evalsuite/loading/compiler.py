"""`torch.compile`, whose numbers depend on no timing.

Left to itself, torch's compiler times variants of a reduction, such as the sum in a norm, when it first runs. Variants
add in another order, and of two that take the same time either may win
(https://github.com/pytorch/pytorch/issues/189121). So one process has other last bits than the next. Within a process,
too: a kernel that two graphs have in common is timed again, for both, when the second is compiled (torch 2.11), and the
first then goes on with other bits than it began with.

Here a reduction's variant is chosen by the shape that it is compiled for; in a graph for any shape, the first one that
came. Elementwise kernels, which round alike in all variants, are timed still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

CHOSEN_BY_SHAPE: Mapping[str, Any] = {"deterministic": True}
"""Options of torch's compiler under which it times nothing that numbers depend on. As an option, since the same thing
set in `torch._inductor.config` is forgotten behind the first compilation (torch 2.11 and 2.13)."""


def compiled(function: Callable[..., Any], *, dynamic: bool, fullgraph: bool = False) -> Callable[..., Any]:
    """`torch.compile` of a function; arguments as there."""
    graphs: Callable[..., Any] = torch.compile(
        function, dynamic=dynamic, fullgraph=fullgraph, options=dict(CHOSEN_BY_SHAPE)
    )
    return graphs
