"""Before any test of a store: have pytest rewrite the asserts of what the tests share."""

import pytest

pytest.register_assert_rewrite("tests.stores.interleavings")

import celeriac.testing.store_contract  # noqa: E402, F401 - does the same for the contract, unless that was imported before
