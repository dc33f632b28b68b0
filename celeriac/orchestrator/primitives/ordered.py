"""A set that remembers in which order its elements came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

T = TypeVar("T")


class OrderedSet(set[T]):
    """A set that iterates in the order in which its elements were added.

    Results of operators and methods are ordered too: what stays of the left operand first, in its order.
    ``pop()`` takes the oldest.
    """

    def __init__(self, elements: Iterable[T] = ()) -> None:
        self._order = dict.fromkeys(elements)
        super().__init__(self._order)

    def _become(self, elements: Iterable[T]) -> None:
        self._order = dict.fromkeys(elements)
        super().clear()
        super().update(self._order)

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._order)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (list(self._order),))

    # -- one element -----------------------------------------------------------------------------------------

    def add(self, element: T) -> None:
        """Add an element; one that is in already keeps its place."""
        self._order[element] = None
        super().add(element)

    def discard(self, element: object) -> None:
        """Remove an element if it is in."""
        self._order.pop(element, None)  # type: ignore[arg-type]
        super().discard(element)

    def remove(self, element: T) -> None:
        """Remove an element, or raise KeyError."""
        super().remove(element)
        del self._order[element]

    def pop(self) -> T:
        """Remove and return the oldest element, or raise KeyError."""
        if not self._order:
            raise KeyError("pop from an empty set")
        oldest = next(iter(self._order))
        self.remove(oldest)
        return oldest

    # -- in place --------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove all."""
        self._become(())

    def update(self, *others: Iterable[T]) -> None:
        """Add the elements of others, in their order."""
        for other in others:
            self._order.update(dict.fromkeys(other))
        super().update(self._order)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the elements of others."""
        self._become(self.difference(*others))

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep what is in all the others."""
        self._become(self.intersection(*others))

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Keep what is in one of the two, ours first."""
        self._become(self.symmetric_difference(other))

    def __ior__(self, other: AbstractSet[T]) -> OrderedSet[T]:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __isub__(self, other: AbstractSet[Any]) -> OrderedSet[T]:
        self.difference_update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> OrderedSet[T]:
        self.intersection_update(other)
        return self

    def __ixor__(self, other: AbstractSet[T]) -> OrderedSet[T]:  # type: ignore[override, misc]
        self.symmetric_difference_update(other)
        return self

    # -- anew ------------------------------------------------------------------------------------------------

    def copy(self) -> OrderedSet[T]:
        """Return a set of the same elements in the same order."""
        return OrderedSet(self._order)

    def union(self, *others: Iterable[Any]) -> OrderedSet[Any]:
        """Return ours and then theirs."""
        result: OrderedSet[Any] = self.copy()
        result.update(*others)
        return result

    def difference(self, *others: Iterable[Any]) -> OrderedSet[T]:
        """Return what the others lack, in our order."""
        gone = set().union(*others)
        return OrderedSet(element for element in self._order if element not in gone)

    def intersection(self, *others: Iterable[Any]) -> OrderedSet[T]:
        """Return what the others have too, in our order."""
        kept = [set(other) for other in others]
        return OrderedSet(element for element in self._order if all(element in other for other in kept))

    def symmetric_difference(self, other: Iterable[Any]) -> OrderedSet[Any]:
        """Return what only one of the two has, ours first."""
        theirs = OrderedSet(other)
        return self.difference(theirs).union(theirs.difference(self))

    def __or__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return self.union(other)

    def __sub__(self, other: AbstractSet[Any]) -> OrderedSet[T]:
        return self.difference(other)

    def __and__(self, other: AbstractSet[Any]) -> OrderedSet[T]:
        return self.intersection(other)

    def __xor__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return self.symmetric_difference(other)

    def __ror__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return OrderedSet(other).union(self)

    def __rsub__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return OrderedSet(other).difference(self)

    def __rand__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return OrderedSet(other).intersection(self)

    def __rxor__(self, other: AbstractSet[Any]) -> OrderedSet[Any]:
        return OrderedSet(other).symmetric_difference(self)
