"""The rasteriser: convex planar quads into an inverse-depth buffer and a face-number buffer.

Shading comes later (`shading.py`), once per pixel. Camera space: x forward, y right, z up. On a plane n.p = d
the inverse depth is linear in the picture, 1/x = (n_x + n_y*ry + n_z*rz) / d with the ray (1, ry, rz), so
depth is perspective-correct without interpolating anything between corners.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numba import njit

NEAR_M = 0.15
LAYER_BIAS = 2.5e-4  # relative gain of the inverse depth per layer
MAX_CORNERS = 8

_F = (
    "int64(float64[:,::1], float64[:,::1], float64[:,::1], float64[::1], float64[::1], float64, float64, "
    "float64, float64, int32, float32[:,::1], int32[:,::1])"
)


@njit(_F, cache=True, nogil=True, error_model="numpy")
def draw_face(p, q, uv, left, right, focal, cx, cy, bias, number, inverse_depth, face):
    """Draws one quad given in camera space.

    Args:
        p: (4, 3) corners.
        q: (MAX_CORNERS, 3) scratch for the clipped corners.
        uv: (MAX_CORNERS, 2) scratch for the projected corners.
        left: (H,) scratch for span starts.
        right: (H,) scratch for span ends.
        focal: Pixels.
        cx: Principal point, pixels.
        cy: Principal point, pixels.
        bias: 1 + layer * LAYER_BIAS.
        number: What is written into `face`.
        inverse_depth: (H, W) 1/m, biased.
        face: (H, W).

    Returns:
        1 if the face looks at the camera and is in front of it, else 0.
    """
    height, width = inverse_depth.shape
    nx = ny = nz = 0.0
    for k in range(4):
        j = (k + 1) & 3
        nx += p[k, 1] * p[j, 2] - p[k, 2] * p[j, 1]
        ny += p[k, 2] * p[j, 0] - p[k, 0] * p[j, 2]
        nz += p[k, 0] * p[j, 1] - p[k, 1] * p[j, 0]
    d = nx * p[0, 0] + ny * p[0, 1] + nz * p[0, 2]
    if d > -1e-9:
        return 0
    count = 0
    for k in range(4):
        j = (k + 1) & 3
        inside, next_inside = p[k, 0] >= NEAR_M, p[j, 0] >= NEAR_M
        if inside:
            q[count, 0], q[count, 1], q[count, 2] = p[k, 0], p[k, 1], p[k, 2]
            count += 1
        if inside != next_inside:
            t = (NEAR_M - p[k, 0]) / (p[j, 0] - p[k, 0])
            q[count, 0] = NEAR_M
            q[count, 1] = p[k, 1] + t * (p[j, 1] - p[k, 1])
            q[count, 2] = p[k, 2] + t * (p[j, 2] - p[k, 2])
            count += 1
    if count < 3:
        return 0
    u_min = v_min = 1e30
    u_max = v_max = -1e30
    for k in range(count):
        scale = focal / q[k, 0]
        u, v = cx + q[k, 1] * scale, cy - q[k, 2] * scale
        uv[k, 0], uv[k, 1] = u, v
        u_min, u_max = min(u_min, u), max(u_max, u)
        v_min, v_max = min(v_min, v), max(v_max, v)
    if u_max <= 0.0 or v_max <= 0.0 or u_min >= width or v_min >= height:
        return 0
    first = max(0, int(np.ceil(min(max(v_min, 0.0), height * 1.0) - 0.5)))
    last = min(height - 1, int(np.ceil(min(v_max, height * 1.0) - 0.5)) - 1)
    if last < first:
        return 1
    for row in range(first, last + 1):
        left[row], right[row] = 1e30, -1e30
    for k in range(count):
        j = k + 1 if k + 1 < count else 0
        if uv[k, 1] < uv[j, 1]:  # always walked downwards: shared edges give the same numbers on both sides
            u0, v0, u1, v1 = uv[k, 0], uv[k, 1], uv[j, 0], uv[j, 1]
        else:
            u0, v0, u1, v1 = uv[j, 0], uv[j, 1], uv[k, 0], uv[k, 1]
        if v1 <= first or v0 >= last + 1 or v1 == v0:
            continue
        slope = (u1 - u0) / (v1 - v0)
        start = max(first, int(np.ceil(max(v0, 0.0) - 0.5)))
        stop = min(last, int(np.ceil(min(v1, height * 1.0) - 0.5)) - 1)
        for row in range(start, stop + 1):
            u = u0 + (row + 0.5 - v0) * slope
            left[row] = min(left[row], u)
            right[row] = max(right[row], u)
    gain = bias / d
    du = ny / focal * gain
    dv = -nz / focal * gain
    origin = (nx - ny * cx / focal + nz * cy / focal) * gain
    for row in range(first, last + 1):
        a, b = max(left[row], 0.0), min(right[row], width * 1.0)
        if b <= a:
            continue
        begin, end = int(np.ceil(a - 0.5)), int(np.ceil(b - 0.5))
        base = origin + dv * (row + 0.5) + du * 0.5
        for column in range(begin, end):
            value = np.float32(base + du * column)
            if value > inverse_depth[row, column]:
                inverse_depth[row, column] = value
                face[row, column] = number
    return 1


_STATIC = (
    "int64(float64[::1], float64[:,::1], float64, float64, float64, float32[:,:,::1], uint8[::1], "
    "float32[::1], int64[::1], float64[:,::1], float64, float32[:,::1], int32[:,::1])"
)


@njit(_STATIC, cache=True, nogil=True, error_model="numpy")
def draw_static(
    eye, axes, focal, cx, cy, corners, layer, reach, cell_start, cell_ball, far, inverse_depth, face
):
    """Draws the map's faces, cell by cell; cells outside the view are skipped.

    Args:
        eye: (3,) camera position.
        axes: (3, 3) rows forward, right, up.
        focal: Pixels.
        cx: Principal point, pixels.
        cy: Principal point, pixels.
        corners: (N, 4, 3) world metres, ordered by cell.
        layer: (N,) order among coplanar faces.
        reach: (N,) metres beyond which a face is not drawn.
        cell_start: (C + 1,) first face of each cell.
        cell_ball: (C, 4) centre and radius of each cell.
        far: Metres; cells beyond are skipped.
        inverse_depth: (H, W).
        face: (H, W) face numbers are indices into `corners`.

    Returns:
        How many faces were drawn.
    """
    height, width = inverse_depth.shape
    p, q = np.empty((4, 3)), np.empty((MAX_CORNERS, 3))
    uv = np.empty((MAX_CORNERS, 2))
    left, right = np.empty(height), np.empty(height)
    side = max(cx, width - cx) / focal
    slant = np.sqrt(1.0 + side * side)
    drawn = 0
    for cell in range(len(cell_start) - 1):
        dx, dy, dz = cell_ball[cell, 0] - eye[0], cell_ball[cell, 1] - eye[1], cell_ball[cell, 2] - eye[2]
        radius = cell_ball[cell, 3]
        x = axes[0, 0] * dx + axes[0, 1] * dy + axes[0, 2] * dz
        y = axes[1, 0] * dx + axes[1, 1] * dy + axes[1, 2] * dz
        if x < -radius or x > far + radius or (abs(y) - side * x) > radius * slant:
            continue
        for n in range(cell_start[cell], cell_start[cell + 1]):
            x = corners[n, 0, 0] - eye[0]
            y = corners[n, 0, 1] - eye[1]
            if x * x + y * y > reach[n] * reach[n]:
                continue
            for k in range(4):
                x, y, z = corners[n, k, 0] - eye[0], corners[n, k, 1] - eye[1], corners[n, k, 2] - eye[2]
                p[k, 0] = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
                p[k, 1] = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
                p[k, 2] = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
            bias = 1.0 + layer[n] * LAYER_BIAS
            drawn += draw_face(p, q, uv, left, right, focal, cx, cy, bias, np.int32(n), inverse_depth, face)
    return drawn


_ACTORS = (
    "int64(float64[::1], float64[:,::1], float64, float64, float64, float32[:,:,::1], uint8[::1], "
    "float32[::1], int64[::1], int64[::1], int64[::1], float64[:,::1], float64[:,::1], int64, float64, "
    "float64, int32[::1], int32[::1], float64[:,::1], float32[:,::1], int32[:,::1])"
)


@njit(_ACTORS, cache=True, nogil=True, error_model="numpy")
def draw_actors(
    eye,
    axes,
    focal,
    cx,
    cy,
    corners,
    layer,
    reach,
    start,
    near_model,
    far_model,
    xyzyaw,
    extents,
    first,
    far,
    coarse,
    row_of,
    model_face,
    normal,
    inverse_depth,
    face,
):
    """Draws actors and traffic lights.

    Args:
        eye: (3,) camera position.
        axes: (3, 3) rows forward, right, up.
        focal: Pixels.
        cx: Principal point, pixels.
        cy: Principal point, pixels.
        corners: (M, 4, 3) model faces in half-box units.
        layer: (M,).
        reach: (M,) metres.
        start: (models + 1,) first face of each model.
        near_model: (A,) model of each actor when close.
        far_model: (A,) model of each actor beyond `coarse`.
        xyzyaw: (A, 4) pose of the box's bottom centre.
        extents: (A, 3) half sizes.
        first: Face number of the first actor face.
        far: Metres; actors beyond are skipped.
        coarse: Metres beyond which the coarse model is used.
        row_of: Out, (F,) actor row of each emitted face.
        model_face: Out, (F,) index into `corners` of each emitted face.
        normal: Out, (F, 3) unit world normal of each emitted face.
        inverse_depth: (H, W).
        face: (H, W).

    Returns:
        How many faces were emitted.
    """
    height, width = inverse_depth.shape
    p, q, w = np.empty((4, 3)), np.empty((MAX_CORNERS, 3)), np.empty((4, 3))
    uv = np.empty((MAX_CORNERS, 2))
    left, right = np.empty(height), np.empty(height)
    side = max(cx, width - cx) / focal
    slant = np.sqrt(1.0 + side * side)
    emitted = 0
    for row in range(len(near_model)):
        dx, dy, dz = xyzyaw[row, 0] - eye[0], xyzyaw[row, 1] - eye[1], xyzyaw[row, 2] - eye[2]
        x = axes[0, 0] * dx + axes[0, 1] * dy + axes[0, 2] * dz
        y = axes[1, 0] * dx + axes[1, 1] * dy + axes[1, 2] * dz
        radius = 1.3 * (extents[row, 0] + extents[row, 1] + 2.0 * extents[row, 2]) + 5.0
        if x < -radius or x > far or (abs(y) - side * x) > radius * slant:
            continue
        distance = np.sqrt(dx * dx + dy * dy)
        model = near_model[row] if distance < coarse else far_model[row]
        c, s = np.cos(xyzyaw[row, 3]), np.sin(xyzyaw[row, 3])
        for n in range(start[model], start[model + 1]):
            if distance > reach[n]:
                continue
            for k in range(4):
                lx, ly = corners[n, k, 0] * extents[row, 0], corners[n, k, 1] * extents[row, 1]
                w[k, 0], w[k, 1] = lx * c - ly * s, lx * s + ly * c
                w[k, 2] = corners[n, k, 2] * extents[row, 2]
                x, y, z = w[k, 0] + dx, w[k, 1] + dy, w[k, 2] + dz
                p[k, 0] = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
                p[k, 1] = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
                p[k, 2] = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
            bias = 1.0 + layer[n] * LAYER_BIAS
            number = np.int32(first + emitted)
            if draw_face(p, q, uv, left, right, focal, cx, cy, bias, number, inverse_depth, face) == 0:
                continue
            nx = ny = nz = 0.0
            for k in range(4):
                j = (k + 1) & 3
                nx += w[k, 1] * w[j, 2] - w[k, 2] * w[j, 1]
                ny += w[k, 2] * w[j, 0] - w[k, 0] * w[j, 2]
                nz += w[k, 0] * w[j, 1] - w[k, 1] * w[j, 0]
            size = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
            normal[emitted, 0], normal[emitted, 1], normal[emitted, 2] = nx / size, ny / size, nz / size
            row_of[emitted], model_face[emitted] = row, n
            emitted += 1
    return emitted
