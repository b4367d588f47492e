# SPDX-License-Identifier: Apache-2.0
"""Seeds and priors of score maps: when they come, what they say, and that no gradient goes through them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from medwsss.handlers import CamSeedHandler
from medwsss.keys import LOGITS, PRIOR, SCORES, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.losses import ScoresLoss, TagLoss
from medwsss.networks import ResidualEncoder, TwoHeads

NAN = float("nan")


def engine(scores, tags, epoch=1, epochs=1, scribble=None):
    """After a forward pass of two heads, as a trainer is."""
    blank = torch.full((len(scores), 1, *scores.shape[2:]), UNLABELED, dtype=torch.uint8)
    logits = torch.zeros(len(scores), 1 + tags.shape[1], *scores.shape[2:])
    targets = {TAGS: tags, SCRIBBLE: blank if scribble is None else scribble}
    output = {"pred": {SCORES: scores, LOGITS: logits}, "label": targets}
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch, max_epochs=epochs, output=output)), targets


def test_seeds_by_hand():
    """Maps (0, ½, 1) of a tag that is there, of one that is not, and of two whose scores alone tell."""
    scores = torch.tensor([[[0.0, 1, 2], [0, 3, 4]], [[0, 1, 2], [-9, 2, 4]]], requires_grad=True)
    trainer, targets = engine(scores, torch.tensor([[1.0, 0], [NAN, NAN]]))
    CamSeedHandler(foreground=0.6)(trainer)
    assert targets[SCRIBBLE].tolist() == [[[255, 255, 1]], [[255, 255, 1]]]  # of the second, (−9 + 2 + 4)/3 is no tag
    total = 0.5**4 + 0.01 + 0.51
    assert targets[PRIOR][0, :, 1].tolist() == pytest.approx([(0.5**4 + 0.01) / total, 0.51 / total, 0])
    assert not targets[PRIOR].requires_grad and targets[SCORES] is scores
    assert trainer.state.output["pred"].shape == (2, 3, 3)
    ScoresLoss(TagLoss())(None, targets).backward()
    assert scores.grad[0].abs().sum() > 0 and (scores.grad[1] == 0).all()  # nobody knows tags of the second


def test_warm_up_padding_and_what_is_not_finite():
    scores, tags = torch.tensor([[[1.0, 2.0, 8.0]]]), torch.ones(1, 1)
    padded = torch.tensor([[[UNLABELED, UNLABELED, VOID]]], dtype=torch.uint8)
    for values, epoch in ((scores, 2), (scores * NAN, 3)):
        trainer, targets = engine(values, tags, epoch, 9, padded)
        CamSeedHandler(warmup_epochs=2)(trainer)
        assert PRIOR not in targets and targets[SCRIBBLE] is padded and SCORES in targets
    trainer, targets = engine(scores, tags, 9, 9, padded)
    CamSeedHandler(warmup_epochs=2, foreground=0.9, start=0.9)(trainer)
    assert targets[SCRIBBLE].tolist() == [[[255, 1, 254]]]  # 8 is outside: the maximum is 2


def test_the_threshold_falls_along_a_cosine():
    handler = CamSeedHandler(warmup_epochs=2, foreground=0.4, start=0.8)
    assert [handler.threshold(epoch, 7) for epoch in (3, 5, 7)] == pytest.approx([0.8, 0.6, 0.4])
    assert handler.threshold(3, 3) == 0.4  # the only epoch is the last one


def test_what_is_out_of_order():
    with pytest.raises(ValueError, match="low < foreground <= start"):
        CamSeedHandler(foreground=0.8, start=0.7)
    with pytest.raises(ValueError, match="warmup_epochs"):
        CamSeedHandler(warmup_epochs=-1)
    with pytest.raises(ValueError, match="2 stages"):
        TwoHeads(ResidualEncoder(2, 1, [2, 2], [2, 2]), [2], 1, 2)


@pytest.mark.parametrize("spatial_dims, size", [(2, (10, 7)), (3, (6, 5, 8))])
def test_both_heads_see_one_encoder_and_sizes_need_not_divide(spatial_dims, size):
    network = TwoHeads(ResidualEncoder(spatial_dims, 1, [3, 4], [2, 2]), [3, 4], 2, 3, 1, spatial_dims)
    out = network(torch.rand(2, 1, *size))
    assert out[SCORES].shape == (2, 2, *(-(-n // 4) for n in size)) and out[LOGITS].shape == (2, 3, *size)
    for name in (SCORES, LOGITS):
        weight = next(network.backbone.parameters())
        (gradient,) = torch.autograd.grad(out[name].square().sum(), weight, retain_graph=True)
        assert gradient.abs().sum() > 0
