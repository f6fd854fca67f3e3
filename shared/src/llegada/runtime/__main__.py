import sys

from llegada.runtime.cli import main

sys.exit(main())
