"""The brain's surface by a growing balloon, after S. Smith, "Fast robust automated brain extraction" (2002).

A sphere inside the head swells until it meets the dark gap of CSF and skull; its own stiffness keeps it smooth. Works
on T1, T2, FLAIR and with contrast agent, as it asks only where intensity drops below the brain's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from pipeline.volume import FloatArray

_Points = NDArray[np.float64]

#: How far inwards a surface point looks for the darkest voxel, and half of that for the brightest.
_LOOK_MM = 20.0
#: Surface points keep radii of curvature between these; the published values.
_SMALLEST_RADIUS_MM, _LARGEST_RADIUS_MM = 3.33, 10.0
#: Coarse mesh to get there, fine mesh to settle.
_ROUNDS = ((3, 350), (4, 250))
#: The fine mesh only settles: the coarse one leaves holes when it is drawn.
_BRISK_ROUNDS = ((3, 350), (4, 20))
#: The brain's centre lies within this distance below the crown; what is lower (face, neck) would draw it down.
_CROWN_TO_BRAIN_MM = 140.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mesh:
    """A closed triangle mesh: who neighbours whom, which faces a point belongs to."""

    directions: _Points
    faces: NDArray[np.int64]
    neighbour_mean: sparse.csr_matrix
    face_sum: sparse.csr_matrix


@functools.cache
def _sphere(subdivisions: int) -> _Mesh:
    golden = (1 + 5**0.5) / 2
    points: list[tuple[float, float, float]] = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    points += [(z, x, y) for x, y, z in points] + [(y, z, x) for x, y, z in points]
    vertices = np.array(points, dtype=np.float64)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    # The 20 faces of an icosahedron are its triples of mutually nearest corners, turned outwards.
    near = np.linalg.norm(vertices[:, None] - vertices[None], axis=2) < 1.1
    triples = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[a, c]
    ]
    faces = np.array(triples)
    turned = np.einsum("fi,fi->f", np.cross(*_edges(vertices, faces)), vertices[faces[:, 0]]) < 0
    faces[turned] = faces[turned][:, ::-1]
    for _ in range(subdivisions):
        vertices, faces = _subdivided(vertices, faces)
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    count = len(vertices)
    rows, columns = np.concatenate([faces, faces[:, [1, 2, 0]]]).T[:2]
    adjacency = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (count, count))
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    mean = sparse.diags(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency
    owners = sparse.csr_matrix(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), (count, len(faces))
    )
    return _Mesh(directions=vertices, faces=faces, neighbour_mean=mean.tocsr(), face_sum=owners)


def _edges(vertices: _Points, faces: NDArray[np.int64]) -> tuple[_Points, _Points]:
    first = vertices[faces[:, 0]]
    return vertices[faces[:, 1]] - first, vertices[faces[:, 2]] - first


def _subdivided(vertices: _Points, faces: NDArray[np.int64]) -> tuple[_Points, NDArray[np.int64]]:
    """Each triangle in four. The first points stay the old ones, so that a surface carries over."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, where = np.unique(pairs, axis=0, return_inverse=True)
    ab, bc, ca = where.reshape(3, -1) + len(vertices)
    a, b, c = faces.T
    finer = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return np.concatenate([vertices, vertices[unique].mean(axis=1)]), finer


def brain_inside(
    image: FloatArray, head: NDArray[np.bool_], spacing_mm: float, sensitivity: float = 0.7, *, brisk: bool = False
) -> FloatArray:
    """Share 0..1 of each voxel that lies in the brain, float32 (I, J, K), cut at the surface with 0.5.

    image: on an isotropic RAS+ axis-aligned grid of `spacing_mm`; head: its head. sensitivity: 0..1, the share of the
    way from air to brain at which the surface halts; higher gives a smaller brain. 0.5 was
    published; 0.7 fits real skull-on series in 2 mm blocks. brisk: hardly settle on the fine mesh, in half of the time.
    """
    rounds = _BRISK_ROUNDS if brisk else _ROUNDS
    crown = int(np.flatnonzero(head.any(axis=(0, 1)))[-1])
    upper = head.copy()
    upper[:, :, : max(crown - round(_CROWN_TO_BRAIN_MM / spacing_mm), 0)] = False
    dark, bright = (float(v) for v in np.percentile(image, (2, 98)))
    threshold = dark + 0.1 * (bright - dark)
    weights = np.where(upper & (image > threshold), np.minimum(image, bright) - dark, 0)
    centre = np.array(ndimage.center_of_mass(weights))
    radius = (3 * float(upper.sum()) / (4 * np.pi)) ** (1 / 3)
    i, j, k = np.ogrid[tuple(slice(n) for n in image.shape)]
    ball = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 < radius**2
    inside = image[ball & (image > dark) & (image < bright)]
    middle = float(np.median(inside)) if inside.size else bright
    points = centre + 0.5 * radius * _sphere(_ROUNDS[0][0]).directions
    for number, (subdivisions, iterations) in enumerate(rounds):
        if number:
            points = _subdivided(points, _sphere(subdivisions - 1).faces)[0]
        mesh = _sphere(subdivisions)
        points = _grown(points, mesh, image, iterations, spacing_mm, sensitivity, (dark, threshold, middle))
    return _voxelised(points, _sphere(rounds[-1][0]).faces, image.shape)


def _grown(
    points: _Points,
    mesh: _Mesh,
    image: FloatArray,
    iterations: int,
    spacing_mm: float,
    sensitivity: float,
    levels: tuple[float, float, float],
) -> _Points:
    """The points (n, 3), in voxels, after `iterations` steps of the balloon."""
    dark, threshold, middle = levels
    curvature = (1 / _SMALLEST_RADIUS_MM + 1 / _LARGEST_RADIUS_MM) / 2
    steepness = 6 / (1 / _SMALLEST_RADIUS_MM - 1 / _LARGEST_RADIUS_MM)
    looks = np.arange(1, round(_LOOK_MM / spacing_mm) + 1)
    top = np.array(image.shape) - 1
    for _ in range(iterations):
        normals = mesh.face_sum @ np.cross(*_edges(points, mesh.faces))
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        pull = mesh.neighbour_mean @ points - points
        outwards = np.einsum("ij,ij->i", pull, normals)
        along = outwards[:, None] * normals
        edge = float(np.linalg.norm(points[mesh.faces[:, 0]] - points[mesh.faces[:, 1]], axis=1).mean())
        bend = 2 * np.abs(outwards) / edge**2 / spacing_mm
        stiffness = (1 + np.tanh(steepness * (bend - curvature))) / 2
        seen = np.rint(points[:, None] - looks[:, None] * normals[:, None]).astype(int)
        seen = np.clip(seen, 0, top)
        values = image[seen[..., 0], seen[..., 1], seen[..., 2]]
        lowest = np.clip(values.min(axis=1), dark, middle)
        highest = np.clip(values[:, : len(looks) // 2].max(axis=1), threshold, middle)
        halt = dark + (highest - dark) * sensitivity
        push = 2 * (lowest - halt) / np.maximum(highest - dark, 1e-9)
        points = points + 0.5 * (pull - along) + stiffness[:, None] * along + (0.05 * edge * push)[:, None] * normals
        points = np.clip(points, 0, top)
    return points


def _voxelised(points: _Points, faces: NDArray[np.int64], shape: tuple[int, ...]) -> FloatArray:
    """1 inside the closed surface, 0 outside, one half in the voxels it runs through."""
    steps = 8
    u, v = (grid.ravel() / steps for grid in np.mgrid[0 : steps + 1, 0 : steps + 1])
    kept = u + v <= 1 + 1e-9
    first, second = _edges(points, faces)
    surface = points[faces[:, 0], None] + u[kept, None] * first[:, None] + v[kept, None] * second[:, None]
    cells = np.clip(np.rint(surface.reshape(-1, 3)).astype(int), 0, np.array(shape) - 1)
    shell = np.zeros(shape, dtype=np.bool_)
    shell[cells[:, 0], cells[:, 1], cells[:, 2]] = True
    # The shell may lie on the border of the field of view: close it there, so that it still holds the inside.
    filled = ndimage.binary_fill_holes(np.pad(shell, 1))[1:-1, 1:-1, 1:-1]
    share: FloatArray = filled.astype(np.float32) - 0.5 * shell.astype(np.float32)
    return share
