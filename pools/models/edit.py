"""A dead letter's payload, edited by a person: what changed, for good; the new payload, until it is sent."""

from django.db import models

from pools.models.operation import Operation


class PayloadEdit(models.Model):
    """``paths`` are where values changed, never the values.

    The commitments are those of ``audit.recorder`` to the texts of both payloads: whoever has a payload can check with
    ``salt`` that it was this one, and without the salt nobody can try values until one fits.
    """

    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="edit")
    paths = models.JSONField()
    salt = models.BinaryField()
    old_commitment = models.CharField(max_length=64)
    new_commitment = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"edit of {self.operation_id}"


class SealedPayload(models.Model):
    """Encrypted with a key that is not in the database. Deleted with the execution, or at ``expires_at``."""

    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="sealed_payload")
    sealed = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"sealed payload of {self.operation_id}"
