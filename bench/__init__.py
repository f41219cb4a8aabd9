"""The performance harness: real callers, real peers, one run, ratios."""
