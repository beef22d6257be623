"""How Wrenn's clients name a capsule's port: ``PORT-cl-ID.DOMAIN``."""

from moonpool.dialects.wrenn.mapping import CAPSULE_PREFIX
from moonpool.previews.gateway.words import Words

WORDS = Words(id_prefixes=(CAPSULE_PREFIX,))
