"""Object permissions on Pool as direct foreign keys: they cascade with the pool and need no content-type joins."""

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from pools.models.pool import Pool


class PoolUserPermission(UserObjectPermissionBase):
    content_object = models.ForeignKey(Pool, on_delete=models.CASCADE)


class PoolGroupPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(Pool, on_delete=models.CASCADE)
