"""Pure. The exceptions of ``cxml``.

::

    CxmlError
    ├── DocumentError   a document that can't run (cxml.document.parse)
    ├── ConfigError     a configuration that can't be used (cxml.daemon.config)
    └── PlanError       an examination of a PBX that can't be made (cxml.doctor.plan)
"""


class CxmlError(Exception):
    """Base of everything that ``cxml`` raises on purpose."""


class ConfigError(CxmlError):
    """A configuration that can't be used; the text holds every problem, one a line, with its place."""
