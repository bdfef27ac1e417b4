from django.urls import path

from audit.views import reading, writing

app_name = "audit"

urlpatterns = [
    path("", reading.timeline, name="timeline"),
    path("events/<int:index>/", reading.event, name="event"),
    path("events/<int:index>/erase/", writing.erase, name="erase"),
    path("checkpoint/", writing.request_checkpoint, name="checkpoint"),
    path("exports/", reading.exports, name="exports"),
    path("exports/new/", writing.new_export, name="export-new"),
    path("exports/<uuid:uid>/", reading.download, name="download"),
    path("filters/", writing.save_filter, name="filter-save"),
    path("filters/<int:pk>/delete/", writing.delete_filter, name="filter-delete"),
]
