"""What is measured: auths that put a constant header on, ours, and those of other libraries."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import httpx2
import requests
from measure import BUILT, BY_HAND, OF_ONE_GRANT, OURS, STATIC

import auth_plugins.httpx
import auth_plugins.httpx2
from auth_plugins import ClientCredentials, MemoryCache, Token
from auth_plugins.requests import OAuth2Auth

API = "https://api.example.com/things"
#: Puts a token on a request of requests, or begins a flow of httpx that does.
Sign = Callable[[Any], Any]
_CLIENT, _TOKEN = ("id", "secret"), "x" * 32
_TENANTS = MemoryCache()


class StaticAuth(requests.auth.AuthBase):
    """The least that an auth of requests can do."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:  # noqa: D102 - requests' own
        request.headers["Authorization"] = self._value
        return request


class _StaticFlow:
    """The least that an auth of httpx can do, as most programs write it: httpx's base class drives it."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        request.headers["Authorization"] = self._value
        yield request


class _StaticHttpxAuth(_StaticFlow, httpx.Auth):
    pass


class _StaticHttpx2Auth(_StaticFlow, httpx2.Auth):
    pass


#: By library: the class of static auths, made of a token, and ours.
OWN: Mapping[str, tuple[Any, Any]] = {
    "requests": (StaticAuth, OAuth2Auth),
    "httpx": (_StaticHttpxAuth, auth_plugins.httpx.OAuth2Auth),
    "httpx2": (_StaticHttpx2Auth, auth_plugins.httpx2.OAuth2Auth),
}


def _prepared() -> Callable[[], requests.PreparedRequest]:
    prepared = requests.Request("GET", API).prepare()

    def fresh() -> requests.PreparedRequest:
        request = prepared.copy()
        request.hooks = {"response": []}  # a copy shares them with what it is a copy of
        return request

    return fresh


#: By library: what makes a request that nothing has touched.
FRESH: Mapping[str, Callable[[], Any]] = {
    "requests": _prepared(),
    "httpx": lambda: httpx.Request("GET", API),
    "httpx2": lambda: httpx2.Request("GET", API),
}


def _authlib_token(expires_at: float) -> dict[str, Any]:
    return {"access_token": _TOKEN, "token_type": "Bearer", "expires_at": expires_at}


def _authlib(url: str, expires_at: float | None = None) -> Sign:
    module, token = _module("authlib.integrations.requests_client"), _authlib_token(expires_at or time.time() + 3600)
    session = module.OAuth2Session(*_CLIENT, token_endpoint=url, grant_type="client_credentials", token=token)
    sign: Sign = session.token_auth
    return sign


def _requests_oauth2client(url: str) -> Any:
    module = _module("requests_oauth2client")
    return module.OAuth2ClientCredentialsAuth(module.OAuth2Client(url, _CLIENT, testing=True))


def _google_auth(_: str) -> Sign:
    """What puts a header on anything that has headers."""
    expiry = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=1)
    before_request = _module("google.oauth2.credentials").Credentials(_TOKEN, expiry=expiry).before_request
    return lambda request: before_request(None, request.method, request.url, request.headers)


def _azure_core(_: str) -> Sign:
    """The policy of azure-core, with a credential that has a token."""
    token, pipeline = (
        _module("azure.core.credentials").AccessToken(_TOKEN, int(time.time()) + 3600),
        "azure.core.pipeline",
    )
    policy = _module(f"{pipeline}.policies").BearerTokenCredentialPolicy(
        SimpleNamespace(get_token=lambda _: token), "x"
    )
    wrapped = _module(pipeline).PipelineRequest(None, _module(pipeline).PipelineContext(None))

    def sign(request: Any) -> None:
        wrapped.http_request = request  # it has all that the policy asks of its library's own
        policy.on_request(wrapped)

    return sign


def _msal(_: str) -> Sign:
    """What only hands out a token, and puts it on nothing."""
    text = (
        '{"access_token": "x", "expires_in": 3600, "token_endpoint": "https://e.com/t", "authorization_endpoint": ""}'
    )
    answer = SimpleNamespace(status_code=200, text=text, headers={}, raise_for_status=lambda: None)
    http = SimpleNamespace(get=lambda *_, **__: answer, post=lambda *_, **__: answer, close=lambda: None)
    options = {"authority": "https://login.microsoftonline.com/tenant", "instance_discovery": False}
    client = _module("msal").ConfidentialClientApplication(
        "id", client_credential="secret", http_client=http, **options
    )
    scopes = ["https://api.example.com/.default"]
    return lambda _: client.acquire_token_for_client(scopes)


_module = functools.cache(importlib.import_module)
#: By library and name: what makes an auth of a token URL.
AUTHS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "requests": {
        STATIC: lambda _: StaticAuth(_TOKEN),
        OURS: lambda url: OAuth2Auth(ClientCredentials(url, *_CLIENT)),
        "Authlib": _authlib,
        "requests-auth": lambda url: _module("requests_auth").OAuth2ClientCredentials(url, *_CLIENT),
        "requests-oauthlib": lambda _: _module("requests_oauthlib").OAuth2(token=_authlib_token(0)),
        "requests-oauth2client": _requests_oauth2client,
        "google-auth": _google_auth,
        "azure-core": _azure_core,
        "msal": _msal,
    },
    "httpx": {
        STATIC: lambda _: _StaticHttpxAuth(_TOKEN),
        OURS: lambda url: auth_plugins.httpx.OAuth2Auth(ClientCredentials(url, *_CLIENT)),
        "httpx-auth": lambda url: _module("httpx_auth").OAuth2ClientCredentials(url, *_CLIENT),
    },
    "httpx2": {
        STATIC: lambda _: _StaticHttpx2Auth(_TOKEN),
        OURS: lambda url: auth_plugins.httpx2.OAuth2Auth(ClientCredentials(url, *_CLIENT)),
        "Authlib": lambda _: _module("authlib.integrations.httpx_client").OAuth2Auth(
            _authlib_token(time.time() + 3600)
        ),
    },
}


def built(library: str, url: str, peers: Iterable[str]) -> dict[str, Sign]:
    """What makes an auth for each request; of httpx it only begins the flow."""
    static, ours = OWN[library]
    step = "__call__" if library == "requests" else "sync_auth_flow"
    # Taken from the classes, so that to look them up is no part of what is timed.
    sign_static, sign_ours, one = getattr(static, step), getattr(ours, step), ClientCredentials(url, *_CLIENT)
    return {
        STATIC: lambda request: sign_static(static(_TOKEN), request),
        OURS: lambda request: sign_ours(
            ours(ClientCredentials(token_url=url, client_id="id", client_secret="secret")), request
        ),
        OF_ONE_GRANT: lambda request: sign_ours(ours(one), request),
        **{name: functools.partial(_built, AUTHS[library][name], url, step) for name in peers},
    }


def _built(make: Callable[[str], Any], url: str, step: str, request: Any) -> Any:
    return getattr(make(url), step)(request)


def cold(name: str, url: str) -> Callable[[], object]:
    """What signs a request of its own, and has no token yet."""
    if name == "httpx-auth":
        flow = AUTHS["httpx"][name](url).sync_auth_flow
        return lambda: next(flow(FRESH["httpx"]()))
    # Authlib's session gets a token by itself only where it has one that has ended.
    sign = _authlib(url, 1) if name == "Authlib" else AUTHS["requests"][name](url)
    return lambda: sign(FRESH["requests"]())


def fetches(library: str, url: str) -> dict[str, Callable[[], object]]:
    """What gets a token that was not there: by the library alone, ours, and others, all from the same endpoint.

    The library alone loads no certificates for it, as httpx otherwise does each time.
    """
    of_httpx = functools.partial(httpx.post, url, verify=False)
    post: Any = functools.partial(requests.post, url) if library == "requests" else of_httpx
    numbers, make, fresh = itertools.count(), OWN[library][1], FRESH[library]
    form = {"grant_type": "client_credentials"}

    def ours() -> object:
        return make(ClientCredentials(url, f"id-{next(numbers)}", "secret")).source.token()

    def authlib() -> object:
        session = _module("authlib.integrations.requests_client").OAuth2Session(*_CLIENT)
        return session.fetch_token(url, **form)

    def requests_oauthlib() -> object:
        client = _module("oauthlib.oauth2").BackendApplicationClient(client_id="id")
        session = _module("requests_oauthlib").OAuth2Session(client=client)
        return session.fetch_token(url, client_secret="secret")

    def peer(name: str) -> object:
        # Its cache knows nothing of clients: only another scope is another token.
        auth = _module(name).OAuth2ClientCredentials(url, *_CLIENT, scope=f"scope-{next(numbers)}")
        return auth(fresh()) if library == "requests" else next(auth.sync_auth_flow(fresh()))

    peers: dict[str, Callable[[], object]] = {"httpx-auth": functools.partial(peer, "httpx_auth")}
    if library == "requests":
        peers = {"Authlib": authlib, "requests-oauthlib": requests_oauthlib}
        peers["requests-auth"] = functools.partial(peer, "requests_auth")
    return {BY_HAND: lambda: post(data=form, auth=_CLIENT).json(), OURS: ours, **peers}


def tenant(name: str, number: int) -> Sign:
    """What signs requests for one of many, and has its token, which is put into the cache by hand."""
    url, client, token = (
        "https://identity.example.com/connect/token",
        (f"tenant-{number}", f"{number}"),
        f"{number:032}",
    )
    if name == STATIC:
        return StaticAuth(token)
    if name == "httpx-auth":
        auth, tokens = (
            _module("httpx_auth").OAuth2ClientCredentials(url, *client),
            _module("httpx_auth").OAuth2.token_cache,
        )
        tokens._add_access_token(auth.state, token, 3600)
        return lambda request: next(auth.sync_auth_flow(request))
    grant, now = ClientCredentials(url, *client), time.time()
    _TENANTS.state(grant).token = Token(access_token=token, issued_at=now, expires_at=now + 3600)
    if name == BUILT:
        return lambda request: OAuth2Auth.__call__(OAuth2Auth(ClientCredentials(url, *client), cache=_TENANTS), request)
    return OAuth2Auth(grant, cache=_TENANTS)
