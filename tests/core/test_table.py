"""The columns: built, looked at through windows, and locked for hooks."""

from __future__ import annotations

import numpy as np
import pytest

from hami_core import table
from hami_core.model import Link
from tests.core.fleet import a_capacity, a_row, a_table


def test_a_narrow_node_is_padded_with_absent_devices_of_no_capacity() -> None:
    columns = a_table([a_capacity("d0"), a_capacity("d1")], [a_capacity("e0", numa=1)], [])

    assert columns.shape == (3, 2)
    assert columns.present.tolist() == [[True, True], [True, False], [False, False]]
    assert columns.memory.tolist() == [[8000, 8000], [8000, 0], [0, 0]]
    assert columns.healthy.tolist() == columns.present.tolist()
    assert columns.numa.tolist() == [[-1, -1], [1, -1], [-1, -1]]
    assert columns.devices == (("d0", "d1"), ("e0",), ())


def test_an_unknown_numa_node_is_none_however_it_is_written() -> None:
    columns = a_table([a_capacity("d0", numa=None), a_capacity("d1", numa=-1), a_capacity("d2", numa=0)])

    assert (columns.numa.tolist(), columns.numa_nodes) == ([[-1, -1, 0]], (0,))


def test_models_are_numbered_and_cordoned_devices_are_marked() -> None:
    rows = [("n0", [a_capacity("d0"), a_capacity("d1", model="Two")]), ("n1", [a_capacity("d0")])]

    columns = table.build(rows, cordoned={"n1": frozenset({"d0", "gone"})})

    assert (columns.models, columns.model.tolist()) == (("One", "Two"), [[0, 1], [0, 0]])
    assert columns.cordoned.tolist() == [[False, False], [True, False]]


def test_a_device_is_found_by_its_id_on_every_node_that_has_one() -> None:
    columns = a_table([a_capacity("d0"), a_capacity("d1")], [a_capacity("d1")])

    assert [columns.places(device) for device in ("d1", "d0", "gone")] == [[(0, 1), (1, 0)], [(0, 0)], ()]
    assert columns.row(1).places("d1") == [(0, 0)]


def test_nodes_that_are_wired_alike_share_a_matrix() -> None:
    rows = [(f"n{n}", [a_capacity(f"n{n}-d{w}") for w in range(2)]) for n in range(3)]
    links = {f"n{n}": (Link(f"n{n}-d0", f"n{n}-d1", "wire", score=9), Link("n0-d0", "gone", "wire", score=5)) for n in range(2)}

    columns = table.build(rows, links=links)

    assert columns.wired.tolist() == [0, 0, 1]
    assert columns.wiring.scores.tolist() == [[[0, 9], [9, 0]], [[0, 0], [0, 0]]]
    assert columns.row(2).wiring is columns.wiring


def test_one_device_column_of_all_nodes_is_contiguous() -> None:
    assert a_table([a_capacity()], [a_capacity()]).memory.flags.f_contiguous


def test_extra_columns_have_the_splitting_s_type() -> None:
    rows = [("n0", [a_capacity(extra=(("slices", 7),))]), ("n1", [a_capacity()])]

    columns = table.build(rows, [("slices", "int8")])

    assert columns.extra["slices"].dtype == np.int8
    assert columns.extra["slices"].tolist() == [[7], [0]]


def test_a_row_follows_its_table() -> None:
    columns = a_table([a_capacity()], [a_capacity("e0")])
    row = columns.row(1)

    columns.take(1, 0, 1, 3000, 30)

    assert (row.nodes, row.devices, row.shape) == (("n1",), (("e0",),), (1, 1))
    assert (row.slots_used.tolist(), row.memory_used.tolist(), row.cores_used.tolist()) == ([[1]], [[3000]], [[30]])


def test_a_row_is_the_same_until_another_is_asked_for_and_never_one_of_another_view() -> None:
    columns = a_table([a_capacity()], [a_capacity("e0")])

    assert columns.row(0) is columns.row(0)
    assert [columns.row(n).devices for n in (0, 1, 0)] == [(("d0",),), (("e0",),), (("d0",),)]
    assert columns.row(0).memory.flags.writeable
    assert not columns.locked().row(0).memory.flags.writeable
    assert columns.idle().row(0) is not columns.row(0)


def test_a_locked_view_cannot_be_written_and_follows_its_table() -> None:
    columns = a_row(8000)
    locked = columns.locked()

    columns.take(0, 0, 1, 3000, 0)

    assert locked.memory_used.tolist() == [[3000]]
    assert locked.locked() is locked
    assert locked.row(0).locked().memory_used.tolist() == [[3000]]
    with pytest.raises(ValueError, match="read-only"):
        locked.take(0, 0, 1, 1, 1)


def test_the_lock_covers_every_column() -> None:
    columns = table.build([("n0", [a_capacity(extra=(("slices", 7),))])], [("slices", "int8")]).locked()
    arrays = [value for name in columns.__slots__ if isinstance(value := getattr(columns, name, None), np.ndarray)]

    assert len(arrays) == 16
    assert not any(array.flags.writeable for array in [*arrays, *columns.extra.values()])


def test_a_row_of_a_locked_table_is_locked() -> None:
    assert not a_row(8000).locked().row(0).memory_used.flags.writeable


def test_an_idle_table_has_nothing_taken_and_leaves_the_other_as_it_was() -> None:
    columns = a_row(8000, used=[3000])

    assert columns.idle().memory_used.tolist() == [[0]]
    assert columns.idle().memory is columns.memory
    assert columns.memory_used.tolist() == [[3000]]


def test_an_idle_table_of_a_locked_one_is_idle_too() -> None:
    assert a_row(8000, used=[3000]).locked().idle().locked().memory_used.tolist() == [[0]]


def test_a_few_rows_are_a_table_of_their_own_in_the_order_that_was_asked_for() -> None:
    columns = a_table([a_capacity("d0")], [a_capacity("e0", 4000)], [a_capacity("f0")])

    some = columns.locked().some(np.array([2, 1]))
    columns.take(1, 0, 1, 1000, 0)

    assert (some.devices, some.memory.tolist(), some.memory_used.tolist()) == ([("f0",), ("e0",)], [[8000], [4000]], [[0], [0]])
    assert [some.places(device) for device in ("e0", "d0")] == [[(1, 0)], ()]


def test_totals_are_those_of_each_node_s_devices() -> None:
    assert a_table([a_capacity("d0"), a_capacity("d1")], [a_capacity("e0")]).total("memory").tolist() == [16000, 8000]
