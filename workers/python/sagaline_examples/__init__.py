"""Runnable example workers, and the sagas they serve."""
