"""What is known of a capture once scan and cameras agree."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.capture.agreement import Background, ScanView
from pipelines.capture.floor import Floor
from pipelines.capture.rig import CaptureRig
from pipelines.capture.scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class CaptureStage:
    """What is known once scan and cameras agree."""

    rig: CaptureRig
    scan: Scan
    floor: Floor
    background: Background
    depth_view: ScanView
    color_view: ScanView
