"""Tests with programs from outside: nginx, systemd-analyze, promtool."""
