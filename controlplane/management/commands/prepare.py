"""``manage.py prepare [--demo]``: migrate the database; with --demo make its accounts and pools. Safe to repeat."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, transaction

from audit.actor import system_actor
from controlplane.demo import DEMO_ACCOUNTS, DEMO_PASSWORD
from pools.models import Criticality, Pool, Team
from pools.operations import access_grant_role, config_publish, pool_create
from pools.permissions import role_group
from pools.selectors.config import newest_spec
from pools.spec import parse_spec

DEMO_FOLDER = Path(settings.BASE_DIR) / "deploy" / "demo"
ACTOR = system_actor("command-line")
REASON = "Demo installation"


class Command(BaseCommand):
    help = "Migrate the database; with --demo make the demo's accounts and pools."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except OperationalError as error:
            raise CommandError(f"POOLWARDEN_DATABASE_URL: cannot use the database: {_first_line(error)}") from error
        if options["demo"]:
            team, _ = Team.objects.get_or_create(slug="demo", defaults={"name": "Demo"})
            for role in DEMO_ACCOUNTS:
                _account(role, team)
            for slug, data in yaml.safe_load((DEMO_FOLDER / "pools.yaml").read_text()).items():
                _pool(slug, data, team)
        else:
            Team.objects.get_or_create(slug="default", defaults={"name": "Default"})


@transaction.atomic
def _account(role: str, team: Team) -> None:
    user, made = User.objects.get_or_create(username=role)
    if made:
        user.set_password(DEMO_PASSWORD)
        user.save()
    if not user.groups.filter(pk=role_group(team, role).pk).exists():
        access_grant_role(actor=ACTOR, user=user, team=team, role=role, reason=REASON)


def _pool(slug: str, data: dict[str, Any], team: Team) -> None:
    data["application"]["directory"] = str(DEMO_FOLDER)
    spec = parse_spec(data)
    pool = Pool.objects.filter(slug=slug).first()
    if pool is None:
        pool_create(
            actor=ACTOR,
            slug=slug,
            name=slug,
            environment=settings.POOLWARDEN_ENV,
            team=team,
            spec=spec,
            description=f"Sample workload: see {DEMO_FOLDER.name}/README.md",
            criticality=Criticality.STANDARD,
        )
        return
    current = newest_spec(pool)
    if current is not None and current.application.directory != spec.application.directory:
        # The checkout moved: the workers' folder is no longer there. Everything else stays as the users left it.
        moved = current.model_copy(update={"application": spec.application})
        config_publish(actor=ACTOR, pool=pool, spec=moved, message="The checkout moved", expected_version=None)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
