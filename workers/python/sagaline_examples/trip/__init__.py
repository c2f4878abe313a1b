"""Book a trip.

```
          ┌─▶ hotel ──┐
 pay ─────┼─▶ flight ─┼─▶ confirm
          └─▶ car ────┘
```
"""
