# SPDX-License-Identifier: Apache-2.0
"""Settings of the trainer: what the environment says comes before what the plan says."""

from __future__ import annotations

import pytest

from medwsss.nnunet.settings import VARIABLE, Settings, read_settings


def test_without_any_they_are_the_bundle_s():
    assert read_settings({}) == Settings()


def test_the_environment_comes_before_the_plan(monkeypatch):
    monkeypatch.setenv(VARIABLE, '{"lam": 3, "epochs": 5}')
    found = read_settings({"self_labeling": {"lam": 2, "eta": 0.5}})
    assert (found.lam, found.eta, found.epochs, found.bandwidth) == (3.0, 0.5, 5, Settings().bandwidth)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"lamb": 3}', "lamb, did you mean lam?"),
        ('{"lam": "3"}', "expected float as lam"),
        ('{"lam": -1}', "expected lam >= 0"),
        ('{"lam": NaN}', "expected lam >= 0"),
        ('{"epochs": 0}', "expected epochs > 0"),
        ('{"epochs": 1.5}', "expected int as epochs"),
        ('{"connectivity": true}', "expected int as connectivity"),
        ("[3]", "as a JSON object"),
        ("lam=3", "as a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(monkeypatch, text, says):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=VARIABLE) as error:
        read_settings({})
    assert says in str(error.value)
