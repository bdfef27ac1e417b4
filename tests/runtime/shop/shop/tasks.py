"""Ordinary RQ jobs."""

import os
import sys

from shop.models import Order


def place(name):
    return Order.objects.create(name=name).pk


def count():
    return Order.objects.count()


def get_order(name):
    return Order.objects.get(name=name).pk


def token_length():
    from pools.runtime import secrets

    return len(secrets.get("token"))


def where():
    """What a job can see of the place it runs in; ``poolwarden``: modules that only the agent should need."""
    import secrets

    agents_own = ("pydantic", "securesystemslib", "pools.spec", "pools.signing", "controlplane")
    return {
        "interpreter": sys.executable,
        "directory": os.getcwd(),
        "poolwarden": [name for name in agents_own if name in sys.modules],
        "stdlib_secrets": hasattr(secrets, "token_hex"),
    }
