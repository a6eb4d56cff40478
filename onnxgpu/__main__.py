"""`python -m onnxgpu` is the command line."""

from onnxgpu.cli import main

raise SystemExit(main())
