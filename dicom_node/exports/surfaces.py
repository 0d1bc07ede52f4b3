"""The regions' surfaces: STL and OBJ in RAS+ millimetres, GLB in metres with y up, as glTF wants it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from dicom_node.exports.content import ExportScan
from pipeline.extents import surface
from pipeline.report import Region, Segmentation

_COLOURS = {Region.WT: (140, 224, 228, 90), Region.TC: (216, 191, 216, 160), Region.ET: (255, 60, 60, 255)}
#: RAS+ mm (right, front, up) to glTF's metres: x right, y up, z to the back of the head.
_TO_GLTF = np.array([[1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, -1e-3, 0, 0], [0, 0, 0, 1]])


def meshes(scan: ExportScan) -> dict[Region, trimesh.Trimesh]:
    """A closed surface for each region that has a voxel, RAS+ mm; none without segmentation."""
    segmentation = scan.report.segmentation
    if not isinstance(segmentation, Segmentation):
        return {}
    found: dict[Region, trimesh.Trimesh] = {}
    for region in Region:
        mask = segmentation.region(region)
        if mask.any():
            vertices, triangles = surface(mask, segmentation.grid)
            found[region] = trimesh.Trimesh(vertices=vertices, faces=triangles)
            found[region].visual.face_colors = _COLOURS[region]
    return found


def write_stl(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-wt.stl and so on."""
    return _each(scan, out, "stl")


def write_obj(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-wt.obj and so on, without colours."""
    return _each(scan, out, "obj")


def write_glb(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>.glb: one scene with a named node for each region."""
    found = meshes(scan)
    if not found:
        return []
    scene = trimesh.Scene()
    for region, mesh in found.items():
        scene.add_geometry(mesh, node_name=region.value, geom_name=region.value)
    scene.apply_transform(_TO_GLTF)
    path = out / f"{scan.scan_id}.glb"
    path.write_bytes(bytes(scene.export(file_type="glb")))
    return [path]


def _each(scan: ExportScan, out: Path, kind: str) -> list[Path]:
    paths = []
    for region, mesh in meshes(scan).items():
        paths.append(out / f"{scan.scan_id}-{region.lower()}.{kind}")
        told = mesh.export(file_type=kind)
        paths[-1].write_bytes(told if isinstance(told, bytes) else str(told).encode())
    return paths
