"""The documents name what the code has: a new setting, permission, spec field or key fails here until written down."""

import inspect
import re
from pathlib import Path

import pytest

from audit.actions import ACTIONS
from pools.models import config_version, failure_group, operation
from pools.permissions import GLOBAL_GRANTS, ROLE_GRANTS
from pools.runtime import reconciler
from pools.runtime.keys import Keys
from pools.signing import SigningError
from pools.spec import json_schema, parse_yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [
    *sorted(DOCS.rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "deploy/demo/README.md",
]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_document_is_reached_from_the_index() -> None:
    seen, queue = set(), [DOCS / "README.md"]
    while queue:
        document = queue.pop()
        seen.add(document)
        linked = {(document.parent / target).resolve() for target in LINK.findall(document.read_text(encoding="utf-8"))}
        queue += [path for path in linked if path.suffix == ".md" and path not in seen]
    assert set(DOCS.rglob("*.md")) <= seen


def test_every_variable_is_documented() -> None:
    source = (ROOT / "controlplane" / "settings.py").read_text(encoding="utf-8")
    variables = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    assert len(variables) > 10
    assert {name for name in variables if f"`{name}`" not in read("configuration.md")} == set()


def test_every_permission_is_documented() -> None:
    text = read("permissions.md")
    named = {permission for held in (*ROLE_GRANTS.values(), *GLOBAL_GRANTS.values()) for permission in held}
    assert {permission for permission in named if f"`{permission}`" not in text} == set()


@pytest.mark.parametrize("role", ROLE_GRANTS)
def test_the_table_of_roles_is_right(role: str) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in read("permissions.md").splitlines()
        if "|" in line
    ]
    column = rows[0].index(role)
    ticked = {row[0].split("`")[1] for row in rows if row[0].startswith("`") and row[column] == "✓"}
    assert ticked == {*ROLE_GRANTS[role], *GLOBAL_GRANTS[role]}


def test_every_key_is_documented() -> None:
    keys = Keys()
    names = {
        member(f"<{', '.join(inspect.signature(member).parameters)}>".replace("_", " "))
        if callable(member := getattr(keys, name))
        else member
        for name in dir(keys)
        if not name.startswith("_") and name not in {"prefix", "rq_prefix"}
    }
    assert len(names) >= 5
    assert {name for name in names if f"`{name}`" not in read("broker-keys.md")} == set()


def test_every_audit_action_is_documented() -> None:
    assert {action for action in ACTIONS if f"| `{action}` |" not in read("audit-log.md")} == set()


def test_every_command_is_documented() -> None:
    commands = {path.stem for path in ROOT.glob("*/management/commands/[a-z]*.py")}
    assert "up" in commands
    assert {name for name in commands if f"`manage.py {name}" not in read("commands.md")} == set()


def diagram(title: str) -> set[tuple[str, str]]:
    """The arrows between states of the diagram with this title."""
    (text,) = re.findall(rf"```mermaid\nstateDiagram-v2\n    %% {title}\n(.*?)```", read("architecture.md"), re.DOTALL)
    return {(a, b) for a, b in re.findall(r"(\S+) --> (\w+)", text) if a != "[*]"}


def test_the_diagrams_show_the_states_of_the_code() -> None:
    operations = {(a, b) for a, verbs in operation.TRANSITIONS.items() for b in verbs.values()}
    assert diagram("operation") == operations
    groups = {(a, b) for a, verbs in failure_group.TRANSITIONS.items() for b in verbs.values()}
    assert diagram("failure group") == groups
    assert diagram("config version") == {(a, b) for a, after in config_version.TRANSITIONS.items() for b in after}
    assert diagram("worker") == {(a, b) for a, after in reconciler.TRANSITIONS.items() for b in after}


def test_every_option_of_the_agent_is_documented() -> None:
    source = (ROOT / "pools" / "runtime" / "options.py").read_text(encoding="utf-8")
    options = set(re.findall(r'"(--[a-z-]+)"', source))
    assert "--trust-root" in options
    assert {name for name in options if f"| `{name} " not in read("commands.md")} == set()


def test_every_refusal_is_explained() -> None:
    codes = {error.code for error in SigningError.__subclasses__()} - {
        "not_allowed"
    }  # the agent sets no rules of its own
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in read("runbooks/config-refused.md")} == set()


def test_every_metric_is_documented() -> None:
    source = (ROOT / "pools" / "selectors" / "health.py").read_text(encoding="utf-8")
    metrics = set(re.findall(r'gauge\(\s*"(\w+)"', source))
    assert len(metrics) > 5
    assert {name for name in metrics if f"`poolwarden_{name}`" not in read("production.md")} == set()


def test_every_spec_field_is_documented() -> None:
    schema = json_schema()
    parts = schema["$defs"]
    fields = set(schema["properties"]) - {"application", "horse", "isolation", "retry_budget"} | set(
        parts["RetryRule"]["properties"]
    )
    for name, part in (
        ("application", "Application"),
        ("horse", "Horse"),
        ("isolation", "Isolation"),
        ("retry_budget", "RetryBudget"),
    ):
        fields |= {f"{name}.{field}" for field in parts[part]["properties"]}
    assert {name for name in fields if f"| `{name}` |" not in read("config-spec.md")} == set()


def test_the_example_spec_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", read("config-spec.md"), re.DOTALL)
    assert parse_yaml(example).retry[0].max == 5
