"""What rq 3.0 believes of a record, whoever wrote it: why managed workers look before they read (refusals.py).

A new rq that believes less fails here first.
"""

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from tests.runtime.test_policy import Bomb
from tests.support.valkey import ValkeyServer


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


def forged(client: Any, payload: bytes, **fields: Any) -> dict[str, Any]:
    client.hset("rq:job:forged", mapping={"data": payload, "status": "queued", "origin": "mail"} | fields)
    return {"id": "forged", "connection": client}


@pytest.mark.parametrize("field", ["meta", "result"])
def test_reading_a_record_unpickles_more_than_its_payload(client: Any, tmp_path: Path, field: str) -> None:
    marker = tmp_path / "unpickled"
    Job.fetch(**forged(client, zlib.compress(b"no pickle"), **{field: pickle.dumps(Bomb(str(marker)))}))
    assert marker.exists()


@pytest.mark.parametrize("field", ["data", "exc_info"])
def test_reading_a_record_unpacks_without_an_end(client: Any, field: str) -> None:
    packed = zlib.compress(b"[" + b" " * 50_000_000)
    assert len(packed) < 50_000
    job = Job.fetch(
        **forged(client, **{"payload": b"x"} | ({"payload": packed} if field == "data" else {field: packed}))
    )
    assert len(job.data if field == "data" else str(job._exc_info)) == 50_000_001


def test_json_names_any_function_also_what_a_module_imported(client: Any) -> None:
    for name in ("os.getpid", "tests.runtime.test_rq_contract_trust.os.getpid"):
        record = forged(client, json.dumps([name, None, [], {}]).encode())
        assert Job.fetch(**record, serializer=JSONSerializer).func is os.getpid
    assert import_attribute("eval") is eval


def test_json_calls_methods_of_plain_values(client: Any) -> None:
    record = forged(client, b'["upper", "text", [], {}]')
    assert Job.fetch(**record, serializer=JSONSerializer).perform() == "TEXT"


def test_callbacks_and_webhooks_are_what_the_hash_says(client: Any) -> None:
    webhook = [{"url": "http://169.254.169.254/", "job_status": "finished"}]
    names = {f"{kind}_callback_name": "os.getpid" for kind in ("success", "failure", "stopped")}
    job = Job.fetch(**forged(client, b"x", webhooks=json.dumps(webhook), **names))
    assert job.success_callback is job.failure_callback is job.stopped_callback is os.getpid
    assert job.webhooks[0].url == "http://169.254.169.254/"


def test_what_rq_writes_where_there_is_no_callback_or_webhook(client: Any) -> None:
    job = Queue("mail", connection=client).enqueue("tasks.add", 1, 2)
    record = client.hgetall(job.key)
    assert record[b"success_callback_name"] == record[b"failure_callback_name"] == b""
    assert b"webhooks" not in record


def test_payloads_begin_as_their_serializers_do(client: Any) -> None:
    for serializer, beginning in (("json", b"["), ("pickle", b"\x80")):
        job = Queue("mail", connection=client, serializer=serializer).enqueue("tasks.add", 1, 2)
        assert zlib.decompress(client.hget(job.key, "data")).startswith(beginning)
