"""cXML documents for a PBX: reads them, runs them on SIP calls, and asks web applications for more."""
