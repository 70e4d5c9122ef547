"""What becomes of a request's body when the API refuses the token, and the request has to be sent again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import ClientCredentials

from .drivers import ALL, SYNC, Call, Driver, each
from .loopback import Loopback

BODIES: dict[str, Any] = {
    "none": dict,
    "bytes": lambda: {"content": b"payload"},
    "form": lambda: {"data": {"a": "1", "b": "zwei"}},
    "json": lambda: {"json": {"rows": [1, 2, 3]}},
    "multipart": lambda: {"data": {"a": "1"}, "files": {"f": ("name.txt", io.BytesIO(b"inside"), "text/plain")}},
    "multipart text": lambda: {"files": {"f": ("name.txt", b"inside", "text/plain")}},
}


class Pipe(io.BytesIO):
    """A file that cannot go back."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("driver", each(ALL))
def test_a_body_is_sent_again_whole(driver: Driver, server: Loopback, grant: ClientCredentials, kind: str) -> None:
    """Whatever I post, the second try carries all of what the first one did."""
    server.refuse_once()
    answer = driver.send(Call("POST", server.api_url, BODIES[kind]()), driver.auth(grant))
    first, second = server.api_requests
    assert (answer.status, answer.history) == (200, [401])
    assert first.body == second.body
    assert bool(first.body) == (kind != "none")


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_file_is_sent_again_from_where_it_stood(
    driver: Driver, server: Loopback, grant: ClientCredentials, tmp_path: Path
) -> None:
    """I post an open file, from where I had read it to: the second try sends the same part of it."""
    # httpx, and httpx2 before 2.14, declare the whole file's length wherever it stands, and then fail by themselves.
    start = 7 if driver.library == "requests" else 0
    path = tmp_path / "upload"
    path.write_bytes(b"skipped" + b"x" * 100_000)
    server.refuse_once()
    with path.open("rb") as file:
        file.seek(start)
        answer = driver.send(Call("POST", server.api_url, {"content": file}), driver.auth(grant))
    assert (answer.status, answer.history) == (200, [401])
    assert {received.body for received in server.api_requests} == {path.read_bytes()[start:]}
    assert len(server.api_requests) == 2


@pytest.mark.parametrize("driver", each(ALL))
def test_a_consumed_generator_is_not_sent_as_nothing(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """My body is a generator, and gone: I get the 401, the API no empty upload, and the next request succeeds."""
    auth = driver.auth(grant)
    driver.get(server.api_url, auth)
    server.revoke()
    answer = driver.send(Call("POST", server.api_url, driver.chunks([b"one", b"two"])), auth)
    assert (answer.status, answer.history) == (401, [])
    assert [received.body for received in server.api_requests] == [b"", b"onetwo"]
    answer = driver.send(Call("POST", server.api_url, driver.chunks([b"one", b"two"])), auth)
    assert (answer.status, server.api_requests[-1].body, len(server.token_requests)) == (200, b"onetwo", 2)


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_list_of_chunks_is_sent_again(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A list, too, is streamed by httpx, and can be read twice; requests makes a form of one, which is bytes."""
    body = {"data": [("a", "1")]} if driver.library == "requests" else {"content": [b"a", b"=1"]}
    server.refuse_once()
    answer = driver.send(Call("POST", server.api_url, body), driver.auth(grant))
    assert (answer.status, [received.body for received in server.api_requests]) == (200, [b"a=1", b"a=1"])


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize("place", ["content", "files"])
def test_a_pipe_is_not_sent_as_nothing(driver: Driver, server: Loopback, grant: ClientCredentials, place: str) -> None:
    """My body is a file that can't go back: I get the 401, and the API no half of an upload."""
    server.refuse_once()
    if driver.library == "requests" and place == "files":
        place = "content"  # requests reads multipart bodies into memory, where they can be sent again
    body = {"content": Pipe(b"inside")} if place == "content" else {"files": {"f": Pipe(b"inside")}}
    answer = driver.send(Call("POST", server.api_url, body), driver.auth(grant))
    assert (answer.status, answer.history, len(server.api_requests)) == (401, [], 1)


@pytest.mark.parametrize("driver", each([driver for driver in ALL if driver.library != "requests"]))
def test_a_closed_part_is_not_sent_as_nothing(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A part of my multipart upload is closed once it was sent: I get the 401."""

    class Closed(io.BytesIO):
        def seekable(self) -> bool:
            if server.api_requests:
                raise ValueError("I/O operation on closed file")
            return super().seekable()

    server.refuse_once()
    answer = driver.send(Call("POST", server.api_url, {"files": {"f": Closed(b"inside")}}), driver.auth(grant))
    assert (answer.status, answer.history) == (401, [])


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_file_that_was_closed_is_not_sent_as_nothing(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """Something closes my file once it was sent: I get the 401."""

    class Closed(io.BytesIO):
        def seek(self, *position: int) -> int:
            if server.api_requests:
                raise ValueError("seek of closed file")
            return super().seek(*position)

    server.refuse_once()
    answer = driver.send(Call("POST", server.api_url, {"content": Closed(b"inside")}), driver.auth(grant))
    assert (answer.status, answer.history) == (401, [])
