"""The fast path: one statement where the portable one needs a transaction of several.

A statement of several parts reads one snapshot, taken before it waits for a row's lock. So nothing here decides by what it
reads alone: every part hangs on the RETURNING of one gate, an UPDATE of the run that holds only if the run is still as the
snapshot has it (``turns``, which every commit counts up, and ``status``). Where the gate stays shut, or anything is out of the
ordinary, the portable path decides, under the lock. Whatever it would do, the fast path does, or nothing.
"""
