"""Becomes one program of a sandbox: run by the supervisor as `python -I -S process_launcher.py FILE`.

FILE is JSON that only its owner may read: {"argv": […], "env": {…}, "cwd": "…"}. It carries what a process
list must not show and what the supervisor's own format cannot hold (quotes, percent signs, line breaks).
With `check` as a second argument it becomes the program's health check instead. Imports nothing but the
standard library, since it is started alone and has to be quick.
"""

import json
import os
import signal
import sys


def main(file: str, which: str = "argv") -> None:
    with open(file, encoding="utf-8") as source:  # noqa: PTH123 - pathlib would double the start-up time
        program = json.load(source)
    argv, env = program[which], program["env"]
    # Python ignores these, and a program that is executed inherits that.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.chdir(program["cwd"])
        os.execvpe(argv[0], argv, env)
    except FileNotFoundError as error:
        missing = program["cwd"] if error.filename == program["cwd"] else argv[0]
        sys.stderr.write(f"cannot start: {missing}: no such file or directory\n")
        sys.exit(127)
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(126)


if __name__ == "__main__":
    main(*sys.argv[1:])
