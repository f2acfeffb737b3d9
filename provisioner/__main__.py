"""`python -m provisioner` is `provision`."""

from .cli import main

raise SystemExit(main())
