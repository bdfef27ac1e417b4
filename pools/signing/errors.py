"""Why something signed is refused. Callers catch ``SigningError``; tests and the console know the leaf by ``code``."""


class SigningError(Exception):
    """The root. ``code`` is stable and goes over the wire; the text is for people and ends with what was not done."""

    code = "signing_error"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail} Nothing was changed.")


class EnvelopeTooLargeError(SigningError):
    code = "envelope_too_large"


class BadEnvelopeError(SigningError):
    code = "bad_envelope"


class BadBase64Error(SigningError):
    code = "bad_base64"


class WrongPayloadTypeError(SigningError):
    code = "wrong_payload_type"


class RootInvalidError(SigningError):
    code = "root_invalid"


class RootExpiredError(SigningError):
    code = "root_expired"


class WeakKeyError(SigningError):
    code = "weak_key"


class ThresholdNotMetError(SigningError):
    code = "threshold_not_met"


class BadJsonError(SigningError):
    code = "bad_json"


class NotCanonicalError(SigningError):
    code = "not_canonical"


class BadPayloadError(SigningError):
    """Signed and canonical, but not the fields of its type."""

    code = "bad_payload"


class WrongEnvironmentError(SigningError):
    code = "wrong_environment"


class WrongPoolError(SigningError):
    code = "wrong_pool"


class VersionRollbackError(SigningError):
    code = "version_rollback"


class BrokenChainError(SigningError):
    code = "broken_chain"


class NotYetValidError(SigningError):
    code = "not_yet_valid"


class ExpiredError(SigningError):
    code = "expired"


class NotAllowedError(SigningError):
    code = "not_allowed"
