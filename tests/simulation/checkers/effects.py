"""Effects are all or nothing: of a saga that succeeded every one is in the world, of one that unwound none."""

from __future__ import annotations

from sagaline_server.core.entries import SagaState
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import FlatNode
from sagaline_server.core.transitions import NodeStatus
from tests.simulation.checkers.checker import Checker


class Effects(Checker):
    name = "effects"

    def finish(self, *, complete: bool) -> None:
        for saga_id, page in self.ledger.pages.items():
            if page.saga.finished is not None:
                for number, node in enumerate(page.saga.topology.nodes):
                    if node.action is not None:
                        self._check(saga_id, page.saga, number, node)

    def _check(self, saga_id: str, saga: Saga, number: int, node: FlatNode) -> None:
        row = self.scene.world.row((saga_id, node.name))
        status = NodeStatus(saga.statuses[number])
        told = f"{saga_id} is {saga.state.name}, its node {node.name} is {status.name}, and in the world it is {row}"
        assert node.action is not None
        if saga.finished is SagaState.SUCCEEDED and number not in saga.retreating:
            self.check(row.net == 1, told)
            self.check(saga.outputs[number].json == row.output, f"{told}; the log has another output")
        elif node.action.undo is not UndoKind.NOOP or status in (NodeStatus.FAILED, NodeStatus.ABANDONED):
            self.check(row.net == 0, told)
