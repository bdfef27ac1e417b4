"""The domain's pages. Names are used by templates and the frame; addresses are the contract's."""

from django.urls import path, register_converter

from pools.views import (
    access,
    agents,
    breakers,
    config,
    dead_letters,
    edits,
    filtering,
    groups,
    handling,
    jobs,
    notifications,
    operations,
    overview,
    pools,
    preview,
    saved_views,
    secrets,
    verbs,
)

register_converter(jobs.JobIdConverter, "job_id")

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("pools/", pools.pools, name="pools"),
    path("pools/new/", pools.pool_new, name="pool-new"),
    path("pools/<slug:slug>/", pools.pool, name="pool"),
    path("pools/<slug:slug>/edit/", pools.pool_edit, name="pool-edit"),
    path("pools/<slug:slug>/pause/", verbs.command, {"verb": "pause"}, name="pool-pause"),
    path("pools/<slug:slug>/resume/", verbs.command, {"verb": "resume"}, name="pool-resume"),
    path("pools/<slug:slug>/drain/", verbs.command, {"verb": "drain"}, name="pool-drain"),
    path("pools/<slug:slug>/breakers/<str:name>/open/", breakers.breaker, {"verb": "open"}, name="breaker-open"),
    path("pools/<slug:slug>/breakers/<str:name>/close/", breakers.breaker, {"verb": "close"}, name="breaker-close"),
    path("pools/<slug:slug>/scale/", verbs.scale, name="pool-scale"),
    path("pools/<slug:slug>/config/", config.config, name="config"),
    path("pools/<slug:slug>/config/<int:number>/", config.config_version, name="config-version"),
    path("pools/<slug:slug>/config/<int:number>/restore/", config.config_restore_page, name="config-restore"),
    path("dead-letters/", dead_letters.dead_letters, name="dead-letters"),
    path("dead-letters/suggestions/", filtering.suggest, name="filter-suggestions"),
    path("dead-letters/views/", saved_views.views, name="saved-views"),
    path("dead-letters/views/<int:pk>/rename/", saved_views.rename, name="saved-view-rename"),
    path("dead-letters/views/<int:pk>/remove/", saved_views.remove, name="saved-view-remove"),
    path("dead-letters/views/<int:pk>/default/", saved_views.set_default, name="saved-view-default"),
    path("dead-letters/groups/<int:pk>/", dead_letters.failure_group, name="failure-group"),
    path("dead-letters/preview/", preview.preview, name="dead-letters-preview"),
    *(
        path(f"dead-letters/{verb}/", handling.handle, {"verb": verb}, name=f"dead-letters-{verb}")
        for verb in handling.VERBS
    ),
    *(
        path(f"dead-letters/groups/{verb}/", groups.decide, {"verb": verb}, name=f"failure-groups-{verb}")
        for verb in groups.VERBS
    ),
    path("jobs/<job_id:job_id>/", jobs.job, name="job"),
    path("payloads/<job_id:job_id>/reveal/", jobs.reveal_payload, name="payload-reveal"),
    path("payloads/<job_id:job_id>/edit/", edits.edit_payload, name="payload-edit"),
    path("payloads/<job_id:job_id>/hide/", jobs.hide_payload, name="payload-hide"),
    path("operations/", operations.operations, name="operations"),
    path("operations/<int:pk>/", operations.operation, name="operation"),
    path("operations/<int:pk>/start/", operations.move, {"verb": "start"}, name="operation-start"),
    path("operations/<int:pk>/pause/", operations.move, {"verb": "pause"}, name="operation-pause"),
    path("operations/<int:pk>/resume/", operations.move, {"verb": "resume"}, name="operation-resume"),
    path("operations/<int:pk>/recall/", operations.move, {"verb": "recall"}, name="operation-recall"),
    path("operations/<int:pk>/rate/", operations.move, {"verb": "rate"}, name="operation-rate"),
    path("operations/<int:pk>/again/", operations.move, {"verb": "again"}, name="operation-again"),
    path("operations/<int:pk>/undo/", operations.move, {"verb": "undo"}, name="operation-undo"),
    path("operations/<int:pk>/outcomes/", operations.outcomes, name="operation-outcomes"),
    path("operations/<int:pk>/approve/", operations.move, {"verb": "approve"}, name="operation-approve"),
    path("operations/<int:pk>/decline/", operations.move, {"verb": "decline"}, name="operation-decline"),
    path("operations/<int:pk>/cancel/", operations.move, {"verb": "cancel"}, name="operation-cancel"),
    path("agents/", agents.agents, name="agents"),
    path("secrets/", secrets.secrets, name="secrets"),
    path("secrets/new/", secrets.secret_new, name="secret-new"),
    path("secrets/<slug:name>/edit/", secrets.secret_edit, name="secret-edit"),
    path("secrets/<slug:name>/remove/", secrets.secret_delete, name="secret-remove"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/new/", notifications.notification_new, name="notification-new"),
    path("notifications/<slug:name>/edit/", notifications.notification_edit, name="notification-edit"),
    path("notifications/<slug:name>/remove/", notifications.notification_remove, name="notification-remove"),
    path("notifications/<slug:name>/test/", notifications.notification_test, name="notification-test"),
    path("access/", access.access, name="access"),
    path("access/grant/", access.role, {"verb": "grant"}, name="access-grant"),
    path("access/revoke/", access.role, {"verb": "revoke"}, name="access-revoke"),
]
