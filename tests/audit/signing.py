"""The log's key and a witness's, and the checkpoints that they sign."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from audit import tree
from audit.checkpoint import COSIGNATURE, SignerKey, sign_note
from audit.checkpoint import Checkpoint as Text
from audit.models import Checkpoint, Cosignature
from audit.proofs import stored
from tests.audit.cast import LOG_KEY

KEY = LOG_KEY
WITNESS = SignerKey("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32), COSIGNATURE)


def checkpointed(*, size: int | None = None, witness: bool = False) -> Checkpoint:
    """The row of a checkpoint over the first ``size`` leaves; by default over all."""
    size = stored() if size is None else size
    text = Text(KEY.name, size, tree.root(size))
    row = Checkpoint.objects.create(size=size, root=text.root, note=sign_note(text.text, [KEY]), at=timezone.now())
    if witness:
        line = WITNESS.line(text.text, at=1_800_000_000)
        Cosignature.objects.create(checkpoint=row, witness=WITNESS.name, line=line, at=row.at)
    return row
