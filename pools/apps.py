from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PoolsConfig(AppConfig):
    """Last of the project's apps: when its ``post_migrate`` comes, the permissions of all are made."""

    name = "pools"

    def ready(self) -> None:
        post_migrate.connect(_extend_roles, sender=self)


def _extend_roles(apps: Any = None, **_: Any) -> None:
    if apps is None:
        return  # a flush, which migrates nothing

    from pools.permissions import extend_roles  # models are loaded by now

    try:
        apps.get_model("audit", "Personal"), apps.get_model("pools", "Pool")
    except LookupError:
        return  # migrated only so far that there are no roles, or no log that could tell of them
    extend_roles()
