"""What we claim about speed, runnable by anyone: `make bench`; see docs/performance.md."""
