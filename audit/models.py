"""The log's tables. Nothing outside ``audit`` imports them.

An event is *pending* from its action's commit until the sequencer gives it a leaf; then it is *integrated*. Events,
leaves, nodes, checkpoints and cosignatures never change: triggers (``audit.immutability``) refuse it, and no foreign
key reaches out of these tables. Personal values may be erased, and nothing else may happen to them. The other tables
serve the auditor's pages and prove nothing.
"""

import uuid

from django.db import models

from controlplane.saved_queries import SavedQuery

PERSONAL_NAME = "(personal)"
"""What leaf and column hold in place of a target's name that is personal."""


class Outcome(models.TextChoices):
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"


class Event(models.Model):
    """One thing that happened. ``leaf`` is the evidence; the other columns repeat it so that it can be searched."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    leaf = models.BinaryField()
    schema_version = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    actor_kind = models.TextField()
    actor_id = models.TextField()
    actor_name = models.TextField()
    action = models.TextField()
    target_kind = models.TextField()
    target_id = models.TextField()
    target_name = models.TextField()
    pool = models.TextField(blank=True)
    outcome = models.TextField(choices=Outcome)
    reason = models.TextField(blank=True)
    request_id = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        # A right of its own: reading the log is all that anyone may do with it.
        default_permissions = ("view",)
        indexes = [
            # The timeline's filters, newest first.
            models.Index(fields=["actor_name", "-id"], name="audit_event_actor"),
            models.Index(fields=["action", "-id"], name="audit_event_action"),
            models.Index(fields=["target_name", "-id"], name="audit_event_target"),
            models.Index(fields=["actor_id", "-id"], name="audit_event_actor_id"),
            models.Index(fields=["target_id", "-id"], name="audit_event_target_id"),
            models.Index(fields=["outcome", "-id"], name="audit_event_outcome"),
            models.Index(fields=["pool", "-id"], name="audit_event_pool"),
            models.Index(fields=["at"], name="audit_event_at"),
            # The event page's "same request".
            models.Index(fields=["request_id"], name="audit_event_request"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.uid}"

    @property
    def shown_target(self) -> str:
        """The target's name as people read it: a personal one in plain text, until that is erased."""
        if self.target_name != PERSONAL_NAME or self.pk is None:
            return self.target_name
        return next((row.value for row in self.personal.all() if row.field == "target"), PERSONAL_NAME)


class Pending(models.Model):
    """An event that waits for its leaf: inserted by a trigger with the event, removed only by the sequencer.

    Following this table instead of ``id > last_seen`` is what makes the log complete: ids are drawn before commit, so a
    follower by id skips every transaction that commits late.
    """

    # No constraint in the database, here and in Personal: events cannot go, and checking each insert costs an action as
    # much as the rest of its event does (bench/).
    event = models.OneToOneField(
        Event, on_delete=models.PROTECT, primary_key=True, related_name="pending", db_constraint=False
    )

    class Meta:
        default_permissions = ()


class Leaf(models.Model):
    """An event's place in the log: a gapless index from 0, and the hash of the event's bytes."""

    index = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.PROTECT, related_name="placed")
    hash = models.BinaryField(max_length=32)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"leaf {self.index}"


class Node(models.Model):
    """The hash of a complete subtree of ``2 ** level`` leaves. Only every eighth level is kept (8, 16, 24 …): those
    between are computed from at most 128 hashes, and the table stays small. Level 0 is ``Leaf.hash``."""

    level = models.PositiveSmallIntegerField()
    index = models.PositiveBigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="audit_node_place")]

    def __str__(self) -> str:
        return f"node {self.level}/{self.index}"


class Checkpoint(models.Model):
    """A signed note over the tree's first ``size`` leaves. ``note`` is what was signed, byte for byte."""

    size = models.PositiveBigIntegerField(primary_key=True)
    root = models.BinaryField(max_length=32)
    note = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"checkpoint {self.size}"


class Cosignature(models.Model):
    """A witness's word that a checkpoint continues what it saw before. ``line`` is its signature line in the note."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="cosignatures")
    witness = models.TextField()
    line = models.TextField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["checkpoint", "witness"], name="audit_cosignature_witness")]

    def __str__(self) -> str:
        return f"{self.witness} on {self.checkpoint_id}"


class Personal(models.Model):
    """The plain value of an event's personal field. The leaf holds ``SHA-256(salt ‖ value)`` in its place, so the row
    can be erased and every proof still holds."""

    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="personal", db_constraint=False)
    field = models.TextField()
    salt = models.BinaryField(max_length=32)
    value = models.TextField()

    class Meta:
        default_permissions = ()
        permissions = [("erase_personal", "Can erase personal values from the audit log")]
        constraints = [models.UniqueConstraint(fields=["event", "field"], name="audit_personal_field")]
        indexes = [models.Index(fields=["value"], name="audit_personal_value")]

    def __str__(self) -> str:
        return f"{self.field} of event {self.event_id}"


class Condition(models.Model):
    """How one part of the log is doing, as the controller last found it: ``signing``, ``protection``, an anchor, a
    witness. A badge, not a proof."""

    name = models.TextField(primary_key=True)
    good = models.BooleanField()
    detail = models.TextField(blank=True)
    size = models.PositiveBigIntegerField(default=0)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class CheckpointRequest(models.Model):
    """Somebody wants a checkpoint now. The controller signs one and removes the request."""

    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()


class ExportState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class ExportKind(models.TextChoices):
    BUNDLE = "bundle", "Bundle"
    CSV = "csv", "CSV"
    JSONL = "jsonl", "JSON lines"


class Export(models.Model):
    """A file that somebody asked for. The controller writes it to ``POOLWARDEN_HOME/exports/<uid>``."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=10, choices=ExportKind)
    state = models.CharField(max_length=10, choices=ExportState, default=ExportState.WAITING)
    filters = models.JSONField(default=dict)
    reason = models.TextField()
    actor = models.JSONField()
    total = models.PositiveBigIntegerField(default=0)
    written = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"export {self.pk}"


class SavedFilter(SavedQuery):
    """A timeline's query."""

    class Meta:
        default_permissions = ()
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["owner_id", "name"], name="audit_saved_filter_name")]
