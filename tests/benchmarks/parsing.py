"""What reading and checking a large playbook costs: 5,000 steps in 50 files.

    python tests/benchmarks/parsing.py

To reach: less than 2 s and less than 200 MB, the interpreter's start counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FILES, STEPS = 50, 100
MEASURED = """
import json, resource, sys, time
began = time.perf_counter()
from ikoma_play.language import check, load_inventory, load_playbook
from ikoma_play.tools import TOOLS
ready = time.perf_counter()
playbook = load_playbook(sys.argv[1], TOOLS)
read = time.perf_counter()
faults = check(playbook, load_inventory(["web1,web2,"]), TOOLS)
done = time.perf_counter()
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "steps": sum(step.tool != "meta" for step in playbook.plays[0].steps),
    "files": len(playbook.files), "faults": len(faults),
    "import": ready - began, "read": read - ready, "check": done - read,
    "cpu": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024,
}))
"""


def write(folder: Path) -> Path:
    """The playbook: commands, files, loops and facts that use one another's results."""
    imports = "".join(f"    - import_tasks: part{number}.yml\n" for number in range(FILES))
    handlers = "  handlers:\n    - name: restart\n      debug: {msg: restarted}\n"
    playbook = folder / "site.yml"
    playbook.write_text(f"- hosts: all\n  vars: {{base: /tmp/x, count: 3}}\n  tasks:\n{imports}{handlers}")
    for number in range(FILES):
        steps = "".join(_step(number, each) for each in range(STEPS))
        (folder / f"part{number}.yml").write_text(steps)
    return playbook


def _step(file: int, number: int) -> str:
    head = f"- name: Step {number} of {file}\n"
    before = f"out_{file}_{number - 1}"
    return (
        head
        + (
            f"  command: echo {number}\n  register: out_{file}_{number}\n  changed_when: false\n",
            f'  copy:\n    content: "{{{{ {before}.stdout }}}}"\n'
            f'    dest: "{{{{ base }}}}/{file}-{number}"\n    mode: "0644"\n  notify: restart\n',
            f'  debug:\n    msg: "{{{{ item | upper }}}} {number}"\n  loop: [a, b, c]\n  when: count | int > 1\n',
            f'  set_fact:\n    fact_{file}_{number}: "{{{{ base ~ inventory_hostname }}}}"\n  tags: [t{number % 5}]\n',
        )[number % 4]
    )


def measure() -> dict[str, float]:
    """Seconds of each part, seconds of processor time in all, and the most memory in MB; counts of what was read."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-c", MEASURED, str(write(Path(folder)))]
        done = subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:12}{value:10.2f}" if isinstance(value, float) else f"{name:12}{value:7}")
