"""Provision a virtual machine.

```
             ┌─▶ address ─────────────────────┐
 instance ───┼─▶ volume ──────────────────────┼─▶ configure ─▶ attach ─▶ boot
             └─▶ server: pick ─▶ reserve ─────┘
```
"""
