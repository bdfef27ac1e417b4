"""The chunk of an operation that is on its way: once a time on each of its items, now a position and a time."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max


def note_chunks(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Operation, OperationItem = (apps.get_model("pools", name) for name in ("Operation", "OperationItem"))
    on_their_way = OperationItem.objects.filter(outcome="pending", at__isnull=False).order_by()
    for pk, at, last in on_their_way.values_list("operation", "at").annotate(last=Max("position")):
        Operation.objects.filter(pk=pk).update(sent_to=last, sent_at=at)


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0025_orphans_stay"),
    ]

    operations = [
        migrations.AddField(
            model_name="operation",
            name="sent_to",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="sent_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(note_chunks, migrations.RunPython.noop, elidable=True),
    ]
