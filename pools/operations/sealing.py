"""Encrypting what must not lie in the database in plain, with a key derived from Django's secret key."""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

PURPOSE = b"poolwarden: payloads that wait to be sent"


class Unsealable(Exception):
    """It was sealed with another key, is too old, or is damaged."""


def seal(plain: bytes) -> bytes:
    return _box().encrypt(plain)


def unseal(sealed: bytes, max_age: int) -> bytes:
    """Raises Unsealable for what was sealed more than ``max_age`` seconds ago."""
    try:
        return _box().decrypt(sealed, ttl=max_age)
    except InvalidToken as error:
        raise Unsealable from error


def _box() -> Fernet:
    key = hmac.digest(settings.SECRET_KEY.encode(), PURPOSE, hashlib.sha256)
    return Fernet(base64.urlsafe_b64encode(key))
