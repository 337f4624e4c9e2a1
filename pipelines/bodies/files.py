"""Where the body model files lie: the user's licensed folder, or the stand-in's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.bodies.standin.expand import standin_folder
from pipelines.errors import DataMissing
from pipelines.records import Gender

WHERE_TO_GET = {
    "smplx": "https://smpl-x.is.tue.mpg.de (SMPL-X v1.1, NPZ+PKL)",
    "smplh": "https://mano.is.tue.mpg.de (extended SMPL+H model used in AMASS, one npz per gender)",
    "transfer": "https://smpl-x.is.tue.mpg.de (model correspondences, smplx2smplh_deftrafo_setup.pkl)",
    "h36m": "the METRO or SA-HMR support data (J_regressor_h36m.npy)",
    "downsampling": "the METRO or SA-HMR support data (mesh_downsampling.npz)",
    "segments": "https://prox.is.tue.mpg.de (body_segments.zip)",
}


@dataclass(frozen=True, slots=True)
class BodyFiles:
    """Body model files below one folder. A file is looked for when it is asked for."""

    folder: Path
    is_standin: bool
    """True for the licence-free bodies; their numbers must not be compared with published ones."""

    def smplx(self, gender: Gender) -> Path:
        """The SMPL-X npz of a gender."""
        name = f"SMPLX_{gender.upper()}.npz"
        return self._find("smplx", (f"smplx/{name}", f"models/smplx/{name}", name))

    def smplh(self, gender: Gender) -> Path:
        """The SMPL+H file of a gender: AMASS layout first, then the names smplx uses."""
        name = f"SMPLH_{gender.upper()}"
        places = (
            f"smplh/{gender}/model.npz",
            f"{gender}/model.npz",
            f"smplh/{name}.npz",
            f"{name}.npz",
            f"smplh/{name}.pkl",
            f"{name}.pkl",
        )
        return self._find("smplh", places)

    @property
    def transfer(self) -> Path:
        """The SMPL-X -> SMPL+H vertex matrix (pickle)."""
        name = "smplx2smplh_deftrafo_setup.pkl"
        return self._find("transfer", (name, f"model_transfer/{name}", f"transfer_data/{name}"))

    @property
    def h36m(self) -> Path:
        """The (17, 6890) regressor of Human3.6M joints."""
        return self._find("h36m", ("J_regressor_h36m.npy",))

    @property
    def downsampling(self) -> Path:
        """METRO's pyramid 6890 -> 1723 -> 431."""
        return self._find("downsampling", ("mesh_downsampling.npz",))

    @property
    def segments(self) -> Path:
        """The folder of PROX's body segment JSON files (SMPL-X ids)."""
        return self._find("segments", ("body_segments",))

    def missing(self, gender: Gender) -> dict[str, str]:
        """What of this gender's set is absent: short name -> the message saying where to get it."""
        found = {}
        for name in WHERE_TO_GET:
            try:
                member = getattr(self, name)
                member(gender) if callable(member) else member
            except DataMissing as error:
                found[name] = str(error)
        return found

    def _find(self, kind: str, places: Sequence[str]) -> Path:
        for place in places:
            if (self.folder / place).exists():
                return self.folder / place
        raise DataMissing(
            f"body model file not found: {places[0]}",
            where=self.folder,
            expected=" or ".join(places),
            fix=f"get it from {WHERE_TO_GET[kind]}, or leave the body folder unset for the stand-in",
        )


def resolve_body_files(folder: Path | None) -> BodyFiles:
    """The user's folder of licensed models, or with None the stand-in.

    Raises:
        DataMissing: the folder does not exist.
    """
    if folder is None:
        return BodyFiles(standin_folder(), is_standin=True)
    if not folder.is_dir():
        raise DataMissing(
            "folder of body models not found",
            where=folder,
            fix="set it to the folder that holds smplx/ and smplh/, or leave it unset for the stand-in",
        )
    return BodyFiles(folder, is_standin=False)
