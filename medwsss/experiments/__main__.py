# SPDX-License-Identifier: Apache-2.0
"""``python -m medwsss.experiments <command>``: train many methods under one budget, and set them side by side."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

#: A command's module and what it is for; each has ``add_arguments(parser)`` and ``run(arguments)``, which returns the
#: exit code. Only the module of the command that is asked for gets imported.
COMMANDS = {
    "compare": ("medwsss.experiments.compare", "methods side by side on a data list of your own"),
    "gallery": ("medwsss.experiments.gallery", "a page of pictures of finished runs"),
    "paper": ("medwsss.experiments.paper", "Tables 3 and 4 and Figure 5 of the paper on any data list"),
    "robustness": ("medwsss.experiments.robustness", "one default against all else on several public studies"),
}


def main(arguments: Sequence[str] | None = None, prog: str = "python -m medwsss.experiments") -> int:
    """Parse ``arguments`` (default: the command line's), run the command asked for and return its exit code.

    What a command does not know itself are ``overrides``, which every training gets. Bad input (``ValueError``,
    ``OSError``) ends with its message alone and exit code 1.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) > 1 and words[1].endswith(".json"):  # compare LIST.json, as data_prep check has it
        words.insert(1, "--datalist")
    asked = next((word for word in words if not word.startswith("-")), None)
    run: Callable[[argparse.Namespace], int]
    for name, (module, summary) in COMMANDS.items():
        # an abbreviation could be an override: --seed is not --seeds
        subparser = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        if name == asked:
            command = importlib.import_module(module)
            subparser.description, run = command.__doc__, command.run
            command.add_arguments(subparser)
    options, overrides = parser.parse_known_args(words)
    options.overrides = overrides
    try:
        return run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
