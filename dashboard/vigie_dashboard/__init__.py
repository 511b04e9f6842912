"""What happens now, what the trend is, and how the system does: on the processor's tables, read only."""
