"""E-mail addresses, phone numbers, payment cards and bank accounts.

Cards must pass their Luhn sum (ISO/IEC 7812-1), IBANs their mod 97 (ISO 13616-1) and have their country's length, so
other long numbers pass. An e-mail address may begin with any word, so looking for them holds back each word until
its end; the others begin with a digit or `+`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from patinox.errors import ConfigError
from patinox.validation.base import Policy
from patinox.validation.patterns import Patterns, Rule

_SEPARATORS = re.compile("[ -]")

# Characters of an IBAN by country: the registry of ISO 13616, release 99 (SWIFT).
_IBAN_LENGTHS: Final = {
    code: length
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip


def _countries() -> str:
    """The codes of the countries that have IBANs, as an expression."""
    seconds: dict[str, str] = {}
    for code in sorted(_IBAN_LENGTHS):
        seconds[code[0]] = seconds.get(code[0], "") + code[1]
    return "(?:" + "|".join(f"{first}[{second}]" for first, second in seconds.items()) + ")"


def _luhn(digits: str) -> bool:
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def _card(text: str, start: int, end: int) -> int:
    """The characters of the longest card number that begins the match and doesn't end within a group of digits."""
    for stop in range(end, start + 12, -1):
        if not text[stop - 1].isdigit() or (stop < end and text[stop].isdigit()):
            continue
        digits = _SEPARATORS.sub("", text[start:stop])
        if 13 <= len(digits) <= 19 and _luhn(digits):
            return stop - start
    return 0


def _iban(text: str, start: int, end: int) -> int:
    """The characters of the IBAN's rest, by the length that its country's have; the country's code is before it."""
    country = text[start - 2 : start]
    wanted = _IBAN_LENGTHS[country] - 2
    stop = start
    rest = ""
    while stop < end and len(rest) < wanted:
        rest += text[stop].strip()
        stop += 1
    if len(rest) < wanted or (stop < end and text[stop] != " "):
        return 0
    number = "".join(str(int(character, 36)) for character in rest[2:] + country + rest[:2])
    return stop - start if int(number) % 97 == 1 else 0


_PERSONAL: Final = {
    "email": Rule(
        "email",
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@"
        r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){1,6}",
    ),
    "phone": Rule(
        "phone",
        # ITU-T E.164: a plus and 8 to 15 digits, however parted; or ten digits in North America's 3-3-4.
        r"(?<![0-9A-Za-z+])\+[0-9](?:[ ./()-]{0,2}[0-9]){7,14}(?![0-9])"
        r"|(?:(?<=\()[2-9][0-9]{2}\)[ -]?|(?<![0-9A-Za-z.-])[2-9][0-9]{2}[ .-])"
        r"[2-9][0-9]{2}[ .-][0-9]{4}(?![0-9A-Za-z])",
    ),
    "card": Rule(
        "card",
        r"(?<![0-9A-Za-z.])(?:3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}"
        r"|(?:[3-6][0-9]{3}|2[2-7][0-9]{2})(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,4}(?:[ -]?[0-9]{1,3})?)(?![0-9])",
        check=_card,
    ),
    "iban": Rule(
        "iban",
        # The country's code leaves: it is nobody's account, and prose is full of capitals.
        rf"(?<=(?<![0-9A-Za-z]){_countries()})[0-9]{{2}}"
        r"(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![0-9A-Za-z])",
        check=_iban,
    ),
}


def personal(
    *kinds: str,
    name: str = "personal",
    policy: Policy | None = None,
) -> Patterns:
    """A validator for some of `email`, `phone`, `card` and `iban`; all but e-mail where none is named."""
    if unknown := set(kinds) - set(_PERSONAL):
        raise ConfigError(f"no such kind of personal data: {', '.join(sorted(unknown))}; known: {', '.join(_PERSONAL)}")
    chosen = kinds or ("phone", "card", "iban")
    rules = (msgspec.structs.replace(_PERSONAL[kind], is_quick=True) for kind in chosen)
    return Patterns(rules, name=name, policy=policy)
