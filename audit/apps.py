from typing import Any

from django.apps import AppConfig, apps
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        connection_created.connect(_connected, dispatch_uid="audit.authorizer")
        pre_migrate.connect(_before, dispatch_uid="audit.before_migrate")
        post_migrate.connect(_after, dispatch_uid="audit.after_migrate")


def _connected(connection: Any, **kwargs: Any) -> None:
    from audit import authorizer

    authorizer.install(connection)


def _before(using: str, **kwargs: Any) -> None:
    from audit import authorizer, privileges

    authorizer.suspend(using)
    privileges.act_as_owner(using)


def _after(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Once, when every app has done what it does after a migration."""
    from audit import authorizer, privileges

    if sender is [config for config in apps.get_app_configs() if config.models_module is not None][-1]:
        privileges.grant(using)
        privileges.act_as_oneself(using)
        authorizer.resume(using)
