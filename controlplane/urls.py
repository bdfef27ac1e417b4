"""Every page's address. Names are stable: see docs."""

from django.urls import include, path

from controlplane.api import urls as api_urls
from controlplane.views import health, sign_in

urlpatterns = [
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/v1/", api_urls),
    path("audit/", include("audit.urls")),
    path("", include("pools.urls")),
]

handler400 = "controlplane.views.errors.bad_request"
handler403 = "controlplane.views.errors.permission_denied"
handler404 = "controlplane.views.errors.not_found"
handler500 = "controlplane.views.errors.server_error"
