"""What a playbook becomes: steps in the order they run, with everything that plays, roles and blocks hand down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import FaultsFound
from ikoma_play.language import load_playbook, load_role, load_steps
from ikoma_play.language.text import Unsafe, Vaulted
from ikoma_play.model import Become, Block, Loop, Node, Playbook, Retry, Step
from ikoma_play.tool import Toolbox

Read = Callable[..., Playbook]


def steps(nodes: Sequence[Node]) -> Iterator[Step]:
    for node in nodes:
        if isinstance(node, Block):
            yield from steps((*node.steps, *node.rescue, *node.always))
        else:
            yield node


def one(playbook: Playbook) -> Step:
    return next(iter(steps(playbook.plays[0].steps)))


def messages(nodes: Sequence[Node]) -> list[str]:
    """What the debug steps say, and where handlers run."""
    return [step.args.get("msg", step.args.get("do", step.tool)) for step in steps(nodes)]


def test_parts_run_in_ansibles_order(read: Read) -> None:
    playbook = read(
        """
- hosts: all
  post_tasks: [debug: {msg: post}]
  tasks: [debug: {msg: own}]
  roles: [r]
  pre_tasks: [debug: {msg: pre}]
""",
        roles__r__tasks__main_yml="",
        **{"roles/r/tasks/main.yml": "- debug: {msg: role}\n"},
    )
    play = playbook.plays[0]
    assert messages(play.steps) == ["pre", "flush_handlers", "role", "own", "flush_handlers", "post", "flush_handlers"]
    phases = [step.phase for step in steps(play.steps) if step.tool == "debug"]
    assert phases == ["pre_tasks", "r", "steps", "post_tasks"]


def test_keywords_are_handed_down(read: Read) -> None:
    step = one(
        read(
            """
- hosts: all
  become: yes
  become_user: app
  tags: play
  no_log: true
  connection: local
  environment: {A: 1}
  vars: {p: 1}
  tasks:
    - block:
        - block:
            - debug:
              when: third
              become_user: other
              tags: [inner, more]
              vars: {s: 1}
              environment: {C: 3}
              no_log: false
          when: second
          vars: {b: 2}
          ignore_errors: yes
      when: [first, also]
      tags: outer
      environment: {B: 2}
      delegate_to: elsewhere
"""
        )
    )
    assert step.when == ("first", "also", "second", "third")
    assert step.tags == {"play", "outer", "inner", "more"}
    assert step.become == Become(True, "other")
    assert step.vars == ({"b": 2}, {"s": 1})
    assert step.environment == ({"A": 1}, {"B": 2}, {"C": 3})
    assert (step.no_log, step.ignore_errors, step.delegate_to, step.connection) == (False, True, "elsewhere", "local")


def test_every_keyword_of_a_step_lands_in_the_model(read: Read) -> None:
    step = one(
        read(
            """
- hosts: all
  tasks:
    - name: All of it
      command: ls
      register: out
      loop: "{{ list }}"
      loop_control: {loop_var: each, index_var: n, label: x, pause: 2, extended: yes, break_when: done}
      until: out.rc == 0
      retries: "4"
      delay: 2
      backoff: 1.5
      timeout: 30
      failed_when: [a, b]
      changed_when: false
      notify: [one, "two, three"]
      run_once: true
      async: 60
      poll: 0
      throttle: 2
      check_mode: no
      diff: yes
      any_errors_fatal: true
      ignore_unreachable: true
      delegate_facts: true
      rollback: [{debug: {msg: x}}]
"""
        )
    )
    assert step.name == "All of it" and step.register == "out"
    loop = step.loop
    assert isinstance(loop, Loop)
    assert (loop.kind, loop.items, loop.var, loop.index_var) == ("loop", "{{ list }}", "each", "n")
    assert (loop.label, loop.pause, loop.extended, loop.break_when) == ("x", 2, True, ("done",))
    assert step.retry == Retry(4, 2, ("out.rc == 0",), 1.5)
    assert (step.timeout, step.failed_when, step.changed_when) == (30, ("a", "b"), (False,))
    assert step.notify == ("one", "two, three")
    assert (step.run_once, step.async_seconds, step.poll, step.throttle) == (True, 60, 0, 2)
    assert (step.check_mode, step.diff, step.any_errors_fatal) == (False, True, True)
    assert (step.ignore_unreachable, step.delegate_facts) == (True, True)


def test_every_keyword_of_a_play_lands_in_the_model(read: Read) -> None:
    play = read(
        """
- name: Everything
  hosts: [web, db]
  gather_facts: no
  serial: [1, "50%"]
  strategy: ansible.builtin.free
  order: sorted
  max_fail_percentage: 30
  any_errors_fatal: yes
  force_handlers: yes
  lock: deploy-{{ app }}
  rollback_scope: all
  rollback: [debug: {msg: undo}]
  vars: {a: 1}
  vars_files: [v.yml]
  vars_prompt: [{name: who, prompt: Who?, private: no}]
  gather_subset: min
  steps: []
""",
        **{"v.yml": "b: 1\n"},
    ).plays[0]
    assert (play.name, play.hosts, play.gather_facts, play.serial) == ("Everything", ["web", "db"], False, [1, "50%"])
    assert (play.strategy, play.order, play.max_fail_percentage) == ("free", "sorted", 30)
    assert (play.any_errors_fatal, play.force_handlers, play.rollback_scope) == (True, True, "all")
    assert play.lock == "deploy-{{ app }}" and play.vars == {"a": 1} and play.vars_files == ("v.yml",)
    assert play.vars_prompt == ({"name": "who", "prompt": "Who?", "private": False},)
    assert isinstance(play.rollback, tuple) and messages(play.rollback) == ["undo"]
    assert play.keywords["gather_subset"] == ("min",)


@pytest.mark.parametrize(
    ("written", "tool", "args"),
    [
        ("debug:", "debug", {}),
        ("debug: msg=hello", "debug", {"msg": "hello"}),
        ("debug: msg='a b' var=c", "debug", {"msg": "a b", "var": "c"}),
        ("debug: msg=\"{{ a | default('x y') }}\"", "debug", {"msg": "{{ a | default('x y') }}"}),
        ("ansible.builtin.debug: {msg: a}", "debug", {"msg": "a"}),
        ("ansible.legacy.command: ls", "command", {"cmd": "ls"}),
        ("command: echo hi chdir=/tmp", "command", {"cmd": "echo hi", "chdir": "/tmp"}),
        ("command: chdir=/tmp dd if=a of=b", "command", {"cmd": "dd if=a of=b", "chdir": "/tmp"}),
        ("command: echo 'chdir=/tmp'", "command", {"cmd": "echo 'chdir=/tmp'"}),
        ("command: echo don't", "command", {"cmd": "echo don't"}),
        ("command: {argv: [a, b]}", "command", {"argv": ["a", "b"]}),
        ("command: |\n        a\n          b\n", "command", {"cmd": "a\n  b\n"}),
        ("command: ls\n      args: {chdir: /x}", "command", {"cmd": "ls", "chdir": "/x"}),
        ("command: ls\n      args: chdir=/x", "command", {"cmd": "ls", "chdir": "/x"}),
        ("copy: src=a dest=b", "copy", {"src": "a", "dest": "b"}),
        ("set_fact: a=1 b={{ c }}", "set_fact", {"a": "1", "b": "{{ c }}"}),
        ("action: copy src=a dest=b", "copy", {"src": "a", "dest": "b"}),
        ("action: {module: copy, src: a, dest: b}", "copy", {"src": "a", "dest": "b"}),
        ("local_action: command ls", "command", {"cmd": "ls"}),
        ("include_tasks: x.yml", "include_tasks", {"file": "x.yml"}),
        ("meta: noop", "meta", {"do": "noop"}),
    ],
)
def test_ways_to_write_a_call(read: Read, written: str, tool: str, args: dict[str, Any]) -> None:
    step = one(read(f"- hosts: all\n  tasks:\n    - {written}\n"))
    assert (step.tool, dict(step.args)) == (tool, args)


def test_a_local_action_runs_here(read: Read) -> None:
    assert one(read("- hosts: all\n  tasks: [local_action: command ls]\n")).delegate_to == "localhost"


@pytest.mark.parametrize("kind", ["items", "dict", "sequence", "together", "nested", "subelements", "first_found"])
def test_older_loops(read: Read, kind: str) -> None:
    loop = one(read(f"- hosts: all\n  tasks:\n    - debug:\n      with_{kind}: [1, 2]\n")).loop
    assert loop is not None and (loop.kind, loop.items) == (kind, [1, 2])


def test_blocks_nest_and_keep_their_parts(read: Read) -> None:
    block = (
        read(
            """
- hosts: all
  tasks:
    - name: Outer
      block: [debug: {msg: a}]
      rescue: [debug: {msg: b}, block: [debug: {msg: c}], always: [debug: {msg: d}]]
      atomic: yes
      rollback: [debug: {msg: e}]
""".replace("debug: {msg: b}, block", "{debug: {msg: b}}, {block").replace("{msg: d}]]", "{msg: d}]}]")
        )
        .plays[0]
        .steps[0]
    )
    assert isinstance(block, Block) and block.name == "Outer" and block.atomic is True
    assert messages(block.steps) == ["a"]
    assert messages(block.rescue) == ["b", "c", "d"]
    assert isinstance(block.rollback, tuple) and messages(block.rollback) == ["e"]


def test_rollback_handlers_inherit_but_for_conditions(read: Read) -> None:
    step = one(
        read(
            """
- hosts: all
  become: yes
  tasks:
    - debug:
      when: only_now
      vars: {a: 1}
      rollback:
        debug: {msg: undo}
"""
        )
    )
    assert isinstance(step.rollback, tuple)
    [undo] = steps(step.rollback)
    assert undo.when == () and undo.become.enabled is True and undo.vars == ({"a": 1},)


def test_imports_vanish_and_hand_down(read: Read) -> None:
    playbook = read(
        """
- hosts: all
  tasks:
    - import_tasks: more.yml
      when: a
      vars: {x: 1}
      tags: t
    - import_tasks: file=sub/deep.yml
    - import_tasks: "{{ playbook_dir }}/more.yml"
""",
        **{
            "more.yml": "- debug: {msg: more}\n  when: b\n",
            "sub/deep.yml": "- import_tasks: beside.yml\n",
            "sub/beside.yml": "- debug: {msg: beside}\n",
        },
    )
    found = list(steps(playbook.plays[0].steps))
    assert messages(found) == ["more", "beside", "more", "flush_handlers", "flush_handlers"]
    assert (found[0].when, found[0].vars, found[0].tags) == (("a", "b"), ({"x": 1},), {"t"})
    assert str(found[0].position) == "more.yml:1:3"
    assert len(playbook.files) == 4


def test_import_playbook(read: Read) -> None:
    playbook = read(
        "- import_playbook: sub/other.yml\n  vars: {a: 2}\n  when: c\n  tags: t\n- hosts: web\n  tasks: []\n",
        **{
            "sub/other.yml": "- hosts: db\n  vars: {a: 1, b: 1}\n  roles: [near]\n",
            "sub/roles/near/tasks/main.yml": "- debug: {msg: near}\n",
        },
    )
    first, second = playbook.plays
    assert (first.hosts, second.hosts) == ("db", "web")
    assert first.vars == {"a": 2, "b": 1}
    step = next(iter(steps(first.steps)))
    assert step.when == ("c",) and step.tags == {"t"}


ROLE_FILES = {
    "roles/web/tasks/main.yml": "- debug: {msg: web}\n  notify: reload\n",
    "roles/web/tasks/other.yml": "- debug: {msg: other}\n",
    "roles/web/handlers/main.yml": "- name: reload\n  debug: {msg: handler}\n",
    "roles/web/defaults/main.yml": "port: 80\n",
    "roles/web/vars/main/a.yml": "kept: 1\n",
    "roles/web/vars/main/b.yml": "kept: 2\n",
    "roles/web/meta/main.yml": "dependencies:\n  - role: base\n    level: 3\n  - base\n",
    "roles/base/tasks/main.yaml": "- debug: {msg: base}\n",
}


def test_a_role_brings_everything_of_its_own(read: Read) -> None:
    playbook = read(
        """
- hosts: all
  roles:
    - role: web
      name: The web server
      when: a
      tags: t
      vars: {kept: 0, given: 1}
      workers: 4
      rollback: [debug: {msg: undo}]
  handlers: [{name: own, debug: {msg: own}}]
""",
        **ROLE_FILES,
    )
    play = playbook.plays[0]
    assert messages(play.steps) == ["base", "base", "web", "flush_handlers", "flush_handlers"]
    assert messages(play.handlers) == ["handler", "own"]
    block = play.steps[2]
    assert isinstance(block, Block) and block.role is not None and block.name == "The web server"
    role = block.role
    assert (role.name, role.defaults, role.params) == ("web", {"port": 80}, {"workers": 4})
    assert role.vars == {"kept": 2, "given": 1}
    assert isinstance(block.rollback, tuple) and messages(block.rollback) == ["undo"]
    [step] = steps(block.steps)
    assert (step.when, step.tags, step.phase, step.role) == (("a",), {"t"}, "The web server", role)
    first = play.steps[0]
    assert isinstance(first, Block) and first.role is not None
    assert [parent.name for parent in first.role.parents] == ["web"] and first.role.params == {"level": 3}
    assert [ref.name for ref in play.roles] == ["base", "base", "web"]


def test_the_same_use_of_a_role_runs_once(read: Read) -> None:
    files = {"roles/a/tasks/main.yml": "- debug: {msg: a}\n", "roles/b/tasks/main.yml": "- debug: {msg: b}\n"}
    files["roles/b/meta/main.yml"] = "allow_duplicates: true\n"
    playbook = read("- hosts: all\n  roles: [a, a, {role: a, x: 1}, b, b]\n", **files)
    assert messages(playbook.plays[0].steps) == ["a", "a", "b", "b", "flush_handlers", "flush_handlers"]


def test_import_role(read: Read) -> None:
    playbook = read(
        """
- hosts: all
  tasks:
    - name: Only that
      import_role: {name: web, tasks_from: other}
      when: a
    - import_role: name=web
""",
        **ROLE_FILES,
    )
    found = [step for step in steps(playbook.plays[0].steps) if step.args.get("msg") in ("other", "web")]
    assert [step.args["msg"] for step in found] == ["other", "web"]
    assert (found[0].phase, found[0].when, found[1].phase) == ("Only that", ("a",), "web")


def test_roles_are_found_beside_above_and_on_the_path(
    write: Callable[..., Path], tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        {
            "deep/er/play.yml": "- hosts: all\n  roles: [beside, above, by_variable, given]\n",
            "deep/er/roles/beside/tasks/main.yml": "- debug: {msg: 1}\n",
            "roles/above/tasks/main.yml": "- debug: {msg: 2}\n",
            "some/by_variable/tasks/main.yml": "- debug: {msg: 3}\n",
            "more/given/tasks/main.yml": "- debug: {msg: 4}\n",
        }
    )
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "nowhere:some")
    playbook = load_playbook("deep/er/play.yml", tools, ["more"])
    assert messages(playbook.plays[0].steps) == [1, 2, 3, 4, "flush_handlers", "flush_handlers"]


def test_what_an_include_hands_down(write: Callable[..., Path], tools: Toolbox) -> None:
    write(
        {
            "play.yml": """
- hosts: all
  become: yes
  tasks:
    - block:
        - include_tasks: {file: more.yml, apply: {tags: applied, no_log: true}}
          when: own
          tags: own
          vars: {a: 1}
      when: outer
      tags: outer
""",
            "more.yml": "- debug: {msg: more}\n",
        }
    )
    include = one(load_playbook("play.yml", tools))
    assert include.when == ("outer", "own") and include.apply == {"tags": "applied", "no_log": True}
    [step] = load_steps("more.yml", tools, include)
    assert isinstance(step, Step)
    assert step.when == ("outer",) and step.tags == {"outer", "applied"}
    assert step.vars == ({"a": 1},) and step.no_log is True and step.become.enabled is True


def test_an_included_role(write: Callable[..., Path], tools: Toolbox) -> None:
    write({"play.yml": "- hosts: all\n  tasks: [include_role: {name: web}]\n", **ROLE_FILES})
    include = one(load_playbook("play.yml", tools))
    loaded = load_role("web", tools, inherit=include)
    assert messages((loaded.block,)) == ["base", "base", "web"]
    assert messages(loaded.handlers) == ["handler"]
    assert [ref.name for ref in loaded.roles] == ["base", "base", "web"]
    with pytest.raises(FaultsFound) as error:
        load_role("wbe", tools, inherit=include)
    assert "Did you mean 'web'?" in error.value.faults[0].remedy


def test_values_of_yaml(read: Read) -> None:
    found = (
        read(
            """
- hosts: all
  vars:
    yes_: yes
    octal: 0644
    sixty: 22:30
    version: 3.10
    text: "3.10"
    date: 2026-01-02
    nothing: ~
    shared: &shared {a: 1, b: 2}
    merged: {<<: *shared, b: 3}
    raw: !unsafe "{{ not a template }}"
    secret: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      3030
  tasks: []
"""
        )
        .plays[0]
        .vars
    )
    assert found["yes_"] is True and found["octal"] == 0o644 and found["sixty"] == 1350
    assert found["version"] == 3.1 and found["text"] == "3.10" and found["date"] == "2026-01-02"
    assert found["nothing"] is None and found["merged"] == {"a": 1, "b": 3}
    assert isinstance(found["raw"], Unsafe) and isinstance(found["secret"], Vaulted)
    assert "3030" not in repr(found["secret"])
    assert str(found["text"].position) == "play.yml:8:11"


def test_steps_and_tasks_are_the_same_key(read: Read) -> None:
    text = "- hosts: all\n  {}: [debug: {{msg: a}}]\n"
    assert read(text.format("steps")).plays[0].steps == read(text.format("tasks")).plays[0].steps
