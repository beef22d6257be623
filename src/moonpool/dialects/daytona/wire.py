"""The base of every model of this dialect."""

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """Fields are spelled as on the wire; a validator is built at first use, so that starting costs nothing."""

    model_config = ConfigDict(defer_build=True)
