"""Figures as pure functions from data frames."""
