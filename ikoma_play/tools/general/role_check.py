"""The step that a role with declared arguments begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import StepError
from ...model import Access, Outcome, ok
from ...tool import Scope, tool
from ...transport.base import Transport


@tool("validate_argument_spec", access=Access.ADMIN, changes=False)
def validate_argument_spec(
    on: Transport,
    *,
    scope: Scope,
    argument_spec: dict[str, Any],
    provided_arguments: dict[str, Any] | None = None,
    validate_args_context: dict[str, Any] | None = None,
) -> Outcome:
    """Check that variables are what a role says that it takes.

    argument_spec: what is taken: names to type, required, choices, elements, options
    provided_arguments: values that count for more than the variables of these names
    validate_args_context: what is checked, for messages
    """
    from ...language.role_arguments import all_wrong

    options = {name: option for name, option in argument_spec.items() if isinstance(option, Mapping)}
    values = {name: scope.variables[name] for name in options if name in scope.variables}
    values |= provided_arguments or {}
    for name, option in options.items():
        if option.get("no_log") is True and values.get(name) is not None:
            scope.keep_secret(str(values[name]))
    wrong = [str(each) for each in all_wrong(options, values)]
    if not wrong:
        return ok({"msg": "all arguments are as declared"})
    about = validate_args_context or {}
    whose = f"the role '{about['name']}'" if about.get("type") == "role" and about.get("name") else "this"
    raise StepError(
        f"{whose} was given wrong arguments: {'; '.join(wrong)}",
        result={"argument_errors": wrong, "argument_spec_data": argument_spec, "validate_args_context": about},
    )
