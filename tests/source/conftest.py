from tests.support.stores import quick_names  # noqa: F401 - a fixture of each test here
