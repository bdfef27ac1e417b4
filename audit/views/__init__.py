"""The log's pages. ``reading`` changes nothing; ``writing`` has the few verbs that an auditor has."""
