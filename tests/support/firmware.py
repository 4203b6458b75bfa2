"""The firmware builds that predictions are for, out of the packages that ``firmware.lock`` names."""

from __future__ import annotations

from functools import cache

import pytest

from support.repository import ROOT


@cache
def firmware_file(package: str) -> bytes:
    """Return the one firmware of the locked package; skip the test where the package is not to be had."""
    # Imported late: the tests of a distribution that stands alone load this folder, too.
    from glasshouse_audit.build import progress_bars
    from glasshouse_audit.deb import read_deb
    from glasshouse_audit.errors import MissingInputError
    from glasshouse_audit.inputs import Inputs
    from glasshouse_audit.locks import parse_debs
    from glasshouse_audit.recipe import IMAGE_FOLDER, Recipe

    lock = parse_debs((ROOT / IMAGE_FOLDER / "firmware.lock").read_text(encoding="ascii"))
    (locked,) = (deb for deb in lock if deb.name == package)
    inputs = Inputs(tree=ROOT, python=Recipe.load(ROOT).python)
    try:
        with progress_bars(shown=False) as bars:
            inputs.fetch([locked], bars)
    except MissingInputError as err:
        pytest.skip(f"the firmware is missing: {err}")
    members = read_deb(inputs.read(locked), locked, architecture="all")
    (firmware,) = (member.data for member in members if member.path.endswith(".fd"))
    return firmware
