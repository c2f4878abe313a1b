"""Worker sessions: who serves which action, what is with whom, and what is acknowledged.

`session` is one worker as this SEC knows it, `dispatcher` all of them with the
nodes that wait for one, `worker_service` the gRPC stream around both.
"""
