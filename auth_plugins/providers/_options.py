"""What the providers share: the keyword arguments of their grants, and how the URL of an endpoint is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import quote

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.mappings import freeze_headers, freeze_params
from auth_plugins._base.validation import ClientAuth, Encoding, Method, Parameter, Secret, check_id, check_url
from auth_plugins._client_auth.base import ClientAuthentication
from auth_plugins._client_auth.dpop import DPoPKey


class _CommonOptions(TypedDict, total=False):
    resource: str | Sequence[str] | None
    client_auth: ClientAuth | ClientAuthentication | None
    encoding: Encoding
    params: Mapping[str, Parameter] | None
    headers: Mapping[str, Secret] | None
    revocation_url: str | None
    answer: Mapping[str, str] | None
    names: Mapping[str, str] | None
    refresh_params: Mapping[str, Parameter] | None
    lifetime: float | None
    dpop: bool | DPoPKey | None


class OptionsButAudience(_CommonOptions, total=False):
    scope: str | Sequence[str] | None
    method: Method


class OptionsButScope(_CommonOptions, total=False):
    audience: str | None
    method: Method


class OptionsButMethod(_CommonOptions, total=False):
    audience: str | None
    scope: str | Sequence[str] | None


class Options(OptionsButScope, total=False):
    scope: str | Sequence[str] | None


class UserOptions(Options, total=False):
    client_id: str | None
    client_secret: Secret | None
    refresh_url: str | None


BASIC: Any = {"client_auth": "client_secret_basic"}
RAW: Any = {"client_auth": "client_secret_basic_raw"}
POST: Any = {"client_auth": "client_secret_post"}
QUERY: Any = {"encoding": "query"}


def join(argument: str, base: object, path: str) -> str:
    """Return the URL of an endpoint: *base*, which is the value of *argument*, and *path*."""
    url = check_url(argument, base)
    if "?" in url:
        advice = "give the address that the system's documentation names"
        raise ConfigurationError("must have no query", argument=argument, advice=advice)
    return url.rstrip("/") + path


def segment(argument: str, name: object) -> str:
    """Return *name*, the value of *argument*, as one segment of a URL's path."""
    return quote(check_id(argument, name), safe="")


_FREEZE = {"params": freeze_params, "headers": freeze_headers}


def merged(options: Mapping[str, Any], **defaults: Mapping[str, Any]) -> Any:
    """Return the *defaults* of options that are mappings, each with what *options* add to it or replace in it."""
    given = {name: options.get(name) for name in defaults}
    frozen = {name: _FREEZE[name](name, value) or () for name, value in given.items() if value is not None}
    return {name: {**default, **dict(frozen.get(name, ()))} for name, default in defaults.items()}
