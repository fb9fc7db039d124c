"""The same playbook text here and in Ansible: exit code, counts by host, what debug said, files and their modes."""

from __future__ import annotations

import email
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.beside import HERE, Ansible, ours
from tests.engine import golden
from tests.parts.chance import LONG, half

STORIES = ("outsiders", "outsiders_more", "large", "background", "tools")  # which take Ansible long


def cases() -> Iterator[Any]:
    """The engine's golden cases that Ansible has too, and those that are here to be compared."""
    for name, case in golden.cases():
        if case.get("ansible", True):
            yield pytest.param(case, id=f"engine/{name}")
    for path in sorted((HERE / "cases").glob("*.yml")):
        found = [case for case in yaml.safe_load_all(path.read_text(encoding="utf-8")) if LONG or not case.get("long")]
        for case in half(found) if path.stem in STORIES else found:
            yield pytest.param(case, id=f"{path.stem}: {case['name']}")


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    found = Ansible(tmp_path_factory.mktemp("ansible"))
    yield found
    found.close()


@pytest.mark.parametrize("case", list(cases()))
def test_the_same_as_ansible(case: dict[str, Any], ansible: Ansible, tmp_path: Path) -> None:
    with pages() if case.get("server") else nullcontext("") as url:
        compare({**case, "playbook": case["playbook"].replace("URL", url)}, ansible, tmp_path)


def compare(case: dict[str, Any], ansible: Ansible, tmp_path: Path) -> None:
    theirs = ansible(tmp_path / "case", case)
    found = ours(tmp_path / "case", case)
    if case.get("ansible") == "unordered":
        for said in (*theirs.said.values(), *found.said.values()):
            said.sort()
    differ = [name for name in ("code", "hosts", "said", "files") if getattr(found, name) != getattr(theirs, name)]
    assert not differ, "\n".join(
        [f"{name}: here {getattr(found, name)}\n  in Ansible {getattr(theirs, name)}" for name in differ]
        + [f"failed here:\n{found.log}", f"Ansible said:\n{theirs.log}"]
    )


class Forms(http.server.BaseHTTPRequestHandler):
    """A few pages; and answers with the fields of the form that it is sent, whatever its boundary."""

    def do_GET(self) -> None:
        found = {"/a": b"one\ntwo\n", "/b": b"b\nB"}.get(self.path)
        self._answer(b"" if found is None else found, "text/plain", 200 if found is not None else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = email.message_from_bytes(b"Content-Type: %b\r\n\r\n%b" % (self.headers["Content-Type"].encode(), body))
        told = json.dumps([
            [part.get_param("name", header="content-disposition"), part.get_filename(), part.get_content_type(),
             part.get_payload(decode=True).decode().strip()]
            for part in form.get_payload()
        ]).encode()  # fmt: skip
        self._answer(told, "application/json")

    def _answer(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def pages() -> Iterator[str]:
    """A server of a few pages, and of what it is sent; gives its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forms) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_forms_with_files_are_the_same(ansible: Ansible, tmp_path: Path) -> None:
    with pages() as url:
        fields = "{word: text, file: {filename: f.txt}, made: {filename: a.json, content: '{}', mime_type: a/b}}"
        case = {"playbook": f"""
- hosts: h1
  tasks:
    - uri: {{url: "{url}", method: POST, body_format: form-multipart, body: {fields}}}
      register: r
    - debug: {{msg: "{{{{ r.json }}}}"}}
""", "files": {"files/f.txt": "in the file\n"}}  # fmt: skip
        assert ours(tmp_path / "case", case) == ansible(tmp_path / "case", case)


def test_whole_templates_keep_their_types_as_in_native_ansible(tmp_path: Path) -> None:
    values = ("3", "1.5", "true", "[1]", "{'a': none}", "'text'", "('a', 1) | list", "'yes'", "n + 1", "none")
    show = [{"debug": {"msg": "{{ x | default('', true) }} {{ x | type_debug }}"}, "vars": {"x": f"{{{{ {value} }}}}"}}
            for value in (*values, "'1.10'", "'[1]'")]  # fmt: skip
    case = {"playbook": json.dumps([{"hosts": "h1", "vars": {"n": "{{ 3 }}"}, "tasks": show}])}
    native = Ansible(tmp_path / "ansible", ANSIBLE_JINJA2_NATIVE="1")
    try:
        here, there = ours(tmp_path / "case", case).said["h1"], native(tmp_path / "case", case).said["h1"]
    finally:
        native.close()
    assert here[: len(values)] == there[: len(values)]
    assert here[len(values) :] == ["1.10 str", "[1] str"], "text stays text here"
    assert there[len(values) :] == ["1.1 float", "[1] list"], "the README says how native Ansible differs"


def test_there_are_enough_of_them() -> None:
    assert len(list(cases())) >= 150
