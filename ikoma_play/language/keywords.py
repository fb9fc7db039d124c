"""Every keyword of the language, declared once: where it may stand, what it takes, who hands it down.

The parser, its "did you mean", and the JSON Schema that editors complete from all read this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """What a keyword takes; every kind but the structural ones also takes a template."""

    LABEL = "text"
    NAME = "the name of a variable"
    FLAG = "true or false"
    NUMBER = "a number"
    WORDS = "text or a list of texts"
    NAMES = "a name or a list of names"
    PATTERN = "a host pattern or a list of them"
    CONDITIONS = "an expression or a list of expressions"
    LIST = "a list"
    MAPPING = "a mapping"
    ARGUMENTS = "a mapping of arguments"
    LAYERS = "a mapping or a list of mappings"
    ANY = "a value"
    STEPS = "a list of steps"
    ROLLBACK = "auto or a list of steps that undo it"
    ROLES = "a list of roles"
    FILES = "a file name or a list of them"
    CALL = "a tool's name with its arguments"
    CONNECTION = "ssh or local"
    METHOD = "sudo, su or doas"
    LOOP_CONTROL = "a mapping of loop settings"
    PROMPTS = "a list of questions"
    BATCHES = "a number, a percentage or a list of them"
    STRATEGY = "linear or free"
    ORDER = "inventory, reverse_inventory, sorted, reverse_sorted or shuffle"
    SCOPE = "host, all or none"
    SCHEDULE = "a cron expression, or a mapping with cron, zone and catch_up"
    CATCH_UP = "once or skip"


class Keyword(Struct, frozen=True):
    """One keyword. `levels` is where it may stand; `inherited` says that what is inside takes it over."""

    name: str
    kind: Kind
    levels: frozenset[str]
    about: str
    inherited: bool = False


PLAY, BLOCK, STEP, HANDLER, ROLE, IMPORT = "play", "block", "step", "handler", "role", "import"
LOOP_CONTROL, PROMPT, SCHEDULE = "loop_control", "vars_prompt", "schedule"
_CALLS = (STEP, HANDLER)
_INSIDE = (BLOCK, *_CALLS)
_AROUND = (PLAY, ROLE, *_INSIDE)


def _all(levels: Iterable[str], inherited: bool, *rows: tuple[str, Kind, str]) -> list[Keyword]:
    where = frozenset(levels)
    return [Keyword(name, kind, where, about, inherited) for name, kind, about in rows]


KEYWORDS: tuple[Keyword, ...] = (
    *_all((*_AROUND, IMPORT), False, ("name", Kind.LABEL, "What it is for, in words that the output shows.")),
    # What a level hands down to everything inside it.
    *_all(
        (*_AROUND, IMPORT),
        True,
        ("vars", Kind.MAPPING, "Variables for what is inside."),
        ("tags", Kind.WORDS, "Words to choose steps by; always and never have a meaning of their own."),
    ),
    *_all((ROLE, IMPORT, *_INSIDE), True, ("when", Kind.CONDITIONS, "Run only where all of these are true.")),
    *_all(
        _AROUND,
        True,
        ("environment", Kind.LAYERS, "Environment variables for the commands that are run."),
        ("become", Kind.FLAG, "Act as another user."),
        ("become_user", Kind.LABEL, "The user to act as; root by default."),
        ("become_method", Kind.METHOD, "How to become that user: sudo, su or doas."),
        ("become_flags", Kind.LABEL, "Options for the program that changes the user."),
        ("connection", Kind.CONNECTION, "How hosts are reached: ssh or local."),
        ("remote_user", Kind.LABEL, "The user to log in as."),
        ("port", Kind.NUMBER, "The port to connect to."),
        ("no_log", Kind.FLAG, "Show and keep nothing of arguments and results."),
        ("check_mode", Kind.FLAG, "true: never change anything; false: run for real even with --check."),
        ("diff", Kind.FLAG, "Show what changes in files."),
        ("ignore_errors", Kind.FLAG, "Go on after a failure."),
        ("ignore_unreachable", Kind.FLAG, "Go on when the host does not answer."),
        ("any_errors_fatal", Kind.FLAG, "A failure on one host stops all of them."),
        ("run_once", Kind.FLAG, "Run on the first host only, for all of them."),
        ("throttle", Kind.NUMBER, "How many hosts may do this at once."),
        ("timeout", Kind.NUMBER, "Seconds after which a step has failed."),
        ("module_defaults", Kind.LAYERS, "Default arguments by tool."),
        ("collections", Kind.WORDS, "Accepted for Ansible's sake; collections' plugins are not part of ikoma-play."),
    ),
    *_all(
        (ROLE, *_INSIDE),
        True,
        ("delegate_to", Kind.LABEL, "The host that does it in this one's stead."),
        ("delegate_facts", Kind.FLAG, "Facts belong to the host that did it."),
    ),
    *_all(_INSIDE, True, ("notify", Kind.NAMES, "Handlers to run later if something changed.")),
    # Undoing.
    *_all(
        (PLAY, ROLE, *_INSIDE),
        False,
        ("rollback", Kind.ROLLBACK, "Steps that undo this one after a failure; on a step auto: as its tool says."),
    ),
    *_all((BLOCK,), False, ("atomic", Kind.FLAG, "All of it or none: a failure inside undoes the block.")),
    *_all(
        (BLOCK,),
        False,
        ("block", Kind.STEPS, "Steps that stand or fall together."),
        ("rescue", Kind.STEPS, "What to do when one of the block's steps fails."),
        ("always", Kind.STEPS, "What to do in any case, after the block."),
    ),
    *_all((PLAY, IMPORT), False, ("schedule", Kind.SCHEDULE, "When `serve --schedules` runs it: cron's five fields.")),
    # Plays.
    *_all(
        (PLAY,),
        False,
        ("hosts", Kind.PATTERN, "The hosts to run on: names and groups, with : and ! and & and wildcards."),
        ("pre_tasks", Kind.STEPS, "Steps before the roles."),
        ("roles", Kind.ROLES, "Roles, in order."),
        ("steps", Kind.STEPS, "The play's own steps."),
        ("tasks", Kind.STEPS, "The play's own steps, in Ansible's word."),
        ("post_tasks", Kind.STEPS, "Steps after everything else."),
        ("handlers", Kind.STEPS, "Steps that run once at the end, when something notified them."),
        ("vars_files", Kind.FILES, "Files of variables."),
        ("vars_prompt", Kind.PROMPTS, "Variables to ask a person for."),
        ("gather_facts", Kind.FLAG, "Look at each host first."),
        ("gather_subset", Kind.WORDS, "Which facts to gather."),
        ("gather_timeout", Kind.NUMBER, "Seconds that gathering facts may take."),
        ("serial", Kind.BATCHES, "How many hosts at a time."),
        ("max_fail_percentage", Kind.NUMBER, "Stop when more of the hosts than this have failed."),
        ("strategy", Kind.STRATEGY, "linear: all hosts step by step; free: each as fast as it can."),
        ("order", Kind.ORDER, "In which order hosts are taken."),
        ("force_handlers", Kind.FLAG, "Run notified handlers even on hosts that failed."),
        ("lock", Kind.LABEL, "Only one run at a time holds this name."),
        (
            "rollback_scope",
            Kind.SCOPE,
            "Whether a failure undoes that host only, all of them, or none: only runs rollback does.",
        ),
    ),
    # Steps.
    *_all(
        _CALLS,
        False,
        ("register", Kind.NAME, "The variable that takes the result."),
        ("loop", Kind.ANY, "Do it once for each of these."),
        ("loop_control", Kind.LOOP_CONTROL, "How to loop."),
        ("until", Kind.CONDITIONS, "Try again until all of these are true."),
        ("retries", Kind.NUMBER, "How many times to try again."),
        ("delay", Kind.NUMBER, "Seconds between tries."),
        ("backoff", Kind.NUMBER, "Each wait is the one before times this."),
        ("failed_when", Kind.CONDITIONS, "What counts as a failure."),
        ("changed_when", Kind.CONDITIONS, "What counts as a change."),
        ("args", Kind.ARGUMENTS, "Further arguments of the tool."),
        ("action", Kind.CALL, "The tool, the old way."),
        ("local_action", Kind.CALL, "The tool, run on this machine."),
        ("async", Kind.NUMBER, "Run in the background for at most so many seconds."),
        ("poll", Kind.NUMBER, "Seconds between looks at a background step; 0: do not wait."),
        ("with_items", Kind.ANY, "Loop over a list, flattened by one level."),
        ("with_list", Kind.ANY, "Loop over a list as it is."),
        ("with_dict", Kind.ANY, "Loop over a mapping; the item has key and value."),
        ("with_sequence", Kind.ANY, "Loop over numbers: start=1 end=5 stride=1 format=%02d."),
        ("with_together", Kind.ANY, "Loop over several lists side by side."),
        ("with_nested", Kind.ANY, "Loop over every combination of several lists."),
        ("with_cartesian", Kind.ANY, "Loop over every combination of several lists."),
        ("with_subelements", Kind.ANY, "Loop over lists inside the entries of a list."),
        ("with_fileglob", Kind.ANY, "Loop over files of the runner."),
        ("with_first_found", Kind.ANY, "The first file that is there."),
        ("with_flattened", Kind.ANY, "Loop over lists, flattened altogether."),
        ("with_indexed_items", Kind.ANY, "Loop over a list with positions: item.0 and item.1."),
        ("with_random_choice", Kind.ANY, "One of a list, by chance."),
        ("with_inventory_hostnames", Kind.ANY, "Loop over the hosts of a pattern."),
        ("with_lines", Kind.ANY, "Loop over the lines that a command of the runner prints."),
        ("with_file", Kind.ANY, "Loop over the contents of files of the runner."),
        ("with_env", Kind.ANY, "Loop over environment variables of the runner."),
        ("with_vars", Kind.ANY, "Loop over the values of variables."),
        ("with_varnames", Kind.ANY, "Loop over names of variables that match."),
        ("with_pipe", Kind.ANY, "Loop over what commands of the runner print."),
        ("with_url", Kind.ANY, "Loop over the lines at web addresses."),
        ("with_template", Kind.ANY, "Loop over rendered template files."),
        ("with_csvfile", Kind.ANY, "Loop over cells of a CSV file, found by key."),
        ("with_ini", Kind.ANY, "Loop over values of an INI file."),
        ("with_password", Kind.ANY, "Loop over passwords kept in files of the runner."),
    ),
    *_all((HANDLER,), False, ("listen", Kind.NAMES, "Further words that notify this handler.")),
    # Uses of a role and of a playbook.
    *_all((ROLE,), False, ("role", Kind.LABEL, "The role's name or folder.")),
    *_all((IMPORT,), False, ("import_playbook", Kind.LABEL, "A file of plays that take this place.")),
    # Parts of keywords.
    *_all(
        (LOOP_CONTROL,),
        False,
        ("label", Kind.ANY, "What the output shows for an item."),
        ("index_var", Kind.NAME, "The variable that counts from 0."),
        ("loop_var", Kind.NAME, "The variable that holds the item; item by default."),
        ("pause", Kind.NUMBER, "Seconds between items."),
        ("extended", Kind.FLAG, "Whether ansible_loop tells about the whole loop."),
        ("extended_allitems", Kind.FLAG, "Whether ansible_loop holds all items."),
        ("break_when", Kind.CONDITIONS, "Leave the loop when all of these are true."),
    ),
    *_all(
        (PROMPT,),
        False,
        ("name", Kind.NAME, "The variable."),
        ("prompt", Kind.LABEL, "The question."),
        ("default", Kind.ANY, "The answer when none is given."),
        ("private", Kind.FLAG, "Do not show what is typed; true by default."),
        ("confirm", Kind.FLAG, "Ask twice."),
        ("encrypt", Kind.LABEL, "Hash the answer: sha512_crypt and the like."),
        ("salt", Kind.LABEL, "The salt for the hash."),
        ("salt_size", Kind.NUMBER, "How long a salt to make up."),
        ("unsafe", Kind.FLAG, "Take {{ in the answer as it is."),
    ),
    *_all(
        (SCHEDULE,),
        False,
        ("cron", Kind.LABEL, "Minute, hour, day of the month, month, day of the week; or @daily and the like."),
        ("zone", Kind.LABEL, "The time zone, as Europe/Paris; default the server's own."),
        ("catch_up", Kind.CATCH_UP, "Whether what was missed while no server ran is run once, later; default once."),
    ),
)

LEVELS: dict[str, dict[str, Keyword]] = {
    level: {keyword.name: keyword for keyword in KEYWORDS if level in keyword.levels}
    for level in (PLAY, BLOCK, STEP, HANDLER, ROLE, IMPORT, LOOP_CONTROL, PROMPT, SCHEDULE)
}

# Words that Ansible knows and ikoma-play does not, each with what to do instead.
LEFT_OUT = {
    "debugger": "There is no step debugger; use --step, or -vvv to see more.",
    "become_exe": "The program is found on the host's PATH; use become_method.",
    "fact_path": "Local facts are not read.",
    "vars_plugins": "Variables come from the inventory, group_vars and host_vars.",
    "sudo": "Use become: true.",
    "sudo_user": "Use become: true with become_user.",
    "su": "Use become: true with become_method: su.",
    "user": "Use remote_user.",
    "accelerate": "It is gone from Ansible as well; connections stay open anyway.",
    "with_filetree": "Use with_fileglob, or the tool find with delegate_to: localhost.",
    "include": "Use import_tasks, include_tasks or import_playbook.",
}
DIRECTIVES = ("import_tasks", "import_role", "include_tasks", "include_role", "import_playbook")

# What may be said of how Jinja reads one template.
TEMPLATE_OPTIONS = frozenset(
    ("block_start_string", "block_end_string", "variable_start_string", "variable_end_string", "comment_start_string",
     "comment_end_string", "line_statement_prefix", "line_comment_prefix", "trim_blocks", "lstrip_blocks",
     "newline_sequence", "keep_trailing_newline")
)  # fmt: skip
