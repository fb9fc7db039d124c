"""The ways to a contact: a webhook (JSON as Slack takes it), mail, a command. What is secret of a way is never told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import StepError, Unavailable
from .contacts import Way
from .message import Message

PATIENCE = 10.0  # seconds for one attempt


class LoginRefused(Unavailable):
    """Nothing gets through until somebody corrects it, and more attempts may lock the account."""


def send(way: Way, message: Message, smtp: Mapping[str, Any]) -> None:
    """Deliver once. Raises Unavailable where nothing gets through now, StepError where this message does not."""
    ways: Mapping[str, Callable[[], None]] = {
        "webhook": lambda: _webhook(way.target, message),
        "email": lambda: _mail(way.target, message, smtp),
        "command": lambda: _command(way.target, message),
    }
    try:
        ways[way.kind]()
    except ValueError as error:  # a character that an address, a header or an environment cannot hold
        raise StepError(f"the {way.kind} cannot take this message: {error}") from None


def _webhook(url: str, message: Message) -> None:
    import http.client
    import urllib.error
    import urllib.request

    body = json.dumps(message.as_slack(), ensure_ascii=False).encode()
    try:
        place = urlsplit(url).hostname or "?"  # the rest of it lets anybody write
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:
        said = error.read(200).decode("utf-8", "replace").strip()
        kind = StepError if 400 <= error.code < 500 and error.code not in (408, 429) else Unavailable
        raise kind(
            f"the webhook on {place} answers {error.code} {said}".rstrip(), remedy="Correct the webhook's URL."
        ) from None
    except (http.client.InvalidURL, ValueError):  # whose words have the whole URL
        raise StepError("the webhook's URL makes no sense", remedy="Correct it in ikoma_contacts.") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise Unavailable(f"the webhook on {place} cannot be reached: {reason}") from None


def _mail(addresses: tuple[str, ...], message: Message, smtp: Mapping[str, Any]) -> None:
    import smtplib
    import ssl
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    host, security = str(smtp.get("host", "")), str(smtp.get("security", "none"))
    if not host or security not in ("none", "starttls", "tls"):
        raise StepError(
            "ikoma_smtp names no mail server" if not host else f"ikoma_smtp.security is {security!r}",
            remedy="Write ikoma_smtp: {host: …, port: 25, from: …, security: none|starttls|tls}.",
        )
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = str(smtp.get("from") or f"ikoma-play@{host}")
    mail["To"] = ", ".join(addresses)
    mail["Date"], mail["Message-ID"] = formatdate(localtime=True), make_msgid(domain="ikoma-play")
    mail.set_content(message.as_text())
    port = int(smtp.get("port") or {"tls": 465, "starttls": 587}.get(security, 25))
    try:
        if security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=ssl.create_default_context())
        else:
            server = smtplib.SMTP(host, port, timeout=PATIENCE)
        with server:
            if security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if smtp.get("user"):
                server.login(str(smtp["user"]), str(smtp.get("password", "")))
            server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise LoginRefused(
            f"the mail server {host}:{port} refuses the login that ikoma_smtp names, {smtp['user']}: "
            f"{_smtp_said(error)}"
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        kind = StepError if isinstance(error, (smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused)) else Unavailable
        raise kind(f"the mail server {host}:{port} did not take the mail: {_smtp_said(error)}") from None


def _smtp_said(error: Exception) -> str:
    said = getattr(error, "smtp_error", b"")
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) or str(error)


def _command(argv: tuple[str, ...], message: Message) -> None:
    """The message as JSON on standard input, its parts as IKOMA_… in the environment."""
    parts = {f"IKOMA_{name.upper()}": value for name, value in message.fields.items()}
    environment = {**os.environ, "IKOMA_TITLE": message.title, "IKOMA_SEVERITY": message.severity, **parts}
    body = json.dumps(message.as_data(), ensure_ascii=False).encode()
    try:
        done = subprocess.run(argv, input=body, env=environment, capture_output=True, timeout=PATIENCE * 3, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the command {argv[0]} did not end within {PATIENCE * 3:g} s") from None
    except OSError as error:
        raise StepError(f"the command {argv[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise StepError(f"the command {argv[0]} ended with {done.returncode}{': ' + said[0] if said else ''}")
