from django.urls import path

from audit import views

app_name = "audit"

urlpatterns = [
    path("", views.timeline, name="timeline"),
    path("events/<int:index>/", views.event, name="event"),
]
