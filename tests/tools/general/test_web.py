"""uri and get_url against a real server on this machine."""

from __future__ import annotations

import email
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import FaultsFound, StepError, TimedOut, Unavailable, Unhealthy
from ikoma_play.model import Host, Outcome, Progress, Status
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness

FILE = os.urandom(700_000)


class Answers(http.server.BaseHTTPRequestHandler):
    """Says what it was asked, or what the path says it shall say."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size).decode()
        word, _, rest = self.path.strip("/").partition("/")
        if word == "status":
            self.say(int(rest), f"status {rest}".encode())
        elif word == "redirect":
            self.say(302, b"", Location=f"/{rest}")
        elif word == "elsewhere":
            self.say(302, b"", Location=f"http://localhost:{self.server.server_address[1]}/{rest}")
        elif word == "file":
            self.say(200, FILE, "application/octet-stream", **{"Content-Disposition": 'attachment; filename="a/b.bin"'})
        elif word == "sums":
            self.say(200, f"{hashlib.sha256(FILE).hexdigest()}  file\n0000  other\n".encode(), "text/plain")
        elif word == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        elif word == "slow":
            threading.Event().wait(20)
        elif word == "latin":
            self.say(200, "é".encode("latin-1"), "text/plain; charset=iso-8859-1")
        elif word == "cookie":
            self.say(200, b"{}", "application/json", **{"Set-Cookie": "a=1; Path=/"})
        else:
            told = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
            self.say(200, json.dumps(told).encode(), "application/json", **{"X-Two-Words": "here"})

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def say(self, status: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serving(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    yield from serving()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made, "-out", f"{made}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_bytes(made.read_bytes() + Path(f"{made}.crt").read_bytes())
    return made


@pytest.fixture(scope="module")
def secure_web(certificate: Path) -> Iterator[str]:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(certificate)
    yield from serving(settings)


def uri(tmp_path: Path, **arguments: Any) -> Outcome:
    return harness.call(LocalTransport(Host("here")), harness.RunScope(tmp_path), "uri", arguments)


def get_url(tmp_path: Path, **arguments: Any) -> Outcome:
    return harness.call(LocalTransport(Host("here")), harness.RunScope(tmp_path), "get_url", arguments)


def test_an_answer_in_json(web: str, tmp_path: Path) -> None:
    outcome = uri(tmp_path, url=f"{web}/a/b?c=d e", headers={"X-Mine": 3})
    result = outcome.result
    assert outcome.status is Status.OK and "content" not in result
    assert (result["status"], result["content_type"], result["x_two_words"]) == (200, "application/json", "here")
    assert result["json"]["path"] == "/a/b?c=d%20e" and result["json"]["headers"]["X-Mine"] == "3"
    assert result["redirected"] is False and result["msg"].startswith("OK (")


def test_the_content_in_its_own_encoding(web: str, tmp_path: Path) -> None:
    assert uri(tmp_path, url=f"{web}/latin", return_content=True).result["content"] == "é"


@pytest.mark.parametrize(
    ("body", "form", "sent", "kind"),
    [
        ({"a": [1, "é"]}, "json", '{"a": [1, "\\u00e9"]}', "application/json"),
        ('{"a": 1}', "json", '{"a": 1}', "application/json"),
        ({"a": "x y", "b": ["1", "2"]}, "form-urlencoded", "a=x+y&b=1&b=2", "application/x-www-form-urlencoded"),
        ("as it is", "raw", "as it is", None),
    ],
)
def test_bodies(web: str, tmp_path: Path, body: Any, form: str, sent: str, kind: str | None) -> None:
    told = uri(tmp_path, url=web, method="POST", body=body, body_format=form).result["json"]
    assert (told["method"], told["body"]) == ("POST", sent)
    assert told["headers"].get("Content-Type") == kind


def test_a_form_with_files(web: str, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("of the file")
    form = {
        "word": "text é", "number": 3, "file": {"filename": "f.txt"}, "made": {"filename": "a.json", "content": "{}"},
        "coded": {"content": "x y", "mime_type": "text/x", "multipart_encoding": "base64"},
    }  # fmt: skip
    told = uri(tmp_path, url=web, method="POST", body=form, body_format="form-multipart").result["json"]
    head = f"Content-Type: {told['headers']['Content-Type']}\n\n"
    found = email.message_from_string(head + told["body"])
    fields = {part.get_param("name", header="content-disposition"): part for part in found.get_payload()}
    assert list(fields) == ["coded", "file", "made", "number", "word"]
    assert [fields[name].get_payload(decode=True).decode() for name in ("number", "file", "made", "coded")] == [
        "3", "of the file", "{}", "x y"
    ]  # fmt: skip
    assert (fields["file"].get_filename(), fields["file"].get_content_type()) == ("f.txt", "text/plain")
    assert (fields["made"].get_filename(), fields["made"].get_content_type()) == ("a.json", "application/json")
    for wrong, said in (
        ("text", "wants a mapping"), ({"a": {"file": "x"}}, "knows no 'file'"), ({"a": {}}, "neither filename"),
        ({"a": {"filename": "nowhere"}}, "nowhere"),
        ({"a": {"content": "", "multipart_encoding": "x"}}, "multipart_encoding"),
    ):  # fmt: skip
        with pytest.raises(StepError, match=said):
            uri(tmp_path, url=web, method="POST", body=wrong, body_format="form-multipart")


def test_a_file_as_the_body(web: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    assert uri(tmp_path, url=web, method="PUT", src="f").result["json"]["body"] == "content"


def test_another_status_is_unhealthy(web: str, tmp_path: Path) -> None:
    with pytest.raises(Unhealthy, match=r"answered 503 .*, not 200") as caught:
        uri(tmp_path, url=f"{web}/status/503")
    assert caught.value.evidence == "status 503"
    assert caught.value.returned["status"] == 503 and caught.value.returned["content"] == "status 503"


def test_statuses_that_are_good(web: str, tmp_path: Path) -> None:
    for good in ([404, 503], "404, 503", 503):
        assert uri(tmp_path, url=f"{web}/status/503", status_code=good).status is Status.OK


def test_redirects(web: str, tmp_path: Path) -> None:
    result = uri(tmp_path, url=f"{web}/redirect/redirect/there").result
    assert result["json"]["path"] == "/there" and result["url"] == f"{web}/there" and result["redirected"]
    assert uri(tmp_path, url=f"{web}/redirect/x", follow_redirects="none", status_code=302).result["status"] == 302
    assert uri(tmp_path, url=f"{web}/redirect/x", method="POST", status_code=302).result["status"] == 302
    told = uri(tmp_path, url=f"{web}/redirect/x", method="POST", body="b", follow_redirects="all").result["json"]
    assert (told["method"], told["body"]) == ("GET", "")


def test_credentials_do_not_follow_to_another_server(web: str, tmp_path: Path) -> None:
    mine = {"url_username": "me", "url_password": "canary"}
    assert "Authorization" in uri(tmp_path, url=f"{web}/redirect/x", **mine).result["json"]["headers"]
    assert "Authorization" not in uri(tmp_path, url=f"{web}/elsewhere/x", **mine).result["json"]["headers"]


def test_a_password_in_the_address_is_shown_nowhere(web: str, tmp_path: Path) -> None:
    address = web.replace("//", "//me:canary@")
    result = uri(tmp_path, url=address).result
    assert result["json"]["headers"]["Authorization"].startswith("Basic ") and "canary" not in result["url"]
    with pytest.raises(Unhealthy) as caught:
        uri(tmp_path, url=f"{address}/status/500")
    assert "canary" not in caught.value.message


def test_cookies(web: str, tmp_path: Path) -> None:
    result = uri(tmp_path, url=f"{web}/cookie").result
    assert (result["cookies"], result["cookies_string"]) == ({"a": "1"}, "a=1")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match="connection refused") as caught:
        uri(tmp_path, url=f"http://127.0.0.1:{port}/")
    assert caught.value.returned["status"] == -1 and caught.value.remedy


def test_it_takes_too_long(web: str, tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="did not answer"):
        uri(tmp_path, url=f"{web}/slow", timeout=0.3)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/", "http://", "http://x:port/", "file:///etc/passwd"])
def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="not a URL"):
        uri(tmp_path, url=url)


def test_certificates_are_checked(secure_web: str, certificate: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="not trusted") as caught:
        uri(tmp_path, url=secure_web)
    assert "ca_path" in caught.value.remedy
    assert uri(tmp_path, url=secure_web, validate_certs=False).status is Status.OK
    assert uri(tmp_path, url=secure_web, ca_path=f"{certificate}.crt").status is Status.OK


def test_the_answer_in_a_file(web: str, tmp_path: Path) -> None:
    outcome = uri(tmp_path, url=f"{web}/status/200", dest=f"{tmp_path}/out", mode="0600")
    assert outcome.status is Status.CHANGED and (tmp_path / "out").read_text() == "status 200"
    assert uri(tmp_path, url=f"{web}/status/200", dest=f"{tmp_path}/out", mode="0600").status is Status.OK


def test_creates_and_removes(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    assert uri(tmp_path, url="http://127.0.0.1:1/", creates=f"{tmp_path}/there").status is Status.OK
    assert uri(tmp_path, url="http://127.0.0.1:1/", removes=f"{tmp_path}/gone").status is Status.OK


def test_nothing_is_asked_in_a_check(tmp_path: Path) -> None:
    on = DryTransport(LocalTransport(Host("here")))
    outcome = harness.call(on, harness.RunScope(tmp_path), "uri", {"url": "http://127.0.0.1:1/", "method": "POST"})
    assert outcome.status is Status.SKIPPED


def test_arguments_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(FaultsFound, match="body_format"):
        uri(tmp_path, url="http://x/", body_format="xml")


# --- get_url ---------------------------------------------------------------------------------------


def test_get_url_reads_no_device(tmp_path: Path) -> None:
    """One that has no end would be read for ever, to be compared."""
    with pytest.raises(StepError, match="not a regular file"):
        get_url(tmp_path, url="http://127.0.0.1:1/x", dest="/dev/zero", checksum=f"sha256:{'0' * 64}")


def test_a_download(web: str, tmp_path: Path) -> None:
    on = LocalTransport(Host("here"))
    told: list[Progress] = []
    on.progress = told.append
    arguments = {"url": f"{web}/file", "dest": f"{tmp_path}/f", "mode": "0640"}
    outcome = harness.call(on, harness.RunScope(tmp_path), "get_url", arguments)
    assert outcome.status is Status.CHANGED and (tmp_path / "f").read_bytes() == FILE
    assert outcome.result["mode"] == "0640" and outcome.result["checksum_dest"] == hashlib.sha1(FILE).hexdigest()
    assert told[-1].done == told[-1].total == len(FILE)
    assert get_url(tmp_path, **arguments).status is Status.OK, "it was there already"
    assert get_url(tmp_path, **arguments, force=True).status is Status.OK, "it is the same"


def test_a_download_into_a_directory_gets_a_name_and_no_path(web: str, tmp_path: Path) -> None:
    assert get_url(tmp_path, url=f"{web}/file", dest=str(tmp_path)).result["dest"] == f"{tmp_path}/b.bin"


def test_checksums(web: str, tmp_path: Path) -> None:
    right = f"sha256:{hashlib.sha256(FILE).hexdigest()}"
    with pytest.raises(StepError, match="gave a file with the sha256"):
        get_url(tmp_path, url=f"{web}/file", dest=f"{tmp_path}/f", checksum="sha256:00ff")
    assert not (tmp_path / "f").exists(), "a file with a wrong checksum was left"
    (tmp_path / "f").write_text("something else")
    assert get_url(tmp_path, url=f"{web}/file", dest=f"{tmp_path}/f", checksum=right).status is Status.CHANGED
    assert get_url(tmp_path, url=f"{web}/file", dest=f"{tmp_path}/f", checksum=right).status is Status.OK
    listed = f"sha256:{web}/sums"
    assert get_url(tmp_path, url=f"{web}/file", dest=f"{tmp_path}/g", checksum=listed).status is Status.CHANGED


def test_a_download_that_fails_leaves_what_was_there(web: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    for path in ("status/404", "short"):
        with pytest.raises(StepError):
            get_url(tmp_path, url=f"{web}/{path}", dest=f"{tmp_path}/f", force=True)
    assert (tmp_path / "f").read_text() == "old" and [each.name for each in tmp_path.iterdir()] == ["f"]


def test_a_download_in_a_check(web: str, tmp_path: Path) -> None:
    on = DryTransport(LocalTransport(Host("here")))
    outcome = harness.call(on, harness.RunScope(tmp_path), "get_url", {"url": f"{web}/file", "dest": f"{tmp_path}/f"})
    assert outcome.status is Status.CHANGED and list(tmp_path.iterdir()) == []
