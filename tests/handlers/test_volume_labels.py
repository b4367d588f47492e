# SPDX-License-Identifier: Apache-2.0
"""When labels of whole cases are solved, from whose opinion, and what is left of them after a kill."""

from __future__ import annotations

import logging

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import SimpleInferer
from torch import nn

from medwsss.engines import PrepareWeakBatch
from medwsss.handlers import EpochSeeder, FullCheckpoint, VolumeLabelHandler
from medwsss.handlers.opinions import opinions
from medwsss.keys import CASE, GUIDE, PRIOR, PSEUDO_LABEL, SCRIBBLE, UNLABELED
from medwsss.label_store import LabelStore
from medwsss.losses import SelfLabelingLoss
from medwsss.solvers import NaturalGradient, StridedSolver, with_spacing
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.transforms import LoadVolumeLabeld

K = 2
SOLVER = NaturalGradient(SelfLabelingEnergy(eta=0.5, lam=1.0, neighborhood=GridNeighborhood(bandwidth=0.5)), 7)


def cases(count=3):
    """Seeds of class 0 in the first row, of class 1 in the last one."""
    generator = torch.Generator().manual_seed(3)
    scribble = torch.full((1, 6, 5), UNLABELED)
    scribble[:, 0], scribble[:, -1] = 0, 1
    images = torch.rand(count, 1, 6, 5, generator=generator)
    return [
        {"image": MetaTensor(image), SCRIBBLE: scribble, GUIDE: image * 2, CASE: f"c{index}"}
        for index, image in enumerate(images)
    ]


class Training:
    """A trainer of few steps, its handler of labels, and what the network was before each epoch."""

    def __init__(self, folder, epochs=4, solver=SOLVER, checkpoint=False, **options):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(0.3), nn.Conv2d(4, K, 1))
        self.store = LabelStore(folder / "labels")
        self.handler = VolumeLabelHandler(
            solver,
            Dataset(cases()),
            self.network,
            SimpleInferer(),
            K,
            self.store,
            checkpoints=folder / "checkpoints",
            **{"keep": True, **options},
        )
        save = {"network": self.network, "pseudo_labels": self.handler}
        handlers = [self.handler, EpochSeeder(0)]
        self.states = {}
        self.targets = []
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=DataLoader(Dataset(cases(), LoadVolumeLabeld(store=self.store, num_classes=K))),
            network=self.network,
            optimizer=torch.optim.SGD(self.network.parameters(), lr=0.5),
            loss_function=SelfLabelingLoss(),
            prepare_batch=PrepareWeakBatch(),
            train_handlers=handlers + ([FullCheckpoint(save, folder / "checkpoints")] if checkpoint else []),
            decollate=False,
        )
        self.trainer.add_event_handler(Events.EPOCH_STARTED, self.remember)
        self.trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, self.look)

    def remember(self, engine):
        self.states[engine.state.epoch] = {k: v.clone() for k, v in self.network.state_dict().items()}

    def look(self, engine):
        self.targets.append((engine.state.epoch, engine.state.batch[CASE][0], engine.state.output["label"]))

    def run(self):
        self.trainer.run()
        return self

    def sigma(self, epoch, case):
        """What the network said before this epoch."""
        self.network.load_state_dict(self.states[epoch])
        self.network.eval()
        with torch.no_grad():
            return self.network(case["image"].as_tensor()[None]).softmax(1)


def solved(sigma, case):
    return SOLVER(sigma.log(), case[GUIDE][None], case[SCRIBBLE][None])


def is_half(got, expected):
    """Equal but for what 16 bits round."""
    torch.testing.assert_close(got.float(), expected, atol=1e-3, rtol=0)


UNIFORM = torch.full((1, K, 6, 5), 1 / K)


@pytest.mark.parametrize(
    "epochs, refreshes, warmup, due",
    [(40, 4, 0, [1, 9, 17, 25, 33]), (4, 0, 0, [1]), (5, 1, 1, [2, 4]), (3, 9, 0, [1, 2, 3]), (7, 2, 0, [1, 3, 5])],
)
def test_generations_are_spread_over_training(tmp_path, epochs, refreshes, warmup, due):
    handler = Training(tmp_path, refreshes=refreshes, warmup_epochs=warmup).handler
    assert sorted(set(handler.due(epochs))) == due


def test_the_first_labels_are_nobodys_opinion(tmp_path):
    training = Training(tmp_path, epochs=1).run()
    assert [name for _, name, _ in training.targets] == ["c0", "c1", "c2"]
    solutions = [solved(UNIFORM, case) for case in cases()]
    for solution, (_, _, target) in zip(solutions, training.targets):
        is_half(target[PSEUDO_LABEL], solution.labels)
    metrics, state = training.trainer.state.metrics, training.trainer.state
    for name, index in (("solver_energy_before", 0), ("solver_energy_after", -1)):
        assert metrics[name] == pytest.approx(sum(s.energy[index].item() for s in solutions) / 3)
    assert metrics["solver_steps"] == 7 and state.solver_status == str(solutions[-1].status)
    assert training.store.opinion(1, "c0") is None


def test_a_case_is_solved_with_its_prior_as_in_training(tmp_path):
    """Bit for bit what the solver makes of the sum of both opinions; without the prior it is something else."""
    training = Training(tmp_path, prior_weight=2.0)
    prior = torch.rand(K, 6, 5, generator=torch.Generator().manual_seed(5))
    case = cases(1)[0]
    training.network.eval()
    with torch.no_grad():
        sigma = training.network(case["image"].as_tensor()[None]).softmax(1)
    product = sigma.log() + 2 * (prior / prior.sum(0)).log()
    found = opinions({**case, PRIOR: prior}, training.handler, torch.device("cpu"))
    torch.testing.assert_close(found.sigma, sigma[0])
    torch.testing.assert_close(found.y, solved(product.exp(), case).labels[0])
    assert (found.y - solved(sigma, case).labels[0]).abs().max() > 0.1


def test_opinions_are_averaged_over_time(tmp_path):
    """With memory ¼: σ(2), ¼ σ(2) + ¾ σ(3); labels before epoch 3 stay in epoch 4."""
    training = Training(tmp_path, epochs=3, refreshes=2, memory=0.25).run()
    assert training.network.training  # as it was before predictions
    for index, case in enumerate(cases()):
        second, third = training.sigma(2, case), training.sigma(3, case)
        assert (second - third).abs().max() > 0.02  # the premise
        average = 0.25 * second + 0.75 * third
        assert torch.tensor(training.store.opinion(3, f"c{index}"))[None].sub(average).abs().max() < 1e-3
        is_half(training.targets[3 + index][2][PSEUDO_LABEL], solved(second, case).labels)
        is_half(training.targets[6 + index][2][PSEUDO_LABEL], solved(average, case).labels)


def test_without_memory_no_opinion_is_kept(tmp_path):
    training = Training(tmp_path, epochs=2, refreshes=1, memory=0.0).run()
    assert training.store.opinion(2, "c0") is None
    is_half(training.targets[3][2][PSEUDO_LABEL], solved(training.sigma(2, cases()[0]), cases()[0]).labels)


def test_after_warm_up_the_network_has_an_opinion(tmp_path):
    training = Training(tmp_path, epochs=2, refreshes=0, warmup_epochs=1).run()
    with_labels = {epoch for epoch, _, target in training.targets if PSEUDO_LABEL in target}
    assert with_labels == {2}
    is_half(training.targets[3][2][PSEUDO_LABEL], solved(training.sigma(2, cases()[0]), cases()[0]).labels)


def test_warm_up_to_the_end_solves_nothing(tmp_path):
    training = Training(tmp_path, epochs=2, warmup_epochs=2).run()
    assert "solver_steps" not in training.trainer.state.metrics and not training.store.folder.exists()
    assert not any(PSEUDO_LABEL in target for _, _, target in training.targets)


class Struck:
    """The solver, until it is called once too often."""

    def __init__(self, calls):
        self.energy, self.calls = SOLVER.energy, calls

    def __call__(self, *args):
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("struck")
        return SOLVER(*args)


def outcome(training):
    return [(epoch, name, target[PSEUDO_LABEL]) for epoch, name, target in training.targets]


@pytest.mark.parametrize("calls", [0, 4, 8])
def test_struck_while_solving(tmp_path, calls):
    """Three cases, three generations of two epochs; whatever was solved before is not solved again."""
    options = {"refreshes": 2, "epochs": 6, "checkpoint": True}
    unbroken = Training(tmp_path / "unbroken", **options).run()
    with pytest.raises(RuntimeError, match="struck"):
        Training(tmp_path / "struck", solver=Struck(calls), **options).run()
    resumed = Training(tmp_path / "struck", solver=Struck(9 - calls), **options).run()
    expected = outcome(unbroken)[-len(resumed.targets) :]
    assert len(resumed.targets) == 18 - calls // 3 * 6
    for (epoch, name, y), (other_epoch, other_name, other) in zip(expected, outcome(resumed)):
        assert (epoch, name) == (other_epoch, other_name) and torch.equal(y, other)
    assert all(map(torch.equal, unbroken.network.parameters(), resumed.network.parameters()))


def test_other_settings_use_nothing_that_is_left(tmp_path):
    """What an unfinished generation has was solved of another energy."""
    for settings, calls in (({"lam": 1}, 2), ({"lam": 2}, 2)):
        with pytest.raises(RuntimeError, match="struck"):
            Training(tmp_path, epochs=1, solver=Struck(calls), settings=settings).run()
    Training(tmp_path, epochs=1, solver=Struck(1), settings={"lam": 2}).run()


def test_labels_that_are_gone_begin_anew(tmp_path, caplog):
    """Without what the checkpoint refers to, the network's opinion is what there is."""
    Training(tmp_path, epochs=2, refreshes=0, checkpoint=True).run().store.remove()
    resumed = Training(tmp_path, epochs=3, refreshes=0, checkpoint=True)
    with caplog.at_level(logging.WARNING):
        resumed.run()
    assert "Expected labels of all cases from epoch 1" in caplog.text
    assert resumed.handler.generation == 3
    is_half(resumed.targets[0][2][PSEUDO_LABEL], solved(resumed.sigma(3, cases()[0]), cases()[0]).labels)


def test_generations_stay_while_a_checkpoint_needs_them(tmp_path):
    """The last two checkpoints are kept; one of epoch 2 goes on with the labels of epoch 1."""
    training = Training(tmp_path, epochs=6, refreshes=1, checkpoint=True)
    there = []
    training.trainer.add_event_handler(Events.EPOCH_STARTED, lambda: there.append(there_are(training.store)))
    training.run()
    assert training.handler.due(6) == [1, 4]
    assert [*there, there_are(training.store)] == [[1], [1], [1], [1, 4], [1, 4], [4], [4]]


def there_are(store):
    return sorted(int(path.name.removeprefix("epoch=")) for path in store.folder.glob("epoch=*"))


def test_labels_go_when_training_ends(tmp_path):
    training = Training(tmp_path, epochs=1, keep=False)
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: training.store.folder.exists() or 1 / 0)
    assert not training.run().store.folder.exists()


def test_spacing_is_that_of_volumes(tmp_path):
    """A solver of slices, 1 mm by 1 mm, for a volume of them, 4 mm thick."""
    neighborhood = GridNeighborhood(bandwidth=0.5, spacing=[1, 1])
    of_slices = NaturalGradient(SelfLabelingEnergy(neighborhood=neighborhood), 3)
    logits, guide = torch.rand(1, K, 5, 4, 3), torch.rand(1, 1, 5, 4, 3)
    scribble = torch.full((1, 1, 5, 4, 3), UNLABELED)
    scribble[..., 0, 0], scribble[..., -1, -1] = 0, 1
    expected = NaturalGradient(SelfLabelingEnergy(neighborhood=GridNeighborhood(1, 0.5, [1, 1, 4])), 3)
    for solver in (of_slices, StridedSolver(of_slices, 1)):
        got = with_spacing(solver, [1, 1, 4])(logits, guide, scribble).labels
        assert torch.equal(got, expected(logits, guide, scribble).labels)
    assert of_slices.energy.neighborhood.spacing == [1, 1]
    handler = Training(tmp_path, solver=of_slices, spacing=[2, 1]).handler
    assert handler.solver.energy.neighborhood.spacing == (2, 1)


@pytest.mark.parametrize("options", [{"refreshes": -1}, {"memory": 1.0}, {"memory": -0.1}, {"warmup_epochs": -1}])
def test_wrong_figures(tmp_path, options):
    with pytest.raises(ValueError, match="expected refreshes and warmup_epochs >= 0 and memory from 0"):
        Training(tmp_path, **options)
