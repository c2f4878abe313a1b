"""Pages for a browser that show sagas, their graphs and their logs, live. They change nothing."""
