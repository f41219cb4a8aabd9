"""An asyncio SIP user agent: calls, registrations and transfers that report their true outcome."""
