"""Mail to real SMTP servers: STARTTLS, TLS from the start, a login; a wrong certificate, a wrong password."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.parts.command import Ikoma
from tests.parts.platform import free_port
from tests.parts.receivers import Mails

PASSWORD = "canary-of-smtp-4711"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, and its key."""
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(place / "key.pem"), "-out", str(place / "mail.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return place / "mail.pem"


class Secured(Mails):
    """A mail server that takes mail after a login only; `logins` are the users who tried."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[str] = []

    def judge(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data.login.decode())
        right = data.password == PASSWORD.encode()
        return AuthResult(success=right, handled=right)  # what is not handled, the server answers


@contextmanager
def secured(certificate: Path, implicit: bool) -> Iterator[tuple[Secured, int]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    mails, port = Secured(), free_port()
    tls: dict[str, Any] = {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
    controller = Controller(
        mails, hostname="127.0.0.1", port=port, authenticator=mails.judge, auth_required=True,
        auth_require_tls=not implicit, **tls,
    )  # fmt: skip
    controller.start()
    try:
        yield mails, port
    finally:
        controller.stop()


class Mailing:
    """A folder whose inventory tells somebody by mail."""

    def __init__(self, folder: Path, trusted: Path | None, **smtp: Any) -> None:
        self.folder = folder
        environment = {"SSL_CERT_FILE": str(trusted)} if trusted else {}
        self.ikoma = Ikoma(folder, environment)
        self.write(**smtp)

    def write(self, **smtp: Any) -> None:
        host = {
            "ansible_connection": "local", "ikoma_team": ["devs"],
            "ikoma_contacts": {"devs": {"email": "devs@example.org"}},
            "ikoma_smtp": {"host": "localhost", "user": "ikoma", "password": PASSWORD, **smtp},
        }  # fmt: skip
        (self.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))

    def tell(self) -> dict[str, Any]:
        """What the tool answers; its password is in nothing that it leaves."""
        done = self.ikoma("exec", "platform.notify", "message=v2 is out", "-i", "hosts.yml")
        kept = b"".join(path.read_bytes() for path in (self.folder / ".ikoma").iterdir())
        assert PASSWORD not in done.text and PASSWORD.encode() not in kept, "the password was told"
        answer: dict[str, Any] = json.loads(done.out)
        return answer | {"said": done.text}


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_after_a_login(tmp_path: Path, certificate: Path, security: str) -> None:
    with secured(certificate, security == "tls") as (mails, port):
        told = Mailing(tmp_path, certificate, port=port, security=security).tell()
    ((to, mail),) = mails.received
    assert to == ["devs@example.org"] and "v2 is out" in mail["Subject"] and mails.logins == ["ikoma"], told
    assert told["sent"] == ["devs by email"] and told["waiting"] == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_gets_neither_password_nor_mail(
    tmp_path: Path, certificate: Path, security: str
) -> None:
    with secured(certificate, security == "tls") as (mails, port):
        site = Mailing(tmp_path, None, port=port, security=security)
        told = site.tell()
        assert told["waiting"] == ["devs"] and "certificate verify failed" in told["said"], told
        site.write(port=port, security=security, host="127.0.0.1")  # trusted, and of another name
        site.ikoma = Ikoma(tmp_path, {"SSL_CERT_FILE": str(certificate)})
        other = site.ikoma("notifications", "send", "-i", "hosts.yml", expect=2).text
        assert "certificate verify failed" in other and "127.0.0.1" in other, other
    assert not mails.logins and not mails.received


def test_a_login_that_is_refused_is_told_and_the_mail_waits(tmp_path: Path, certificate: Path) -> None:
    with secured(certificate, implicit=False) as (mails, port):
        site = Mailing(tmp_path, certificate, port=port, security="starttls", password="canary-that-is-wrong")
        told = site.tell()
        assert (
            told["waiting"] == ["devs"] and "refuses the login that ikoma_smtp names, ikoma: 5.7.8" in told["said"]
        ), told
        assert mails.logins == ["ikoma"] * 2, "asked once, in the two ways that the server offers"
        assert "canary-that-is-wrong" not in told["said"] + site.ikoma("notifications", "list", "--json").out
        plain = Mailing(tmp_path, certificate, port=port, security="none")
        refused = plain.ikoma("notifications", "send", "-i", "hosts.yml", expect=2).text
        assert "did not take the mail" in refused and len(mails.logins) == 2, refused
        site.write(port=port, security="starttls")
        site.ikoma("notifications", "send", "-i", "hosts.yml")
        assert len(mails.received) == 1
        assert "Nothing waits" in site.ikoma("notifications", "send", "-i", "hosts.yml").text
