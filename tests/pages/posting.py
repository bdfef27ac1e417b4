"""What the config page posts, for its tests."""

from typing import Any

from audit.models import Event
from pools.forms.config import ConfigForm
from pools.models import ConfigVersion, OutboxMessage
from pools.spec import PoolSpec, to_yaml
from tests.support import factories as make

URL = "/pools/payments/config/"
HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_pool; --"
RULE = {"task": "shop.*", "max": "3", "backoff": "10", "cap": "600", "jitter": "20", "transient": "", "permanent": ""}
RULE |= {"systemic": "", "patience": "3600"}

ENTRY = {"name": "report", "task": "shop.report", "schedule": "30 2 * * 1-5", "timezone": "Europe/Berlin"}
ENTRY |= {"args": '["eu", 7]', "queue": "payments.high", "overlap": "skip", "catch_up": "last"}


def fields(**changes: Any) -> dict[str, Any]:
    """What the form page posts, unchanged but for ``changes``; they would publish version 3."""
    spec = make.spec(queues=["payments", "payments.high"], workers=5)
    form = ConfigForm(initial=ConfigForm.initial_of(spec))
    typed = {name: form[name].field.prepare_value(form[name].initial) for name in form.fields}
    posted = {name: str(value) for name, value in typed.items() if value is not None}
    return (
        posted | _parts(form) | {"as": "form", "do": "publish", "message": "Why not", "expected_version": "2"} | changes
    )


def _parts(form: ConfigForm) -> dict[str, str]:
    """The spec's lists of parts, as the page has them."""
    posted = {}
    for prefix, parts in form.parts.items():
        posted |= {f"{prefix}-TOTAL_FORMS": str(len(parts.forms)), f"{prefix}-INITIAL_FORMS": "0"}
        for part in parts:
            posted |= {f"{part.prefix}-{f.name}": str(f.field.prepare_value(f.initial) or "") for f in part}
    return posted


def text(spec: PoolSpec | str, **changes: Any) -> dict[str, Any]:
    shown = spec if isinstance(spec, str) else to_yaml(spec)
    return {"as": "yaml", "do": "publish", "text": shown, "message": "Why not", "expected_version": "2"} | changes


def rule(**changes: str) -> dict[str, str]:
    return {"retry-TOTAL_FORMS": "1"} | {f"retry-0-{name}": value for name, value in (RULE | changes).items()}


def entry(**changes: str) -> dict[str, str]:
    return {"cron-TOTAL_FORMS": "1"} | {f"cron-0-{name}": value for name, value in (ENTRY | changes).items()}


def unchanged() -> bool:
    return ConfigVersion.objects.count() == 2 and not Event.objects.exists() and not OutboxMessage.objects.exists()
