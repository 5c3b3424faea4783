"""What calls to a paid endpoint cost: a JSON-lines ledger and a cap that is never passed knowingly."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from selfmoa.errors import StorageError

__all__ = ["Charge", "Ledger"]

log = logging.getLogger("selfmoa")


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt to get an answer; holds neither text nor key."""

    time: str
    """UTC, ISO 8601."""
    model: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    """True where the endpoint did not say how many tokens it counted; then the figures lean high."""
    usd: float
    seconds: float


class Ledger:
    """Money spent, kept in a file so that the cap also holds over a resumed run. Safe to share between threads.

    Money is reserved before a request goes out and settled after it. `path` None keeps nothing; `cap_usd` None
    caps nothing. One process a file: two that write the same one each know only what was spent when they began.
    """

    def __init__(self, path: Path | None = None, *, cap_usd: float | None = None) -> None:
        self._path = path
        self._cap = cap_usd
        self._changed = threading.Condition()
        self._spent = _spent_before(path)
        self._reserved = 0.0
        self._closed = False

    @property
    def spent(self) -> float:
        """US dollars charged so far, those of the file included."""
        return self._spent

    @property
    def used_up(self) -> str:
        """Why nothing more may be sent, or ''."""
        if not self._closed:
            return ""
        where = f", ledger {self._path}" if self._path else ""
        return f"budget used up (max_usd {self._cap:g}{where})"

    def reserve(self, usd: float) -> bool:
        """Set aside what a request may cost at the most; False, from then on for all, where that passes the cap.

        Waits for the bills of requests on their way before it says no, so that the answer does not hang on timing
        more than it must.
        """
        with self._changed:
            while self._cap is not None and not self._closed and self._spent + self._reserved + usd > self._cap:
                if self._reserved == 0:
                    self._closed = True
                    self._changed.notify_all()
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._reserved += usd
            return True

    def settle(self, reserved: float, charge: Charge) -> None:
        """Replace a reservation by the bill. Raises `StorageError` where the ledger cannot be written."""
        with self._changed:
            self._reserved = max(self._reserved - reserved, 0.0)
            if self._reserved < 1e-12:  # what float subtraction leaves behind is no request on its way
                self._reserved = 0.0
            self._spent += charge.usd
            self._changed.notify_all()
            self._write(charge)

    def _write(self, charge: Charge) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(charge)) + "\n")
        except OSError as error:
            raise StorageError(
                f"The cost ledger {self._path} cannot be written: {error.strerror or error}. Free space or fix the "
                "permissions; without it the budget cannot be kept."
            ) from error


def _spent_before(path: Path | None) -> float:
    if path is None or not path.is_file():
        return 0.0
    spent = 0.0
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            spent += float(json.loads(line)["usd"])
        except (ValueError, KeyError, TypeError):
            log.warning("%s, line %d is no charge and is not counted", path, number)
    return spent
