"""What asyncio leaves to chance, or does in another order on another Python, done in one way on all of them.

A history recorded on one supported Python has to replay on every other, so inside a workflow ``wait``,
``wait_for``, ``as_completed``, ``gather``, ``all_tasks``, ``timeout``, ``TaskGroup``, ``Semaphore`` and
``Condition`` run the code of this package, and nothing in them walks over an unordered set. The meaning is
the documented one; where Pythons differ, that of the newest is taken. ``sleep``, ``shield``, ``Event``,
``Lock``, ``Queue`` and ``Barrier`` do the same on every Python and are left alone.

:mod:`~celeriac.orchestrator.primitives.redirect` tells how that reaches ``from asyncio import wait_for``, and
    why code outside workflows does not notice.
"""
