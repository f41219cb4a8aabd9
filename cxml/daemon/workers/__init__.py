"""Several processes behind one address (docs/adr/0018-workers.md): a parent that watches, and the workers that take the calls."""
