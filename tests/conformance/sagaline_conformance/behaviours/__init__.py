"""One folder for each behaviour: `README.md` says what is expected, `script.py` drives the worker."""
