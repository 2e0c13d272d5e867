"""Reads and writes config.toml. Every mistake in it becomes one HomeError: the file, the field, what is allowed."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import msgspec

from syncd.core.errors import HomeError
from syncd.home import config_text, files
from syncd.home.config_values import Asked, Collection, Config, Mistake, mistakes, split_address

if TYPE_CHECKING:
    from syncd.home.paths import Home

__all__ = ["Asked", "Collection", "Config", "load", "save", "split_address"]

CONFIG_BYTES_MAX = 1024 * 1024  # a larger file is refused

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def load(home: Home) -> Config:
    """Reads and checks config.toml."""
    if not home.initialized:
        raise HomeError(f"there is no syncd home at {home.path}", "run `syncd init` first, or give another --home")
    raw = files.read(home.config, CONFIG_BYTES_MAX, secret=False)
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HomeError(f"{home.config} is not TOML: {_one_line(error)}", "correct the file") from error
    return _checked(home, document)


def save(home: Home, config: Config) -> None:
    """Writes config.toml: whole or not at all, durable, 0600. What ``load`` would refuse is not written."""
    checked = _checked(home, msgspec.to_builtins(config))
    try:
        data = config_text.write(checked).encode()
    except UnicodeEncodeError as error:
        name = ascii(error.object[error.start : error.end])
        raise HomeError(f"a name or path holds {name}, which is not UTF-8", "rename the file or directory") from error
    files.write(home.config, data, replace=True)


def _checked(home: Home, document: object) -> Config:
    try:
        config = msgspec.convert(document, Config)
        mistake = next(mistakes(config), None)
    except msgspec.ValidationError as error:
        mistake = _translate(str(error))
    if mistake is not None:
        raise HomeError(f"{home.config}: {mistake.where}: {mistake.problem}", mistake.allowed())
    return config


def _translate(text: str) -> Mistake:
    """The codec's sentence as field and problem. Its places look like ``$.collections[0].path``."""
    found = _PLACE.search(text)
    place = found[1] if found else ""
    problem = text[: found.start()] if found else text
    for pattern, words in ((_UNKNOWN, "there is no such field"), (_MISSING, "is missing")):
        if field := pattern.fullmatch(problem):
            return Mistake(f"{place}.{field[1]}".lstrip("."), words)
    return Mistake(place, problem[:1].lower() + problem[1:])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
