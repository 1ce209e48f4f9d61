"""Attacks by module code on objects without access, and by web pages on the session's server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from daggerw_engine.api.clients.client import Client
from daggerw_engine.api.clients.secret_providers import Secrets
from daggerw_engine.api.queries.calls import ROOT, Call
from daggerw_engine.api.queries.evaluation import Evaluation
from daggerw_engine.api.queries.object_ids import ObjectIds
from daggerw_engine.api.queries.resolver import Api
from daggerw_engine.api.server import serve_api
from daggerw_engine.errors import EngineError
from daggerw_engine.run.network import listener

USER = Client(Path("/user"), confined=False)
MODULE = Client(Path("/module"), confined=True, name="module /somewhere")
SECRET = '{setSecret(name:"token",plaintext:"hidden"){id}}'


@pytest.fixture
def ids() -> ObjectIds:
    return ObjectIds()


@pytest.fixture
def api(ids: ObjectIds, tmp_path: Path) -> Api:
    return Api(Evaluation({}), Secrets(tmp_path), ids, tmp_path)


def execute(api: Api, client: Client, query: str) -> dict[str, Any]:
    return asyncio.run(api.execute(client, query))


def test_an_id_is_of_no_use_to_a_client_that_does_not_hold_it(api: Api) -> None:
    secret = execute(api, USER, SECRET)["data"]["setSecret"]["id"]
    answer = execute(api, MODULE, f'{{node(id:"{secret}"){{... on Secret{{plaintext}}}}}}')
    assert "no object has the ID" in answer["errors"][0]["message"]
    mounted = f'{{container{{withSecretVariable(name:"X",secret:"{secret}"){{id}}}}}}'
    assert "no object has the ID" in execute(api, MODULE, mounted)["errors"][0]["message"]


def test_an_id_that_is_handed_over_is_held_by_both(ids: ObjectIds) -> None:
    call = Call.to("Secret", "secret", {"uri": "env:X"}, ROOT)
    id_ = ids.give(USER, call)
    ids.share([{"inputs": {"token": id_, "other": "Secret:guessed"}}], USER, MODULE)
    assert ids.resolve(MODULE, id_) is call
    with pytest.raises(EngineError, match="no object has the ID 'Secret:guessed'"):
        ids.resolve(MODULE, "Secret:guessed")


def test_a_client_hands_over_nothing_that_it_does_not_hold(ids: ObjectIds) -> None:
    id_ = ids.give(USER, Call.to("Secret", "secret", {"uri": "env:X"}, ROOT))
    ids.share(id_, MODULE, USER)
    ids.share(id_, Client(Path("/another"), confined=True), MODULE)
    with pytest.raises(EngineError):
        ids.resolve(MODULE, id_)


def test_an_id_is_another_one_in_the_next_session() -> None:
    call = Call.to("Secret", "secret", {"uri": "env:X"}, ROOT)
    first, second = (ObjectIds().give(USER, call) for _ in range(2))
    assert first != second


def test_module_code_reaches_no_port_of_the_host_by_itself(api: Api) -> None:
    query = "{host{service(ports:[{backend:22}]){id}}}"
    message = execute(api, MODULE, query)["errors"][0]["message"]
    assert message == "module code has no services of the host of its own: take one as an argument"
    assert "errors" not in execute(api, USER, query)


def test_cache_volumes_of_clients_are_apart() -> None:
    another = Client(Path("/module"), confined=True, name="module /elsewhere")
    assert len({client.volume("v") for client in (USER, MODULE, another)}) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "attacker.test"},
        {"host": "attacker.test:80"},
        {"origin": "http://127.0.0.1"},
        {"origin": "null"},
    ],
)
def test_the_server_refuses_what_a_web_page_sends(headers: dict[str, str]) -> None:
    async def answer(_: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError("answered")

    async def status() -> int:
        listening = listener()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/query"
        async with serve_api(answer, listening, "token"), httpx.AsyncClient(trust_env=False) as client:
            return (
                await client.post(url, auth=("token", ""), json={"query": "{}"}, headers=headers)
            ).status_code

    assert asyncio.run(status()) == 403


@pytest.mark.parametrize(("client", "leads"), [(USER, True), (MODULE, False)])
def test_only_a_folder_of_the_users_leads_to_a_repository_outside_of_it(
    client: Client, leads: bool, api: Api, ids: ObjectIds
) -> None:
    path = client.workdir / "linked"
    answer = execute(api, client, f'{{host{{directory(path:"{path}"){{asGit{{id}}}}}}}}')
    call = ids.resolve(client, answer["data"]["host"]["directory"]["asGit"]["id"])
    assert call.arguments == ({"origin": str(path)} if leads else {})
