"""DPoP on API requests (RFC 9449 §7, §9), over the matrix of libraries; the server checks each proof by joserfc."""

from __future__ import annotations

import base64
import copy
import gc
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.wrappers import Response

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    DPoPKey,
    FileCache,
    SecretFile,
    TokenSource,
)
from auth_plugins._base.runtime import runtime
from tests.support.dpop import DPoPServer
from tests.support.drivers import ALL, Call, Driver, Httpx, Requests, each, succeeded
from tests.support.frames import variables_of
from tests.support.keys import pem
from tests.support.loopback import Clock, Loopback, Received, as_json

pytestmark = pytest.mark.parametrize("driver", each(ALL))


def grant_at(server: Loopback, **options: Any) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t", **{"dpop": True, **options})


def test_each_request_has_a_proof_of_its_own(driver: Driver, server: Loopback) -> None:
    """Fifty requests at once, with one token request, and no two proofs are alike; a query is no part of the URL."""
    peer, auth = DPoPServer(server), driver.auth(grant_at(server))
    assert succeeded(driver.get_all(f"{server.api_url}/a%20b/?q=1#f", [auth] * 50))
    assert driver.send(Call("POST", server.api_url, {"content": b"x"}), auth).text == '{"received": "x"}'
    assert (len(server.token_requests), peer.refusals) == (1, [])
    assert len({claims["jti"] for claims in peer.proofs}) == len(peer.proofs) == 52
    assert {claims["htu"] for claims in peer.proofs[1:51]} == {f"{server.api_url}/a%20b/"}


def test_a_nonce_challenge_costs_one_replay_and_no_token(driver: Driver, server: Loopback) -> None:
    """The nonces of both servers are remembered; one that comes with a 200 is used for the next request."""
    peer, auth = DPoPServer(server, token_nonces=True, api_nonces=True), driver.auth(grant_at(server))
    body = {"content": b"abc"}
    for history in ([401], []):
        answer = driver.send(Call("POST", server.api_url, body), auth)
        assert (answer.status, answer.text, answer.history) == (200, '{"received": "abc"}', history)
    peer.rotate()
    assert driver.get(server.api_url, auth).history == [401]

    def serve(_: Received) -> Response:
        peer.rotate()
        return as_json({})

    peer.serve = serve
    assert [driver.get(server.api_url, auth).history for _ in range(2)] == [[], []]
    assert len(server.token_requests) == 2
    assert peer.refusals == ["token nonce", "api nonce", "api nonce"]


def test_a_replay_after_a_renewal_is_challenged_too(driver: Driver, server: Loopback) -> None:
    """A refused token is renewed, and the nonce that the server wants on the replay is sent, for one token request."""
    peer, auth = DPoPServer(server), driver.auth(grant_at(server))
    assert driver.get(server.api_url, auth).status == 200
    peer.tokens.clear()
    peer.rotate()
    issue = server.token_play

    def issue_and_rotate(received: Received) -> Response:
        peer.rotate()
        return issue(received)

    server.token_play = issue_and_rotate
    answer = driver.send(Call("PUT", server.api_url, {"content": b"abc"}), auth)
    assert (answer.status, answer.history, answer.text) == (200, [401, 401], '{"received": "abc"}')
    assert len(server.token_requests) == 2
    assert peer.refusals == ["api token", "api nonce"]


def test_a_nonce_that_many_need_is_asked_for_once(driver: Driver, server: Loopback) -> None:
    """Of fifty first requests at once one is sent; the others wait for its answer, and have the nonce."""
    peer, auth = DPoPServer(server, token_nonces=True, api_nonces=True), driver.auth(grant_at(server))
    assert succeeded(driver.get_all(server.api_url, [auth] * 50))
    assert (peer.refusals, len(server.api_requests)) == (["token nonce", "api nonce"], 51)


def test_a_first_answer_that_takes_long(driver: Driver, server: Loopback) -> None:
    """It is waited for once, and not to its end: the first answer comes after the second one."""
    DPoPServer(server)
    auth, check, gate = driver.auth(grant_at(server)), server.api, threading.Event()

    def check_in_turn(received: Received) -> Response:
        if len(server.api_requests) > 1:
            gate.set()
        return check(received) if gate.wait(10) else as_json({}, 500)

    server.api = check_in_turn
    assert succeeded(driver.get_all(server.api_url, [auth] * 2))


def test_a_request_does_not_wait_for_one_of_its_own_thread(
    driver: Driver, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests may be prepared one after another, and sent later; a forked child waits for no request of its parent."""
    if driver.mode != "sync":
        pytest.skip("tasks share a thread")
    DPoPServer(server)
    auths, waits = [driver.auth(grant_at(server, scope=scope)) for scope in ("a", "b")], list[float]()
    for auth in auths:
        auth.source.token()
    monkeypatch.setattr(runtime, "wait", lambda _, seconds: waits.append(seconds))
    for auth in (*auths, *auths):
        driver.signed(auth, server.api_url)
    assert waits == []
    assert succeeded(driver.get_all(server.api_url, auths[:1]))
    assert waits == [1.0]
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert succeeded(driver.get_all(server.api_url, auths[1:]))
    assert waits == [1.0]


def test_a_nonce_that_is_wanted_again_and_again(driver: Driver, server: Loopback) -> None:
    """A server that is never content gets one retry for each request, and the token is kept."""
    peer, auth = DPoPServer(server, api_nonces=True), driver.auth(grant_at(server))
    check = server.api

    def check_another(received: Received) -> Response:
        peer.rotate()
        return check(received)

    server.api = check_another
    assert [driver.get(server.api_url, auth).status for _ in range(2)] == [401, 401]
    assert (len(server.token_requests), len(server.api_requests)) == (1, 4)


@pytest.mark.parametrize("combined", [False, True])
def test_a_replay_has_the_nonce_that_came_with_its_challenge(driver: Driver, server: Loopback, combined: bool) -> None:
    """Another thread may hear an older nonce before the replay is signed, from a response that took longer."""
    peer, grant = DPoPServer(server, api_nonces=True), grant_at(server)
    prover: Any = grant.prover()
    auth = driver.auth(grant) + driver.auth(ApiKey("k3y-value")) if combined else driver.auth(grant)
    check = server.api

    def check_slowly(received: Received) -> Response:
        response = check(received)
        if response.status_code == 401:
            response.response = body()
            del response.headers["Content-Length"]
        return response

    def body() -> Iterator[bytes]:
        yield b" "
        while b"nonce" not in base64.urlsafe_b64decode(
            prover.api_proof("GET", server.api_url, "t").split(".")[1] + "=="
        ):
            time.sleep(0.01)
        prover.note_api(server.api_url, {"DPoP-Nonce": "older"})

    server.api = check_slowly
    assert driver.get(server.api_url, auth).history == [401]
    assert peer.refusals == ["api nonce"]


def test_an_invalid_proof_is_replaced_before_the_token(driver: Driver, server: Loopback) -> None:
    """A proof that is called invalid gets one retry; only if that is refused as well, the token is renewed."""
    peer, auth = DPoPServer(server), driver.auth(grant_at(server))
    check, times = server.api, [1]

    def refuse(received: Received) -> Response:
        times[0] -= 1
        return peer._refuse("invalid_dpop_proof", "chance") if times[0] >= 0 else check(received)

    server.api = refuse
    assert driver.get(server.api_url, auth).history == [401]
    assert len(server.token_requests) == 1
    times[0] = 2
    assert driver.get(server.api_url, auth).history == [401, 401]
    assert len(server.token_requests) == 2


def test_a_body_that_cannot_be_read_again_is_not_sent_again(driver: Driver, server: Loopback) -> None:
    """A nonce challenge to a generator is returned; the token is kept, and the next request has the nonce."""
    DPoPServer(server, api_nonces=True)
    auth = driver.auth(grant_at(server))
    assert driver.send(Call("POST", server.api_url, driver.chunks([b"a", b"b"])), auth).status == 401
    assert driver.send(Call("POST", server.api_url, driver.chunks([b"a", b"b"])), auth).text == '{"received": "ab"}'
    assert len(server.token_requests) == 1


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
@pytest.mark.parametrize("nonces", [False, True])
def test_each_hop_within_the_origin_has_a_proof(
    driver: Driver, server: Loopback, status: int, method: str, nonces: bool
) -> None:
    """A redirect within the origin has a proof for its own method and URL."""
    peer, auth = DPoPServer(server, api_nonces=nonces), driver.auth(grant_at(server))
    moves = {"/api/1": "/api/2?x=1", "/api/2": "/api/3"}

    def serve(received: Received) -> Response:
        path = received.target.partition("?")[0]
        if path in moves:
            return Response("", status, {"Location": moves[path]})
        return as_json({"method": received.method, "body": received.body.decode()})

    peer.serve = serve
    answer = driver.send(Call("POST", f"{server.api_url}/1", {"content": b"abc"}), auth)
    expected = {"GET": '{"method": "GET", "body": ""}', "POST": '{"method": "POST", "body": "abc"}'}[method]
    assert (answer.status, answer.text) == (200, expected)
    assert len(server.token_requests) == 1
    paths = [claims["htu"].rpartition("/")[2] for claims in peer.proofs if "ath" in claims]
    assert [paths[0], paths[-1]] == ["1", "3"]
    assert peer.refusals == ["api nonce"] * nonces


@pytest.mark.parametrize("location", ["/api/b%c3%a4%7e", "/api/b\u00e4", "/api/a/../b", "b;c/./d", "/api/x|y?q=%c3"])
def test_a_proof_names_the_url_as_it_is_sent(driver: Driver, server: Loopback, location: str) -> None:
    """After a redirect too, however the library writes the URL."""
    peer, auth = DPoPServer(server), driver.auth(grant_at(server))
    answers = [Response("", 302, {"Location": location.encode().decode("latin-1")}), as_json({})]
    peer.serve = lambda _: answers.pop(0)
    assert driver.get(f"{server.api_url}/c%c3%7e", auth).history == [302]
    assert peer.refusals == []


@pytest.mark.parametrize("renewed", [False, True])
def test_no_proof_reaches_another_origin(driver: Driver, server: Loopback, renewed: bool) -> None:
    """A redirect to another origin has neither token nor proof, after a replay as well."""
    peer, auth = DPoPServer(server, api_nonces=renewed), driver.auth(grant_at(server))
    other = Loopback().start()
    try:
        other.api = lambda _: as_json({"error": "use_dpop_nonce"}, 401, WWW_Authenticate='DPoP error="use_dpop_nonce"',
                                      DPoP_Nonce="evil")  # fmt: skip
        peer.serve = lambda _: Response("", 307, {"Location": f"{other.api_url}/x"})
        assert driver.send(Call("POST", server.api_url, {"content": b"abc"}), auth).status == 401
        assert [set(request.headers) & {"dpop", "authorization"} for request in other.api_requests] == [set()]
        assert len(server.token_requests) == 1
        peer.serve = lambda _: as_json({})
        assert driver.get(server.api_url, auth).status == 200
    finally:
        other.stop()


def test_a_bearer_token_has_no_proof(driver: Driver, server: Loopback) -> None:
    """Where the server answers ``Bearer``, the token is sent so, and renewed as any other."""
    peer, auth = DPoPServer(server, api_nonces=True), driver.auth(grant_at(server))
    peer.token_type = "bearer"
    assert driver.get(server.api_url, auth).history == []
    assert "dpop" not in server.api_requests[0].headers
    peer.tokens.clear()
    assert driver.get(server.api_url, auth).history == [401]


def test_a_new_token_is_sent_once_more_with_another_proof(
    driver: Driver, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the API does not know a token yet, the pause ends with another proof."""
    peer, auth, clock = DPoPServer(server), driver.auth(grant_at(server)), Clock()
    clock.rule(monkeypatch)
    check, times = server.api, [2]

    def refuse(received: Received) -> Response:
        times[0] -= 1
        return peer._refuse("invalid_token", "unknown") if times[0] >= 0 else check(received)

    server.api = refuse
    assert driver.get(server.api_url, auth).history == [401, 401]
    assert clock.sleeps == [1.0]


def test_with_another_auth(driver: Driver, server: Loopback) -> None:
    """``a + b`` with a DPoP member: proofs, nonces and renewals as without the other."""
    peer = DPoPServer(server, api_nonces=True)
    auth = driver.auth(ApiKey("k3y-value")) + driver.auth(grant_at(server))
    check = server.api

    def both(received: Received) -> Response:
        return check(received) if received.headers.get("x-api-key") == "k3y-value" else as_json({}, 403)

    server.api = both
    for history in ([401], []):
        answer = driver.send(Call("POST", server.api_url, {"content": b"abc"}), auth)
        assert (answer.status, answer.history) == (200, history)
    peer.tokens.clear()
    peer.rotate()
    assert driver.get(server.api_url, auth).status == 200
    assert len(server.token_requests) == 2
    moves = {"/api/1": "/api/2"}
    peer.serve = lambda got: Response("", 307, {"Location": moves[got.target]}) if got.target in moves else as_json({})
    assert driver.get(f"{server.api_url}/1", auth).status == 200
    with pytest.raises(ConfigurationError, match="both use authorization"):
        _ = auth + driver.auth(grant_at(server, scope="other"))


def test_a_renewed_member_gets_a_proof_too(driver: Driver, server: Loopback) -> None:
    """Where the token of the other auth is renewed, the replay has another proof."""
    peer = DPoPServer(server)
    other = Loopback().start()
    try:
        bearer = ClientCredentials(other.token_url, "other", "s3cr3t")
        auth = driver.auth(bearer, header="X-Token", scheme="") + driver.auth(grant_at(server))
        check = server.api

        def both(received: Received) -> Response:
            return check(received) if received.headers.get("x-token") in other.live else as_json({}, 401)

        server.api = both
        assert driver.get(server.api_url, auth).history == []
        other.revoke()
        assert driver.get(server.api_url, auth).history == [401]
        assert (len(other.token_requests), peer.refusals) == (2, [])
    finally:
        other.stop()


def test_a_key_rotates_with_the_next_token(driver: Driver, server: Loopback, tmp_path: Any) -> None:
    """A token that was issued for the old key is used with the old key; the next one with the new key."""
    peer, path = DPoPServer(server), tmp_path / "key.pem"
    path.write_text(pem("ES256"))
    auth = driver.auth(grant_at(server, dpop=DPoPKey(SecretFile(path))))
    assert driver.get(server.api_url, auth).history == []
    path.write_text(pem("ES256", 1))
    assert driver.get(server.api_url, auth).history == []
    old = auth.source.token()
    auth.source.invalidate(old)
    new = auth.source.token()
    auth.source.seed(old)
    assert driver.get(server.api_url, auth).history == []
    assert peer.tokens[old.access_token] != peer.tokens[new.access_token]
    path.write_text("")
    assert driver.get(server.api_url, auth).status == 200


def test_places_that_dpop_does_not_know(driver: Driver, server: Loopback) -> None:
    """A token that is bound to a key goes to ``Authorization: DPoP``; another place is an error that names it."""
    grant = grant_at(server)
    for argument, value in (("query", "token"), ("header", "X-Token"), ("scheme", "Bearer")):
        with pytest.raises(ConfigurationError, match=f"{argument} contradicts the dpop of the grant") as caught:
            driver.auth(grant, **{argument: value})
        assert caught.value.argument == argument
    driver.auth(grant, header="authorization", scheme="dpop")


def test_an_auth_is_pickled_without_its_key(driver: Driver, server: Loopback) -> None:
    """A pickled auth works in another place, with a key of its own."""
    DPoPServer(server)
    auth = driver.auth(grant_at(server))
    assert driver.get(server.api_url, auth).status == 200
    assert driver.get(server.api_url, pickle.loads(pickle.dumps(auth))).status == 200


def test_a_request_of_httpx_is_pickled(driver: Driver, server: Loopback) -> None:
    """A signed request can be pickled and copied; the key is not in it."""
    DPoPServer(server)
    signed = driver.signed(driver.auth(grant_at(server)), server.api_url)
    assert pickle.loads(pickle.dumps(signed)).headers["DPoP"] == signed.headers["DPoP"]
    assert copy.deepcopy(signed).headers["DPoP"] == signed.headers["DPoP"]


def test_headers_that_a_hook_replaces(driver: Driver, server: Loopback) -> None:
    """Where an event hook loses our headers, the proof of the next hop is refused once, and then made."""
    if not isinstance(driver, Httpx):
        pytest.skip("httpx's hooks")
    peer = DPoPServer(server)
    peer.serve = lambda got: Response("", 307, {"Location": "/api/2"}) if got.target == "/api/1" else as_json({})

    def lose(request: Any) -> None:
        request.headers = driver.module.Headers(dict(request.headers))

    client = driver.module.Client(event_hooks={"request": [lose]}, trust_env=False, follow_redirects=True)
    with client:
        assert client.get(f"{server.api_url}/1", auth=driver.auth(grant_at(server))).status_code == 200
    assert (peer.refusals, len(server.token_requests)) == (["api htu"], 1)


def test_a_key_that_cannot_be_read(driver: Driver, server: Loopback, tmp_path: Any) -> None:
    """Without its key a seeded token cannot be used: the error is the library's, and its frames show no secret."""
    auth = driver.auth(grant_at(server, dpop=DPoPKey(SecretFile(tmp_path / "none"))))
    auth.source.seed({"access_token": "t0ken-of-mine", "token_type": "DPoP"})
    with pytest.raises(ConfigurationError, match=r"none' cannot be read") as caught:
        driver.get(server.api_url, auth)
    assert isinstance(caught.value, driver.base_error)
    shown = variables_of(caught.value)
    assert not [secret for secret in ("t0ken-of-mine", "s3cr3t") if secret in shown]


def test_a_request_that_is_sent_twice(driver: Driver, server: Loopback) -> None:
    """A prepared request of requests has one proof; sent again it gets another one, for one refusal."""
    if not isinstance(driver, Requests):
        pytest.skip("requests prepares")
    peer, session = DPoPServer(server), requests.Session()
    session.trust_env = False
    prepared = session.prepare_request(requests.Request("GET", server.api_url, auth=driver.auth(grant_at(server))))
    assert [session.send(prepared).status_code for _ in range(2)] == [200, 200]
    assert session.send(pickle.loads(pickle.dumps(prepared))).status_code == 401
    session.close()
    assert (set(peer.refusals), len(server.token_requests)) == ({"api jti"}, 1)


def test_a_cookie_of_a_request_that_is_bound(driver: Driver, server: Loopback) -> None:
    """Headers that keep a proof are read as any others."""
    DPoPServer(server)
    signed = driver.signed(driver.auth(grant_at(server)), server.api_url)
    assert signed.headers.get("Cookie") is None
    assert signed.headers["DPoP"].count(".") == 2


def test_a_token_of_a_shared_cache_keeps_its_key(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """Another key in the file is that of the next token, also where another process got the present one."""
    peer, path = DPoPServer(server), tmp_path / "key.pem"
    path.write_text(pem("ES256"))
    key = DPoPKey(SecretFile(path))
    TokenSource(grant_at(server, dpop=DPoPKey(pem("ES256"))), cache=FileCache(tmp_path / "cache")).token()
    auth = driver.auth(grant_at(server, dpop=key), cache=FileCache(tmp_path / "cache"))
    assert driver.get(server.api_url, auth).status == 200
    path.write_text(pem("ES256", 1))
    TokenSource(grant_at(server, dpop=key, scope="other")).token()
    assert driver.get(server.api_url, auth).status == 200
    assert (peer.refusals, len(server.token_requests)) == ([], 2)


def test_a_token_outlives_what_asked_for_it_with_its_key(driver: Driver, server: Loopback) -> None:
    """The key of ``dpop=True`` lives as long as the token in memory, whichever of the equal grants was there first."""
    peer = DPoPServer(server)
    TokenSource(grant_at(server))
    for _ in range(2):
        assert driver.get(server.api_url, driver.auth(grant_at(server))).status == 200
        gc.collect()
    assert (peer.refusals, len(server.token_requests)) == ([], 1)


def test_refused_may_be_an_iterator(driver: Driver, server: Loopback) -> None:
    """Statuses that an iterator gives are those of an auth with proofs too: a 403 costs one token."""
    DPoPServer(server)
    auth = driver.auth(grant_at(server), refused=iter((403,)))
    assert driver.get(server.api_url, auth).status == 200
    server.api = lambda _: as_json({}, 403)
    assert driver.get(server.api_url, auth).status == 403
    assert len(server.token_requests) == 2
