"""What cannot be reached or may not be asked is told in plain words, and never with the password."""

import pytest
import redis
from django.test import override_settings

from pools.broker.connection import Broker, BrokerUnavailable, get_broker
from pools.broker.sampler import take_sample
from tests.support.valkey import ValkeyServer, free_port


def why(url: str) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        take_sample(Broker("eu", url))
    assert caught.value.alias == "eu"
    assert str(caught.value) == f"broker eu: {caught.value.why}"
    return caught.value.why


def test_nobody_listens() -> None:
    port = free_port()
    assert why(f"redis://:geheim@127.0.0.1:{port}/0").startswith(f"127.0.0.1:{port} cannot be reached: ")


def test_an_unknown_host() -> None:
    assert why("redis://:geheim@redis.invalid:6379/0").startswith("redis.invalid:6379 cannot be reached: ")


def test_a_socket_that_is_not_there() -> None:
    assert why("unix:///nowhere/valkey.sock").startswith("/nowhere/valkey.sock cannot be reached: ")


def test_a_url_that_is_none() -> None:
    assert why("http://user:geheim@example.org") == "its URL cannot be read: use redis://, rediss:// or unix://"
    assert "geheim" not in why("redis://:geheim@host:port/0")


@pytest.mark.parametrize("url_part", ["", ":falsch@", "nobody:falsch@"])
def test_a_wrong_password(own_valkey: ValkeyServer, url_part: str) -> None:
    own_valkey.client.config_set("requirepass", "geheim")
    text = why(f"redis://{url_part}127.0.0.1:{own_valkey.port}/0")
    assert text == f"127.0.0.1:{own_valkey.port} refused our user name or password"


def test_a_user_who_may_not(valkey: ValkeyServer) -> None:
    valkey.client.acl_setuser("narrow", enabled=True, passwords=["+geheim"], commands=["+ping"], keys=["*"], reset=True)
    text = why(f"redis://narrow:geheim@127.0.0.1:{valkey.port}/0")
    assert "does not permit this to our user" in text
    assert "geheim" not in text


def test_a_server_that_is_no_redis(live_socket: int) -> None:
    assert why(f"redis://127.0.0.1:{live_socket}/0").startswith(f"127.0.0.1:{live_socket} ")


def test_the_password_is_never_shown() -> None:
    broker = Broker("eu", "redis://user:p%40ss@host/0")
    assert "p%40ss" not in repr(broker)
    assert "p@ss" not in broker._why(redis.ResponseError("unknown command 'AUTH', with args: 'p@ss' 'p%40ss'"))


def test_the_settings_name_the_brokers(valkey: ValkeyServer) -> None:
    named = {"default": {"url": valkey.url, "prefix": "acme", "region": "eu-1"}, "plain": {"url": valkey.url}}
    with override_settings(POOLWARDEN_BROKERS=named):
        broker = get_broker()
        assert (broker.alias, broker.prefix, broker.region) == ("default", "acme", "eu-1")
        assert broker.keys.agents == "acme:pw:agents"
        assert get_broker() is broker
        assert get_broker("plain").keys.agents == "pw:agents"
        with pytest.raises(BrokerUnavailable, match="broker asia: no broker has this name in the settings"):
            get_broker("asia")


def test_the_client_reconnects(own_valkey: ValkeyServer) -> None:
    broker = Broker("default", own_valkey.url)
    take_sample(broker)
    own_valkey.stop()
    own_valkey.start()
    assert take_sample(broker).queues == []
