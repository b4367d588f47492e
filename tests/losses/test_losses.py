# SPDX-License-Identifier: Apache-2.0
"""The losses against worked numbers, loops over pairs, and MONAI's own."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from medwsss.keys import GUIDE, PSEUDO_LABEL, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.losses import (
    ExpansionLoss,
    FeatureSimilarityLoss,
    ImportanceSamplingLoss,
    MumfordShahLoss,
    NormalizedCutLoss,
    PartialCrossEntropyLoss,
    RegularizedLoss,
    SelfLabelingLoss,
    SpatialBCELoss,
    TagLoss,
    TotalVariationLoss,
    TreeEnergyLoss,
)
from medwsss.losses.self_labeling import class_weights
from medwsss.terms import DenseNeighborhood, GridNeighborhood, WindowNeighborhood
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS

K = 3


def problem(shape, batch=2, seed=0, dtype=torch.float64):
    """Logits and a target with seeds, unlabelled and void voxels, a guide and pseudo-labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, K, *shape, generator=generator, dtype=dtype)
    kinds = torch.tensor([0, 1, 2, UNLABELED, UNLABELED, VOID])
    scribble = kinds[torch.randint(0, 6, (batch, 1, *shape), generator=generator)]
    guide = torch.rand(batch, 2, *shape, generator=generator, dtype=dtype)
    y = torch.rand(batch, K, *shape, generator=generator, dtype=dtype)
    return logits, {SCRIBBLE: scribble, GUIDE: guide, PSEUDO_LABEL: y / y.sum(1, keepdim=True)}


def losses():
    neighborhood = GridNeighborhood(bandwidth=0.5)
    return {
        "seeds": PartialCrossEntropyLoss(),
        "seeds and Dice": PartialCrossEntropyLoss(dice_weight=0.7),
        "self-labeling": SelfLabelingLoss(),
        "balanced self-labeling": SelfLabelingLoss(class_balance=0.5),
        "sums": SelfLabelingLoss(class_balance=0.5, normalization="sums"),
        "regularized": RegularizedLoss(neighborhood=neighborhood),
        "regularized sums": RegularizedLoss(neighborhood=neighborhood, normalization="sums"),
    }


NAMES = sorted(losses())


PENALTIES = {
    "DenseCRF": RegularizedLoss("bilinear", DenseNeighborhood(4.0, 0.3), eta=0.2, lam=0.1),
    "window": RegularizedLoss("bilinear", WindowNeighborhood(2, bandwidth=0.3), lam=0.1),
    "normalised cut": NormalizedCutLoss(neighborhood=DenseNeighborhood(4.0, 0.3)),
    "total variation": TotalVariationLoss(),
    "Mumford–Shah": MumfordShahLoss(),
    "tree energy": TreeEnergyLoss(),
    "tag": TagLoss(),
    "ISL": ImportanceSamplingLoss(0.5, None),
    "FSL": FeatureSimilarityLoss(),
    "spatial BCE": SpatialBCELoss(),
    "expansion": ExpansionLoss(),
}


@pytest.mark.parametrize("name", [*NAMES, *PENALTIES])
def test_mixed_precision_around_a_loss_changes_nothing(name):
    """As on a GPU, where trainers have ``amp``: products of matrices would be in half precision, eigenvalues fail."""
    loss = losses().get(name) or PENALTIES[name]
    logits, target = problem((6, 5), dtype=torch.float32)
    target[TAGS] = torch.tensor([[1.0, 0, 1], [0, 1, math.nan]])[:, name == "expansion" :]  # one is the background
    outside = loss(logits, target)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits, target)
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)


def test_worked_number_of_the_seed_term():
    """σ = (¾, ¼) at a seed of class 0, (½, ½) at one of class 1: −(ln ¾ + ln ½) / 2 = ½ ln(8/3)."""
    logits = torch.tensor([[[math.log(3), 0.0, 5.0, 9.0], [0.0, 0.0, 1.0, -9.0]]])
    scribble = torch.tensor([[[0, 1, UNLABELED, VOID]]])
    assert PartialCrossEntropyLoss()(logits, scribble).item() == pytest.approx(0.5 * math.log(8 / 3))


def test_worked_number_of_self_labeling():
    """Seed: −ln ¾. Unlabelled voxels: σ = (¾, ¼) with y = (½, ½) and (1, 0): CCE is −ln ½ and −ln ¾. η = 0.3."""
    logits = torch.tensor([[[math.log(3)] * 3 + [7.0], [0.0] * 4]])
    scribble = torch.tensor([[[0, UNLABELED, UNLABELED, VOID]]])
    y = torch.tensor([[[1.0, 0.5, 1.0, 0.5], [0.0, 0.5, 0.0, 0.5]]])
    expected = math.log(4 / 3) + 0.3 * (math.log(2) + math.log(4 / 3)) / 2
    loss = SelfLabelingLoss("collision_cross_entropy", eta=0.3)
    assert loss(logits, {SCRIBBLE: scribble, PSEUDO_LABEL: y}).item() == pytest.approx(expected)


@pytest.mark.parametrize(("power", "share"), [(0.0, 1 / 4), (0.5, 1 / (1 + 3**0.5)), (1.0, 1 / 2)])
def test_worked_number_of_class_balance(power, share):
    """Classes that the seeds have alike and pseudo-labels 3 to 1: the rare one's share of the weights is ``share``."""
    logits = torch.tensor([[[math.log(3)] * 3 + [0.0] * 4, [0.0] * 7]])  # σ = (¾, ¼) thrice, then (½, ½)
    scribble = torch.tensor([[[UNLABELED] * 4 + [0, 1, VOID]]])
    y = torch.tensor([[[1.0, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0]]])
    expected = math.log(2) + 0.3 * ((1 - share) * math.log(4 / 3) + share * math.log(2))
    loss = SelfLabelingLoss("collision_cross_entropy", eta=0.3, class_balance=power)
    assert loss(logits, {SCRIBBLE: scribble, PSEUDO_LABEL: y}).item() == pytest.approx(expected)


def test_worked_number_of_sums():
    """As above with a second seed, at σ = (½, ½): by |S| = 2, then by the hundredth part of 300 unlabelled voxels."""
    logits = torch.tensor([[[math.log(3)] * 3 + [0.0, 7.0], [0.0] * 5]])
    scribble = torch.tensor([[[0, UNLABELED, UNLABELED, 1, VOID]]])
    y = torch.tensor([[[1.0, 0.5, 1.0, 0.0, 0.5], [0.0, 0.5, 0.0, 1.0, 0.5]]])
    expected = (math.log(4 / 3) + math.log(2) + 0.3 * (math.log(2) + math.log(4 / 3))) / 2
    loss = SelfLabelingLoss("collision_cross_entropy", eta=0.3, normalization="sums")
    assert loss(logits, {SCRIBBLE: scribble, PSEUDO_LABEL: y}).item() == pytest.approx(expected)
    logits, y = (torch.cat([x, x[..., 1:2].expand(1, 2, 298)], -1) for x in (logits, y))
    scribble = torch.cat([scribble, torch.full((1, 1, 298), UNLABELED)], -1)
    expected = (math.log(4 / 3) + math.log(2) + 0.3 * (299 * math.log(2) + math.log(4 / 3))) / 3
    assert loss(logits, {SCRIBBLE: scribble, PSEUDO_LABEL: y}).item() == pytest.approx(expected)


@pytest.mark.parametrize("normalization", ["means", "sums"])
def test_seeds_may_be_left_to_another_loss(normalization):
    """Of a sum of two terms, what is left without the first; and the first alone in warm-up."""
    logits, target = problem((5, 4))
    whole, rest = (
        SelfLabelingLoss(dice_weight=0.7, normalization=normalization, seed_weight=weight) for weight in (1, 0)
    )
    seeds = SelfLabelingLoss(eta=0, dice_weight=0.7, normalization=normalization)(logits, target)
    assert torch.allclose(rest(logits, target), whole(logits, target) - seeds)
    assert rest(logits, {"scribble": target["scribble"]}) == 0


@pytest.mark.parametrize("seeds", [0, 1, 40, 2000])
def test_sums_follow_equation_8(seeds):
    """Its gradient, written out with sums, is the loss' times one number: |S|, or a hundredth of |U|."""
    logits, target = problem((1500,))
    flat = target[SCRIBBLE].view(-1)
    flat[:] = torch.cat([torch.arange(seeds) % K, torch.full((3000 - seeds,), UNLABELED)])
    sigma, eta = logits.requires_grad_().softmax(1), 0.3
    is_seed = target[SCRIBBLE].squeeze(1) < K
    right = sigma.gather(1, target[SCRIBBLE].clamp_max(K - 1)).squeeze(1)
    equation = -right[is_seed].log().sum() - eta * (target[PSEUDO_LABEL] * sigma).sum(1)[~is_seed].log().sum()
    loss = SelfLabelingLoss("collision_cross_entropy", eta, normalization="sums")(logits, target)
    ours, published = (torch.autograd.grad(value, logits)[0] for value in (loss, equation))
    torch.testing.assert_close(max(seeds, (3000 - seeds) / 100) * ours, published)


def test_weights_of_classes_leave_the_sum_of_weights(shape):
    """In means as in sums: where all voxels are alike, weights change nothing."""
    logits, target = problem(shape, batch=8)
    target[PSEUDO_LABEL] = torch.tensor([0.6, 0.3, 0.1]).to(logits).view(K, *[1] * len(shape)).expand_as(logits)
    for normalization in ("means", "sums"):
        values = [SelfLabelingLoss(class_balance=g, normalization=normalization)(logits, target) for g in (0.0, 0.5)]
        torch.testing.assert_close(*values)


@pytest.mark.parametrize("eta, lam", [(0.3, 0.0), (0.0, 2.0)])
def test_regularized_sums_follow_equation_4(eta, lam, shape):
    """Means times counts."""
    logits, target = problem(shape)
    seeds, free = (target[SCRIBBLE] < K).sum(), (target[SCRIBBLE] == UNLABELED).sum()
    seed_term = PartialCrossEntropyLoss()(logits, target)
    means, sums = (RegularizedLoss(eta=eta, lam=lam, normalization=name)(logits, target) for name in ("means", "sums"))
    torch.testing.assert_close(seeds * sums, seeds * seed_term + free * (means - seed_term))


def test_class_weights():
    scribble = torch.tensor([[[0, 0, 0, 1] + [UNLABELED] * 4 + [VOID]]])
    y = torch.zeros(1, 4, 9)
    y[0, 0, :7] = 1  # three quarters of the unlabelled, and of the seeds
    y[0, 2, 7] = 1  # without a seed
    y[0, 3, 8] = 1  # void
    assert class_weights(y, scribble).tolist() == pytest.approx([1, 10, 0.1, 0.1])
    assert class_weights(y, torch.full_like(scribble, UNLABELED)).tolist() == [1, 1, 1, 1]


def test_worked_number_of_the_regularized_loss():
    """Two equal grey values, the first a seed, σ = (¾, ¼) and (¼, ¾): BL is 1 − 3/8, the entropy ln 4 − ¾ ln 3."""
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(3)]]])
    target = {SCRIBBLE: torch.tensor([[[0, UNLABELED]]]), GUIDE: torch.zeros(1, 1, 2)}
    expected = math.log(4 / 3) + 0.1 * (math.log(4) - 0.75 * math.log(3)) + 2 * 5 / 8
    loss = RegularizedLoss("bilinear", GridNeighborhood(bandwidth=1.0), eta=0.1, lam=2.0)
    assert loss(logits, target).item() == pytest.approx(expected)


@pytest.mark.parametrize("relaxation", ["bilinear", "quadratic", "collision_divergence"])
def test_regularized_loss_by_a_loop_over_pairs(shape, relaxation):
    eta, lam, beta, spacing = 0.2, 1.5, 0.4, (1.0, 2.0, 3.0)[: len(shape)]
    logits, target = problem(shape)
    sigma, scribble, guide = logits.softmax(1), target[SCRIBBLE], target[GUIDE]
    seed_sum = entropy_sum = pair_sum = seeds = free = 0.0
    for b in range(2):
        voxels = list(itertools.product(*map(range, shape)))
        for i in voxels:
            p, kind = sigma[(b, slice(None), *i)], int(scribble[(b, 0, *i)])
            if kind < K:
                seeds, seed_sum = seeds + 1, seed_sum - float(p[kind].log())
            elif kind == UNLABELED:
                free, entropy_sum = free + 1, entropy_sum - float((p * p.log()).sum())
        for i, j in itertools.combinations(voxels, 2):
            steps = [abs(x - y) for x, y in zip(i, j)]
            if sum(steps) == 1 and VOID not in (int(scribble[(b, 0, *i)]), int(scribble[(b, 0, *j)])):
                contrast = float(((guide[(b, slice(None), *i)] - guide[(b, slice(None), *j)]) ** 2).sum())
                w = math.exp(-contrast / (2 * beta**2)) / sum(n * s for n, s in zip(steps, spacing))
                p, q = (sigma[(b, slice(None), *x)].reshape(1, K, 1) for x in (i, j))
                pair_sum += w * float(RELAXATIONS[relaxation](p, q))
    expected = seed_sum / seeds + (eta * entropy_sum + lam * pair_sum) / free
    loss = RegularizedLoss(relaxation, GridNeighborhood(bandwidth=beta, spacing=spacing), eta, lam)
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_flat_is_a_volume_of_depth_one(name):
    logits, target = problem((5, 4))
    thick = {key: value[..., None] for key, value in target.items()}
    loss = losses()[name]
    torch.testing.assert_close(loss(logits[..., None], thick), loss(logits, target))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, shape):
    logits, target = problem(shape, batch=1)
    assert torch.autograd.gradcheck(lambda x: losses()[name](x, target), logits.requires_grad_())


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
@pytest.mark.parametrize("dice_weight", [0.0, 0.7])
def test_self_labeling_is_the_sum_of_its_terms(cross_entropy, dice_weight, shape):
    """Against the two means written out, differentiated by autograd."""
    logits, target = problem(shape)
    free = (target[SCRIBBLE] == UNLABELED).squeeze(1)
    losses = SelfLabelingLoss(cross_entropy, eta=0.4, dice_weight=dice_weight), PartialCrossEntropyLoss(dice_weight)
    logits.requires_grad_()
    pseudo = CROSS_ENTROPIES[cross_entropy](target[PSEUDO_LABEL], logits.softmax(1))[free].mean()
    expected = losses[1](logits, target) + 0.4 * pseudo
    value = losses[0](logits, target)
    torch.testing.assert_close(value, expected)
    # Scaled, as by GradScaler.
    torch.testing.assert_close(*(torch.autograd.grad(64 * x, logits)[0] for x in (value, expected)))


@pytest.mark.parametrize("name", ["seeds", "self-labeling"])
def test_a_seed_pulls_however_wrong_the_network_is(name):
    logits = torch.tensor([[[-500.0, 0.0], [500.0, 0.0]]], requires_grad=True)
    target = {SCRIBBLE: torch.tensor([[[0, UNLABELED]]]), PSEUDO_LABEL: torch.full((1, 2, 2), 0.5)}
    losses()[name](logits, target).backward()
    assert logits.grad is not None and logits.grad[0, :, 0].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_void_takes_part_in_nothing(name, shape):
    logits, target = problem(shape)
    void = (target[SCRIBBLE] == VOID).expand_as(logits)
    loss = losses()[name]
    value = loss(logits.requires_grad_(), target)
    value.backward()
    assert logits.grad is not None and (logits.grad[void] == 0).all()
    changed = {**target, GUIDE: torch.where(target[SCRIBBLE] == VOID, 99.0, target[GUIDE])}
    torch.testing.assert_close(loss(torch.where(void, logits + 5, logits), changed), value, rtol=0, atol=0)


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_seeds_alone_have_gradients(shape, dice_weight):
    logits, target = problem(shape)
    PartialCrossEntropyLoss(dice_weight)(logits.requires_grad_(), target).backward()
    seeds = (target[SCRIBBLE] < K).expand_as(logits)
    assert logits.grad is not None
    assert (logits.grad[~seeds] == 0).all() and (logits.grad[seeds] != 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [UNLABELED, VOID])
def test_batch_without_seeds(name, kind, shape):
    """The seed term is 0 then, and with nothing but void so is all of it."""
    logits, target = problem(shape)
    target[SCRIBBLE] = torch.full_like(target[SCRIBBLE], kind)
    value = losses()[name](logits.requires_grad_(), target)
    value.backward()
    assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
    if kind == VOID or name.startswith("seeds"):
        assert value == 0 and (logits.grad == 0).all()


def test_fully_labelled_batch(shape):
    """Dense masks: PyTorch's cross-entropy, and no pseudo-label term."""
    logits, target = problem(shape)
    dense = {**target, SCRIBBLE: target[SCRIBBLE] % K}
    expected = F.cross_entropy(logits, dense[SCRIBBLE].squeeze(1))
    torch.testing.assert_close(PartialCrossEntropyLoss()(logits, dense), expected)
    torch.testing.assert_close(SelfLabelingLoss()(logits, dense), expected)


def test_dice_is_of_annotated_voxels(shape):
    """MONAI's DiceLoss on a volume in which nothing but the annotated voxels is left."""
    logits, target = problem(shape, batch=1)
    seeds = (target[SCRIBBLE] < K).flatten()
    left = logits.flatten(2)[..., seeds]
    dice = DiceLoss(softmax=True, to_onehot_y=True)(left, target[SCRIBBLE].flatten(2)[..., seeds])
    both, one = (PartialCrossEntropyLoss(weight)(logits, target) for weight in (0.7, 0.0))
    torch.testing.assert_close(both - one, 0.7 * dice)


def test_warm_up_is_the_seed_term(shape):
    logits, target = problem(shape)
    del target[PSEUDO_LABEL]
    assert torch.equal(SelfLabelingLoss(eta=5)(logits, target), PartialCrossEntropyLoss()(logits, target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name, dtype, shape):
    logits, target = problem(shape, dtype=torch.float32)
    half = logits.to(dtype)
    value = losses()[name](half.requires_grad_(), target)
    assert value.dtype == torch.float32
    assert torch.equal(value, losses()[name](half.detach().float(), target))
    value.backward()
    assert half.grad is not None and half.grad.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_logits(name, scale, shape):
    logits, target = problem(shape, dtype=torch.float32)
    target[PSEUDO_LABEL] = F.one_hot(target[PSEUDO_LABEL].argmax(1), K).movedim(-1, 1).float()
    logits = (scale * logits.sign()).requires_grad_()
    value = losses()[name](logits, target)
    value.backward()
    assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["seeds", "self-labeling", "regularized"])
def test_order_of_classes_is_of_no_account(name, shape):
    logits, target = problem(shape)
    order = torch.tensor([2, 0, 1])
    renamed = {**target, PSEUDO_LABEL: target[PSEUDO_LABEL][:, order]}
    inverse = order.argsort()
    renamed[SCRIBBLE] = torch.where(target[SCRIBBLE] < K, inverse[target[SCRIBBLE] % K], target[SCRIBBLE])
    loss = losses()[name]
    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: PartialCrossEntropyLoss(dice_weight=-1), "dice_weight >= 0, got -1"),
        (lambda: SelfLabelingLoss(class_balance=1.5), "class_balance from 0 to 1, got 1.5"),
        (lambda: SelfLabelingLoss(cross_entropy="cce"), "got 'cce'"),
        (lambda: SelfLabelingLoss(eta=-0.1), "eta >= 0, got 1.0 and -0.1"),
        (lambda: SelfLabelingLoss(normalization="sum"), r"normalization in \['means', 'sums'\], got 'sum'"),
        (lambda: RegularizedLoss(normalization="mean"), r"normalization in \['means', 'sums'\], got 'mean'"),
        (lambda: RegularizedLoss(relaxation="potts"), "got 'potts'"),
        (lambda: RegularizedLoss(lam=-1), "lam >= 0, got 0.3 and -1"),
        (lambda: PartialCrossEntropyLoss()(torch.zeros(1, 2, 3), torch.zeros(1, 3)), r"\(1, 1, 3\), got \(1, 3\)"),
        (
            lambda: SelfLabelingLoss()(
                torch.zeros(1, 2, 3), {SCRIBBLE: torch.zeros(1, 1, 3), PSEUDO_LABEL: torch.zeros(1, 3, 3)}
            ),
            r"\(1, 2, 3\), got \(1, 3, 3\)",
        ),
    ],
)
def test_wrong_use_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
