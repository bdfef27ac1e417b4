from django.db import migrations

from audit.immutability import install


class Migration(migrations.Migration):
    """The triggers again: their functions no longer look where a caller's search path points."""

    dependencies = [
        ("audit", "0002_proofs"),
    ]

    operations = [
        migrations.RunPython(install, migrations.RunPython.noop),
    ]
