"""The first request to a server that gets DPoP proofs: others wait for the nonce that may come with its answer."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING

from auth_plugins._base.runtime import runtime
from auth_plugins._client_auth.proofs import drop_oldest, target_of
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.flight import Awaited, wait_in_loop

if TYPE_CHECKING:
    from auth_plugins._client_auth.proofs import Prover

#: Seconds for which others wait, once for each server: its first answer may take long, or the request was never sent.
_LONGEST_WAIT = 1.0
#: How many servers are known for one key.
_MOST = 256


class Meeting(Awaited[None]):
    """The first request to a server; it ends with its answer."""

    def __init__(self) -> None:
        super().__init__()
        #: The thread of that request, which does not wait for itself; and its process, as a forked child has no answer.
        self.thread, self.process = threading.get_ident(), os.getpid()


def wait_for_nonce(prover: Prover, token: Token, url: str) -> None:
    """Wait until the server of *url* has answered a request with a proof, if one is on its way for the first time."""
    meeting = _meeting(prover, token, url)
    if meeting is not None and meeting.thread != threading.get_ident():
        runtime.wait(meeting, _LONGEST_WAIT)
        end_meeting(prover, url)


async def await_nonce(prover: Prover, token: Token, url: str) -> None:
    """Do the same in asyncio or trio."""
    meeting = _meeting(prover, token, url)
    if meeting is not None:
        await wait_in_loop(meeting, _LONGEST_WAIT)
        end_meeting(prover, url)


def end_meeting(prover: Prover, url: str) -> None:
    """Have the others send their requests to the server of *url*: it has answered, or takes too long."""
    origin = target_of(url)[1]
    meeting = prover.meetings.get(origin)
    if meeting is None:  # nearly always, so without a lock
        return
    prover.meetings[origin] = None
    if meeting.process == os.getpid():  # else another thread may have held its lock when this process was forked
        with contextlib.suppress(InvalidStateError):  # another thread was faster
            meeting.set_result(None)


def _meeting(prover: Prover, token: Token, url: str) -> Meeting | None:
    """Return the meeting that lasts; ``None``: there is none, or it begins with this request."""
    if token.token_type != "DPoP":
        return None
    origin = target_of(url)[1]
    if origin not in prover.meetings:
        own = Meeting()
        meeting: Meeting | None = prover.meetings.setdefault(origin, own)
        drop_oldest(prover.meetings, _MOST)
    else:
        own, meeting = None, prover.meetings.get(origin)
    return None if meeting is None or meeting is own or meeting.process != os.getpid() else meeting
