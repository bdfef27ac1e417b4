"""Where a run happens, beside what rq writes of it: in its execution when it starts, in its result when it ends.

rq passes over fields that it does not know. lua/reap.lua copies them when whoever ran the job is dead.
"""

from typing import Any, cast

from rq.executions import Execution

from pools.runtime.identity import Identity
from pools.runtime.job import PoolJob

HOST, CONFIG = "pw_host", "pw_config"


def place(identity: Identity) -> dict[str, Any]:
    """The fields for a run by this worker."""
    return {HOST: identity.host, CONFIG: identity.config}


class PoolExecution(Execution):
    """An execution that says where it runs, when it is created."""

    def serialize(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().serialize()
        return fields | place(cast(PoolJob, self.job).identity)
