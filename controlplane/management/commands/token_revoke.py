"""``manage.py token_revoke ID --reason TEXT``: ends an API token at once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actor import system_actor
from audit.recorder import AuditError
from controlplane.models import ApiToken
from controlplane.tokens import revoke_token


class Command(BaseCommand):
    help = "End an API token at once. Its id is in the log: the target of token.created and token.used."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument("--reason", required=True, help="why; it goes into the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"].strip()
        if not reason:
            raise CommandError("--reason: say why. Nothing was changed.")
        try:
            token = revoke_token(actor=system_actor("command-line"), pk=options["id"], reason=reason)
        except ApiToken.DoesNotExist as missing:
            raise CommandError(f"There is no valid token {options['id']}. Nothing was changed.") from missing
        except AuditError as refused:
            raise CommandError(f"--{refused.field}: {refused.message}") from refused
        self.stdout.write(f"{token.user.get_username()}: {token.name} is revoked.")
