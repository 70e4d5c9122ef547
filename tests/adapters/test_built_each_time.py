"""Auths that are built for each request: they do what one that is kept does, and cost little."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from auth_plugins import ApiKey, ClientCredentials, ConfigurationError, DPoPKey, Token, TokenSource
from auth_plugins._grants.base import Grant
from auth_plugins.testing import FakeTokens
from tests.support.drivers import SYNC, Driver, each
from tests.support.loopback import Clock, Loopback

pytestmark = pytest.mark.parametrize("driver", each(SYNC))
API = "https://api.example.com/"


def carried(driver: Driver, auth: Any) -> Any:
    return driver.signed(auth, API).headers.get("Authorization")


def seeded(grant: Any, text: str = "abc") -> Any:
    """*grant*, whose token is there."""
    TokenSource(grant).seed(Token(access_token=text))
    return grant


def test_each_gets_the_present_token(driver: Driver, server: Loopback, clock: Clock) -> None:
    """A token that was revoked, or has expired, is replaced once for all that follow."""

    def get() -> str:
        grant = ClientCredentials(server.token_url, "id", client_secret="secret")
        assert driver.get(server.api_url, driver.auth(grant)).status == 200
        return server.api_requests[-1].headers["authorization"]

    first = [get() for _ in range(3)]
    server.revoke()
    second = [get() for _ in range(3)]
    clock.forward(3600)
    third = [get() for _ in range(3)]
    assert [first, second, third] == [[f"Bearer token-{number}"] * 3 for number in (1, 2, 3)]


def test_later_ones_share_what_the_first_one_found(driver: Driver, grant: ClientCredentials) -> None:
    """From the second on, auths of one grant share a source; one with a token of its own state has another."""
    seeded(grant)
    first, second, third = (driver.auth(grant) for _ in range(3))
    assert first.source is second.source is third.source
    assert {carried(driver, auth) for auth in (first, second, third)} == {"Bearer abc"}
    assert driver.auth(grant, leeway=5).source is not first.source


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scheme": "Token"}, "Token abc"),
        ({"header": "X-Key"}, None),
        ({"allowed_hosts": "other.example.com"}, None),
    ],
)
def test_options_hold_after_one_without(
    driver: Driver, grant: ClientCredentials, options: dict[str, Any], expected: str | None
) -> None:
    """An auth with options has them, and the next one without has none."""
    seeded(grant)
    for _ in range(2):
        assert carried(driver, driver.auth(grant)) == "Bearer abc"
        assert carried(driver, driver.auth(grant, **options)) == expected


def test_options_are_checked_after_one_without(driver: Driver, grant: ClientCredentials) -> None:
    """0 is no bool, though it equals the default."""
    seeded(grant)
    for _ in range(2):
        driver.auth(grant)
    with pytest.raises(ConfigurationError, match="allow_http must be True or False"):
        driver.auth(grant, allow_http=0)


def test_an_option_that_cannot_be_compared_is_one(driver: Driver, grant: ClientCredentials) -> None:
    """Statuses in an object whose ``==`` has no answer, as that of an array has none, are taken as such."""

    class Array(tuple[int, ...]):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

    seeded(grant)
    plain = [driver.auth(grant) for _ in range(2)]
    odd = driver.auth(grant, refused=Array((419,)))
    assert odd.source is not plain[0].source
    assert carried(driver, odd) == "Bearer abc"


def test_attributes_of_a_subclass_stay_its_own(driver: Driver, grant: ClientCredentials) -> None:
    """What a subclass, or a user, sets on one auth is not on the next."""
    seeded(grant)

    class Named(type(driver.auth(grant))):  # type: ignore[misc]  # the class of the library
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__(grant)

    auths = [Named(name) for name in "abc"]
    auths[0].note = "mine"
    assert [auth.name for auth in auths] == ["a", "b", "c"]
    assert not hasattr(Named("d"), "note")
    assert {carried(driver, auth) for auth in auths} == {"Bearer abc"}


def test_a_grant_that_changes_is_asked_each_time(driver: Driver) -> None:
    """A grant of the user's own may name another header at any time."""

    class Own(Grant):
        scheme = "One"

        def identity(self) -> dict[str, Any]:
            return {}

        def secrets(self) -> tuple[str, ...]:
            return ()

        def request_token(self, ask: Any) -> Token:
            raise NotImplementedError

        def header_and_scheme(self) -> tuple[str, str]:
            return "Authorization", self.scheme

    grant = seeded(Own())
    assert [carried(driver, driver.auth(grant)) for _ in range(3)] == ["One abc"] * 3
    grant.scheme = "Two"
    assert carried(driver, driver.auth(grant)) == "Two abc"


def test_what_does_more_than_a_header_is_built_each_time(driver: Driver, server: Loopback) -> None:
    """A parameter of the URL, and DPoP proofs, are made for each auth as for the first."""
    for _ in range(3):
        assert "key=k" in str(driver.signed(driver.auth(ApiKey("k", query="key")), API).url)
    grant = ClientCredentials(server.token_url, "id", "secret", dpop=DPoPKey.generate())
    TokenSource(grant).seed(Token(access_token="abc", token_type="DPoP"))
    proofs = {driver.signed(driver.auth(grant), API).headers["DPoP"] for _ in range(3)}
    assert len(proofs) == 3


def test_a_grant_is_kept_no_longer_than_its_token(driver: Driver, clock: Clock) -> None:
    """When a token has expired and 600 other grants have been used, nothing keeps its grant."""
    grant = ClientCredentials("https://a.test/token", "id", client_secret="of the dropped one")
    TokenSource(grant).seed({"access_token": "abc", "expires_in": 600})
    for _ in range(3):
        carried(driver, driver.auth(grant))
    kept = weakref.ref(grant)
    del grant
    gc.collect()
    assert kept() is not None
    clock.forward(3600)
    for number in range(600):
        TokenSource(ClientCredentials("https://a.test/token", f"{number}", "secret"))
    gc.collect()
    assert kept() is None


def test_equal_grants_that_are_made_for_each_request_are_freed(driver: Driver) -> None:
    """A grant with a list is made again each time; only the latest one is kept, with the token."""

    def make() -> ClientCredentials:
        return ClientCredentials("https://a.test/token", "of many", "secret", scope=["a", "b"])

    first, later = seeded(make()), [make() for _ in range(3)]
    for grant in (first, *later):
        sources = [driver.auth(grant).source for _ in range(2)]
        assert sources[0] is sources[1]
        assert carried(driver, driver.auth(grant)) == "Bearer abc"
    references = [weakref.ref(each) for each in later]
    del grant, later, sources
    gc.collect()
    assert [reference() is None for reference in references] == [True, True, False]


def test_auths_of_two_libraries_are_copied(driver: Driver, grant: ClientCredentials) -> None:
    """What one library's auth leaves, another's neither takes nor removes."""
    seeded(grant)
    others = [each_ for each_ in SYNC if each_.library != driver.library]
    source = driver.auth(grant).source
    for other in others:
        assert carried(other, other.auth(grant)) == "Bearer abc"
        assert other.auth(grant).source is other.auth(grant).source is not source
    assert driver.auth(grant).source is source


def test_classes_that_are_made_for_each_request_are_freed(driver: Driver, grant: ClientCredentials) -> None:
    """Nothing keeps a subclass of an auth."""
    seeded(grant)
    kind: Any = type("Own", (type(driver.auth(grant)),), {})
    assert [carried(driver, kind(grant)) for _ in range(2)] == ["Bearer abc"] * 2
    reference = weakref.ref(kind)
    del kind
    gc.collect()
    assert reference() is None


def test_a_subclass_of_a_grant_is_asked_each_time(driver: Driver) -> None:
    """A subclass of a grant of ours may name another header at any time, and one of an auth of ours too."""
    scheme = "One"

    class Own(ClientCredentials):
        def header_and_scheme(self) -> tuple[str, str]:
            return "Authorization", scheme

    grant = seeded(Own("https://a.test/token", "id", "secret"))
    assert [carried(driver, driver.auth(grant)) for _ in range(3)] == ["One abc"] * 3
    scheme = "Two"
    assert carried(driver, driver.auth(grant)) == "Two abc"


def test_what_is_forgotten_is_freed(driver: Driver, grant: ClientCredentials, fake_tokens: FakeTokens) -> None:
    """After a test, nothing that an auth of the next one could take over is left of it."""
    for _ in range(3):
        assert carried(driver, driver.auth(grant)) == "Bearer fake-token-1"
    source = weakref.ref(driver.auth(grant).source)
    fake_tokens.expire()
    gc.collect()
    assert source() is None
    assert carried(driver, driver.auth(grant)) == "Bearer fake-token-2"
