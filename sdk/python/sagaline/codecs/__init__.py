"""How Python values become JSON and come back, one codec for each type, made on first use and kept.

`codec` says what a codec is, `scalars`, `containers` and `records` hold those for Python's own types, `foreign`
those for pydantic, msgspec and protobuf, and `compiler` picks and joins them. `sagaline.values` is the way in.
"""
