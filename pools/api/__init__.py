"""The API's routers over the domain. ``controlplane.api`` puts them together."""
