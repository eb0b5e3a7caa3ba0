"""Runs the audit as `python -m bench.audit`."""

from bench.audit.command import main

if __name__ == "__main__":
    main()
