"""A TOML table that knows where it stands: every access checks, and says what would be right. No key is known here."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from hami_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|ms|s|min|h)")
NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
LINKS = 36  # NVLinks of one GPU at most, by NVML's constant


class DescriptionError(UserError):
    """A description that cannot be meant."""

    def __init__(self, source: str, path: str, message: str) -> None:
        super().__init__(f"{source}: {path}: {message}" if path else f"{source}: {message}")
        self.source, self.path = source, path


def nearest(word: str, known: Iterable[str]) -> str:
    """How a message about an unknown word ends: with the nearest of the known, or with all."""
    close = difflib.get_close_matches(word, known := sorted(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


class Table:
    """One table of a source. Accessors raise DescriptionError; those without a default want their key to be there."""

    def __init__(self, data: Mapping[str, Any], source: str, path: str) -> None:
        self.data, self.source, self.path = data, source, path

    def fault(self, key: str, message: str) -> DescriptionError:
        return DescriptionError(self.source, f"{self.path}.{key}" if self.path else key, message)

    def only(self, *known: str) -> Table:
        for key in self.data:
            if key not in known:
                raise self.fault(key, f"is no key of this table{nearest(key, known)}")
        return self

    def get(self, key: str, kind: type, words: str, default: object = None) -> Any:
        value = self.data.get(key, default)
        if value is None:
            raise self.fault(key, f"is missing: {words}")
        if type(value) is not kind:  # bool is an int to isinstance
            raise self.fault(key, f"{value!r}: should be {words}")
        return value

    def table(self, key: str, default: dict[str, Any] | None = None) -> Table:
        return Table(self.get(key, dict, "a table", default), self.source, f"{self.path}.{key}" if self.path else key)

    def tables(self, key: str) -> list[Table]:
        found = self.get(key, list, "a list of tables", [])
        for number, entry in enumerate(found):
            if not isinstance(entry, dict):
                raise self.fault(f"{key}[{number}]", f"{entry!r}: should be a table")
        return [Table(entry, self.source, f"{key}[{number}]") for number, entry in enumerate(found)]

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value: str = self.get(key, str, "text", default)
        if pattern and not pattern.fullmatch(value):
            raise self.fault(key, f"{value!r}: should look like {pattern.pattern}")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value: int = self.get(key, int, f"a whole number from {low} to {high}", default)
        if not low <= value <= high:
            raise self.fault(key, f"{value}: should be a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value = self.data.get(key, default)
        if type(value) not in {int, float} or not low <= value <= high:
            raise self.fault(key, f"{value!r}: should be a number from {low} to {high}")
        return float(value)

    def duration(self, key: str, default: int) -> int:
        """A time such as "5s" or "250us", in nanoseconds."""
        if key not in self.data:
            return default
        text = self.text(key)
        found = DURATION.fullmatch(text)
        if not found:
            raise self.fault(key, f"{text!r}: should be a time such as 5s, 250ms or 2min")
        return round(float(found[1]) * NANOSECONDS[found[2]])

    def texts(self, key: str, default: list[str]) -> list[str]:
        value: list[Any] = self.get(key, list, "a list of texts", default)
        if any(type(each) is not str for each in value):
            raise self.fault(key, f"{value!r}: should be a list of texts")
        return value

    def wholes(self, key: str, count: int, low: int, high: int) -> list[int]:
        value: list[Any] = self.get(key, list, f"{count} whole numbers")
        if len(value) != count or any(type(each) is not int or not low <= each <= high for each in value):
            raise self.fault(key, f"{value!r}: should be {count} whole numbers from {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self.get(key, bool, "true or false")
        return value

    def choice(self, key: str, words: Mapping[str, int]) -> int:
        value = self.get(key, str, f"one of {', '.join(words)}")
        if value not in words:
            raise self.fault(key, f"{value!r}: should be one of {', '.join(words)}")
        return words[value]

    def pairs(self, key: str, gpus: int, words: Mapping[str, int] | None) -> Iterator[tuple[int, int, int]]:
        """Entries [first, second, what], with first < second; ``what`` is one of WORDS, or a count of links."""
        for number, entry in enumerate(self.get(key, list, "a list of [GPU, GPU, ...]", [])):
            item = f"{key}[{number}]"
            if not isinstance(entry, list) or len(entry) != 3 or not all(each in range(gpus) for each in entry[:2]):
                raise self.fault(item, f"{entry!r}: should be two GPUs by index, and what joins them")
            first, second, what = entry
            if first == second:
                raise self.fault(item, f"{entry!r}: a GPU is not joined with itself")
            if words is None and (type(what) is not int or not 0 <= what <= LINKS):
                raise self.fault(item, f"{what!r}: should be a number of links from 0 to {LINKS}")
            if words is not None and what not in words:
                raise self.fault(item, f"{what!r}: should be one of {', '.join(words)}")
            yield min(first, second), max(first, second), what if words is None else words[what]
