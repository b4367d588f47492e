# SPDX-License-Identifier: Apache-2.0
"""Figures of hand-made batches, counted by hand, and what is advised."""

from __future__ import annotations

import io
import math
import warnings

import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.networks import one_hot
from torch import nn

from medwsss.engines import PrepareWeakBatch
from medwsss.handlers import PseudoLabelDiagnostics, PseudoLabelHandler
from medwsss.handlers.seed_watch import SeedWatch
from medwsss.keys import GUIDE, HELD_OUT, PSEUDO_LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.losses import SelfLabelingLoss
from medwsss.metrics import decided_by, seeds_by_class
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.test_engines import trainer

U, V = UNLABELED, VOID
CLASSES = 3


def hot(labels, certainty=1.0):
    """``B 3 *S``: ``certainty`` for the label, the rest in equal parts."""
    rest = (1 - certainty) / (CLASSES - 1)
    return one_hot(torch.tensor(labels)[:, None], CLASSES) * (certainty - rest) + rest


def batch(network, labels=None, scribble=None, held_out=None, certainty=1.0):
    """A batch of lines, after the forward pass: ``B`` lists of classes each."""
    scribble = torch.tensor(scribble or [[U] * len(line) for line in network])[:, None]
    targets = {SCRIBBLE: scribble}
    if labels is not None:
        targets[PSEUDO_LABEL] = hot(labels, certainty)
    data = {"output": {"pred": 5 * hot(network), "label": targets}}
    if held_out is not None:
        data[HELD_OUT] = MetaTensor(torch.tensor(held_out)[:, None])
    return data


def watch(*epochs, handler=None):
    """The handler after epochs, each a list of batches."""
    handler = handler or PseudoLabelDiagnostics()

    def forward(engine, data):
        engine.state.output = data["output"]
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        return data["output"]

    engine = Engine(forward)
    engine.register_events(*IterationEvents)
    handler.attach(engine)
    batches = iter([data for epoch in epochs for data in epoch])
    engine.run(batches, max_epochs=len(epochs), epoch_length=len(epochs[0]))
    assert {name: engine.state.metrics[name] for name in handler.figures} == handler.figures
    return handler


# Free: 1 to 5, and all of the second line. Changed: 3 to 5, and 1 and 2 of the second line.
NETWORK = [[0, 0, 0, 1, 2, 2, 1, 0], [0, 1, 1, 1, 1, 1, 1, 1]]
LABELS = [[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 2, 1, 1, 1, 1, 1]]
SCRIBBLE_ = [[0, U, U, U, U, U, 1, V], [U] * 8]
HELD = [[U] * 8, [0, 0, 1, U, U, U, U, V]]


def test_worked_example():
    figures = watch([batch(NETWORK, LABELS, SCRIBBLE_, HELD, 0.8)]).figures
    assert figures == pytest.approx(
        {
            "held_out_network": (1 / 2 + 1) / 2,
            "held_out_pseudo_label": (1 + 0) / 2,
            "pseudo_label_change": 5 / 13,
            "pseudo_label_certainty": 0.8,
            # 4 and 5 reach the seed at 6; between 3 and the seed of its class lies what the network has said itself
            "decided_by_seeds": 4 / 7,
            "decided_by_edges": 1 / 7,
            "decided_by_network": 2 / 7,
        }
    )


def test_an_epoch_is_one_sum():
    """One seed that is right and three that are wrong are a recall of a quarter, however they are batched."""
    batches = [batch([[0, 2, 2, 2]], held_out=[[0, U, U, U]]), batch([[2, 1, 1, 1]], held_out=[[U, 0, 0, 0]])]
    assert watch(batches).figures == {"held_out_network": 0.25}
    assert watch(batches[:1], batches[1:]).figures == {"held_out_network": 0}  # the last epoch's alone
    assert watch([batch([[0, 1]])]).figures == {}


def test_poisoned_batches_do_not_count():
    poisoned = batch([[1, 1]], held_out=[[0, 0]])
    poisoned["output"]["pred"][0, 0, 0] = float("nan")
    assert watch([batch([[0, 1]], held_out=[[0, 1]]), poisoned]).figures == {"held_out_network": 1}


def test_seeds_spread_in_any_number_of_axes(shape):
    """Everything differs from the network and has the label of one seed; then a wall of another label before it."""
    labels, network, scribble = torch.ones(shape).long(), torch.zeros(shape).long(), torch.full(shape, U)
    corner = (0,) * len(shape)
    scribble[corner] = 1
    total = labels.numel()
    assert decided_by(labels, network, scribble) == (total, 0, 0)
    wall = torch.zeros(shape, dtype=torch.bool)
    for axis in range(len(shape)):
        wall.select(axis, 1)[...] = True
    behind = [torch.arange(n) > 1 for n in shape]
    behind = torch.stack(torch.meshgrid(*behind, indexing="ij")).any(0) & ~wall
    near = int((~behind & ~wall).sum())
    labels[wall] = 0  # as the network has it
    assert decided_by(labels, network, scribble) == (near, int(behind.sum()), int(wall.sum()))


def test_corners_do_not_touch():
    """Pairs of a 1-connected grid are faces, so labels do not travel across corners."""
    labels, network, scribble = torch.eye(2).long(), torch.zeros(2, 2).long(), torch.full((2, 2), U)
    scribble[0, 0] = 1
    assert decided_by(labels, network, scribble) == (1, 1, 2)


# ---- advice


def advice(*batches):
    return watch(list(batches)).advice


def line(change, length=2000, label=1):
    """A network that says 0 throughout and labels that differ in ``change`` voxels."""
    return [[0] * length], [[label] * change + [0] * (length - change)]


def test_no_advice_when_all_is_well():
    assert advice(batch(*line(100), held_out=[[1] * 50 + [U] * 1950])) is None
    assert advice(batch([[0, 1]], held_out=[[1, 0]])) is None  # warm-up: nothing to say of pseudo-labels yet


def test_advice_when_worse_than_the_network():
    text = advice(batch(*line(100), held_out=[[0] * 100 + [U] * 1900]))
    assert "0.000 against 1.000" in text and "lower bandwidth" in text
    some_of_many = [[0] * 100 + [U] * 1900]

    def wrong(number):
        return advice(batch([[0] * 2000], [[1] * number + [0] * (2000 - number)], held_out=some_of_many))

    assert wrong(9) is None and "0.890 against 1.000" in wrong(11)  # a tenth may be wrong


def test_advice_when_nothing_changes():
    assert "raise lam, lower solver_eta" in advice(batch(*line(1)))
    assert advice(batch(*line(3))) is None
    learnt = watch([batch(*line(100))], [batch(*line(0))])  # in the end a network agrees with what it was taught
    assert learnt.figures["pseudo_label_change"] == 0 and learnt.advice is None


def test_advice_when_nearly_all_changes():
    assert "on 75% of the voxels: lower lam" in advice(batch(*line(1500)))


def test_advice_when_a_class_is_lost():
    network, labels = line(100)
    network[0][0] = 2
    scribble = [[2] + [U] * 1999]
    assert "classes [2] have seeds but no pseudo-labels" in advice(batch(network, labels, scribble))
    assert advice(batch(network, labels, scribble), batch(*line(5, label=2))) is None


def test_attributes_survive_a_resume():
    first = watch([batch(NETWORK, LABELS, SCRIBBLE_, HELD)])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = PseudoLabelDiagnostics()
    assert first.state_dict() != resumed.state_dict()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.state_dict() == first.state_dict() and resumed.advice == first.advice


@pytest.mark.parametrize("warmup", [0, 1])
def test_in_the_trainer(warmup):
    """After the pseudo-label handler, in a real training; in warm-up there is nothing to tell."""
    diagnostics = PseudoLabelDiagnostics()
    trainer(
        handlers=[PseudoLabelHandler(NaturalGradient(SelfLabelingEnergy(), max_steps=5), warmup), diagnostics]
    ).run()
    if warmup:
        assert not diagnostics.figures
        return
    shares = [diagnostics.figures[f"decided_by_{name}"] for name in ("seeds", "edges", "network")]
    assert sum(shares) == pytest.approx(1) and shares[0] >= 10 / 30  # the seeds themselves, two rows of six
    assert 0.5 < diagnostics.figures["pseudo_label_certainty"] <= 1


# ---- collapse: images whose lower half is bright, a few seeds in either


def training(heal_epochs=10, bias=0.0, epochs=15, watched=True):
    """A trainer whose network starts with ``bias`` for the first class and against the second, and its diagnostics."""
    generator = torch.Generator().manual_seed(3)
    scribble = torch.full((1, 12, 10), UNLABELED)
    scribble[:, 0, 2:8], scribble[:, -1, 4:6] = 0, 1
    images = 0.3 * torch.rand(4, 1, 12, 10, generator=generator)
    images[..., 6:, :] += 0.7
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1)
    assert network.bias is not None
    network.bias.data = torch.tensor([bias, -bias])
    diagnostics = PseudoLabelDiagnostics(heal_epochs=heal_epochs)
    solver = NaturalGradient(SelfLabelingEnergy(eta=1.0, neighborhood=GridNeighborhood(bandwidth=0.2)), max_steps=8)
    engine = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(
            Dataset([{"image": image, SCRIBBLE: scribble, GUIDE: image} for image in images]), batch_size=2
        ),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
        loss_function=SelfLabelingLoss(eta=1.0, normalization="sums"),
        prepare_batch=PrepareWeakBatch(),
        train_handlers=[PseudoLabelHandler(solver), *([diagnostics] if watched else [])],
        decollate=False,
    )
    return engine, diagnostics, images


def found(engine, images):
    """The share of the bright half that the network gives to the second class."""
    return (engine.network(images).argmax(1)[:, 6:] == 1).float().mean().item()


def test_a_collapse_is_healed():
    """From σ = (1.000, 0.000) everywhere: without help the bright half stays lost for the same number of epochs."""
    engine, _, images = training(heal_epochs=0, bias=10.0)
    assert engine.network(images).softmax(1)[:, 1].max() < 1e-6
    with pytest.warns(UserWarning, match="lost classes"):
        engine.run()
    assert found(engine, images) < 0.2
    engine, diagnostics, images = training(bias=10.0)
    with pytest.warns(UserWarning, match="pseudo-labels pause until they are won"):
        engine.run()
    assert found(engine, images) > 0.98
    assert 0 < diagnostics.healed < 10 and not diagnostics.healing and not diagnostics.lost
    assert SeedWatch.of(engine).sums[0].tolist() == [24, 8]  # of an epoch, once, though two handlers look


def test_a_collapse_is_reported():
    """By the class' number and what its seeds get, once a collapse; and as the advice of the report."""
    engine, diagnostics, _ = training(heal_epochs=0, bias=10.0, epochs=1)
    with pytest.warns(UserWarning, match=r"Epoch 1: .*\(σ on their seeds 1: 0\.0000\); classes \[1\] are lost"):
        engine.run()
    assert diagnostics.lost == [1] and not diagnostics.healing
    text = diagnostics.advice
    assert text and "classes [1] are lost" in text and "warmup_epochs" in text


def test_pseudo_labels_are_withheld_for_so_many_epochs():
    """However hopeless: every epoch but those has them again."""
    engine, diagnostics, _ = training(heal_epochs=2, bias=1000.0, epochs=5)
    seen = []
    engine.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda e: seen.append(PSEUDO_LABEL in e.state.output["label"])
    )
    with pytest.warns(UserWarning, match="lost classes"):
        engine.run()
    assert seen[::2] == [True, False, False, True, True] == seen[1::2]
    assert (diagnostics.healed, diagnostics.healing, diagnostics.lost) == (2, False, [1])


def test_a_healthy_training_is_not_touched():
    """Bit for bit, and without a word of loss; that it takes epochs to find the bright half is said."""
    weights = []
    for watched in (True, False):
        engine, diagnostics, _ = training(epochs=6, watched=watched)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Epoch .* lost classes")
            engine.run()
        weights.append(engine.network.state_dict())
        assert diagnostics.healed == 0
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(("mark", "lost"), [(0.0249, [2]), (0.0251, [])])
def test_lost_is_less_than_a_tenth_of_a_guess(mark, lost):
    """Three seeds of class 0 and one of class 2, which is a quarter: at 0.025 it is lost. Class 1 has none to lose."""
    data = batch([[0] * 5], scribble=[[0, 0, 0, 2, U]])
    data["output"]["pred"] = torch.tensor([1 - 2 * mark, mark, mark]).log().view(1, 3, 1).expand(1, 3, 5)
    assert watch([data]).lost == lost  # in warm-up too, where there is no warning


@pytest.mark.parametrize(("hits", "seeds", "unseen"), [(0, 2, True), (1, 21, True), (1, 20, False)])
def test_a_class_that_is_hardly_predicted_is_told_of_once(hits, seeds, unseen):
    """Two of three classes on an undecided network, not lost by a tenth of a guess; the fifth epoch in a row tells."""
    line = [0] * (2 * seeds + 1)
    data = batch([line], [line], scribble=[[0] * seeds + [1] * seeds + [U]])
    sigma = torch.tensor([[0.6, 0.4, 1e-9]] * len(line))
    sigma[seeds : seeds + hits, :2] = sigma[seeds : seeds + hits, :2].flip(1)
    data["output"]["pred"] = sigma.log().T[None]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        seen = watch(*[[data]] * 7)
    assert len(told) == unseen and seen.unseen == ({1: 7} if unseen else {}) and seen.lost == [] and not seen.healed
    if unseen:
        assert str(told[0].message).startswith(
            "Epoch 5: the network has predicted less than 5% of the seeds of classes [1]"
        )
        assert seen.advice and seen.advice.startswith("less than 5% of the seeds of classes [1]")


def test_seeds_by_class(shape):
    """By a loop over voxels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, *shape, generator=generator)
    scribble = torch.tensor([0, 1, 3, U, V])[torch.randint(0, 5, (2, 1, *shape), generator=generator)]
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for z, k in zip(logits.movedim(1, -1).reshape(-1, 4), scribble.flatten().tolist()):
        if k < 4:
            sigma = (z[k].exp() / z.exp().sum()).item()
            expected[:, k] += torch.tensor([1, sigma, -math.log(sigma), z.max() == z[k]], dtype=torch.float64)
    torch.testing.assert_close(seeds_by_class(logits, scribble), expected, rtol=1e-5, atol=0)
    assert seeds_by_class(logits, torch.full_like(scribble, U)).count_nonzero() == 0


@pytest.mark.parametrize("options", [{"interval": 0}, {"heal_epochs": -1}])
def test_wrong_use_is_refused(options):
    with pytest.raises(ValueError, match="expected .*, got (0|-1)"):
        PseudoLabelDiagnostics(**options)
