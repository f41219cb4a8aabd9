"""The units under test: each starts a transferring user agent and says where it listens."""
