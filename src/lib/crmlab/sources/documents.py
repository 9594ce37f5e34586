"""Read a YAML mapping strictly: every scalar stays text as written, every key is accounted for, all faults are told."""

from pathlib import Path

from crmlab.schema import SourceError, did_you_mean

__all__ = ["MappingError", "Section", "parse_yaml"]


class MappingError(SourceError):
    """A mapping file that breaks its own rules; `faults` lists each of them."""

    def __init__(self, file: str, faults: list[str]) -> None:
        self.file, self.faults = file, faults
        shown = "\n    ".join(f"- {fault}" for fault in faults[:20])
        more = f"\n    … and {len(faults) - 20} more" if len(faults) > 20 else ""
        super().__init__(
            f"The mapping {file} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.",
            found=f"\n    {shown}{more}",
            remedy="correct the file; docs/own_data.md explains every key.",
        )


def parse_yaml(path: Path) -> dict:
    """Return the mapping in a YAML 1.2 file with every scalar as text (`NO`, `1.10` and `2024-01-05` stay as written).

    Raises
    ------
    MappingError : the file is missing, is not UTF-8 or YAML, repeats a key, or does not hold a mapping.
    """
    text = _text(path)
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document = YAML(typ="base", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise MappingError(path.name, [f"{place}not valid YAML: {_reason(error)}"]) from None
    except YAMLError as error:
        raise MappingError(path.name, [f"not valid YAML: {type(error).__name__}"]) from None
    if not isinstance(document, dict):
        raise MappingError(path.name, ["it must hold `key: value` lines at its top level, such as `title: …`."])
    return document


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MappingError(path.name, ["there is no such file."]) from None
    except IsADirectoryError:
        raise MappingError(path.name, ["it is a folder, not a YAML file."]) from None
    except UnicodeDecodeError as error:
        raise MappingError(path.name, [f"not UTF-8 text: byte {error.start:,} cannot be read."]) from None


def _reason(error: "object") -> str:
    """Return the parser's own words; a duplicate key is the one message that would quote a value."""
    problem = str(error.problem or error.context or "unreadable")
    if problem.startswith("found duplicate key"):
        return f"the key {problem.split()[3]} stands twice on one level."
    return f"{problem} (text with `:`, `#`, `[` or `{{` needs quotation marks)."


class Section:
    """One level of a mapping: hands out its keys by type and remembers faults instead of stopping at the first.

    Parameters
    ----------
    values : the YAML mapping.
    place : where it stands, such as `tables.leads`, for the messages.
    faults : list shared by all sections of one file.
    """

    def __init__(self, values: object, place: str, faults: list[str]) -> None:
        self.place, self.faults = place, faults
        if not isinstance(values, dict):
            self.fault("must hold `key: value` lines." if values else "is empty.")
            values = {}
        self.values: dict[str, object] = {str(k): v for k, v in values.items()}

    def fault(self, message: str, key: str = "") -> None:
        """Remember that something is wrong here, or at `key` below."""
        place = ".".join(part for part in (self.place, key) if part)
        self.faults.append(f"{place}: {message}" if place else message)

    def allow(self, *known: str) -> None:
        """Complain about every key that is not known."""
        for key in self.values:
            if key not in known:
                self.fault(f"unknown key; {did_you_mean(key, list(known))}", key)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def section(self, key: str) -> "Section":
        """Return the mapping under `key`; an absent one is empty and no fault."""
        place = f"{self.place}.{key}" if self.place else key
        return (
            Section(self.values[key], place, self.faults) if key in self.values else Section.nothing(place, self.faults)
        )

    @classmethod
    def nothing(cls, place: str, faults: list[str]) -> "Section":
        """Return a section without keys."""
        empty = cls.__new__(cls)
        empty.place, empty.faults, empty.values = place, faults, {}
        return empty

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        """Return a scalar as text."""
        if key not in self.values:
            if required:
                self.fault(f"lacks the key `{key}`.")
            return default
        value = self.values[key]
        if not isinstance(value, str) or (required and not value.strip()):
            self.fault("must be one value." if not isinstance(value, str) else "may not be empty.", key)
            return default
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        """Return a scalar that is one of `known`."""
        value = self.text(key, default)
        if value not in known:
            self.fault(f"`{value}` is not allowed; {did_you_mean(value, list(known))}", key)
            return default
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        return self.choice(key, ("true", "false"), str(default).lower()) == "true"

    def number(self, key: str, default: float | None = None) -> float | None:
        """Return a number."""
        text = self.text(key)
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            self.fault(f"must be a number, not `{text}`.", key)
            return default

    def whole(self, key: str, default: int, *, least: int = 0) -> int:
        """Return a whole number of at least `least`."""
        text = self.text(key)
        if not text:
            return default
        if not text.isdecimal() or int(text) < least:
            self.fault(f"must be a whole number of at least {least}, not `{text}`.", key)
            return default
        return int(text)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return one or several scalars."""
        value = self.values.get(key, [])
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            self.fault("must be one value or a list of values.", key)
            return ()
        return tuple(items)

    def pairs(self, key: str) -> dict[str, str]:
        """Return a mapping of scalars to scalars."""
        found = self.section(key)
        wrong = [k for k, v in found.values.items() if not isinstance(v, str)]
        for k in wrong:
            found.fault("must be one value.", k)
        return {k: v for k, v in found.values.items() if k not in wrong}
