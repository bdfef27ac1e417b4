"""Start a worker in the application's own interpreter: run by path, needs only the standard library, rq and redis.

The agent runs ``INTERPRETER …/pools/runtime/launch.py`` with the application's directory as working directory and a
WorkerConfig on standard input.
"""

import importlib.util
import os
import sys

_RUNTIME = os.path.dirname(os.path.abspath(__file__))


def _make_importable() -> None:
    """Make ``pools`` importable, and the application, as ``python -m`` in its directory would; nothing else of ours.

    Python put this file's folder first on the path, where our secrets.py would hide the standard library's.
    """
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if os.path.abspath(path) != _RUNTIME)]
    package = os.path.dirname(_RUNTIME)
    spec = importlib.util.spec_from_file_location(
        "pools", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pools"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _make_importable()
    if sys.argv[1:2] == ["zygote"]:
        from pools.runtime.zygote import main as zygote

        zygote(int(sys.argv[2]))
    if sys.argv[1:2] == ["egress"]:
        from pools.runtime.sandbox.egress import main as egress

        egress(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
        sys.exit()
    from pools.runtime.startup import main

    sys.exit(main())
