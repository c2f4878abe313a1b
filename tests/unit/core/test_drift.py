"""What a worker declares is compared with what a graph says of the same action."""

from __future__ import annotations

from sagaline_server.core.data_types import drift
from sagaline_server.core.graph import ActionNode, DataType

INT, TEXT = DataType('{"type":"integer"}'), DataType('{"type":"string"}')
CHARGE = ActionNode("charge", input_types=(("amount", INT),), output_type=TEXT)


def test_a_worker_that_declares_the_same_or_nothing_has_not_drifted() -> None:
    assert drift(CHARGE, (("amount", INT),), TEXT) == []
    assert drift(CHARGE, (), None) == []
    assert drift(ActionNode("charge"), (("amount", TEXT),), INT) == []


def test_inputs_and_outputs_that_do_not_fit_any_more_are_told() -> None:
    inputs, output = drift(CHARGE, (("amount", TEXT), ("more", INT)), INT)
    assert "'amount'" in inputs
    assert "takes string, and is given integer" in inputs
    assert "takes string, and is given integer" in output


def test_a_worker_that_takes_more_than_it_did_has_not_drifted() -> None:
    wider = DataType('{"type":["integer","null"]}')
    assert drift(CHARGE, (("amount", wider),), TEXT) == []
    assert drift(CHARGE, (("amount", DataType(message="acme.v1.Money")),), TEXT)
