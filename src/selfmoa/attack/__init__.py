"""From seed prompts to attacks: seed material, expander and hider, novelty, pool, selection."""

from selfmoa.attack._forms import Turn, other_forms
from selfmoa.attack._material import OWN, OWN_FORMS, OWN_ORDERS, Material, borderline_from, gather, with_own
from selfmoa.attack._novelty import History, bleu
from selfmoa.attack._pool import Pool
from selfmoa.attack._select import hits
from selfmoa.attack._weights import Tally, entering_id, mixed
from selfmoa.attack._write import expand_request, hide_request, judge_expansion, judge_hidden

__all__ = [
    "OWN",
    "OWN_FORMS",
    "OWN_ORDERS",
    "History",
    "Material",
    "Pool",
    "Tally",
    "Turn",
    "bleu",
    "borderline_from",
    "entering_id",
    "expand_request",
    "gather",
    "hide_request",
    "hits",
    "judge_expansion",
    "judge_hidden",
    "mixed",
    "other_forms",
    "with_own",
]
