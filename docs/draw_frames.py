"""Draw docs/img/frames.png: `python docs/draw_frames.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

OUT = Path(__file__).parent / "img" / "frames.png"
# Okabe and Ito: x, y, z told apart by every kind of colour vision; letters say it again.
X, Y, Z = "#D55E00", "#009E73", "#0072B2"
INK, SOFT = "#222222", "#8C8C8C"
_AXIS_COLORS = {"x": X, "y": Y, "z": Z, "u": X, "v": Y}


def main() -> None:
    """Three panels: the room from the side, the image, the chain of transforms."""
    figure = Figure(figsize=(13, 8.2))
    FigureCanvasAgg(figure)
    room = figure.add_axes((0.01, 0.33, 0.57, 0.64))
    image = figure.add_axes((0.60, 0.33, 0.39, 0.64))
    chain = figure.add_axes((0.01, 0.01, 0.98, 0.30))
    for axes in (room, image, chain):
        axes.set_axis_off()
    draw_room(room)
    draw_image(image)
    draw_chain(chain)
    figure.savefig(OUT, dpi=100, metadata={"Software": None})


def draw_room(axes: Any) -> None:
    """The room from the side: world, camera, canonical and root frames, the floor plane."""
    axes.set_xlim(-0.9, 5.2)
    axes.set_ylim(-1.25, 2.3)
    axes.set_aspect("equal")
    axes.set_title(
        "The room from the side (dot: towards you, cross: away from you)",
        loc="left",
        fontsize=12,
        color=INK,
    )
    axes.add_patch(Rectangle((-0.9, -1.1), 6.1, 0.18, color="#DDDDDD"))
    axes.plot([-0.9, 5.2], [-0.92, -0.92], color=INK, linewidth=1.5)
    axes.text(-0.85, -1.06, "floor: n · x = d, n points up; in the scan somewhere near z = -0.9")
    _world(axes, (1.75, 0.0))
    _camera(axes, (0.0, 1.15), tilt=np.deg2rad(14))
    _person(axes, (3.9, -0.92))


def _world(axes: Any, origin: tuple[float, float]) -> None:
    _axis(axes, origin, (0, 0.6), "z")
    _axis(axes, origin, (0.6, 0), "x")
    _into_page(axes, origin, "y")
    axes.text(origin[0] - 0.05, origin[1] - 0.33, "world\nthe scan's own frame", va="top", ha="center")


def _camera(axes: Any, place: tuple[float, float], tilt: float) -> None:
    forward = np.array([np.cos(tilt), -np.sin(tilt)])
    down = np.array([-np.sin(tilt), -np.cos(tilt)])
    corners = np.array([[-0.35, -0.14], [0.05, -0.14], [0.05, 0.14], [-0.35, 0.14], [-0.35, -0.14]])
    outline = np.array(place) + corners[:, :1] * forward + corners[:, 1:] * down
    axes.fill(*outline.T, color="#EEEEEE", zorder=1)
    axes.plot(*outline.T, color=INK, linewidth=1.2)
    for side in (-0.33, 0.25):
        ray = np.array(place) + 3.2 * (forward + side * down)
        axes.plot([place[0], ray[0]], [place[1], ray[1]], color=SOFT, linewidth=0.8, linestyle=":")
    axes.plot([place[0] - 0.18] * 2, [place[1] - 0.17, -0.92], color=SOFT, linewidth=2, zorder=0)
    _axis(axes, place, 0.75 * forward, "z")
    _axis(axes, place, 0.6 * down, "y")
    _into_page(axes, place, "x", out=True)
    axes.text(
        place[0] - 0.75, place[1] + 0.32, "camera: colour camera, OpenCV\nx right, y down, z forward"
    )


def _person(axes: Any, feet: tuple[float, float]) -> None:
    x, floor = feet
    pelvis, neck, head = (x, floor + 0.95), (x + 0.02, floor + 1.45), (x, floor + 1.65)
    for line in (
        (pelvis, neck),
        (pelvis, (x - 0.12, floor + 0.5), (x - 0.05, floor + 0.05), (x - 0.25, floor)),
        (pelvis, (x + 0.05, floor + 0.5), (x + 0.18, floor + 0.05), (x - 0.02, floor)),
        (neck, (x - 0.1, floor + 1.15), (x - 0.3, floor + 1.0)),
    ):
        points = np.array(line)
        axes.plot(*points.T, color=SOFT, linewidth=7, solid_capstyle="round", zorder=1)
    axes.scatter(*head, s=420, color=SOFT, zorder=1)
    _axis(axes, pelvis, (0.08, 0.5), "y")
    _axis(axes, pelvis, (-0.5, 0.08), "z")
    _into_page(axes, pelvis, "x", out=True)
    axes.text(
        x + 0.25, pelvis[1] - 0.1, "root: SMPL pelvis\nx to the body's left,\ny up, z to the front"
    )
    origin = (x, floor)
    _axis(axes, origin, (0, 0.42), "z")
    _axis(axes, origin, (-0.75, 0), "y")
    _into_page(axes, origin, "x")
    axes.text(x + 0.3, floor + 0.1, "canonical: on the\nfloor, z up, the\nbody facing +y", va="bottom")


def draw_image(axes: Any) -> None:
    """The file on disk is mirrored; the true image and its pixel axes."""
    axes.set_xlim(0, 2150)
    axes.set_ylim(2750, -160)
    axes.set_aspect("equal")
    axes.set_title("The image", loc="left", fontsize=12, color=INK)
    for top, flipped in ((0, True), (1480, False)):
        axes.add_patch(Rectangle((0, top), 1920, 1080, facecolor="#F4F4F4", edgecolor=INK))
        sign, centre = (-1, 1919 - 640) if flipped else (1, 640)
        hand = np.array([[0, 380], [sign * -190, 470], [sign * -330, 250]])
        axes.plot(centre + hand[:, 0], top + hand[:, 1], color=SOFT, linewidth=5)
        axes.plot([centre, centre], [top + 360, top + 700], color=SOFT, linewidth=9)
        axes.plot(
            [centre - 110, centre, centre + 110],
            [top + 1030, top + 700, top + 1030],
            color=SOFT,
            linewidth=6,
        )
        axes.scatter(centre, top + 260, s=260, color=SOFT)
        axes.text(
            centre - sign * 330, top + 200, "right hand", ha="center", va="bottom", fontsize=9, color=INK
        )
    axes.text(960, -25, "file on disk: mirrored (Color, Depth, BodyIndex)", ha="center", va="bottom")
    axes.annotate("", (960, 1455), (960, 1105), arrowprops={"arrowstyle": "-|>", "color": INK})
    axes.text(1000, 1280, "flip on reading: u = 1919 - u_file\n(keypoints: also swap left and right)")
    axes.annotate("", (560, 1480), (0, 1480), arrowprops={"arrowstyle": "-|>", "color": X, "lw": 2})
    axes.annotate("", (0, 2040), (0, 1480), arrowprops={"arrowstyle": "-|>", "color": Y, "lw": 2})
    axes.text(580, 1500, "u", color=X, va="top", fontsize=12, weight="bold")
    axes.text(30, 2060, "v", color=Y, va="top", fontsize=12, weight="bold")
    axes.text(
        960,
        2585,
        "image: true, un-mirrored, 1920 x 1080 px,\ninteger = pixel centre; `_px` is always this frame",
        ha="center",
        va="top",
    )


def draw_chain(axes: Any) -> None:
    """Boxes for the frames, arrows for the transforms."""
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 30)
    axes.set_title("How points travel", loc="left", fontsize=12, color=INK)
    boxes = {
        "depth pixel\n(512 x 424, true)": (7, 21),
        "IR camera": (26, 21),
        "rig": (43, 21),
        "camera": (60, 21),
        "world": (86, 21),
        "image\npixels": (43, 6),
        "canonical": (86, 6),
    }
    for label, (x, y) in boxes.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - 5.5, y - 2.6), 11, 5.2, boxstyle="round,pad=0.3", facecolor="#F4F4F4", edgecolor=INK
            )
        )
        axes.text(x, y, label, ha="center", va="center", fontsize=10)
    arrows = (
        ((13, 21), (20, 21), "K_ir, k_ir,\ndepth"),
        ((32, 21), (37, 21), "IR view"),
        ((49, 21), (54, 21), "colour\nview"),
        ((66, 21), (80, 21), "T_world_from_camera\n(cam2world/<Scene>.json)"),
    )
    for start, end, text in arrows:
        _arrow(axes, start, end)
        axes.text((start[0] + end[0]) / 2, 24.4, text, ha="center", va="bottom", fontsize=8)
    _arrow(axes, (57, 18), (48, 9))
    axes.text(53.5, 12.5, "bodies: pinhole K,\nno distortion", fontsize=8, va="top")
    _arrow(axes, (43, 18), (43, 9.2))
    axes.text(42, 13.5, "depth points:\nK and distortion", fontsize=8, ha="right", va="center")
    _arrow(axes, (64, 18), (80, 8.5))
    axes.text(
        79.5,
        7.2,
        "floor and heading of a\nwindow's first frame",
        fontsize=8,
        va="top",
        ha="right",
    )


def _axis(axes: Any, origin: Any, step: Any, name: str) -> None:
    tip = np.asarray(origin) + np.asarray(step)
    color = _AXIS_COLORS[name]
    axes.annotate("", tip, origin, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.2}, zorder=5)
    label = np.asarray(origin) + np.asarray(step) * 1.17
    axes.text(*label, name, color=color, ha="center", va="center", fontsize=12, weight="bold", zorder=6)


def _into_page(axes: Any, place: Any, name: str, out: bool = False) -> None:
    """The third axis: a cross points away from the reader, a dot towards him."""
    color = _AXIS_COLORS[name]
    axes.scatter(*place, s=150, facecolor="white", edgecolor=color, linewidth=1.8, zorder=6)
    axes.scatter(*place, s=50, marker="o" if out else "x", color=color, linewidth=1.8, zorder=7)
    axes.text(
        place[0] + 0.13,
        place[1] + 0.12,
        name,
        color=color,
        fontsize=12,
        weight="bold",
        ha="center",
        va="center",
        zorder=7,
    )


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.3})


if __name__ == "__main__":
    main()
