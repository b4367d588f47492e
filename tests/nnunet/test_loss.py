# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's loss with pseudo-labels beside it, on tensors of a few voxels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medwsss.nnunet.loss import PADDING, LossWithPseudoLabels
from medwsss.nnunet.settings import Settings

IGNORE = 2  # of two classes


class Partial(nn.Module):
    """What nnU-Net's is in short: cross-entropy with an ignore label, of every head."""

    def forward(self, outputs, targets):
        if isinstance(outputs, torch.Tensor):
            outputs, targets = [outputs], [targets]
        pairs = zip(outputs, targets)
        return sum(F.cross_entropy(z, t[:, 0].long(), ignore_index=IGNORE) for z, t in pairs)


# a pair term alone: labels spread from seeds, whatever the network says
SETTINGS = Settings(solver_eta=0.0, cross_entropy="cross_entropy", class_balance=0.0, smoothing=0.0, solver_steps=200)
ROW = torch.tensor([0, 0, IGNORE, IGNORE, 1, PADDING], dtype=torch.int16)
LABELS = ROW.repeat(2, 1).view(1, 1, 2, 6)
GUIDE = torch.tensor([0.0, 0, 0, 9, 9, 9]).repeat(2, 1).view(1, 1, 2, 6)  # a border in the middle of what nobody drew


def the_loss(settings=SETTINGS, active=True):
    loss = LossWithPseudoLabels(Partial(), IGNORE, settings, (1, 1))
    loss.active, loss.ranges = active, (9.0,)
    return loss


def gradient(loss, logits, targets):
    logits = logits.clone().requires_grad_()
    loss(logits, targets).backward()
    return logits.grad


def test_in_evaluation_it_is_nnunet_s_own():
    logits, loss = torch.randn(1, 2, 2, 6), the_loss().eval()
    labels = LABELS.where(LABELS != PADDING, IGNORE)
    assert loss(logits, labels) == Partial()(logits, labels)


@pytest.mark.parametrize("active", [False, True])
def test_padding_has_no_gradient(active):
    found = gradient(the_loss(active=active), torch.randn(1, 2, 2, 6), [LABELS, GUIDE])
    assert (found[..., 5] == 0).all() and (found[..., [0, 1, 4]] != 0).all()
    assert (found[..., 2:4] != 0).all() == active  # where nobody drew, pseudo-labels alone have a say


def test_pseudo_labels_are_those_of_the_nearer_side_of_the_border():
    """In warm-up nothing pulls there; after it, H = −Σ y ln σ of a one-hot y, as a mean over the 4 voxels of U."""
    logits = torch.zeros(1, 2, 2, 6)
    added = the_loss()(logits, [LABELS, GUIDE]) - the_loss(active=False)(logits, [LABELS, GUIDE])
    assert added.item() == pytest.approx(math.log(2), rel=1e-5)  # of any y, for σ = ½
    found = gradient(the_loss(), logits, [LABELS, GUIDE])[0, 1, 0, 2:4]
    assert found.tolist() == pytest.approx([0.5 / 4, -0.5 / 4], abs=1e-3)  # (σ − y) / |U|


def test_of_several_heads_the_largest_has_the_term():
    logits, small = torch.zeros(1, 2, 2, 6), torch.zeros(1, 2, 1, 3)
    labels = [LABELS, LABELS[..., ::2, ::2]]
    alone = the_loss()(logits, [LABELS, GUIDE])
    assert the_loss()([logits, small], [*labels, GUIDE]) - alone == pytest.approx(math.log(2))  # seeds of the small


def test_eta_0_leaves_it_out():
    logits = torch.randn(1, 2, 2, 6)
    none = the_loss(Settings(eta=0.0))(logits, [LABELS, GUIDE])
    assert none == the_loss(active=False)(logits, [LABELS, GUIDE])


def test_warm_up_ends_when_the_seeds_of_every_class_are_won_and_pauses_when_one_is_lost():
    """σ of a seed of class 0 is 1/(1 + e⁻³), so −ln σ is ln(1 + e⁻³) = 0.049; of one of class 1 3.049."""
    loss, sure = the_loss(active=False), torch.zeros(1, 2, 2, 6)
    sure[:, 0] = 3
    sure[..., 5] = -sure[..., 5]  # padding is nobody's seed
    loss(sure, [LABELS, GUIDE])
    assert loss.conclude(torch.device("cpu")) == pytest.approx([0.0486, 3.0486], abs=1e-4) and not loss.active
    loss(sure / 15, [LABELS, GUIDE])  # ln(1 + e^0.2) = 0.798 is above ln 2
    assert loss.conclude(torch.device("cpu"))[1] == pytest.approx(0.7981, abs=1e-4) and not loss.active
    loss(torch.zeros(1, 2, 2, 6), [LABELS, GUIDE])
    assert loss.conclude(torch.device("cpu")) == pytest.approx([math.log(2)] * 2) and loss.active
    loss(sure, [LABELS, GUIDE])
    loss.conclude(torch.device("cpu"))
    assert not loss.active


def test_a_class_without_seeds_in_an_epoch_keeps_nobody_waiting():
    loss, labels = the_loss(active=False), LABELS.where(LABELS != 1, IGNORE)
    loss(torch.zeros(1, 2, 2, 6), [labels, GUIDE])
    assert math.isnan(loss.conclude(torch.device("cpu"))[1]) and loss.active


def test_logits_that_overflow_give_a_loss_to_be_skipped_and_no_error():
    logits = torch.full((1, 2, 2, 6), torch.inf)
    assert the_loss()(logits, [LABELS, GUIDE]).isnan()
