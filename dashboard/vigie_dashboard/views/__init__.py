"""The views, a module each."""

# Their names in addresses, in the order of the navigation. The first is at / too.
NAMES = ("now", "trend", "operation")
