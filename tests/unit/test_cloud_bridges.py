"""The bridges for azure-core and google-auth without these, by stand-ins; tests/recipes has the real ones."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from auth_plugins import ClientCredentials, TokenSource, bridges
from tests.support.loopback import Clock, Loopback
from tests.support.stores import LockingCache, finish, forget


@pytest.fixture
def source(grant: ClientCredentials) -> TokenSource:
    return TokenSource(grant)


def finished(result: Any) -> Any:
    return asyncio.run(result) if inspect.iscoroutine(result) else result


@pytest.fixture(params=["", "Async"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first word of the classes for azure-core; their module has stand-ins for the tokens."""
    module: Any = ModuleType("azure.core.credentials")
    module.AccessToken = lambda *values: SimpleNamespace(values=values)
    module.AccessTokenInfo = lambda *values, refresh_on: SimpleNamespace(values=values, refresh_on=refresh_on)
    monkeypatch.setitem(sys.modules, "azure.core.credentials", module)
    return str(request.param)


@pytest.mark.parametrize(("lifetime", "seconds"), [(600, 600), (None, 3600)])
def test_the_credential_of_azure(
    kind: str, source: TokenSource, server: Loopback, clock: Clock, lifetime: float | None, seconds: int
) -> None:
    """A token has its end, or one in an hour; with further information, it is asked for at each request."""
    server.lifetime = lifetime
    credential = getattr(bridges, f"{kind}AzureCredential")(source)
    tokens = [finished(ask("scope")) for ask in (credential.get_token, credential.get_token_info)]
    for each in tokens:
        assert each.values == ("token-1", pytest.approx(clock.now + seconds, abs=1))
        assert [type(value) for value in each.values] == [str, int]
    assert tokens[1].refresh_on == 1
    assert finished(credential.close()) is None

    async def enter() -> None:
        async with credential as same:
            assert same is credential

    if kind:
        asyncio.run(enter())


class Pipeline:
    """The rest of a pipeline of azure-core: answers 401 to the first *refusals* requests."""

    def __init__(self, kind: str, source: TokenSource, refusals: int, *, redirected: bool) -> None:
        self._source, self._refusals, self._redirected = source, refusals, redirected
        self.sent: list[str] = []
        self.send: Any = self._asend if kind else self._send

    def _send(self, _: Any) -> Any:
        self.sent.append(self._source.token().access_token)
        status = 401 if len(self.sent) <= self._refusals else 200
        headers = {} if self._redirected else {"Authorization": f"Bearer {self.sent[-1]}"}
        return SimpleNamespace(
            http_request=SimpleNamespace(headers=headers), http_response=SimpleNamespace(status_code=status)
        )

    async def _asend(self, request: Any) -> Any:
        return self._send(request)


@pytest.mark.parametrize(
    ("refusals", "body", "files", "redirected", "statuses", "sent"),
    [
        (0, None, None, False, [200, 200], [1, 1]),
        (1, b"rows", None, False, [200, 200], [1, 2, 2]),
        (1, {"rows": 1}, {}, False, [200, 200], [1, 2, 2]),
        (9, "rows", None, False, [401, 401], [1, 2, 2]),
        (1, iter([b"rows"]), None, False, [401, 200], [1, 2]),
        (1, None, {"rows": iter([b"rows"])}, False, [401, 200], [1, 2]),
        (1, None, None, True, [401, 200], [1, 1]),
    ],
)
def test_the_policy_of_azure(
    kind: str,
    source: TokenSource,
    refusals: int,
    body: Any,
    files: Any,
    redirected: bool,
    statuses: list[int],
    sent: list[int],
) -> None:
    """A request is sent again with another token if the API refused it, and if its body can be sent again.

    A redirect to another host, which got no token, refuses none. An API that rejects all tokens costs one more.
    """
    policy = getattr(bridges, f"{kind}AzureReplayPolicy")(source)
    policy.next = Pipeline(kind, source, refusals, redirected=redirected)
    request = SimpleNamespace(http_request=SimpleNamespace(body=body, files=files))
    assert [finished(policy.send(request)).http_response.status_code for _ in statuses] == statuses
    assert policy.next.sent == [f"token-{number}" for number in sent]


def test_the_policy_of_azure_withdraws_a_token(kind: str, grant: ClientCredentials) -> None:
    """A token whose request cannot be sent again is not found by the next process."""
    cache = LockingCache()
    source = TokenSource(grant, cache=cache)
    policy = getattr(bridges, f"{kind}AzureReplayPolicy")(source)
    policy.next = Pipeline(kind, source, 1, redirected=False)
    finished(policy.send(SimpleNamespace(http_request=SimpleNamespace(body=iter([b"rows"]), files=None))))
    finish()
    forget()
    assert TokenSource(grant, cache=cache).token().access_token == "token-2"


def test_an_accepted_token_can_be_replaced_again(kind: str, source: TokenSource) -> None:
    """After a request that the API accepted, the next revocation costs another token."""
    policy = getattr(bridges, f"{kind}AzureReplayPolicy")(source)
    request = SimpleNamespace(http_request=SimpleNamespace(body=None, files=None))
    for _ in range(2):
        policy.next = Pipeline(kind, source, 1, redirected=False)
        assert finished(policy.send(request)).http_response.status_code == 200
    assert policy.next.sent == ["token-2", "token-3"]


class Credentials:
    """As that of google-auth: sets the token to None at first."""

    def __init__(self) -> None:
        self.token: Any = None


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for ``google.auth.credentials``."""
    module: Any = ModuleType("google.auth.credentials")
    module.Credentials = Credentials
    monkeypatch.setitem(sys.modules, "google.auth.credentials", module)
    monkeypatch.delitem(sys.modules, "auth_plugins.bridges.google", raising=False)
    yield
    sys.modules.pop("auth_plugins.bridges.google", None)


def test_the_credentials_of_google(google: None, source: TokenSource, server: Loopback) -> None:
    """The token is plain text; a refresh replaces the token that was used, if one was; a second one in vain waits."""
    credentials = bridges.GoogleCredentials(source)
    credentials.refresh(None)
    assert (credentials.token, type(credentials.token)) == ("token-1", str)
    for _ in range(2):
        credentials.refresh(None)
        assert credentials.token == "token-2"
    assert pickle.loads(pickle.dumps(credentials)).token == "token-2"


def test_google_auth_is_named_where_it_is_missing(
    google: None, source: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without google-auth, all names can be imported at once; an object of its class says what to install."""
    monkeypatch.setitem(sys.modules, "google.auth.credentials", None)
    names: dict[str, Any] = {}
    exec("from auth_plugins.bridges import *", names)
    assert names.keys() >= {*bridges.__all__}
    with pytest.raises(ImportError, match="pip install google-auth"):
        names["GoogleCredentials"](source)
