"""Frozen dataclasses that are made and copied by their slots behave as dataclasses do."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from celeriac.frozen import changed, quick


@quick
@dataclass(frozen=True, slots=True)
class Box:
    name: str
    size: int = 1
    notes: list[str] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Crate(Box):
    lid: bool = False


@dataclass(frozen=True, slots=True)
class Careful:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    size: int


def test_a_value_is_made_by_position_and_by_name_with_its_defaults() -> None:
    assert str(Box("a")) == "Box(name='a', size=1, notes=[])"
    assert Box("a", notes=["x"], size=2) == Box("a", 2, ["x"])
    assert str(Crate("a", lid=True)) == "Crate(name='a', size=1, notes=[], lid=True)"


def test_what_a_factory_makes_is_not_shared() -> None:
    assert Box("a").notes is not Box("a").notes


def test_a_call_that_does_not_fit_is_told_with_the_name_of_the_class() -> None:
    with pytest.raises(TypeError, match=r"Box.__init__\(\) missing 1 required positional argument: 'name'"):
        Box()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Box.__init__\(\) got an unexpected keyword argument 'weight'"):
        Box("a", weight=1)  # type: ignore[call-arg]


def test_it_is_frozen() -> None:
    box = Box("a")
    with pytest.raises(FrozenInstanceError):
        box.size = 2  # type: ignore[misc]
    assert hash(changed(box, notes=())) == hash(("a", 1, ()))


def test_its_parameters_keep_their_names_and_annotations() -> None:
    assert list(inspect.signature(Crate).parameters) == ["name", "size", "notes", "lid"]
    assert Box.__init__.__annotations__["size"] == "int"


@pytest.mark.parametrize("row", [Box("a", 2), Crate("b", 3, ["x"], lid=True)])
def test_a_changed_copy_is_what_replace_makes(row: Box) -> None:
    assert changed(row) == row
    assert changed(row) is not row
    assert changed(row, size=7, name="z") == replace(row, size=7, name="z")
    assert type(changed(row)) is type(row)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="Box has no field 'weight'"):
        changed(Box("a"), weight=1)


def test_a_class_with_more_to_do_when_it_is_made_is_refused() -> None:
    with pytest.raises(TypeError, match="Careful looks at its fields when it is made"):
        changed(Careful(1), size=-1)
    with pytest.raises(TypeError, match="Careful is not made of its positional fields alone"):
        quick(Careful)
    with pytest.raises(TypeError, match="Named is not made of its positional fields alone"):
        quick(Named)
