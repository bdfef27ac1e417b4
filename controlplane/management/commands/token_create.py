"""``manage.py token_create --user NAME [--ttl 1h]``: prints an API token once."""

import datetime as dt
import re
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from audit.actor import system_actor
from controlplane.tokens import create_token

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = "Make an API token for a user and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, help="the account whose permissions the token carries")
        parser.add_argument("--ttl", default="1h", help="how long it is valid: 90s, 15m, 1h, 30d (default 1h)")
        parser.add_argument("--name", default="", help="what it is for")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"--user: there is no active account {options['user']!r}")
        text = create_token(
            actor=system_actor("command-line"), user=user, ttl=parse_ttl(options["ttl"]), name=options["name"]
        )
        self.stdout.write(text)


def parse_ttl(text: str) -> dt.timedelta:
    """``15m`` and the like, at most 365 days."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    ttl = dt.timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else dt.timedelta()
    if not dt.timedelta() < ttl <= dt.timedelta(days=365):
        raise CommandError(f"--ttl: expected a time such as 15m, 1h or 30d, at most 365d, not {text!r}")
    return ttl
