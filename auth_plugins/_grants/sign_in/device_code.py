"""The device authorization grant: a person signs in with any browser, and enters a code (RFC 8628)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from auth_plugins._base.errors import AuthError, LoginRequiredError, TokenRequestError, TokenTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._base.validation import check_url
from auth_plugins._grants.frozen import Checks
from auth_plugins._login.prompts import Prompt
from auth_plugins._login.prompts import ask as ask_person
from auth_plugins._protocol.messages import DEVICE_CODE
from auth_plugins._protocol.tokens import Token

from .interactive import InteractiveGrant
from .login_ask import LoginAsk

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest
    from auth_plugins._protocol.metadata import Metadata
    from auth_plugins._protocol.sign_in.device import DeviceAuthorization

#: Seconds by which ``slow_down`` makes the interval longer (RFC 8628 §3.5), and the longest interval.
_SLOWER, _LONGEST_INTERVAL = 5.0, 60.0
#: Seconds that other processes give a login: the server tells its own number when the login has begun.
_LONGEST_LOGIN = 1800.0


@dataclass(frozen=True, eq=False)
class DeviceCode(InteractiveGrant):
    """A person signs in with the browser of any machine, and enters a code there (RFC 8628): for SSH and containers.

    The program asks the token endpoint for the outcome at the server's interval (``slow_down`` makes it longer, 5
    seconds where the server names none), for as long as the code lives. Then the token is refreshed for as long as the
    server lets it; when it refuses, the person is asked again.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback; or an :class:`Issuer`,
        whose metadata name both endpoints.
    :param client_id: the client's id (RFC 6749 §2.2). It is a parameter of each request, besides any Basic.
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none.
    :param device_url: the URL of the device authorization endpoint (RFC 8628 §3.1); ``None`` (the default): that of the
        issuer.
    :param prompt: a callable that is given the URL to open and the code to enter there; one that takes a single
        argument is given the URL that holds the code, if there is one. It is called in a thread of its own, and may
        return at once or block. By default the browser is opened, and URL and code are printed on stderr; where there
        is neither a terminal nor a display, no one is asked. ``None``: no one ever is. No token depends on it.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    A login that is denied or expired is a :class:`LoginRequiredError`, as is one for which no one can be asked. Further
    keyword arguments: as in :class:`ClientCredentials`; *params* and *headers* are sent to both endpoints.
    """

    _: KW_ONLY
    device_url: str | None = None

    _checks: ClassVar[Checks] = {**InteractiveGrant._checks, "device_url": check_url}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_endpoint_is_known("device_url", "device authorization endpoint")

    @property
    def login_seconds(self) -> float:  # type: ignore[override]
        return 0.0 if self.prompt is None else _LONGEST_LOGIN

    def metadata_values(self, metadata: Metadata, issuer: str) -> Mapping[str, Any]:  # noqa: ARG002
        found = metadata.endpoint("device_authorization_endpoint", by_certificate=self.uses_mutual_tls)
        return {"device_url": self.device_url or found}

    def _sign_in(self, prompt: Prompt, ask: LoginAsk) -> Token:
        from auth_plugins._protocol.sign_in.device import read_device

        self._endpoint("device_url", "device authorization endpoint", ask)
        device = read_device(*ask.send(self._device_request()))
        ask.check_url(device.url)
        failure: Future[None] = Future()
        ask.begin_login(device.lifetime, failure)
        ends = runtime.clock.monotonic() + device.lifetime
        ask_person(prompt, (device.url, device.user_code, device.complete_url), failure)
        return self._poll(device, ends, failure, ask)

    def _poll(self, device: DeviceAuthorization, ends: float, failure: Future[None], ask: LoginAsk) -> Token:
        """Ask for the outcome until there is one, or the code's time is over."""
        interval = device.interval
        while runtime.clock.monotonic() + interval < ends:
            runtime.wait(failure, interval)
            if failure.done():
                failure.result()
            try:
                return ask(self._token_request(device.device_code))
            except (TokenRequestError, TokenTransportError) as error:
                interval = _next_interval(error, interval)
        raise _expired()

    def _own(self) -> list[tuple[str, Any]]:
        """Return the client's id, which some servers want besides Basic."""
        return [(dict(self._pairs("names")).get("client_id", "client_id"), self.client_id)]

    def _device_request(self) -> TokenRequest:
        # The grant type is how the request is built; this one has none.
        parameters = {"grant_type": DEVICE_CODE}
        if self.scope:
            parameters["scope"] = str(self.scope)
        return self._request("device_url", parameters, ("params",), added=[("grant_type", None), *self._own()])

    def _token_request(self, device_code: str) -> TokenRequest:
        parameters = {"grant_type": DEVICE_CODE, "device_code": device_code}
        return self._request("token_url", parameters, ("params",), added=self._own())


def _next_interval(error: AuthError, interval: float) -> float:
    """Return the seconds until the outcome is asked for again (RFC 8628 §3.5); raise *error* if there is none."""
    code = error.error if isinstance(error, TokenRequestError) else None
    if code == "authorization_pending":
        return interval
    if code == "slow_down":
        return interval + _SLOWER
    if code in ("access_denied", "authorization_declined"):  # the latter is Entra's
        raise LoginRequiredError("sign-in was denied", error=code, advice="sign in again, and allow the access")
    if code in ("expired_token", "code_expired"):
        raise _expired()
    if not error.transient:
        raise error
    pause = error.retry_after if isinstance(error, TokenRequestError) else None
    return max(min(2 * interval, max(interval, _LONGEST_INTERVAL)), pause or 0.0)


def _expired() -> LoginRequiredError:
    return LoginRequiredError(
        "sign-in expired: no one entered the code in time", error="expired_token", advice="sign in again"
    )
