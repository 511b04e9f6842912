"""All SQL, one module a view. Values are always parameters."""
