"""Client authentication by a certificate: the grant, its identity, and its variables."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

import auth_plugins.httpx
import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    Password,
    SecretFile,
    TLSClientAuth,
    TokenSource,
    from_env,
)
from auth_plugins._source.wiring import has_no_secret
from tests.support.certificates import pair_of
from tests.support.endpoints import LIBRARIES, new_session, token_source
from tests.support.frames import variables_of
from tests.unit.test_answers import requests_of

URL = "https://id.example.com/token"
NAMES: list[Any] = ["tls_client_auth", "self_signed_tls_client_auth"]
VARIABLES = {"TOKEN_URL": URL, "CLIENT_ID": "me", "CLIENT_AUTH": "tls_client_auth"}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return pair_of(tmp_path, "client-a")


def grant_of(pair: Sequence[str | Path], **options: Any) -> ClientCredentials:
    return ClientCredentials(URL, "me", client_auth=TLSClientAuth(*pair, **options))


@pytest.mark.parametrize("client_auth", [*NAMES, TLSClientAuth("certificate.pem")])
def test_only_the_id_is_sent(client_auth: Any) -> None:
    """The client sends its id, and no secret; a secret is an error."""
    grant = ClientCredentials(URL, "me", client_auth=client_auth)
    assert grant.uses_mutual_tls
    assert not ClientCredentials(URL, "me", "s3cr3t").uses_mutual_tls
    request = requests_of(grant)[0]
    assert (request.body, "Authorization" in request.headers) == (b"grant_type=client_credentials&client_id=me", False)
    with pytest.raises(ConfigurationError, match="client_auth tls_client_auth sends no client_secret; leave one of"):
        ClientCredentials(URL, "me", "s3cr3t", client_auth=client_auth)
    with pytest.raises(ConfigurationError, match="client_auth needs client_id"):
        Password(URL, "ann", "pa55", client_auth=client_auth)


def test_equal_paths_are_equal(pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are absolute, and a str is as good as a path; each argument counts in ``==`` and the hash."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    grant = grant_of(pair)
    for other in (grant_of((str(pair[0]), str(pair[1]))), grant_of(("client-a/certificate.pem", "~/client-a/key.pem"))):
        assert (other, hash(other)) == (grant, hash(grant))
    password = SecretFile(tmp_path / "password")
    others = [grant_of(pair[:1]), grant_of(pair[::-1]), grant_of(pair, ca="x"), grant_of(pair, password=password)]
    assert len({grant, *others}) == 5
    assert pickle.loads(pickle.dumps(others[-1])) == others[-1]


def test_the_identity_is_that_of_the_files(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Shared caches know a certificate by its content, wherever it is; other content is another client."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copies = elsewhere / "c.pem", elsewhere / "k.pem"
    for old, new in zip(pair, copies, strict=True):
        new.write_bytes(old.read_bytes())
    grant, copy = grant_of(pair), grant_of(copies, ca=pair[0])
    assert grant.identity() == copy.identity()
    assert grant.secrets() == copy.secrets()
    for changed in copies:
        before = copy.identity(), copy.secrets()
        changed.write_bytes(changed.read_bytes() + b"\n")
        assert copy.identity() != before[0]
        assert copy.secrets() != before[1]
    assert grant_of(pair, password="pa55word").identity() != grant.identity()
    with pytest.raises(ConfigurationError, match=r"the certificate file '.*' cannot be read \(No such file"):
        grant_of(("gone.pem",)).secrets()


def test_nothing_secret_is_shown(pair: tuple[Path, Path]) -> None:
    """``repr`` shows paths and no password; the request and its dumps neither."""
    grant = grant_of(pair, password="pa55word")
    shown = f"{grant!r} {requests_of(grant)[0]!r} {requests_of(grant)[0].tls!r} {vars(grant)!r}"
    assert str(pair[0]) in shown
    assert "pa55word" not in shown


@pytest.mark.parametrize("path", ["", 5, b"x", "-----BEGIN CERTIFICATE-----", "a\nb", "x" * 2000])
@pytest.mark.parametrize("name", ["certificate", "key", "ca"])
def test_a_path_is_no_content(name: str, path: Any) -> None:
    """What is no path is refused at once, and the content of a file is not shown."""
    with pytest.raises(ConfigurationError, match=f"^{name} must be the path of a file") as caught:
        TLSClientAuth(**{"certificate": "c.pem", name: path})
    assert "BEGIN" not in str(caught.value) + variables_of(caught.value)


def test_a_relative_path_needs_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is refused where the working directory is gone."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigurationError, match="certificate must be absolute"):
        TLSClientAuth("certificate.pem")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_session_has_its_own_certificate(library: str, pair: tuple[Path, Path]) -> None:
    """With a session or client a TLSClientAuth is an error, in a TokenSource as well; a name is not."""
    argument = "session" if library == "requests" else "client"
    with new_session(library) as session:
        for given in (grant_of(pair), TokenSource(grant_of(pair))):
            with pytest.raises(ConfigurationError, match=f"^{argument} contradicts client_auth of the grant"):
                token_source(library, given, session, cache=None)
        assert token_source(library, ClientCredentials(URL, "me", client_auth=NAMES[0]), session)


def test_only_a_certificate_of_a_session_tells_sessions_apart(pair: tuple[Path, Path]) -> None:
    """By name, each session has a token of its own, as it has the certificate; by files, the grant has one token."""
    assert not has_no_secret(grant_of(pair))
    sources = []
    for name in NAMES:
        grant = ClientCredentials(URL, "me", client_auth=name)
        sources += [auth_plugins.requests.OAuth2Auth(grant, session=requests.Session()).source for _ in range(2)]
    assert len({id(source._state) for source in sources}) == 4


def made(**variables: str | Path) -> Any:
    return from_env("ACME", {f"ACME_{name}": str(value) for name, value in (VARIABLES | variables).items()})


def refused(**variables: str | Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        made(**variables)
    assert caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_variables_name_the_files(name: Any, pair: tuple[Path, Path]) -> None:
    """CERTIFICATE and CERTIFICATE_KEY make a TLSClientAuth; without them the certificate is a session's."""
    certificate, key = pair
    assert made(CLIENT_AUTH=name, CERTIFICATE=certificate, CERTIFICATE_KEY=key) == grant_of(pair)
    assert made(CLIENT_AUTH=name.upper().replace("_", "-"), CERTIFICATE=f" {certificate}\n") == grant_of(pair[:1])
    assert made(CLIENT_AUTH=name) == ClientCredentials(URL, "me", client_auth=name)
    keycloak = {"PROVIDER": "keycloak", "BASE_URL": "https://a", "REALM": "r", "TOKEN_URL": "", "CLIENT_AUTH": name}
    assert made(**keycloak, CERTIFICATE=certificate).client_auth == TLSClientAuth(certificate)
    assert made(**keycloak).client_auth == name


def test_variables_that_do_not_fit(pair: tuple[Path, Path]) -> None:
    """The error for variables of a certificate that cannot be used names the variable, and no value."""
    certificate, key = pair
    assert refused(CERTIFICATE_KEY=key).startswith("ACME_CERTIFICATE is not set; ACME_CERTIFICATE_KEY needs it")
    text = refused(CLIENT_AUTH="client_secret_post", CLIENT_SECRET="s3cr3t", CERTIFICATE=certificate)
    assert text.startswith("ACME_CERTIFICATE needs ACME_CLIENT_AUTH=tls_client_auth or self_signed_tls_client_auth; ")
    text = refused(CLIENT_AUTH="", CERTIFICATE=certificate)
    assert text.startswith("ACME_CERTIFICATE needs ACME_CLIENT_AUTH=tls_client_auth or self_signed_tls_client_auth; ")
    text = refused(CERTIFICATE=certificate.read_text())
    assert text.startswith("ACME_CERTIFICATE must be the path of a file, not its content; ")
    text = refused(CERTIFICATE=certificate, CERTIFICATE_KEY=key.read_text())
    assert text.startswith("ACME_CERTIFICATE_KEY must be the path of a file, not its content; ")
    assert "ACME_CLIENT_AUTH tls_client_auth sends no ACME_CLIENT_SECRET" in refused(CLIENT_SECRET="s3cr3t")
    with pytest.raises(ConfigurationError, match="ACME_CA_BUNDLE contradicts ACME_API_KEY, which has no use for it"):
        from_env("ACME", {"ACME_API_KEY": "key", "ACME_CA_BUNDLE": str(certificate)})
    assert from_env("ACME", {"ACME_API_KEY": "key"}) == ApiKey("key")


def test_the_file_of_ca_bundle(pair: tuple[Path, Path]) -> None:
    """CA_BUNDLE needs a file with certificates; the grant is as without it, and no session may be given."""
    certificate, key = pair
    grant = made(CA_BUNDLE=certificate)
    assert (grant, grant.identity()) == (made(), made().identity())
    assert requests_of(grant)[0].tls.ca == str(certificate)
    files = made(CA_BUNDLE=certificate, CERTIFICATE=certificate).tls_files()
    assert (files.certificate, files.ca) == (str(certificate), str(certificate))
    assert pickle.loads(pickle.dumps(grant)).tls_files().ca == str(certificate)
    assert refused(CA_BUNDLE=f"{key}-gone") == (
        "ACME_CA_BUNDLE names a file that cannot be read (No such file or directory); check path and permissions"
    )
    assert refused(CA_BUNDLE=key).startswith("ACME_CA_BUNDLE names a file that holds no CA certificate in PEM; ")
    with requests.Session() as session, pytest.raises(ConfigurationError, match=r"^session contradicts CA_BUNDLE"):
        auth_plugins.requests.OAuth2Auth(grant, session=session)
