#!/usr/bin/env python3
"""Writes src/ggml/grid/points/: the codebooks of the types of one to three bits.

A codebook is a list of points, part of the file format: its order decides what an index in a block
means. A point has eight coordinates of three levels (iq1, iq2) or four of eight (iq3). It stands in
the tables as llama.cpp packs it while it quantizes: level `i` of a point in bits `2 i` and up, or
`3 i` and up. The points come from the PyPI package `gguf`, which holds them as hexadecimal digits
(`grid_hex` in its quants.py), into a virtual environment under `target/`.

    python3 scripts/make_grids.py

Exit code 0 when the files are as they were, 1 when one of them changed.
"""

import subprocess
import sys

from check_quantizers import ROOT, enter_venv

OUT = ROOT / "src" / "ggml" / "grid" / "points"
GRIDS = {
    "IQ1_S": "`iq1_s` and `iq1_m`",
    "IQ2_XXS": "`iq2_xxs`",
    "IQ2_XS": "`iq2_xs`",
    "IQ2_S": "`iq2_s`",
    "IQ3_XXS": "`iq3_xxs`",
    "IQ3_S": "`iq3_s`",
}


def packed_points(name):
    """Each point as one number, in the order of the format."""
    import gguf.quants
    import numpy as np

    cls = getattr(gguf.quants, name)
    cls.init_grid()
    count, coordinates = cls.grid_shape
    values = np.asarray(cls.grid_map)
    points = cls.grid.reshape(count, coordinates)
    levels = (points[:, :, None] == values).argmax(axis=2)
    bits = 2 if coordinates == 8 else 3
    return (levels << (bits * np.arange(coordinates))).sum(axis=1).tolist()


def source(name, points):
    numbers = ", ".join(map(str, points))
    return (
        f"//! The codebook of {GRIDS[name]}; written by `scripts/make_grids.py`.\n\n"
        f"/// The levels of each point, the first in the lowest bits.\n"
        f"pub const POINTS: [u16; {len(points)}] = [{numbers}];\n"
    )


def main():
    enter_venv()
    changed = 0
    for name in GRIDS:
        path = OUT / f"{name.lower()}.rs"
        before = path.read_text() if path.exists() else None
        path.write_text(source(name, packed_points(name)))
        subprocess.run(["rustfmt", "--edition", "2024", path], check=True)
        changed += path.read_text() != before
        print(f"{path.relative_to(ROOT)}{'' if path.read_text() == before else ': changed'}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
