"""The base of every model of this dialect."""

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """Fields nobody knows are passed over, as newer clients send them; a validator is built at first use."""

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True, defer_build=True)
