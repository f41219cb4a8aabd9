"""What the interpreter's ports are made of: webhooks over HTTP, and the journal."""
