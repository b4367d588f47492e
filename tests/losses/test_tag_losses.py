# SPDX-License-Identifier: Apache-2.0
"""Tag losses against worked numbers, closed forms, and sums over all pairs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from medwsss.keys import GUIDE, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.losses import (
    EquivariantLoss,
    ExpansionLoss,
    FeatureSimilarityLoss,
    ImportanceSamplingLoss,
    SpatialBCELoss,
    SumLoss,
    TagLoss,
)
from medwsss.losses.spatial_bce import spatial_loss
from medwsss.terms.activation_maps import background_score, max_normalize
from medwsss.terms.feature_similarity import FeatureSimilarity, dissimilarity
from medwsss.terms.pooling import POOLINGS
from medwsss.terms.relaxations import RELAXATIONS
from medwsss.terms.tag_losses import expected_tag_loss

DOUBLE = torch.float64
NAN = math.nan
#: logits (0, ln 3): b = (1/2, 3/4), p = (0.4, 0.6)
TWO = torch.tensor([[[0.0, math.log(3)]]], dtype=DOUBLE)
PRESENT, ABSENT = (torch.tensor([[y]], dtype=DOUBLE) for y in (1.0, 0.0))
W = math.exp(-0.02) / (50 * math.pi)  # Eq. (10) at distance 1, σ = 5, two axes

TAG_LOSSES = {
    **{name: TagLoss(name) for name in POOLINGS},
    "ISL exact": ImportanceSamplingLoss(0.7, None),
    "ISL exact, through the sampler": ImportanceSamplingLoss(1.0, None, through_sampler=True),
    "spatial BCE": SpatialBCELoss(),
}


def problem(shape, batch=3, tags=2, seed=0):
    """Scores, and a target with an unknown tag, void voxels and a guide."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, tags, *shape, generator=generator, dtype=DOUBLE)
    guide = torch.rand(batch, 3, *shape, generator=generator, dtype=DOUBLE)
    known = torch.tensor([[1, 0], [1, NAN], [0, 1]], dtype=DOUBLE)[:batch, :tags]
    scribble = torch.where(torch.rand(batch, 1, *shape, generator=generator) < 0.2, VOID, UNLABELED)
    return scores, {TAGS: known, GUIDE: guide, SCRIBBLE: scribble}


def gradient(loss, scores, target):
    scores = scores.clone().requires_grad_()
    loss(scores, target).backward()
    return scores.grad


@pytest.mark.parametrize(
    "loss, present, absent",
    [
        # mean logit ln 3 / 2: ln(1 + 3^(−1/2)) and ln(1 + 3^(1/2))
        (TagLoss("average"), 0.455746394408, 1.005052538742),
        (TagLoss("maximum"), math.log(4 / 3), math.log(4)),
        # ln mean e^s = ln 2
        (TagLoss("log_sum_exp"), math.log(3 / 2), math.log(3)),
        # 1 − ½ · ¼ = 7/8
        (TagLoss("noisy_or"), -math.log(7 / 8), math.log(8)),
        # ((½)² + (¾)²)/2 = 13/32
        (TagLoss("generalized_mean", 2.0), -math.log(math.sqrt(13 / 32)), -math.log(1 - math.sqrt(13 / 32))),
        # d = 1 − 1/(0.75 · 2) = 1/3: (ln 3 + 0 · 1/3) / (4/3) = ¾ ln 3
        (TagLoss("rank_weighted", 0.75), math.log1p(3**-0.75), math.log1p(3**0.75)),
        # 0.4 ln 2 + 0.6 ln 4/3, and 0.4 ln 2 + 0.6 ln 4
        (ImportanceSamplingLoss(1, None), 0.449868115695, 1.109035488896),
    ],
    ids=["average", "maximum", "log-sum-exp", "noisy-or", "generalised mean", "rank-weighted", "ISL"],
)
def test_worked_numbers(loss, present, absent):
    assert loss(TWO, PRESENT).item() == pytest.approx(present, abs=1e-12)
    assert loss(TWO, ABSENT).item() == pytest.approx(absent, abs=1e-12)


@pytest.mark.parametrize(
    "through, present, absent",
    [
        # −p_i (1 − b_i) and p_i b_i
        (False, (-0.2, -0.15), (0.2, 0.45)),
        # and (ℓ_i − L) p_i (1 − b_i) more
        (True, (-0.151344187, -0.174327906), (0.116822338, 0.491588831)),
    ],
    ids=["sampler detached", "through the sampler"],
)
def test_gradients_of_importance_sampling(through, present, absent):
    loss = ImportanceSamplingLoss(1, None, through_sampler=through)
    for tags, expected in ((PRESENT, present), (ABSENT, absent)):
        assert gradient(loss, TWO, tags).flatten().tolist() == pytest.approx(expected, abs=1e-9)


def test_constant_maps_have_one_loss():
    """Whatever the pooling, all places say the same; and of places drawn, too."""
    scores = torch.full((1, 1, 4, 5), 0.7, dtype=DOUBLE)
    expected = math.log1p(math.exp(-0.7))
    same = [TagLoss(name) for name in POOLINGS if name != "noisy_or"]
    for loss in [*same, ImportanceSamplingLoss(1, None), ImportanceSamplingLoss(1, 3)]:
        assert loss(scores, PRESENT).item() == pytest.approx(expected, abs=1e-12)


def test_limits_of_poolings_and_of_the_exponent():
    scores = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    tags = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=DOUBLE)
    average, maximum = (POOLINGS[name](scores) for name in ("average", "maximum"))
    pool = {name: lambda *args, name=name: POOLINGS[name](scores, None, *args) for name in POOLINGS}
    assert torch.allclose(pool["log_sum_exp"](1e-6), average, atol=1e-5)
    assert torch.allclose(pool["log_sum_exp"](1e5), maximum, atol=1e-4)
    assert torch.allclose(pool["rank_weighted"](1e9), average, atol=1e-6)
    assert torch.allclose(pool["rank_weighted"](1e-9), maximum)
    y = tags.reshape(2, 3, 1, 1).expand_as(scores)
    pixels = F.binary_cross_entropy_with_logits(scores, y, reduction="none").flatten(2).mean(2)
    assert torch.allclose(expected_tag_loss(scores, tags, exponent=0), pixels)
    gmp = F.binary_cross_entropy_with_logits(maximum, tags, reduction="none")
    assert torch.allclose(expected_tag_loss(scores, tags, exponent=1e6), gmp, atol=1e-9)


def test_samples_agree_with_their_expectation():
    """The mean over N draws within four standard errors, by the loss's own spread under p."""
    scores, target = problem((8, 8), batch=1)
    exists = target[SCRIBBLE] != VOID
    args = {"exists": exists, "posterior": "binomial"}
    exact = expected_tag_loss(scores, target[TAGS], None, **args)
    torch.manual_seed(0)
    draws = torch.stack([expected_tag_loss(scores, target[TAGS], 100, **args) for _ in range(100)])
    error = draws.std(0) / 10
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    one = torch.stack([expected_tag_loss(scores, target[TAGS], 1, **args) for _ in range(400)])
    assert ((one.std(0) / draws.std(0) / 10 - 1).abs() < 0.3).all()  # the spread falls as 1/√N


def test_no_place_is_drawn_where_nothing_exists():
    scores = torch.full((1, 1, 100), 9.0)
    scores[..., 50:] = -9.0
    exists = torch.arange(100).reshape(1, 1, 100) >= 50
    values = expected_tag_loss(scores, torch.ones(1, 1), 500, exists=exists)
    assert values.item() == pytest.approx(9 + math.log1p(math.exp(-9)), rel=1e-5)


def test_multinomial():
    """Scores (0, ln 2, ln 5) of background and two tags: a = (1, 2, 5)/8. p = ½ at both of two equal places."""
    scores = torch.tensor([0.0, math.log(2), math.log(5)], dtype=DOUBLE).reshape(1, 3, 1).expand(1, 3, 2)
    loss = ImportanceSamplingLoss(1, None, "multinomial")
    value = loss(scores, torch.tensor([[1.0, 0.0]], dtype=DOUBLE))
    assert value.item() == pytest.approx((-math.log(2 / 8) - math.log(3 / 8)) / 2)
    with pytest.raises(ValueError, match="background"):
        loss(scores, torch.ones(1, 3))


def test_the_floor_of_the_published_code():
    """p ∝ b + 1e-5 (hfpl's probutils.py): nearly even where b is far below."""
    scores = torch.tensor([[[-30.0, -20.0]]], dtype=DOUBLE)
    weights = [1e-5 + 1 / (1 + math.exp(30)), 1e-5 + 1 / (1 + math.exp(20))]
    expected = sum(w * x for w, x in zip(weights, (30.0, 20.0))) / sum(weights)
    value = ImportanceSamplingLoss(1, None, floor=1e-5)(scores, PRESENT)
    assert value.item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", TAG_LOSSES)
@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 2)], ids=["1-D", "2-D", "3-D"])
def test_gradient_of_tag_losses(name, shape):
    """Of ISL with the sampler detached and of spatial BCE, whose thresholds are constants, only where it holds."""
    scores, target = problem(shape)
    loss = TAG_LOSSES[name]
    if name in ("ISL exact", "spatial BCE"):
        grad = gradient(loss, scores, target)
        known = ~target[TAGS].isnan()
        assert (grad.flatten(2).abs().sum(2) > 0)[known].all()
    else:
        assert torch.autograd.gradcheck(lambda s: loss(s, target), scores.requires_grad_(), eps=1e-7, fast_mode=True)


@pytest.mark.parametrize("name", TAG_LOSSES)
def test_unknown_tags_and_void_cells_have_no_gradient(name):
    scores, target = problem((4, 5))
    grad = gradient(TAG_LOSSES[name], scores, target)
    assert (grad[target[TAGS].isnan()] == 0).all()
    assert (grad[(target[SCRIBBLE] == VOID).expand_as(grad)] == 0).all()
    nobody = {**target, TAGS: torch.full_like(target[TAGS], NAN)}
    assert TAG_LOSSES[name](scores, nobody).item() == 0 and (gradient(TAG_LOSSES[name], scores, nobody) == 0).all()
    nowhere = {**target, SCRIBBLE: torch.full_like(target[SCRIBBLE], VOID)}
    assert TAG_LOSSES[name](scores, nowhere).item() == 0 and (gradient(TAG_LOSSES[name], scores, nowhere) == 0).all()


@pytest.mark.parametrize("name", TAG_LOSSES)
def test_what_void_holds_does_not_matter(name):
    """And what is left is worth what it is worth alone."""
    scores, target = problem((12,), batch=1)
    there = (target[SCRIBBLE] != VOID).flatten()
    assert not there.all()
    alone = TAG_LOSSES[name](scores[..., there], {TAGS: target[TAGS]})
    assert TAG_LOSSES[name](scores, target).item() == pytest.approx(alone.item(), abs=1e-9)


@pytest.mark.parametrize("name", [*TAG_LOSSES, "ISL"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_extreme_scores_stay_finite(name, dtype):
    loss = TAG_LOSSES.get(name, ImportanceSamplingLoss(0.5))
    scores = torch.tensor([[[-200.0, 0.0], [200.0, 180.0]], [[-300.0, -200.0], [0.0, 0.0]]]).to(dtype)
    target = {TAGS: torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    assert loss(scores, target).isfinite()
    assert gradient(loss, scores, target).isfinite().all()


@pytest.mark.parametrize("name", [*TAG_LOSSES, "FSL"])
def test_two_axes_are_three_with_one_of_depth_one(name):
    scores, target = problem((4, 5))
    deep = {key: value if key == TAGS else value.unsqueeze(2) for key, value in target.items()}
    loss = TAG_LOSSES.get(name) or FeatureSimilarityLoss(sigma=2)
    ratio = math.sqrt(2 * math.pi * 4) if name == "FSL" else 1.0  # Eq. (10)'s factor of one more axis
    assert loss(scores, target).item() == pytest.approx(ratio * loss(scores.unsqueeze(2), deep).item(), abs=1e-12)


@pytest.mark.parametrize("name", [*TAG_LOSSES, "FSL"])
def test_neither_the_order_of_classes_nor_that_of_images_counts(name):
    scores, target = problem((4, 5))
    loss = TAG_LOSSES.get(name) or FeatureSimilarityLoss(sigma=2)
    value = loss(scores, target).item()
    turned = {**target, TAGS: target[TAGS].flip(1)}
    assert loss(scores.flip(1), turned).item() == pytest.approx(value, abs=1e-12)
    back = {key: tensor.flip(0) for key, tensor in target.items()}
    assert loss(scores.flip(0), back).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: TagLoss("median"),
        lambda: TagLoss("average", 2.0),
        lambda: TagLoss()(torch.zeros(1, 3, 4), torch.zeros(1, 1)),
        lambda: TagLoss()(torch.zeros(1, 1, 4), torch.full((1, 1), 0.5)),
        lambda: ImportanceSamplingLoss(1.5),
        lambda: ImportanceSamplingLoss(samples=0),
        lambda: ImportanceSamplingLoss(posterior="normal"),
        lambda: ImportanceSamplingLoss(through_sampler=True),
        lambda: FeatureSimilarityLoss(gate="c"),
        lambda: FeatureSimilarityLoss(sigma=0),
        lambda: FeatureSimilarityLoss(gate="b", background=True),
        lambda: FeatureSimilarityLoss()(torch.zeros(1, 1, 4, 4), {TAGS: PRESENT, GUIDE: torch.full((1, 1, 4, 4), 2.0)}),
        lambda: FeatureSimilarityLoss(gate="a")(
            torch.zeros(1, 1, 4, 4), {TAGS: PRESENT, GUIDE: torch.zeros(1, 1, 4, 4)}
        ),
        lambda: ExpansionLoss(share=0),
        lambda: ExpansionLoss()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1)),
        lambda: SpatialBCELoss(share=1),
        lambda: SumLoss({"a": TagLoss()}, {"b": 1.0}),
        lambda: EquivariantLoss(TagLoss())(torch.zeros(3, 1, 4), {TAGS: PRESENT}),
        lambda: background_score(torch.zeros(1, 1, 2), "linear"),
    ],
)
def test_what_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


# ---- activation maps


def test_max_normalisation():
    scores = torch.tensor([[[-1.0, 1.0, 2.0, 4.0], [-1.0, -2.0, -3.0, -0.5]]], dtype=DOUBLE, requires_grad=True)
    r = max_normalize(scores)
    assert r.tolist() == [[[0, 0.25, 0.5, 1], [0, 0, 0, 0]]]
    (grad,) = torch.autograd.grad(r[0, 0, 1], scores)
    assert grad[0].tolist() == [[0, 0.25, 0, -1 / 16], [0] * 4]  # 1/max, and −s/max² at the maximum
    (grad,) = torch.autograd.grad(max_normalize(scores, through_max=False)[0, 0, 1], scores)
    assert grad[0].tolist() == [[0, 0.25, 0, 0], [0] * 4]
    above = scores.detach()[:, :1, 1:]  # (1, 2, 4) less 1, by 3
    assert max_normalize(above, floor="min_max").flatten().tolist() == pytest.approx([0, 1 / 3, 1])
    exists = torch.tensor([[[True, True, True, False]]])
    assert max_normalize(scores, exists)[0, 0].tolist() == [0, 0.5, 1, 0]


def test_background_scores():
    cam = torch.tensor([[[0.0, 0.5], [0.75, 0.2]]])
    assert background_score(cam, "constant", 0.3).flatten().tolist() == pytest.approx([0.3, 0.3])
    assert background_score(cam, "power", 2).flatten().tolist() == pytest.approx([0.0625, 0.25])


# ---- feature similarity


@pytest.mark.parametrize(
    "delta, value", [(0, -1), (1 / (1 + math.exp(2.5)), 0), (0.1, 0.29385044592), (0.5, 0.98661429815), (1, 1)]
)
def test_dissimilarity(delta, value):
    assert dissimilarity(torch.tensor(delta, dtype=DOUBLE)).item() == pytest.approx(value, abs=1e-11)
    if 0 < delta < 1:
        assert value == pytest.approx(math.tanh(2.5 + math.log(delta / (1 - delta))), abs=1e-10)


def pair(colors, scores=(0.0, 1.0)):
    target = {TAGS: PRESENT, GUIDE: torch.tensor(colors, dtype=DOUBLE).reshape(1, 1, 1, 2)}
    return torch.tensor(scores, dtype=DOUBLE).reshape(1, 1, 1, 2), target


@pytest.mark.parametrize(
    "colors, scores, value",
    [((0, 1), (0, 1), -W / 2), ((0.5, 0.5), (0, 1), W / 2), ((0, 1), (3, 3), 0), ((0, 1), (-1, -2), 0)],
)
def test_two_cells(colors, scores, value):
    """Two ordered pairs of f = ±1 and g = ½ over |Ω| = 2 cells."""
    assert pytest.approx(0.00312006928138, abs=1e-14) == W / 2
    assert FeatureSimilarityLoss()(*pair(colors, scores)).item() == pytest.approx(value, abs=1e-14)


def test_two_cells_of_the_colour_distance_at_which_the_sign_changes():
    scores, target = pair((0.0, 1 / (1 + math.exp(2.5))))
    assert FeatureSimilarityLoss()(scores, target).item() == pytest.approx(0, abs=1e-15)
    assert gradient(FeatureSimilarityLoss(gate="s"), scores, target).abs().max() < 1e-15


def all_pairs(gate, guide, exists, mu, sigma):
    """Eq. (9) to (13) as they stand, over all ordered pairs of one sample: (C V), (3 V), (V), coordinates (V d)."""
    shape = gate.shape[1:]
    places = torch.tensor(list(itertools.product(*map(range, shape))), dtype=DOUBLE)
    g, x, there = gate.flatten(1), guide.flatten(1), exists.flatten()
    squares = torch.cdist(places, places).square()
    w = torch.exp(-squares / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** (len(shape) / 2)
    delta = (x[:, :, None] - x[:, None]).abs().mean(0)
    f = torch.tanh(mu + torch.logit(delta.clamp(1e-14, 1 - 1e-14)))
    both = (there[:, None] & there[None]).to(DOUBLE)
    halves = ((g[:, :, None] - g[:, None]) ** 2).sum(0) / 2
    return -(both * w * f * halves).sum() / there.sum()


@pytest.mark.parametrize("shape", [(9,), (5, 6), (3, 4, 3)], ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("gate", ["r", "b", "s"])
def test_feature_similarity_is_the_sum_over_all_pairs(shape, gate):
    """Value and gradient, to 1e-12; only tags that are there count, and cells that exist."""
    scores, target = problem(shape)
    loss = FeatureSimilarityLoss(mu=1.5, sigma=1.3, gate=gate, radius=8)
    of = {"r": max_normalize, "b": lambda s, _: s.sigmoid(), "s": lambda s, _: s}[gate]

    def full(s):
        exists = target[SCRIBBLE] != VOID
        gates = of(s, exists) * (target[TAGS] == 1).reshape(3, 2, *[1] * len(shape))
        samples = zip(gates, target[GUIDE], exists)
        return sum(all_pairs(g, x, e, 1.5, 1.3) for g, x, e in samples) / 3

    value, expected = loss(scores, target), full(scores)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)
    mine = gradient(loss, scores, target)
    other = gradient(lambda s, _: full(s), scores, target)
    assert (mine - other).abs().max() < 1e-12
    assert torch.autograd.gradcheck(lambda s: loss(s, target), scores.requires_grad_(), fast_mode=True)


def test_feature_similarity_is_a_quadratic_potts_term():
    """The same number by the pair term that solvers and losses share."""
    scores, target = problem((5, 6))
    loss = FeatureSimilarityLoss(sigma=1.3)
    exists = target[SCRIBBLE] != VOID
    gate = max_normalize(scores, exists) * (target[TAGS] == 1).reshape(3, 2, 1, 1)
    term = FeatureSimilarity(2.5, 1.3).bind(RELAXATIONS["quadratic"], target[GUIDE], exists)
    assert loss(scores, target).item() == pytest.approx(term.value(gate).mean().item(), abs=1e-14)


def test_the_published_formula():
    """hfpl as run: min-max r with its ε, 1 − max r as a background, ε in f, all pairs; within 1e-4."""
    scores, target = problem((7, 8), tags=1)
    scores, tags, guide = scores[:2], torch.ones(2, 1, dtype=DOUBLE), target[GUIDE][:2]
    eps, total = 1e-5, 0.0
    for s, x in zip(scores, guide):
        p = s.relu().flatten(1)
        r = (p - p.min() - eps).relu() / (p.max() - p.min() + eps)
        r = torch.cat((1 - r.amax(0, keepdim=True), r)).flatten(1)
        places = torch.tensor(list(itertools.product(range(7), range(8))), dtype=DOUBLE)
        w = torch.exp(-torch.cdist(places, places) ** 2 / 50) / (50 * math.pi)
        colors = x.flatten(1).T
        delta = torch.cdist(colors, colors, p=1) / 3
        f = torch.tanh(2.5 + torch.log((delta + eps) / (1 - delta + eps)))
        total -= (w * f * torch.cdist(r.T, r.T) ** 2 / 2).sum() / 56
    loss = FeatureSimilarityLoss(floor="min_max", background=True)
    assert loss(scores, {TAGS: tags, GUIDE: guide}).item() == pytest.approx(float(total) / 2, abs=1e-4)


def test_the_default_window_holds_nearly_all():
    """R = 3σ misses about 1 % (Gaussian mass outside: e^(−9/2)); R = σ more than half."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(1, 1, 40, 40, generator=generator)
    target = {TAGS: torch.ones(1, 1), GUIDE: torch.rand(1, 3, 40, 40, generator=generator)}
    full, default, narrow = (FeatureSimilarityLoss(sigma=3, radius=r)(scores, target) for r in (24, None, 3))
    assert abs(default / full - 1) < 0.02
    assert narrow / full < 0.5


def test_bounds_of_the_gates():
    """|∂g(b)/∂s| ≤ |Δb| min(¼, e^−s), |∂g(r)/∂s| ≤ |Δr| / max s, and none for s < 0, of a single pair."""
    for s in ((-1.0, 2.0), (0.5, 3.0), (5.0, 1.0)):
        scores, target = pair((0.0, 1.0), s)
        scale = W  # of ½‖g_i − g_j‖², counted twice, over two cells
        b = scores.sigmoid().flatten()
        grad = gradient(FeatureSimilarityLoss(gate="b"), scores, target).flatten() / scale
        bound = (b[0] - b[1]).abs() * torch.minimum(torch.tensor(0.25), torch.exp(-scores.flatten()))
        assert (grad.abs() <= bound + 1e-12).all()
        r = max_normalize(scores).flatten()
        grad = gradient(FeatureSimilarityLoss(through_max=False), scores, target).flatten() / scale
        assert (grad.abs() <= (r[0] - r[1]).abs() / max(s) + 1e-12).all()
        assert (grad[scores.flatten() < 0] == 0).all()


def test_a_coarser_gate_averages_the_guide_and_size_interpolates_the_gate():
    scores, target = problem((4, 4))
    fine = {**target, GUIDE: target[GUIDE].repeat_interleave(2, 2).repeat_interleave(2, 3)}
    fine[SCRIBBLE] = target[SCRIBBLE].repeat_interleave(2, 2).repeat_interleave(2, 3)
    loss = FeatureSimilarityLoss(sigma=1)
    assert loss(scores, fine).item() == pytest.approx(loss(scores, target).item(), abs=1e-12)
    larger = F.interpolate(scores, size=(8, 8), mode="bilinear")
    by_size = FeatureSimilarityLoss(sigma=1, size=(8, 8))
    assert by_size(scores, fine).item() == pytest.approx(loss(larger, fine).item(), abs=1e-12)


def test_spacing_of_cells():
    """Cells twice as deep are pairs of equal cells: distances along that axis count twice."""
    scores, target = problem((4, 5))
    loss = FeatureSimilarityLoss(sigma=2, radius=8, spacing=(2.0, 1.0))
    far, near = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, 1)
    far[..., 1], near[:, :, 1] = 1, 1
    values = [loss(x, {TAGS: torch.ones(1, 1), GUIDE: torch.full_like(x, 0.5)}).item() for x in (far, near)]
    assert values[1] / values[0] == pytest.approx(math.exp(-4 / 8) / math.exp(-1 / 8))
    assert loss(scores, target).isfinite()


# ---- the others


def test_expansion_by_hand():
    """σ = (¾, ¼) at one place and (¼, ¾) at the other, share ½ of 2 places: d = 0, the maximum."""
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(3)]]], dtype=DOUBLE)
    loss = ExpansionLoss(share=0.5, background_share=0.5)
    assert loss(logits, PRESENT).item() == pytest.approx(-2 * math.log(0.75))
    assert loss(logits, ABSENT).item() == pytest.approx(-math.log(0.75) - math.log(0.25))
    unknown = torch.full((1, 1), NAN, dtype=DOUBLE)
    assert loss(logits, unknown).item() == pytest.approx(-math.log(0.75))


def test_spatial_loss_by_hand():
    t = torch.tensor(0.4, dtype=DOUBLE)
    x = torch.tensor([0.0, 0.2, 0.4, 0.7, 1.0], dtype=DOUBLE)
    assert spatial_loss(x, t).tolist() == pytest.approx([0, 2 * 0.5 - 0.25, 1, 0.3 * 0.9 / 0.36, 0])


def test_equivariance_by_hand():
    """r = (0, 1) and (1, 0) differ by 1 everywhere; a tag that is not there does not count."""
    views = torch.tensor([[[0.0, 2.0], [5.0, 1.0]], [[4.0, 0.0], [1.0, 5.0]]])
    tags = {TAGS: torch.tensor([[1.0, 0.0]])}
    both = sum(TagLoss()(view[None], tags) for view in views) / 2
    assert EquivariantLoss(TagLoss(), 3.0)(views, tags).item() == pytest.approx((both + 3 * 0.5).item())
    assert EquivariantLoss(TagLoss())(views[:1], tags) == TagLoss()(views[:1], tags)


def test_sums_leave_out_what_weighs_nothing():
    loss = SumLoss({"a": TagLoss(), "b": FeatureSimilarityLoss()}, {"b": 0.0})
    assert loss(TWO, PRESENT) == TagLoss()(TWO, PRESENT)  # the other one would ask for a guide
    assert set(loss.parts) == {"a"}
