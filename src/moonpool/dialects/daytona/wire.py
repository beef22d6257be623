"""The base of every model of this dialect."""

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """Fields are spelled as on the wire; a validator is built at first use, so that starting costs nothing."""

    model_config = ConfigDict(defer_build=True)


class QueryModel(WireModel):
    """The base of what comes in a query string: built at once, as FastAPI wants it."""

    model_config = ConfigDict(defer_build=False)
