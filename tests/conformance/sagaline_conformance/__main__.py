"""`python -m sagaline_conformance`."""

import sys

from sagaline_conformance.command import main

sys.exit(main())
