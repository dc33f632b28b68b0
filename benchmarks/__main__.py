"""``python -m benchmarks run [--quick] [--cases ...] [--peers ...] [--rounds N]``, and ``report FILE...``."""

from benchmarks.cli import main

if __name__ == "__main__":
    main()
