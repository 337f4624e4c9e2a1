"""One recording before it is filmed: its motion, its room, its camera, its truth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplxBody, load_smplx
from pipelines.geometry.transforms import invert
from pipelines.records import SmplxParameters, SyntheticTruth
from pipelines.synthetic.actor import PosedBody, make_truth, pose
from pipelines.synthetic.defects import (
    DEFECTS,
    FIRST_CLIP_FRAMES,
    GAP_AFTER_FRAME,
    GAP_FRAMES,
    motion_rows,
)
from pipelines.synthetic.layout import RoomRequest, arrange_room
from pipelines.synthetic.motions import MotionClip, make_motion
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings, subject_betas
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import RoomMesh, room_mesh
from pipelines.synthetic.sensor import kinect_rig

_RENDER_EDGE_M = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Scenery:
    """A recording before its frames are filmed."""

    spec: RecordingSpec
    clip: MotionClip
    body: SmplxBody
    room: Room
    mesh: RoomMesh
    posed_camera: PosedBody
    frame_names: tuple[str, ...]
    truth: SyntheticTruth


def prepare(settings: SyntheticSettings, spec: RecordingSpec, files: BodyFiles) -> Scenery:
    """Make the motion, build the room around it, place the camera, tell the truth."""
    rng = stream(settings, spec, "room")
    clip = _make_clip(settings, spec, files)
    body = load_smplx(files, spec.gender)
    posed = pose(body, clip.parameters)
    rig = kinect_rig()
    request = RoomRequest(clip.furniture, spec.occluded_frames, spec.clutter)
    room = arrange_room(request, posed.sweep(), rig, rng)
    posed_camera = posed.moved(invert(room.T_room_from_camera))
    mesh = room_mesh(room.surfaces, _RENDER_EDGE_M)
    names = _name_frames(settings, spec)
    truth = make_truth(spec.name, names, clip, body, files, posed_camera, room, mesh, rig.color)
    if spec.defects:
        truth.person_present[DEFECTS["no_person"]] = False
        truth.joint_hidden[DEFECTS["no_person"]] = True
    return Scenery(spec, clip, body, room, mesh, posed_camera, names, truth)


def _make_clip(settings: SyntheticSettings, spec: RecordingSpec, files: BodyFiles) -> MotionClip:
    """The motion, cut where a recording of defects has its gaps."""
    betas = subject_betas(settings.seed, spec.subject)
    if not spec.defects:
        return make_motion(spec.family, spec.num_frames, spec.gender, betas, files, spec.seed)
    rows = motion_rows(spec.num_frames)
    clip = make_motion(spec.family, int(rows[-1]) + 1, spec.gender, betas, files, spec.seed)
    shown = {f.name: getattr(clip.parameters, f.name)[rows] for f in fields(SmplxParameters)}
    return replace(clip, parameters=SmplxParameters(**shown), foot_contact=clip.foot_contact[rows])


def _name_frames(settings: SyntheticSettings, spec: RecordingSpec) -> tuple[str, ...]:
    rng = stream(settings, spec, "time")
    if not spec.defects:
        return frame_names(spec.num_frames, rng)
    gap_s = GAP_FRAMES / 30
    first = frame_names(FIRST_CLIP_FRAMES, rng, gap_after=GAP_AFTER_FRAME, gap_s=gap_s)
    return first + frame_names(spec.num_frames - FIRST_CLIP_FRAMES, rng, clip=4)


def frame_names(
    num_frames: int,
    rng: np.random.Generator,
    clip: int = 1,
    start_s: float = 0.0,
    gap_after: int | None = None,
    gap_s: float = 0.0,
) -> tuple[str, ...]:
    """`s001_frame_00001__00.00.00.029` and so on: 30 fps on average, uneven at the start as in PROX.

    Args:
        num_frames: of this clip; numbers start at 1.
        rng: jitters the times by a millisecond.
        clip: number after the `s`.
        start_s: added to all times.
        gap_after: frame number after which the clock jumps.
        gap_s: by how much.
    """
    index = np.arange(1, num_frames + 1)
    times = np.where(index <= 6, 0.050 + (index - 2) * 0.0245, 0.148 + (index - 6) / 30.02)
    times[0] = 0.029
    times += start_s + np.where(index > 6, rng.uniform(-0.001, 0.001, num_frames), 0)
    if gap_after is not None:
        times[index > gap_after] += gap_s
    names = []
    for number, time_s in zip(index, times, strict=True):
        seconds, milliseconds = divmod(round(time_s * 1000), 1000)
        minutes, seconds = divmod(seconds, 60)
        stamp = f"{minutes // 60:02d}.{minutes % 60:02d}.{seconds:02d}.{milliseconds:03d}"
        names.append(f"s{clip:03d}_frame_{number:05d}__{stamp}")
    return tuple(names)


def stream(settings: SyntheticSettings, spec: RecordingSpec, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose, so that one draw more in one place moves nothing else."""
    return np.random.default_rng([settings.seed, spec.seed, *f"{spec.name}/{purpose}".encode()])
