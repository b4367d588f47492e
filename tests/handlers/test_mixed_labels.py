# SPDX-License-Identifier: Apache-2.0
"""Two decoders, labels mixed of both, and their loss, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet

from medwsss.handlers import MixedLabelHandler
from medwsss.keys import UNLABELED, VOID
from medwsss.losses import MixedLabelLoss
from medwsss.networks import TwoDecoders

#: ln of 0.9 : 0.1 and so on, so that probabilities are round.
FIRST = torch.tensor([[[0.9, 0.2, 0.4], [0.1, 0.8, 0.6]]]).log()
OTHER = torch.tensor([[[0.6, 0.4, 0.9], [0.4, 0.6, 0.1]]]).log()


@pytest.mark.parametrize("axes", [2, 3])
def test_the_first_decoder_is_the_network(axes):
    torch.manual_seed(0)
    network = UNet(axes, 1, 3, channels=[2, 4, 8], strides=[2, 2], norm=None)
    two, x = TwoDecoders(network, dropout=0.0), torch.rand(2, 1, *[8] * axes)
    with torch.no_grad():
        expected, found = network(x), two(x)
        assert torch.equal(found["logits"], expected) and torch.equal(two.eval()(x), expected)
        assert not torch.allclose(found["other_logits"], expected)
        for up, mine in zip([network.model[2], network.model[1].submodule[2]], two.other):
            mine.load_state_dict(up.state_dict())
        assert torch.equal(two.train()(x)["other_logits"], expected)
        two.dropout.p = 0.5
        assert not torch.allclose(two(x)["other_logits"], expected) and torch.equal(two(x)["logits"], expected)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="expected MONAI's UNet, got BasicUNet"):
        TwoDecoders(BasicUNet(2))  # type: ignore[arg-type]


def trainer(epoch):
    """After a forward pass of both decoders."""
    output = {"pred": {"logits": FIRST, "other_logits": OTHER}, "label": {}}
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch, output=output))


@pytest.mark.parametrize(("alpha", "classes"), [(0.9, [0, 1, 1]), (0.1, [0, 1, 0])])
def test_labels_are_mixed(monkeypatch, alpha, classes):
    """0.9 · (0.4, 0.6) + 0.1 · (0.9, 0.1) is (0.45, 0.55), the other way round (0.85, 0.15)."""
    monkeypatch.setattr(torch, "rand", lambda shape: torch.tensor(alpha))
    handler, first, second = MixedLabelHandler(warmup_epochs=1), trainer(1), trainer(2)
    handler(first)
    assert first.state.output["label"].keys() == {"other_logits"} and first.state.output["pred"] is FIRST
    handler(second)
    label = second.state.output["label"]["pseudo_label"]
    assert label.argmax(1)[0].tolist() == classes and set(label.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("warm", [False, True])
def test_the_loss_by_hand(warm):
    """Of three voxels the first is a seed of class 0, the last does not exist."""
    label = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    target = {"scribble": torch.tensor([[[0, UNLABELED, VOID]]]), "other_logits": OTHER}
    target |= {} if warm else {"pseudo_label": label}
    expected = -(math.log(0.9) + math.log(0.6)) / 2
    for p in () if warm else ((0.9, 0.8), (0.6, 0.6)):  # of the classes that the two voxels have
        (a, b), (c, d) = p, (1 - p[1], 1 - p[0])
        shares = 2 * a / (a**2 + c**2 + 1), 2 * b / (b**2 + d**2 + 1)
        expected += 0.3 / 2 * (1 - sum(shares) / 2)
    first = FIRST.clone().requires_grad_()
    loss = MixedLabelLoss(lam=0.3)(first, target)
    assert loss.item() == pytest.approx(expected, abs=1e-4)
    loss.backward()
    assert (first.grad[..., 2] == 0).all() and (first.grad[..., 1] != 0).any() != warm


def test_bad_values():
    with pytest.raises(ValueError, match="warmup_epochs >= 0, got -1"):
        MixedLabelHandler(-1)
    with pytest.raises(ValueError, match="lam >= 0, got -1"):
        MixedLabelLoss(-1)
