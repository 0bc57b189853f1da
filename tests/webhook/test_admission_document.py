"""docs/admission.md shows what the code does: the pod before and after, and every sentence of a refusal."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import hami_core
from tests.webhook.door import prepared
from tests.webhook.test_bad_pods import BAD

TEXT = (Path(hami_core.__file__).parents[1] / "docs/admission.md").read_text()


def test_the_pod_after_is_the_pod_before_as_admission_leaves_it() -> None:
    before, after = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))

    assert prepared(before) == after


def test_every_refusal_is_shown_with_its_sentence() -> None:
    rows = TEXT.partition("| what the pod has | the sentence |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()

    assert rows == [f"| {what} | {sentence} |" for what, (_, sentence) in BAD.items()]
