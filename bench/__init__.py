"""The load-test harness: run as `python -m bench`."""
