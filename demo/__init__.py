"""The whole chain on one machine: ``python -m demo``.

Read ``story.py`` first: it is the demonstration from build to prediction, act by act. ``refusals.py`` then
shows six attacks, each with the error that stops it. Nothing here is simulated but the hardware: the log,
its witnesses, the auditors and the servers are processes of their own, and the image is the released one.
"""

from __future__ import annotations

import os

# onnxruntime, which the client's own prediction uses, looks at this when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__: list[str] = []
