"""The simulated station: a table, an arm, a hand, cameras. Stands in for hardware through the same plug-ins."""

import os

# MuJoCo reads this once, when it is first imported: render off screen, without a display.
os.environ.setdefault("MUJOCO_GL", "egl")
# The software rasteriser's own threads only fight with the other camera and the trainer on small machines.
os.environ.setdefault("LP_NUM_THREADS", "0")
