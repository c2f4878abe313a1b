"""Take a server out of service for good: somebody approves, it cools down, and then there is no way back.

```
 close ─┬─▶ approved (signal) ─▶ check ─┬─▶ wipe (pivot) ─▶ report
        └─▶ cool (delay) ───────────────┘
```
"""
