"""Sagas are created with parameters of the graph's type, and answer with its result."""

from __future__ import annotations

from typing import assert_type

from cases.shared import Card, Receipt, charge, tick

from sagaline import Client, GraphBuilder, NewSaga
from sagaline.sync import Client as SyncClient

g = GraphBuilder("payment", params=Card)
payment = g.build(result=g.add("pay", charge, g.params, 3))

c = GraphBuilder("clock")
clock = c.build(result=c.add("tick", tick))


async def use(client: Client) -> None:
    assert_type(await client.run(payment, Card("4242"), labels={"team": "a"}), Receipt)
    assert_type(await client.run(clock, None), int)
    await client.run(payment, "4242")  # E: Cannot infer value of type parameter "P"|Literal\['4242'\]
    await client.run(clock, Card("4242"))  # E: Cannot infer value of type parameter "P"|Argument of type "Card"
    await client.run(g, Card("4242"))  # E: incompatible type "GraphBuilder|GraphBuilder\[Card\]
    await client.run(payment, Card("4242"), label={"team": "a"})  # E: Unexpected keyword|No parameter named
    assert_type((await client.create(payment, Card("4242"))).saga_id, str)


def use_sync(client: SyncClient) -> None:
    assert_type(client.run(payment, Card("4242")), Receipt)
    client.run(payment, "4242")  # E: Cannot infer value of type parameter "P"|Literal\['4242'\]


assert_type(NewSaga(payment, Card("4242")), NewSaga[Receipt])
NewSaga(payment, "4242")  # E: Cannot infer value of type parameter "P"|Literal\['4242'\]
