import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from psycopg import sql


@pytest.fixture
def auditor(django_user_model: Any) -> Any:
    """May read the log."""
    return _person(django_user_model, "ilse", "audit", "view_event")


@pytest.fixture
def admin(django_user_model: Any) -> Any:
    """May give others the right to read it, and has not got it."""
    return _person(django_user_model, "mara", "auth", "change_group")


@pytest.fixture
def outsider(django_user_model: Any) -> Any:
    """Signed in, without a role."""
    return django_user_model.objects.create_user("charlie")


def _person(model: Any, name: str, app: str, codename: str) -> Any:
    person = model.objects.create_user(name)
    person.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return person


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the kind that this run tests with, for processes of the test's own."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'own.sqlite3'}"
        return
    server = urlsplit(os.environ["POOLWARDEN_DATABASE_URL"])
    name = f"own_{uuid.uuid4().hex}"
    with psycopg.connect(server.geturl(), autocommit=True) as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield server._replace(path=f"/{name}").geturl()
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
