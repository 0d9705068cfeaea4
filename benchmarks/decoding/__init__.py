"""Attention of one layer in one step of decoding, by each library that has one: what is measured, and how.

Every candidate is laid out as it likes before the clock starts, since a layout is kept from step to step: rows of one
width, keys without gaps, pages, or one token a slot as the pool has it. Pages that rows share in whole are one page.
What it gives is compared with attention in fp32 before and after it is timed. Its time is the median over replays of a
CUDA graph with the one call in it, or of plain calls where a graph cannot be captured, which the table says; so what
the host takes to launch kernels is no part of it, as it is none of a step that is replayed. At these sizes a layer's
keys are larger than the device's cache, as the record says; before each call other memory is read through the cache
besides, so that none of them is left of the call before. Bytes are of keys and values. *needed*: each row's own,
however many rows have the same; *planned*: what our plan loads, a span once for all rows that share the work on it.
Some plans load a span several times; such repeats may come from the cache, so memory may be read less.

A new candidate is a function in the file of its library, or in a new one, and a line in `candidates.py`:

workloads.py        what the rows see, and one layer's queries, keys and values for it
layouts.py          the ways to lay keys out that several candidates want
interface.py        what a candidate is handed, what it gives, and how it says that it cannot run here
ours.py  torch_attention.py  flash_attention.py     the candidates of each library
candidates.py       all of them by name, in the order in which they are measured
reference.py        the attention that each is compared with, and how far off it may be
timing.py           the clock, and a candidate's figures
table.py            the table of a record; imports no candidate
__main__.py         the command, and the record that it writes
"""
