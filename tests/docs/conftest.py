from tests.docs.pages import world  # noqa: F401 - a fixture of the tests here
