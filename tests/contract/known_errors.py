"""All errors that an API may have to put into its own words."""

from moonpool.errors import MoonpoolError


def every_error(base: type[MoonpoolError] = MoonpoolError) -> list[type[MoonpoolError]]:
    """Those of the core; what one dialect raises stays within it, and may need arguments."""
    known = [] if base.__module__.startswith("moonpool.dialects.") else [base]
    return known + [error for child in base.__subclasses__() for error in every_error(child)]
