"""Vigie's dashboard. `dashboard/run` starts it."""

from vigie_dashboard.application import main

main()
