"""What is printed for kubectl and kube-scheduler: the same as YAML and as JSON, and fit to be read and changed by hand."""

from __future__ import annotations

import json

import pytest
import yaml

from hami_core.cli.app import invoke

PRINT = pytest.mark.parametrize("words", [["scheduler", "manifests"], ["webhook", "manifests"], ["scheduler", "config"]])


@PRINT
def test_documents_are_the_same_as_yaml_and_as_json(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert invoke(words) == 0
    as_yaml = list(yaml.safe_load_all(capsys.readouterr().out))
    assert invoke([*words, "-o", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)

    assert as_yaml == (as_json["items"] if as_json["kind"] == "List" else [as_json])


@PRINT
def test_what_is_said_twice_is_written_twice(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """YAML's aliases are right for kubectl, and a riddle to people."""
    assert invoke(words) == 0

    assert not [token for token in yaml.scan(capsys.readouterr().out) if isinstance(token, yaml.AliasToken)]
