"""The one content filter: no prompt about sexual abuse of children is ever loaded, generated or kept.

It errs on the side of leaving out: a text is excluded where it speaks of minors *and* of sex, grooming,
exploitation or abuse, however the two are joined, or where a word alone is about such abuse.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["is_excluded"]

_ALONE = re.compile(
    r"\b(csam|csem|cseam|p(a|ae|e)?edo\w*|hebephil\w*|lolicon\w*|lolis?|shotacon\w*|jail ?bait\w*"
    r"|child ?p(orn\w*|rostitut\w*)|kiddie ?porn\w*|cub ?porn|statutory rape)\b"
)
_MINOR = re.compile(
    r"\b(child\w*|kids?|kiddies?|kiddos?|minors?|under ?age\w*|pre ?teen\w*|teen\w*|adolescen\w*|toddlers?"
    r"|infants?|bab(y|ies)|juveniles?|pupils?|school ?(girl|boy|kid|child)\w*|girls?|boys?|daughters?"
    r"|(young|little|step)(er)? ?(sister|brother|son|one)s?|nieces?|nephews?|youths?|youngsters?|youngest"
    r"|(elementary|primary|middle|high|junior high) school\w*|(kinder ?garten|pre ?school|nursery)\w*"
    r"|(under|below) (the age of )?(1[0-8]|eighteen)"
    r"|(aged?|age of) ?([1-9]|1[0-7])|([1-9]|1[0-7]) ?(years?|yrs?|y) ?(o|old)s?)\b"
)
_ABUSE = re.compile(
    r"\b(sex\w*|porn\w*|nud(e|es|ity|ist)\w*|naked\w*|erotic\w*|groom(s|ed|ers?|ing)?|molest\w*|rap(e|ed|es|ist|ists|ing)"
    r"|incest\w*|lewd\w*|explicit(ly)?|exploit\w*|seduc\w*"
    r"|fondl\w*|undress\w*|prostitut\w*|brothels?|traffick\w*|abus(e|es|ed|er|ers|ing|ive)|predators?|preying"
    r"|lur(e|es|ed|ing)|entic\w*|intima(te|cy)|genital\w*|masturbat\w*|orgasm\w*|fetish\w*|kink\w*|horny"
    r"|aroused?|arousal|voyeur\w*|upskirt\w*|sext\w*|sugar (daddy|baby)|nsfw|hentai|xxx|strip(tease|ping)"
    r"|obscene\w*|(get|be|gets|getting|being) (close to|alone with)|(win|gain|earn)(ing)? (her|his|their) trust)\b"
)


def is_excluded(text: str) -> bool:
    """True where `text` may concern sexual abuse or exploitation of children: it must not be used."""
    plain = _plain(text)
    if _ALONE.search(plain):
        return True
    return bool(_MINOR.search(plain) and _ABUSE.search(plain))


def _plain(text: str) -> str:
    """Lower case, one spelling of look-alike characters, and anything but letters and digits as one space."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    if not folded.isascii():
        folded = "".join(ch for ch in folded if not unicodedata.combining(ch) and unicodedata.category(ch) != "Cf")
    return re.sub(r"[\W_]+", " ", folded)
