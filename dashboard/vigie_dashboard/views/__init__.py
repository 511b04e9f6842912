"""One module a view. Each has `render(context)`."""
