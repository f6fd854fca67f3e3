"""The gateway to SIRE as its clients meet it: rows judged as the portal would, an effect for each that it took."""

from typing import Any

import httpx

ROW = "12345\t5001\t3\tC01X00T47\t23\tMUSTER\t\tERIKA\tE\t23/11/2026\t23\t169\t01/02/1990"
WRONG = ROW.replace("C01X00T47", "C2").replace("\t3\t", "\t99\t")


async def register(client: Any, *rows: str, token: str = "token") -> httpx.Response:
    body = {"reference": "reservation-17-entry-1", "rows": rows}
    answer: httpx.Response = await client.http.post(
        "/sire/registrations", json=body, headers={"Authorization": f"Bearer {token}"}
    )
    return answer


async def test_every_row_that_was_taken_is_an_effect(client: Any) -> None:
    assert (await register(client, ROW)).json() == {"result": "accepted"}
    (effect,) = await client.effects(provider="sire", reference="reservation-17-entry-1")
    assert (effect["document"], effect["movement"], effect["day"]) == ("C01X00T47", "E", "23/11/2026")


async def test_rows_that_the_portal_would_refuse_are_named(client: Any) -> None:
    partial = (await register(client, ROW, WRONG)).json()
    assert partial == {"result": "partial", "rowErrors": [{"row": 2, "message": "el tipo de documento no existe"}]}
    cut, late = ROW.rpartition("\t")[0], ROW.replace("23/11/2026", "2026-11-23")
    assert [error["row"] for error in (await register(client, cut, late)).json()["rowErrors"]] == [1, 2]
    assert len(await client.effects(provider="sire")) == 1


async def test_it_can_refuse_a_document_and_keep_silent_about_what_it_did(client: Any) -> None:
    await client.configure("sire", refused_documents={"C01X00T47": "no existe"})
    assert (await register(client, ROW)).json()["result"] == "rejected"
    await client.configure("sire", refused_documents={}, uncertain=True)
    assert (await register(client, ROW)).json() == {"result": "uncertain"}
    assert len(await client.effects(provider="sire")) == 1


async def test_whom_it_does_not_know_it_tells_that_nothing_was_filed(client: Any) -> None:
    await client.http.post("/_sandbox/accounts", json={"provider": "sire", "refused": ["bad"]})
    answer = await register(client, ROW, token="bad")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token")
    await client.fault(provider="sire", kind="provider_error", value="portal_down", times=1)
    assert (await register(client, ROW)).status_code == 503
    assert await client.effects(provider="sire") == []
