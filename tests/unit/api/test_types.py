"""Data that does not fit is refused at creation: between nodes, of literals, and of the parameters."""

from __future__ import annotations

import json

import grpc
import pytest

from sagaline.v1 import saga_pb2, saga_service_pb2
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import refused

AMOUNT = '{"type":"integer"}'
CARD = '{"type":"object","properties":{"number":{"type":"string"}},"required":["number"]}'


def create(spec: saga_pb2.SagaSpec) -> saga_service_pb2.CreateSagaRequest:
    return saga_service_pb2.CreateSagaRequest(saga=spec)


def typed(output: str = AMOUNT, taken: str = AMOUNT) -> saga_pb2.SagaSpec:
    """Quote an amount, then charge it on the parameters' card."""
    spec = saga_pb2.SagaSpec(saga_id="s-1")
    spec.params.json = '{"card": {"number": "4711"}}'
    spec.graph.name = "typed"
    quote = spec.graph.nodes.add(name="quote").action
    quote.action = "quote"
    quote.output_type.json_schema = output
    charge = spec.graph.nodes.add(name="charge").action
    charge.action = "charge"
    charge.inputs["amount"].node = "quote"
    charge.input_types["amount"].json_schema = taken
    charge.inputs["card"].params.SetInParent()
    charge.inputs["card"].path.append("card")
    charge.input_types["card"].json_schema = CARD
    return spec


CHARGE = "saga.graph.nodes[1].action"


async def test_a_graph_whose_data_fits_is_created(served: Served) -> None:
    response = await served.sagas.CreateSaga(create(typed()))
    assert response.saga.saga_id == "s-1"


async def test_an_output_that_does_not_fit_is_refused(served: Served) -> None:
    told = await refused(served.sagas.CreateSaga(create(typed(output='{"type":"string"}'))))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert told.fields == [(f"{CHARGE}.inputs[amount]", "TYPE_MISMATCH")]
    assert "takes integer, and is given string" in told.message
    assert not served.runtime.creations


@pytest.mark.parametrize("card", [{"number": 4711}, {}, None, "4711"])
async def test_parameters_that_do_not_fit_are_refused_without_telling_them(served: Served, card: object) -> None:
    spec = typed()
    spec.params.json = json.dumps({"card": card})
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga.params.card", "TYPE_MISMATCH")]
    assert "4711" not in told.message


async def test_parameters_without_a_field_that_is_taken_are_refused(served: Served) -> None:
    spec = typed()
    spec.params.json = "{}"
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga.params.card", "TYPE_MISMATCH")]


async def test_every_problem_of_types_and_shape_is_in_one_error(served: Served) -> None:
    spec = typed(taken='{"type":"nothing"}')
    spec.graph.nodes[0].action.inputs["x"].node = "nobody"
    spec.graph.nodes[1].action.inputs["n"].literal.json = '"text"'
    spec.graph.nodes[1].action.input_types["n"].json_schema = AMOUNT
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert set(told.fields) == {
        ("saga.graph.nodes[0].action.inputs[x]", "UNKNOWN_NODE"),
        (f"{CHARGE}.input_types[amount].json_schema", "BAD_SCHEMA"),
        (f"{CHARGE}.inputs[amount]", "TYPE_MISMATCH"),
        (f"{CHARGE}.inputs[n]", "TYPE_MISMATCH"),
    }


async def test_a_field_that_an_output_does_not_have_cannot_be_selected(served: Served) -> None:
    spec = typed(output='{"type":"object","properties":{"total":{"type":"integer"}}}')
    spec.graph.nodes[1].action.inputs["amount"].path.append("sum")
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [(f"{CHARGE}.inputs[amount].path", "TYPE_MISMATCH")]
    spec.graph.nodes[1].action.inputs["amount"].path[0] = "total"
    assert (await served.sagas.CreateSaga(create(spec))).saga.saga_id == "s-1"


async def test_messages_are_compared_by_name(served: Served) -> None:
    spec = typed()
    spec.graph.nodes[0].action.output_type.message_name = "acme.v1.Quote"
    spec.graph.nodes[1].action.input_types["amount"].message_name = "acme.v1.Money"
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [(f"{CHARGE}.inputs[amount]", "TYPE_MISMATCH")]
    assert "acme.v1.Money" in told.message
    spec.graph.nodes[1].action.input_types["amount"].message_name = "acme.v1.Quote"
    assert (await served.sagas.CreateSaga(create(spec))).saga.saga_id == "s-1"


async def test_the_place_of_an_element_is_a_number(served: Served) -> None:
    texts = '{"type":"array","items":{"type":"string"}}'
    spec = typed(output=texts, taken='{"type":"string"}')
    spec.graph.nodes[1].action.ClearField("inputs")
    mapped = spec.graph.nodes.add(name="each").map
    mapped.items.node = "quote"
    mapped.index = "place"
    mapped.action.action = "name"
    mapped.action.input_types["place"].json_schema = '{"type":"string"}'
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga.graph.nodes[2].map.index", "TYPE_MISMATCH")]
    mapped.action.input_types["place"].json_schema = '{"type":"integer"}'
    await served.sagas.CreateSaga(create(spec))


async def test_the_elements_of_a_map_and_its_output_are_checked(served: Served) -> None:
    texts = '{"type":"array","items":{"type":"string"}}'
    spec = typed(output=texts, taken=texts)
    mapped = spec.graph.nodes.add(name="each").map
    mapped.items.node = "quote"
    mapped.action.action = "double"
    mapped.action.input_types["item"].json_schema = AMOUNT
    mapped.action.output_type.json_schema = AMOUNT
    spec.graph.nodes[1].action.inputs["amount"].node = "each"
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert set(told.fields) == {
        ("saga.graph.nodes[2].map.items", "TYPE_MISMATCH"),
        (f"{CHARGE}.inputs[amount]", "TYPE_MISMATCH"),
    }


async def test_the_parameters_of_a_subsaga_are_those_it_is_given(served: Served) -> None:
    spec = typed()
    outer = spec.graph.nodes.add(name="inner").subsaga
    outer.params.node = "quote"
    outer.graph.name = "inner"
    inner = outer.graph.nodes.add(name="use").action
    inner.action = "use"
    inner.inputs["amount"].params.SetInParent()
    inner.input_types["amount"].json_schema = '{"type":"boolean"}'
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga.graph.nodes[2].subsaga.graph.nodes[0].action.inputs[amount]", "TYPE_MISMATCH")]


async def test_a_schema_fetches_nothing(served: Served) -> None:
    told = await refused(served.sagas.CreateSaga(create(typed(taken='{"$ref":"https://example.org/schema"}'))))
    assert told.fields == [(f"{CHARGE}.input_types[amount].json_schema", "BAD_SCHEMA")]
