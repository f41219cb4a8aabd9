"""Calls of the daemon: a SIP call, its application and its engine joined; limits; who may call."""
