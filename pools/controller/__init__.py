"""The loops of ``manage.py controller``. One process leads at a time; it alone signs, samples and ingests."""
