#!/usr/bin/env python3
"""Django's command line for Poolwarden."""

import os
import sys

if sys.argv[1:2] == ["up"]:
    # Everything that `up` writes stays under POOLWARDEN_HOME; its children keep their byte code there.
    sys.dont_write_bytecode = True


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    from django.core.management import execute_from_command_line

    from controlplane.env import EnvError

    try:
        execute_from_command_line(sys.argv)
    except EnvError as error:
        sys.exit(f"poolwarden: {error}")


if __name__ == "__main__":
    main()
