"""The table in docs/speed.md, generated from results.json between two marks."""

from __future__ import annotations

from typing import Any

__all__ = ["BEGIN", "END", "put", "table"]

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
_PARTS = ("sampling", "scoring", "training", "loop", "memory")


def table(results: dict[str, Any]) -> str:
    """Everything that docs/speed.md says in figures."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        f"`{results['command']}` on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, "
        f"{results['threads']} threads; {results['model']}; load average {results['load_average'][0]:g} at the start, "
        f"{results['load_average'][1]:g} at the end; "
        + ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "trl", "peft"))
        + ".",
        "",
        "| part | ours | plain | unit | plain / ours in cost [95 %] | n | equal results |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in _PARTS:
        row = results.get(name)
        if row:
            bounds = f" [{row['low']:.2f}, {row['high']:.2f}]" if "low" in row else ""
            lines.append(
                f"| {name} | {row['ours']:g} | {row['plain']:g} | {row['unit']} | "
                f"**{row['ratio']:.2f}**{bounds} | {row['n']} | {row.get('equal', '–')} |"
            )
    lines += ["", "| part | plain batch size | peak ours, MB | peak plain, MB | GFLOP/s ours | share of the peak |"]
    lines += ["|---|---|---|---|---|---|"]
    for name in _PARTS[:3]:
        row = results.get(name)
        if row:
            share = row["gflops"] / results["roofline"]["matmul_gflops"]
            lines.append(
                f"| {name} | {row['plain_batch']} | {row['peak_ours_mb']} | {row['peak_plain_mb']} | "
                f"{row['gflops']:g} | {share:.0%} |"
            )
    lines += [
        "",
        f"Matrix products of float32 reach {results['roofline']['matmul_gflops']:g} GFLOP/s at best here.",
        "",
    ]
    for name, costs in results.get("growth", {}).items():
        lines.append(f"Growth with {name}: " + ", ".join(f"{times} {cost:g}" for times, cost in costs.items()) + ".")
    return "\n".join(lines)


def put(page: str, results: dict[str, Any]) -> str:
    """The page with its table replaced."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(results)}\n{END}{tail}"
