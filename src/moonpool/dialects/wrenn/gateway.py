"""How Wrenn's clients name a capsule's port: ``PORT-cl-ID.DOMAIN``; and a browser's session, which is no app's."""

from moonpool.dialects.wrenn.cookies import CSRF_COOKIE, FLOW_COOKIE, SESSION_COOKIE
from moonpool.dialects.wrenn.mapping import CAPSULE_PREFIX
from moonpool.previews.gateway.words import Words

COOKIES = (SESSION_COOKIE, CSRF_COOKIE, FLOW_COOKIE)
WORDS = Words(id_prefixes=(CAPSULE_PREFIX,), cookies=frozenset(name.encode() for name in COOKIES))
