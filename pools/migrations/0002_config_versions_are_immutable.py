from django.db import migrations

from pools.immutability import install, remove


class Migration(migrations.Migration):
    dependencies = [("pools", "0001_initial")]

    operations = [migrations.RunPython(install, remove)]
