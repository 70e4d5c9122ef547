"""A system where people sign in: with a browser on the program's machine, or with any browser and a code."""

import html
import re
import secrets
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar
from urllib.parse import urlencode

from ._seen import Seen
from ._system import Refusal, Reply, System, require

_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 30rem;
margin: 10vh auto; padding: 0 1.25rem }} label {{ display: block }}
input, button {{ font: inherit; margin: 0 0 .75rem }}
</style></head><body><main><h1>{title}</h1>{content}</main></body></html>
"""
_FORM = """<p>{said}</p><form method="post">{code}
<label>User name <input name="username" value="{username}" autocomplete="username"></label>
<label>Password <input name="password" type="password" value="{password}" autocomplete="current-password"></label>
<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button></form>"""
_USER_CODE = '<label>Code <input name="user_code" value="{}" autocomplete="off" required></label>'
#: What the client may have as its ``redirect_uri``: any port and path of this machine, without a fragment.
_REDIRECT_URI = re.compile(r"http://127\.0\.0\.1(:\d{1,5})?([/?][!-\"$-~]*)?")
#: The letters of a user code: none looks like another, and no word can be made of them (RFC 8628 §6.1).
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass
class _Login:
    """A login that has begun, and how the program asks for its outcome."""

    expires: float
    redirect_uri: str = ""
    challenge: str = ""
    interval: float = 0.0
    asked: float = 0.0  #: When the program asked for the outcome last.
    allowed: bool | None = None  #: What the person said; ``None``: nothing yet.
    family: str = ""  #: Of the tokens that were issued for it; it is used up then.


class SignInApi(System):
    """People sign in, by PKCE or device code, and the client has no secret. Refresh tokens are rotated.

    Its metadata name all endpoints, and each authorization response has an ``iss`` (RFC 9207). Its pages are filled in:
    to sign in, press *Allow*.
    """

    name = "sign-in-api"
    client_id = "sign-in-client"
    username = "ada@example"
    password = "analytical & engine = ü"
    grant_types = ("authorization_code", "refresh_token", _DEVICE)
    token_path = "/oauth/token"
    accepted: ClassVar = {("token", "POST"): ("form",)}
    answered = ("access_token", "refresh_token", "token_type", "expires_in")
    is_opaque = True

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        super().__init__(lifetime, clock)
        self.code_lifetime = 600.0  #: Seconds that a person has to enter a code.
        self.interval = 1.0  #: Seconds between two requests for the outcome of a device's login.
        #: Every request to the pages, and to all endpoints but the token endpoint and the API, in order.
        self.visits: list[Seen] = []
        self._codes: dict[str, _Login] = {}
        self._devices: dict[str, tuple[str, _Login]] = {}  # user code and login, by device code
        self._others = {
            ("GET", "/.well-known/openid-configuration"): self._metadata,
            ("GET", "/.well-known/oauth-authorization-server"): self._metadata,
            ("GET", "/authorize"): self._authorize,
            ("POST", "/authorize"): self._authorize,
            ("GET", "/activate"): self._activate,
            ("POST", "/activate"): self._activate,
            ("POST", "/device"): self._begin,
            ("POST", "/revoke"): self._revoke,
        }

    def variables(self, prefix: str) -> dict[str, str]:
        values = {"ISSUER": self.url, "CLIENT_ID": self.client_id, "GRANT_TYPE": "authorization_code"}
        return {f"{prefix}_{name}": value for name, value in values.items()}

    def person(self, url: str, user_code: str = "") -> None:
        """Sign in at *url* without a browser, and allow the access: a *prompt* for programs that no person watches."""
        answers = {"username": self.username, "password": self.password, "answer": "allow"}
        form = urlencode(answers | ({"user_code": user_code} if user_code else {})).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(url, timeout=30).close()
        opener.open(url, form, timeout=30).close()

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, certificate: bytes | None = None
    ) -> Reply:
        respond = self._others.get((method, target.partition("?")[0]))
        if respond is None:
            return super().answer(method, target, headers, body, certificate)
        request = Seen("page", method, target, headers, body, certificate)
        request.time = self._clock()
        with self._lock:
            try:
                reply = respond(request) if not request.is_malformed else _page(400, "Not possible", "Malformed.")
            except Refusal as refusal:
                reply = Reply(refusal.content, refusal.status)
            request.status = reply.status
            self.visits.append(request)
        return reply

    def _metadata(self, _: Seen) -> Reply:
        names = {"authorization": "/authorize", "token": self.token_path, "device_authorization": "/device"}
        endpoints = {f"{name}_endpoint": self.url + path for name, path in {**names, "revocation": "/revoke"}.items()}
        return Reply(
            {
                "issuer": self.url,
                **endpoints,
                "grant_types_supported": list(self.grant_types),
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def _authorize(self, request: Seen) -> Reply:
        """Ask the person, and send the browser back; never to a URI that is not the client's."""
        query = request.in_query
        uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id or not _REDIRECT_URI.fullmatch(uri):
            return _page(400, "Not possible", "The client or its redirect_uri is not known here.")
        answer = {"iss": self.url} | ({"state": query["state"]} if "state" in query else {})
        if query.get("response_type") != "code":
            answer["error"] = "unsupported_response_type"
        elif "scope" in query:
            answer["error"] = "invalid_scope"
        elif query.get("code_challenge_method") != "S256" or len(query.get("code_challenge", "")) != 43:
            answer["error"] = "invalid_request"
        elif request.method == "GET":
            return self._ask(200, f"{self.client_id} wants to use your account.")
        elif not self._is_person(request):
            return self._ask(403, "The user name or the password is wrong.")
        elif request.in_body.get("answer") != "allow":
            answer["error"] = "access_denied"
        else:
            answer["code"] = code = secrets.token_urlsafe()
            ends = self._clock() + 60
            self._codes[code] = _Login(ends, uri, query["code_challenge"], allowed=True)
        location = f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"
        return Reply(b"", 303, {"Location": location, "Content-Type": "text/html", "Referrer-Policy": "no-referrer"})

    def _begin(self, request: Seen) -> Reply:
        require({"client_id"}, request.in_body)
        self._check_client(request.in_body)
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        code, user_code = secrets.token_urlsafe(), f"{letters[:4]}-{letters[4:]}"
        now = self._clock()
        self._devices[code] = user_code, _Login(now + self.code_lifetime, interval=self.interval, asked=now)
        page = f"{self.url}/activate"
        members = {"device_code": code, "user_code": user_code, "verification_uri": page}
        complete = f"{page}?{urlencode({'user_code': user_code})}"
        times = {"expires_in": self.code_lifetime, "interval": self.interval}
        return Reply({**members, "verification_uri_complete": complete, **times})

    def _activate(self, request: Seen) -> Reply:
        """Ask for the code, and whether the device may use the account."""
        if request.method == "GET":
            return self._ask(200, "A device wants to use your account.", request.in_query.get("user_code", ""))
        entered = request.in_body.get("user_code", "")
        if not self._is_person(request):
            return self._ask(403, "The user name or the password is wrong.", entered)
        for user_code, login in self._devices.values():
            if user_code == entered and login.allowed is None and self._clock() < login.expires:
                login.allowed = request.in_body.get("answer") == "allow"
                return _page(200, "Done", "You can close this tab.")
        return self._ask(404, "No device waits for this code.", entered)

    def _revoke(self, request: Seen) -> Reply:
        """Revoke a token and all that belong to the same login (RFC 7009 §2.1); an unknown one is no error."""
        require({"client_id", "token", "token_type_hint"}, request.in_body)
        self._check_client(request.in_body)
        token, issued = request.in_body["token"], self._issued
        self._end(issued.refresh.get(token) or issued.access.get(token, ("", 0.0))[0])
        return Reply({})

    def _end(self, family: str) -> None:
        issued = self._issued
        issued.access = {token: about for token, about in issued.access.items() if about[0] != family}
        issued.refresh = {token: other for token, other in issued.refresh.items() if other != family}

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        self._check_client(parameters)
        if request.grant_type == "refresh_token":
            return self._refresh(parameters, {"grant_type", "client_id"}, status=400)
        if request.grant_type == _DEVICE:
            require({"grant_type", "client_id", "device_code"}, parameters)
            login = self._devices.get(parameters["device_code"], ("", _Login(0.0, allowed=False)))[1]
            self._check_device(login)
        elif request.grant_type == "authorization_code":
            require({"grant_type", "client_id", "code", "redirect_uri", "code_verifier"}, parameters)
            login = self._codes.get(parameters["code"], _Login(0.0))
            digest = urlsafe_b64encode(sha256(parameters["code_verifier"].encode()).digest()).decode().rstrip("=")
            sent = (digest, parameters["redirect_uri"])
            if self._clock() >= login.expires or sent != (login.challenge, login.redirect_uri):
                raise Refusal(400, "invalid_grant", "the code is unknown or expired, or belongs to another program")
        else:
            raise Refusal(400, "unsupported_grant_type")
        if login.family:
            self._end(login.family)  # two parties have the code (RFC 6749 §4.1.2)
            raise Refusal(400, "invalid_grant", "the code was used")
        login.family = secrets.token_hex()
        return login.family

    def _check_device(self, login: _Login) -> None:
        """Refuse as long as the person has not allowed it (RFC 8628 §3.5)."""
        now, too_soon = self._clock(), self._clock() < login.asked + login.interval * 0.9  # clocks are not exact
        login.asked = now
        if login.allowed is False:
            raise Refusal(400, "access_denied" if login.expires else "invalid_grant")
        if now >= login.expires:
            raise Refusal(400, "expired_token")
        if too_soon:
            login.interval += 5
            raise Refusal(400, "slow_down")
        if login.allowed is None:
            raise Refusal(400, "authorization_pending")

    def _check_client(self, parameters: Mapping[str, str]) -> None:
        if parameters.get("client_id") != self.client_id:
            raise Refusal(401, "invalid_client", "unknown client")

    def _is_person(self, request: Seen) -> bool:
        sent = request.in_body.get("username"), request.in_body.get("password")
        return sent == (self.username, self.password)

    def _ask(self, status: int, said: str, user_code: str | None = None) -> Reply:
        values = {"username": self.username, "password": self.password}
        shown = {name: html.escape(value) for name, value in {**values, "said": said}.items()}
        code = "" if user_code is None else _USER_CODE.format(html.escape(user_code))
        return _page(status, "Sign in", _FORM.format(**shown, code=code), is_html=True)


def _page(status: int, title: str, content: str, *, is_html: bool = False) -> Reply:
    shown = content if is_html else f"<p>{html.escape(content)}</p>"
    headers = {"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY"}
    return Reply(_PAGE.format(title=title, content=shown).encode(), status, headers)
