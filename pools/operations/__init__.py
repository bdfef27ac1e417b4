"""Every write, one verb a function."""

from pools.operations.access import access_grant_role, access_revoke_role
from pools.operations.config import config_publish, config_renew, config_restore
from pools.operations.pools import pool_change, pool_create, pool_drain, pool_pause, pool_resume, pool_scale
from pools.operations.secrets import secret_change, secret_register, secret_remove

__all__ = [
    "access_grant_role",
    "access_revoke_role",
    "config_publish",
    "config_renew",
    "config_restore",
    "pool_change",
    "pool_create",
    "pool_drain",
    "pool_pause",
    "pool_resume",
    "pool_scale",
    "secret_change",
    "secret_register",
    "secret_remove",
]
