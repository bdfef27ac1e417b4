"""Accounts' companions: API tokens and failed sign-ins."""

from django.conf import settings
from django.db import models


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept; it carries the permissions of its user and nothing more."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_from = models.CharField(max_length=64, blank=True)  # the place (TokenPlace) of the newest recorded use

    def __str__(self) -> str:
        return self.name


class TokenPlace(models.Model):
    """An address from which a token was used, as a keyed digest, and when that was last recorded. Swept after a day."""

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="places")
    place = models.CharField(max_length=64)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "place"], name="token_place")]

    def __str__(self) -> str:
        return self.place


class SignInFailure(models.Model):
    """One failed sign-in, counted by account name and by address. Swept after a day."""

    username_sha256 = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # The two counts made before a password is looked at.
            models.Index(fields=["username_sha256", "at"], name="sign_in_by_name"),
            models.Index(fields=["address", "at"], name="sign_in_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.at}"
