"""The client: creates sagas, follows them, steers them.

`Client` is for asyncio, `sagaline.sync.Client` the same for everybody else. What they send, what they make of answers,
and when they repeat a call is decided without I/O and shared by both: `calls`, `status`, `repeating`, `watching`,
`running`, `waiting`. `aio_link` and `sync_link` do the rest; `shared_runs` and `shared_creations` send together what
tasks of one loop ask for at the same moment.
"""

from sagaline.client.calls import SagaFilterOptions
from sagaline.client.client import Client
from sagaline.client.ends import Created, Ended
from sagaline.client.sagas import NewSaga, SagaOptions

__all__ = ["Client", "Created", "Ended", "NewSaga", "SagaFilterOptions", "SagaOptions"]
