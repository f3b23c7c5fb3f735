"""The part of the library that looks for faces and blurs them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from storage.catalog import Catalog
from storage.layout import Home
from workbench.services.exchange import StopSwitch
from workbench.services.faces import BlurReport, FaceLook, FacePlan, blur_planned, example_of, plan_blur

Progress = Callable[[int, int], None]


class LibraryFaces:
    """Of one data folder. Methods may be called from any thread; they take their time."""

    _home: Home
    _catalog: Catalog

    @abstractmethod
    def _changed(self, *episode_ids: str) -> None:
        """Tell everybody which takes changed."""

    def plan_blur(
        self, episode_ids: Sequence[str], progress: Progress | None = None, stop: StopSwitch | None = None
    ) -> FacePlan:
        """In which takes there are faces, and where; writes nothing. WorkbenchError if there is no detector."""
        return plan_blur(self._home, episode_ids, progress, stop)

    def blur(self, plan: FacePlan, progress: Progress | None = None, stop: StopSwitch | None = None) -> BlurReport:
        """Put copies with blurred faces in the place of takes, which go to the trash; ``undo`` takes it back.

        Each take is whole or as it was; what was computed from the pictures of those that are done is removed.
        """
        report = blur_planned(self._catalog, plan, progress, stop)
        if report.copies:
            self._changed(*report.copies, *report.copies.values())
        return report

    def face_example(self, look: FaceLook) -> tuple[str, NDArray[np.uint8]] | None:
        """The stream and the picture of a take in which most would be blurred, as it would become."""
        return example_of(self._home, look)
