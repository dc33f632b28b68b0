"""The store contract as tests, a room for each part; :mod:`celeriac.testing.store_contract` joins them."""
