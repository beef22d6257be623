"""Images: what sandboxes start from, and the agent's own interpreter."""

from moonpool.engine.images.agent import ensure_agent, prune_agents
from moonpool.engine.images.base import (
    BASE,
    CODE_RUNNER,
    DESKTOP,
    Means,
    desktop_at_hand,
    ensure_base,
    ensure_code_runner,
    ensure_desktop,
)
from moonpool.engine.images.code_runner import code_runner_recipe
from moonpool.engine.images.halt import Halt
from moonpool.engine.images.model import Image, Progress, digest_of, find_image, list_images, publish, stage
from moonpool.engine.images.recipe import Recipe, base_recipe, desktop_recipe
from moonpool.engine.images.workspace import ensure_workspace

__all__ = [
    "BASE",
    "CODE_RUNNER",
    "DESKTOP",
    "Halt",
    "Image",
    "Means",
    "Progress",
    "Recipe",
    "base_recipe",
    "code_runner_recipe",
    "desktop_at_hand",
    "desktop_recipe",
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
