"""The same sagas on other systems, from their public packages: for comparison, never a part of `make ci`."""
