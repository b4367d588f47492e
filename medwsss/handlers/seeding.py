# SPDX-License-Identifier: Apache-2.0
"""Random streams that depend on seed and epoch alone, so that a resumed run equals an unbroken one."""

from __future__ import annotations

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.utils import set_determinism
from torch.utils.data import DataLoader


class EpochSeeder:
    """Seeds Python, NumPy, PyTorch, the data set's transforms and the loader's generators from (seed, epoch, rank).

    Everything random in an epoch then depends on these three numbers and on nothing that happened before: not on
    earlier epochs, nor on validation. cuDNN is held to its deterministic algorithms, as by
    ``monai.utils.set_determinism``. Each epoch also begins with a fresh pass over the loader, where Ignite would carry
    a half-used one over when ``epoch_length`` is not the loader's length.

    List it behind handlers that change the data at ``EPOCH_STARTED``.

    Args:
        seed: any non-negative integer.

    Raises:
        ValueError: at the start, for a loader with ``persistent_workers``, whose transforms cannot be reached.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Seed at each epoch's start."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        loader = engine.state.dataloader
        # SeedSequence mixes: neighbouring seeds, epochs and ranks get unrelated streams
        words = np.random.SeedSequence([self.seed, engine.state.epoch, idist.get_rank()]).generate_state(1)
        seed = int(words[0])
        set_determinism(seed)
        if isinstance(loader, DataLoader):
            if loader.persistent_workers:
                raise ValueError("expected persistent_workers=False for reproducible epochs, got True")
            set_rnd(loader.dataset, seed)
            for owner in (loader, loader.sampler):
                if isinstance(generator := getattr(owner, "generator", None), torch.Generator):
                    generator.manual_seed(seed)
        if loader is not None:
            engine.set_data(loader)
