"""How the server starts, listens and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ikoma_play.audit.verifying import verify
from tests.parts.command import Ikoma
from tests.parts.images import run
from tests.parts.serving import Service, serving

# Says its own number, so that the test can end it, and goes on.
ENDLESS = ["sh", "-c", "echo $$ > starts; mv starts began; exec sleep 600"]


def end(began: Path) -> None:
    """End what ENDLESS left running."""
    with suppress(ProcessLookupError):
        os.kill(int(began.read_text()), signal.SIGKILL)


def refused(folder: Path, env: dict[str, str], *words: str) -> str:
    """What the command prints when it does not start; exit code 1 and nothing else is asked of it."""
    service = Service(folder, env=env)
    service.apps.mkdir(parents=True, exist_ok=True)
    service.write_env()
    done = Ikoma(folder)("serve", "--env-file", str(service.env_file), *words, expect=1, timeout=30)
    assert done.out == ""
    return done.err


def test_a_busy_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port} is in use by another program" in refused(tmp_path, {"HTTP_PORT": str(port)})


@pytest.mark.parametrize(
    ("env", "words", "said"),
    [
        ({"API_KEY_HASH": ""}, (), "there is no key that could be used"),
        ({"API_KEY_HASH": "abc"}, (), "API_KEY_HASH is no SHA-256"),
        ({"AUDIT_LOG": "/proc/audit.jsonl"}, (), "the audit log /proc/audit.jsonl cannot be written"),
        ({"HTTP_PORT": "many"}, (), "HTTP_PORT is 'many'"),
        ({"RATE_LIMIT_PER_KEY": "often"}, (), "RATE_LIMIT_PER_KEY is 'often'"),
        ({"BROKEN": "'"}, (), "does not end with it"),
        ({}, ("--env-file", "none.env"), "There is no file none.env"),
        ({}, ("--bind", "127.0.0.1:port"), "names no port"),
        ({}, ("--bind", "192.0.2.1:3000"), "the server cannot listen on 192.0.2.1:3000"),
        ({}, ("--bind", "unix:/proc/socket"), "unix:/proc/socket"),
        ({}, ("--tls-cert", "none.pem"), "none.pem cannot be read"),
        ({}, ("--tls-key", "none.pem"), "--tls-key goes with --tls-cert"),
        ({}, ("--tls-cert", ".env"), "cannot be used for TLS"),
        ({}, ("--host", "elsewhere"), "the inventory has no such host"),
        ({}, ("-i", "none.yml"), "There is no inventory none.yml"),
    ],
)
def test_what_is_wrong_at_the_start_is_told(
    tmp_path: Path, env: dict[str, str], words: tuple[str, ...], said: str
) -> None:
    told = refused(tmp_path, env, *words)
    assert said in told
    assert len(told.splitlines()) >= 2, f"no remedy is named: {told}"


def test_what_runs_is_finished_and_nothing_new_begun(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        came = []
        slow = ["sh", "-c", "touch began; sleep 2; echo done"]
        first = threading.Thread(target=lambda: came.append(service.call("command", {"argv": slow})))
        first.start()
        service.until((tmp_path / "began").exists)
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.until(lambda: any(line["event"] == "stopping" for line in service.lines))
        late = service.call("apps.list")
        assert (late.status, late.data["code"]) == (503, "stopping")
        assert "retry-after" in late.headers
        assert service.ask("GET", "/health").status == 503
        first.join()
        assert came[0].result["stdout"] == "done"
        assert service.process.wait(20) == 0
        assert [line["result"] for line in service.audited() if line["capability"] == "command"] == ["success"]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        head = f"POST /execute/command HTTP/1.0\r\nX-Api-Key: {service.key}\r\n"
        body = json.dumps({"argv": ENDLESS})
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        threading.Thread(target=lambda: service.raw(sent, timeout=30), daemon=True).start()
        service.until((tmp_path / "began").exists)
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.until(lambda: any(line["event"] == "stopping" for line in service.lines))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    end(tmp_path / "began")


def test_changing_calls_are_refused_where_they_cannot_be_written_down(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        assert service.call("apps.init", {"appName": "one"}).status == 200
        kept = service.audit_log.rename(tmp_path / "kept.jsonl")
        service.audit_log.mkdir()
        refused = service.call("apps.init", {"appName": "two"})
        assert refused.status == 500
        assert "nothing was done" in refused.data["error"]
        assert not (service.apps / "two").exists()
        assert service.call("apps.list").result == ["one"], "what only looks answers"
        service.audit_log.rmdir()
        kept.rename(service.audit_log)
        assert service.call("apps.init", {"appName": "two"}).status == 200


def test_after_a_kill_the_journal_tells_and_nothing_is_locked(tmp_path: Path) -> None:
    """In the middle of calls: one that changes an application, one that runs a command, many that look."""
    with serving(tmp_path) as service:
        service.call("apps.init", {"appName": "shop"})
        web = "services: {web: {build: ./src, init: true}}\nx-slow: 1\n"
        (service.apps / "shop/docker-compose.yml").write_text(web)
        (service.apps / "shop/src/Dockerfile").write_text("FROM nowhere.invalid/none\n")
        calls = [
            ("command", {"argv": ENDLESS}), ("deploy.up", {"appName": "shop"}), *[("apps.list", {})] * 6
        ]  # fmt: skip

        def repeat(tool: str, arguments: dict[str, object]) -> None:
            while True:
                try:
                    service.call(tool, arguments)
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=repeat, args=call, daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        service.until((tmp_path / "began").exists)
        service.until(lambda: len(service.audited()) > 20)
        service.stop(signal.SIGKILL)
        for thread in threads:
            thread.join()
        end(tmp_path / "began")

        verified = verify(service.audit_log)
        assert not verified.findings, verified
        service.start()
        runs = Ikoma(tmp_path)("runs", "list", "--json").out
        died = [found for found in json.loads(runs) if found["state"] == "died"]
        assert died, f"no run is known to have died: {runs}"
        assert service.call("deploy.down", {"appName": "shop"}).status != 409, "a lock stayed"
        assert not verify(service.audit_log).findings


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(cert),
        *subject,
    )
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    words = ("--tls-cert", str(cert), "--tls-key", str(key))
    with serving(tmp_path / "server", words=words) as service:
        body = json.dumps({"argv": ["sh", "-c", "yes 0123456789 | head -c 3000000"]})
        argv = ("curl", "--silent", "--fail", "--cacert", str(cert), "-H", f"X-Api-Key: {service.key}", "-D", "-")
        printed = run(*argv, "-d", body, f"https://localhost:{service.port}/execute/command").stdout
        head, _, answer = printed.partition("\n\n")
        assert "Strict-Transport-Security" in head
        assert len(json.loads(answer)["result"]["stdout"]) > 1_000_000, "a large answer comes whole"
        large = json.dumps({"appName": "x" * 900_000})
        (tmp_path / "large.json").write_text(large)
        sent = subprocess.run(
            [*(word for word in argv if word != "--fail"), "--data-binary", f"@{tmp_path}/large.json",
             f"https://localhost:{service.port}/execute/apps.status"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "400 Bad Request" in sent.stdout, "a large body comes whole"
        # Neither silence, nor nonsense, nor an old version in the handshake disturbs others.
        silent = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(50)]
        for connection in silent[:25]:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
        with pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(socket.create_connection(("127.0.0.1", service.port)))
        assert run(*argv, f"https://localhost:{service.port}/health").stdout.endswith("}\n")
        for connection in silent:
            connection.close()


def test_a_certificate_with_the_key_of_another(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")
    told = refused(tmp_path / "server", {}, "--tls-cert", str(cert), "--tls-key", str(other))
    assert "is not the key of" in told


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "ikoma.sock"
    words = ("--bind", f"unix:{path}", "--trusted-proxy", "unix")
    with serving(tmp_path / "server", words=words, bind=False) as service:
        argv = ("curl", "--silent", "--unix-socket", str(path), "-H", f"X-Api-Key: {service.key}")
        assert json.loads(run(*argv, "http://localhost/health").stdout)["status"] == "ok"
        assert json.loads(run(*argv, "-d", "{}", "http://localhost/execute/apps.list").stdout)["result"] == []
        assert path.stat().st_mode & 0o777 == 0o660
        run(*argv, "-H", "X-Forwarded-For: 192.0.2.7", "http://localhost/health")
        service.until(lambda: any(line.get("address") == "192.0.2.7" for line in service.lines))
        told = refused(tmp_path / "second", {}, "--bind", f"unix:{path}")
        assert "is in use" in told
        service.stop(signal.SIGKILL)
        assert path.is_socket()
        service.start()
        assert json.loads(run(*argv, "http://localhost/health").stdout)["status"] == "ok", (
            "what a kill left is replaced"
        )
        service.stop()
        assert not path.exists()


def test_only_a_trusted_proxy_is_believed(tmp_path: Path) -> None:
    for words, address in (((), "127.0.0.1"), (("--trusted-proxy", "127.0.0.1"), "192.0.2.9")):
        folder = tmp_path / str(len(words))
        with serving(folder, words=words) as service:
            service.ask("GET", "/health", headers={"X-Forwarded-For": "203.0.113.5, 192.0.2.9"})
            service.until(lambda: any(line["event"] == "request" for line in service.lines))
            assert [line["address"] for line in service.lines if line["event"] == "request"] == [address]


def test_slow_clients_hold_nobody_up(service: Service) -> None:
    slow = []
    for number in range(200):
        connection = socket.create_connection(("127.0.0.1", service.port))
        part = b"POST /execute/apps.list HTTP/1.1\r\nHost: a\r\n" + (b"Content-Le" if number % 2 else b"")
        body = b"Content-Length: 100\r\nX-Api-Key: " + service.key.encode() + b"\r\n\r\n{"
        connection.sendall(part + (body if number % 4 == 0 else b""))
        slow.append(connection)
    started = time.monotonic()
    alone = [service.call("apps.list", timeout=10).status for _ in range(20)]
    assert alone == [200] * 20
    assert time.monotonic() - started < 10, "others wait for the slow ones"
    for connection in slow:
        connection.close()


def test_with_check_nothing_is_changed(tmp_path: Path) -> None:
    with serving(tmp_path, words=("--check",)) as service:
        assert service.call("apps.init", {"appName": "shop"}).status == 200
        assert not (service.apps / "shop").exists()
        touched = tmp_path / "touched"
        assert service.call("command", {"argv": ["touch", str(touched)]}).status == 200
        assert service.call("file", {"path": str(touched), "state": "touch"}).status == 200
        assert not touched.exists()
        assert service.call("apps.list").result == []


def test_the_log_is_json_and_holds_no_key(service: Service) -> None:
    service.call("apps.list", headers={"X-Request-Id": "look-for-me"})
    service.until(lambda: any(line.get("requestId") == "look-for-me" for line in service.lines))
    line = next(line for line in service.lines if line.get("requestId") == "look-for-me")
    assert (line["method"], line["path"], line["status"], line["key"]) == (
        "POST",
        "/execute/apps.list",
        200,
        "platform",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert service.key not in json.dumps(service.lines)
