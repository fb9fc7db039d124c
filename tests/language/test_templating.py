"""Templates: types, errors with their place, laziness, safety; the filters, tests and lookups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import TemplateFailed
from ikoma_play.language.template_files import ABOUT, about
from ikoma_play.language.template_needs import names, needs
from ikoma_play.language.templating import OMIT, Layer, Templar, Variables, has_template
from ikoma_play.language.text import Unsafe, text_at
from ikoma_play.model import Position

VALUES = {
    "one": 1,
    "two": "{{ one + 1 }}",
    "version": "1.10",
    "words": ["b", "a", "b"],
    "d": {"k": "v", "n": {"m": [1, 2]}},
    "users": [{"name": "x", "age": 2, "keys": [1, 2]}, {"name": "y", "age": 1, "keys": []}],
    "no": "false",
    "result": {"rc": 0, "changed": True, "failed": False},
    "lazy": "{{ nowhere }}",
}


def render(text: Any, **more: Any) -> Any:
    return Templar({**VALUES, **more}).render(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("{{ one }}", 1),
        ("{{ two }}", 2),
        ("{{ version }}", "1.10"),
        ("v{{ version }}", "v1.10"),
        ("{{ one }}{{ one }}", "11"),
        ("{{ words }}", ["b", "a", "b"]),
        ("{{ words }}\n", ["b", "a", "b"]),
        ("{{ version }}\n", "1.10\n"),
        ("{{ '}}' }}", "}}"),
        ("{% if one %}yes{% endif %}", "yes"),
        ("{# nothing #}", ""),
        ("{{ none }}", None),
        ("a{{ none }}b", "ab"),
        ("{{ d.n.m[1] }}", 2),
        ("{{ d['k'] }}", "v"),
        ("{{ true }} {{ 1.5 }}", "True 1.5"),
        (["{{ one }}", {"{{ version }}": "{{ two }}"}], [1, {"1.10": 2}]),
        (5, 5),
        ("{{ words | map('upper') }}", ["B", "A", "B"]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ d.keys() }}", ["k", "n"]),
        ("{{ lazy | default('x') }}", "x"),
        ("{{ nowhere.at.all | default('x') }}", "x"),
        ("{{ d.missing.deep | default(one) }}", 1),
        ("{{ nowhere is defined }}", False),
        ("{{ lazy is defined }}", False),
        ("{{ nowhere | default(omit) }}", OMIT),
        ("{% set x = 3 %}{{ x }}", "3"),
        ("{% for w in words %}{{ w }}{% if not loop.last %},{% endif %}{% endfor %}", "b,a,b"),
        ("{% raw %}{{ one }}{% endraw %}", "{{ one }}"),
        ("{{ vars['one'] }}", 1),
        (r"{{ 'abc' | regex_replace('b(.)', '\1x') }}", "acx"),
        (r"{{ 'a.b' | regex_replace('\.', '_') }} \1", r"a_b \1"),
        (r"{% if 'a1' is match('a\d') %}yes{% endif %}", "yes"),
    ],
)
def test_rendering(text: Any, value: Any) -> None:
    got = render(text)
    assert got == value
    assert type(got) is type(value), f"{text!r} gave a {type(got).__name__}"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("one == 1 and two == 2", True),
        ("one == 2", False),
        (True, True),
        (False, False),
        (None, True),
        ("", True),
        (["one == 1", "two == 1"], False),
        (["one == 1", True], True),
        ("no", True),  # text that is not empty, whatever it says, as in Ansible 2.18
        ("no | bool", False),
        ("{{ no }}", False),
        ("{{ one == 1 }}", True),
        ("result is changed and result is succeeded", True),
        ("'b' in words", True),
        ("not nowhere is defined", True),
        ("words", True),
        ("[]", False),
    ],
)
def test_conditions(condition: Any, holds: bool) -> None:
    assert Templar(VALUES).test(condition) is holds


def test_text_of_a_host_is_no_condition() -> None:
    variables = Variables(Layer({"said": "lookup('pipe', 'touch /nowhere')"}, authored=False, foreign=True))
    with pytest.raises(TemplateFailed, match="came from a host"):
        Templar(variables).test("{{ said }}")
    assert Templar(Variables(Layer({"cond": "one == 1", "one": 1}))).test("{{ cond }}") is True


def test_what_a_template_gives_is_not_rendered_again() -> None:
    variables = Variables(Layer({"a": "{{ said }}"}), Layer({"said": "{{ 1 + 1 }}"}, authored=False, foreign=True))
    templar = Templar(variables)
    assert templar.render("{{ a }}") == "{{ 1 + 1 }}"
    assert templar.render("{{ a }}!") == "{{ 1 + 1 }}!"
    assert Templar({}).render(Unsafe("{{ 1 }}")) == "{{ 1 }}"


@pytest.mark.parametrize(
    ("text", "message", "remedy", "evidence"),
    [
        ("{{ versoin }}", "'versoin' is not defined", "version", "{{ versoin }}\n   ^"),
        ("x\n{{ users[0].nam }}", "no attribute 'nam'", "'name'", "{{ users[0].nam }}\n            ^"),
        ("{{ one | uper }}", "no filter named 'uper'", "upper", "{{ one | uper }}\n         ^"),
        ("{{ one is defned }}", "no test named 'defned'", "defined", "{{ one is defned }}\n          ^"),
        ("{{ one +", "ends where a value is wanted", "", "{{ one +"),
        ("{{ one / 0 }}", "division by zero", "", "{{ one / 0 }}"),
        ("{{ lazy }}", "'nowhere' is not defined", "", "{{ nowhere }}\n   ^"),
        ("{{ lookup('fille', 'x') }}", "no lookup 'fille'", "file", ""),
        ("{{ ''.__class__.__mro__ }}", "unsafe", "", ""),
        ("{{ 'x' | from_json }}", "not JSON", "", ""),
        ("{{ one | mandatory }}{{ nowhere | mandatory }}", "'nowhere' is not defined", "", ""),
    ],
)
def test_errors_show_the_place(text: str, message: str, remedy: str, evidence: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        render(text_at(text, Position("p.yml", 3, 5)))
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert evidence in caught.value.evidence
    if "lazy" not in text:
        assert caught.value.position == Position("p.yml", 3, 5)


def test_a_circle_of_variables_is_named() -> None:
    with pytest.raises(TemplateFailed, match="a → b → c → a"):
        Templar({"a": "{{ b }}", "b": "{{ c }}", "c": "{{ a }}"}).render("{{ a }}")


def test_a_value_is_rendered_once_for_a_step() -> None:
    templar = Templar({"chance": "{{ 1000000000 | random }}"})
    assert templar.render("{{ chance }}") == templar.render("{{ chance }}")


def test_nothing_dangerous_is_reachable() -> None:
    for attack in (
        "{{ cycler.__init__.__globals__ }}",
        "{{ [].__class__ }}",
        "{{ lookup.__globals__ }}",
        "{{ '%s' | format(x.__class__) }}",
        "{{ '{0.__class__}'.format(one) }}",
        "{{ self.__dict__ }}",
        "{{ (1).__class__.__bases__ }}",
    ):
        with pytest.raises(TemplateFailed):
            render(attack)


@pytest.mark.parametrize(
    ("text", "required", "guarded"),
    [
        ("{{ a.b[c] }} {% for x in y %}{{ x }}{% endfor %}", {"a", "c", "y"}, set()),
        ("{{ a | default(b) }} {{ c.d is defined }}", {"b"}, {"a", "c"}),
        ("{{ lookup('env', 'X') }} {{ omit }}", set(), set()),
        ("plain", set(), set()),
    ],
)
def test_free_names(text: str, required: set[str], guarded: set[str]) -> None:
    assert needs(text).required == required
    assert needs(text).guarded == guarded
    assert names(text) == required | guarded


def test_free_names_of_conditions() -> None:
    assert names("a is defined and b in c", expression=True) == {"a", "b", "c"}
    with pytest.raises(TemplateFailed):
        names("a ==", expression=True)


def test_has_template() -> None:
    assert has_template({"a": ["{{ b }}"]})
    assert has_template({"{{ k }}": 1})
    assert not has_template({"a": ["{ b }", 1, None]})
    assert not has_template(Unsafe("{{ b }}"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("{'a': 1} | to_json", '{"a": 1}'),
        ("'[1, 2]' | from_json", [1, 2]),
        ("{'b': 1, 'a': [1]} | to_nice_yaml", "a:\n- 1\nb: 1\n"),
        ("'a: [1]' | from_yaml", {"a": [1]}),
        ("{'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true)", {"a": {"x": 1, "y": 2}}),
        ("{'a': 1} | combine({'a': 2}, {'b': 3})", {"a": 2, "b": 3}),
        ("{'l': [1, 2]} | combine({'l': [2, 3]}, list_merge='append_rp')", {"l": [1, 2, 3]}),
        ("{'a': 1} | dict2items", [{"key": "a", "value": 1}]),
        ("[{'key': 'a', 'value': 1}] | items2dict", {"a": 1}),
        ("[1, [2, [3, none]]] | flatten", [1, 2, 3]),
        ("[1, [2, [3]]] | flatten(levels=1)", [1, 2, [3]]),
        ("words | unique", ["b", "a"]),
        ("[1, 2] | union([2, 3])", [1, 2, 3]),
        ("[1, 2] | intersect([2, 3])", [2]),
        ("[1, 2] | difference([2, 3])", [1]),
        ("[1, 2] | symmetric_difference([2, 3])", [1, 3]),
        ("[1, 2] | zip(['a', 'b'])", [(1, "a"), (2, "b")]),
        ("[1, 2] | product(['a'])", [(1, "a"), (2, "a")]),
        ("'abc' | regex_replace('b(.)', '\\\\1x')", "acx"),
        ("'abc 123' | regex_search('[0-9]+')", "123"),
        ("'abc 123' | regex_search('([a-z]+) ([0-9]+)', '\\\\2', '\\\\1')", ["123", "abc"]),
        ("'a1b2' | regex_findall('[0-9]')", ["1", "2"]),
        ("'a.b' | regex_escape", "a\\.b"),
        ("'hé' | b64encode | b64decode", "hé"),
        ("'x' | hash('sha256')", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("'a b' | quote", "'a b'"),
        ("'/a/b.tar.gz' | basename", "b.tar.gz"),
        ("'/a/b' | dirname", "/a"),
        ("'x.yml' | splitext", ["x", ".yml"]),
        ("['/a', 'b'] | path_join", "/a/b"),
        ("'yes' | bool", True),
        ("'off' | bool", False),
        ("true | ternary('a', 'b')", "a"),
        ("'5' | int + 1", 6),
        ("1048576 | human_readable", "1.00 MB"),
        ("'10M' | human_to_bytes", 10485760),
        ("'2026-01-02' | to_datetime('%Y-%m-%d') | string", "2026-01-02 00:00:00"),
        ("'%Y' | strftime(0, utc=true)", "1970"),
        ("users | map(attribute='name') | list", ["x", "y"]),
        ("users | selectattr('age', 'gt', 1) | map(attribute='name')", ["x"]),
        ("users | sort(attribute='age') | map(attribute='name') | join(',')", "y,x"),
        ("users | subelements('keys') | length", 2),
        ("['k', 'n'] | map('extract', d) | first", "v"),
        ("'a,b' | split(',')", ["a", "b"]),
        ("100 | random(seed='x') == 100 | random(seed='x')", True),
        ("'text' | comment", "#\n# text\n#"),
        ("5 | type_debug", "int"),
        ("[3, 1] | min", 1),
        ("'https://u@h:81/p?q' | urlsplit('port')", 81),
        ("'a' | password_hash('sha512', 'salt') | length > 80", True),
        ("'x' | to_uuid == 'x' | to_uuid", True),
        ("2 | pow(3)", 8),
        ("'1.10.1' is version('1.9', '>')", True),
        ("'1.0-rc1' is version('1.0', '<')", False),
        ("'1.0-rc1' is version('1.0', '<', version_type='semver')", True),
        ("'1.0rc1' is version('1.0', '<', version_type='pep440')", True),
        ("'1.0' is version('1.0.0', '==', version_type='semver')", True),
        ("'1.0' is version('1.0.0', '==')", False),
        ("[1] is subset([1, 2])", True),
        ("[1, 2] is superset([1])", True),
        ("'abc' is match('ab')", True),
        ("'abc' is match('b')", False),
        ("'abc' is search('b')", True),
        ("'abc' is regex('c$')", True),
        ("[1, 2] is contains(2)", True),
        ("[true, false] is any", True),
        ("[true, false] is all", False),
        ("'/' is directory and '/nowhere' is not exists", True),
        ("'no' is truthy(convert_bool=true)", False),
        ("lookup('dict', {'a': 1})", {"key": "a", "value": 1}),
        ("query('dict', {'a': 1})", [{"key": "a", "value": 1}]),
        ("query('sequence', 'start=1 end=3')", ["1", "2", "3"]),
        ("query('sequence', '0-6/3')", ["0", "3", "6"]),
        ("query('sequence', count=2, format='n%d')", ["n1", "n2"]),
        ("lookup('vars', 'version')", "1.10"),
        ("lookup('vars', 'nope', default='d')", "d"),
        ("lookup('pipe', 'echo hi')", "hi"),
        ("lookup('lines', 'printf \"a\\nb\"', wantlist=true)", ["a", "b"]),
        ("lookup('items', [1, 2])", [1, 2]),
        ("query('nested', [1, 2], ['a'])", [[1, "a"], [2, "a"]]),
        ("lookup('file', 'nowhere', errors='ignore')", None),
        ("query('subelements', users, 'keys') | first", [{"name": "x", "age": 2}, 1]),
        ("'y' | bool", False),
        ("q('varnames', '^ver')", ["version"]),
        ("lookup('ansible.builtin.env', 'IKOMA_NOWHERE', default='d')", "d"),
    ],
)
def test_filters_tests_and_lookups(expression: str, value: Any) -> None:
    assert Templar(VALUES).evaluate(expression) == value


def test_lookups_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello {{ one }}\n\n")
    (tmp_path / "b.csv").write_text("x,1\ny,2\n")
    (tmp_path / "c.ini").write_text("[s]\nk = v\n")
    find = lambda kind, name: tmp_path / name  # noqa: E731
    templar = Templar(VALUES, find)
    assert templar.evaluate("lookup('file', 'a.txt')") == "hello {{ one }}"
    assert templar.evaluate("lookup('template', 'a.txt')") == "hello 1\n\n"
    assert templar.evaluate("lookup('csvfile', 'y file=b.csv delimiter=,')") == "2"
    assert templar.evaluate("lookup('ini', 'k', section='s', file='c.ini')") == "v"
    kept = tmp_path / "kept"
    first = templar.evaluate(f"lookup('password', '{kept} length=12')")
    assert len(first) == 12
    assert templar.evaluate(f"lookup('password', '{kept} length=12')") == first
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_environment_is_looked_up_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKOMA_TEST", "here")
    assert render("{{ lookup('env', 'IKOMA_TEST') }}") == "here"
    assert "IKOMA_TEST" in os.environ


def test_what_is_known_of_a_template_file() -> None:
    assert {*about(Path(__file__)), "template_destpath"} == ABOUT


def test_template_files(tmp_path: Path) -> None:
    (tmp_path / "main.j2").write_text("{% include 'part.j2' %}{% from 'lib.j2' import f with context %}{{ f(2) }}\n")
    (tmp_path / "part.j2").write_text("{% for w in words %}\n[{{ w }} {{ two }}]\n{% endfor %}\n")
    (tmp_path / "lib.j2").write_text("{% macro f(x) %}<{{ x }} {{ version }}>{% endmacro %}")
    (tmp_path / "wrong.j2").write_text("fine\n\n{{ versoin }}\n")
    (tmp_path / "other.j2").write_text("<< one >> {{ one }}\n")
    templar = Templar(VALUES)
    assert templar.render_file(tmp_path / "main.j2") == "[b 2]\n[a 2]\n[b 2]\n<2 1.10>\n"
    options = {"variable_start_string": "<<", "variable_end_string": ">>"}
    assert templar.render_file(tmp_path / "other.j2", options) == "1 {{ one }}\n"
    with pytest.raises(TemplateFailed) as caught:
        templar.render_file(tmp_path / "wrong.j2")
    assert caught.value.position == Position(str(tmp_path / "wrong.j2"), 3)
    assert "version" in caught.value.remedy
