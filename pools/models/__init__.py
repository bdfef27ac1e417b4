"""The domain's tables. One file an aggregate; import from here."""

from pools.models import among as among  # registers the lookup
from pools.models.agent import Agent, AgentPool
from pools.models.approval import Approval, Decision
from pools.models.config_version import ConfigState, ConfigVersion
from pools.models.control import BrokerState, ControllerLease, IdempotencyKey, OutboxMessage
from pools.models.cron import CronSlot, SlotEnd, SlotOutcome
from pools.models.edit import PayloadEdit, SealedPayload
from pools.models.failure import (
    SHELVED,
    DeadLetter,
    DeadLetterDetail,
    DeadLetterState,
    FailedAttempt,
    SearchableArgument,
    is_poison,
    is_refused,
    still_there,
)
from pools.models.failure_group import FailureGroup, FailureHour, GroupNote, GroupState
from pools.models.grant import PoolGroupPermission, PoolUserPermission
from pools.models.notification import (
    ChannelKind,
    DeliveryState,
    Held,
    Notice,
    NotificationChannel,
    NotificationDelivery,
    Occasion,
)
from pools.models.operation import Effect, Operation, OperationItem, OperationKind, OperationState, Outcome
from pools.models.pool import Criticality, Pool, PoolKind, RunCommand, RunState, Team
from pools.models.reveal import PayloadReveal
from pools.models.sample import PoolNow, PoolSample, QueueState, Resolution, Worker
from pools.models.saved_view import DefaultView, SavedView
from pools.models.secret import SecretReference

__all__ = [
    "SHELVED",
    "Agent",
    "AgentPool",
    "Approval",
    "BrokerState",
    "ChannelKind",
    "ConfigState",
    "ConfigVersion",
    "ControllerLease",
    "Criticality",
    "CronSlot",
    "DeadLetter",
    "DeadLetterDetail",
    "DeadLetterState",
    "Decision",
    "DefaultView",
    "DeliveryState",
    "Effect",
    "FailedAttempt",
    "FailureGroup",
    "FailureHour",
    "GroupNote",
    "GroupState",
    "Held",
    "IdempotencyKey",
    "Notice",
    "NotificationChannel",
    "NotificationDelivery",
    "Occasion",
    "Operation",
    "OperationItem",
    "OperationKind",
    "OperationState",
    "OutboxMessage",
    "Outcome",
    "PayloadEdit",
    "PayloadReveal",
    "Pool",
    "PoolGroupPermission",
    "PoolKind",
    "PoolNow",
    "PoolSample",
    "PoolUserPermission",
    "QueueState",
    "Resolution",
    "RunCommand",
    "RunState",
    "SavedView",
    "SealedPayload",
    "SearchableArgument",
    "SecretReference",
    "SlotEnd",
    "SlotOutcome",
    "Team",
    "Worker",
    "is_poison",
    "is_refused",
    "still_there",
]
