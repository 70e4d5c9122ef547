"""The body of a request whose token the API rejects: it is replayed, or the 401 is returned."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import anyio
import pytest

from auth_plugins import ClientCredentials
from tests.support.drivers import ALL, ASYNC, HTTPX, SYNC, AsyncHttpx, Call, Driver, each
from tests.support.loopback import Loopback

BODIES: dict[str, Any] = {
    "none": dict,
    "bytes": lambda: {"content": b"payload"},
    "form": lambda: {"data": {"a": "1", "b": "zwei"}},
    "json": lambda: {"json": {"rows": [1, 2, 3]}},
    "multipart": lambda: {"data": {"a": "1"}, "files": {"f": ("name.txt", io.BytesIO(b"inside"), "text/plain")}},
    "multipart text": lambda: {"files": {"f": ("name.txt", b"inside", "text/plain")}},
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("driver", each(ALL))
def test_a_body_is_sent_again_whole(driver: Driver, server: Loopback, grant: ClientCredentials, kind: str) -> None:
    """A replay carries the whole body of the first request."""
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
    """A replay sends an open file from the position that it had."""
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
    """If the body was a generator, the 401 is returned; the API gets no empty upload."""
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
    """A list of chunks is replayed."""
    body = {"data": [("a", "1")]} if driver.library == "requests" else {"content": [b"a", b"=1"]}
    server.refuse_once()
    answer = driver.send(Call("POST", server.api_url, body), driver.auth(grant))
    assert (answer.status, [received.body for received in server.api_requests]) == (200, [b"a=1", b"a=1"])


class Pipe(io.BytesIO):
    """A file that cannot be rewound."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    tell = seek


class ClosedOnceRead(io.BytesIO):
    """A file that something closes while it is sent: once it was read, its methods raise *failure*."""

    failure: Exception = ValueError("I/O operation on closed file")

    def read(self, *size: Any) -> bytes:
        self.seek = self.seekable = self.fail  # type: ignore[method-assign]
        return super().read(*size)

    def fail(self, *_: Any) -> Any:
        raise self.failure


class Broken(ClosedOnceRead):
    """A file of a user's class, which raises an error of its own."""

    failure = RuntimeError("the upload is over")


@pytest.mark.parametrize("kind", [Pipe, ClosedOnceRead, Broken])
@pytest.mark.parametrize(
    # requests reads multipart bodies into memory, where they can be sent again.
    ("driver", "place"),
    [*((d, "content") for d in SYNC), *((d, "files") for d in HTTPX)],
    ids=str,
)
def test_a_file_that_cannot_be_rewound_is_not_sent_as_nothing(
    driver: Driver, server: Loopback, grant: ClientCredentials, place: str, kind: type[io.BytesIO]
) -> None:
    """If the body was a pipe, or a file that something closed, the 401 is returned, and the token is replaced."""
    server.refuse_once()
    auth, file = driver.auth(grant), kind(b"inside")
    body = {"content": file} if place == "content" else {"files": {"f": file}}
    answer = driver.send(Call("POST", server.api_url, body), auth)
    assert (answer.status, answer.history, len(server.api_requests)) == (401, [], 1)
    driver.get(server.api_url, auth)
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(ASYNC))
def test_an_async_file_is_not_sent_as_nothing(
    driver: AsyncHttpx, server: Loopback, grant: ClientCredentials, tmp_path: Path
) -> None:
    """If the body was an async file, the 401 is returned; the API gets no empty upload."""
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 1000)
    server.refuse_once()

    async def main() -> Any:
        async with await anyio.open_file(path, "rb") as file:
            call = Call("POST", server.api_url, {"content": file})
            return await driver.gather([call], [driver.auth(grant)])

    [answer] = driver.run(main)
    assert (answer.status, [len(received.body) for received in server.api_requests]) == (401, [1000])
