"""Images: what sandboxes start from, and the agent's own interpreter."""

from moonpool.engine.images.agent import ensure_agent, prune_agents
from moonpool.engine.images.base import ensure_base, ensure_code_runner, ensure_desktop
from moonpool.engine.images.model import Image, Progress, digest_of, find_image, list_images, publish, stage
from moonpool.engine.images.recipe import Recipe, base_recipe
from moonpool.engine.images.workspace import ensure_workspace

__all__ = [
    "Image",
    "Progress",
    "Recipe",
    "base_recipe",
    "digest_of",
    "ensure_agent",
    "ensure_base",
    "ensure_code_runner",
    "ensure_desktop",
    "ensure_workspace",
    "find_image",
    "list_images",
    "prune_agents",
    "publish",
    "stage",
]
