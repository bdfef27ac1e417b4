"""The domain: pools of RQ workers."""

__version__ = "0.1.0"
