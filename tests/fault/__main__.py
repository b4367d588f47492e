# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.fault --kills 20``."""

from tests.fault.kill_training import main

if __name__ == "__main__":  # forked processes import this module under another name
    main()
